//! The log of decisions: a JSON line each with every latency, appended as they are made, and a table of them that is kept.

use std::io::Write;
use std::path::Path;

use infermark::gate::{Pair, Session, Verdict};
use infermark::stats;
use serde::{Deserialize, Serialize};

use crate::Places;
use crate::peers;

/// What is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// None: both sides are the same.
    None,
    /// Work of 5 %.
    Five,
    /// Work of 10 %.
    Ten,
}

/// How many units of work a request are how much.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// For 5 %.
    pub(crate) five: u32,
    /// For 10 %.
    pub(crate) ten: u32,
}

impl Calibration {
    pub(crate) fn units(self, change: Change) -> u32 {
        match change {
            Change::None => 0,
            Change::Five => self.five,
            Change::Ten => self.ten,
        }
    }
}

/// A decision of the real program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// Its number.
    pub(crate) number: usize,
    /// What was decided on.
    pub(crate) change: Change,
    /// Whether another process kept a CPU busy.
    pub(crate) busy: bool,
    /// Time that it took.
    pub(crate) seconds: f64,
    /// What the program said by its exit code.
    pub(crate) exit_code: Option<i32>,
    /// The same in a word.
    pub(crate) verdict: Verdict,
    /// All that was measured.
    pub(crate) session: Session,
}

/// A decision without its latencies: all that the report is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) number: usize,
    pub(crate) change: Change,
    /// Units of further work that that was.
    pub(crate) units: u32,
    pub(crate) other_cpu_busy: bool,
    pub(crate) verdict: Verdict,
    pub(crate) seconds: f64,
    /// Candidate's median latency / baseline's, over all observations.
    pub(crate) ratio: f64,
    /// The same beside the baseline of the last decision under the same conditions.
    pub(crate) stored_ratio: Option<f64>,
    /// What criterion's test says of the same observations.
    pub(crate) criterion: bool,
    /// The same beside the baseline of the decision before.
    pub(crate) stored_criterion: Option<bool>,
    /// ln of each pair's ratio, separated by spaces.
    log_ratios: String,
    fresh_log_ratios: String,
}

impl Row {
    fn of(decision: &Decision, before: Option<&Decision>) -> Self {
        let all = |decision: &Decision, side: fn(&Pair) -> &Vec<f64>| -> Vec<f64> {
            decision.session.pairs.iter().flat_map(|pair| side(pair).iter().copied()).collect()
        };
        let candidate = all(decision, |pair| &pair.candidate_ms);
        let baseline = all(decision, |pair| &pair.baseline_ms);
        let stored = before.map(|before| all(before, |pair| &pair.baseline_ms));
        let median = |ms: &[f64]| stats::median(ms).unwrap_or(f64::NAN);
        let ratio = |baseline: &[f64]| median(&candidate) / median(baseline);
        let seed = decision.number as u64;
        let list = |pairs: &[Pair]| {
            let all: Vec<String> = pairs.iter().map(|p| format!("{:.5}", p.p50)).collect();
            all.join(" ")
        };
        Self {
            number: decision.number,
            change: decision.change,
            // The last word of the candidate's command.
            units: decision
                .session
                .candidate
                .name
                .rsplit(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0),
            other_cpu_busy: decision.busy,
            verdict: decision.verdict,
            seconds: (decision.seconds * 10.0).round() / 10.0,
            ratio: ratio(&baseline),
            stored_ratio: stored.as_deref().map(ratio),
            criterion: peers::criterion(&baseline, &candidate, seed),
            stored_criterion: stored.map(|stored| peers::criterion(&stored, &candidate, seed)),
            log_ratios: list(&decision.session.pairs),
            fresh_log_ratios: list(&decision.session.fresh),
        }
    }

    /// ln of the ratios of the pairs that were looked at.
    pub(crate) fn pairs(&self) -> Vec<f64> {
        self.log_ratios.split_whitespace().filter_map(|n| n.parse().ok()).collect()
    }

    /// The same of those that confirmed.
    pub(crate) fn fresh(&self) -> Vec<f64> {
        self.fresh_log_ratios.split_whitespace().filter_map(|n| n.parse().ok()).collect()
    }
}

/// The table with what was decided since it was written; it is written again.
pub(crate) fn table(places: &Places) -> Vec<Row> {
    let mut rows = kept(&places.table);
    let decisions = read(&places.folder);
    for decision in &decisions {
        if rows.iter().all(|row| row.number != decision.number) {
            // The last one under the same conditions: every other one has a busy CPU.
            let before = decisions.iter().find(|d| d.number + 2 == decision.number);
            rows.push(Row::of(decision, before));
        }
    }
    rows.sort_by_key(|row| row.number);
    let mut writer = csv::Writer::from_path(&places.table).expect("the table can be written");
    for row in &rows {
        writer.serialize(row).expect("a row is text");
    }
    writer.flush().expect("the table can be written");
    rows
}

/// Rows that were kept.
fn kept(path: &Path) -> Vec<Row> {
    let Ok(mut reader) = csv::Reader::from_path(path) else { return Vec::new() };
    reader.deserialize().map(|row| row.expect("the table is as it was written")).collect()
}

/// The number of the next decision.
pub(crate) fn next(places: &Places) -> usize {
    let kept = kept(&places.table).into_iter().map(|row| row.number);
    let logged = read(&places.folder).into_iter().map(|decision| decision.number);
    kept.chain(logged).max().map_or(0, |last| last + 1)
}

/// The plan: of five decisions three on nothing, one on 5 % and one on 10 %, every other one with a busy CPU.
pub(crate) fn planned(number: usize) -> (Change, bool) {
    let change = match number % 5 {
        2 => Change::Five,
        4 => Change::Ten,
        _ => Change::None,
    };
    (change, number % 2 == 1)
}

/// 300 decisions on nothing, 100 on either change.
pub(crate) const PLANNED: usize = 500;

pub(crate) fn read(folder: &Path) -> Vec<Decision> {
    let text = std::fs::read_to_string(folder.join("decisions.jsonl")).unwrap_or_default();
    // A line that was cut short is decided again.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub(crate) fn append(folder: &Path, decision: &Decision) {
    let path = folder.join("decisions.jsonl");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("the log can be written");
    let line = serde_json::to_string(decision).expect("a decision is JSON") + "\n";
    file.write_all(line.as_bytes()).expect("the log can be written");
}

pub(crate) fn calibration(folder: &Path) -> Option<Calibration> {
    let text = std::fs::read_to_string(folder.join("calibration.json")).ok()?;
    serde_json::from_str(&text).ok()
}

pub(crate) fn keep(folder: &Path, calibration: Calibration) {
    let text = serde_json::to_string(&calibration).expect("numbers are JSON");
    std::fs::write(folder.join("calibration.json"), text).expect("the folder can be written");
}
