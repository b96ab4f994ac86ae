//! What a gate found, for people, pull requests and the programs that read test results.

mod annotations;
mod bencher;
mod junit;
mod tables;

use crate::gate::{CaseGate, Found, LimitFound, Verdict, false_alarm_rate, worst};

/// A case and its pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaseReport {
    /// The case.
    pub case_id: String,
    /// It in words.
    pub label: String,
    /// What was measured.
    pub gate: CaseGate,
    /// What that comes to.
    pub found: Vec<Found>,
    /// What plain limits come to.
    pub limits: Vec<LimitFound>,
    /// What a million inferences cost before and now, in USD, where a price was given.
    pub usd_per_million: Option<[f64; 2]>,
}

impl CaseReport {
    /// A case at its end: what was found is worked out once.
    pub fn new(case_id: &str, label: &str, gate: CaseGate) -> Self {
        let found = gate.found();
        let (case_id, label) = (case_id.to_owned(), label.to_owned());
        Self { case_id, label, gate, found, ..Self::default() }
    }

    /// A case that nothing can be said of, and why.
    pub fn without_baseline(case_id: &str, label: &str, gate: CaseGate, why: &str) -> Self {
        let found = gate.without_baseline(why);
        Self { found, ..Self::new(case_id, label, gate) }
    }

    /// The worst of what decided.
    pub fn verdict(&self) -> Verdict {
        worst(self.lines().into_iter().filter_map(|line| line.verdict))
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let found = self.found.iter().map(|found| Line {
            case: self,
            name: found.metric.name().to_owned(),
            verdict: found.verdict,
            said: tables::said(found, self.usd_per_million),
        });
        let limits = self.limits.iter().map(|limit| Line {
            case: self,
            name: limit.limit.to_string(),
            verdict: Some(limit.verdict),
            said: limit.said(),
        });
        found.chain(limits).collect()
    }
}

/// One thing that was decided, or informs.
struct Line<'a> {
    case: &'a CaseReport,
    name: String,
    verdict: Option<Verdict>,
    said: String,
}

/// All of a gate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GateReport {
    /// The workload's name.
    pub workload: String,
    /// As it was named; empty where plain limits are checked.
    pub baseline: String,
    /// As it was named.
    pub candidate: String,
    /// Where both were measured.
    pub hardware_class: String,
    /// One after the other.
    pub cases: Vec<CaseReport>,
    /// What a reader must know of all of it.
    pub notes: Vec<String>,
    /// The largest probability of calling a regression where nothing changed, where it is not that of pairs measured
    /// now.
    pub false_alarms: Option<f64>,
}

impl GateReport {
    /// The worst of all cases.
    pub fn verdict(&self) -> Verdict {
        worst(self.cases.iter().map(CaseReport::verdict))
    }

    /// Comparisons that decide.
    fn comparisons(&self) -> usize {
        self.cases.iter().map(|case| case.gate.budgets.comparisons()).sum()
    }

    /// The largest probability of calling a regression where nothing changed.
    pub fn false_alarm_rate(&self) -> f64 {
        self.false_alarms.unwrap_or_else(|| false_alarm_rate(self.comparisons()))
    }

    fn lines(&self) -> Vec<Line<'_>> {
        self.cases.iter().flat_map(CaseReport::lines).collect()
    }

    fn headline(&self) -> String {
        let verdict = self.verdict().name();
        if self.baseline.is_empty() {
            let word = match self.verdict() {
                Verdict::Pass | Verdict::Improvement => "PASS",
                Verdict::Regression => "LIMIT BROKEN",
                Verdict::TooNoisy | Verdict::NoBaseline => "UNDECIDED",
            };
            return format!("{word}: limits of {}", self.workload);
        }
        let (new, old) = (&self.candidate, &self.baseline);
        if new == old {
            return format!("{verdict}: {old} against itself on {}", self.workload);
        }
        format!("{verdict}: {new} against {old} on {}", self.workload)
    }
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
            ..GateReport::default()
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
        let bmf: serde_json::Value = serde_json::from_str(&bad.bmf().unwrap()).unwrap();
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
