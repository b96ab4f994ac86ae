//! What an engine is to the rest of Infermark.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::{Bytes, Nanos};
use crate::variant::{BackendId, Optimization, ShapePolicy, Tensors, Variant};

/// An engine on a device.
pub trait Backend {
    /// Its name, e.g. `ort:cpu`.
    fn id(&self) -> &BackendId;
    /// Whether it can be used on this machine, and what to do if not.
    fn availability(&self, options: &PrepareOptions) -> Availability;
    /// Which operators of a model it cannot run, all of them at once, before anything is timed.
    fn coverage(&self, model: &std::path::Path, options: &PrepareOptions) -> Result<Coverage>;
    /// Loads and compiles a variant.
    ///
    /// Errors name the file or the device, and never stand for a silent fallback.
    fn prepare(&self, variant: &Variant, options: &PrepareOptions) -> Result<Box<dyn Prepared>>;
}

/// A variant loaded on a backend, from which sessions are made.
pub trait Prepared {
    /// A further session. The first one costs nothing more than preparing did.
    fn spawn(&self) -> Result<Box<dyn Session>>;
    /// What is known about it before it runs.
    fn facts(&self) -> &PreparedFacts;
    /// What ran where, from one untimed run of `sample` in a session of its own; `None` where the
    /// engine cannot tell. With `profile`, beside what the device can do.
    fn inspect(&self, sample: &Tensors, profile: bool) -> Result<Option<Inspection>>;
    /// Time that choosing kernels by measuring them has taken so far, all sessions together.
    fn tuning(&self) -> Nanos {
        Nanos(0)
    }
}

/// A batch handed to a session and not yet waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// What a session has to say about one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// Whether a plan for the batch's shape had to be made first; `None` where the engine does
    /// not say.
    pub shape_miss: Option<bool>,
}

/// One loaded instance of a variant, able to run a batch.
pub trait Session: Send {
    /// Hands over a batch; it may run from now on. A GPU can have several in flight.
    fn submit(&mut self, inputs: &Tensors) -> Result<Ticket>;
    /// Waits until the outputs of `ticket` are on the host. A ticket can be waited for once.
    fn wait(&mut self, ticket: Ticket, trace: &mut Trace) -> Result<Tensors>;
    /// Runs one batch: inputs with the batch on axis 0, outputs on the host.
    fn run(&mut self, inputs: &Tensors, trace: &mut Trace) -> Result<Tensors> {
        let ticket = self.submit(inputs)?;
        self.wait(ticket, trace)
    }
}

/// Whether a backend can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It can.
    Ready(DeviceInfo),
    /// It can't, and this would change that.
    Missing(Error),
}

/// How much of a model a backend can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Nodes of the model.
    pub nodes: usize,
    /// Nodes that it can run.
    pub supported_nodes: usize,
    /// What it cannot run, by operator.
    pub missing: Vec<MissingOp>,
}

/// An operator that a backend cannot run as the model has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingOp {
    /// Its domain; empty for ONNX's own.
    pub domain: String,
    /// Its name.
    pub op: String,
    /// How many nodes of it.
    pub count: usize,
    /// Why not, of the first of them.
    pub reason: String,
}

impl Coverage {
    /// Of `nodes` nodes, those that `missing` names, node by node: domain, operator, reason.
    pub fn of(nodes: usize, missing: Vec<(String, String, String)>) -> Self {
        let mut rows: Vec<MissingOp> = Vec::new();
        let supported_nodes = nodes.saturating_sub(missing.len());
        for (domain, op, reason) in missing {
            match rows.iter_mut().find(|row| row.domain == domain && row.op == op) {
                Some(row) => row.count += 1,
                None => rows.push(MissingOp { domain, op, count: 1, reason }),
            }
        }
        rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.op.cmp(&b.op)));
        Self { nodes, supported_nodes, missing: rows }
    }
}

/// The device behind a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
    /// The runtime that drives it.
    pub runtime: RuntimeInfo,
}

/// The library that executes the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its file, where it is loaded at run time.
    pub path: Option<PathBuf>,
    /// SHA-256 of that file.
    pub sha256: Option<String>,
}

/// How a variant is prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareOptions {
    /// Threads that share one operator's work.
    pub threads: usize,
    /// How hard the engine works on the graph.
    pub optimization: Optimization,
    /// Whether idle threads spin for a while before they sleep.
    pub spinning: bool,
    /// The runtime's shared library and its SHA-256, where there is one.
    pub library: Option<(PathBuf, String)>,
    /// Bytes of the weights in their stored types, as the model file states them.
    pub weights: Bytes,
    /// How kernels are chosen.
    #[serde(default)]
    pub tuning: Tuning,
}

/// How an engine that has several kernels for one thing chooses among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// Whether it measures them; if not, it takes the likeliest for the device.
    pub autotune: bool,
    /// Folder where what was measured and compiled is kept; `None` keeps nothing.
    pub folder: Option<PathBuf>,
}

/// What ran where in an untimed run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The op table, what takes longest first.
    pub ops: Vec<OpRow>,
    /// What the device can do, where that was asked for and can be measured.
    pub ceilings: Option<Ceilings>,
}

/// What a device does at most, measured on it by kernels that do nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Additions and multiplications of f32 numbers a second.
    pub f32_flops_per_s: f64,
    /// The same of f16 numbers; `None` where it has none.
    pub f16_flops_per_s: Option<f64>,
    /// The same of bytes in dot products of four.
    pub int8_ops_per_s: Option<f64>,
    /// Bytes read and written a second by a copy.
    pub bytes_per_s: f64,
}

/// One row of the op table: an operator kind on a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    /// The operator as the engine names it, after fusion.
    pub kind: String,
    /// The execution provider or device that ran it.
    pub provider: String,
    /// How many nodes of it ran.
    pub count: usize,
    /// Their share of the time in the profiled run, 0 to 1.
    pub time_share: f64,
    /// Their time in that run, in nanoseconds.
    #[serde(default)]
    pub time_ns: Option<f64>,
    /// Additions and multiplications of products among them, counted from their sizes.
    #[serde(default)]
    pub flops: Option<f64>,
    /// Bytes that they read and write, counted from sizes.
    #[serde(default)]
    pub bytes: Option<f64>,
    /// The least time that the device's ceilings allow for these, over the time taken: 0 to 1.
    #[serde(default)]
    pub ceiling_share: Option<f64>,
}

/// What an engine of ours really computes products with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumericFact {
    /// The kernel, e.g. `gemm f32`.
    pub kernel: String,
    /// How many products it computes.
    pub products: usize,
    /// How the other factor is quantised, where the weights are whole numbers; `None` where it is not.
    pub activation_quant: Option<String>,
    /// Whether quantised weights are multiplied as plain numbers.
    pub emulated: bool,
    /// Why that is so.
    pub reason: Option<String>,
}

/// What is known about a prepared variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedFacts {
    /// The device, e.g. `CPUExecutionProvider`.
    pub device: String,
    /// The runtime that executes it.
    pub runtime: RuntimeInfo,
    /// Threads per session that were set.
    pub threads: usize,
    /// Which input shapes it takes.
    #[serde(default)]
    pub shapes: ShapePolicy,
    /// Reading the model's bytes from disk.
    pub load: Nanos,
    /// Parsing, optimising and allocating, until a session exists.
    pub compile: Nanos,
    /// Bytes of the weights in their stored types, as the model file states them.
    pub weights: Bytes,
    /// What products are really computed with; empty where the engine does not say.
    #[serde(default)]
    pub numerics: Vec<NumericFact>,
}
