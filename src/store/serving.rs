//! What serving a load was like besides its latency: where the time went, how full batches were, what
//! was never answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::load::{Observation, Outcome, Window};
use crate::stats;
use crate::units::Nanos;

/// Confidence with which an SLO is said to be met, as MLPerf LoadGen's.
const SLO_CONFIDENCE: f64 = 0.99;

/// Where the time of answered requests went, in ms: order statistics, or the largest value where there
/// are too few requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Half of the requests take no longer.
    pub p50: f64,
    /// 99 % take no longer.
    pub p99: f64,
}

/// Whether latency kept to its bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloRecord {
    /// e.g. `p99`.
    pub percentile: String,
    /// The bound in ms.
    pub bound_ms: f64,
    /// Requests that were due in the window.
    pub requests: usize,
    /// Of those, how many took longer, failed or were never run.
    pub over: usize,
    /// `true` where that few are over that the percentile keeps to the bound with a confidence of 99 %
    /// (the rule of MLPerf LoadGen's early stopping, for independent requests); `false` where the
    /// percentile itself is above it; `null` where there are too few requests to tell.
    pub met: Option<bool>,
}

/// What serving was like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Serving {
    /// From the scheduled time until the client handed the request over.
    pub lag_ms: Option<Span>,
    /// From then until its batch began to run.
    pub waiting_ms: Option<Span>,
    /// From then until its outputs were there.
    pub service_ms: Option<Span>,
    /// Batches by the number of their samples.
    pub batch_sizes: BTreeMap<usize, usize>,
    /// Requests that found the queue full.
    pub rejected: usize,
    /// Requests that still waited when the load's time was over.
    pub unfinished: usize,
    /// Requests due in the window a second.
    pub offered_per_s: f64,
    /// By how many more requests waited at the end of the window than in its middle.
    pub backlog_growth: i64,
    /// Requests that were due in its second half.
    pub late_arrivals: usize,
}

/// Computes what serving the load in `window` was like.
pub fn serving(observations: &[Observation], window: Window) -> Serving {
    let answered: Vec<&Observation> =
        observations.iter().filter(|o| o.outcome == Outcome::Ok).collect();
    let span = |of: fn(&Observation) -> Nanos| {
        let mut values: Vec<f64> = answered.iter().map(|o| of(o).as_millis_f64()).collect();
        values.sort_by(f64::total_cmp);
        let at = |p| stats::order_statistic(&values, p);
        Some(Span { p50: at(0.5)?, p99: at(0.99)? })
    };
    let mut batches: BTreeMap<u32, usize> = BTreeMap::new();
    for observation in &answered {
        *batches.entry(observation.batch).or_default() += 1;
    }
    let mut batch_sizes = BTreeMap::new();
    for size in batches.values() {
        *batch_sizes.entry(*size).or_default() += 1;
    }
    let count = |outcome| observations.iter().filter(|o| o.outcome == outcome).count();
    let middle = Nanos(u64::midpoint(window.start.0, window.end.0));
    let waiting_at = |at: Nanos| {
        let waits = |o: &&Observation| {
            let is_answered = match o.outcome {
                Outcome::Rejected => true,
                Outcome::Unfinished => false,
                Outcome::Ok | Outcome::Error => o.done <= at,
            };
            o.scheduled <= at && !is_answered
        };
        i64::try_from(observations.iter().filter(waits).count()).unwrap_or(i64::MAX)
    };
    let due = |from: Nanos| {
        observations.iter().filter(|o| o.scheduled >= from && o.scheduled <= window.end).count()
    };
    let seconds = (window.end - window.start).as_secs_f64();
    Serving {
        lag_ms: span(|o| o.sent - o.scheduled),
        waiting_ms: span(|o| o.start - o.sent),
        service_ms: span(Observation::service),
        batch_sizes,
        rejected: count(Outcome::Rejected),
        unfinished: count(Outcome::Unfinished),
        offered_per_s: if seconds > 0.0 { due(window.start) as f64 / seconds } else { 0.0 },
        backlog_growth: waiting_at(window.end) - waiting_at(middle),
        late_arrivals: due(middle),
    }
}

/// Judges a latency bound: `share` of the requests must take at most `bound_ms`.
pub fn slo(observations: &[Observation], percentile: &str, share: f64, bound_ms: f64) -> SloRecord {
    let is_over =
        |o: &&Observation| o.outcome != Outcome::Ok || o.latency().as_millis_f64() > bound_ms;
    let requests = observations.len();
    let over = observations.iter().filter(is_over).count();
    let under = (requests - over) as u64;
    let needed =
        stats::required_under(u32::try_from(over).unwrap_or(u32::MAX), share, SLO_CONFIDENCE);
    let met = if requests > 0 && (under as f64) < share * requests as f64 {
        Some(false)
    } else {
        (under >= needed).then_some(true)
    };
    SloRecord { percentile: percentile.to_owned(), bound_ms, requests, over, met }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(scheduled: u64, start: u64, done: u64, batch: u32, outcome: Outcome) -> Observation {
        Observation {
            scheduled: Nanos(scheduled),
            sent: Nanos(scheduled),
            start: Nanos(start),
            done: Nanos(done),
            batch,
            session: 0,
            sample: 0,
            outcome,
        }
    }

    #[test]
    fn time_is_split_and_batches_are_counted_by_size() {
        let ms = 1_000_000;
        let observations = [
            request(0, ms, 3 * ms, 0, Outcome::Ok),
            request(0, ms, 3 * ms, 0, Outcome::Ok),
            request(2 * ms, 3 * ms, 5 * ms, 1, Outcome::Ok),
            request(3 * ms, 3 * ms, 3 * ms, u32::MAX, Outcome::Rejected),
        ];
        let window = Window { start: Nanos(0), end: Nanos(4 * ms) };
        let serving = serving(&observations, window);
        let (waiting, service) = (serving.waiting_ms.unwrap(), serving.service_ms.unwrap());
        assert_eq!((waiting.p50, service.p99), (1.0, 2.0));
        assert_eq!(serving.batch_sizes, BTreeMap::from([(1, 1), (2, 1)]));
        assert_eq!((serving.rejected, serving.offered_per_s), (1, 1000.0));
        // Three wait in the middle, one at the end.
        assert_eq!((serving.backlog_growth, serving.late_arrivals), (-2, 2));
    }

    #[test]
    fn a_bound_is_met_failed_or_not_yet_known() {
        let of = |fast: usize, slow: usize| -> Vec<Observation> {
            let one = |ms: u64| request(0, 0, ms * 1_000_000, 0, Outcome::Ok);
            (0..fast).map(|_| one(1)).chain((0..slow).map(|_| one(9))).collect()
        };
        // LoadGen's numbers: 459 without one over, 662 with one.
        assert_eq!(slo(&of(459, 0), "p99", 0.99, 5.0).met, Some(true));
        assert_eq!(slo(&of(458, 0), "p99", 0.99, 5.0).met, None);
        assert_eq!(slo(&of(661, 1), "p99", 0.99, 5.0).met, Some(true));
        assert_eq!(slo(&of(98, 2), "p99", 0.99, 5.0).met, Some(false));
        let mut with_rejected = of(661, 0);
        with_rejected.extend(vec![request(0, 0, 0, u32::MAX, Outcome::Rejected); 9]);
        let judged = slo(&with_rejected, "p99", 0.99, 5.0);
        assert_eq!((judged.over, judged.met), (9, Some(false)));
    }
}
