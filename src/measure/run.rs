//! A plan from the first case to the last: what is skipped, what is kept, how long it takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::case::{Ask, Bench, Measured, provider_shares, seconds};
use super::host::WorkerCommand;
use super::validity::is_worth_another_attempt;
use crate::artifact::Library;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware::Host;
use crate::quality::QualityFigure;
use crate::store::{
    self, CaseRecord, CpuLimit, Hashes, MemoryBytes, Record, RunDir, TimingMs, Verdict,
};
use crate::units::{Bytes, Clock, Nanos, RealClock, wall_clock};
use crate::variant::Engine;
use crate::workload::{Case, Plan, Resolved};

/// Time a case takes besides warm-up and window, before anything is known: starting a worker,
/// loading a model, saying good-bye.
const OVERHEAD_GUESS: Nanos = Nanos::from_millis(1500);
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
    Nanos(each.0.saturating_mul(cases as u64))
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
        let window = window(asked, options.budget, clock.now(), left, overhead);
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
            let result = pass.case(case, window, &mut |name| observer.phase(name));
            let record = match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    outcome.interrupted = true;
                    break;
                }
                result => {
                    let mut record = pass.record(case, process, started_at, &result);
                    if let Ok(measured) = &result {
                        record.observations = Some(store::write_observations(
                            options.run_dir.path(),
                            &format!("observations/{}-{process}-0.csv.gz", case.id),
                            &measured.observations,
                        )?);
                    }
                    record
                }
            };
            spent_beside_windows.push((clock.now() - before) - window);
            options.run_dir.append(&record)?;
            let disturbed = is_worth_another_attempt(&record.verdict.reasons);
            let again = disturbed
                && process + 1 < first + attempts
                && has_time(options, clock.now(), left, window + overhead);
            observer.finished(index, &record, again);
            pass.done.insert(case.id.clone(), record);
            if !again {
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

/// What a pass over the plan knows.
struct Pass<'a> {
    options: &'a RunOptions<'a>,
    bench: Bench<'a>,
    /// Records of cases that are measured, by case id.
    done: HashMap<String, Record>,
    /// Processes that cases took in earlier passes, by case id.
    processes: HashMap<String, u32>,
}

impl<'a> Pass<'a> {
    fn new(options: &'a RunOptions<'a>) -> Result<Self> {
        let records = options.run_dir.records()?;
        let attempts = options.resolved.workload.load.attempts;
        let (mut done, mut processes) = (HashMap::new(), HashMap::new());
        for record in records {
            let id = record.case.id.clone();
            processes.insert(id.clone(), record.process + 1);
            // The last record of a case counts. One that failed, and one whose attempts were cut
            // short, is measured again.
            let cut_short =
                is_worth_another_attempt(&record.verdict.reasons) && record.process + 1 < attempts;
            if record.failure.is_some() || cut_short {
                done.remove(&id);
            } else {
                done.insert(id, record);
            }
        }
        Ok(Self {
            options,
            bench: Bench {
                resolved: options.resolved,
                host: options.host,
                library: options.library,
                worker: &options.worker,
                interrupted: &options.interrupted,
            },
            done,
            processes,
        })
    }

    fn case(&self, case: &Case, window: Nanos, phase: &mut dyn FnMut(&str)) -> Result<Measured> {
        let quality = self.quality_of(case).is_none();
        let inspect = self.ops_of(case).is_none();
        self.bench.measure(case, Ask { window, quality, inspect }, phase)
    }

    /// Quality is the same for every load on one variant, engine and batch composition, so it is
    /// measured once for each.
    fn quality_of(&self, case: &Case) -> Option<Vec<QualityFigure>> {
        let known = self.sibling(case, |r| !r.quality.is_empty());
        known.map(|r| r.quality.clone())
    }

    fn ops_of(&self, case: &Case) -> Option<Vec<store::OpRow>> {
        self.sibling(case, |r| !r.ops.is_empty()).map(|r| r.ops.clone())
    }

    fn sibling(&self, case: &Case, fits: impl Fn(&Record) -> bool) -> Option<&Record> {
        let resolved = self.options.resolved;
        let variant = &resolved.variants[case.variant];
        let backend = case.backend.to_string();
        let runtime = self.options.library.map(|l| &l.sha256);
        self.done.values().find(|r| {
            r.sha256.variant == variant.sha256
                && r.sha256.data == resolved.data.sha256
                && (r.sha256.runtime.is_none() || r.sha256.runtime.as_ref() == runtime)
                && r.case.backend == backend
                && r.case.threads == case.threads.to_string()
                && r.case.sessions == case.sessions
                && r.case.batching == case.batching
                && r.host_id == self.options.host.host_id
                && fits(r)
        })
    }

    fn record(
        &self,
        case: &Case,
        process: u32,
        started_at: String,
        result: &Result<Measured>,
    ) -> Record {
        let (measured, failure) = match result {
            Ok(measured) => (Some(measured), measured.late_failure.as_ref()),
            Err(error) => (None, Some(error)),
        };
        let resolved = self.options.resolved;
        let workload = &resolved.workload;
        let host = self.options.host;
        let variant = &resolved.variants[case.variant];
        let facts = measured.map(|m| &m.facts);
        let quality = measured
            .and_then(|m| m.quality.clone().or_else(|| self.quality_of(case)))
            .unwrap_or_default();
        let ops =
            measured.and_then(|m| m.ops.clone().or_else(|| self.ops_of(case))).unwrap_or_default();
        let mut reasons = measured.map(|m| m.reasons.clone()).unwrap_or_default();
        if let Some(error) = failure {
            reasons.push(format!("failed: {}", error.message()));
        }
        let bar = workload.quality.as_ref().and_then(|q| q.at_least);
        let meets_quality = bar.and_then(|bar| quality.first().map(|q| q.value >= bar));
        Record {
            schema_version: store::SCHEMA_VERSION,
            run_id: self.options.run_dir.id(),
            started_at,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            case: CaseRecord {
                id: case.id.clone(),
                model: workload.name.clone(),
                variant: variant.name.clone(),
                recipe: variant.recipe.to_string(),
                backend: case.backend.to_string(),
                device: facts.map(|f| f.device.clone()),
                batching: case.batching,
                sessions: case.sessions,
                threads: case.threads.to_string(),
                scenario: case.scenario,
            },
            sha256: Hashes {
                variant: variant.sha256.clone(),
                data: resolved.data.sha256.clone(),
                workload: resolved.workload_sha256.clone(),
                runtime: facts.and_then(|f| f.runtime.sha256.clone()),
            },
            runtime_version: facts.map(|f| format!("{} {}", f.runtime.name, f.runtime.version)),
            host_id: host.host_id.clone(),
            hardware_class: host.hardware_class.clone(),
            isa: host.cpu.isa.clone(),
            effective_cpus: CpuLimit {
                count: host.effective_cpus.count,
                reason: host.effective_cpus.reason.clone(),
            },
            threads_used: case.threads_on(host.effective_cpus.count),
            process,
            round: 0,
            verdict: Verdict { valid: reasons.is_empty(), reasons, meets_quality },
            latency_ms: measured.map(|m| m.summary.latency_ms.clone()).unwrap_or_default(),
            throughput_per_s: measured.and_then(|m| m.summary.throughput.clone()),
            quality,
            versus_baseline: None,
            timing_ms: measured.map(|m| TimingMs {
                load: m.facts.load.as_millis_f64(),
                compile: m.facts.compile.as_millis_f64(),
                first: m.first.as_millis_f64(),
            }),
            memory_bytes: MemoryBytes {
                weights: resolved.outline.weights,
                peak_rss: measured.and_then(|m| m.peak_rss),
            },
            size_bytes: Bytes(variant.size.0),
            energy_j_per_inference: None,
            node_share: provider_shares(&ops),
            ops,
            diagnoses: Vec::new(),
            load: measured.map(|m| m.load.clone()),
            telemetry: measured.map(|m| m.telemetry),
            observations: None,
            failure: failure.cloned(),
            provenance: match case.backend.engine {
                Engine::Mock => "mock".to_owned(),
                _ => "measured".to_owned(),
            },
        }
    }
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
