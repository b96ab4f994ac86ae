//! `[load]`: how requests come, how they are batched, and for how long.

use serde::{Deserialize, Serialize};

use crate::load::{Batching, Scenario};

/// `[load]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// `"single"` or `{ closed = { concurrency = 4 } }`.
    #[serde(default = "default_scenarios")]
    pub scenarios: Vec<Scenario>,
    /// e.g. `{ fixed = 8 }`.
    #[serde(default = "default_batching")]
    pub batching: Vec<Batching>,
    /// Sessions that serve at once.
    #[serde(default = "default_sessions")]
    pub sessions: Vec<u16>,
    /// Requests of an open load that may wait; those that find as many are rejected, and count as over
    /// any bound. No bound when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<usize>,
    /// Lengths that batches are padded to, in order, so that fewer shapes run; when left out a batch is as
    /// long as its longest sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<usize>,
    /// What latency must keep to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// Length of each case's window in seconds.
    #[serde(default = "default_duration")]
    pub duration_s: f64,
    /// Warm-up under the same load before it, in seconds.
    #[serde(default = "default_warmup")]
    pub warmup_s: f64,
    /// Processes that a case may take: one that a disturbance made INVALID is measured again in a
    /// fresh one, and every attempt is kept.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// How long an open load may be drained after its window, in seconds; what waits then is given up and
    /// counts as over any bound.
    #[serde(default = "default_drain")]
    pub drain_s: f64,
    /// Pairs of fresh processes in which each variant is compared with the baseline, taking turns; six are
    /// the least that have a 95 % interval, and 0 is none.
    #[serde(default = "default_pairs")]
    pub pairs: u32,
    /// Seed of the order in which samples are issued, and of arrivals.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// A worker that is silent for this long beyond what it was asked for is stopped, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: f64,
}

impl LoadSpec {
    /// What is wrong with it: the key and the sentence.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.attempts == 0 {
            return Err(("load.attempts", "must be at least 1".to_owned()));
        }
        let most = 1 << 16;
        if self.batching.iter().any(|b| b.size() > most)
            || self
                .scenarios
                .iter()
                .any(|s| s.outstanding(Batching::Fixed(1)).is_some_and(|n| n > most))
            || self.sessions.iter().any(|s| *s > 256)
        {
            let message = "takes batches and clients up to 65536 and sessions up to 256";
            return Err(("load", message.to_owned()));
        }
        if (1..6).contains(&self.pairs) || self.pairs > 64 {
            let message = "must be 0, or 6 to 64: fewer have no 95 % interval";
            return Err(("load.pairs", message.to_owned()));
        }
        let open =
            |s: &Scenario| if let Scenario::Open(open) = s { open.impossible() } else { None };
        if let Some(message) = self.scenarios.iter().find_map(open) {
            return Err(("load.scenarios", message));
        }
        if let Some(message) = self.batching.iter().find_map(|b| b.impossible()) {
            return Err(("load.batching", message));
        }
        if self.queue == Some(0) {
            return Err(("load.queue", "must be at least 1".to_owned()));
        }
        if !self.buckets.is_sorted() || self.buckets.contains(&0) {
            return Err(("load.buckets", "are lengths above 0 in ascending order".to_owned()));
        }
        if self.slo.is_some_and(|slo| !(slo.ms > 0.0 && slo.ms.is_finite())) {
            return Err(("load.slo.ms", "must be a time in ms above 0".to_owned()));
        }
        let empty = [
            ("load.scenarios", self.scenarios.is_empty()),
            ("load.batching", self.batching.is_empty()),
            ("load.sessions", self.sessions.is_empty() || self.sessions.contains(&0)),
        ];
        if let Some((key, _)) = empty.iter().find(|(_, is_wrong)| *is_wrong) {
            return Err((key, "must name at least one, and none may be 0".to_owned()));
        }
        let seconds = [
            ("load.duration_s", self.duration_s, 0.01),
            ("load.warmup_s", self.warmup_s, 0.0),
            ("load.timeout_s", self.timeout_s, 0.1),
            ("load.drain_s", self.drain_s, 0.0),
        ];
        for (key, value, least) in seconds {
            if !(value >= least && value <= 86_400.0) {
                return Err((key, format!("is {value}; give seconds from {least} to 86400")));
            }
        }
        Ok(())
    }
}

/// `slo = { percentile = "p99", ms = 50 }`: the latency percentile and bound to be met.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// The share of requests that must keep to it.
    #[serde(default)]
    pub percentile: SloPercentile,
    /// The bound in ms.
    pub ms: f64,
}

/// Percentiles that an SLO can be about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum SloPercentile {
    #[serde(rename = "p50")]
    P50,
    #[serde(rename = "p90")]
    P90,
    #[serde(rename = "p95")]
    P95,
    #[default]
    #[serde(rename = "p99")]
    P99,
    #[serde(rename = "p99.9")]
    P999,
}

impl SloPercentile {
    /// The share of requests.
    pub fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
        }
    }
}

fn default_scenarios() -> Vec<Scenario> {
    vec![Scenario::Single, Scenario::Closed { concurrency: 4 }]
}
fn default_batching() -> Vec<Batching> {
    vec![Batching::Fixed(1)]
}
fn default_sessions() -> Vec<u16> {
    vec![1]
}
fn default_duration() -> f64 {
    5.0
}
fn default_warmup() -> f64 {
    0.5
}
fn default_pairs() -> u32 {
    6
}
fn default_drain() -> f64 {
    5.0
}
fn default_attempts() -> u32 {
    3
}
fn default_timeout() -> f64 {
    120.0
}
fn default_seed() -> u64 {
    42
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            scenarios: default_scenarios(),
            batching: default_batching(),
            sessions: default_sessions(),
            queue: None,
            buckets: Vec::new(),
            slo: None,
            duration_s: default_duration(),
            warmup_s: default_warmup(),
            attempts: default_attempts(),
            drain_s: default_drain(),
            pairs: default_pairs(),
            seed: default_seed(),
            timeout_s: default_timeout(),
        }
    }
}
