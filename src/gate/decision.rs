//! From paired differences to a verdict: looks at fixed numbers of pairs, and a second opinion before a regression is
//! called. Pure: nothing here measures.

use serde::{Deserialize, Serialize};

use crate::stats;

/// What a gate says of a case, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
/// Fresh pairs that a suspected regression is confirmed by: how many, and the probability that each look may spend.
/// The second is there for a pair that fell into a bad moment of the machine: eight pairs must all agree.
pub const CONFIRM: [(usize, f64); 2] = [(8, 0.004), (16, 0.003)];
/// The probability of a false alarm that a gate holds to, however many cases and metrics it compares.
pub const FALSE_ALARMS: f64 = 0.01;
/// The part of the budget that an effect must exceed to be called: without it any real half percent of another layout
/// of the code would fail at last.
pub const MARGIN: f64 = 0.5;

/// The levels at which a gate of so many comparisons confirms a suspicion: [`CONFIRM`]'s, less where the union of
/// all false alarms (Bonferroni) would exceed [`FALSE_ALARMS`], which begins at 143 comparisons.
pub fn confirmation_levels(comparisons: usize) -> [(usize, f64); 2] {
    let bound = comparisons as f64 * spent() * CONFIRM.iter().map(|(_, alpha)| alpha).sum::<f64>();
    let factor = (FALSE_ALARMS / bound).min(1.0);
    CONFIRM.map(|(pairs, alpha)| (pairs, alpha * factor))
}

/// The largest probability that a gate of so many comparisons calls a regression where nothing changed: each needs a
/// look to err (1 % together) and the confirmation on fresh pairs to err as well.
pub fn false_alarm_rate(comparisons: usize) -> f64 {
    let confirm: f64 = confirmation_levels(comparisons).iter().map(|(_, alpha)| alpha).sum();
    (comparisons as f64 * spent() * confirm).min(1.0)
}

fn spent() -> f64 {
    SPENT.iter().sum()
}

/// What the pairs say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Hodges–Lehmann estimate of the candidate's change as a share: 0.05 is 5 % more.
    pub effect: f64,
    /// Lower end of its exact interval at this look's level; `None` where there are too few pairs.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Exact one-sided p-value of the signed-rank test that the candidate is worse; `None` for what is not drawn.
    pub p_value: Option<f64>,
    /// The least change that a gate with so many pairs would call a regression in four of five tries, as a share.
    pub mde: Option<f64>,
    /// Pairs of fresh processes.
    pub pairs: usize,
}

impl Evidence {
    /// The same of the inverse: of throughput, where this is of time.
    #[must_use]
    pub(super) fn inverse(self) -> Self {
        let inverse = |share: f64| 1.0 / (1.0 + share) - 1.0;
        Self {
            effect: inverse(self.effect),
            low: self.high.map(inverse),
            high: self.low.map(inverse),
            mde: self.mde.map(|share| -inverse(share)),
            ..self
        }
    }
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
        p_value: Some(stats::signed_rank_above(log_ratios)),
        mde: None,
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
    let Some(mut evidence) = evidence(log_ratios, SPENT[at]) else {
        return (Look::NeedMore(LOOKS[0]), None);
    };
    let margin = MARGIN * budget;
    evidence.mde = finds(log_ratios, margin).map(f64::exp_m1);
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

/// Looks at the first 8, 16 and 32 of `log_ratios`, and stays with the first one that decides: what is measured later, for
/// another metric, changes nothing. Fewer than the next look asks for are looked at as they are.
pub fn looks(log_ratios: &[f64], budget: f64) -> (Look, Option<Evidence>) {
    for pairs in LOOKS {
        if log_ratios.len() < pairs {
            break;
        }
        let found = look(&log_ratios[..pairs], budget);
        if !matches!(found.0, Look::NeedMore(_)) {
            return found;
        }
    }
    look(log_ratios, budget)
}

/// What is found in four of five tries by a look at so many pairs and the confirmation, in deviations of a pair, where the
/// margin is nothing; simulated with 3,000 drawn decisions under a normal distribution (a test holds it).
const FINDS: [(usize, f64); 3] = [(8, 1.91), (16, 1.19), (32, 1.07)];
/// What an effect must be above the margin for that, in deviations of a pair; the largest of the simulated ones.
const ABOVE_MARGIN: f64 = 0.4;

/// The least log-ratio that the whole rule calls in four of five tries with as many pairs as these; `None` below 8.
fn finds(log_ratios: &[f64], margin: f64) -> Option<f64> {
    let times = FINDS.iter().rev().find(|(pairs, _)| log_ratios.len() >= *pairs)?.1;
    let deviation = stats::deviation(log_ratios)?;
    Some((times * deviation).max(margin + ABOVE_MARGIN * deviation))
}

/// What fresh pairs say of a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// The same.
    Yes,
    /// Something else.
    No,
    /// So many of them are needed in all.
    NeedMore(usize),
}

/// Whether `fresh` pairs say again that it is a regression, at [`confirmation_levels`] of so many `comparisons`.
/// What the first pairs say does not count.
pub fn confirms(fresh: &[f64], budget: f64, comparisons: usize) -> Confirmation {
    for (pairs, alpha) in confirmation_levels(comparisons) {
        if fresh.len() < pairs {
            return Confirmation::NeedMore(pairs);
        }
        // A look is at the pairs that it is of, not at those that came later.
        let says_so = evidence(&fresh[..pairs], alpha).is_some_and(|again| {
            again.low.is_some_and(|low| low > 0.0) && again.effect > MARGIN * budget
        });
        if says_so {
            return Confirmation::Yes;
        }
    }
    Confirmation::No
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
                    let mut fresh = Vec::new();
                    loop {
                        let pairs = all.len() + fresh.len();
                        match confirms(&fresh, 0.05, 1) {
                            Confirmation::Yes => return (Verdict::Regression, pairs),
                            Confirmation::No => return (Verdict::TooNoisy, pairs),
                            Confirmation::NeedMore(n) => {
                                let more = draw(n - fresh.len());
                                fresh.extend(more);
                            }
                        }
                    }
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
    fn what_is_said_to_be_found_is_found_in_four_of_five_tries() {
        for noise in [0.007, 0.03, 0.06] {
            // As a gate that ends at its first look would say it, of the true deviation.
            let effect: f64 = (FINDS[0].1 * noise).max(0.025 + ABOVE_MARGIN * noise);
            let found = share(Verdict::Regression, effect.exp_m1(), noise, 1500);
            assert!(found > 0.77, "{noise}: {effect} was found in {found}");
        }
    }

    #[test]
    fn a_look_that_decided_stays() {
        let mut ratios = vec![0.08; 8];
        assert_eq!(looks(&ratios, 0.05).0, Look::Suspect);
        ratios.extend([-0.2; 24]);
        assert_eq!(looks(&ratios, 0.05).0, Look::Suspect);
        assert_eq!(looks(&ratios[..12], 0.05).0, Look::Suspect);
    }

    #[test]
    fn many_comparisons_are_confirmed_at_lower_levels() {
        assert_eq!(confirmation_levels(100), CONFIRM);
        assert!((false_alarm_rate(100) - 0.007).abs() < 1e-12);
        for comparisons in [143, 1000, 20_000] {
            assert!(false_alarm_rate(comparisons) <= FALSE_ALARMS + 1e-12);
        }
        let clear = [0.1; 16];
        assert_eq!(confirms(&clear[..4], 0.05, 1), Confirmation::NeedMore(8));
        assert_eq!(confirms(&clear[..8], 0.05, 1), Confirmation::Yes);
        // Eight cannot reach the level of a thousand comparisons.
        assert_eq!(confirms(&clear[..8], 0.05, 1000), Confirmation::NeedMore(16));
        assert_eq!(confirms(&clear, 0.05, 1000), Confirmation::Yes);
        let mut mixed = clear;
        mixed[3] = -0.01;
        assert_eq!(confirms(&mixed[..8], 0.05, 1), Confirmation::NeedMore(16));
        assert_eq!(confirms(&mixed, 0.05, 1), Confirmation::Yes);
        assert_eq!(confirms(&[0.01; 16], 0.05, 1), Confirmation::No);
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
