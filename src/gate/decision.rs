//! From paired differences to a verdict: looks at fixed numbers of pairs, and a second opinion before a regression is
//! called. Pure: nothing here measures.

use serde::Serialize;

use crate::stats;

/// What a gate says of a case, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Slower by more than the margin, twice.
    Regression,
    /// Neither: the effect that could have been found is larger than the budget.
    TooNoisy,
    /// There is nothing to compare with.
    NoBaseline,
    /// Within the budget.
    Pass,
    /// Faster by more than the margin.
    Improvement,
}

impl Verdict {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Regression => "REGRESSION",
            Self::Improvement => "IMPROVEMENT",
            Self::TooNoisy => "TOO NOISY",
            Self::NoBaseline => "NO BASELINE",
        }
    }
}

/// Pairs of fresh processes at which the data is looked at.
pub const LOOKS: [usize; 3] = [8, 16, 32];
/// Probability of a false alarm that each look may spend, one-sided; together 1 %. Eight pairs cannot reach less than
/// 2⁻⁸ = 0.0039, so the first look gets a little more than its third.
pub const SPENT: [f64; 3] = [0.004, 0.003, 0.003];
/// Fresh pairs that a suspected regression is confirmed by, and the probability that they may spend.
pub const CONFIRM: (usize, f64) = (8, 0.004);
/// The part of the budget that an effect must exceed to be called: without it any real half percent of another layout
/// of the code would fail at last.
pub const MARGIN: f64 = 0.5;

/// The largest probability that a gate of so many comparisons calls a regression where nothing changed: each needs a
/// look to err (1 % together) and the confirmation on fresh pairs to err as well.
pub fn false_alarm_rate(comparisons: usize) -> f64 {
    let spent: f64 = SPENT.iter().sum();
    (comparisons as f64 * spent * CONFIRM.1).min(1.0)
}

/// What the pairs say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evidence {
    /// Hodges–Lehmann estimate of the candidate's change as a share: 0.05 is 5 % more.
    pub effect: f64,
    /// Lower end of its exact interval at this look's level; `None` where there are too few pairs.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Exact one-sided p-value of the signed-rank test that the candidate is larger.
    pub p_value: f64,
    /// The least change that would be found in four of five tries, as a share.
    pub mde: Option<f64>,
    /// Pairs of fresh processes.
    pub pairs: usize,
}

/// What a look comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// It is decided.
    Decided(Verdict),
    /// It looks like a regression: fresh pairs must say the same.
    Suspect,
    /// So many pairs are needed in all.
    NeedMore(usize),
}

/// Evidence of log-ratios candidate / baseline at a one-sided level.
pub fn evidence(log_ratios: &[f64], alpha: f64) -> Option<Evidence> {
    let found = stats::hodges_lehmann(log_ratios, 1.0 - 2.0 * alpha)?;
    let share = |log: f64| log.is_finite().then(|| log.exp_m1());
    Some(Evidence {
        effect: found.estimate.exp_m1(),
        low: share(found.low),
        high: share(found.high),
        p_value: stats::signed_rank_above(log_ratios),
        mde: stats::detectable(log_ratios, alpha).map(f64::exp_m1),
        pairs: log_ratios.len(),
    })
}

/// Looks at `log_ratios` of a metric whose `budget` is a share, as many as [`LOOKS`] names or fewer.
///
/// Regression suspected: the lower end is above 0 and the estimate above the margin. Passed: the upper end is below the
/// budget; faster, where it is below 0 and the estimate beyond the margin. Otherwise more pairs, and at last too noisy.
pub fn look(log_ratios: &[f64], budget: f64) -> (Look, Option<Evidence>) {
    let n = log_ratios.len();
    // A look before its time spends what the next one may.
    let at = LOOKS.iter().position(|pairs| n <= *pairs).unwrap_or(LOOKS.len() - 1);
    let Some(evidence) = evidence(log_ratios, SPENT[at]) else {
        return (Look::NeedMore(LOOKS[0]), None);
    };
    let margin = MARGIN * budget;
    let look = match (evidence.low, evidence.high) {
        (Some(low), _) if low > 0.0 && evidence.effect > margin => Look::Suspect,
        (_, Some(high)) if high < 0.0 && evidence.effect < -margin => {
            Look::Decided(Verdict::Improvement)
        }
        (_, Some(high)) if high < budget => Look::Decided(Verdict::Pass),
        _ => match LOOKS.iter().find(|pairs| **pairs > n) {
            Some(pairs) => Look::NeedMore(*pairs),
            None => Look::Decided(Verdict::TooNoisy),
        },
    };
    (look, Some(evidence))
}

/// Whether fresh pairs say again that it is a regression. What the first ones say does not count.
pub fn confirms(fresh: &[f64], budget: f64) -> bool {
    evidence(fresh, CONFIRM.1).is_some_and(|again| {
        again.low.is_some_and(|low| low > 0.0) && again.effect > MARGIN * budget
    })
}

/// The worst of several: a regression before what is undecided, that before what passed.
pub fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.min().unwrap_or(Verdict::NoBaseline)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    use super::*;

    /// A whole gate over drawn noise: a verdict, and the pairs that it took.
    fn gate(random: &mut ChaCha8Rng, shift: f64, noise: f64) -> (Verdict, usize) {
        let normal = Normal::new(shift.ln_1p(), noise).unwrap();
        let mut draw = |n: usize| (0..n).map(|_| normal.sample(random)).collect::<Vec<f64>>();
        let mut all = draw(LOOKS[0]);
        loop {
            match look(&all, 0.05).0 {
                Look::Decided(verdict) => return (verdict, all.len()),
                Look::NeedMore(pairs) => {
                    let more = draw(pairs - all.len());
                    all.extend(more);
                }
                Look::Suspect => {
                    let fresh = draw(CONFIRM.0);
                    let pairs = all.len() + fresh.len();
                    let is_one = confirms(&fresh, 0.05);
                    return (if is_one { Verdict::Regression } else { Verdict::TooNoisy }, pairs);
                }
            }
        }
    }

    fn share(verdict: Verdict, shift: f64, noise: f64, decisions: u32) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let all = (0..decisions).filter(|_| gate(&mut random, shift, noise).0 == verdict).count();
        all as f64 / f64::from(decisions)
    }

    #[test]
    fn nothing_is_called_where_nothing_changed_whatever_the_noise() {
        for noise in [0.001, 0.007, 0.02, 0.05, 0.2] {
            let alarms = share(Verdict::Regression, 0.0, noise, 3000);
            assert!(alarms <= false_alarm_rate(1) + 1e-3, "{noise}: {alarms}");
        }
        assert!(share(Verdict::Pass, 0.0, 0.007, 1000) > 0.99);
    }

    #[test]
    fn five_percent_are_found_and_never_passed_at_the_noise_of_a_shared_machine() {
        assert!(share(Verdict::Regression, 0.05, 0.007, 2000) > 0.95);
        assert!(share(Verdict::Pass, 0.05, 0.007, 2000) < 0.02);
        assert!(share(Verdict::Regression, 0.10, 0.02, 2000) > 0.95);
        assert!(share(Verdict::Improvement, -0.10, 0.02, 1000) > 0.95);
        // Where it cannot be found it is not passed either.
        assert!(share(Verdict::Pass, 0.05, 0.2, 2000) < 0.02);
    }

    #[test]
    fn a_look_says_how_many_pairs_it_needs() {
        assert_eq!(look(&[], 0.05).0, Look::NeedMore(8));
        assert_eq!(look(&[0.0, 0.01, -0.01], 0.05).0, Look::NeedMore(8));
        let wild: Vec<f64> = (0..32).map(|i| if i % 2 == 0 { 0.3 } else { -0.3 }).collect();
        assert_eq!(look(&wild[..8], 0.05).0, Look::NeedMore(16));
        assert_eq!(look(&wild, 0.05).0, Look::Decided(Verdict::TooNoisy));
        let all = [Verdict::Pass, Verdict::TooNoisy, Verdict::Improvement];
        assert_eq!(worst(all.into_iter()), Verdict::TooNoisy);
        assert_eq!(worst([].into_iter()), Verdict::NoBaseline);
    }
}
