//! Workers that are live together and take turns in short bursts.
//!
//! What is compared must see the same machine: a burst of each, in an order drawn anew for every
//! round, milliseconds apart. Whole runs one after the other would compare two moments instead.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::host::Worker;
use super::protocol::{Burst, Command, Event};
use crate::error::{Error, Result};
use crate::load::Observation;
use crate::stats;
use crate::units::Nanos;

/// How workers take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurstPlan {
    /// Rounds; in each, every worker runs one burst of the same samples.
    pub rounds: u32,
    /// Batches a burst that are kept. One more is run before them: it finds the caches, and perhaps the
    /// CPUs, as the other side left them.
    pub batches: u32,
    /// Samples a batch.
    pub batch_size: u32,
    /// Samples of the data set, issued in turn.
    pub samples: u32,
    /// Seed of the order of workers.
    pub seed: u64,
    /// How long a worker may be silent.
    pub patience: Nanos,
}

/// Lets prepared and warmed `workers` take turns; returns each one's bursts, one a round.
pub fn alternate(workers: &mut [Worker], plan: BurstPlan) -> Result<Vec<Vec<Vec<Observation>>>> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut order: Vec<usize> = (0..workers.len()).collect();
    let mut bursts = vec![Vec::new(); workers.len()];
    let mut next_sample = 0;
    for _ in 0..plan.rounds {
        let issued = (plan.batches + 1) * plan.batch_size;
        let samples: Vec<u32> =
            (0..issued).map(|i| (next_sample + i) % plan.samples.max(1)).collect();
        next_sample = (next_sample + issued) % plan.samples.max(1);
        order.shuffle(&mut rng);
        for &index in &order {
            let command = Command::Burst(Burst { samples: samples.clone() });
            let worker = &mut workers[index];
            match worker.ask(&command, plan.patience)? {
                (Event::BurstDone, mut observations) => {
                    let first = observations.first().map(|o| o.batch);
                    observations.retain(|o| Some(o.batch) != first);
                    if observations.is_empty() {
                        return Err(Error::worker("burst", "came back without observations"));
                    }
                    bursts[index].push(observations);
                }
                (other, _) => return Err(worker.unexpected(&other)),
            }
        }
    }
    Ok(bursts)
}

/// Median over the rounds of log(median latency of b / median latency of a): one process pair's
/// difference for [`stats::hodges_lehmann`]. `None` when a burst is empty.
pub fn log_ratio_of_medians(a: &[Vec<Observation>], b: &[Vec<Observation>]) -> Option<f64> {
    let middle = |burst: &Vec<Observation>| {
        let latencies: Vec<f64> = burst.iter().map(|o| o.latency().0 as f64).collect();
        stats::median(&latencies).filter(|m| *m > 0.0)
    };
    let ratios: Option<Vec<f64>> =
        a.iter().zip(b).map(|(a, b)| Some((middle(b)? / middle(a)?).ln())).collect();
    stats::median(&ratios?)
}
