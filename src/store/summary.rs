//! From raw observations to the figures of a record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Serving;

use crate::load::{Observation, Outcome, Window};
use crate::stats::{self, CONFIDENCE, Interval};
use crate::units::Nanos;

/// Percentiles that a record holds.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
/// Blocks that the throughput's interval is bootstrapped over.
const BLOCKS: usize = 20;

/// A rate with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Samples a second over the window.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub high: Option<f64>,
    /// Always `samples`.
    pub unit: String,
}

/// The figures of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Percentiles of latency in ms, and `max`.
    pub latency_ms: BTreeMap<String, Option<Interval>>,
    /// Samples a second.
    pub throughput: Option<Throughput>,
    /// Requests answered.
    pub answered: usize,
    /// Requests that ended in an error.
    pub errors: usize,
    /// Batches run.
    pub batches: usize,
    /// Batches that p50 is worth after autocorrelation.
    pub effective_batches: f64,
    /// Drift of the time in the session over the window: that of latency is the queue's, too.
    pub trend: Option<stats::Trend>,
    /// p99 of `sent − scheduled`, or its maximum where there are too few requests.
    pub lag: Nanos,
    /// Latency at the same percentile.
    pub latency_at_lag: Nanos,
    /// What serving was like.
    pub serving: Serving,
}

/// Computes the figures of `observations`, in order of completion, of the load in `window`; those
/// drained after it count for latency and not for throughput.
///
/// A percentile's value is the order statistic over all requests, those that were never run taking for
/// ever: where it falls among them it is `None`. Its interval counts
/// batches, not requests, and fewer of them where latencies of neighbouring batches hang together.
/// Throughput counts samples completed within the window, `carried` ones of an open load's ramp too; its interval is a bootstrap over 20
/// consecutive blocks of equally many batches (fewer when there are fewer than two a block).
pub fn summarise(observations: &[Observation], window: Window, carried: &[Nanos]) -> Summary {
    let answered: Vec<&Observation> =
        observations.iter().filter(|o| o.outcome == Outcome::Ok).collect();
    let mut latencies: Vec<f64> = answered.iter().map(|o| o.latency().as_millis_f64()).collect();
    let serving = super::serving(observations, window);
    latencies.extend(vec![f64::INFINITY; serving.rejected + serving.unfinished]);
    let by_batch = slowest_by_batch(&answered);
    latencies.sort_by(f64::total_cmp);
    let mut effective_batches = by_batch.len() as f64;
    let mut latency_ms = BTreeMap::new();
    for (name, p) in PERCENTILES {
        let interval = stats::order_statistic(&latencies, p).and_then(|value| {
            let above: Vec<bool> = by_batch.iter().map(|latency| *latency > value).collect();
            let worth = stats::effective_size(&above);
            if name == "p50" {
                effective_batches = worth;
            }
            let found = stats::percentile(&latencies, p, worth, CONFIDENCE)?;
            let is_open = found.high.is_some_and(f64::is_infinite);
            let closed = Interval { low: None, high: None, ..found };
            value.is_finite().then_some(if is_open { closed } else { found })
        });
        latency_ms.insert(name.to_owned(), interval);
    }
    let slowest = latencies.iter().rev().find(|latency| latency.is_finite());
    let max = slowest.map(|max| Interval { value: *max, low: None, high: None });
    latency_ms.insert("max".to_owned(), max);
    let lags: Vec<f64> = sorted(observations.iter().map(|o| o.lag().0 as f64));
    let all: Vec<f64> = sorted(answered.iter().map(|o| o.latency().0 as f64));
    Summary {
        latency_ms,
        throughput: throughput(&answered, window, carried),
        answered: answered.len(),
        errors: observations.iter().filter(|o| o.outcome == Outcome::Error).count(),
        batches: by_batch.len(),
        effective_batches,
        trend: stats::trend(&service_by_batch(&answered), CONFIDENCE),
        lag: nanos_at(&lags, 0.99),
        latency_at_lag: nanos_at(&all, 0.99),
        serving,
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn nanos_at(sorted: &[f64], p: f64) -> Nanos {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "came from whole nanoseconds"
    )]
    Nanos(stats::order_statistic(sorted, p).unwrap_or(0.0) as u64)
}

/// Latency of each batch's slowest request in ms, in order of completion.
fn slowest_by_batch(answered: &[&Observation]) -> Vec<f64> {
    let mut batches: Vec<f64> = Vec::new();
    let mut last = None;
    for observation in answered {
        let latency = observation.latency().as_millis_f64();
        match batches.last_mut() {
            Some(slowest) if last == Some(observation.batch) => *slowest = slowest.max(latency),
            _ => batches.push(latency),
        }
        last = Some(observation.batch);
    }
    batches
}

/// Each batch's time in the session, in order of completion, as a multiple of what batches of its size
/// take: how full batches are is the queue's doing, not the session's.
fn service_by_batch(answered: &[&Observation]) -> Vec<f64> {
    let mut batches: Vec<(u32, usize, f64)> = Vec::new();
    for observation in answered {
        match batches.last_mut() {
            Some((batch, size, _)) if *batch == observation.batch => *size += 1,
            _ => batches.push((observation.batch, 1, observation.service().as_millis_f64())),
        }
    }
    let mut by_size: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (_, size, service) in &batches {
        by_size.entry(*size).or_default().push(*service);
    }
    let typical: BTreeMap<usize, f64> = by_size
        .into_iter()
        .filter_map(|(size, services)| Some((size, stats::median(&services)?)))
        .collect();
    let relative = |(_, size, service): &(u32, usize, f64)| {
        let typical = typical.get(size).filter(|t| **t > 0.0)?;
        Some(service / typical)
    };
    batches.iter().filter_map(relative).collect()
}

fn throughput(answered: &[&Observation], window: Window, carried: &[Nanos]) -> Option<Throughput> {
    // Completions within the window, a batch each: when, and how many samples.
    let mut batches: Vec<(Nanos, f64)> = Vec::new();
    let mut last = None;
    for observation in answered.iter().filter(|o| o.done <= window.end) {
        match batches.last_mut() {
            Some((_, samples)) if last == Some(observation.batch) => *samples += 1.0,
            _ => batches.push((observation.done, 1.0)),
        }
        last = Some(observation.batch);
    }
    batches.extend(carried.iter().map(|done| (*done, 1.0)));
    batches.sort_by_key(|(done, _)| *done);
    let blocks = (batches.len() / 2).clamp(1, BLOCKS);
    let mut from = window.start;
    let cut: Vec<(f64, f64)> = (0..blocks)
        .filter_map(|b| {
            let (first, after) = (b * batches.len() / blocks, (b + 1) * batches.len() / blocks);
            let block = &batches[first..after];
            // The last one lasts as long as the window, in which perhaps nothing came any more.
            let to = if b + 1 == blocks { window.end } else { block.last()?.0 };
            let length = (to - from).as_secs_f64();
            from = to;
            Some((block.iter().map(|(_, samples)| samples).sum(), length))
        })
        .collect();
    let Interval { value, low, high } = stats::block_bootstrap_rate(&cut, CONFIDENCE)?;
    Some(Throughput { value, low, high, unit: "samples".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(n: u32, batch: u32, service: u64) -> (Vec<Observation>, Window) {
        let observation = |i: u32| {
            let b = i / batch;
            let start = Nanos(u64::from(b) * service);
            Observation {
                scheduled: start,
                sent: start,
                start,
                done: start + Nanos(service),
                batch: b,
                session: 0,
                sample: i,
                outcome: Outcome::Ok,
            }
        };
        let observations: Vec<Observation> = (0..n).map(observation).collect();
        let end = observations.last().unwrap().done;
        (observations, Window { start: Nanos(0), end })
    }

    #[test]
    fn a_steady_service_has_the_obvious_figures() {
        let (observations, window) = served(800, 8, 2_000_000);
        let summary = summarise(&observations, window, &[]);
        assert_eq!(summary.batches, 100);
        let p50 = summary.latency_ms["p50"].unwrap();
        assert_eq!((p50.value, p50.low, p50.high), (2.0, Some(2.0), Some(2.0)));
        assert_eq!(summary.latency_ms["p99"].unwrap().high, None, "100 batches are too few");
        assert_eq!(summary.latency_ms["p99.9"], None, "800 requests are too few");
        let throughput = summary.throughput.unwrap();
        assert!((throughput.value - 4000.0).abs() < 1e-6);
        for end in [throughput.low, throughput.high] {
            assert!((end.unwrap() - 4000.0).abs() < 1e-6, "{throughput:?}");
        }
    }

    #[test]
    fn errors_are_not_answers() {
        let (mut observations, window) = served(100, 1, 1_000_000);
        observations[7].outcome = Outcome::Error;
        let summary = summarise(&observations, window, &[]);
        assert_eq!((summary.answered, summary.errors), (99, 1));
    }

    #[test]
    fn fuller_batches_are_no_drift() {
        // Two of one size, then two of another, again and again, with ever more of the larger.
        let mut observations = Vec::new();
        for batch in 0..200_u32 {
            let size: u64 = if batch < 100 { 1 } else { 4 };
            let service = size * 1_000_000 + u64::from(batch % 7) * 1000;
            for _ in 0..size {
                observations.push(Observation {
                    scheduled: Nanos(0),
                    sent: Nanos(0),
                    start: Nanos(0),
                    done: Nanos(service),
                    batch,
                    session: 0,
                    sample: 0,
                    outcome: Outcome::Ok,
                });
            }
        }
        let window = Window { start: Nanos(0), end: Nanos::from_secs(1) };
        let trend = summarise(&observations, window, &[]).trend.unwrap();
        assert!(trend.change.abs() < 0.01, "{trend:?}");
    }

    #[test]
    fn time_in_which_nothing_came_counts() {
        let (observations, window) = served(100, 1, 1_000_000);
        let window = Window { end: Nanos(2 * window.end.0), ..window };
        let throughput = summarise(&observations, window, &[]).throughput.unwrap().value;
        assert!((throughput - 500.0).abs() < 1e-6, "{throughput}");
    }

    #[test]
    fn what_was_never_run_took_for_ever() {
        let (mut observations, window) = served(100, 1, 1_000_000);
        for observation in &mut observations[..20] {
            observation.outcome = Outcome::Rejected;
        }
        let summary = summarise(&observations, window, &[]);
        let value = |name: &str| summary.latency_ms[name].map(|i| i.value.to_bits());
        assert_eq!(value("p50"), Some(1.0_f64.to_bits()));
        assert_eq!(summary.latency_ms["p90"], None, "a fifth was never answered");
        assert_eq!(value("max"), Some(1.0_f64.to_bits()));
        assert_eq!((summary.answered, summary.errors, summary.serving.rejected), (80, 0, 20));
    }

    #[test]
    fn nothing_answered_gives_no_figures() {
        let summary = summarise(&[], Window { start: Nanos(0), end: Nanos(0) }, &[]);
        assert!(summary.latency_ms.values().all(Option::is_none));
        assert_eq!(summary.throughput, None);
    }
}
