//! A plan from the first case to the last: what is skipped, what is kept, how long it takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::beside::INTERRUPTED;
use super::case::seconds;
use super::host::WorkerCommand;
use super::pass::Pass;
use super::validity::is_worth_another_attempt;
use crate::artifact::Library;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware::Host;
use crate::store::{self, Record, RunDir};
use crate::units::{Clock, Nanos, RealClock, wall_clock};
use crate::workload::{Plan, Resolved};

/// Time a case takes besides warm-up and window, before anything is known: starting a worker,
/// loading a model, saying good-bye.
const OVERHEAD_GUESS: Nanos = Nanos::from_millis(1500);
/// Time that a pair of fresh processes takes, before anything is known.
const PAIR_GUESS: Nanos = Nanos::from_millis(1500);
/// A budget never makes windows shorter or longer than this.
const WINDOW_RANGE: (Nanos, Nanos) = (Nanos::from_millis(200), Nanos::from_secs(60));

/// How a plan is run.
pub struct RunOptions<'a> {
    /// What is measured.
    pub resolved: &'a Resolved,
    /// The cases.
    pub plan: &'a Plan,
    /// This machine.
    pub host: &'a Host,
    /// ONNX Runtime's library, where a case needs it.
    pub library: Option<&'a Library>,
    /// The program that workers run.
    pub worker: WorkerCommand,
    /// Where records go.
    pub run_dir: &'a RunDir,
    /// Time for the whole run; windows are fitted to it.
    pub budget: Option<Nanos>,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    /// Where engines keep what they measured and compiled.
    pub engine_folder: Option<&'a Path>,
    /// Whether op tables are held against what devices can do.
    pub profile: bool,
}

/// Told what happens, as it happens.
pub trait Observer {
    /// A case of the plan is in the run already.
    fn skipped(&mut self, index: usize, label: &str);
    /// A case begins; `remaining` is an estimate for it and all after it.
    fn started(&mut self, index: usize, label: &str, remaining: Nanos);
    /// The case goes on to its next phase.
    fn phase(&mut self, name: &str);
    /// The case's record is on the disk; with `again`, the case is measured once more because
    /// something from outside disturbed it.
    fn finished(&mut self, index: usize, record: &Record, again: bool);
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct RunOutcome {
    /// Records of the plan's cases, in the plan's order; of a case with several, the last.
    pub records: Vec<Record>,
    /// Cases of the plan without a record, and why.
    pub not_run: Vec<(String, String)>,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// An estimate of the time that `cases` take, before anything is known of the model.
pub fn estimate(resolved: &Resolved, cases: usize, budget: Option<Nanos>) -> Nanos {
    let load = &resolved.workload.load;
    let overhead = seconds(load.warmup_s) + OVERHEAD_GUESS;
    let window = window(seconds(load.duration_s), budget, Nanos(0), cases, overhead);
    let each = window.map_or(Nanos(0), |window| window + overhead);
    Nanos(each.0.saturating_mul(cases as u64)) + pair_time(resolved)
}

/// A guess at the time that pairs take: one set for each variant, engine, threads and batch.
fn pair_time(resolved: &Resolved) -> Nanos {
    let workload = &resolved.workload;
    let compositions = workload.backends.ids.len()
        * workload.backends.threads.len()
        * workload.load.batching.len()
        * usize::from(workload.load.sessions.contains(&1));
    let sets = (resolved.variants.len() - 1) * compositions;
    Nanos(PAIR_GUESS.0.saturating_mul(u64::from(workload.load.pairs)).saturating_mul(sets as u64))
}

/// Measures every case of the plan that the run does not have yet, one worker process each, and
/// appends each record as its case ends.
///
/// A case that fails gets a record that says so, and the run goes on. Only what makes going on
/// pointless is an error here: a record that cannot be written.
pub fn run(options: &RunOptions<'_>, observer: &mut dyn Observer) -> Result<RunOutcome> {
    let clock = RealClock::start();
    let mut pass = Pass::new(options)?;
    let cases = &options.plan.cases;
    let mut outcome = RunOutcome::default();
    let mut spent_beside_windows: Vec<Nanos> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let label = case.label(&options.resolved.variants[case.variant].name);
        if pass.done.contains_key(&case.id) {
            observer.skipped(index, &label);
            continue;
        }
        if options.interrupted.load(Ordering::SeqCst) {
            outcome.interrupted = true;
            break;
        }
        let left = cases[index..].iter().filter(|c| !pass.done.contains_key(&c.id)).count();
        let overhead = mean(&spent_beside_windows)
            .unwrap_or(seconds(options.resolved.workload.load.warmup_s) + OVERHEAD_GUESS);
        let asked = seconds(options.resolved.workload.load.duration_s);
        // Pairs that would take more than half of what is left are given up rather than cases.
        let pairs = Nanos(PAIR_GUESS.0.saturating_mul(pass.pairs_to_come(&cases[index..])));
        let may_pair = options.budget.is_none_or(|budget| pairs.0 <= (budget - clock.now()).0 / 2);
        let reserve = if may_pair { pairs } else { Nanos(0) };
        let budget = options.budget.map(|budget| budget - reserve);
        let window = window(asked, budget, clock.now(), left, overhead);
        let Some(window) = window else {
            outcome.not_run.push((label, "the time budget was used up".to_owned()));
            continue;
        };
        let remaining = Nanos((window + overhead).0.saturating_mul(left as u64));
        observer.started(index, &label, remaining);
        let attempts = options.resolved.workload.load.attempts;
        let first = pass.processes.get(&case.id).copied().unwrap_or(0);
        for process in first..first.saturating_add(attempts) {
            let (before, started_at) = (clock.now(), timestamp());
            let mut paired = Nanos(0);
            let result = pass.case(case, process, (window, may_pair), &mut |name| {
                observer.phase(name);
            });
            let record = match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    outcome.interrupted = true;
                    break;
                }
                result => {
                    let mut record = pass.record(case, process, started_at, &result);
                    if let Ok(measured) = &result {
                        paired = measured.paired.as_ref().map_or(Nanos(0), |p| p.took);
                        record.observations = Some(store::write_observations(
                            options.run_dir.path(),
                            &format!("observations/{}-{process}-0.csv.gz", case.id),
                            &measured.observations,
                        )?);
                    }
                    record
                }
            };
            spent_beside_windows.push((clock.now() - before) - window - paired);
            options.run_dir.append(&record)?;
            let disturbed = is_worth_another_attempt(&record.verdict.reasons);
            let again = disturbed
                && process + 1 < first + attempts
                && has_time(options, clock.now(), left, window + overhead);
            observer.finished(index, &record, again);
            let pairs = record.versus_baseline.as_ref().and_then(|v| v.failure.as_deref());
            outcome.interrupted |= pairs == Some(INTERRUPTED);
            pass.done.insert(case.id.clone(), record);
            if !again || outcome.interrupted {
                break;
            }
        }
        if outcome.interrupted {
            break;
        }
    }
    for case in cases {
        let label = case.label(&options.resolved.variants[case.variant].name);
        match pass.done.remove(&case.id) {
            Some(record) => outcome.records.push(record),
            None if outcome.not_run.iter().any(|(l, _)| *l == label) => {}
            None => outcome.not_run.push((label, "the run was interrupted".to_owned())),
        }
    }
    Ok(outcome)
}

/// The window of the next case: as asked, or with a budget this case's share of what is left;
/// `None` when that leaves no time for it.
fn window(
    asked: Nanos,
    budget: Option<Nanos>,
    now: Nanos,
    cases_left: usize,
    overhead: Nanos,
) -> Option<Nanos> {
    let Some(budget) = budget else { return Some(asked) };
    let share = Nanos((budget - now).0 / cases_left.max(1) as u64);
    let (least, most) = WINDOW_RANGE;
    let window = share - overhead;
    if now + overhead + least > budget {
        return None;
    }
    Some(window.clamp(least, most))
}

/// Whether one more attempt at a case leaves its share of the budget to the others.
fn has_time(options: &RunOptions<'_>, now: Nanos, cases_left: usize, each: Nanos) -> bool {
    options.budget.is_none_or(|budget| now + Nanos(each.0 * cases_left as u64) <= budget)
}

fn mean(spans: &[Nanos]) -> Option<Nanos> {
    let sum: u64 = spans.iter().map(|span| span.0).sum();
    sum.checked_div(spans.len() as u64).map(Nanos)
}

/// Now, RFC 3339 UTC to the second.
pub fn timestamp() -> String {
    jiff::Timestamp::try_from(wall_clock())
        .map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

impl RunOutcome {
    /// The failures, one of each kind of message, for the end of a run.
    pub fn failures(&self) -> Vec<&Error> {
        let mut seen: Vec<&Error> = Vec::new();
        for error in self.records.iter().filter_map(|r| r.failure.as_ref()) {
            if seen.iter().all(|other| other.message() != error.message()) {
                seen.push(error);
            }
        }
        seen
    }
}
