//! A case's variant beside the baseline: measured in pairs, once for each engine and batch.

use super::case::{Bench, Paired, seconds};
use super::pairs::{PairPlan, Side, compare};
use crate::error::{ErrorKind, Result};
use crate::load::Scenario;
use crate::stats::{self, CONFIDENCE};
use crate::store::{RunDir, Versus, write_observations};
use crate::units::{Clock, Nanos, RealClock};
use crate::workload::Case;

/// Rounds of a process pair.
const ROUNDS: u32 = 20;
/// Length of a burst.
const BURST: Nanos = Nanos::from_millis(10);
/// How long each worker of a pair warms up.
const WARMUP: Nanos = Nanos::from_millis(200);

/// What `Versus::basis` says of pairs.
pub(super) const BASIS: &str = "alternating_bursts";
/// What `Versus::failure` says of pairs that Ctrl-C cut short.
pub(super) const INTERRUPTED: &str = "interrupted";

impl Bench<'_> {
    /// Compares `case`'s variant with the baseline's. What goes wrong, Ctrl-C too, is part of the answer:
    /// the case itself is measured.
    pub(super) fn beside(
        &self,
        case: &Case,
        process: u32,
        baseline: usize,
        run_dir: &RunDir,
    ) -> Paired {
        let clock = RealClock::start();
        let mut paired = Paired::default();
        let result = self.pairs(case, process, baseline, run_dir, &mut paired);
        if let Err(error) = result {
            let interrupted = error.kind() == ErrorKind::Interrupted;
            paired.failure =
                Some(if interrupted { INTERRUPTED.to_owned() } else { error.to_string() });
        }
        paired.took = clock.now();
        paired
    }

    fn pairs(
        &self,
        case: &Case,
        process: u32,
        baseline: usize,
        run_dir: &RunDir,
        paired: &mut Paired,
    ) -> Result<()> {
        let load = &self.resolved.workload.load;
        let side = |variant: usize| {
            let case = Case { variant, scenario: Scenario::Single, ..case.clone() };
            let name = &self.resolved.variants[variant].name;
            Side {
                name: format!("{name} in a pair ({})", case.label(name)),
                program: self.worker.clone(),
                spec: self.prepare_spec(&case),
            }
        };
        let plan = PairPlan {
            first: 0,
            pairs: load.pairs,
            rounds: ROUNDS,
            burst: BURST,
            warmup: WARMUP,
            samples: self.resolved.data.samples,
            seed: load.seed,
            patience: seconds(load.timeout_s),
        };
        let (a, b) = (side(baseline), side(case.variant));
        compare(&a, &b, plan, self.interrupted, &mut |pair, bursts| {
            // The other way round: a smaller latency is a larger speed.
            paired.pairs.push(-bursts.log_ratio()?);
            for (side, bursts) in [("baseline", bursts.a), ("variant", bursts.b)] {
                let path = format!("observations/{}-{process}-pair{pair}-{side}.csv.gz", case.id);
                let flat: Vec<_> = bursts.into_iter().flatten().collect();
                paired.observations.push(write_observations(run_dir.path(), &path, &flat)?);
            }
            Ok(())
        })
    }
}

impl Paired {
    /// Puts what pairs say in the place of what separate processes said.
    pub(super) fn into_versus(self, versus: &mut Versus) {
        versus.failure = self.failure;
        let found = stats::hodges_lehmann(&self.pairs, CONFIDENCE);
        // Pairs that were cut short have no interval.
        if let Some(found) = found.filter(|f| f.low.is_finite() && f.high.is_finite()) {
            versus.speedup = Some(found.estimate.exp());
            versus.speedup_low = Some(found.low.exp());
            versus.speedup_high = Some(found.high.exp());
            BASIS.clone_into(&mut versus.basis);
        }
        versus.pairs = self.pairs;
        versus.observations = self.observations;
    }
}
