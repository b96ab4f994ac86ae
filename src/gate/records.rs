//! Deciding on what was measured before: on paired observations, or on a history through its probe. Figures of two days
//! are never compared as they are: 12 to 39 % of such comparisons alarm where nothing changed.

use super::case::{CaseGate, Found};
use super::decision::{Evidence, MARGIN, SPENT, Verdict};
use super::exact::Exact;
use super::metric::{Budgets, Metric};
use super::session::{Identity, Session};
use crate::stats;

/// Sessions at least from which the deviation between sessions is learned.
pub const LEAST_SESSIONS: usize = 5;
/// A budget must be so many times that deviation.
pub const TIMES_DEVIATION: f64 = 3.0;

/// What records say of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct FromRecords {
    /// The later session, whose candidate is judged.
    pub session: Session,
    /// Its pairs, where they decide.
    pub gate: CaseGate,
    /// What every metric comes to.
    pub found: Vec<Found>,
    /// What it was decided on, in words.
    pub basis: String,
    /// Probability of a false alarm that each comparison spends.
    pub alpha: f64,
}

/// Compares the latest candidate of every case and class of machine in `b` with what `a` has of that case.
///
/// Where time decides, sessions that only counted are passed over, and the other way round.
pub fn from_records(a: &[Session], b: &[Session], budgets: Budgets) -> Vec<FromRecords> {
    let counts = budgets.of(Metric::Instructions).is_some();
    let has_it = |s: &&Session| if counts { s.instructions.is_some() } else { !s.pairs.is_empty() };
    let (a, b): (Vec<&Session>, Vec<&Session>) =
        (a.iter().filter(has_it).collect(), b.iter().filter(has_it).collect());
    let mut latest: Vec<&Session> = Vec::new();
    for session in b.iter().rev() {
        let key = |s: &Session| {
            (s.workload.clone(), s.case.clone(), s.hardware_class.clone(), s.isa.clone())
        };
        if !latest.iter().any(|s| key(s) == key(session)) {
            latest.push(session);
        }
    }
    latest.reverse();
    latest.into_iter().map(|session| decide(&a, &b, session, budgets)).collect()
}

fn decide(a: &[&Session], b: &[&Session], new: &Session, budgets: Budgets) -> FromRecords {
    let empty = || CaseGate { budgets, ..CaseGate::default() };
    let none = |why: &str| FromRecords {
        session: new.clone(),
        found: empty().without_baseline(why),
        gate: empty(),
        basis: format!("NO BASELINE: {why}"),
        alpha: 0.0,
    };
    let cases: Vec<&&Session> =
        a.iter().rev().filter(|s| s.case == new.case && s.workload == new.workload).collect();
    let is_paired = |old: &Session| {
        old.is_same(new) || (is_the_same(&new.baseline, &old.candidate) && shares_machine(old, new))
    };
    // What was measured beside it, then what was measured beside the same, then whatever is the latest.
    let paired = cases.iter().find(|old| is_paired(old));
    let beside = || cases.iter().find(|old| old.probe() == new.probe());
    let Some(old) = paired.or_else(beside).or(cases.first()) else {
        return none("the first records have no such case");
    };
    if paired.is_some() {
        let gate = CaseGate {
            budgets,
            exact: new.exact.clone(),
            pairs: new.pairs.clone(),
            fresh: new.fresh.clone(),
            family: 0,
        };
        return FromRecords {
            session: new.clone(),
            found: gate.found(),
            basis: format!("both measured in turns on {}", new.at),
            alpha: super::decision::false_alarm_rate(1),
            gate,
        };
    }
    if let Some(what) = old.probe().differs(&new.probe()) {
        return none(&format!(
            "{what} differs, so that nothing was measured beside both; gate the two models themselves"
        ));
    }
    let Some(between) = Deviation::learn(a, b, new) else {
        return none(&format!(
            "the deviation between sessions is not known: it takes {LEAST_SESSIONS} sessions of candidates that were \
             measured more than once beside this baseline"
        ));
    };
    let found = Metric::ALL.into_iter().filter_map(|metric| {
        let budget = budgets.of(metric);
        if metric.is_exact() {
            return exact(old, new, metric).map_or_else(
                || budget.map(|b| super::case::unknown(metric, b)),
                |exact| exact.found(budget),
            );
        }
        between.found(old, new, metric, budget)
    });
    FromRecords {
        session: new.clone(),
        found: found.collect(),
        gate: empty(),
        basis: format!(
            "sessions of {} and {} through the baseline that both were measured beside; deviation between sessions from \
             {} of them",
            old.at, new.at, between.sessions
        ),
        alpha: SPENT[0],
    }
}

/// Whether two sides are the same artifact, served and executed by the same.
fn is_the_same(one: &Identity, other: &Identity) -> bool {
    (&one.sha256, &one.program, &one.runtime) == (&other.sha256, &other.program, &other.runtime)
}

/// Whether it can be said at all that they are the same: on one class of machine.
fn shares_machine(one: &Session, other: &Session) -> bool {
    one.hardware_class == other.hardware_class && one.isa == other.isa
}

/// What sessions of one and the same candidate differ by.
struct Deviation<'a> {
    /// Sessions of each candidate that has several.
    groups: Vec<Vec<&'a Session>>,
    sessions: usize,
}

impl<'a> Deviation<'a> {
    fn learn(a: &[&'a Session], b: &[&'a Session], new: &Session) -> Option<Self> {
        let mut groups: Vec<Vec<&'a Session>> = Vec::new();
        for session in a.iter().chain(b).copied().filter(|s| s.probe() == new.probe()) {
            // The same history may have been given twice.
            if groups.iter().flatten().any(|known| known.is_same(session)) {
                continue;
            }
            let own = groups.iter_mut().find(|g| is_the_same(&g[0].candidate, &session.candidate));
            match own {
                Some(group) => group.push(session),
                None => groups.push(vec![session]),
            }
        }
        groups.retain(|group| group.len() > 1);
        let sessions = groups.iter().map(Vec::len).sum();
        (sessions >= LEAST_SESSIONS).then_some(Self { groups, sessions })
    }

    /// Pooled standard deviation within candidates, and its degrees of freedom.
    fn of(&self, metric: Metric) -> Option<(f64, f64)> {
        let (mut squares, mut freedom) = (0.0, 0.0);
        for group in &self.groups {
            let values: Option<Vec<f64>> = group.iter().map(|s| s.middle(metric)).collect();
            let values = values?;
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            squares += values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            freedom += values.len() as f64 - 1.0;
        }
        (freedom > 0.0).then(|| ((squares / freedom).sqrt(), freedom))
    }

    fn found(
        &self,
        old: &Session,
        new: &Session,
        metric: Metric,
        budget: Option<f64>,
    ) -> Option<Found> {
        let unknown = |note: String| {
            budget.map(|budget| Found { note: Some(note), ..super::case::unknown(metric, budget) })
        };
        let known = old.middle(metric).zip(new.middle(metric)).zip(self.of(metric));
        let Some(((before, now), (deviation, freedom))) = known else {
            return unknown("a history keeps no such figure of every pair".to_owned());
        };
        if metric == Metric::Cost && budget.is_none() {
            return None;
        }
        let of_time = budget.map(|budget| super::case::worse_time(metric, budget));
        if let Some(budget) = of_time.filter(|b| *b < TIMES_DEVIATION * deviation) {
            return unknown(format!(
                "sessions of one and the same candidate differ by {:.2} % (standard deviation), so a budget of {:.1} % \
                 cannot be held from records; measure both now with --baseline and --candidate",
                deviation * 100.0,
                budget * 100.0
            ));
        }
        let effect = now - before;
        // Each of the two sessions deviates by itself.
        let both = deviation * 2.0_f64.sqrt();
        let reach = stats::student_quantile(1.0 - SPENT[0], freedom)? * both;
        let finds = reach + stats::student_quantile(0.8, freedom)? * both;
        let evidence = Evidence {
            effect: effect.exp_m1(),
            low: Some((effect - reach).exp_m1()),
            high: Some((effect + reach).exp_m1()),
            p_value: None,
            mde: Some(finds.exp_m1()),
            pairs: new.pairs.len(),
        };
        let verdict = of_time.map(|budget| match (effect - reach, effect + reach) {
            (low, _) if low > 0.0 && effect > (MARGIN * budget).ln_1p() => Verdict::Regression,
            (_, high) if high < 0.0 && effect < -(MARGIN * budget).ln_1p() => Verdict::Improvement,
            (_, high) if high < budget.ln_1p() => Verdict::Pass,
            _ => Verdict::TooNoisy,
        });
        let note = (verdict == Some(Verdict::Regression))
            .then(|| "not confirmed: records cannot be measured again".to_owned());
        let evidence = if metric == Metric::Throughput { evidence.inverse() } else { evidence };
        Some(Found { metric, budget, evidence: Some(evidence), verdict, note })
    }
}

/// Both candidates' figures of what is compared as it is.
fn exact(old: &Session, new: &Session, metric: Metric) -> Option<Exact> {
    let of = |session: &Session| session.exact.iter().find(|e| e.metric == metric).cloned();
    let (before, now) = (of(old)?, of(new)?);
    (before.unit == now.unit).then_some(Exact { baseline: before.candidate, ends: None, ..now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Pair;

    fn session(day: u32, candidate: &str, p50: f64) -> Session {
        let identity = |sha: &str| Identity {
            name: sha.to_owned(),
            sha256: sha.to_owned(),
            program: "infermark".to_owned(),
            runtime: "onnxruntime".to_owned(),
            p50_ms: 1.0,
        };
        let pair = |at: usize| Pair { p50: p50 + 0.001 * (at % 3) as f64, ..Pair::default() };
        Session {
            schema_version: 1,
            at: format!("2026-11-{day:02}T00:00:00Z"),
            tool_version: String::new(),
            workload: "w".to_owned(),
            case_id: "c".to_owned(),
            case: "ort".to_owned(),
            hardware_class: "here".to_owned(),
            isa: vec!["avx2".to_owned()],
            baseline: identity("probe"),
            candidate: identity(candidate),
            verdict: Verdict::Pass,
            found: Vec::new(),
            exact: Vec::new(),
            pairs: (0..8).map(pair).collect(),
            fresh: Vec::new(),
            instructions: None,
        }
    }

    fn p50(a: &[Session], b: &[Session]) -> (Verdict, String) {
        let budgets = Budgets::default().with(Metric::P50, Some(0.05));
        let all = from_records(a, b, budgets);
        let found = all[0].found.iter().find(|f| f.metric == Metric::P50).unwrap().clone();
        (found.verdict.unwrap(), format!("{} {}", all[0].basis, found.note.unwrap_or_default()))
    }

    #[test]
    fn a_session_that_has_both_decides_by_its_pairs() {
        let old = session(1, "old", 0.0);
        let mut new = session(2, "new", 0.001);
        new.baseline = old.candidate.clone();
        let (verdict, why) = p50(std::slice::from_ref(&old), std::slice::from_ref(&new));
        assert_eq!(verdict, Verdict::Pass);
        assert!(why.contains("in turns"), "{why}");
        // Another machine measured other things, whatever they are called.
        new.hardware_class = "there".to_owned();
        let (verdict, why) = p50(&[old], &[new]);
        assert_eq!(verdict, Verdict::NoBaseline);
        assert!(why.contains("the hardware class differs"), "{why}");
    }

    #[test]
    fn a_history_decides_through_its_probe_once_its_deviation_is_known() {
        let wobble = [0.0, 0.004, -0.003, 0.002, -0.004, 0.003];
        let history: Vec<Session> =
            (1..=6).map(|day| session(day, "old", wobble[day as usize - 1])).collect();
        let (verdict, why) = p50(&history, &[session(9, "new", 0.09)]);
        assert_eq!(verdict, Verdict::Regression, "{why}");
        assert!(why.contains("not confirmed") && why.contains("from 6 of them"), "{why}");
        assert_eq!(p50(&history, &[session(9, "new", 0.0)]).0, Verdict::Pass);
        assert_eq!(p50(&history, &[session(9, "new", -0.09)]).0, Verdict::Improvement);
        let (verdict, why) = p50(&history[..4], &[session(9, "new", 0.0)]);
        assert_eq!(verdict, Verdict::NoBaseline);
        assert!(why.contains("5 sessions"), "{why}");
        // The same session is itself, whether it kept its latencies or not.
        let mut whole = history[5].clone();
        whole.pairs.iter_mut().for_each(|pair| pair.baseline_ms = vec![1.0]);
        assert!(p50(&history, &[whole]).1.contains("in turns"));
        // Given twice, it is no more sessions than it is.
        assert_eq!(p50(&history[..4], &history[..4]).0, Verdict::Pass);
        let both = [&history[..3], &history[..3]].concat();
        assert_eq!(p50(&both, &[session(9, "new", 0.0)]).0, Verdict::NoBaseline);
        // Sessions that differ by more than a third of the budget hold none.
        let wild: Vec<Session> =
            (1..=6).map(|day| session(day, "old", 10.0 * wobble[day as usize - 1])).collect();
        let (verdict, why) = p50(&wild, &[session(9, "new", 0.0)]);
        assert_eq!(verdict, Verdict::NoBaseline);
        assert!(why.contains("cannot be held from records"), "{why}");
    }

    #[test]
    fn every_class_of_machine_has_its_own_verdict() {
        let old: Vec<Session> = vec![session(1, "old", 0.0)];
        let mut slow = session(2, "new", 0.4);
        slow.baseline = old[0].candidate.clone();
        slow.fresh.clone_from(&slow.pairs);
        let mut fine = session(3, "new", 0.0);
        (fine.baseline, fine.hardware_class) = (old[0].candidate.clone(), "there".to_owned());
        let budgets = Budgets::default().with(Metric::P50, Some(0.05));
        let all = from_records(&old, &[slow, fine], budgets);
        let verdicts: Vec<_> = all.iter().map(|found| found.found[0].verdict).collect();
        assert_eq!(verdicts, [Some(Verdict::Regression), Some(Verdict::NoBaseline)]);
    }

    #[test]
    fn another_probe_case_or_extension_is_no_baseline() {
        let old = session(1, "old", 0.0);
        let differs = |change: &dyn Fn(&mut Session), said: &str| {
            let mut new = session(2, "new", 0.0);
            change(&mut new);
            let (verdict, why) = p50(std::slice::from_ref(&old), &[new]);
            assert_eq!(verdict, Verdict::NoBaseline);
            assert!(why.contains(said), "{why}");
        };
        differs(&|new| new.case = "candle".to_owned(), "no such case");
        differs(&|new| new.isa.clear(), "extensions");
        differs(&|new| new.baseline.sha256 = "other".to_owned(), "artifact");
        differs(&|new| new.baseline.runtime = "other".to_owned(), "runtime");
    }
}
