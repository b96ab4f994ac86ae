//! Baseline and candidate measured in turns, until it is decided or the time is up.

use super::Args;
use super::measure;
use super::reference::Reference;
use crate::artifact::{Library, find_library};
use crate::cli::runtime::Runtime;
use crate::cli::{interrupt, make, output, run, target};
use crate::error::{Error, Result};
use crate::gate::{Budgets, CaseGate, Exact, Identity, Metric, Session};
use crate::hardware::{self, Host};
use crate::measure::{Arena, PairPlan, Side, WorkerCommand, timestamp};
use crate::report::gate::{CaseReport, GateReport};
use crate::settings::Settings;
use crate::units::{Clock, Nanos, RealClock};
use crate::variant::Engine;
use crate::workload::{self, Case, GateSpec, Plan, Resolved, Split};

/// Rounds of a pair of processes, a burst of either side each.
const ROUNDS: u32 = 20;
/// Length of a burst.
const BURST: Nanos = Nanos::from_millis(10);
/// How long each process warms up.
const WARMUP: Nanos = Nanos::from_millis(200);
/// The median's budget where nothing is said.
const P50: f64 = 0.05;

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<GateReport> {
    let clock = RealClock::start();
    let budget = args.budget.as_deref().map(target::parse_budget).transpose()?;
    let resolved = resolved(args, settings)?;
    let budgets = budgets(args, resolved.workload.gate.as_ref())?;
    let plan = Plan::of(&resolved)?;
    let cases: Vec<&Case> = plan.cases.iter().filter(|case| case.variant == 0).collect();
    let old = Reference::parse("--baseline", &args.baseline, &resolved, settings)?;
    let new = Reference::parse("--candidate", args.candidate(), &resolved, settings)?;
    let library = library(&cases, args, settings)?;
    let host = hardware::detect();
    let interrupted = interrupt::flag()?;
    let engine_folder = settings.cache.root().join("wgpu");
    let arena = Arena {
        host: &host,
        library: library.as_ref(),
        engine_folder: Some(&engine_folder),
        interrupted: &interrupted,
    };
    let family = cases.len() * budgets.comparisons();
    let mut reports = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let own = WorkerCommand {
            cpus: resolved.workload.deployment.map(|d| d.cpus),
            ..WorkerCommand::own()?
        };
        let side = |name, reference: &Reference| reference.side(name, &arena, &resolved, case, &own);
        let (a, b) = (side("baseline", &old), side("candidate", &new));
        let label = case.label("");
        let label = label.trim();
        output::say(&format!("{} of {}: {label}", at + 1, cases.len()));
        let exact = sizes(&a, &b);
        let mut gate = CaseGate { budgets, exact, family, ..CaseGate::default() };
        // What is left of the time is shared by the cases that are left.
        let until = budget.map(|budget| {
            let left = budget - clock.now();
            clock.now() + Nanos(left.0 / (cases.len() - at) as u64)
        });
        let plan_of_pairs = PairPlan {
            first: 0,
            pairs: 1,
            rounds: ROUNDS,
            burst: BURST,
            warmup: WARMUP,
            samples: resolved.data.samples,
            seed: resolved.workload.load.seed,
            patience: Nanos::from(std::time::Duration::from_secs_f64(
                resolved.workload.load.timeout_s,
            )),
        };
        let told = measure::decide(&mut gate, (&a, &b), plan_of_pairs, &arena, (&clock, until))?;
        let medians = measure::medians(&gate);
        let report = CaseReport::new(&old.case_id(&resolved, &plan, case)?, label, gate);
        let identity = |at: usize, name: &str, side: &Side, reference: &Reference| {
            Ok::<_, Error>(Identity {
                name: name.to_owned(),
                sha256: side.spec.variant.sha256.clone(),
                program: reference.program(case.backend.engine)?,
                runtime: told.runtimes[at].clone(),
                p50_ms: medians[at],
            })
        };
        let sides = [
            identity(0, &args.baseline, &a, &old)?,
            identity(1, args.candidate(), &b, &new)?,
        ];
        let session = session(&report, &resolved, &host, sides);
        if let Some(path) = &args.pairs {
            session.append(path)?;
        }
        reports.push(report);
    }
    Ok(GateReport {
        workload: resolved.workload.name.clone(),
        baseline: args.baseline.clone(),
        candidate: args.candidate().to_owned(),
        hardware_class: host.hardware_class.clone(),
        cases: reports,
    })
}

fn resolved(args: &Args, settings: &Settings) -> Result<Resolved> {
    let of_run = run::Args {
        target: Some(args.target.clone()),
        backend: args.backend.clone(),
        batch: args.batch.clone(),
        threads: args.threads.clone(),
        seed: args.seed,
        concurrency: vec![1],
        sessions: vec![1],
        ..run::Args::default()
    };
    let (workload, base) = target::workload(&of_run, &settings.cache)?;
    output::say(&format!("workload {}: fetching and checking model and data", workload.name));
    let mut resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
    // Only what is compared is made.
    let compared = [args.baseline.as_str(), args.candidate()];
    resolved.to_make.retain(|spec| compared.contains(&spec.called().as_str()));
    if !make::variants(&mut resolved, settings, args.runtime, true)? {
        return Err(Error::input("gate", "a variant that is compared could not be made")
            .remedy("what was said above names the reason; `infermark compress` tries it alone"));
    }
    Ok(resolved)
}

/// What a history keeps of a case.
fn session(
    report: &CaseReport,
    resolved: &Resolved,
    host: &Host,
    [baseline, candidate]: [Identity; 2],
) -> Session {
    Session {
        schema_version: Session::SCHEMA_VERSION,
        at: timestamp(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        workload: resolved.workload.name.clone(),
        case_id: report.case_id.clone(),
        case: report.label.clone(),
        hardware_class: host.hardware_class.clone(),
        isa: host.cpu.isa.clone(),
        baseline,
        candidate,
        verdict: report.gate.verdict(),
        found: report.found.clone(),
        pairs: report.gate.pairs.clone(),
        fresh: report.gate.fresh.clone(),
        instructions: None,
    }
}

/// Sizes of both files, where they are two.
fn sizes(a: &Side, b: &Side) -> Vec<Exact> {
    if a.spec.variant.sha256 == b.spec.variant.sha256 {
        return Vec::new();
    }
    vec![Exact {
        metric: Metric::Size,
        baseline: a.spec.variant.size.0 as f64,
        candidate: b.spec.variant.size.0 as f64,
        less_is_worse: false,
        unit: "bytes".to_owned(),
        ends: None,
    }]
}

fn budgets(args: &Args, spec: Option<&GateSpec>) -> Result<Budgets> {
    let none = GateSpec::default();
    let spec = spec.unwrap_or(&none);
    let all = [
        (Metric::P50, Some(args.p50.or(spec.p50).unwrap_or(P50))),
        (Metric::Throughput, spec.throughput),
        (Metric::P95, spec.p95),
        (Metric::P99, spec.p99),
        (Metric::Load, spec.load),
        (Metric::PeakRss, spec.peak_rss),
        (Metric::Size, spec.size),
        (Metric::Quality, spec.quality),
        (Metric::Cost, spec.cost),
        (Metric::Instructions, spec.instructions),
    ];
    let mut budgets = Budgets::default();
    for (metric, budget) in all {
        let most = if metric == Metric::Throughput { 0.99 } else { 10.0 };
        if budget.is_some_and(|b| !(b.is_finite() && b > 0.0 && b <= most)) {
            return Err(Error::input(format!("gate.{}", metric.name()), "is no budget")
                .remedy(format!("give a share above 0, {most} at most: 0.05 is 5 %")));
        }
        budgets = budgets.with(metric, budget);
    }
    Ok(budgets)
}

fn library(cases: &[&Case], args: &Args, settings: &Settings) -> Result<Option<Library>> {
    if cases.iter().all(|case| case.backend.engine != Engine::Ort) {
        return Ok(None);
    }
    let build = args.runtime.map(Runtime::build);
    Ok(Some(find_library(settings.ort_dylib.as_deref(), build, &settings.cache)?))
}
