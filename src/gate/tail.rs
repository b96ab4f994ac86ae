//! Percentiles of all pairs together, with an interval by drawing pairs anew.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::case::{Found, TAIL};
use super::decision::{Evidence, MARGIN, SPENT, Verdict};
use super::metric::Metric;
use super::pair::Pair;
use crate::stats::order_statistic;

/// Draws of the bootstrap.
const DRAWS: usize = 500;
/// Of this seed: the same pairs always have the same interval.
const SEED: u64 = 7;

/// One side's latencies in order, each with its pair: a draw of pairs only weighs them anew.
struct Arm {
    /// Latency in ms, and which pair it is of.
    sorted: Vec<(f64, usize)>,
    /// Observations of each pair.
    counts: Vec<usize>,
}

impl Arm {
    fn of(pairs: &[Pair], side: fn(&Pair) -> &Vec<f64>) -> Self {
        let each = pairs.iter().enumerate();
        let mut sorted: Vec<(f64, usize)> =
            each.flat_map(|(at, pair)| side(pair).iter().map(move |ms| (*ms, at))).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { sorted, counts: pairs.iter().map(|pair| side(pair).len()).collect() }
    }

    /// The smallest value that a share `p` of all lies at or below, each pair taken as often as `weights` says.
    fn quantile(&self, weights: &[usize], p: f64) -> Option<f64> {
        let total: usize = self.counts.iter().zip(weights).map(|(count, w)| count * w).sum();
        let wanted = total as f64 * p;
        let mut seen = 0;
        for (ms, pair) in &self.sorted {
            seen += weights[*pair];
            if seen as f64 >= wanted && seen > 0 {
                return Some(*ms).filter(|ms| *ms > 0.0);
            }
        }
        None
    }
}

/// A percentile of both sides: pairs are drawn with replacement, both sides of a pair together, and the interval is of
/// the draws' percentiles. Below [`TAIL`] observations an arm it only informs, and says so.
pub(super) fn tail(pairs: &[Pair], metric: Metric, p: f64, budget: Option<f64>) -> Option<Found> {
    let (old, new) = (Arm::of(pairs, |p| &p.baseline_ms), Arm::of(pairs, |p| &p.candidate_ms));
    let log_ratio =
        |weights: &[usize]| Some((new.quantile(weights, p)? / old.quantile(weights, p)?).ln());
    let effect = log_ratio(&vec![1; pairs.len()])?;
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut draws: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let mut weights = vec![0; pairs.len()];
            for _ in 0..pairs.len() {
                weights[random.random_range(0..pairs.len())] += 1;
            }
            log_ratio(&weights)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let alpha = SPENT[SPENT.len() - 1];
    let end = |share: f64| order_statistic(&draws, share).map(f64::exp_m1);
    let (low, high) = (end(alpha), end(1.0 - alpha));
    let not_above = draws.iter().filter(|d| **d <= 0.0).count();
    let evidence = Evidence {
        effect: effect.exp_m1(),
        low,
        high,
        p_value: Some((not_above + 1) as f64 / (draws.len() + 1) as f64),
        mde: None,
        pairs: pairs.len(),
    };
    let observations = old.sorted.len().min(new.sorted.len());
    let informs = observations < TAIL;
    let note = informs.then(|| {
        format!("informs only: {observations} observations an arm, and {TAIL} are needed to decide")
    });
    let verdict = budget.filter(|_| !informs).map(|budget| match (low, high) {
        (Some(low), _) if low > 0.0 && evidence.effect > MARGIN * budget => Verdict::Regression,
        (_, Some(high)) if high < budget => Verdict::Pass,
        _ => Verdict::TooNoisy,
    });
    Some(Found { metric, budget, evidence: Some(evidence), verdict, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: usize, each: u32, factor: f64) -> Vec<Pair> {
        let arm = |pair: usize, factor: f64| {
            let of = |i: u32| f64::from(i * 7919 % each) / f64::from(each) + pair as f64 * 0.001;
            (0..each).map(|i| (1.0 + of(i)) * factor).collect::<Vec<f64>>()
        };
        (0..count)
            .map(|at| Pair {
                baseline_ms: arm(at, 1.0),
                candidate_ms: arm(at, factor),
                ..Pair::default()
            })
            .collect()
    }

    #[test]
    fn few_observations_inform_and_do_not_decide() {
        let few = tail(&pairs(8, 100, 1.5), Metric::P99, 0.99, Some(0.05)).unwrap();
        assert_eq!(few.verdict, None);
        assert!(few.note.unwrap().contains("800 observations"));
        let many =
            |factor: f64| tail(&pairs(16, 250, factor), Metric::P99, 0.99, Some(0.05)).unwrap();
        assert_eq!(many(1.2).verdict, Some(Verdict::Regression));
        assert!((many(1.2).evidence.unwrap().effect - 0.2).abs() < 1e-9);
        assert_eq!(many(1.0).verdict, Some(Verdict::Pass));
        assert_eq!(tail(&[], Metric::P99, 0.99, None), None);
    }
}
