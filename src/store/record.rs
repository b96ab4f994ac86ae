//! The record of one case; `docs/records.md` documents every key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::observations::ObservationsFile;
use super::serving::{SloRecord, Span};
use super::summary::Throughput;
use super::versus::Versus;
use crate::error::Error;
use crate::load::{Batching, Scenario};
use crate::quality::{ALL, Metric, QualityFigure};
use crate::stats::Interval;
use crate::units::Bytes;

/// Version of the record's schema. Keys are added freely and never renamed within one version.
pub const SCHEMA_VERSION: u32 = 1;

/// What one case produced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The run it belongs to.
    pub run_id: String,
    /// When the case started, RFC 3339 UTC.
    pub started_at: String,
    /// Version of infermark.
    pub tool_version: String,
    /// What was measured, as requested.
    pub case: CaseRecord,
    /// Hashes of everything that went in.
    pub sha256: Hashes,
    /// Version of the engine's library.
    pub runtime_version: Option<String>,
    /// Name of the variant that others are compared with.
    #[serde(default)]
    pub baseline: Option<String>,
    /// Where the variant comes from.
    #[serde(default)]
    pub lineage: LineageRecord,
    /// What the machine is, as far as prices need it.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Tells machines apart without naming them.
    pub host_id: String,
    /// Machines of one class are expected to measure alike.
    pub hardware_class: String,
    /// Instruction sets that CPU and operating system allow.
    pub isa: Vec<String>,
    /// CPUs that a process may use, and why not more.
    pub effective_cpus: CpuLimit,
    /// Threads each session really had.
    pub threads_used: usize,
    /// Which fresh process of the case this was, from 0.
    pub process: u32,
    /// Which round of interleaved bursts, from 0.
    pub round: u32,
    /// Whether the figures can be believed, and whether the variant is any good.
    pub verdict: Verdict,
    /// Latency by percentile (`p50`, `p90`, `p95`, `p99`, `p99.9`, `max`) in ms; `null` where the
    /// sample is too small to tell.
    pub latency_ms: BTreeMap<String, Option<Interval>>,
    /// Samples a second; `null` for a case that failed.
    pub throughput_per_s: Option<Throughput>,
    /// Quality on the test set, in this case's batch composition.
    pub quality: Vec<QualityFigure>,
    /// Comparison with the baseline in the same case; `null` for the baseline itself, and where it
    /// was not measured.
    pub versus_baseline: Option<Versus>,
    /// Load, compile and first inference, each its own figure.
    pub timing_ms: Option<TimingMs>,
    /// Memory.
    pub memory_bytes: MemoryBytes,
    /// Size of the variant's file.
    pub size_bytes: Bytes,
    /// Energy of a sample in joules, measured or estimated as `energy` says; `null` where neither can be
    /// had.
    pub energy_j_per_inference: Option<f64>,
    /// Where that comes from.
    #[serde(default)]
    pub energy: Option<EnergyRecord>,
    /// Operators that ran, most time first; empty where the engine cannot tell.
    pub ops: Vec<OpRow>,
    /// What the device does at most; `null` without `--profile`, or where it cannot be measured.
    #[serde(default)]
    pub ceilings: Option<Ceilings>,
    /// What products are really computed with; empty where the engine does not say.
    #[serde(default)]
    pub numerics: Vec<Numeric>,
    /// What an inference has to do, counted from the model's graph; `null` where it was not asked.
    #[serde(default)]
    pub work: Option<WorkRecord>,
    /// The share of nodes that each execution provider took; empty where the engine cannot tell.
    pub node_share: Vec<ProviderShare>,
    /// Why it is as it is.
    pub diagnoses: Vec<serde_json::Value>,
    /// How it was loaded; `null` for a case that failed before.
    pub load: Option<LoadRecord>,
    /// What else happened on the machine meanwhile.
    pub telemetry: Option<Telemetry>,
    /// The raw observations.
    pub observations: Option<ObservationsFile>,
    /// Why there are no figures, for a case that failed.
    pub failure: Option<Error>,
    /// `measured`, or `mock` for the scripted engine; predictions live elsewhere.
    pub provenance: String,
}

/// What was measured, as requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseRecord {
    /// Hash of the case as requested, the variant and the data.
    pub id: String,
    /// Name of the workload's model.
    pub model: String,
    /// Name of the variant.
    pub variant: String,
    /// How the variant was derived.
    pub recipe: String,
    /// Engine and device.
    pub backend: String,
    /// The device as the engine calls it; `null` for a case that failed before that was known.
    pub device: Option<String>,
    /// How requests became batches.
    pub batching: Batching,
    /// Sessions that served at once.
    pub sessions: u16,
    /// Threads a session, as requested: a number or `auto`.
    pub threads: String,
    /// How requests came.
    pub scenario: Scenario,
}

/// Where a variant comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LineageRecord {
    /// The variant it was derived from; `null` for the model itself.
    pub parent: Option<String>,
    /// The tool or person that made it, where it was not this program.
    pub made_by: Option<String>,
    /// What making it cost, once.
    pub upfront_cost_usd: Option<f64>,
    /// `approved`, `rejected` or `pending`; `null` for what has no card.
    #[serde(default)]
    pub approval: Option<String>,
}

/// What the machine is, as far as prices need it; unknown texts are `unknown`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu_model: String,
    /// e.g. `Sapphire Rapids`.
    pub microarchitecture: String,
    /// CPUs of the whole machine.
    pub logical_cpus: usize,
    /// Hardware threads a core, as the machine shows itself; `null` where nothing says so.
    #[serde(default)]
    pub threads_per_core: Option<usize>,
    /// `aws`, `gcp`, `azure`; `null` where nothing says so.
    pub provider: Option<String>,
    /// e.g. `c7i.xlarge`; `null` where nothing says so.
    pub instance_type: Option<String>,
    /// e.g. `us-east-1`; `null` where nothing says so.
    #[serde(default)]
    pub region: Option<String>,
}

impl Record {
    /// The figure that decides about the whole test set; of records that do not say which, the
    /// first one.
    pub fn deciding(&self) -> Option<&QualityFigure> {
        match &self.verdict.judged_by {
            Some(metric) => self.figure(metric),
            None => self.quality.first().filter(|q| !q.metric.is_against_parent()),
        }
    }

    /// Engine and device, with a mark where a GPU's interface computes on the CPU: it says nothing of a GPU.
    pub fn engine(&self) -> String {
        let is_software = self.case.device.as_ref().is_some_and(|d| d.contains("SOFTWARE"));
        let mark = if is_software { " SOFTWARE" } else { "" };
        format!("{}{mark}", self.case.backend)
    }

    /// A figure over the whole test set.
    pub fn figure(&self, metric: &Metric) -> Option<&QualityFigure> {
        self.quality.iter().find(|q| q.metric == *metric && q.segment == ALL)
    }

    /// Whether another record differs in nothing but the variant.
    pub fn is_beside(&self, other: &Self) -> bool {
        let key = |r: &Self| {
            let c = &r.case;
            (c.model.clone(), c.backend.clone(), c.threads.clone(), c.sessions, r.host_id.clone())
        };
        key(self) == key(other)
            && self.case.batching == other.case.batching
            && self.case.scenario == other.case.scenario
            && self.sha256.data == other.sha256.data
    }
}

/// Hashes of everything that went in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub struct Hashes {
    pub variant: String,
    pub data: String,
    pub workload: String,
    pub runtime: Option<String>,
}

/// CPUs that a process may use, and why not more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub struct CpuLimit {
    pub count: usize,
    pub reason: String,
    /// CPUs' worth of time, where a quota is what limits it.
    #[serde(default)]
    pub quota: Option<f64>,
}

impl CpuLimit {
    /// CPUs' worth of time that a process may use.
    pub fn time(&self) -> f64 {
        self.quota.unwrap_or(self.count as f64)
    }
}

/// Two different questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Can the figures be believed?
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// Is the variant good enough? `null` when no bar was set or nothing was measured.
    pub meets_quality: Option<bool>,
    /// The figure that decides; `null` where quality is not judged.
    #[serde(default)]
    pub judged_by: Option<Metric>,
    /// Whether less of that figure is better.
    #[serde(default)]
    pub fewer_is_better: bool,
}

/// Load, compile and first inference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimingMs {
    /// Reading the model's bytes.
    pub load: f64,
    /// Parsing, optimising and allocating, until a session existed.
    pub compile: f64,
    /// The very first batch.
    pub first: f64,
    /// Choosing kernels by measuring them, over all shapes; no part of `first`.
    #[serde(default)]
    pub tuning: f64,
}

/// Memory of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBytes {
    /// Weights in their stored types.
    pub weights: Bytes,
    /// Largest resident set of the worker until the end of the warm-up, data set included.
    pub peak_rss: Option<Bytes>,
}

/// One row of the op table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    /// The operator as the engine names it, after fusion.
    pub kind: String,
    /// What ran it.
    pub provider: String,
    /// Nodes.
    pub count: usize,
    /// Share of the time in an untimed profiled run, 0 to 1.
    pub time_share: f64,
    /// Their time in that run, in nanoseconds; `null` where the engine does not say.
    #[serde(default)]
    pub time_ns: Option<f64>,
    /// Additions and multiplications of products among them, counted from their sizes.
    #[serde(default)]
    pub flops: Option<f64>,
    /// Bytes that they read and write, counted from sizes.
    #[serde(default)]
    pub bytes: Option<f64>,
    /// The least time that `ceilings` allow for these, over the time taken; `null` without `--profile`.
    #[serde(default)]
    pub ceiling_share: Option<f64>,
}

/// What a device does at most, measured on it by kernels that do nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Additions and multiplications of f32 numbers a second.
    pub f32_flops_per_s: f64,
    /// The same of f16 numbers; `null` where it has none.
    pub f16_flops_per_s: Option<f64>,
    /// The same of bytes in dot products of four.
    pub int8_ops_per_s: Option<f64>,
    /// Bytes read and written a second by a copy.
    pub bytes_per_s: f64,
}

/// What an engine of ours computes some of the model's products with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numeric {
    /// The kernel, e.g. `gemm f32`.
    pub kernel: String,
    /// Products.
    pub products: usize,
    /// How their other factor is quantised, where the weights are whole numbers; `null` where it is not.
    pub activation_quant: Option<String>,
    /// Whether quantised weights are multiplied as plain numbers.
    pub emulated: bool,
    /// Why that is so.
    pub reason: Option<String>,
}

/// What an inference has to do, counted from the model's graph and not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// Shapes of the inputs that it is counted for: those of the profiled run.
    pub input_shapes: BTreeMap<String, Vec<usize>>,
    /// Operations on numbers; a multiplication and an addition are two.
    pub flops: Option<u64>,
    /// Bytes of inputs and weights, each once for every node that reads them.
    pub bytes_read: Option<u64>,
    /// Bytes of outputs.
    pub bytes_written: Option<u64>,
    /// Elements of weights.
    pub params: Option<u64>,
    /// By operator of the model, before any engine fuses them; most arithmetic first.
    pub ops: Vec<WorkRow>,
    /// Why it cannot be counted, where the figures are `null`.
    pub unknown: Option<String>,
    /// Places that each pass changed before it was counted.
    #[serde(default)]
    pub passes: BTreeMap<String, usize>,
}

/// One row of the table of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `WorkRecord`, for the nodes of one operator and type")]
pub struct WorkRow {
    pub op: String,
    pub kind: String,
    pub dtype: Option<String>,
    pub count: usize,
    pub flops: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub params: u64,
}

/// The share of nodes that one execution provider took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub struct ProviderShare {
    pub provider: String,
    pub nodes: usize,
    pub share: f64,
}

/// How a case was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Length of the window in which requests were issued, in seconds.
    pub window_s: f64,
    /// Requests that were due in the window, answered or not.
    pub requests: usize,
    /// Batches run.
    pub batches: usize,
    /// Batches the percentiles are worth, after autocorrelation, at p50.
    pub effective_batches: f64,
    /// Batches run before the window, to warm up.
    pub warmup_batches: u32,
    /// Batches for whose shape a plan had to be made; `null` where the engine does not say.
    pub shape_misses: Option<u32>,
    /// Timed outputs that were compared with an untimed run of the same batch.
    pub outputs_checked: u32,
    /// How many of those differed.
    pub outputs_differing: u32,
    /// Share of the batches' input values that was padding; `null` where samples are of one
    /// length.
    #[serde(default)]
    pub padding_share: Option<f64>,
    /// Batches by the share of their values that was padding, in tenths; `null` as above.
    #[serde(default)]
    pub padding_tenths: Option<[u32; 10]>,
    /// Batches by the number of their samples.
    #[serde(default)]
    pub batch_sizes: BTreeMap<usize, usize>,
    /// Requests due in the window a second; `null` where they wait for answers.
    #[serde(default)]
    pub offered_per_s: Option<f64>,
    /// Requests that found the queue full: never run, and over any bound.
    #[serde(default)]
    pub rejected: usize,
    /// Requests that still waited when the load's time was over: the same.
    #[serde(default)]
    pub unfinished: usize,
    /// From a request's scheduled time until the client handed it over; `null`, as the next two, where none
    /// was answered.
    #[serde(default)]
    pub lag_ms: Option<Span>,
    /// From then until its batch began to run: waiting for a batch and for a session.
    #[serde(default)]
    pub waiting_ms: Option<Span>,
    /// From then until its outputs were there.
    #[serde(default)]
    pub service_ms: Option<Span>,
    /// Whether latency kept to the workload's bound; `null` where it has none.
    #[serde(default)]
    pub slo: Option<SloRecord>,
    /// Seed of the order of samples, and of arrivals.
    pub seed: u64,
    /// Graph optimisation of the engine.
    pub optimization: String,
    /// Whether idle threads spun.
    pub spinning: bool,
    /// Whether the engine might choose kernels by measuring them; `null` in records from before it could.
    #[serde(default)]
    pub autotune: Option<bool>,
}

impl LoadRecord {
    /// Mean number of samples a batch; `None` where no batch was run.
    pub fn mean_batch(&self) -> Option<f64> {
        let batches: usize = self.batch_sizes.values().sum();
        let samples: usize = self.batch_sizes.iter().map(|(size, count)| size * count).sum();
        (batches > 0).then(|| samples as f64 / batches as f64)
    }
}

/// What else happened on the machine during the window; `null` where the system does not say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// CPU time of the worker (engine and load generator) in CPU-seconds a second.
    pub worker_cpus: Option<f64>,
    /// CPU time of the process that steers, in CPU-seconds a second.
    pub parent_cpus: Option<f64>,
    /// Share of the machine's CPU time that other processes used.
    pub foreign_share: Option<f64>,
    /// Share of the machine's CPU time that the hypervisor gave to others.
    pub steal_share: Option<f64>,
    /// CPU-seconds a second that a quota held back, over all CPUs: two threads that are held back half of
    /// the time are 1.
    pub throttled_share: Option<f64>,
    /// How often the following were looked at.
    #[serde(default)]
    pub sample_rate_hz: Option<f64>,
    /// Looks.
    #[serde(default)]
    pub samples: Option<usize>,
    /// Largest resident set of the worker seen.
    #[serde(default)]
    pub rss_bytes: Option<Bytes>,
    /// By how much the resident set changed over the window, relative to its median.
    #[serde(default)]
    pub rss_change: Option<f64>,
    /// Mean clock of all CPUs in MHz.
    #[serde(default)]
    pub mhz: Option<f64>,
    /// Lowest mean clock seen.
    #[serde(default)]
    pub mhz_low: Option<f64>,
    /// Share of the time in which some process of the machine waited for a CPU.
    #[serde(default)]
    pub waiting_share: Option<f64>,
}

/// What an inference draws, with where that comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnergyRecord {
    /// Joules a sample, those of an idle machine in them.
    pub joules_per_inference: f64,
    /// Mean watts over ramp, window and drain.
    pub watts: f64,
    /// `measured: …` names the counters, `estimate: …` the coefficients.
    pub source: String,
}
