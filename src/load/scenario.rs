//! What is issued and when, as data.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Nobody waits longer for others.
const MOST_DELAY_MS: f64 = 60_000.0;

/// How requests come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scenario {
    /// One batch in flight: its requests are issued together, the next ones when it is done.
    Single,
    /// A fixed number of clients, each issuing its next request when its last one is done.
    Closed {
        /// Requests outstanding at any time.
        concurrency: u32,
    },
    /// Requests come when they come, whether earlier ones are answered or not.
    Open(Open),
    /// All requests are there at the start; what counts is when the last one is answered.
    Offline,
}

/// An open load: `{ rate = 200 }`, `{ rate = 200, arrivals = "constant" }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Requests a second. A trace has its own, which this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How the gaps between requests differ.
    #[serde(default, skip_serializing_if = "Arrivals::is_poisson")]
    pub arrivals: Arrivals,
}

/// How the gaps between arrivals differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// Independent clients: exponential gaps.
    #[default]
    Poisson,
    /// Equal gaps.
    Constant,
    /// Gamma-distributed gaps: more even than Poisson's below a coefficient of variation of 1, in
    /// bursts above.
    Gamma {
        /// Standard deviation of the gaps by their mean.
        cv: f64,
    },
    /// Gaps of a file: seconds since its start, one arrival a line.
    Trace {
        /// The file; relative paths start at the workload's folder.
        file: PathBuf,
    },
}

impl Arrivals {
    fn is_poisson(&self) -> bool {
        *self == Self::Poisson
    }
}

/// How requests become batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Batching {
    /// A request waits until this many samples run as one.
    Fixed(u32),
    /// A free session takes what is waiting: at once when `max_batch` are, otherwise when the oldest
    /// has waited for `max_delay_ms`.
    Dynamic {
        /// Samples of the largest batch.
        max_batch: u32,
        /// How long a request waits for others, in ms, while a session is free.
        max_delay_ms: f64,
    },
}

impl Batching {
    /// Samples of the largest batch.
    pub fn size(self) -> u32 {
        match self {
            Self::Fixed(size) | Self::Dynamic { max_batch: size, .. } => size,
        }
    }

    /// Samples of the smallest batch.
    pub fn least(self) -> u32 {
        match self {
            Self::Fixed(size) => size,
            Self::Dynamic { .. } => 1,
        }
    }

    /// Its size as tables show it: `8`, or `≤8 in 5ms` where batches differ.
    pub fn sizes(self) -> String {
        match self {
            Self::Fixed(size) => size.to_string(),
            Self::Dynamic { max_batch, max_delay_ms } => {
                format!("≤{max_batch} in {max_delay_ms}ms")
            }
        }
    }
}

impl Batching {
    /// Why nothing can be batched so.
    pub fn impossible(self) -> Option<String> {
        if self.size() == 0 {
            return Some("a batch needs at least 1 sample".to_owned());
        }
        let Self::Dynamic { max_delay_ms, .. } = self else { return None };
        (!(0.0..=MOST_DELAY_MS).contains(&max_delay_ms))
            .then(|| format!("max_delay_ms is a time from 0 to {MOST_DELAY_MS} ms"))
    }
}

impl Scenario {
    /// Requests outstanding at any time where that is known, given how they are batched.
    pub fn outstanding(&self, batching: Batching) -> Option<u32> {
        match self {
            Self::Single => Some(batching.size()),
            Self::Closed { concurrency } => Some(*concurrency),
            Self::Open(_) | Self::Offline => None,
        }
    }

    /// Its kind: `single`, `closed`, `open` or `offline`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Closed { .. } => "closed",
            Self::Open(_) => "open",
            Self::Offline => "offline",
        }
    }

    /// Why this scenario can never run with this batching, if it can't.
    pub fn impossible_with(&self, batching: Batching) -> Option<String> {
        if let Some(reason) = batching.impossible() {
            return Some(reason);
        }
        match self {
            Self::Closed { concurrency: 0 } => {
                Some("a closed load needs at least 1 client".to_owned())
            }
            Self::Closed { concurrency } if *concurrency < batching.least() => {
                Some(format!("{concurrency} clients never fill a batch of {}", batching.least()))
            }
            Self::Open(open) => open.impossible(),
            _ => None,
        }
    }
}

impl Open {
    /// Why it can never come, whatever serves it.
    pub fn impossible(&self) -> Option<String> {
        let sound = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= 1e6;
        match (&self.arrivals, self.rate) {
            (Arrivals::Trace { .. }, None) => None,
            (_, None) => Some("an open load needs a rate in requests a second".to_owned()),
            (_, Some(rate)) if !sound(rate) => {
                Some("the rate is a number of requests a second, at most 1,000,000".to_owned())
            }
            (Arrivals::Gamma { cv }, _) if !(0.01..=100.0).contains(cv) => {
                Some("cv is a number from 0.01 to 100".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("single"),
            Self::Closed { concurrency } => write!(f, "closed {concurrency}"),
            Self::Open(open) => write!(f, "open {open}"),
            Self::Offline => f.write_str("offline"),
        }
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate.map(|rate| format!("{rate}/s"));
        match &self.arrivals {
            Arrivals::Poisson => {}
            Arrivals::Constant => f.write_str("constant ")?,
            Arrivals::Gamma { cv } => write!(f, "gamma {cv} ")?,
            Arrivals::Trace { file } => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                write!(f, "{name}{}", if rate.is_some() { " " } else { "" })?;
            }
        }
        f.write_str(&rate.unwrap_or_default())
    }
}

impl fmt::Display for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "fixed {size}"),
            Self::Dynamic { max_batch, max_delay_ms } => {
                write!(f, "dynamic {max_batch} within {max_delay_ms} ms")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_never_fills_is_named() {
        let closed = Scenario::Closed { concurrency: 4 };
        assert!(closed.impossible_with(Batching::Fixed(8)).unwrap().contains("never fill"));
        assert_eq!(closed.impossible_with(Batching::Fixed(4)), None);
        assert_eq!(Scenario::Single.impossible_with(Batching::Fixed(8)), None);
        let dynamic = Batching::Dynamic { max_batch: 8, max_delay_ms: 1.0 };
        assert_eq!(closed.impossible_with(dynamic), None);
    }

    #[test]
    fn open_loads_are_written_as_tables_and_print_shortly() {
        #[derive(Deserialize)]
        struct File {
            s: Vec<Scenario>,
        }
        let text = r#"s = [
            { open = { rate = 200 } },
            { open = { rate = 50.5, arrivals = "constant" } },
            { open = { rate = 200, arrivals = { gamma = { cv = 2.5 } } } },
            { open = { arrivals = { trace = { file = "a/day.csv" } } } },
            "offline",
        ]"#;
        let file: File = toml::from_str(text).unwrap();
        let shown: Vec<String> = file.s.iter().map(ToString::to_string).collect();
        let expected = [
            "open 200/s",
            "open constant 50.5/s",
            "open gamma 2.5 200/s",
            "open day.csv",
            "offline",
        ];
        assert_eq!(shown, expected);
        for scenario in &file.s {
            assert_eq!(scenario.impossible_with(Batching::Fixed(1)), None);
        }
        let none = Scenario::Open(Open { rate: None, arrivals: Arrivals::Poisson });
        assert!(none.impossible_with(Batching::Fixed(1)).unwrap().contains("rate"));
        let wrong = Scenario::Open(Open { rate: Some(0.0), arrivals: Arrivals::Poisson });
        assert!(wrong.impossible_with(Batching::Fixed(1)).is_some());
    }
}
