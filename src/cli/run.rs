//! `infermark run`: from a model or a workload to records and a table.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Ended;
use super::make;
use super::output::{self, Format};
use super::progress::Progress;
use super::runtime::Runtime;
use super::target;
use crate::artifact::find_library;
use crate::backend;
use crate::economics::PriceTable;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware;
use crate::load::{Batching, Scenario};
use crate::measure::{self, RunOptions, RunOutcome, WorkerCommand};
use crate::report::{Csv, Markdown, Report, ReportModel};
use crate::settings::Settings;
use crate::store::{Manifest, RunDir, SCHEMA_VERSION};
use crate::units::{Nanos, wall_clock};
use crate::variant::{Engine, Optimization};
use crate::workload::{self, Plan, Resolved, Split, Threads};

#[derive(clap::Args, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    /// A model (`.onnx`), a workload (`.toml`) or a built-in one (`magika`, `sentiment`, `digits`); the
    /// quickstart when left out
    pub(super) target: Option<PathBuf>,
    /// Backends, e.g. `ort:cpu,ort:cuda`; instead of the workload's
    #[arg(long, value_delimiter = ',')]
    pub(super) backend: Vec<String>,
    /// Batch sizes, e.g. `1,8`
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(super) batch: Vec<u32>,
    /// Clients of a closed load, e.g. `1,4`; 1 is a single client
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(super) concurrency: Vec<u32>,
    /// Requests a second of an open load, Poisson arrivals, e.g. `50,200`
    #[arg(long, value_delimiter = ',', value_name = "PER_SECOND")]
    pub(super) rate: Vec<f64>,
    /// Largest batch of a dynamic batcher, e.g. `8`; see --max-delay
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(super) max_batch: Vec<u32>,
    /// How long a dynamic batcher lets a request wait for others, in ms; 5 when left out
    #[arg(long, value_name = "MS", requires = "max_batch")]
    pub(super) max_delay: Option<f64>,
    /// Latency that 99 % of requests must keep to, in ms
    #[arg(long, value_name = "MS")]
    pub(super) slo: Option<f64>,
    /// Sessions that serve at once
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(super) sessions: Vec<u16>,
    /// Threads a session: numbers, or `auto` for the effective CPUs
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub(super) threads: Vec<Threads>,
    /// Length of each case's window in seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(super) duration: Option<f64>,
    /// Fresh processes that a case may take when something from outside disturbs it
    #[arg(long, value_name = "N")]
    pub(super) attempts: Option<u32>,
    /// Pairs of fresh processes in which variants are compared with the baseline: 0, or 6 and more
    #[arg(long, value_name = "N")]
    pub(super) pairs: Option<u32>,
    /// Size of a free dimension in generated inputs, e.g. `seq=64`; may be repeated
    #[arg(long, value_name = "NAME=SIZE")]
    pub(super) dim: Vec<String>,
    /// Seed of generated inputs and of the order in which samples are issued
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Time for the whole run, e.g. `10m`, `90s`; windows are fitted to it
    #[arg(long, value_name = "TIME")]
    pub(super) budget: Option<String>,
    /// Continue a run: `latest`, an id or a path; cases it has are skipped
    #[arg(long, value_name = "RUN")]
    pub(super) resume: Option<String>,
    /// How hard the engine works on the graph before it runs it
    #[arg(long, value_enum)]
    pub(super) optimization: Option<Optimization>,
    /// Print where the time goes: kernels with their rates, beside what the device can do
    #[arg(long)]
    pub(super) profile: bool,
    /// Take the likeliest kernel for the device instead of measuring which is fastest (wgpu)
    #[arg(long)]
    pub(super) no_autotune: bool,
    /// List the cases with an estimate of the time, and measure nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write the workload that is run to this file, as a start for one's own
    #[arg(long, value_name = "FILE")]
    pub(super) save_workload: Option<PathBuf>,
    /// Fetch and use this build of ONNX Runtime instead of the library that is found
    #[arg(long, value_enum)]
    pub(super) runtime: Option<Runtime>,
    /// Ask the cloud's metadata service which instance this is, to price it (at most one second)
    #[arg(long)]
    pub(super) cloud: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    /// Exit with code 2 when a result is INVALID or fails its quality gate
    #[arg(long)]
    pub(super) strict: bool,
}

impl Args {
    /// What `infermark` without arguments does.
    pub(super) fn quickstart() -> Self {
        Self::default()
    }
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    if args.target.is_some() {
        return one(args, settings);
    }
    // The quickstart: one workload after the other; what one cannot do does not stop the next.
    let mut ended = Ended::Fine;
    for name in workload::QUICKSTART {
        let args = Args { target: Some(PathBuf::from(name)), ..args.clone() };
        match one(&args, settings) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                output::error(&error);
                ended = Ended::Failed;
            }
            Ok(Ended::Fine) => {}
            Ok(other) if ended == Ended::Fine => ended = other,
            Ok(_) => {}
        }
    }
    Ok(ended)
}

/// One workload from its file to its table.
fn one(args: &Args, settings: &Settings) -> Result<Ended> {
    let budget = args.budget.as_deref().map(target::parse_budget).transpose()?;
    let (workload, base) = target::workload(args, &settings.cache)?;
    for id in &workload.backends.ids {
        backend::check_name(id)?;
    }
    output::say(&format!("workload {}: fetching and checking model and data", workload.name));
    let mut resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
    for note in &resolved.notes {
        output::say(&format!("  {note}"));
    }
    let all_made = make::variants(&mut resolved, settings, args.runtime, !args.dry_run)?;
    if let Some(path) = &args.save_workload {
        target::save_workload(path, &resolved, &base)?;
    }
    let plan = Plan::of(&resolved)?;
    for excluded in &plan.excluded {
        output::say(&format!("  not in the plan: {}: {}", excluded.case, excluded.reason));
    }
    if args.dry_run {
        return dry_run(args.format, &resolved, &plan, budget).map(|()| Ended::Fine);
    }
    let (run_dir, outcome) = measure(args, settings, &resolved, &plan, budget)?;
    match finish(args, &run_dir, &outcome)? {
        Ended::Fine if !all_made => Ok(Ended::Failed),
        ended => Ok(ended),
    }
}

/// Measures a workload for another command: records, and nothing printed but progress.
pub(super) fn measured(args: &Args, settings: &Settings) -> Result<RunOutcome> {
    let budget = args.budget.as_deref().map(target::parse_budget).transpose()?;
    let (workload, base) = target::workload(args, &settings.cache)?;
    output::say(&format!("workload {}: fetching and checking model and data", workload.name));
    let mut resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
    if !make::variants(&mut resolved, settings, args.runtime, true)? {
        return Err(Error::input(&resolved.workload.name, "has a variant that could not be made")
            .remedy("what was said above names the reason; `infermark compress` tries it alone"));
    }
    let plan = Plan::of(&resolved)?;
    let (run_dir, outcome) = measure(args, settings, &resolved, &plan, budget)?;
    output::say(&format!("records: {}", run_dir.path().display()));
    if outcome.interrupted {
        return Err(Error::new(
            ErrorKind::Interrupted,
            "interrupted",
            "stopped; finished cases are kept",
        ));
    }
    Ok(outcome)
}

fn measure(
    args: &Args,
    settings: &Settings,
    resolved: &Resolved,
    plan: &Plan,
    budget: Option<Nanos>,
) -> Result<(RunDir, RunOutcome)> {
    let mut host = hardware::detect();
    if args.cloud {
        match hardware::ask(hardware::SERVICE) {
            Some(cloud) => host.cloud = cloud,
            None => output::say("  no cloud's metadata service answered; going by the firmware"),
        }
    }
    if let Some(deployment) = resolved.workload.deployment {
        let there = host.effective_cpus.count;
        if deployment.cpus > there as f64 {
            let message =
                format!("is {}, more than the {there} CPUs that there are", deployment.cpus);
            return Err(Error::input("deployment.cpus", message)
                .remedy("run it on a machine with more, or leave it out"));
        }
        host = host.within(deployment.cpus);
        output::say(&format!(
            "  threads: for {} ({})",
            host.effective_cpus.count, host.effective_cpus.reason
        ));
    }
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
    let interrupted = super::interrupt::flag()?;
    let mut progress = Progress::new(plan.cases.len());
    let engine_folder = settings.cache.root().join("wgpu");
    let options = RunOptions {
        resolved,
        plan,
        host: &host,
        library: library.as_ref(),
        worker: WorkerCommand {
            cpus: resolved.workload.deployment.map(|d| d.cpus),
            ..WorkerCommand::own()?
        },
        run_dir: &run_dir,
        budget,
        interrupted,
        engine_folder: Some(&engine_folder),
        profile: args.profile,
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
        if args.profile {
            output::profile(args.format, &outcome.records)?;
        }
    }
    if !outcome.records.is_empty() {
        let model = ReportModel::of(&outcome.records, &PriceTable::built_in()?);
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
            scenario: c.scenario.clone(),
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
