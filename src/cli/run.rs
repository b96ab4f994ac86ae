//! `infermark run`: from a model or a workload to records and a table.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::Ended;
use super::output::{self, Format};
use super::progress::Progress;
use super::runtime::Runtime;
use crate::artifact::{Source, find_library};
use crate::backend;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware;
use crate::load::{Batching, Scenario};
use crate::measure::{self, RunOptions, RunOutcome, WorkerCommand};
use crate::report::{Csv, Markdown, Report, ReportModel};
use crate::settings::Settings;
use crate::store::{Manifest, RunDir, SCHEMA_VERSION};
use crate::units::{Nanos, wall_clock};
use crate::variant::{BackendId, Engine};
use crate::workload::{
    self, DataSpec, GeneratedSpec, LoadSpec, ModelSpec, Plan, Resolved, Threads, Workload,
};

#[derive(clap::Args, Default)]
pub(super) struct Args {
    /// A model (`.onnx`) or a workload (`.toml`); the quickstart workload when left out
    target: Option<PathBuf>,
    /// Backends, e.g. `ort:cpu,ort:cuda`; instead of the workload's
    #[arg(long, value_delimiter = ',')]
    backend: Vec<String>,
    /// Batch sizes, e.g. `1,8`
    #[arg(long, value_delimiter = ',', value_name = "N")]
    batch: Vec<u32>,
    /// Clients of a closed load, e.g. `1,4`; 1 is a single client
    #[arg(long, value_delimiter = ',', value_name = "N")]
    concurrency: Vec<u32>,
    /// Sessions that serve at once
    #[arg(long, value_delimiter = ',', value_name = "N")]
    sessions: Vec<u16>,
    /// Threads a session: numbers, or `auto` for the effective CPUs
    #[arg(long, value_delimiter = ',', value_name = "N")]
    threads: Vec<Threads>,
    /// Length of each case's window in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    duration: Option<f64>,
    /// Fresh processes that a case may take when something from outside disturbs it
    #[arg(long, value_name = "N")]
    attempts: Option<u32>,
    /// Size of a free dimension in generated inputs, e.g. `seq=64`; may be repeated
    #[arg(long, value_name = "NAME=SIZE")]
    dim: Vec<String>,
    /// Seed of generated inputs and of the order in which samples are issued
    #[arg(long)]
    seed: Option<u64>,
    /// Time for the whole run, e.g. `10m`, `90s`; windows are fitted to it
    #[arg(long, value_name = "TIME")]
    budget: Option<String>,
    /// Continue a run: `latest`, an id or a path; cases it has are skipped
    #[arg(long, value_name = "RUN")]
    resume: Option<String>,
    /// List the cases with an estimate of the time, and measure nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the workload that is run to this file, as a start for one's own
    #[arg(long, value_name = "FILE")]
    save_workload: Option<PathBuf>,
    /// Fetch and use this build of ONNX Runtime instead of the library that is found
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Exit with code 2 when a result is INVALID or fails its quality gate
    #[arg(long)]
    strict: bool,
}

impl Args {
    /// What `infermark` without arguments does.
    pub(super) fn quickstart() -> Self {
        Self::default()
    }
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    let budget = args.budget.as_deref().map(parse_budget).transpose()?;
    let (workload, base) = workload(args)?;
    for id in &workload.backends.ids {
        backend::check_name(id)?;
    }
    output::say(&format!("workload {}: fetching and checking model and data", workload.name));
    let resolved = workload::resolve(workload, &base, &settings.cache)?;
    for note in &resolved.notes {
        output::say(&format!("  {note}"));
    }
    if let Some(path) = &args.save_workload {
        save_workload(path, &resolved, &base)?;
    }
    let plan = Plan::of(&resolved)?;
    for excluded in &plan.excluded {
        output::say(&format!("  not in the plan: {}: {}", excluded.case, excluded.reason));
    }
    if args.dry_run {
        return dry_run(args.format, &resolved, &plan, budget).map(|()| Ended::Fine);
    }
    let (run_dir, outcome) = measure(args, settings, &resolved, &plan, budget)?;
    finish(args, &run_dir, &outcome)
}

fn measure(
    args: &Args,
    settings: &Settings,
    resolved: &Resolved,
    plan: &Plan,
    budget: Option<Nanos>,
) -> Result<(RunDir, RunOutcome)> {
    let host = hardware::detect();
    let needs_ort = plan.cases.iter().any(|case| case.backend.engine == Engine::Ort);
    let library = if needs_ort {
        let library = find_library(
            settings.ort_dylib.as_deref(),
            args.runtime.map(Runtime::build),
            &settings.cache,
        )?;
        output::say(&format!(
            "  ONNX Runtime: {} (found by {})",
            library.path.display(),
            library.found_by
        ));
        if args.runtime.is_none() {
            for offer in Runtime::offers(&host) {
                output::say(&format!("  {offer}"));
            }
        }
        for passed_over in &library.passed_over {
            output::say(&format!("  passed over: {passed_over}"));
        }
        Some(library)
    } else {
        None
    };
    let manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        started_at: measure::timestamp(),
        model: resolved.workload.name.clone(),
        conditions: resolved.conditions()?,
    };
    let run_dir = if let Some(name) = &args.resume {
        let run_dir = RunDir::find(&settings.reports, name)?;
        run_dir.check(&manifest)?;
        run_dir
    } else {
        let id = new_run_id(&resolved.workload.name);
        let text = resolved.workload.to_toml()?;
        RunDir::create(&settings.reports, &id, &manifest, &text)?
    };
    let _lock = run_dir.lock()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst))
        .map_err(|e| Error::internal("Ctrl-C", e))?;
    let mut progress = Progress::new(plan.cases.len());
    let options = RunOptions {
        resolved,
        plan,
        host: &host,
        library: library.as_ref(),
        worker: WorkerCommand::own()?,
        run_dir: &run_dir,
        budget,
        interrupted,
    };
    let outcome = measure::run(&options, &mut progress);
    progress.clear();
    let outcome = outcome.inspect_err(|_| {
        output::say(&format!("finished cases are in {}", run_dir.path().display()));
    })?;
    Ok((run_dir, outcome))
}

/// Writes the report's files, prints the result, and says how the run ended.
fn finish(args: &Args, run_dir: &RunDir, outcome: &RunOutcome) -> Result<Ended> {
    if !outcome.records.is_empty() || args.format == Format::Json {
        output::records(args.format, run_dir.path(), &outcome.records, &outcome.not_run)?;
    }
    if !outcome.records.is_empty() {
        let model = ReportModel::of(&outcome.records);
        write(&run_dir.path().join("report.md"), &Markdown.render(&model)?)?;
        write(&run_dir.path().join("records.csv"), &Csv.render(&model)?)?;
    }
    output::say(&format!("records: {}", run_dir.path().display()));
    for (case, reason) in &outcome.not_run {
        output::say(&format!("not measured: {case}: {reason}"));
    }
    let resume = format!("--resume {}", run_dir.id());
    if outcome.interrupted {
        let kept = outcome.records.len();
        let message = format!("stopped; {kept} finished cases are kept");
        return Err(Error::new(ErrorKind::Interrupted, "interrupted", message)
            .remedy(format!("the same command with {resume} goes on from here")));
    }
    let failures = outcome.failures();
    for error in &failures {
        output::error(error);
    }
    if !failures.is_empty() || !outcome.not_run.is_empty() {
        let finished = outcome.records.iter().filter(|r| r.failure.is_none()).count();
        let all = outcome.records.len() + outcome.not_run.len();
        output::say(&format!(
            "{finished} of {all} cases were measured; the same command with {resume} tries the \
             others again"
        ));
        return Ok(Ended::Failed);
    }
    let refused =
        |r: &crate::store::Record| !r.verdict.valid || r.verdict.meets_quality == Some(false);
    if args.strict && outcome.records.iter().any(refused) {
        return Ok(Ended::Negative);
    }
    Ok(Ended::Fine)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::io(path, "write", &e))
}

/// The workload to run, flags applied, and the folder that its relative paths start at.
fn workload(args: &Args) -> Result<(Workload, PathBuf)> {
    let here = PathBuf::from(".");
    let (mut workload, base) = match &args.target {
        None => (Workload::parse("the quickstart workload", workload::QUICKSTART)?, here),
        Some(path) if path.to_str().is_none() => {
            return Err(Error::input(path.display(), "has a name that is not UTF-8")
                .remedy("rename it; records and workloads are text"));
        }
        Some(path) => match extension(path).as_deref() {
            Some("toml") => {
                let base = path.parent().map_or(here, Path::to_owned);
                (Workload::read(path)?, base)
            }
            Some("onnx") => (for_model(path), here),
            _ => {
                return Err(Error::input(path.display(), "is neither a model nor a workload")
                    .remedy("give a file that ends in .onnx or .toml"));
            }
        },
    };
    apply(args, &mut workload)?;
    Ok((workload, base))
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase)
}

/// A workload for a model that comes without one: generated inputs, default load.
fn for_model(path: &Path) -> Workload {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    Workload {
        name: stem.chars().map(plain).collect(),
        description: "Generated inputs that fit the model's signature".to_owned(),
        model: ModelSpec {
            source: Source::Path(path.to_owned()),
            sha256: None,
            variant: "as-given".to_owned(),
        },
        data: DataSpec {
            sha256: None,
            files: None,
            npz: None,
            generated: Some(GeneratedSpec { samples: 64, seed: 42, dims: BTreeMap::new() }),
        },
        backends: workload::BackendSpec::default(),
        load: LoadSpec::default(),
        quality: None,
    }
}

fn apply(args: &Args, workload: &mut Workload) -> Result<()> {
    if !args.backend.is_empty() {
        workload.backends.ids =
            args.backend.iter().map(|id| id.parse()).collect::<Result<Vec<BackendId>>>()?;
    }
    if !args.threads.is_empty() {
        workload.backends.threads.clone_from(&args.threads);
    }
    let load = &mut workload.load;
    if !args.batch.is_empty() {
        load.batching = args.batch.iter().map(|size| Batching::Fixed(*size)).collect();
    }
    if !args.concurrency.is_empty() {
        let scenario = |n: &u32| match n {
            1 => Scenario::Single,
            n => Scenario::Closed { concurrency: *n },
        };
        load.scenarios = args.concurrency.iter().map(scenario).collect();
    }
    if !args.sessions.is_empty() {
        load.sessions.clone_from(&args.sessions);
    }
    if let Some(duration) = args.duration {
        load.duration_s = duration;
    }
    if let Some(attempts) = args.attempts {
        load.attempts = attempts;
    }
    if let Some(seed) = args.seed {
        load.seed = seed;
    }
    match &mut workload.data.generated {
        Some(generated) => {
            generated.seed = args.seed.unwrap_or(generated.seed);
            for text in &args.dim {
                let (name, size) = parse_dim(text)?;
                generated.dims.insert(name, size);
            }
        }
        None if !args.dim.is_empty() => {
            return Err(Error::input(
                "--dim",
                "sizes generated inputs, and this workload has data",
            )
            .remedy("leave it out, or run the model's file itself"));
        }
        None => {}
    }
    workload.check("the command line")
}

fn parse_dim(text: &str) -> Result<(String, usize)> {
    text.split_once('=')
        .and_then(|(name, size)| Some((name.to_owned(), size.parse().ok()?)))
        .ok_or_else(|| {
            Error::input(format!("--dim {text}"), "is no size").remedy("write NAME=SIZE: seq=64")
        })
}

fn parse_budget(text: &str) -> Result<Nanos> {
    let bad = || {
        Error::input(format!("--budget {text}"), "is no time").remedy("write e.g. 10m, 90s or 1h")
    };
    let span: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
    let span = std::time::Duration::try_from(span).map_err(|_| bad())?;
    if span.is_zero() { Err(bad()) } else { Ok(Nanos::from(span)) }
}

/// Writes the workload with the hashes of what it found, and with absolute paths: those of the
/// original start at another folder.
fn save_workload(path: &Path, resolved: &Resolved, base: &Path) -> Result<()> {
    let mut saved = resolved.workload.clone();
    let absolute = |source: &mut Source| {
        if let Source::Path(path) = source
            && let Ok(found) = base.join(&path).canonicalize()
        {
            *path = found;
        }
    };
    absolute(&mut saved.model.source);
    if let Some(npz) = &mut saved.data.npz {
        absolute(&mut npz.source);
    }
    if let Some(files) = &mut saved.data.files {
        absolute(&mut files.classes.source);
    }
    // Generated data follow from the seed and the sizes, which a user may well edit.
    if !resolved.data.generated {
        saved.data.sha256 = Some(resolved.data.sha256.clone());
    }
    if resolved.outline.external_files.is_empty() {
        saved.model.sha256 = Some(resolved.variants[0].sha256.clone());
    }
    let text = format!("# docs/workloads.md lists every key.\n\n{}", saved.to_toml()?);
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(()); // The same command was given before, and goes on with --resume now.
    }
    let mut file = std::fs::File::create_new(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::input(path.display(), "is there already and is not overwritten")
                .remedy("name a new file for --save-workload")
        }
        _ => Error::io(path, "write", &e),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| Error::io(path, "write", &e))?;
    output::say(&format!("workload written to {}", path.display()));
    Ok(())
}

/// A name that sorts by time: `20261121T234158-magika-3f9e`, the end being the process id's.
fn new_run_id(name: &str) -> String {
    let stamp = jiff::Timestamp::try_from(wall_clock())
        .map(|t| t.strftime("%Y%m%dT%H%M%S").to_string())
        .unwrap_or_default();
    format!("{stamp}-{name}-{:04x}", std::process::id() % 0x1_0000)
}

#[derive(Serialize)]
struct DryRun<'a> {
    schema_version: u32,
    estimated_s: f64,
    cases: Vec<DryCase<'a>>,
    excluded: &'a [workload::Excluded],
}

#[derive(Serialize)]
struct DryCase<'a> {
    id: &'a str,
    label: String,
    variant: &'a str,
    backend: String,
    batching: Batching,
    sessions: u16,
    threads: String,
    scenario: Scenario,
}

fn dry_run(format: Format, resolved: &Resolved, plan: &Plan, budget: Option<Nanos>) -> Result<()> {
    let estimate = measure::estimate(resolved, plan.cases.len(), budget);
    let case = |c: &'_ workload::Case| c.label(&resolved.variants[c.variant].name);
    if format == Format::Json {
        let cases = plan.cases.iter().map(|c| DryCase {
            id: &c.id,
            label: case(c),
            variant: &resolved.variants[c.variant].name,
            backend: c.backend.to_string(),
            batching: c.batching,
            sessions: c.sessions,
            threads: c.threads.to_string(),
            scenario: c.scenario,
        });
        let dry_run = DryRun {
            schema_version: SCHEMA_VERSION,
            estimated_s: estimate.as_secs_f64(),
            cases: cases.collect(),
            excluded: &plan.excluded,
        };
        return output::figures(&output::json(&dry_run)?);
    }
    let (lead, separator) = match format {
        Format::Csv => ("case_id,case\n", ","),
        Format::Md => ("case_id | case\n--- | ---\n", " | "),
        _ => ("", "  "),
    };
    let mut text = lead.to_owned();
    for c in &plan.cases {
        text.push_str(&format!("{}{separator}{}\n", c.id, case(c)));
    }
    output::figures(&text)?;
    let quality = if resolved.workload.quality.is_some() {
        format!(
            ", and a pass over {} samples for the quality of each batch size",
            resolved.data.samples
        )
    } else {
        String::new()
    };
    output::say(&format!(
        "{} cases, about {:.0} s besides fetching ONNX Runtime{quality}",
        plan.cases.len(),
        estimate.as_secs_f64()
    ));
    Ok(())
}
