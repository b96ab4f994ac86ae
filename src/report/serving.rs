//! What a table's row does not say of serving: where the time went, how full batches were, what was
//! never answered, and whether latency kept to its bound.

use super::model::number;
use crate::load::Batching;
use crate::store::{LoadRecord, Record};

/// The bound that all of a run's records are held to, e.g. `p99 ≤ 50 ms`.
pub(super) fn bound(records: &[Record]) -> Option<String> {
    let slo = records.iter().find_map(|r| r.load.as_ref()?.slo.as_ref())?;
    Some(format!("{} ≤ {} ms", slo.percentile, slo.bound_ms))
}

/// Whether a record keeps to it.
pub(super) fn keeps(record: &Record) -> String {
    let slo = record.load.as_ref().and_then(|l| l.slo.as_ref());
    match slo.map(|slo| slo.met) {
        None => super::model::NONE,
        Some(Some(true)) => "met",
        Some(Some(false)) => "MISSED",
        Some(None) => "?",
    }
    .to_owned()
}

/// What is to be said of a record's serving, where it did more than take turns.
pub(super) fn note(record: &Record) -> Option<String> {
    let load = record.load.as_ref()?;
    let is_dynamic = matches!(record.case.batching, Batching::Dynamic { .. });
    if load.offered_per_s.is_none() && !is_dynamic {
        return None;
    }
    let mut parts = Vec::new();
    if let Some(offered) = load.offered_per_s {
        parts.push(format!("{} requests/s came", number(offered)));
    }
    if is_dynamic && let Some(mean) = load.mean_batch() {
        parts.push(format!("{} samples a batch", number(mean)));
    }
    let span = |what: &str, span: crate::store::Span| {
        format!("{what} {}/{} ms", number(span.p50), number(span.p99))
    };
    parts.extend(load.waiting_ms.map(|waiting| format!("p50/p99 {}", span("waiting", waiting))));
    parts.extend(load.service_ms.map(|service| span("in the session", service)));
    parts.extend(unanswered(load));
    Some(parts.join(", "))
}

fn unanswered(load: &LoadRecord) -> Option<String> {
    let all = load.requests.max(1) as f64;
    let share = |count: usize| number(100.0 * count as f64 / all);
    match (load.rejected, load.unfinished) {
        (0, 0) => None,
        (rejected, 0) => Some(format!("{} % rejected by the full queue", share(rejected))),
        (0, given_up) => Some(format!("{} % given up", share(given_up))),
        (rejected, given_up) => Some(format!(
            "{} % rejected by the full queue, {} % given up",
            share(rejected),
            share(given_up)
        )),
    }
}
