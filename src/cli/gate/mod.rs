//! `infermark gate`: baseline and candidate measured in turns, until it is decided or the time is up.

mod case;
mod compared;
mod history;
mod limits;
mod measure;
mod records;
mod reference;
mod store;
mod tell;

use std::path::PathBuf;

use super::Ended;
use super::output::Format;
use super::runtime::Runtime;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::workload::Threads;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A model, a workload or a built-in one, as for `run`: its data, engines and batches; with --limits also a run
    target: Option<PathBuf>,
    /// What was there: a variant's name, a model (`.onnx` or folder), `program:PATH` of an infermark, `command:WORDS…` of a
    /// program that speaks the worker protocol, or `stored` for the one in --store
    #[arg(long, value_name = "REF")]
    baseline: Option<String>,
    /// What is to come, in the same forms
    #[arg(long, value_name = "REF")]
    candidate: Option<String>,
    /// Measure the baseline against itself: what this machine's noise lets a gate find
    #[arg(long, conflicts_with_all = ["candidate", "keep_baseline"])]
    aa: bool,
    /// Decide on what was measured before: stores, files of `--pairs`, or runs, of the baseline and the candidate
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["baseline", "candidate", "limits", "aa", "store", "keep_baseline", "budget", "pairs", "usd_per_hour"])]
    records: Vec<String>,
    /// Check limits instead, of a run or of what is measured now: `p99 <= 50 ms`, `accuracy >= 0.90`; without any, the
    /// workload's `[gate] limits`
    #[arg(long, value_name = "LIMIT", num_args = 0.., conflicts_with_all = ["baseline", "candidate", "aa", "store", "keep_baseline", "pairs", "accepted", "p50", "usd_per_hour"])]
    limits: Option<Vec<String>>,
    /// Count instructions by callgrind instead of measuring time: the same on a noisy machine
    #[arg(long, conflicts_with_all = ["limits", "budget", "p50", "usd_per_hour"])]
    instructions: bool,
    /// Folder of the baseline's artifact and of a history, to which every case is appended
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Keep the candidate as the workload's baseline in --store, unless it is a regression or undecided
    #[arg(long, requires = "store")]
    keep_baseline: bool,
    /// A file of slow-downs that are accepted; instead of the workload's `[gate] accepted`
    #[arg(long, value_name = "FILE")]
    accepted: Option<PathBuf>,
    /// Price of the machine, to say what a million inferences cost
    #[arg(long, value_name = "USD")]
    usd_per_hour: Option<f64>,
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
    /// Also write the JSON of `--format json` to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write Markdown for a pull request to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write the Bencher Metric Format to this file
    #[arg(long, value_name = "FILE")]
    bmf: Option<PathBuf>,
    /// Also write the two files of github-action-benchmark to this folder: `smaller.json` and `bigger.json`
    #[arg(long, value_name = "DIR")]
    action_benchmark: Option<PathBuf>,
    /// Also append every pair with its latencies to this file, a JSON line a case
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Also print annotations that GitHub's actions show
    #[arg(long)]
    annotate: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show where a series of gates changed its level
    History(history::Args),
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    if let Some(Command::History(args)) = &args.command {
        return history::execute(args);
    }
    // What is wrong with the command is said before anything is measured.
    tell::check(args)?;
    let (report, error) = if args.limits.is_some() {
        (limits::execute(args, settings)?, None)
    } else if !args.records.is_empty() {
        (records::execute(args, settings)?, None)
    } else {
        let Some(baseline) = &args.baseline else {
            return Err(Error::input("gate", "has nothing to compare with").remedy(
                "give --baseline REF and --candidate REF, --records A B, or --limits; `infermark gate --help` explains them",
            ));
        };
        let candidate = match &args.candidate {
            Some(candidate) => candidate,
            None if args.aa => baseline,
            None => {
                return Err(Error::input("gate", "has a baseline and no candidate").remedy(
                    "give --candidate REF, or --aa to measure the baseline against itself",
                ));
            }
        };
        compared::execute(args, baseline, candidate, settings)?
    };
    let ended = tell::tell(args, &report)?;
    match error {
        None => Ok(ended),
        // A regression that was found stays one.
        Some(error) if ended == Ended::Negative => {
            super::output::error(&error);
            Ok(ended)
        }
        Some(error) => Err(error),
    }
}
