//! Ways to serve: measured cases and stated options, before any price.

use std::collections::BTreeMap;

use serde::Serialize;

use super::business::Stated;
use super::fleet::Basis;
use super::import::median;
use crate::error::{Error, Result};
use crate::store::{Record, Throughput};

/// A latency that must be kept to.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// e.g. `p99`.
    pub percentile: String,
    /// In ms.
    pub ms: f64,
}

/// Percentiles that records have.
const KEPT: [&str; 5] = ["p50", "p90", "p95", "p99", "p99.9"];

/// `p99<50ms`.
///
/// Errors say what forms there are.
pub fn parse_slo(text: &str) -> Result<Slo> {
    let refuse = || {
        Error::input(format!("--slo {text}"), "is no bound of a latency")
            .remedy("write a percentile and milliseconds: p99<50ms")
    };
    let (percentile, bound) = text.split_once('<').ok_or_else(refuse)?;
    let bound = bound.trim_start_matches('=').trim();
    let ms: f64 = bound.strip_suffix("ms").unwrap_or(bound).trim().parse().map_err(|_| refuse())?;
    let percentile = percentile.trim().to_owned();
    if !KEPT.contains(&percentile.as_str()) {
        return Err(Error::input(format!("--slo {text}"), "is of a percentile that no record has")
            .remedy(format!("name one of {}, as in p99<50ms", KEPT.join(", "))));
    }
    if !(ms.is_finite() && ms > 0.0) {
        return Err(refuse());
    }
    Ok(Slo { percentile, ms })
}

/// What a replica serves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Capacity {
    /// Requests a second.
    pub per_s: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// How it is known.
    pub basis: Basis,
}

impl Capacity {
    /// Of a machine with so many times the CPUs.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let end = |of: Option<f64>| of.map(|v| v * factor);
        Self { per_s: self.per_s * factor, low: end(self.low), high: end(self.high), ..*self }
    }
}

/// A way to serve.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Way<'a> {
    /// What it is called: a variant, or an option's name.
    pub name: String,
    /// What it was measured as; `None` for what is stated. Of several measurements the last.
    pub record: Option<&'a Record>,
    /// What the user stated; `None` for what was measured.
    pub stated: Option<&'a Stated>,
    /// Runs that measured it.
    pub runs: usize,
    /// Batch size and load, in words.
    pub load: Option<String>,
    /// Requests a second of what was measured, or of a stated replica.
    pub capacity: Option<Capacity>,
    /// The bill of a month, where it does not depend on a fleet.
    pub bill: Option<f64>,
    /// Latency of a request, in ms.
    pub latency_ms: Option<f64>,
    /// Which percentile that is, e.g. `p99`.
    pub latency_is: Option<String>,
    /// Share of right answers, or whatever decides quality.
    pub quality: Option<f64>,
    /// Whether less of that is better.
    pub fewer_is_better: bool,
    /// Mean latency in ms, or what stands for it.
    pub mean_ms: Option<f64>,
    /// Peak memory of the process that served it, in bytes.
    pub memory: Option<u64>,
    /// Why it cannot be chosen, whatever the price; empty where it can.
    pub excluded: Vec<String>,
}

/// Records of the same case on the same class of hardware, from however many runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Merged<'a> {
    /// The last one, a valid one if there is any.
    pub last: &'a Record,
    /// Those that count: the valid ones, or all where none is.
    pub all: Vec<&'a Record>,
}

/// Puts together what was measured more than once: the same case on the same class of hardware.
pub(super) fn merge(records: &[Record]) -> Vec<Merged<'_>> {
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    let mut at: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for record in records {
        let key = (record.hardware_class.as_str(), record.case.id.as_str());
        let place = *at.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(record);
    }
    let merged = groups.into_iter().filter_map(|group| {
        let valid: Vec<&Record> = group.iter().copied().filter(|r| r.verdict.valid).collect();
        let all = if valid.is_empty() { group } else { valid };
        let last = all.iter().copied().max_by(|a, b| a.started_at.cmp(&b.started_at))?;
        Some(Merged { last, all })
    });
    merged.collect()
}

impl Merged<'_> {
    /// Samples a second: the median of the runs, and the widest of their intervals, so that what differs between
    /// runs is seen. `None` where no run has any.
    pub(super) fn throughput(&self) -> Option<Throughput> {
        let of = |r: &&Record| r.throughput_per_s.clone().filter(|t| t.value > 0.0);
        let all: Vec<Throughput> = self.all.iter().filter_map(of).collect();
        let value = median(&mut all.iter().map(|t| t.value).collect::<Vec<_>>())?;
        let end = |end: fn(&Throughput) -> Option<f64>, best: fn(f64, f64) -> f64| {
            let ends: Option<Vec<f64>> = all.iter().map(end).collect();
            ends?.into_iter().reduce(best)
        };
        let (low, high) = (end(|t| t.low, f64::min), end(|t| t.high, f64::max));
        Some(Throughput { value, low, high, unit: all[0].unit.clone() })
    }

    /// A percentile's median over the runs, in ms.
    fn latency(&self, percentile: &str) -> Option<f64> {
        let of = |r: &&Record| Some(r.latency_ms.get(percentile)?.as_ref()?.value);
        median(&mut self.all.iter().filter_map(of).collect::<Vec<_>>())
    }
}

/// A measured case as a way to serve, or why it is none.
///
/// Capacity is what a closed or offline load was answered (`saturated`), or the rate of an open load that met `slo`
/// (`slo`).
pub(super) fn way<'a>(merged: &Merged<'a>, slo: Option<&Slo>) -> Result<Way<'a>, String> {
    let record = merged.last;
    let is_open = record.case.scenario.kind() == "open";
    if is_open && slo.is_none() {
        return Err(
            "open loads, whose rate says what a machine can serve only with --slo".to_owned()
        );
    }
    let Some(throughput) = merged.throughput() else {
        return Err(format!("case {} has no throughput", record.case.id));
    };
    let percentile = slo.map_or("p99", |slo| slo.percentile.as_str());
    // Without a bound the median is what a client would call the latency.
    let (is, ms) = match slo {
        Some(_) => (percentile, merged.latency(percentile)),
        None => ("p50", merged.latency("p50")),
    };
    let mut excluded = Vec::new();
    if record.engine() != record.case.backend {
        excluded.push("a software adapter says nothing of a GPU".to_owned());
    }
    if !record.verdict.valid {
        excluded.push(format!("INVALID: {}", record.verdict.reasons.join("; ")));
    }
    if merged.all.iter().any(|r| r.verdict.meets_quality == Some(false)) {
        excluded.push("fails its quality gate".to_owned());
    }
    if let Some(slo) = slo {
        match ms {
            None => excluded.push(format!("too few requests for its {}", slo.percentile)),
            Some(ms) if ms > slo.ms => {
                excluded.push(format!("{} is {ms:.1} ms, above {} ms", slo.percentile, slo.ms));
            }
            Some(_) => {}
        }
    }
    // An open load's rate is what came; the interval is of what was answered, which is the same.
    let basis = if is_open { Basis::Slo } else { Basis::Saturated };
    let Throughput { value, low, high, .. } = throughput;
    Ok(Way {
        name: record.case.variant.clone(),
        record: Some(record),
        stated: None,
        runs: merged.all.len(),
        load: Some(format!("{} {}", record.case.batching, record.case.scenario)),
        capacity: Some(Capacity { per_s: value, low, high, basis }),
        bill: None,
        latency_ms: ms,
        latency_is: Some(is.to_owned()),
        quality: record.deciding().map(|figure| figure.value),
        fewer_is_better: record.verdict.fewer_is_better,
        mean_ms: merged.latency("p50"),
        memory: merged.all.iter().filter_map(|r| r.memory_bytes.peak_rss).map(|b| b.0).max(),
        excluded,
    })
}

/// A stated option; `requests_per_month` makes a price by the request a bill.
pub(super) fn stated<'a>(
    option: &'a Stated,
    requests_per_month: f64,
    slo: Option<&Slo>,
) -> Way<'a> {
    let excluded = match (slo, option.latency_ms) {
        (Some(slo), Some(ms)) if ms > slo.ms => {
            vec![format!("its latency is stated as {ms} ms, above {} ms", slo.ms)]
        }
        (Some(_), None) => vec!["its latency is not stated".to_owned()],
        _ => Vec::new(),
    };
    let capacity = option.capacity_per_s.map(|per_s| Capacity {
        per_s,
        low: None,
        high: None,
        basis: Basis::Assumed,
    });
    Way {
        name: option.name.clone(),
        stated: Some(option),
        capacity,
        bill: option.bill(requests_per_month),
        latency_ms: option.latency_ms,
        mean_ms: option.latency_ms,
        excluded,
        quality: option.accuracy,
        ..Way::default()
    }
}
