//! How good a variant is, measured on the same test set by the session code that is timed.

mod classes;
mod evaluate;
mod head;
mod metric;
mod outputs;
mod parent;
mod rank;
mod scorer;
mod tokens;
mod truth;

pub use evaluate::{TestSet, evaluate};
pub use head::Head;
pub use metric::Metric;
pub use outputs::Outputs;
pub use scorer::{read_scores, scorer_input};
pub use truth::{NO_TOKEN, Truth};

use serde::{Deserialize, Serialize};

use crate::stats::Interval;

/// The segment that is the whole test set.
pub const ALL: &str = "all";

/// One measured quality figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityFigure {
    /// What is measured.
    pub metric: Metric,
    /// The part of the test set it is measured on: `all`, `class:NAME` or `segment:NAME`.
    pub segment: String,
    /// The figure, in the metric's unit.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub high: Option<f64>,
    /// Difference to the parent variant, where there is one.
    pub delta: Option<f64>,
    /// Lower end of the difference's paired 95 % interval.
    #[serde(default)]
    pub delta_low: Option<f64>,
    /// Upper end of it.
    #[serde(default)]
    pub delta_high: Option<f64>,
    /// Samples (pairs, queries) it was measured on.
    pub samples: usize,
}

impl QualityFigure {
    fn new(metric: Metric, segment: &str, interval: Interval, samples: usize) -> Self {
        Self {
            metric,
            segment: segment.to_owned(),
            value: interval.value,
            low: interval.low,
            high: interval.high,
            delta: None,
            delta_low: None,
            delta_high: None,
            samples,
        }
    }

    fn with_delta(mut self, delta: Option<Interval>) -> Self {
        if let Some(delta) = delta {
            self.delta = Some(delta.value);
            self.delta_low = delta.low;
            self.delta_high = delta.high;
        }
        self
    }
}
