//! What services that keep a history of benchmarks read: Bencher, and the action github-action-benchmark.

use serde_json::{Map, Value, json};

use super::{CaseReport, GateReport};
use crate::error::{Error, Result};
use crate::gate::Metric;
use crate::stats;

/// Bencher takes names of benchmarks up to this many bytes.
const LONGEST_NAME: usize = 1024;

impl CaseReport {
    /// The candidate's median latency in ms, where its observations are here.
    fn candidate_ms(&self) -> Option<f64> {
        let pairs = self.gate.pairs.iter();
        let latencies: Vec<f64> = pairs.flat_map(|p| p.candidate_ms.iter().copied()).collect();
        stats::median(&latencies)
    }
}

impl GateReport {
    /// Bencher Metric Format: the candidate's median latency in ns, what limits are of, and changes in percent.
    pub fn bmf(&self) -> Result<String> {
        let mut all = Map::new();
        for case in &self.cases {
            let mut measures = Map::new();
            if let Some(ms) = case.candidate_ms() {
                measures.insert("latency".to_owned(), json!({ "value": ms * 1e6 }));
            }
            for found in &case.found {
                if let Some(evidence) = found.evidence {
                    let ends = (evidence.low, evidence.high);
                    // Points of quality are in their own unit, everything else in percent.
                    let unit = if found.metric.is_points() { 1.0 } else { 100.0 };
                    let measure = measure(evidence.effect * unit, ends, unit);
                    measures.insert(format!("change-{}", found.metric.name()), measure);
                }
            }
            for limit in &case.limits {
                if let Some(value) = limit.value {
                    let measure = measure(value, (limit.low, limit.high), 1.0);
                    measures.insert(limit.limit.subject().to_owned(), measure);
                }
            }
            // A benchmark without measures is none.
            if !measures.is_empty() {
                all.insert(name(self, case), Value::Object(measures));
            }
        }
        serde_json::to_string_pretty(&all).map_err(|e| Error::internal("gate", e))
    }

    /// The two files of github-action-benchmark: of what is better when smaller, and of what is better when larger.
    ///
    /// `None` for one that would be empty, which the action refuses.
    pub fn action_benchmark(&self) -> Result<[Option<String>; 2]> {
        let (mut smaller, mut bigger) = (Vec::new(), Vec::new());
        for case in &self.cases {
            let entry = |what: &str, unit: &str, value: f64, range: Option<f64>, extra: &str| {
                let mut entry = json!({
                    "name": format!("{} {what}", name(self, case)),
                    "unit": unit,
                    "value": value,
                    "extra": extra,
                });
                if let Some(range) = range {
                    entry["range"] = json!(format!("± {range:.3}"));
                }
                entry
            };
            if let Some(ms) = case.candidate_ms() {
                smaller.push(entry("p50", "ms", ms, None, "candidate's median latency"));
            }
            for exact in case.gate.exact.iter().filter(|exact| exact.metric == Metric::Quality) {
                let entry =
                    entry("quality", &exact.unit, exact.candidate, None, "candidate's figure");
                if exact.less_is_worse { bigger.push(entry) } else { smaller.push(entry) }
            }
            for found in case.found.iter().filter(|found| !found.metric.is_points()) {
                let Some(evidence) = found.evidence else { continue };
                let range = evidence.low.zip(evidence.high).map(|(low, high)| (high - low) * 50.0);
                // 100 is the baseline: their action divides by the value before, which a change of 0 would spoil.
                let index = 100.0 * (1.0 + evidence.effect);
                let what = format!("{} of baseline", found.metric.name());
                let verdict = super::tables::said(found, case.usd_per_million);
                let entry = entry(&what, "percent", index, range, &verdict);
                let is_bigger = found.metric == Metric::Throughput;
                if is_bigger { bigger.push(entry) } else { smaller.push(entry) }
            }
            for limit in &case.limits {
                let Some(value) = limit.value else { continue };
                let subject = limit.limit.subject();
                let entry = entry(subject, limit.limit.unit(), value, None, &limit.said());
                if limit.limit.is_at_least() { bigger.push(entry) } else { smaller.push(entry) }
            }
        }
        let text = |all: &[Value]| {
            let text = serde_json::to_string_pretty(all).map_err(|e| Error::internal("gate", e))?;
            Ok::<_, Error>((!all.is_empty()).then_some(text))
        };
        Ok([text(&smaller)?, text(&bigger)?])
    }
}

fn measure(value: f64, (low, high): (Option<f64>, Option<f64>), factor: f64) -> Value {
    let mut measure = json!({ "value": value });
    for (key, end) in [("lower_value", low), ("upper_value", high)] {
        if let Some(end) = end {
            measure[key] = json!(end * factor);
        }
    }
    measure
}

/// Workload and case, cut to what Bencher takes.
fn name(report: &GateReport, case: &CaseReport) -> String {
    let mut name = format!("{} {}", report.workload, case.label);
    while name.len() > LONGEST_NAME {
        name.pop();
    }
    name
}
