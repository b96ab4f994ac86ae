//! The log of decisions: a JSON line each, appended as they are made.

use std::io::Write;
use std::path::Path;

use infermark::gate::{Session, Verdict};
use serde::{Deserialize, Serialize};

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
