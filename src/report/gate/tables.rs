//! For the terminal, a pull request, a spreadsheet and a program.

use serde::Serialize;
use serde_json::{Value, json};

use super::{CaseReport, GateReport};
use crate::gate::{Found, LimitFound, Metric, Verdict};
use crate::report::table::{ruled, wrapped};

/// A row of the machine contract.
#[derive(Serialize)]
struct Row<'a> {
    case_id: &'a str,
    case: &'a str,
    metric: Metric,
    budget: Option<f64>,
    effect: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    p_value: Option<f64>,
    mde: Option<f64>,
    /// Pairs of fresh processes; 0 for what is exact.
    rounds: usize,
    verdict: Option<Verdict>,
    note: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(case: &'a CaseReport, found: &'a Found) -> Self {
        let evidence = found.evidence;
        Self {
            case_id: &case.case_id,
            case: &case.label,
            metric: found.metric,
            budget: found.budget,
            effect: evidence.map(|e| e.effect),
            low: evidence.and_then(|e| e.low),
            high: evidence.and_then(|e| e.high),
            p_value: evidence.and_then(|e| e.p_value),
            mde: evidence.and_then(|e| e.mde),
            rounds: evidence.map_or(0, |e| e.pairs),
            verdict: found.verdict,
            note: found.note.as_deref(),
        }
    }
}

/// The same of a limit.
#[derive(Serialize)]
struct LimitRow<'a> {
    case_id: &'a str,
    case: &'a str,
    #[serde(flatten)]
    found: &'a LimitFound,
}

impl GateReport {
    /// Columns of a table.
    pub const HEADER: [&'static str; 9] =
        ["case", "metric", "effect", "low", "high", "p_value", "mde", "budget", "verdict"];
    /// Columns of a table of limits.
    pub const LIMITS: [&'static str; 6] = ["case", "limit", "value", "low", "high", "verdict"];

    /// Rows of a table, effects in percent.
    pub fn rows(&self) -> Vec<[String; 9]> {
        let rows = |case: &CaseReport| {
            case.found.iter().map(|found| row(&case.label, found)).collect::<Vec<_>>()
        };
        self.cases.iter().flat_map(rows).collect()
    }

    /// Rows of a table of limits.
    pub fn limit_rows(&self) -> Vec<[String; 6]> {
        let number = |value: Option<f64>| value.map_or_else(String::new, plain);
        let row = |case: &CaseReport, limit: &LimitFound| {
            [
                case.label.clone(),
                limit.limit.to_string(),
                number(limit.value),
                number(limit.low),
                number(limit.high),
                limit.verdict.name().to_owned(),
            ]
        };
        let rows = |case: &CaseReport| case.limits.iter().map(|l| row(case, l)).collect::<Vec<_>>();
        self.cases.iter().flat_map(rows).collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut all = Vec::new();
        for case in &self.cases {
            let of_found = case
                .found
                .iter()
                .filter_map(|f| Some((f.metric.name().to_owned(), f.note.clone()?)));
            let of_limits =
                case.limits.iter().filter_map(|l| Some((l.limit.to_string(), l.note.clone()?)));
            all.extend(
                of_found
                    .chain(of_limits)
                    .map(|(name, note)| format!("{} {name}: {note}", case.label)),
            );
            if let Some([old, new]) = case.usd_per_million {
                all.push(format!(
                    "{}: a million inferences cost {old:.4} USD before and {new:.4} now on a machine that is always busy",
                    case.label
                ));
            }
        }
        all.extend(self.notes.iter().cloned());
        // Plain limits, records and what is exact err in other ways, or not at all.
        if self.cases.iter().all(|case| case.gate.pairs.is_empty()) && self.false_alarms.is_none() {
            all.push(format!("on {}", self.hardware_class));
            return all;
        }
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
        all.push(format!(
            "pairs of fresh processes: {}; on {}",
            pairs.join(", "),
            self.hardware_class
        ));
        let rate = plain(100.0 * self.false_alarm_rate());
        all.push(match self.false_alarms {
            None => format!(
                "a regression is called where none is in {rate} % of gates at most, if pairs are as likely to fall either way"
            ),
            Some(_) => format!(
                "a regression is called where none is in {rate} % of gates at most, if sessions deviate by a normal distribution"
            ),
        });
        if self.cases.iter().any(|case| case.gate.budgets.has_tail()) {
            let note =
                "p95 and p99 are not part of that bound: their intervals are drawn, not exact";
            all.push(note.to_owned());
        }
        all
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let rows = self.rows();
        if !rows.is_empty() {
            let columns = ["case", "", "change", "low", "high", "p", "finds", "budget", "verdict"];
            text.push_str(&ruled(&columns, &rows));
        }
        let rows = self.limit_rows();
        if !rows.is_empty() {
            text.push_str(&ruled(&Self::LIMITS, &rows));
        }
        let notes: String = self.notes().iter().map(|note| wrapped("· ", note)).collect();
        format!("{text}{notes}{}\n", self.headline())
    }

    /// The machine contract.
    pub fn json(&self) -> Value {
        let of = |case: &CaseReport| {
            case.found.iter().map(|found| json!(Row::of(case, found))).collect::<Vec<_>>()
        };
        let limits = |case: &CaseReport| {
            let rows = case
                .limits
                .iter()
                .map(|found| json!(LimitRow { case_id: &case.case_id, case: &case.label, found }));
            rows.collect::<Vec<_>>()
        };
        json!({
            "schema_version": crate::store::SCHEMA_VERSION,
            "verdict": self.verdict(),
            "workload": self.workload,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "hardware_class": self.hardware_class,
            "false_alarm_rate": (!self.baseline.is_empty()).then(|| self.false_alarm_rate()),
            "cases": self.cases.iter().flat_map(of).collect::<Vec<_>>(),
            "limits": self.cases.iter().flat_map(limits).collect::<Vec<_>>(),
            "notes": self.notes,
            "pairs": self.cases.iter().map(|case| json!({
                "case_id": case.case_id,
                "pairs": case.gate.pairs.len(),
                "fresh": case.gate.fresh.len(),
                "usd_per_million": case.usd_per_million,
                "log_ratios": case.gate.pairs.iter().map(|p| p.p50).collect::<Vec<_>>(),
                "fresh_log_ratios": case.gate.fresh.iter().map(|p| p.p50).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        let mut tables = String::new();
        let rows = self.rows();
        if !rows.is_empty() {
            tables.push_str(&crate::report::markdown_table(&Self::HEADER, tidy(rows)));
        }
        let rows = self.limit_rows();
        if !rows.is_empty() {
            tables.push_str(&crate::report::markdown_table(&Self::LIMITS, tidy(rows)));
        }
        let mut text = format!("### {}\n\n{tables}\n", prose(&self.headline()));
        for note in self.notes() {
            text.push_str(&format!("- {}\n", prose(&note)));
        }
        text
    }
}

fn row(label: &str, found: &Found) -> [String; 9] {
    let is_points = found.metric.is_points();
    let change = |share: Option<f64>| share.map_or_else(String::new, |s| change(s, is_points));
    let evidence = found.evidence;
    [
        label.to_owned(),
        found.metric.name().to_owned(),
        change(evidence.map(|e| e.effect)),
        change(evidence.and_then(|e| e.low)),
        change(evidence.and_then(|e| e.high)),
        evidence.and_then(|e| e.p_value).map_or_else(String::new, |p| format!("{p:.4}")),
        evidence.and_then(|e| e.mde).map_or_else(String::new, |m| format!("{:.2} %", m * 100.0)),
        found.budget.map_or_else(String::new, |b| budget(b, is_points)),
        found.verdict.map_or("informs", Verdict::name).to_owned(),
    ]
}

/// A change in percent, or in points of a quality's unit.
fn change(share: f64, is_points: bool) -> String {
    if is_points { format!("{share:+.4}") } else { format!("{:+.2} %", share * 100.0) }
}

fn budget(share: f64, is_points: bool) -> String {
    if is_points { plain(share) } else { format!("{:.1} %", share * 100.0) }
}

/// A finding in a sentence.
pub(super) fn said(found: &Found, usd: Option<[f64; 2]>) -> String {
    let is_points = found.metric.is_points();
    let verdict = found.verdict.map_or("informs", Verdict::name);
    let changed = found.evidence.map_or_else(String::new, |e| {
        let ends = match (e.low, e.high) {
            (Some(low), Some(high)) if low < high => {
                format!(" [{}, {}]", change(low, is_points), change(high, is_points))
            }
            _ => String::new(),
        };
        format!(" {}{ends}", change(e.effect, is_points))
    });
    let budget =
        found.budget.map_or_else(String::new, |b| format!(", budget {}", budget(b, is_points)));
    let usd = match (found.metric, usd) {
        (Metric::Cost, Some([old, new])) => format!(", {old:.4} → {new:.4} USD a million"),
        _ => String::new(),
    };
    let note = found.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
    format!("{verdict} {}{changed}{budget}{usd}{note}", found.metric.name())
}

/// A number without more digits than it is worth.
fn plain(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    let is_fraction = text.contains('.');
    if is_fraction { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Cells without what Markdown would take for markup; the table escapes its own bars.
fn tidy<const N: usize>(rows: Vec<[String; N]>) -> Vec<[String; N]> {
    rows.into_iter()
        .map(|row| row.map(|cell| cell.replace('<', "&lt;").replace('\n', " ")))
        .collect()
}

/// What Markdown would take for markup.
fn prose(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|").replace(['\n', '\r'], " ")
}
