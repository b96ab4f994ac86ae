//! What this machine can do, measured: memory, arithmetic through the engines, and the harness's own cost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value, json};

use super::host::WorkerCommand;
use super::pairs::{PairPlan, Side, alone};
use super::protocol::PrepareSpec;
use super::target::{NullSession, SessionTarget};
use crate::artifact::Library;
use crate::backend::{PrepareOptions, Tuning};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Dim, Graph, Op, Weight, infer};
use crate::hardware::{Kernel, array_bytes, bandwidth, noise, sleep_lateness, timer};
use crate::load::{self, Batching, Engine, Observation, SampleOrder, Setup, Source, Stop, Target};
use crate::stats;
use crate::units::{Bytes, Nanos, RealClock};
use crate::variant::{
    BackendId, DType, Engine as Program, Lineage, Optimization, Recipe, Tensor, TensorData,
    Tensors, Variant,
};
use crate::workload::{About, Dataset};

/// Rows, and inner and outer size, of the product that peaks are measured with: some 5 ms on a core.
const ROWS: usize = 256;
const SIZE: usize = 1024;

/// A measured fact of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// Dotted, its unit at its end, e.g. `probe.triad_gb_s`.
    pub key: &'static str,
    /// A number, or numbers by threads; `None` where it cannot be measured here.
    pub value: Option<Value>,
    /// How it was measured, or why it was not.
    pub source: String,
}

/// What probing needs.
pub struct Probe<'a> {
    /// The program that workers run.
    pub program: WorkerCommand,
    /// ONNX Runtime's library.
    pub library: &'a Library,
    /// Effective CPUs.
    pub cpus: usize,
    /// Bytes of the last-level cache.
    pub cache: Option<u64>,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
}

impl Probe<'_> {
    /// Measures everything, telling `told` what it is at; about half a minute on two CPUs.
    pub fn run(&self, told: &mut dyn FnMut(&str)) -> Result<Vec<Probed>> {
        let mut found = Vec::new();
        let mut add = |key, value: Option<Value>, source: &str| {
            found.push(Probed { key, value, source: source.to_owned() });
        };
        told("clock, sleeps, quiet");
        let (read, step) = timer();
        add("probe.timer_ns", Some(json!(rounded(read))), "mean of reading the monotonic clock");
        add("probe.timer_step_ns", Some(json!(step)), "smallest step seen between reads");
        let late = sorted(sleep_lateness());
        let late = json!({ "p50": rounded(at(&late, 0.5)), "p99": rounded(at(&late, 0.99)) });
        add("probe.sleep_late_us", Some(late), "how late a sleep of 1 ms ends");
        let times = sorted(noise());
        let share = at(&times, 0.99) / at(&times, 0.5).max(1.0) - 1.0;
        let how = "p99 by p50 of the same 0.5 ms of arithmetic, less 1; 0 is a quiet machine";
        add("probe.noise", Some(json!(rounded(share))), how);
        let bytes = array_bytes(self.cache);
        for (key, kernel, how) in [
            ("probe.copy_gb_s", Kernel::Copy, "a = b"),
            ("probe.triad_gb_s", Kernel::Triad, "a = b + 3 c"),
        ] {
            told(&format!("memory, {how}"));
            let source =
                format!("{how} on f64 arrays of {} each, best of five, by threads", Bytes(bytes));
            let value = self.by_threads(|threads| Ok(bandwidth(kernel, threads, bytes)))?;
            add(key, Some(value), &source);
        }
        let folder = tempfile::tempdir().map_err(|e| {
            Error::environment("temporary folder", format!("cannot be made: {e}"))
                .remedy("set TMPDIR to a folder that can be written")
        })?;
        let operations = 2.0 * (ROWS * SIZE * SIZE) as f64;
        for (key, dtype) in [
            ("probe.gemm_fp32_gflop_s", DType::F32),
            ("probe.gemm_bf16_gflop_s", DType::BF16),
            ("probe.gemm_int8_gop_s", DType::I8),
        ] {
            told(&format!("product of matrices, {dtype}"));
            let model = folder.path().join(format!("{dtype}.onnx"));
            product(dtype)?.write(&model)?;
            let data = folder.path().join(format!("{dtype}.npz"));
            write(&data, ROWS, SIZE, dtype == DType::I8)?;
            let value = self.by_threads(|threads| {
                let side = self.side(&model, &data, threads, ROWS)?;
                // Milliseconds into operations a nanosecond.
                Ok(operations / (self.alone(&side)? * 1e6))
            });
            let size = format!("[{ROWS}, {SIZE}] by [{SIZE}, {SIZE}] in ONNX Runtime, by threads");
            match value {
                Ok(value) => add(key, Some(value), &size),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                Err(error) => add(key, None, &format!("ort:cpu cannot: {}", error.message())),
            }
        }
        told("launch and hand-over");
        let (model, data) = (folder.path().join("least.onnx"), folder.path().join("least.npz"));
        least()?.write(&model)?;
        write(&data, 1, 4, false)?;
        let launch = self.alone(&self.side(&model, &data, 1, 1)?)? * 1e3;
        add(
            "probe.launch_us",
            Some(json!(rounded(launch))),
            "one Relu of 4 numbers in ONNX Runtime",
        );
        add(
            "probe.request_us",
            Some(json!(rounded(request(1)?))),
            "the harness's own time a request",
        );
        let two = "the same with two clients of two sessions, a thread each";
        add("probe.request_2_sessions_us", Some(json!(rounded(request(2)?))), two);
        Ok(found)
    }

    /// A figure for one thread, then twice as many, up to all effective CPUs.
    fn by_threads(&self, mut of: impl FnMut(usize) -> Result<f64>) -> Result<Value> {
        let mut all = Map::new();
        let mut threads = 1;
        loop {
            all.insert(threads.to_string(), json!(rounded(of(threads)?)));
            if threads >= self.cpus {
                return Ok(Value::Object(all));
            }
            threads = (threads * 2).min(self.cpus);
        }
    }

    fn alone(&self, side: &Side) -> Result<f64> {
        let plan = PairPlan {
            first: 0,
            pairs: 1,
            rounds: 12,
            burst: Nanos::from_millis(10),
            warmup: Nanos::from_millis(100),
            samples: 1,
            seed: 1,
            patience: Nanos::from_secs(60),
        };
        alone(side, plan, &self.interrupted)
    }

    fn side(&self, model: &Path, data: &Path, threads: usize, batch: usize) -> Result<Side> {
        let variant = Variant {
            name: "probe".to_owned(),
            recipe: Recipe::AsGiven,
            path: model.to_owned(),
            sha256: String::new(),
            size: Bytes(0),
            weights: Bytes(0),
            lineage: Lineage::default(),
        };
        let options = PrepareOptions {
            threads,
            optimization: Optimization::All,
            spinning: true,
            library: Some((self.library.path.clone(), self.library.sha256.clone())),
            weights: Bytes(0),
            tuning: Tuning::default(),
        };
        let backend = BackendId { engine: Program::Ort, device: "cpu".to_owned() };
        let batch = u32::try_from(batch).map_err(|e| Error::internal("probe", e))?;
        let spec = PrepareSpec {
            batching: Batching::Fixed(batch),
            ..PrepareSpec::alone(variant, backend, options, data.to_owned())
        };
        Ok(Side { name: "probe".to_owned(), program: self.program.clone(), spec })
    }
}

/// A product of matrices whose weight and arithmetic are of `dtype`.
fn product(dtype: DType) -> Result<Graph> {
    let mut graph = Graph::new("probe");
    let dims = || vec![Dim::Named("batch".to_owned()), Dim::Fixed(SIZE)];
    let fail = || Error::internal("probe", "a weight does not fit its shape");
    let count = SIZE * SIZE;
    let output = if dtype == DType::I8 {
        let x = graph.add_input("x", DType::U8, dims());
        let bytes: Vec<u8> = (0..=250_u8).cycle().take(count).collect();
        let weight = Weight::new(DType::I8, vec![SIZE, SIZE], bytes.into()).ok_or_else(fail)?;
        let weight = graph.add_constant("w", weight);
        graph.push("y", Op::MatMulInteger, &[x, weight])
    } else {
        let x = graph.add_input("x", DType::F32, dims());
        let values: Vec<f64> = (0..count).map(|i| (i % 251) as f64 / 251.0 - 0.5).collect();
        let numbers = crate::graph::Numbers::Floats(values);
        let weight = Weight::from_numbers(dtype, vec![SIZE, SIZE], &numbers).ok_or_else(fail)?;
        let weight = graph.add_constant("w", weight);
        if dtype == DType::F32 {
            graph.push("y", Op::MatMul, &[x, weight])
        } else {
            let x = graph.push("half", Op::Cast { to: dtype }, &[x]);
            let y = graph.push("product", Op::MatMul, &[x, weight]);
            graph.push("y", Op::Cast { to: DType::F32 }, &[y])
        }
    };
    graph.outputs.push(output);
    infer(&mut graph)?;
    Ok(graph)
}

/// The least that an engine can be asked.
fn least() -> Result<Graph> {
    let mut graph = Graph::new("least");
    let dims = vec![Dim::Named("batch".to_owned()), Dim::Fixed(4)];
    let x = graph.add_input("x", DType::F32, dims);
    let y = graph.push("y", Op::Unary(crate::graph::op::Unary::Relu), &[x]);
    graph.outputs.push(y);
    infer(&mut graph)?;
    Ok(graph)
}

/// Stores a data set of `rows` samples of `width` numbers.
fn write(path: &Path, rows: usize, width: usize, whole: bool) -> Result<()> {
    let count = rows * width;
    let data = if whole {
        TensorData::U8((0..=252_u8).cycle().take(count).collect())
    } else {
        TensorData::F32((0..count).map(|i| (i % 253) as f32 / 253.0 - 0.5).collect())
    };
    let tensor = Tensor::new(vec![rows, width], data)
        .ok_or_else(|| Error::internal("probe", "data do not fit their shape"))?;
    let set = Dataset::new("probe", &Tensors(vec![("x".to_owned(), tensor)]), About::default())?;
    std::fs::write(path, set.to_npz()?).map_err(|e| Error::io(path, "write", &e))
}

/// The harness's own time a request, in µs: clients of sessions that do nothing.
fn request(sessions: u16) -> Result<f64> {
    let data = NullSession::data(16)?;
    let mut nulls: Vec<NullSession> = (0..sessions).map(|_| NullSession::default()).collect();
    let mut targets: Vec<Box<dyn Target + '_>> = nulls
        .iter_mut()
        .map(|null| Box::new(SessionTarget::new(null, &data)) as Box<dyn Target + '_>)
        .collect();
    let engine = Engine::new(Setup {
        source: Source::Clients(u32::from(sessions)),
        batching: Batching::Fixed(1),
        sessions,
        queue: None,
        samples: SampleOrder::shuffled(16, 1),
    });
    let served = load::drive(engine, &mut targets, &RealClock::start(), Stop::Batches(100_000));
    let times: Vec<f64> =
        served.observations.iter().map(|o: &Observation| o.latency().0 as f64 / 1e3).collect();
    stats::median(&times).ok_or_else(|| Error::internal("probe", "served nothing"))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn at(sorted: &[f64], p: f64) -> f64 {
    stats::order_statistic(sorted, p).unwrap_or(0.0)
}

/// Three significant digits: more would not come again.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}
