//! `infermark gate`: baseline and candidate measured in turns, until it is decided or the time is up.

use std::path::{Path, PathBuf};

use super::output::{self, Format};
use super::runtime::Runtime;
use super::{Ended, interrupt, make, run, target};
use crate::artifact::{Library, find_library};
use crate::error::{Error, Result};
use crate::gate::{Budgets, CaseGate, Metric, Pair, Step, Verdict};
use crate::hardware;
use crate::load::Observation;
use crate::measure::{Arena, PairBursts, PairPlan, Side, WorkerCommand, compare};
use crate::report::gate::{CaseReport, GateReport};
use crate::settings::Settings;
use crate::units::{Clock, Nanos, RealClock};
use crate::variant::Engine;
use crate::workload::{self, Case, GateSpec, Plan, Resolved, Split, Threads};

/// Rounds of a pair of processes, a burst of either side each.
const ROUNDS: u32 = 20;
/// Length of a burst.
const BURST: Nanos = Nanos::from_millis(10);
/// How long each process warms up.
const WARMUP: Nanos = Nanos::from_millis(200);
/// The median's budget where nothing is said.
const P50: f64 = 0.05;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A model, a workload or a built-in one, as for `run`: its data, engines and batches
    target: PathBuf,
    /// What was there: a variant's name, a model (`.onnx` or folder), `program:PATH` of an infermark, or `command:WORDS…`
    /// of a program that speaks the worker protocol
    #[arg(long, value_name = "REF")]
    baseline: String,
    /// What is to come, in the same forms
    #[arg(long, value_name = "REF")]
    candidate: String,
    /// Backends, instead of the workload's
    #[arg(long, value_delimiter = ',')]
    backend: Vec<String>,
    /// Batch sizes, e.g. `1,8`
    #[arg(long, value_delimiter = ',', value_name = "N")]
    batch: Vec<u32>,
    /// Threads a session
    #[arg(long, value_delimiter = ',', value_name = "N")]
    threads: Vec<Threads>,
    /// Time for all of it, e.g. `10m`; what is not decided then is TOO NOISY
    #[arg(long, value_name = "TIME")]
    budget: Option<String>,
    /// How much the median may grow, e.g. `0.05`, instead of the workload's `[gate] p50`
    #[arg(long, value_name = "SHARE")]
    p50: Option<f64>,
    /// Seed of the order of bursts and samples
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Fetch and use this build of ONNX Runtime
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// Exit with code 3 when it is undecided, instead of 0 with a warning
    #[arg(long)]
    strict: bool,
    /// Also write `JUnit` XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write Markdown for a pull request to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write the Bencher Metric Format to this file
    #[arg(long, value_name = "FILE")]
    bmf: Option<PathBuf>,
    /// Also print annotations that GitHub's actions show
    #[arg(long)]
    annotate: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One of the two as it was named.
enum Reference {
    /// A variant of the workload.
    Variant(usize),
    /// Another model on the same data.
    Model(Box<Resolved>),
    /// Another program that serves the workload's model.
    Program(WorkerCommand),
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    let clock = RealClock::start();
    let budget = args.budget.as_deref().map(target::parse_budget).transpose()?;
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
    resolved.to_make.retain(|spec| [&args.baseline, &args.candidate].contains(&&spec.called()));
    if !make::variants(&mut resolved, settings, args.runtime, true)? {
        return Err(Error::input("gate", "a variant that is compared could not be made")
            .remedy("what was said above names the reason; `infermark compress` tries it alone"));
    }
    let budgets = budgets(args, resolved.workload.gate.unwrap_or_default())?;
    let plan = Plan::of(&resolved)?;
    let cases: Vec<&Case> = plan.cases.iter().filter(|case| case.variant == 0).collect();
    let (old, new) = (
        reference("--baseline", &args.baseline, &resolved, settings)?,
        reference("--candidate", &args.candidate, &resolved, settings)?,
    );
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
    let mut reports = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let own = WorkerCommand {
            cpus: resolved.workload.deployment.map(|d| d.cpus),
            ..WorkerCommand::own()?
        };
        let side = |name: &str, reference: &Reference| match reference {
            Reference::Variant(variant) => {
                let case = Case { variant: *variant, ..(*case).clone() };
                arena.side(name, &resolved, &case, &own)
            }
            Reference::Program(program) => {
                let program = WorkerCommand { cpus: own.cpus, ..program.clone() };
                arena.side(name, &resolved, case, &program)
            }
            Reference::Model(other) => {
                let mut side = arena.side(name, other, case, &own);
                // Both on the same inputs.
                side.spec.data.clone_from(&resolved.data.path);
                side
            }
        };
        let (a, b) = (side("baseline", &old), side("candidate", &new));
        let label = case.label("");
        output::say(&format!("{} of {}: {}", at + 1, cases.len(), label.trim()));
        let sizes = (a.spec.variant.sha256 != b.spec.variant.sha256)
            .then_some((a.spec.variant.size.0, b.spec.variant.size.0));
        let mut gate = CaseGate { budgets, sizes, ..CaseGate::default() };
        // What is left of the time is shared by the cases that are left.
        let until = budget.map(|budget| {
            let left = budget - clock.now();
            clock.now() + Nanos(left.0 / (cases.len() - at) as u64)
        });
        let plan = PairPlan {
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
        decide(&mut gate, (&a, &b), plan, &arena, &mut || {
            until.is_some_and(|until| clock.now() >= until)
        })?;
        reports.push(CaseReport::new(&case.id, label.trim(), gate));
    }
    let report = GateReport {
        workload: resolved.workload.name.clone(),
        baseline: args.baseline.clone(),
        candidate: args.candidate.clone(),
        hardware_class: host.hardware_class.clone(),
        cases: reports,
    };
    tell(args, &report)
}

/// Measures until the gate has what it needs or the time is up.
fn decide(
    gate: &mut CaseGate,
    (a, b): (&Side, &Side),
    plan: PairPlan,
    arena: &Arena<'_>,
    is_late: &mut dyn FnMut() -> bool,
) -> Result<()> {
    let mut first = 0;
    loop {
        let (count, confirms) = match gate.next() {
            Step::Done => return Ok(()),
            Step::Measure(pairs) => (pairs, false),
            Step::Confirm(pairs) => {
                output::say("  looks like a regression: measuring fresh pairs to confirm it");
                (pairs, true)
            }
        };
        output::say(&format!("  {count} pairs of fresh processes"));
        for _ in 0..count {
            if is_late() {
                return Ok(());
            }
            compare(a, b, PairPlan { first, ..plan }, arena.interrupted, &mut |_, bursts| {
                let pair = pair_of(&bursts)?;
                let list = if confirms { &mut gate.fresh } else { &mut gate.pairs };
                list.push(pair);
                Ok(())
            })?;
            first += 1;
        }
    }
}

/// What a pair's bursts say.
fn pair_of(bursts: &PairBursts) -> Result<Pair> {
    let ms = |side: &[Vec<Observation>]| -> Vec<f64> {
        side.iter().flatten().map(|o| o.latency().as_millis_f64()).collect()
    };
    let (baseline_ms, candidate_ms) = (ms(&bursts.a), ms(&bursts.b));
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let [a, b] = bursts.starts;
    // A program of the user's may not say, which is 0.
    let load = (a.load.0 > 0 && b.load.0 > 0).then(|| (b.load.0 as f64 / a.load.0 as f64).ln());
    let memory = a.peak_rss.zip(b.peak_rss).filter(|(a, b)| a.0 > 0 && b.0 > 0);
    Ok(Pair {
        p50: bursts.log_ratio()?,
        mean: (mean(&candidate_ms) / mean(&baseline_ms)).ln(),
        load,
        peak_rss: memory.map(|(a, b)| (b.0 as f64 / a.0 as f64).ln()),
        baseline_ms,
        candidate_ms,
    })
}

fn budgets(args: &Args, spec: GateSpec) -> Result<Budgets> {
    let all = [
        (Metric::P50, Some(args.p50.or(spec.p50).unwrap_or(P50))),
        (Metric::Mean, spec.mean),
        (Metric::P95, spec.p95),
        (Metric::P99, spec.p99),
        (Metric::Load, spec.load),
        (Metric::PeakRss, spec.peak_rss),
        (Metric::Size, spec.size),
    ];
    let mut budgets = Budgets::default();
    for (metric, budget) in all {
        if budget.is_some_and(|b| !(b.is_finite() && b > 0.0 && b <= 10.0)) {
            return Err(Error::input(format!("gate.{}", metric.name()), "is no budget")
                .remedy("give a share above 0: 0.05 lets it grow by 5 %"));
        }
        budgets = budgets.with(metric, budget);
    }
    Ok(budgets)
}

fn reference(
    flag: &str,
    text: &str,
    resolved: &Resolved,
    settings: &Settings,
) -> Result<Reference> {
    if let Some(path) = text.strip_prefix("program:") {
        let path = Path::new(path);
        if !path.is_file() {
            return Err(Error::input(format!("{flag} {text}"), "is not there")
                .remedy("give the path of another build of infermark"));
        }
        let program = path.canonicalize().map_err(|e| Error::io(path, "find", &e))?;
        return Ok(Reference::Program(WorkerCommand {
            program,
            args: vec!["worker".into()],
            cpus: None,
        }));
    }
    if let Some(words) = text.strip_prefix("command:") {
        let mut words = words.split_whitespace();
        let program = words.next().ok_or_else(|| {
            Error::input(format!("{flag} {text}"), "names no program")
                .remedy("write the program and its arguments: command:python3 server.py")
        })?;
        let args = words.map(Into::into).collect();
        return Ok(Reference::Program(WorkerCommand { program: program.into(), args, cpus: None }));
    }
    if let Some(at) = resolved.variants.iter().position(|v| v.name == text) {
        return Ok(Reference::Variant(at));
    }
    let path = Path::new(text);
    if path.exists() {
        let mut workload = resolved.workload.clone();
        let path = path.canonicalize().map_err(|e| Error::io(path, "find", &e))?;
        workload.model.source = crate::artifact::Source::Path(path);
        workload.model.sha256 = None;
        workload.variants.clear();
        workload.baseline = None;
        let other = workload::resolve(workload, Split::Test, &resolved.base, &settings.cache)?;
        return Ok(Reference::Model(Box::new(other)));
    }
    let names: Vec<&str> = resolved.variants.iter().map(|v| v.name.as_str()).collect();
    Err(Error::input(format!("{flag} {text}"), "is neither a variant of the workload nor a file")
        .remedy(format!(
            "name one of {}, a model's path, program:PATH or command:WORDS",
            names.join(", ")
        )))
}

fn library(cases: &[&Case], args: &Args, settings: &Settings) -> Result<Option<Library>> {
    if cases.iter().all(|case| case.backend.engine != Engine::Ort) {
        return Ok(None);
    }
    let build = args.runtime.map(Runtime::build);
    Ok(Some(find_library(settings.ort_dylib.as_deref(), build, &settings.cache)?))
}

/// Prints and writes what was found, and says how it ends.
fn tell(args: &Args, report: &GateReport) -> Result<Ended> {
    let write = |path: &Option<PathBuf>, text: String| match path {
        None => Ok(()),
        Some(path) => std::fs::write(path, text).map_err(|e| Error::io(path, "write", &e)),
    };
    let text = match args.format {
        Format::Json => output::json(&report.json())?,
        Format::Md => report.markdown(),
        Format::Csv => output::csv(&GateReport::HEADER, report.rows())?,
        Format::Table => report.table(),
    };
    output::figures(&text)?;
    write(&args.junit, report.junit())?;
    write(&args.markdown, report.markdown())?;
    write(&args.bmf, report.bmf()?)?;
    if args.annotate {
        output::figures(&report.annotations())?;
    }
    Ok(match report.verdict() {
        Verdict::Pass | Verdict::Improvement => Ended::Fine,
        Verdict::Regression => Ended::Negative,
        Verdict::TooNoisy | Verdict::NoBaseline => {
            if !args.strict {
                output::say("WARNING: undecided, which passes: --strict makes it exit code 3");
            }
            if args.strict { Ended::Undecided } else { Ended::Fine }
        }
    })
}
