//! `[gate]`: what a change may cost.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[gate]`: how much worse a metric may become, as a share of the baseline's: 0.05 is 5 %. A metric without one is
/// shown and decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSpec {
    /// Median latency; 0.05 when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// Requests a second of one client: how much less there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<f64>,
    /// The 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// The 99th.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// Time from the model's file to a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Largest resident set until the process is warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss: Option<f64>,
    /// The variant's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// The deciding figure of quality, in points: 0.01 lets an accuracy of 0.95 fall to 0.94.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// Cost per million inferences of a machine that is always busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Instructions an inference, as callgrind counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<f64>,
    /// What must hold whatever there was before: `p99 <= 50 ms`, `accuracy >= 0.90`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// A file of slow-downs that are accepted, below the workload's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<PathBuf>,
}
