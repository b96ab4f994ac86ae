//! Baseline and candidate measured in turns, until it is decided or the time is up.

use std::path::{Path, PathBuf};

use super::Args;
use super::case::{self, Done, Sides};
use super::reference::Reference;
use super::store::Store;
use crate::artifact::{Library, find_library};
use crate::cli::runtime::Runtime;
use crate::cli::{interrupt, make, output, run, target as targets};
use crate::error::{Error, Result};
use crate::gate::{Accepted, Budgets, CaseGate, Metric, Verdict};
use crate::hardware;
use crate::measure::{Arena, WorkerCommand};
use crate::report::gate::{CaseReport, GateReport};
use crate::settings::Settings;
use crate::units::{Clock, Nanos, RealClock, today};
use crate::variant::Engine;
use crate::workload::{self, Case, GateSpec, Plan, Resolved, Split, Workload};

/// The median's budget where nothing is said.
const P50: f64 = 0.05;
/// That of instructions, where they are counted.
const INSTRUCTIONS: f64 = 0.01;
/// The reference that names what a store keeps.
const STORED: &str = "stored";

pub(super) fn execute(
    args: &Args,
    baseline: &str,
    candidate: &str,
    settings: &Settings,
) -> Result<(GateReport, Option<Error>)> {
    let clock = RealClock::start();
    let budget = args.budget.as_deref().map(targets::parse_budget).transpose()?;
    let resolved = resolved(args, [baseline, candidate], settings)?;
    let budgets = budgets(args, resolved.workload.gate.as_ref())?;
    let accepted = accepted(args, &resolved)?;
    let store = store(args, baseline)?;
    let plan = Plan::of(&resolved)?;
    let cases: Vec<&Case> = plan.cases.iter().filter(|case| case.variant == 0).collect();
    let new = Reference::parse("--candidate", candidate, &resolved, settings)?;
    if args.keep_baseline && matches!(new, Reference::Program(_)) {
        return Err(Error::input(
            "--keep-baseline",
            "keeps a model, and the candidate is a program",
        )
        .remedy("keep the program yourself, and name it as --baseline program:PATH"));
    }
    let host = hardware::detect();
    let mut report = GateReport {
        workload: resolved.workload.name.clone(),
        baseline: baseline.to_owned(),
        candidate: candidate.to_owned(),
        hardware_class: host.hardware_class.clone(),
        ..GateReport::default()
    };
    let old = match stored(baseline, store.as_ref(), &resolved)? {
        Stored::None => {
            let why = "the store keeps no baseline of this workload";
            let empty = || CaseGate { budgets, ..CaseGate::default() };
            let of = |case: &&Case| {
                CaseReport::without_baseline(&case.id, case.label("").trim(), empty(), why)
            };
            report.cases = cases.iter().map(of).collect();
            keep(args, store.as_ref(), &resolved, (candidate, &new), &mut report)?;
            return Ok((report, None));
        }
        Stored::At(path) => Reference::model(&path, &resolved, settings)?,
        Stored::NotAsked => Reference::parse("--baseline", baseline, &resolved, settings)?,
    };
    let library = library(&cases, args, settings)?;
    let interrupted = interrupt::flag()?;
    let engine_folder = settings.cache.root().join("wgpu");
    let arena = Arena {
        host: &host,
        library: library.as_ref(),
        engine_folder: Some(&engine_folder),
        interrupted: &interrupted,
    };
    let family = cases.len() * budgets.comparisons();
    let own = WorkerCommand {
        cpus: resolved.workload.deployment.map(|d| d.cpus),
        ..WorkerCommand::own()?
    };
    for (at, case) in cases.iter().enumerate() {
        let label = case.label("");
        let label = label.trim();
        output::say(&format!("{} of {}: {label}", at + 1, cases.len()));
        // What is left of the time is shared by the cases that are left.
        let until = budget.map(|budget| {
            let left = budget - clock.now();
            clock.now() + Nanos(left.0 / (cases.len() - at) as u64)
        });
        let sides = Sides {
            arena: &arena,
            resolved: &resolved,
            plan: &plan,
            case,
            own: &own,
            old: (baseline, &old),
            new: (candidate, &new),
        };
        let empty = CaseGate { budgets, family, ..CaseGate::default() };
        let mut done = match case::decide(&sides, empty, args, (&clock, until)) {
            Ok(done) => done,
            // What was decided before is told first.
            Err(error) if !report.cases.is_empty() => return Ok((report, Some(error))),
            Err(error) => return Err(error),
        };
        if let Some(accepted) = &accepted {
            report.notes.extend(accept(accepted, &mut done));
        }
        if let Some(path) = &args.pairs {
            done.session.append(path)?;
        }
        if let Some(store) = &store {
            store.append(&done.session)?;
        }
        report.cases.push(done.report);
    }
    if args.instructions {
        report
            .notes
            .push("time was not measured: --instructions counts, on another ISA".to_owned());
    }
    if let Some(accepted) = &accepted {
        let known: Vec<(&str, &str)> =
            report.cases.iter().map(|c| (c.case_id.as_str(), c.label.as_str())).collect();
        let unmatched = accepted.unmatched(&known);
        report.notes.extend(unmatched);
    }
    keep(args, store.as_ref(), &resolved, (candidate, &new), &mut report)?;
    Ok((report, None))
}

/// Lets accepted slow-downs of a case pass; what a reader must know of them.
fn accept(accepted: &Accepted, done: &mut Done) -> Vec<String> {
    let (id, label) = (done.report.case_id.clone(), done.report.label.clone());
    let notes = accepted.apply(&id, &label, &mut done.report.found, today());
    done.session.found.clone_from(&done.report.found);
    done.session.verdict = done.report.verdict();
    notes
}

/// The workload or model that the command works on.
pub(super) fn target(args: &Args) -> Result<&Path> {
    args.target.as_deref().ok_or_else(|| {
        Error::input("gate", "has nothing to work on")
            .remedy("give a model, a workload or a built-in one: `infermark gate digits …`")
    })
}

fn workload(args: &Args, settings: &Settings) -> Result<(Workload, PathBuf)> {
    let of_run = run::Args {
        target: Some(target(args)?.to_owned()),
        backend: args.backend.clone(),
        batch: args.batch.clone(),
        threads: args.threads.clone(),
        seed: args.seed,
        concurrency: vec![1],
        sessions: vec![1],
        ..run::Args::default()
    };
    targets::workload(&of_run, &settings.cache)
}

/// The `[gate]` of the workload, where one is named.
pub(super) fn spec(args: &Args, settings: &Settings) -> Result<Option<GateSpec>> {
    let Some(path) = &args.target else { return Ok(None) };
    // A run is no workload, and has limits given to it.
    let is_run = crate::store::RunDir::find(&settings.reports, &path.to_string_lossy()).is_ok();
    if is_run { Ok(None) } else { Ok(workload(args, settings)?.0.gate) }
}

fn resolved(args: &Args, compared: [&str; 2], settings: &Settings) -> Result<Resolved> {
    let (workload, base) = workload(args, settings)?;
    output::say(&format!("workload {}: fetching and checking model and data", workload.name));
    let mut resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
    // Only what is compared is made.
    resolved.to_make.retain(|spec| compared.contains(&spec.called().as_str()));
    if !make::variants(&mut resolved, settings, args.runtime, true)? {
        return Err(Error::input("gate", "a variant that is compared could not be made")
            .remedy("what was said above names the reason; `infermark compress` tries it alone"));
    }
    Ok(resolved)
}

fn accepted(args: &Args, resolved: &Resolved) -> Result<Option<Accepted>> {
    let of_workload = resolved.workload.gate.as_ref().and_then(|gate| gate.accepted.as_ref());
    let path = args.accepted.clone().or_else(|| of_workload.map(|path| resolved.base.join(path)));
    path.map(|path| Accepted::read(&path)).transpose()
}

fn store(args: &Args, baseline: &str) -> Result<Option<Store>> {
    if baseline == STORED && args.store.is_none() {
        return Err(Error::input("--baseline stored", "names no store")
            .remedy("give the folder too: --store DIR"));
    }
    Ok(args.store.as_deref().map(Store::at))
}

/// What `--baseline` says of a store.
enum Stored {
    NotAsked,
    None,
    At(PathBuf),
}

fn stored(baseline: &str, store: Option<&Store>, resolved: &Resolved) -> Result<Stored> {
    match store.filter(|_| baseline == STORED) {
        None => Ok(Stored::NotAsked),
        Some(store) => {
            let kept = store.baseline(&resolved.workload.name)?;
            Ok(kept.map_or(Stored::None, Stored::At))
        }
    }
}

/// Keeps the candidate as the baseline, if that is asked for and it may be.
fn keep(
    args: &Args,
    store: Option<&Store>,
    resolved: &Resolved,
    (name, candidate): (&str, &Reference),
    report: &mut GateReport,
) -> Result<()> {
    let Some(store) = store.filter(|_| args.keep_baseline) else { return Ok(()) };
    let verdict = report.verdict();
    let is_first =
        report.cases.iter().all(|case| case.gate.pairs.is_empty() && case.gate.exact.is_empty());
    if !is_first && !matches!(verdict, Verdict::Pass | Verdict::Improvement) {
        report.notes.push(format!("{}: the stored baseline stays as it was", verdict.name()));
        return Ok(());
    }
    let (variant, outline) = match candidate {
        Reference::Variant(at) => (&resolved.variants[*at], &resolved.outline),
        Reference::Model(other) => (&other.variants[0], &other.outline),
        Reference::Program(_) => return Err(Error::internal("gate", "a program cannot be kept")),
    };
    let external: Vec<String> = outline.external_files.iter().cloned().collect();
    store.keep(&resolved.workload.name, name, variant, &external)?;
    report.notes.push(format!("{name} is the stored baseline of {} now", resolved.workload.name));
    Ok(())
}

/// Budgets of the workload and the command line.
pub(super) fn budgets(args: &Args, spec: Option<&GateSpec>) -> Result<Budgets> {
    let none = GateSpec::default();
    let spec = spec.unwrap_or(&none);
    let timed = |budget: Option<f64>| budget.filter(|_| !args.instructions);
    let all = [
        (Metric::P50, timed(Some(args.p50.or(spec.p50).unwrap_or(P50)))),
        (Metric::Throughput, timed(spec.throughput)),
        (Metric::P95, timed(spec.p95)),
        (Metric::P99, timed(spec.p99)),
        (Metric::Load, timed(spec.load)),
        (Metric::PeakRss, timed(spec.peak_rss)),
        (Metric::Size, spec.size),
        (Metric::Quality, spec.quality),
        (Metric::Cost, timed(spec.cost)),
        (
            Metric::Instructions,
            spec.instructions.or(Some(INSTRUCTIONS)).filter(|_| args.instructions),
        ),
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
