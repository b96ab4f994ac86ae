//! A case beside the baseline's.

use serde::{Deserialize, Serialize};

use super::observations::ObservationsFile;
use super::record::Record;

/// A case beside the baseline's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versus {
    /// Name of the baseline.
    pub baseline: String,
    /// The baseline's p50 over this one's: above 1 is faster.
    pub speedup: Option<f64>,
    /// This file's size over the baseline's.
    pub size_ratio: Option<f64>,
    /// The deciding figure over the baseline's.
    pub quality_kept: Option<f64>,
    /// How the two were measured: `alternating_bursts` of pairs of fresh processes that are live together,
    /// a full batch at a time; `separate_processes`, one after the other; `invalid` where one of the
    /// latter cannot be believed; `unmeasured` where the baseline has no record.
    pub basis: String,
    /// Lower end of the speed-up's 95 % interval over process pairs (Hodges–Lehmann, exact signed rank);
    /// `null` on any other basis.
    #[serde(default)]
    pub speedup_low: Option<f64>,
    /// Upper end of it.
    #[serde(default)]
    pub speedup_high: Option<f64>,
    /// ln of each process pair's speed-up.
    #[serde(default)]
    pub pairs: Vec<f64>,
    /// The pairs' raw observations, the baseline's before this one's.
    #[serde(default)]
    pub observations: Vec<ObservationsFile>,
    /// Why there are no pairs although they were asked for.
    #[serde(default)]
    pub failure: Option<String>,
}

impl Versus {
    /// Beside a baseline that has no record: its name, and both files' sizes.
    pub fn unmeasured(baseline: &str, size: u64, baseline_size: u64) -> Self {
        Self {
            baseline: baseline.to_owned(),
            speedup: None,
            size_ratio: (size > 0 && baseline_size > 0).then(|| size as f64 / baseline_size as f64),
            quality_kept: None,
            basis: "unmeasured".to_owned(),
            speedup_low: None,
            speedup_high: None,
            pairs: Vec::new(),
            observations: Vec::new(),
            failure: None,
        }
    }
}

impl Record {
    /// This case beside the baseline's `other`.
    ///
    /// There is no speed-up where one of the two cannot be believed, and no quality kept where less
    /// of the figure is better.
    pub fn versus(&self, other: &Self) -> Versus {
        let ratio = |a: f64, b: f64| (a > 0.0 && b > 0.0).then(|| a / b);
        let p50 = |r: &Self| r.latency_ms.get("p50").copied().flatten().map(|i| i.value);
        let believed = self.verdict.valid && other.verdict.valid;
        let quality =
            self.deciding().zip(other.deciding()).filter(|_| !self.verdict.fewer_is_better);
        Versus {
            baseline: other.case.variant.clone(),
            speedup: p50(other)
                .zip(p50(self))
                .filter(|_| believed)
                .and_then(|(theirs, own)| ratio(theirs, own)),
            size_ratio: ratio(self.size_bytes.0 as f64, other.size_bytes.0 as f64),
            quality_kept: quality.and_then(|(own, theirs)| ratio(own.value, theirs.value)),
            basis: if believed { "separate_processes" } else { "invalid" }.to_owned(),
            speedup_low: None,
            speedup_high: None,
            pairs: Vec::new(),
            observations: Vec::new(),
            failure: None,
        }
    }
}
