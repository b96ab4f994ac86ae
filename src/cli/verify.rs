//! `infermark verify`: the same inputs through two backends, and through our passes.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::model::Target;
use super::output::{self, Format};
use super::{Ended, interrupt};
use crate::artifact::find_library;
use crate::backend::{Tuning, check_name};
use crate::error::{Error, Result};
use crate::graph::passes::{self, Pass};
use crate::graph::{Graph, Outline, infer};
use crate::hardware;
use crate::measure::{Runner, WorkerCommand};
use crate::settings::Settings;
use crate::units::Nanos;
use crate::variant::{BackendId, Difference, Engine, Tensors};
use crate::workload::{one_batch, read_arrays};

/// Samples of a batch whose size the model leaves free.
const BATCH: usize = 2;
/// Size of other free dimensions.
const LENGTH: usize = 16;
/// How long one inference may take.
const PATIENCE: Nanos = Nanos::from_secs(600);

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Backends to be checked
    #[arg(long, value_delimiter = ',', default_value = "ort:cpu", value_name = "ID")]
    backends: Vec<String>,
    /// The backend that is right, given the file as it is
    #[arg(long, default_value = "ort:cpu", value_name = "ID")]
    against: String,
    /// Inputs by name, as numpy.savez writes them; generated from the seed when left out
    #[arg(long, value_name = "FILE.npz")]
    data: Option<PathBuf>,
    /// Seed of generated inputs
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Largest max|a−b| / max|b| that counts as equal
    #[arg(long, default_value_t = 1e-5, allow_hyphen_values = true)]
    tolerance: f64,
    /// Least cosine of an output that counts as equal, instead of the tolerance: for quantised models, which
    /// engines round differently; 0.99 suits them
    #[arg(long, value_name = "C")]
    cosine: Option<f64>,
    /// Take the likeliest kernel for the device instead of measuring which is fastest (wgpu)
    #[arg(long)]
    no_autotune: bool,
    /// Check these passes only, in this order
    #[arg(long, value_delimiter = ',', value_name = "PASS")]
    passes: Vec<Pass>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One output through one backend.
#[derive(Serialize)]
struct Row {
    backend: String,
    /// The graph that it was given: `saved` by us as it was read, after our `passes`, or after them
    /// with every size `bound`.
    graph: &'static str,
    output: String,
    max_abs_error: Option<f64>,
    max_rel_error: Option<f64>,
    cosine: Option<f64>,
    ok: bool,
    tolerance: f64,
    /// Why there are no figures.
    reason: Option<String>,
}

/// A runner for these backends, with the library that they need.
pub(super) fn runner(settings: &Settings, backends: &[BackendId]) -> Result<Runner> {
    let needs_ort = backends.iter().any(|id| id.engine == Engine::Ort);
    let library = if needs_ort {
        Some(find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?)
    } else {
        None
    };
    let threads = hardware::detect().effective_cpus.count;
    let flag = interrupt::flag()?;
    Runner::new(WorkerCommand::own()?, library.as_ref(), threads, PATIENCE, flag)
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    if !(args.tolerance >= 0.0 && args.tolerance.is_finite()) {
        return Err(Error::input("--tolerance", "must be 0 or above").remedy("1e-5 suits fp32"));
    }
    if args.cosine.is_some_and(|c| !(-1.0..=1.0).contains(&c)) {
        return Err(Error::input("--cosine", "must be from -1 to 1").remedy("0.99 suits int8"));
    }
    let against: BackendId = args.against.parse()?;
    let backends: Vec<BackendId> =
        args.backends.iter().map(|id| id.parse()).collect::<Result<_>>()?;
    backends.iter().chain([&against]).try_for_each(check_name)?;
    let path = args.target.file(settings)?;
    let graph = Graph::read(&path)?;
    let inputs = inputs(args, &path, &graph)?;
    let all: Vec<BackendId> = backends.iter().chain([&against]).cloned().collect();
    let tuning =
        Tuning { autotune: !args.no_autotune, folder: Some(settings.cache.root().join("wgpu")) };
    let mut runner = runner(settings, &all)?.tuned(tuning);
    let expected = runner.run(&path, &against, &inputs).map_err(|error| {
        let remedy = error.remedy_text().unwrap_or("look at the model").to_owned();
        error.remedy(format!("{remedy}; or hold it against another engine with --against"))
    })?;
    let folder = tempfile::tempdir().map_err(|e| {
        Error::environment("verify", format!("no temporary folder: {e}"))
            .remedy("set TMPDIR to a folder that can be written")
    })?;
    let file = folder.path().join("model.onnx");
    let mut rows = Vec::new();
    for (name, graph) in graphs(&graph, &inputs, &args.passes)? {
        graph.write(&file)?;
        for backend in &backends {
            match runner.run(&file, backend, &inputs) {
                Ok(outputs) => rows.extend(compared(args, backend, name, &outputs, &expected)),
                Err(error) if error.kind() == crate::error::ErrorKind::Interrupted => {
                    return Err(error);
                }
                Err(error) => rows.push(Row {
                    backend: backend.to_string(),
                    graph: name,
                    output: String::new(),
                    max_abs_error: None,
                    max_rel_error: None,
                    cosine: None,
                    ok: false,
                    tolerance: args.tolerance,
                    reason: Some(error.message().to_owned()),
                }),
            }
        }
    }
    print(args, &rows)?;
    Ok(if rows.iter().all(|row| row.ok) { Ended::Fine } else { Ended::Negative })
}

/// What is given to both sides.
fn inputs(args: &Args, path: &Path, graph: &Graph) -> Result<Tensors> {
    let sizes = args.target.sizes()?;
    let Some(data) = &args.data else {
        // A size that no input has is a mistake, whatever is generated.
        graph.clone().bind(&sizes)?;
        let outline = Outline::read(path)?;
        return one_batch(&outline, BATCH, LENGTH, &sizes, args.seed);
    };
    let arrays = read_arrays(data)?;
    let mut inputs = Tensors::default();
    for id in &graph.inputs {
        let name = &graph.value(*id).name;
        let found = arrays.get(name).ok_or_else(|| {
            let names: Vec<&str> = arrays.0.iter().map(|(name, _)| name.as_str()).collect();
            Error::input(data.display(), format!("holds no array `{name}`, which the model takes"))
                .remedy(format!("its arrays: {}", names.join(", ")))
        })?;
        inputs.0.push((name.clone(), found.clone()));
    }
    Ok(inputs)
}

/// The graphs that must answer alike.
fn graphs(graph: &Graph, inputs: &Tensors, passes: &[Pass]) -> Result<Vec<(&'static str, Graph)>> {
    let passes = if passes.is_empty() { Pass::ALL.to_vec() } else { passes.to_vec() };
    let mut free = graph.clone();
    passes::run(&mut free, &passes, usize::MAX)?;
    let mut bound = graph.clone();
    bound.bind_shapes(inputs.0.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())))?;
    infer(&mut bound)?;
    passes::run(&mut bound, &passes, usize::MAX)?;
    Ok(vec![("saved", graph.clone()), ("passes", free), ("bound", bound)])
}

fn compared(
    args: &Args,
    backend: &BackendId,
    graph: &'static str,
    outputs: &Tensors,
    expected: &Tensors,
) -> Vec<Row> {
    expected
        .0
        .iter()
        .map(|(name, right)| {
            let difference = outputs.get(name).and_then(|ours| Difference::between(ours, right));
            let reason = match (outputs.get(name), &difference) {
                (None, _) => Some("is not among its outputs".to_owned()),
                (Some(ours), None) => Some(format!(
                    "is {}{:?}, not {}{:?}",
                    ours.dtype(),
                    ours.shape(),
                    right.dtype(),
                    right.shape()
                )),
                (_, Some(d)) if is_near(args, *d) => Some(
                    "near: engines round a quantised model differently (--cosine 0.99)".to_owned(),
                ),
                _ => None,
            };
            Row {
                backend: backend.to_string(),
                graph,
                output: name.clone(),
                max_abs_error: difference.map(|d| d.max_abs_error),
                max_rel_error: difference.map(|d| d.max_rel_error),
                cosine: difference.map(|d| d.cosine),
                ok: difference.is_some_and(|d| match args.cosine {
                    Some(least) => d.cosine >= least,
                    None => d.max_rel_error <= args.tolerance,
                }),
                tolerance: args.tolerance,
                reason,
            }
        })
        .collect()
}

/// Whether an output differs as those of quantised models do.
fn is_near(args: &Args, found: Difference) -> bool {
    args.cosine.is_none() && found.max_rel_error > args.tolerance && found.cosine >= 0.99
}

fn print(args: &Args, rows: &[Row]) -> Result<()> {
    let header =
        ["backend", "graph", "output", "max_abs_error", "max_rel_error", "cosine", "ok", "reason"];
    let number = |n: Option<f64>| n.map(|n| format!("{n:.2e}")).unwrap_or_default();
    let cells = rows.iter().map(|row| {
        [
            row.backend.clone(),
            row.graph.to_owned(),
            row.output.clone(),
            number(row.max_abs_error),
            number(row.max_rel_error),
            row.cosine.map(|c| format!("{c:.7}")).unwrap_or_default(),
            if row.ok { "ok" } else { "DIFFERS" }.to_owned(),
            row.reason.clone().unwrap_or_default(),
        ]
    });
    let text = match args.format {
        Format::Json => output::json(&rows)?,
        Format::Csv => output::csv(&header, cells)?,
        Format::Md => output::markdown(&header, cells),
        Format::Table => {
            let cells: Vec<[String; 8]> = cells.collect();
            output::ruled(&header, &cells)
        }
    };
    output::figures(&text)
}
