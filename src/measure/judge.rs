//! The quality pass of a case: its outputs fetched from the worker, judged here.

use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::{Worker, WorkerCommand};
use super::limited::{Ended, run_limited};
use super::protocol::{Command, Event, PrepareSpec};
use crate::artifact::Library;
use crate::backend::{PrepareOptions, Tuning};
use crate::error::{Error, ErrorKind, Result};
use crate::quality::{self, Outputs, QualityFigure, TestSet};
use crate::units::Nanos;
use crate::workload::{Resolved, ScorerSpec};

/// Batches that a worker is asked to run at once.
const BATCHES_A_PIECE: u32 = 32;

/// The output of every sample, asked for in pieces: a pass takes as long as it takes, but a worker
/// that hangs in it is noticed.
pub(super) fn outputs(
    worker: &mut Worker,
    output: Option<&str>,
    samples: u32,
    batch: u32,
    patience: Nanos,
) -> Result<Outputs> {
    let piece = batch.saturating_mul(BATCHES_A_PIECE);
    let mut all = Outputs::default();
    for from in (0..samples).step_by(piece as usize) {
        let to = from.saturating_add(piece).min(samples);
        let command = Command::Outputs { output: output.map(ToOwned::to_owned), from, to };
        match worker.ask(&command, patience)?.0 {
            Event::Outputs { rows, width, integers } => {
                let floats = |row: Vec<u32>| row.into_iter().map(f32::from_bits).collect();
                all.rows.extend(rows.into_iter().map(floats));
                (all.width, all.integers) = (width, integers);
            }
            other => return Err(worker.unexpected(&other)),
        }
    }
    Ok(all)
}

/// The output of every sample from a worker that is prepared, in batches of one: nothing is timed.
pub fn outputs_of_variant(
    worker: &mut Worker,
    output: Option<&str>,
    samples: u32,
    patience: Nanos,
) -> Result<Outputs> {
    outputs(worker, output, samples, 1, patience)
}

/// The output of every sample of `resolved` from a worker of its own, in batches of one: nothing
/// is timed. For fitting a head.
pub fn outputs_of_model(
    resolved: &Resolved,
    library: Option<&Library>,
    threads: usize,
    program: &WorkerCommand,
    interrupted: &Arc<AtomicBool>,
) -> Result<Outputs> {
    let workload = &resolved.workload;
    let Some(backend) = workload.backends.ids.first() else {
        return Err(Error::internal("outputs", "the workload names no backend"));
    };
    let variant = &resolved.variants[0];
    let options = PrepareOptions {
        threads,
        optimization: workload.backends.optimization,
        spinning: workload.backends.spinning,
        library: library.map(|l| (l.path.clone(), l.sha256.clone())),
        weights: variant.weights,
        tuning: Tuning::default(),
    };
    let data = resolved.data.path.clone();
    let spec = PrepareSpec {
        seed: workload.load.seed,
        ..PrepareSpec::alone(variant.clone(), backend.clone(), options, data)
    };
    let patience = Nanos::from(std::time::Duration::from_secs_f64(workload.load.timeout_s));
    let interrupted = Arc::clone(interrupted);
    let mut worker = Worker::start(program, "outputs of the model", threads, interrupted)?;
    match worker.ask(&Command::Prepare(Box::new(spec)), patience)?.0 {
        Event::Prepared { .. } => {}
        other => return Err(worker.unexpected(&other)),
    }
    let output = workload.quality.as_ref().and_then(|q| q.output.as_deref());
    let all = outputs(&mut worker, output, resolved.data.samples, 1, patience)?;
    worker.quit()?;
    Ok(all)
}

/// Every figure that the workload's data and scorer give for these outputs.
pub(super) fn figures(
    resolved: &Resolved,
    outputs: &Outputs,
    parents: Option<&Outputs>,
    interrupted: &AtomicBool,
) -> Result<Vec<QualityFigure>> {
    let about = &resolved.data.about;
    let segments = about.segments.as_deref();
    let set = TestSet { truth: &about.truth, segments, head: resolved.head.as_ref() };
    let spec = resolved.workload.quality.as_ref();
    let mut figures = quality::evaluate(set, outputs, parents, spec.map(|q| &q.metric))?;
    if let Some(scorer) = spec.and_then(|q| q.scorer.as_ref()) {
        // The scorer sees what the head made of the outputs: scores, where there is a head.
        let scores = resolved.head.as_ref().map(|head| outputs.through(head));
        let input =
            quality::scorer_input(scores.as_ref().unwrap_or(outputs), &about.truth, segments);
        let own = score(resolved, scorer, input, outputs.rows.len(), interrupted)?;
        figures.extend(own);
        if let Some(spec) = spec {
            figures.sort_by_key(|f| f.metric != spec.metric || f.segment != quality::ALL);
        }
    }
    // The model itself has no figure against itself; everything else must have one to be judged by.
    if let Some(spec) = spec.filter(|q| !q.metric.is_against_parent() || parents.is_some())
        && !figures.iter().any(|f| f.metric == spec.metric && f.segment == quality::ALL)
    {
        let subject = match (&spec.metric, &spec.scorer) {
            (quality::Metric::Own(_), Some(scorer)) => {
                format!("scorer `{}`", scorer.command.join(" "))
            }
            _ => "quality".to_owned(),
        };
        let message = format!("gave no `{}`, by which the variant is judged", spec.metric);
        return Err(Error::input(subject, message).remedy(
            "a scorer must print it; a correlation needs outputs that are numbers and differ",
        ));
    }
    Ok(figures)
}

fn score(
    resolved: &Resolved,
    scorer: &ScorerSpec,
    input: Vec<u8>,
    samples: usize,
    interrupted: &AtomicBool,
) -> Result<Vec<QualityFigure>> {
    let name = scorer.command.join(" ");
    let subject = format!("scorer `{name}`");
    let (program, args) = scorer
        .command
        .split_first()
        .ok_or_else(|| Error::internal(&subject, "names no program"))?;
    let mut command = Process::new(program);
    command.args(args);
    if resolved.base.is_dir() {
        command.current_dir(&resolved.base);
    }
    let limit = Nanos::from(std::time::Duration::from_secs_f64(scorer.timeout_s));
    match run_limited(command, input, limit, Some(interrupted)) {
        Ended::Fine(text) => quality::read_scores(&name, &text, samples),
        Ended::NotStarted(why) => Err(Error::input(subject, format!("cannot be started: {why}"))
            .remedy("check the program's name and that it may be executed; it runs in the workload's folder")),
        Ended::Failed { how, said } => {
            let said = if said.is_empty() { String::new() } else { format!(":\n    {said}") };
            Err(Error::input(subject, format!("ended with {how}{said}"))
                .remedy("run it by itself on a few lines; docs/workloads.md says what it is given"))
        }
        Ended::TookTooLong => {
            Err(Error::input(subject, format!("did not end within {} s", scorer.timeout_s))
                .remedy("make it faster, or set quality.scorer.timeout_s higher"))
        }
        Ended::Interrupted => Err(Error::new(ErrorKind::Interrupted, subject, "was interrupted")),
    }
}
