//! What a gate found, for people, pull requests and the programs that read test results.

use serde::Serialize;
use serde_json::{Value, json};

use super::table::{ruled, wrapped};
use crate::error::{Error, Result};
use crate::gate::{CaseGate, Found, Verdict, false_alarm_rate, worst};
use crate::stats;

/// A case and its pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseReport {
    /// The case.
    pub case_id: String,
    /// It in words.
    pub label: String,
    /// What was measured.
    pub gate: CaseGate,
    /// What that comes to.
    pub found: Vec<Found>,
}

impl CaseReport {
    /// A case at its end: what was found is worked out once.
    pub fn new(case_id: &str, label: &str, gate: CaseGate) -> Self {
        let found = gate.found();
        Self { case_id: case_id.to_owned(), label: label.to_owned(), gate, found }
    }
}

/// All of a gate.
#[derive(Debug, Clone, PartialEq)]
pub struct GateReport {
    /// The workload's name.
    pub workload: String,
    /// As it was named.
    pub baseline: String,
    /// As it was named.
    pub candidate: String,
    /// Where both were measured.
    pub hardware_class: String,
    /// One after the other.
    pub cases: Vec<CaseReport>,
}

/// A row of the machine contract.
#[derive(Serialize)]
struct Row<'a> {
    case_id: &'a str,
    case: &'a str,
    #[serde(flatten)]
    found: &'a Found,
}

impl GateReport {
    /// Columns of a table.
    pub const HEADER: [&'static str; 9] =
        ["case", "metric", "effect", "low", "high", "p_value", "mde", "budget", "verdict"];

    /// The worst of all cases.
    pub fn verdict(&self) -> Verdict {
        worst(self.cases.iter().flat_map(|case| &case.found).filter_map(|found| found.verdict))
    }

    /// Comparisons that decide.
    fn comparisons(&self) -> usize {
        self.cases.iter().map(|case| case.gate.budgets.comparisons()).sum()
    }

    fn all(&self) -> Vec<(&CaseReport, Found)> {
        self.cases.iter().flat_map(|c| c.found.iter().map(move |f| (c, f.clone()))).collect()
    }

    /// Rows of a table, effects in percent.
    pub fn rows(&self) -> Vec<[String; 9]> {
        let percent = |share: Option<f64>| {
            share.map_or_else(String::new, |share| format!("{:+.2} %", share * 100.0))
        };
        let row = |(case, found): (&CaseReport, Found)| {
            let evidence = found.evidence;
            let mde = evidence.and_then(|e| e.mde);
            [
                case.label.clone(),
                found.metric.name().to_owned(),
                percent(evidence.map(|e| e.effect)),
                percent(evidence.and_then(|e| e.low)),
                percent(evidence.and_then(|e| e.high)),
                evidence
                    .and_then(|e| e.p_value)
                    .map_or_else(String::new, |p| format!("{p:.4}")),
                mde.map_or_else(String::new, |m| format!("{:.2} %", m * 100.0)),
                found.budget.map_or_else(String::new, |b| format!("{:.1} %", b * 100.0)),
                found.verdict.map_or("informs", Verdict::name).to_owned(),
            ]
        };
        self.all().into_iter().map(row).collect()
    }

    fn notes(&self) -> Vec<String> {
        let noted = self.all().into_iter().filter_map(|(case, found)| {
            Some(format!("{} {}: {}", case.label, found.metric.name(), found.note?))
        });
        let pairs: Vec<String> = self
            .cases
            .iter()
            .map(|c| {
                let fresh = match c.gate.fresh.len() {
                    0 => String::new(),
                    n => format!(" and {n} to confirm"),
                };
                format!("{}{fresh}", c.gate.pairs.len())
            })
            .collect();
        let mut all: Vec<String> = noted.collect();
        all.push(format!(
            "pairs of fresh processes: {}; on {}",
            pairs.join(", "),
            self.hardware_class
        ));
        all.push(format!(
            "a regression is called where none is in {:.3} % of gates at most, if pairs are as likely to fall either way",
            100.0 * false_alarm_rate(self.comparisons())
        ));
        all
    }

    fn headline(&self) -> String {
        format!(
            "{}: {} against {} on {}",
            self.verdict().name(),
            self.candidate,
            self.baseline,
            self.workload
        )
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        let rows = self.rows();
        let columns = ["case", "", "change", "low", "high", "p", "finds", "budget", "verdict"];
        let notes: String = self.notes().iter().map(|note| wrapped("· ", note)).collect();
        format!("{}{notes}{}\n", ruled(&columns, &rows), self.headline())
    }

    /// The machine contract.
    pub fn json(&self) -> Value {
        let all = self.all();
        let rows: Vec<Row<'_>> = all
            .iter()
            .map(|(case, found)| Row { case_id: &case.case_id, case: &case.label, found })
            .collect();
        json!({
            "schema_version": crate::store::SCHEMA_VERSION,
            "verdict": self.verdict(),
            "workload": self.workload,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "hardware_class": self.hardware_class,
            "false_alarm_rate": false_alarm_rate(self.comparisons()),
            "cases": rows,
            "pairs": self.cases.iter().map(|case| json!({
                "case_id": case.case_id,
                "pairs": case.gate.pairs.len(),
                "fresh": case.gate.fresh.len(),
                "log_ratios": case.gate.pairs.iter().map(|p| p.p50).collect::<Vec<_>>(),
                "fresh_log_ratios": case.gate.fresh.iter().map(|p| p.p50).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        let table = super::markdown_table(&Self::HEADER, self.rows());
        let notes: Vec<String> =
            self.notes().iter().map(|note| format!("- {}", plain(note))).collect();
        let notes = notes.join(
            "
",
        ) + "
";
        format!("### {}\n\n{table}\n{notes}", plain(&self.headline()))
    }

    /// `JUnit` XML: a regression fails, what is undecided is skipped.
    pub fn junit(&self) -> String {
        let decided: Vec<(&CaseReport, Found)> =
            self.all().into_iter().filter(|(_, found)| found.verdict.is_some()).collect();
        let count = |wanted: &[Verdict]| {
            decided.iter().filter(|(_, f)| f.verdict.is_some_and(|v| wanted.contains(&v))).count()
        };
        let (tests, failures) = (decided.len(), count(&[Verdict::Regression]));
        let skipped = count(&[Verdict::TooNoisy, Verdict::NoBaseline]);
        let suite = xml(&format!("infermark gate {}", self.workload));
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{suite}\" tests=\"{tests}\" \
             failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"0\">\n"
        );
        for (case, found) in decided {
            let (class, name) = (xml(&case.label), found.metric.name());
            let said = xml(&said(&found));
            text.push_str(&match found.verdict {
                Some(Verdict::Regression) => format!(
                    "    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\">\n      <failure message=\"{said}\" \
                     type=\"regression\"/>\n    </testcase>\n"
                ),
                Some(Verdict::TooNoisy | Verdict::NoBaseline) => format!(
                    "    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\">\n      <skipped message=\"{said}\"/>\n    \
                     </testcase>\n"
                ),
                _ => format!("    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\"/>\n"),
            });
        }
        text + "  </testsuite>\n</testsuites>\n"
    }

    /// Lines that GitHub's actions show beside a change.
    pub fn annotations(&self) -> String {
        let mut text = String::new();
        for (case, found) in self.all() {
            let level = match found.verdict {
                Some(Verdict::Regression) => "error",
                Some(Verdict::TooNoisy | Verdict::NoBaseline) => "warning",
                _ => continue,
            };
            let escaped =
                |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            let title = escaped(&case.label).replace(':', "%3A").replace(',', "%2C");
            text.push_str(&format!("::{level} title={title}::{}\n", escaped(&said(&found))));
        }
        text
    }

    /// Bencher Metric Format: the candidate's median latency in ns, and its change in percent.
    pub fn bmf(&self) -> Result<String> {
        let mut all = serde_json::Map::new();
        for case in &self.cases {
            let latencies: Vec<f64> =
                case.gate.pairs.iter().flat_map(|p| p.candidate_ms.iter().copied()).collect();
            let mut measures = serde_json::Map::new();
            if let Some(ms) = stats::median(&latencies) {
                measures.insert("latency".to_owned(), json!({ "value": ms * 1e6 }));
            }
            for found in &case.found {
                if let Some(evidence) = found.evidence {
                    let mut measure = json!({ "value": evidence.effect * 100.0 });
                    for (key, end) in
                        [("lower_value", evidence.low), ("upper_value", evidence.high)]
                    {
                        if let Some(end) = end {
                            measure[key] = json!(end * 100.0);
                        }
                    }
                    measures.insert(format!("change-{}", found.metric.name()), measure);
                }
            }
            all.insert(format!("{} {}", self.workload, case.label), Value::Object(measures));
        }
        serde_json::to_string_pretty(&all).map_err(|e| Error::internal("gate", e))
    }
}

/// A finding in a sentence.
fn said(found: &Found) -> String {
    let verdict = found.verdict.map_or("informs", Verdict::name);
    let change = found.evidence.map_or_else(String::new, |e| {
        let ends = match (e.low, e.high) {
            (Some(low), Some(high)) => format!(" [{:+.2}, {:+.2}]", low * 100.0, high * 100.0),
            _ => String::new(),
        };
        format!(" {:+.2} %{ends}", e.effect * 100.0)
    });
    let budget = found.budget.map_or_else(String::new, |b| format!(", budget {:.1} %", b * 100.0));
    let note = found.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
    format!("{verdict} {}{change}{budget}{note}", found.metric.name())
}

fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no place for these, escaped or not.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// What Markdown would take for markup.
fn plain(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Budgets, Metric, Pair};

    fn report(p50: f64, fresh: usize) -> GateReport {
        let budgets = Budgets::default().with(Metric::P50, Some(0.05));
        let pair = |at: usize| Pair {
            p50: p50 + 0.001 * (at % 3) as f64,
            baseline_ms: vec![1.0],
            candidate_ms: vec![1.1],
            ..Pair::default()
        };
        let gate = CaseGate {
            budgets,
            pairs: (0..8).map(pair).collect(),
            fresh: (0..fresh).map(pair).collect(),
            ..CaseGate::default()
        };
        let label = "ort:cpu, <batch> \"1\" & more";
        GateReport {
            workload: "w".to_owned(),
            baseline: "old".to_owned(),
            candidate: "new".to_owned(),
            hardware_class: "here".to_owned(),
            cases: vec![CaseReport::new("c", label, gate)],
        }
    }

    #[test]
    fn every_form_says_the_same() {
        let bad = report(0.1, 8);
        assert_eq!(bad.verdict(), Verdict::Regression);
        let json = bad.json();
        assert_eq!(json["verdict"], "regression");
        let p50 = &json["cases"][0];
        assert_eq!((&p50["metric"], &p50["verdict"]), (&"p50".into(), &"regression".into()));
        assert!((p50["effect"].as_f64().unwrap() - 0.106).abs() < 0.01, "{p50}");
        let xml = bad.junit();
        assert!(
            xml.contains("failures=\"1\"") && xml.contains("&lt;batch&gt; &quot;1&quot; &amp;"),
            "{xml}"
        );
        assert!(
            bad.annotations().starts_with("::error title=ort%3Acpu%2C <batch>"),
            "{}",
            bad.annotations()
        );
        assert!(bad.markdown().contains("### REGRESSION"), "{}", bad.markdown());
        let bmf: Value = serde_json::from_str(&bad.bmf().unwrap()).unwrap();
        let all = bmf.as_object().unwrap();
        let measures = all.values().next().unwrap();
        assert_eq!(measures["latency"]["value"], 1.1e6);
        assert!(measures["change-p50"]["lower_value"].is_number());

        let undecided = report(0.1, 0);
        assert_eq!(undecided.verdict(), Verdict::TooNoisy);
        assert!(undecided.junit().contains("skipped=\"1\""), "{}", undecided.junit());
        assert!(undecided.annotations().starts_with("::warning"), "{}", undecided.annotations());
        let fine = report(0.0, 0);
        assert_eq!((fine.verdict(), fine.annotations()), (Verdict::Pass, String::new()));
    }
}
