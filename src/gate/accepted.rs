//! Slow-downs that a team has accepted: a committed file, each with its bound, its reason and the day it ends.

use std::path::Path;

use jiff::civil::Date;
use serde::Deserialize;

use super::case::Found;
use super::decision::Verdict;
use super::metric::Metric;
use crate::error::{Error, Result};

/// The file: `[[accepted]]` tables.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// One after the other.
    #[serde(default)]
    accepted: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The case: its id, or words that follow each other in its label.
    case: String,
    /// The metric's name.
    metric: String,
    /// How much worse it may be, as a share (points of quality).
    bound: f64,
    /// Why, for those who read it later.
    reason: String,
    /// The last day that it holds, e.g. `2027-01-31`.
    until: String,
    #[serde(skip)]
    last: Date,
    #[serde(skip)]
    of: Option<Metric>,
}

const REMEDY: &str = "each [[accepted]] needs case, metric, bound (a share above 0), reason and until (a day like \"2027-01-31\")";

impl Accepted {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))?;
        let wrong = |message: String| Error::input(path.display(), message).remedy(REMEDY);
        let mut all: Self = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        for (at, entry) in all.accepted.iter_mut().enumerate() {
            let said = |what: &str| wrong(format!("accepted {}: {what}", at + 1));
            let known = Metric::named(&entry.metric);
            entry.of =
                Some(known.ok_or_else(|| said(&format!("metric `{}` is none", entry.metric)))?);
            entry.last = entry
                .until
                .parse()
                .map_err(|_| said(&format!("until `{}` is no day", entry.until)))?;
            if !(entry.bound.is_finite() && entry.bound > 0.0) {
                return Err(said(&format!("bound {} is none", entry.bound)));
            }
            if entry.reason.trim().is_empty() || entry.case.trim().is_empty() {
                return Err(said("reason or case is empty"));
            }
        }
        Ok(all)
    }

    /// Entries that are of none of these cases, by id and label: a slip, or a case that is gone.
    pub fn unmatched(&self, cases: &[(&str, &str)]) -> Vec<String> {
        let is_known = |entry: &&Entry| {
            cases.iter().any(|(id, label)| entry.case == *id || has_words(label, &entry.case))
        };
        let unknown = self.accepted.iter().filter(|entry| !is_known(entry));
        unknown.map(|entry| format!("accepted `{}` is of no case here", entry.case)).collect()
    }

    /// Lets accepted slow-downs of a case pass, each marked as such; what ended or is not needed is said.
    pub fn apply(
        &self,
        case_id: &str,
        label: &str,
        found: &mut [Found],
        today: Date,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        for entry in &self.accepted {
            if entry.case != case_id && !has_words(label, &entry.case) {
                continue;
            }
            let Some(found) = found.iter_mut().find(|found| Some(found.metric) == entry.of) else {
                continue;
            };
            let about = format!(
                "accepted up to {} until {}: {}",
                if found.metric.is_points() {
                    format!("{} points", entry.bound)
                } else {
                    format!("{:.1} %", entry.bound * 100.0)
                },
                entry.until,
                entry.reason
            );
            let effect = found.evidence.map_or(0.0, |evidence| evidence.effect);
            let worse = match found.metric {
                // As the time of a request, like the budget.
                Metric::Throughput => -effect,
                Metric::Quality => effect.abs(),
                _ => effect,
            };
            match found.verdict {
                Some(Verdict::Regression) if today > entry.last => {
                    notes.push(format!("{label} {}: no longer {about}", found.metric.name()));
                }
                Some(Verdict::Regression) if worse <= entry.bound => {
                    found.verdict = Some(Verdict::Pass);
                    let note =
                        found.note.take().map_or_else(String::new, |note| format!("{note}; "));
                    found.note = Some(format!("{note}a regression, {about}"));
                }
                Some(Verdict::Regression) => {
                    notes.push(format!("{label} {}: beyond what is {about}", found.metric.name()));
                }
                Some(Verdict::Pass | Verdict::Improvement) => {
                    notes.push(format!("{label} {}: not needed now: {about}", found.metric.name()));
                }
                _ => {}
            }
        }
        notes
    }
}

/// Whether whole words follow each other in a label: `fixed 1` is none of `fixed 16`.
fn has_words(label: &str, words: &str) -> bool {
    let label: Vec<&str> = label.split_whitespace().collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    !words.is_empty() && label.windows(words.len()).any(|window| window == words.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Evidence;

    fn read(text: &str) -> Result<Accepted> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accepted.toml");
        std::fs::write(&path, text).unwrap();
        Accepted::read(&path)
    }

    fn slower(by: f64) -> Found {
        let evidence = Evidence {
            effect: by,
            low: Some(by - 0.01),
            high: Some(by + 0.01),
            p_value: Some(0.001),
            mde: None,
            pairs: 8,
        };
        Found {
            metric: Metric::P50,
            budget: Some(0.05),
            evidence: Some(evidence),
            verdict: Some(Verdict::Regression),
            note: None,
        }
    }

    const FILE: &str = "[[accepted]]\ncase = \"fixed 1\"\nmetric = \"p50\"\nbound = 0.12\nreason = \"a safer tokenizer\"\nuntil = \"2027-01-31\"\n";

    #[test]
    fn what_is_accepted_passes_within_its_bound_until_its_day() {
        let accepted = read(FILE).unwrap();
        let verdict = |by: f64, label: &str, day: &str| {
            let mut found = [slower(by)];
            let notes = accepted.apply("abc", label, &mut found, day.parse().unwrap());
            (found[0].verdict.unwrap(), notes.join(" "))
        };
        let label = "ort:cpu fixed 1 single";
        assert_eq!(verdict(0.10, label, "2027-01-31").0, Verdict::Pass);
        let (late, notes) = verdict(0.10, label, "2027-02-01");
        assert_eq!(late, Verdict::Regression);
        assert!(notes.contains("no longer accepted"), "{notes}");
        let (beyond, notes) = verdict(0.13, label, "2026-12-01");
        assert_eq!(beyond, Verdict::Regression);
        assert!(notes.contains("beyond what is accepted up to 12.0 %"), "{notes}");
        for other in ["ort:cpu fixed 8 single", "ort:cpu fixed 16 single"] {
            assert_eq!(verdict(0.10, other, "2026-12-01").0, Verdict::Regression);
        }
        assert_eq!(accepted.unmatched(&[("abc", label)]), Vec::<String>::new());
        assert_eq!(accepted.unmatched(&[("abc", "candle:cpu fixed 16")]).len(), 1);
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        for (bad, said) in [
            (FILE.replace("p50", "p51"), "`p51`"),
            (FILE.replace("2027-01-31", "soon"), "`soon`"),
            (FILE.replace("0.12", "-1"), "bound -1"),
            (FILE.replace("bound", "limit"), "unknown field"),
            (FILE.replace("a safer tokenizer", " "), "empty"),
        ] {
            let error = read(&bad).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("accepted.toml"), "{error}");
        }
    }
}
