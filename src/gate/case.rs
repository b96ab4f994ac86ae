//! One case through its looks: which pairs are needed next, and what each metric comes to.

use serde::{Deserialize, Serialize};

use super::decision::{
    Confirmation, Evidence, LOOKS, Look, SPENT, Verdict, confirms, evidence, looks, worst,
};
use super::exact::Exact;
use super::metric::{Budgets, Metric};
use super::pair::Pair;
use super::tail::Tail;

/// A case on its way to a verdict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaseGate {
    /// What decides.
    pub budgets: Budgets,
    /// What is known without drawing it: sizes, quality, instructions.
    pub exact: Vec<Exact>,
    /// Comparisons of all cases that this one is decided with; at least its own.
    pub family: usize,
    /// Pairs that are looked at.
    pub pairs: Vec<Pair>,
    /// Fresh ones, by which a suspected regression is confirmed.
    pub fresh: Vec<Pair>,
}

/// What a case needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many more pairs.
    Measure(usize),
    /// So many fresh pairs, to confirm a suspicion.
    Confirm(usize),
    /// Nothing.
    Done,
}

/// What a metric comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Which.
    pub metric: Metric,
    /// Its budget as a share; `None` where it only informs.
    pub budget: Option<f64>,
    /// What the pairs say; `None` where they say nothing.
    #[serde(flatten)]
    pub evidence: Option<Evidence>,
    /// `None` where it only informs.
    pub verdict: Option<Verdict>,
    /// What a reader must know, e.g. why it decides nothing.
    pub note: Option<String>,
}

/// Observations an arm below which a percentile only informs: the 99th of fewer has no finite upper bound worth
/// the name.
pub const TAIL: usize = 3000;

impl CaseGate {
    fn log_ratios(pairs: &[Pair], metric: Metric) -> Option<Vec<f64>> {
        pairs.iter().map(|pair| pair.log_ratio(metric)).collect()
    }

    /// Metrics that are looked at pair by pair and have a budget.
    fn deciding(&self) -> impl Iterator<Item = (Metric, f64, Vec<f64>)> + '_ {
        Metric::ALL.into_iter().filter_map(|metric| {
            let budget = worse_time(metric, self.budgets.of(metric)?);
            Some((metric, budget, Self::log_ratios(&self.pairs, metric)?))
        })
    }

    /// What is needed next.
    pub fn next(&self) -> Step {
        if self.budgets.comparisons() == 0 && !self.budgets.has_tail() {
            return Step::Done;
        }
        let mut needed = if self.pairs.len() < LOOKS[0] { LOOKS[0] } else { 0 };
        let mut fresh = 0;
        for (metric, budget, ratios) in self.deciding() {
            match looks(&ratios, budget).0 {
                Look::Suspect if self.pairs.len() >= LOOKS[0] => {
                    if let Confirmation::NeedMore(pairs) = self.confirmed(metric, budget) {
                        fresh = fresh.max(pairs);
                    }
                }
                Look::NeedMore(pairs) => needed = needed.max(pairs),
                Look::Suspect | Look::Decided(_) => {}
            }
        }
        for metric in Metric::ALL.into_iter().filter(|m| m.is_tail()) {
            match self.budgets.of(metric).map(|budget| self.tail(metric).next(budget)) {
                Some(Step::Measure(pairs)) => needed = needed.max(pairs),
                Some(Step::Confirm(pairs)) => fresh = fresh.max(pairs),
                Some(Step::Done) | None => {}
            }
        }
        match (fresh.saturating_sub(self.fresh.len()), needed.saturating_sub(self.pairs.len())) {
            (0, 0) => Step::Done,
            (0, left) => Step::Measure(left),
            (left, _) => Step::Confirm(left),
        }
    }

    fn tail(&self, metric: Metric) -> Tail<'_> {
        Tail { metric, pairs: &self.pairs, fresh: &self.fresh }
    }

    fn confirmed(&self, metric: Metric, budget: f64) -> Confirmation {
        let fresh = Self::log_ratios(&self.fresh, metric).unwrap_or_default();
        confirms(&fresh, budget, self.family.max(self.budgets.comparisons()))
    }

    /// What every metric comes to.
    pub fn found(&self) -> Vec<Found> {
        Metric::ALL.into_iter().filter_map(|metric| self.of(metric)).collect()
    }

    /// Every metric with a budget, as one that nothing can be said of.
    pub fn without_baseline(&self, why: &str) -> Vec<Found> {
        let of = |metric: Metric| {
            let budget = self.budgets.of(metric)?;
            Some(Found { note: Some(why.to_owned()), ..unknown(metric, budget) })
        };
        Metric::ALL.into_iter().filter_map(of).collect()
    }

    /// The worst of what decides.
    pub fn verdict(&self) -> Verdict {
        worst(self.found().into_iter().filter_map(|found| found.verdict))
    }

    fn of(&self, metric: Metric) -> Option<Found> {
        let budget = self.budgets.of(metric);
        match metric {
            Metric::Size | Metric::Quality | Metric::Instructions => {
                match self.exact.iter().find(|exact| exact.metric == metric) {
                    Some(exact) => exact.found(budget),
                    None => budget.map(|budget| unknown(metric, budget)),
                }
            }
            Metric::P95 | Metric::P99 => {
                let known = self.tail(metric).found(budget);
                known.or_else(|| budget.map(|budget| self.unmeasured(metric, budget)))
            }
            _ => {
                let known = Self::log_ratios(&self.pairs, metric).filter(|all| !all.is_empty());
                let Some(ratios) = known else {
                    // What has a budget and is not known must not pass in silence.
                    return budget.map(|budget| self.unmeasured(metric, budget));
                };
                // Cost is the mean time at a price: shown where it is asked for.
                if metric == Metric::Cost && budget.is_none() {
                    return None;
                }
                Some(self.by_pairs(metric, budget, &ratios))
            }
        }
    }

    /// Nothing can be said: because there was no time, or no figure.
    fn unmeasured(&self, metric: Metric, budget: f64) -> Found {
        let found = unknown(metric, budget);
        if !self.pairs.is_empty() {
            return found;
        }
        let note = Some("the time ended before the first pair".to_owned());
        Found { verdict: Some(Verdict::TooNoisy), note, ..found }
    }

    fn by_pairs(&self, metric: Metric, budget: Option<f64>, ratios: &[f64]) -> Found {
        let shown = |evidence: Option<Evidence>| match metric {
            Metric::Throughput => evidence.map(Evidence::inverse),
            _ => evidence,
        };
        let Some(budget) = budget else {
            let evidence = shown(evidence(ratios, SPENT[0]));
            return Found { metric, budget: None, evidence, verdict: None, note: None };
        };
        let of_time = worse_time(metric, budget);
        let (look, evidence) = looks(ratios, of_time);
        let (verdict, note) = match look {
            Look::Decided(verdict) => (verdict, None),
            Look::Suspect => match self.confirmed(metric, of_time) {
                Confirmation::Yes => {
                    let fresh = self.fresh.len();
                    (Verdict::Regression, Some(format!("confirmed by {fresh} fresh pairs")))
                }
                Confirmation::No => {
                    let why = "looked like a regression, which fresh pairs did not confirm";
                    (Verdict::TooNoisy, Some(why.to_owned()))
                }
                Confirmation::NeedMore(_) => {
                    let why = "looks like a regression; the time ended before it was confirmed";
                    (Verdict::TooNoisy, Some(why.to_owned()))
                }
            },
            Look::NeedMore(pairs) => {
                let why = format!("the time ended before there were {pairs} pairs");
                (Verdict::TooNoisy, Some(why))
            }
        };
        let note = match (verdict, evidence.and_then(|e| e.mde)) {
            (Verdict::TooNoisy, Some(mde)) => {
                let finds = format!(
                    "with so many pairs a change of {:.1} % is found in four of five tries; more pairs (a longer --budget, 32 at \
                     most) or a quieter machine find less",
                    mde * 100.0
                );
                Some(note.map_or_else(|| finds.clone(), |note| format!("{note}; {finds}")))
            }
            _ => note,
        };
        Found {
            metric,
            budget: Some(budget),
            evidence: shown(evidence),
            verdict: Some(verdict),
            note,
        }
    }
}

/// A budget as what the time of a request may grow by: throughput that falls by a share s grows it by 1/(1 − s) − 1.
pub(super) fn worse_time(metric: Metric, budget: f64) -> f64 {
    match metric {
        Metric::Throughput => 1.0 / (1.0 - budget).max(f64::EPSILON) - 1.0,
        _ => budget,
    }
}

pub(super) fn unknown(metric: Metric, budget: f64) -> Found {
    let note = match metric {
        Metric::Size => "there is no other file to compare",
        Metric::Quality => "not known of both sides: it needs labels, or outputs to compare",
        Metric::P95 | Metric::P99 => "there are no latencies",
        Metric::Instructions => "not counted: give --instructions",
        _ => "not told by both sides",
    };
    let note = Some(note.to_owned());
    let verdict = Some(Verdict::NoBaseline);
    Found { metric, budget: Some(budget), evidence: None, verdict, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: usize, p50: f64) -> Vec<Pair> {
        let jitter = |at: usize| 0.001 * (at % 3) as f64;
        let pair = |at: usize| Pair { p50: p50 + jitter(at), load: Some(0.0), ..Pair::default() };
        (0..count).map(pair).collect()
    }

    #[test]
    fn a_case_goes_from_look_to_look_and_asks_again_before_it_alarms() {
        let budgets = Budgets::default().with(Metric::P50, Some(0.05));
        let mut case = CaseGate { budgets, ..CaseGate::default() };
        assert_eq!(case.next(), Step::Measure(8));
        case.pairs = pairs(8, 0.001);
        assert_eq!((case.next(), case.verdict()), (Step::Done, Verdict::Pass));
        case.pairs = pairs(8, 0.08);
        assert_eq!((case.next(), case.verdict()), (Step::Confirm(8), Verdict::TooNoisy));
        case.fresh = pairs(8, 0.07);
        assert_eq!((case.next(), case.verdict()), (Step::Done, Verdict::Regression));
        case.fresh = pairs(8, 0.0);
        assert_eq!((case.next(), case.verdict()), (Step::Confirm(8), Verdict::TooNoisy));
        case.fresh = pairs(16, 0.0);
        assert_eq!((case.next(), case.verdict()), (Step::Done, Verdict::TooNoisy));
        let note = case.found()[0].note.clone().unwrap();
        assert!(note.contains("did not confirm"), "{note}");
        // What has no budget is shown and decides nothing.
        let load = case.found().into_iter().find(|f| f.metric == Metric::Load).unwrap();
        assert_eq!(load.verdict, None);
        // What has a budget and is not known does not pass in silence.
        let budgets = budgets.with(Metric::PeakRss, Some(0.1));
        let case = CaseGate { budgets, pairs: pairs(8, 0.001), ..CaseGate::default() };
        assert_eq!((case.next(), case.verdict()), (Step::Done, Verdict::NoBaseline));
    }

    #[test]
    fn what_is_known_is_compared_as_it_is() {
        let budgets = Budgets::default().with(Metric::Size, Some(0.1));
        let of = |candidate: f64| {
            let size = Exact {
                metric: Metric::Size,
                baseline: 1000.0,
                candidate,
                less_is_worse: false,
                unit: "bytes".to_owned(),
                ends: None,
            };
            let case = CaseGate { budgets, exact: vec![size], ..CaseGate::default() };
            assert_eq!(case.next(), Step::Done);
            case.verdict()
        };
        assert_eq!(
            (of(1100.0), of(1101.0), of(500.0)),
            (Verdict::Pass, Verdict::Regression, Verdict::Improvement)
        );
        // Accuracy in points, and less of it is worse.
        let budgets = Budgets::default().with(Metric::Quality, Some(0.01));
        let of = |candidate: f64| {
            let accuracy = Exact {
                metric: Metric::Quality,
                baseline: 0.95,
                candidate,
                less_is_worse: true,
                unit: "accuracy".to_owned(),
                ends: Some((-0.02, 0.01)),
            };
            CaseGate { budgets, exact: vec![accuracy], ..CaseGate::default() }.verdict()
        };
        assert_eq!(
            (of(0.94), of(0.93), of(0.97)),
            (Verdict::Pass, Verdict::Regression, Verdict::Improvement)
        );
        let none = CaseGate { budgets, ..CaseGate::default() };
        assert_eq!(none.verdict(), Verdict::NoBaseline);
    }

    #[test]
    fn throughput_that_falls_is_worse() {
        let budgets = Budgets::default().with(Metric::Throughput, Some(0.05));
        let of = |mean: f64| {
            let pair = |at: usize| {
                let mean = Some(mean + 0.0001 * (at % 3) as f64);
                Pair { mean, ..Pair::default() }
            };
            let pairs: Vec<Pair> = (0..16).map(pair).collect();
            CaseGate { budgets, fresh: pairs.clone(), pairs, ..CaseGate::default() }
        };
        let slower = of(0.2);
        let found = slower.found().into_iter().find(|f| f.metric == Metric::Throughput).unwrap();
        assert_eq!(found.verdict, Some(Verdict::Regression));
        let evidence = found.evidence.unwrap();
        assert!((evidence.effect - (-0.2_f64).exp_m1()).abs() < 1e-3, "{evidence:?}");
        assert!(evidence.low <= Some(evidence.effect) && Some(evidence.effect) <= evidence.high);
        assert_eq!(of(-0.2).verdict(), Verdict::Improvement);
        assert_eq!(of(0.01).verdict(), Verdict::Pass);
    }
}
