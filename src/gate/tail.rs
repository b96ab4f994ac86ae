//! Percentiles of all pairs together, with an interval by drawing pairs anew.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::case::{Found, Step, TAIL};
use super::decision::{CONFIRM, Evidence, LOOKS, MARGIN, SPENT, Verdict};
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

/// A percentile of a case.
pub(super) struct Tail<'a> {
    pub(super) metric: Metric,
    pub(super) pairs: &'a [Pair],
    pub(super) fresh: &'a [Pair],
}

/// Pairs that it takes to decide: an interval that is drawn from fewer is too narrow.
const PAIRS: usize = LOOKS[LOOKS.len() - 1];
/// Fresh ones that a suspicion is confirmed by.
const FRESH: usize = CONFIRM[CONFIRM.len() - 1].0;

impl Tail<'_> {
    /// What is needed to decide it; nothing, where 32 pairs would not have [`TAIL`] observations.
    pub(super) fn next(&self, budget: f64) -> Step {
        let can_be_decided = observations(self.pairs) * PAIRS >= TAIL * self.pairs.len();
        if self.pairs.is_empty() || !can_be_decided {
            return Step::Done;
        }
        if self.pairs.len() < PAIRS {
            return Step::Measure(PAIRS);
        }
        let is_suspect = self.evidence(self.pairs).is_some_and(|e| is_worse(&e, budget));
        if is_suspect && self.fresh.len() < FRESH { Step::Confirm(FRESH) } else { Step::Done }
    }

    /// What it comes to. Below [`TAIL`] observations an arm it only informs, and says so.
    pub(super) fn found(&self, budget: Option<f64>) -> Option<Found> {
        let evidence = self.evidence(self.pairs)?;
        let observations = observations(self.pairs);
        let found = |verdict, note: Option<String>| {
            Some(Found { metric: self.metric, budget, evidence: Some(evidence), verdict, note })
        };
        if observations < TAIL {
            let note = format!(
                "informs only: {observations} observations an arm, and {TAIL} are needed to decide"
            );
            return found(None, Some(note));
        }
        let Some(budget) = budget else { return found(None, None) };
        let noisy = |why: &str| found(Some(Verdict::TooNoisy), Some(why.to_owned()));
        if self.pairs.len() < PAIRS {
            return noisy("the time ended before there were 32 pairs");
        }
        if is_worse(&evidence, budget) {
            if self.fresh.len() < FRESH {
                return noisy("looks like a regression; the time ended before it was confirmed");
            }
            if self.evidence(self.fresh).is_some_and(|again| is_worse(&again, budget)) {
                let note = format!("confirmed by {} fresh pairs", self.fresh.len());
                return found(Some(Verdict::Regression), Some(note));
            }
            return noisy("looked like a regression, which fresh pairs did not confirm");
        }
        match evidence.high {
            Some(high) if high < budget => found(Some(Verdict::Pass), None),
            _ => noisy("its interval holds the budget"),
        }
    }

    /// Pairs are drawn with replacement, both sides of a pair together; the interval is of the draws' percentiles, at the
    /// level of the last look. It is drawn, not exact. `None` ends where there are fewer than eight pairs.
    fn evidence(&self, pairs: &[Pair]) -> Option<Evidence> {
        let p = if self.metric == Metric::P95 { 0.95 } else { 0.99 };
        let (old, new) = (Arm::of(pairs, |p| &p.baseline_ms), Arm::of(pairs, |p| &p.candidate_ms));
        let log_ratio =
            |weights: &[usize]| Some((new.quantile(weights, p)? / old.quantile(weights, p)?).ln());
        let effect = log_ratio(&vec![1; pairs.len()])?;
        let mut evidence = Evidence {
            effect: effect.exp_m1(),
            low: None,
            high: None,
            p_value: None,
            mde: None,
            pairs: pairs.len(),
        };
        if pairs.len() < LOOKS[0] {
            return Some(evidence);
        }
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
        (evidence.low, evidence.high) = (end(alpha), end(1.0 - alpha));
        Some(evidence)
    }
}

fn observations(pairs: &[Pair]) -> usize {
    let count = |side: fn(&Pair) -> &Vec<f64>| pairs.iter().map(|p| side(p).len()).sum::<usize>();
    count(|p| &p.baseline_ms).min(count(|p| &p.candidate_ms))
}

fn is_worse(evidence: &Evidence, budget: f64) -> bool {
    evidence.low.is_some_and(|low| low > 0.0) && evidence.effect > MARGIN * budget
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
        let of = |pairs: &[Pair], fresh: &[Pair]| {
            let tail = Tail { metric: Metric::P99, pairs, fresh };
            (tail.next(0.05), tail.found(Some(0.05)))
        };
        let (next, few) = of(&pairs(8, 80, 1.5), &[]);
        let few = few.unwrap();
        assert_eq!((next, few.verdict), (Step::Done, None));
        assert!(few.note.unwrap().contains("640 observations"));
        // Where 32 pairs have enough of them, they are asked for.
        let (next, early) = of(&pairs(16, 250, 1.2), &[]);
        assert_eq!((next, early.unwrap().verdict), (Step::Measure(32), Some(Verdict::TooNoisy)));
        let slow = pairs(32, 250, 1.2);
        let (next, suspect) = of(&slow, &[]);
        assert_eq!((next, suspect.unwrap().verdict), (Step::Confirm(16), Some(Verdict::TooNoisy)));
        let (next, found) = of(&slow, &slow[..16]);
        let found = found.unwrap();
        assert_eq!((next, found.verdict), (Step::Done, Some(Verdict::Regression)));
        assert!((found.evidence.unwrap().effect - 0.2).abs() < 1e-9);
        let (_, again) = of(&slow, &pairs(16, 250, 1.0));
        assert_eq!(again.unwrap().verdict, Some(Verdict::TooNoisy));
        assert_eq!(of(&pairs(32, 250, 1.0), &[]).1.unwrap().verdict, Some(Verdict::Pass));
        assert_eq!(of(&[], &[]).1, None);
    }
}
