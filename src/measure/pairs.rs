//! Two things compared: fresh processes of each, live together, taking turns in short bursts.
//!
//! Runs one after the other compare two moments of a machine, and their medians differ by 20 % and more
//! where nothing differs. Bursts of a few milliseconds in random order see the same machine; the pairs of
//! processes around them carry what differs from one start to the next.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::{Worker, WorkerCommand};
use super::protocol::{Command, Event, PrepareSpec};
use super::rounds::{BurstPlan, alternate, log_ratio_of_medians};
use crate::error::{Error, Result};
use crate::load::Observation;
use crate::stats;
use crate::units::{Bytes, Nanos};

/// A burst never has more batches than this, however fast they are.
const MOST_BATCHES: u32 = 1024;
/// Rounds of a process pair at least, however slow the model.
const LEAST_ROUNDS: u32 = 8;
/// What the rounds of one process pair may take, where that leaves the least number of them.
const PAIR_TIME: Nanos = Nanos::from_secs(3);

/// One of the two.
#[derive(Debug, Clone)]
pub struct Side {
    /// What it is called in errors.
    pub name: String,
    /// The program that its workers run.
    pub program: WorkerCommand,
    /// What they run.
    pub spec: PrepareSpec,
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairPlan {
    /// Number of the first pair: what is gone on with has other orders and samples than what is there.
    pub first: u32,
    /// Fresh process pairs; the exact 95 % interval needs six.
    pub pairs: u32,
    /// Rounds in each, a burst of either side a round.
    pub rounds: u32,
    /// Length of a burst of the slower side, 5 to 20 ms: at least one batch.
    pub burst: Nanos,
    /// How long each worker warms up.
    pub warmup: Nanos,
    /// Samples of the data set.
    pub samples: u32,
    /// Seed of the order.
    pub seed: u64,
    /// How long a worker may be silent.
    pub patience: Nanos,
}

/// Bursts of one process pair, one a round.
#[derive(Debug, Clone)]
pub struct PairBursts {
    /// Of the first side.
    pub a: Vec<Vec<Observation>>,
    /// Of the second.
    pub b: Vec<Vec<Observation>>,
    /// How either process started.
    pub starts: [Start; 2],
}

/// How a process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What executes the model, name and version.
    pub runtime: String,
    /// From the model's file to a session: reading, parsing, optimising, allocating.
    pub load: Nanos,
    /// Its largest resident set until it was warm.
    pub peak_rss: Option<Bytes>,
}

impl PairBursts {
    /// Median over the rounds of log(median latency of b / median latency of a).
    pub fn log_ratio(&self) -> Result<f64> {
        log_ratio_of_medians(&self.a, &self.b)
            .ok_or_else(|| Error::worker("burst", "took no time at all, or has no observations"))
    }
}

/// Runs fresh process pairs of `a` and `b` by `plan`, and hands each pair's bursts to `keep`.
pub fn compare(
    a: &Side,
    b: &Side,
    plan: PairPlan,
    interrupted: &Arc<AtomicBool>,
    keep: &mut dyn FnMut(u32, PairBursts) -> Result<()>,
) -> Result<()> {
    for pair in plan.first..plan.first + plan.pairs {
        let start = |side: &Side| started(side, plan, interrupted);
        // Who starts first gets other memory: it is each side's turn once.
        let ((one, of_a), (other, of_b)) = if pair % 2 == 0 {
            let first = start(a)?;
            (first, start(b)?)
        } else {
            let first = start(b)?;
            (start(a)?, first)
        };
        let mut workers = vec![one, other];
        let mut burst = BurstPlan {
            rounds: 1,
            batches: 3,
            batch_size: a.spec.batching.size(),
            samples: plan.samples,
            seed: plan.seed.wrapping_add(u64::from(pair)),
            patience: plan.patience,
        };
        let slowest = slowest(&alternate(&mut workers, burst)?);
        burst.batches = times(plan.burst, slowest, MOST_BATCHES);
        let round = Nanos(2 * u64::from(burst.batches + 1) * slowest.0);
        burst.rounds = times(PAIR_TIME, round, plan.rounds).max(LEAST_ROUNDS.min(plan.rounds));
        let mut bursts = alternate(&mut workers, burst)?.into_iter();
        for worker in workers {
            worker.quit()?;
        }
        let (Some(a), Some(b)) = (bursts.next(), bursts.next()) else {
            return Err(Error::internal("pairs", "a side gave no bursts"));
        };
        keep(pair, PairBursts { a, b, starts: [of_a, of_b] })?;
    }
    Ok(())
}

/// The median latency in ms of one side's fresh process that runs alone as many bursts of one batch as it
/// would have rounds: what pairs are better than.
pub fn alone(side: &Side, plan: PairPlan, interrupted: &Arc<AtomicBool>) -> Result<f64> {
    let mut workers = vec![started(side, plan, interrupted)?.0];
    let burst = BurstPlan {
        rounds: plan.rounds,
        batches: 3,
        batch_size: side.spec.batching.size(),
        samples: plan.samples,
        seed: plan.seed,
        patience: plan.patience,
    };
    let bursts = alternate(&mut workers, burst)?;
    for worker in workers {
        worker.quit()?;
    }
    Ok(slowest(&bursts).as_millis_f64())
}

/// A fresh worker of a side, prepared and warm.
fn started(side: &Side, plan: PairPlan, interrupted: &Arc<AtomicBool>) -> Result<(Worker, Start)> {
    let threads = side.spec.options.threads;
    let mut worker = Worker::start(&side.program, &side.name, threads, Arc::clone(interrupted))?;
    let prepare = Command::Prepare(Box::new(side.spec.clone()));
    let (load, runtime) = match worker.ask(&prepare, plan.patience)?.0 {
        Event::Prepared { facts } => {
            let runtime = format!("{} {}", facts.runtime.name, facts.runtime.version);
            (facts.load + facts.compile, runtime)
        }
        other => return Err(worker.unexpected(&other)),
    };
    let warm = Command::Warm { duration: plan.warmup };
    match worker.ask(&warm, plan.patience + plan.warmup)?.0 {
        Event::Warmed { peak_rss, .. } => {
            Ok((worker, Start { runtime, load, peak_rss: peak_rss.map(Bytes) }))
        }
        other => Err(worker.unexpected(&other)),
    }
}

/// The slower side's median latency.
fn slowest(bursts: &[Vec<Vec<Observation>>]) -> Nanos {
    let middle = |side: &Vec<Vec<Observation>>| {
        let all: Vec<f64> = side.iter().flatten().map(|o| o.latency().0 as f64).collect();
        stats::median(&all).unwrap_or(0.0)
    };
    let slowest = bursts.iter().map(middle).fold(1.0, f64::max);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds")]
    Nanos(slowest as u64)
}

/// How often `each` fits into `span`: 1 to `most` times.
fn times(span: Nanos, each: Nanos, most: u32) -> u32 {
    u32::try_from(span.0 / each.0.max(1)).unwrap_or(most).clamp(1, most.max(1))
}
