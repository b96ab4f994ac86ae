//! One case through its looks: which pairs are needed next, and what each metric comes to.

use serde::Serialize;

use super::decision::{
    CONFIRM, Evidence, LOOKS, Look, SPENT, Verdict, confirms, evidence, look, worst,
};
use super::tail::tail;

/// What is compared. More is worse in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Median latency: per pair of processes the median over its rounds of the bursts' log-ratio.
    P50,
    /// Mean time of a request, of which throughput is the inverse.
    Mean,
    /// 95th percentile of latency, of all pairs together.
    P95,
    /// 99th.
    P99,
    /// From the model's file to a session.
    Load,
    /// Largest resident set until the process is warm.
    PeakRss,
    /// Size of the variant's file: exact.
    Size,
}

impl Metric {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 7] =
        [Self::P50, Self::Mean, Self::P95, Self::P99, Self::Load, Self::PeakRss, Self::Size];

    /// As workloads name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::Mean => "mean",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Load => "load",
            Self::PeakRss => "peak_rss",
            Self::Size => "size",
        }
    }
}

/// Budgets by metric, as shares; a metric without one decides nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Budgets([Option<f64>; 7]);

impl Budgets {
    /// With a metric's budget.
    #[must_use]
    pub fn with(mut self, metric: Metric, budget: Option<f64>) -> Self {
        self.0[metric as usize] = budget;
        self
    }

    /// A metric's budget.
    pub fn of(&self, metric: Metric) -> Option<f64> {
        self.0[metric as usize]
    }

    /// How many metrics decide.
    pub fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

/// What one pair of fresh processes gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pair {
    /// ln(candidate / baseline) of the median latency.
    pub p50: f64,
    /// The same of the mean.
    pub mean: f64,
    /// Of the time to load; `None` where a program does not tell.
    pub load: Option<f64>,
    /// Of the largest resident set; `None` where the system does not tell.
    pub peak_rss: Option<f64>,
    /// Latencies of the baseline, in ms.
    pub baseline_ms: Vec<f64>,
    /// Of the candidate.
    pub candidate_ms: Vec<f64>,
}

/// A case on its way to a verdict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CaseGate {
    /// What decides.
    pub budgets: Budgets,
    /// Sizes of both files, in bytes; `None` where they are the same file, or none of ours.
    pub sizes: Option<(u64, u64)>,
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
        pairs
            .iter()
            .map(|pair| match metric {
                Metric::P50 => Some(pair.p50),
                Metric::Mean => Some(pair.mean),
                Metric::Load => pair.load,
                Metric::PeakRss => pair.peak_rss,
                Metric::P95 | Metric::P99 | Metric::Size => None,
            })
            .collect()
    }

    /// Metrics that are looked at pair by pair and have a budget.
    fn deciding(&self) -> impl Iterator<Item = (Metric, f64, Vec<f64>)> + '_ {
        Metric::ALL.into_iter().filter_map(|metric| {
            let budget = self.budgets.of(metric)?;
            Some((metric, budget, Self::log_ratios(&self.pairs, metric)?))
        })
    }

    /// What is needed next.
    pub fn next(&self) -> Step {
        let mut needed = if self.pairs.len() < LOOKS[0] { LOOKS[0] } else { 0 };
        let mut suspect = false;
        for (_, budget, ratios) in self.deciding() {
            match look(&ratios, budget).0 {
                Look::Suspect => suspect = true,
                Look::NeedMore(pairs) => needed = needed.max(pairs),
                Look::Decided(_) => {}
            }
        }
        if suspect && self.pairs.len() >= LOOKS[0] {
            let left = CONFIRM.0.saturating_sub(self.fresh.len());
            return if left > 0 { Step::Confirm(left) } else { Step::Done };
        }
        match needed.saturating_sub(self.pairs.len()) {
            0 => Step::Done,
            left => Step::Measure(left),
        }
    }

    /// What every metric comes to.
    pub fn found(&self) -> Vec<Found> {
        Metric::ALL.into_iter().filter_map(|metric| self.of(metric)).collect()
    }

    /// The worst of what decides.
    pub fn verdict(&self) -> Verdict {
        worst(self.found().into_iter().filter_map(|found| found.verdict))
    }

    fn of(&self, metric: Metric) -> Option<Found> {
        let budget = self.budgets.of(metric);
        match metric {
            Metric::Size => self.size(budget),
            Metric::P95 => tail(&self.pairs, metric, 0.95, budget),
            Metric::P99 => tail(&self.pairs, metric, 0.99, budget),
            _ => {
                let Some(ratios) = Self::log_ratios(&self.pairs, metric) else {
                    // What has a budget and is not known must not pass in silence.
                    let note = Some("not told by both sides".to_owned());
                    let verdict = budget.map(|_| Verdict::NoBaseline);
                    return verdict.map(|_| Found {
                        metric,
                        budget,
                        evidence: None,
                        verdict,
                        note,
                    });
                };
                Some(self.by_pairs(metric, budget, &ratios))
            }
        }
    }

    fn by_pairs(&self, metric: Metric, budget: Option<f64>, ratios: &[f64]) -> Found {
        let Some(budget) = budget else {
            let evidence = evidence(ratios, SPENT[0]);
            return Found { metric, budget: None, evidence, verdict: None, note: None };
        };
        let (look, evidence) = look(ratios, budget);
        let fresh = Self::log_ratios(&self.fresh, metric).unwrap_or_default();
        let (verdict, note) = match look {
            Look::Decided(verdict) => (verdict, None),
            Look::Suspect if fresh.len() >= CONFIRM.0 && confirms(&fresh, budget) => {
                (Verdict::Regression, Some(format!("confirmed by {} fresh pairs", fresh.len())))
            }
            Look::Suspect if fresh.len() >= CONFIRM.0 => {
                let why = "looked like a regression, which fresh pairs did not confirm";
                (Verdict::TooNoisy, Some(why.to_owned()))
            }
            Look::Suspect => {
                let why = "looks like a regression; the time ended before it could be confirmed";
                (Verdict::TooNoisy, Some(why.to_owned()))
            }
            Look::NeedMore(pairs) => {
                let why = format!("the time ended before there were {pairs} pairs");
                (Verdict::TooNoisy, Some(why))
            }
        };
        let note = match (verdict, evidence.and_then(|e| e.mde)) {
            (Verdict::TooNoisy, Some(mde)) if note.is_none() => {
                let needed =
                    (ratios.len() as f64 * (mde / (super::MARGIN * budget)).powi(2)).ceil();
                Some(format!(
                    "finds {:.1} % at best; some {needed:.0} pairs would find {:.1} %, or a quieter machine",
                    mde * 100.0,
                    super::MARGIN * budget * 100.0
                ))
            }
            _ => note,
        };
        Found { metric, budget: Some(budget), evidence, verdict: Some(verdict), note }
    }

    fn size(&self, budget: Option<f64>) -> Option<Found> {
        let (baseline, candidate) = self.sizes.filter(|(baseline, _)| *baseline > 0)?;
        let effect = candidate as f64 / baseline as f64 - 1.0;
        let exact = Some(effect);
        let verdict = budget.map(|budget| match effect {
            e if e > budget + 1e-9 => Verdict::Regression,
            e if e < -budget - 1e-9 => Verdict::Improvement,
            _ => Verdict::Pass,
        });
        let evidence =
            Evidence { effect, low: exact, high: exact, p_value: 0.0, mde: None, pairs: 0 };
        let note = Some(format!("exact: {baseline} and {candidate} bytes"));
        Some(Found { metric: Metric::Size, budget, evidence: Some(evidence), verdict, note })
    }
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
    fn sizes_are_exact() {
        let budgets = Budgets::default().with(Metric::Size, Some(0.1));
        let of = |candidate: u64| {
            let sizes = Some((1000, candidate));
            let case = CaseGate { budgets, sizes, pairs: pairs(8, 0.0), ..CaseGate::default() };
            case.verdict()
        };
        assert_eq!(
            (of(1100), of(1101), of(500)),
            (Verdict::Pass, Verdict::Regression, Verdict::Improvement)
        );
    }
}
