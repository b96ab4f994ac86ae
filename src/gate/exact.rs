//! What is known without an interval: sizes, quality on a fixed test set, counted instructions.

use serde::{Deserialize, Serialize};

use super::case::{Found, unknown};
use super::decision::{Evidence, Verdict};
use super::metric::Metric;

/// Both sides' figures of a metric that is compared once, as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    /// Which.
    pub metric: Metric,
    /// Of the baseline.
    pub baseline: f64,
    /// Of the candidate.
    pub candidate: f64,
    /// Whether less of it is worse.
    pub less_is_worse: bool,
    /// What it is in words, e.g. `accuracy on 1092 samples`.
    pub unit: String,
    /// Ends of the interval of the difference, where there is one, e.g. for other samples of the same kind.
    pub ends: Option<(f64, f64)>,
}

impl Exact {
    /// What it comes to against its budget.
    pub(super) fn found(&self, budget: Option<f64>) -> Option<Found> {
        let difference = self.candidate - self.baseline;
        let effect = if self.metric.is_points() {
            difference
        } else if self.baseline > 0.0 {
            difference / self.baseline
        } else if difference == 0.0 {
            0.0
        } else {
            let note =
                format!("the baseline has none of it: {} {}", plain(self.baseline), self.unit);
            return budget.map(|b| Found { note: Some(note), ..unknown(self.metric, b) });
        };
        if self.metric == Metric::Instructions && self.candidate.min(self.baseline) <= 0.0 {
            let note = "no instructions were counted: does another process do the work?";
            return budget
                .map(|b| Found { note: Some(note.to_owned()), ..unknown(self.metric, b) });
        }
        let worse = if self.less_is_worse { -effect } else { effect };
        // What differs by rounding alone is the same.
        let slack = 1e-9;
        let verdict = budget.map(|budget| match worse {
            w if w > budget + slack => Verdict::Regression,
            w if w < -budget - slack => Verdict::Improvement,
            _ => Verdict::Pass,
        });
        let (low, high) = self.ends.unwrap_or((effect, effect));
        let evidence = Evidence {
            effect,
            low: Some(low),
            high: Some(high),
            p_value: None,
            mde: None,
            pairs: 0,
        };
        let note = Some(format!(
            "as it is: {} and {} {}",
            plain(self.baseline),
            plain(self.candidate),
            self.unit
        ));
        Some(Found { metric: self.metric, budget, evidence: Some(evidence), verdict, note })
    }
}

fn plain(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}
