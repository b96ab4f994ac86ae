//! `infermark gate`: baseline and candidate measured in turns, until it is decided or the time is up.

mod compared;
mod measure;
mod reference;
mod tell;

use std::path::PathBuf;

use super::Ended;
use super::output::Format;
use super::runtime::Runtime;
use crate::error::Result;
use crate::settings::Settings;
use crate::workload::Threads;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A model, a workload or a built-in one, as for `run`: its data, engines and batches
    target: PathBuf,
    /// What was there: a variant's name, a model (`.onnx` or folder), `program:PATH` of an infermark, or `command:WORDS…`
    /// of a program that speaks the worker protocol
    #[arg(long, value_name = "REF")]
    baseline: String,
    /// What is to come, in the same forms
    #[arg(long, value_name = "REF", required_unless_present = "aa")]
    candidate: Option<String>,
    /// Measure the baseline against itself: what this machine's noise lets a gate find
    #[arg(long, conflicts_with = "candidate")]
    aa: bool,
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

impl Args {
    fn candidate(&self) -> &str {
        self.candidate.as_deref().unwrap_or(&self.baseline)
    }
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    let report = compared::execute(args, settings)?;
    tell::tell(args, &report)
}
