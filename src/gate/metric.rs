//! What a gate compares, and how much worse each may become.

use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median latency: per pair of processes the median over its rounds of the bursts' log-ratio.
    P50,
    /// Requests a second of one client: the inverse of the mean time of a request. Less is worse.
    Throughput,
    /// 95th percentile of latency, of all pairs together.
    P95,
    /// 99th.
    P99,
    /// From the model's file to a session.
    Load,
    /// Largest resident set until the process is warm.
    PeakRss,
    /// Size of the variant's file: exact.
    Size,
    /// The deciding figure of quality on the same samples, as a difference. Less is worse, but for distances.
    Quality,
    /// Cost per million inferences of a machine that is always busy: its price an hour times the mean time.
    Cost,
    /// Instructions an inference, counted by callgrind.
    Instructions,
}

impl Metric {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 10] = [
        Self::P50,
        Self::Throughput,
        Self::P95,
        Self::P99,
        Self::Load,
        Self::PeakRss,
        Self::Size,
        Self::Quality,
        Self::Cost,
        Self::Instructions,
    ];

    /// As workloads name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::Throughput => "throughput",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Load => "load",
            Self::PeakRss => "peak_rss",
            Self::Size => "size",
            Self::Quality => "quality",
            Self::Cost => "cost",
            Self::Instructions => "instructions",
        }
    }

    /// The metric of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether its change is a difference in points rather than a share of the baseline.
    pub fn is_points(self) -> bool {
        self == Self::Quality
    }

    /// Whether it is a percentile of all pairs together, whose interval is drawn and not exact.
    pub fn is_tail(self) -> bool {
        matches!(self, Self::P95 | Self::P99)
    }

    /// Whether it is known without measuring again and again: compared once, as it is.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Size | Self::Quality | Self::Instructions)
    }
}

/// Budgets by metric, as shares (of points for quality); a metric without one decides nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Budgets([Option<f64>; Metric::ALL.len()]);

impl Budgets {
    /// With a metric's budget.
    #[must_use]
    pub fn with(mut self, metric: Metric, budget: Option<f64>) -> Self {
        self.0[metric as usize] = budget;
        self
    }

    /// A metric's budget.
    pub fn of(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    /// How many metrics are decided by the exact test over pairs, each of which could err.
    pub fn comparisons(&self) -> usize {
        let deciding =
            |metric: &Metric| self.of(*metric).is_some() && !metric.is_exact() && !metric.is_tail();
        Metric::ALL.iter().filter(|metric| deciding(metric)).count()
    }

    /// Whether a tail has a budget.
    pub fn has_tail(&self) -> bool {
        Metric::ALL.iter().any(|metric| metric.is_tail() && self.of(*metric).is_some())
    }
}
