//! What one pair of fresh processes gave.

use serde::{Deserialize, Serialize};

use super::metric::Metric;

/// What one pair of fresh processes gave: natural logarithms of candidate / baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Of the median latency.
    pub p50: f64,
    /// Of the mean time of a request; `None` where only medians are known.
    pub mean: Option<f64>,
    /// Of the time to load; `None` where a program does not tell.
    pub load: Option<f64>,
    /// Of the largest resident set; `None` where the system does not tell.
    pub peak_rss: Option<f64>,
    /// Latencies of the baseline, in ms; a history does not keep them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline_ms: Vec<f64>,
    /// Of the candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_ms: Vec<f64>,
}

impl Pair {
    /// Its log-ratio of a metric, larger being worse; `None` where a pair says nothing of it by itself.
    pub fn log_ratio(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::P50 => Some(self.p50),
            Metric::Throughput | Metric::Cost => self.mean,
            Metric::Load => self.load,
            Metric::PeakRss => self.peak_rss,
            Metric::P95 | Metric::P99 | Metric::Size | Metric::Quality | Metric::Instructions => {
                None
            }
        }
    }

    /// The same without its latencies.
    #[must_use]
    pub fn without_latencies(&self) -> Self {
        Self { baseline_ms: Vec::new(), candidate_ms: Vec::new(), ..self.clone() }
    }
}
