//! `infermark fit-head`: a linear head on an encoder, fitted once on the rows set aside for it.

use std::io::Write;
use std::path::PathBuf;

use super::run::Args as RunArgs;
use super::{interrupt, output, target};
use crate::artifact::find_library;
use crate::error::{Error, Result};
use crate::hardware;
use crate::measure::{WorkerCommand, outputs_of_model};
use crate::quality::{Head, Truth};
use crate::settings::Settings;
use crate::variant::Engine;
use crate::workload::{self, Split};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A workload whose data.table sets a `train_share` aside
    workload: PathBuf,
    /// Where the head is written
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Weight of the penalty on large weights, in units of the outputs' mean square
    #[arg(long, default_value_t = 0.01)]
    ridge: f64,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<()> {
    if !(args.ridge > 0.0 && args.ridge.is_finite()) {
        return Err(Error::input("--ridge", "must be above 0").remedy("0.01 suits most encoders"));
    }
    let run = RunArgs { target: Some(args.workload.clone()), ..RunArgs::default() };
    let (workload, base) = target::workload(&run, &settings.cache)?;
    let resolved = workload::resolve(workload, Split::Train, &base, &settings.cache)?;
    for note in &resolved.notes {
        output::say(&format!("  training {note}"));
    }
    let Truth::Classes { labels, names } = &resolved.data.about.truth else {
        return Err(Error::input("data.table.label", "is not there: a head tells classes apart")
            .remedy("name the column of classes"));
    };
    let needs_ort = resolved.workload.backends.ids.iter().any(|id| id.engine == Engine::Ort);
    let library = if needs_ort {
        Some(find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?)
    } else {
        None
    };
    let threads = hardware::detect().effective_cpus.count;
    let program = WorkerCommand::own()?;
    let flag = interrupt::flag()?;
    let outputs = outputs_of_model(&resolved, library.as_ref(), threads, &program, &flag)?;
    let largest = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut head = Head::fit(&outputs.rows, labels, largest.max(names.len()), args.ridge)?;
    head.description = format!(
        "Ridge regression (ridge {}) on {} training rows of the workload {}, output {} of the \
         model with sha256 {}; infermark fit-head {}",
        args.ridge,
        labels.len(),
        resolved.workload.name,
        resolved.workload.quality.as_ref().and_then(|q| q.output.as_deref()).unwrap_or("0"),
        resolved.variants[0].sha256,
        env!("CARGO_PKG_VERSION"),
    );
    let scored = outputs.through(&head).classes();
    let right = scored.iter().zip(labels).filter(|(a, b)| a == b).count();
    let text = serde_json::to_string(&head).map_err(|e| Error::internal("head", e))? + "\n";
    let mut file =
        std::fs::File::create(&args.out).map_err(|e| Error::io(&args.out, "write", &e))?;
    file.write_all(text.as_bytes()).map_err(|e| Error::io(&args.out, "write", &e))?;
    output::say(&format!(
        "head written to {}; on the rows it was fitted on, {right} of {} are right",
        args.out.display(),
        labels.len()
    ));
    Ok(())
}
