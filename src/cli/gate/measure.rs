//! Measuring a case until its gate has what it needs.

use crate::cli::output;
use crate::error::Result;
use crate::gate::{CaseGate, Pair, Step};
use crate::load::Observation;
use crate::measure::{Arena, PairBursts, PairPlan, Side, compare};
use crate::stats;
use crate::units::{Clock, Nanos, RealClock};

/// What the sides' workers told while they were measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// What executes the baseline's model and the candidate's, name and version.
    pub(super) runtimes: [String; 2],
}

/// Measures until the gate has what it needs or `until` has come.
pub(super) fn decide(
    gate: &mut CaseGate,
    (a, b): (&Side, &Side),
    plan: PairPlan,
    arena: &Arena<'_>,
    (clock, until): (&RealClock, Option<Nanos>),
) -> Result<Told> {
    let mut told = Told::default();
    let mut first = 0;
    loop {
        let (count, confirms) = match gate.next() {
            Step::Done => return Ok(told),
            Step::Measure(pairs) => (pairs, false),
            Step::Confirm(pairs) => {
                output::say("  looks like a regression: measuring fresh pairs to confirm it");
                (pairs, true)
            }
        };
        output::say(&format!("  {count} pairs of fresh processes"));
        for _ in 0..count {
            if until.is_some_and(|until| clock.now() >= until) {
                return Ok(told);
            }
            compare(a, b, PairPlan { first, ..plan }, arena.interrupted, &mut |_, bursts| {
                let pair = pair_of(&bursts)?;
                told.runtimes = bursts.starts.map(|start| start.runtime);
                let list = if confirms { &mut gate.fresh } else { &mut gate.pairs };
                list.push(pair);
                Ok(())
            })?;
            first += 1;
        }
    }
}

/// The median latency in ms of either side, over all pairs.
pub(super) fn medians(gate: &CaseGate) -> [f64; 2] {
    let all = |of: fn(&Pair) -> &Vec<f64>| -> Vec<f64> {
        gate.pairs.iter().chain(&gate.fresh).flat_map(|p| of(p).iter().copied()).collect()
    };
    [all(|p| &p.baseline_ms), all(|p| &p.candidate_ms)]
        .map(|ms| stats::median(&ms).unwrap_or_default())
}

/// What a pair's bursts say.
fn pair_of(bursts: &PairBursts) -> Result<Pair> {
    let ms = |side: &[Vec<Observation>]| -> Vec<f64> {
        // Requests of a batch share its time: it counts once.
        let of_burst = |burst: &Vec<Observation>| {
            let mut batches: Vec<&Observation> = burst.iter().collect();
            batches.dedup_by_key(|o| o.batch);
            batches.into_iter().map(|o| o.latency().as_millis_f64()).collect::<Vec<_>>()
        };
        side.iter().flat_map(of_burst).collect()
    };
    let (baseline_ms, candidate_ms) = (ms(&bursts.a), ms(&bursts.b));
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let [a, b] = &bursts.starts;
    // A program of the user's may not say, which is 0.
    let load = (a.load.0 > 0 && b.load.0 > 0).then(|| (b.load.0 as f64 / a.load.0 as f64).ln());
    let memory = a.peak_rss.zip(b.peak_rss).filter(|(a, b)| a.0 > 0 && b.0 > 0);
    Ok(Pair {
        p50: bursts.log_ratio()?,
        mean: Some((mean(&candidate_ms) / mean(&baseline_ms)).ln()),
        load,
        peak_rss: memory.map(|(a, b)| (b.0 as f64 / a.0 as f64).ln()),
        baseline_ms,
        candidate_ms,
    })
}
