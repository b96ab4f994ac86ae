//! Plain limits on a measured case: `p99 <= 50 ms`, `accuracy >= 0.90`. No baseline is needed.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::decision::Verdict;
use crate::error::{Error, Result};
use crate::quality;
use crate::store::Record;

/// What must hold of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    subject: Subject,
    is_at_least: bool,
    bound: f64,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Subject {
    /// A percentile of latency in ms.
    Latency(&'static str),
    /// Samples a second.
    Throughput,
    /// Time to load and compile, in ms.
    Load,
    /// Time of the first inference, in ms.
    First,
    /// In MB of 10⁶ bytes.
    PeakRss,
    /// In MB of 10⁶ bytes.
    Size,
    /// A figure of quality over the whole test set.
    Quality(quality::Metric),
}

const LATENCIES: [&str; 6] = ["p50", "p90", "p95", "p99", "p99.9", "max"];
const REMEDY: &str = "write METRIC <= NUMBER UNIT or METRIC >= NUMBER, e.g. `p99 <= 50 ms`, `accuracy >= 0.90`, `peak_rss <= 500 MB`; \
     metrics are p50, p90, p95, p99, p99.9, max, load, first (us, ms, s), throughput (/s), peak_rss, size (kB, MB, GB) and those of quality";

impl FromStr for Limit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::input(format!("limit `{text}`"), why).remedy(REMEDY);
        let plain = text.replace('≤', "<=").replace('≥', ">=");
        let (name, is_at_least, rest) = if let Some((name, rest)) = plain.split_once("<=") {
            (name, false, rest)
        } else if let Some((name, rest)) = plain.split_once(">=") {
            (name, true, rest)
        } else {
            return Err(wrong("has neither <= nor >="));
        };
        let (name, rest) = (name.trim(), rest.trim());
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)));
        let (number, unit) = rest.split_at(digits.unwrap_or(rest.len()));
        let value: f64 = number.parse().map_err(|_| wrong("has no number"))?;
        let subject = match name {
            "throughput" => Subject::Throughput,
            "load" => Subject::Load,
            "first" => Subject::First,
            "peak_rss" => Subject::PeakRss,
            "size" => Subject::Size,
            name => match LATENCIES.into_iter().find(|known| *known == name) {
                Some(latency) => Subject::Latency(latency),
                None if name.is_empty() || name.contains(char::is_whitespace) => {
                    return Err(wrong("names no metric"));
                }
                None => Subject::Quality(name.to_owned().into()),
            },
        };
        let factor = subject.factor(unit.trim()).ok_or_else(|| {
            let expected = subject.units().join(", ");
            wrong(&format!("has unit `{}`, and {name} takes {expected}", unit.trim()))
        })?;
        let bound = value * factor;
        if !bound.is_finite() || (bound < 0.0 && !matches!(subject, Subject::Quality(_))) {
            return Err(wrong("has a number that nothing can keep to"));
        }
        let sign = if is_at_least { "≥" } else { "≤" };
        let text = format!("{name} {sign} {rest}");
        Ok(Self { subject, is_at_least, bound, text })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Subject {
    fn units(&self) -> &'static [&'static str] {
        match self {
            Self::Latency(_) | Self::Load | Self::First => &["us", "ms", "s"],
            Self::Throughput => &["/s"],
            Self::PeakRss | Self::Size => &["kB", "MB", "GB"],
            Self::Quality(_) => &["no unit"],
        }
    }

    /// What a number of this unit is multiplied by to be of ours.
    fn factor(&self, unit: &str) -> Option<f64> {
        let units: &[(&str, f64)] = match self {
            Self::Latency(_) | Self::Load | Self::First => {
                &[("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)]
            }
            Self::Throughput => &[("/s", 1.0), ("", 1.0)],
            Self::PeakRss | Self::Size => &[("MB", 1.0), ("kB", 1e-3), ("GB", 1e3)],
            Self::Quality(_) => &[("", 1.0)],
        };
        units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
    }
}

/// A figure and the ends of its interval.
type Figure = (f64, Option<f64>, Option<f64>);

impl Limit {
    /// The metric's name.
    pub fn subject(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// The unit that its figures are in.
    pub fn unit(&self) -> &'static str {
        match self.subject {
            Subject::Latency(_) | Subject::Load | Subject::First => "ms",
            Subject::Throughput => "samples/s",
            Subject::PeakRss | Subject::Size => "MB",
            Subject::Quality(_) => "",
        }
    }

    /// Whether more is better.
    pub fn is_at_least(&self) -> bool {
        self.is_at_least
    }

    /// The record's figure; `None` where it has none.
    fn figure(&self, record: &Record) -> Option<Figure> {
        let alone = |value: f64| (value, None, None);
        match &self.subject {
            Subject::Latency(name) => {
                let interval = record.latency_ms.get(*name).copied().flatten()?;
                Some((interval.value, interval.low, interval.high))
            }
            Subject::Throughput => {
                record.throughput_per_s.as_ref().map(|t| (t.value, t.low, t.high))
            }
            Subject::Load => record.timing_ms.as_ref().map(|t| alone(t.load + t.compile)),
            Subject::First => record.timing_ms.as_ref().map(|t| alone(t.first)),
            Subject::PeakRss => record.memory_bytes.peak_rss.map(|b| alone(b.0 as f64 / 1e6)),
            Subject::Size => Some(alone(record.size_bytes.0 as f64 / 1e6)),
            // On this test set it is what it is: its interval is of other samples.
            Subject::Quality(metric) => record.figure(metric).map(|q| alone(q.value)),
        }
    }

    /// What it comes to of a case that could not be measured.
    pub fn unmeasured(&self, why: &str) -> LimitFound {
        let note = Some(format!("was not measured: {why}"));
        let (value, low, high) = (None, None, None);
        LimitFound { limit: self.clone(), value, low, high, verdict: Verdict::NoBaseline, note }
    }

    /// Whether a record keeps to it.
    pub fn check(&self, record: &Record) -> LimitFound {
        let found = |figure: Option<Figure>, verdict, note| {
            let (value, low, high) = match figure {
                Some((value, low, high)) => (Some(value), low, high),
                None => (None, None, None),
            };
            LimitFound { limit: self.clone(), value, low, high, verdict, note }
        };
        if let Some(failure) = &record.failure {
            return self.unmeasured(&failure.to_string());
        }
        let Some(figure) = self.figure(record) else {
            let why = match self.subject {
                Subject::Latency(_) => "too few requests to tell; measure longer (load.duration_s)",
                Subject::Quality(_) => "the workload's data gives no such figure",
                _ => "was not measured",
            };
            return found(None, Verdict::NoBaseline, Some(why.to_owned()));
        };
        let is_timed =
            !matches!(self.subject, Subject::PeakRss | Subject::Size | Subject::Quality(_));
        if is_timed && !record.verdict.valid {
            let reasons = record.verdict.reasons.join("; ");
            return found(Some(figure), Verdict::TooNoisy, Some(format!("INVALID: {reasons}")));
        }
        let (value, low, high) = figure;
        let is_drawn = match self.subject {
            Subject::Latency(name) => name != "max",
            Subject::Throughput => true,
            _ => false,
        };
        if is_drawn && (low.is_none() || high.is_none()) {
            let why = "too few requests for an interval; measure longer (load.duration_s)";
            return found(Some(figure), Verdict::TooNoisy, Some(why.to_owned()));
        }
        let (best, worst) = match (low, high, self.is_at_least) {
            (Some(low), Some(high), true) => (high, low),
            (Some(low), Some(high), false) => (low, high),
            _ => (value, value),
        };
        let keeps = |figure: f64| {
            if self.is_at_least { figure >= self.bound } else { figure <= self.bound }
        };
        match (keeps(best), keeps(worst)) {
            (true, true) => found(Some(figure), Verdict::Pass, None),
            (false, false) => found(Some(figure), Verdict::Regression, None),
            _ => {
                let why = "its interval holds the limit; measure longer (load.duration_s)";
                found(Some(figure), Verdict::TooNoisy, Some(why.to_owned()))
            }
        }
    }
}

/// What a limit comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitFound {
    /// Which.
    pub limit: Limit,
    /// The figure, in ms, samples a second, MB or the metric's unit.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval; `None` where it has none, or is compared as it is.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// PASS within it, REGRESSION beyond it, TOO NOISY where that cannot be told, NO BASELINE where there is no figure.
    pub verdict: Verdict,
    /// What a reader must know.
    pub note: Option<String>,
}

impl LimitFound {
    /// In a sentence.
    pub fn said(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Pass | Verdict::Improvement => "PASS",
            Verdict::Regression => "LIMIT BROKEN",
            Verdict::TooNoisy => "TOO NOISY",
            Verdict::NoBaseline => "NOT MEASURED",
        };
        let value = self.value.map_or_else(String::new, |value| {
            let ends = match (self.low, self.high) {
                (Some(low), Some(high)) => format!(" [{low:.4}, {high:.4}]"),
                _ => String::new(),
            };
            format!(", is {value:.4}{ends}")
        });
        let note = self.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
        format!("{verdict} {}{value}{note}", self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units() {
        let limit = |text: &str| text.parse::<Limit>();
        assert_eq!(limit("p99 <= 50 ms").unwrap(), limit(" p99≤ 50 ms").unwrap());
        assert_eq!(limit("p99 <= 50ms").unwrap().to_string(), "p99 ≤ 50ms");
        assert!((limit("p99 <= 0.05 s").unwrap().bound - 50.0).abs() < 1e-12);
        assert!((limit("size <= 1.5 GB").unwrap().bound - 1500.0).abs() < 1e-9);
        assert!(limit("accuracy >= 0.90").unwrap().is_at_least());
        for bad in [
            "p99 < 50 ms",
            "p99 <= ms",
            "p99 <= 50",
            "p99 <= 50 MB",
            "<= 5 ms",
            "accuracy >= 0.9 ms",
            "p50 <= -1 ms",
        ] {
            let error = limit(bad).unwrap_err().to_string();
            assert!(error.contains("limit `"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_record_keeps_to_a_limit_breaks_it_or_cannot_tell() {
        let text = include_str!("../../benches/record.json");
        let record: Record = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let check = |text: &str| text.parse::<Limit>().unwrap().check(&record);
        // p99 is 2.295 [2.252, 3.392] ms, accuracy 0.951.
        assert_eq!(check("p99 <= 50 ms").verdict, Verdict::Pass);
        assert_eq!(check("p99 <= 2 ms").verdict, Verdict::Regression);
        assert_eq!(check("p99 <= 2500 us").verdict, Verdict::TooNoisy);
        assert_eq!(check("accuracy >= 0.95").verdict, Verdict::Pass);
        assert_eq!(check("accuracy >= 0.96").verdict, Verdict::Regression);
        assert_eq!(check("bleu >= 0.1").verdict, Verdict::NoBaseline);
        assert_eq!(check("throughput >= 100 /s").verdict, Verdict::Pass);
        assert_eq!(check("size <= 3 MB").verdict, Verdict::Regression);
        let mut invalid = record.clone();
        invalid.verdict.valid = false;
        let of = |text: &str| text.parse::<Limit>().unwrap().check(&invalid).verdict;
        assert_eq!(
            (of("p99 <= 50 ms"), of("accuracy >= 0.95")),
            (Verdict::TooNoisy, Verdict::Pass)
        );
    }
}
