//! candle: the graph lowered once to a list of steps over its tensors.

#![expect(
    clippy::many_single_char_names,
    reason = "m, n, k and b, h, s, t, d are what everyone calls the sizes of products and of attention"
)]
#![expect(
    clippy::unnecessary_wraps,
    reason = "whatever lowers an operator has one form, and may refuse"
)]

mod build;
mod cells;
mod gemm;
mod lower;
mod ops;
mod packed;
mod plan;
mod simd;
mod step;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use candle_core::Device;

use self::plan::Plan;
use super::finished::Finished;
use super::{
    Availability, Backend, Coverage, DeviceInfo, Inspection, OpRow, PrepareOptions, Prepared,
    PreparedFacts, RuntimeInfo, Session, Ticket, Trace,
};
use crate::error::{Error, Result};
use crate::graph::passes::{self, Pass};
use crate::graph::{Graph, Op};
use crate::units::{Clock, Nanos, RealClock};
use crate::variant::{BackendId, DType, Optimization, ShapePolicy, Tensors, Variant};

/// The version that Cargo.toml asks for.
const VERSION: &str = "0.11.1";

/// candle on one device.
pub(super) struct CandleBackend {
    id: BackendId,
    device: Device,
}

impl CandleBackend {
    pub(super) fn new(id: BackendId) -> Result<Self> {
        let device = device(&id)?;
        Ok(Self { id, device })
    }
}

/// The device that a backend names. GPUs are there in binaries built with their feature only.
fn device(id: &BackendId) -> Result<Device> {
    let (kind, index) = id.device.split_once(':').unwrap_or((&id.device, "0"));
    let unknown = || {
        Error::input(format!("backend `{id}`"), "candle has no such device")
            .remedy("use candle:cpu, candle:cuda, candle:cuda:N or candle:metal")
    };
    let index: usize = index.parse().map_err(|_| unknown())?;
    let opened = match kind {
        "cpu" if index == 0 => return Ok(Device::Cpu),
        "cuda" if cfg!(feature = "cuda") => Device::new_cuda(index),
        "metal" if cfg!(feature = "metal") => Device::new_metal(index),
        "cuda" | "metal" => {
            return Err(Error::input(format!("backend `{id}`"), "is not part of this binary")
                .remedy(format!("rebuild with `--features {kind}`")));
        }
        _ => return Err(unknown()),
    };
    opened.map_err(|e| {
        Error::environment(format!("backend `{id}`"), plan::one_line(&e))
            .remedy("check the driver (`infermark doctor`), or use candle:cpu")
    })
}

impl CandleBackend {
    /// The device with what its products are computed by.
    fn device_name(&self) -> String {
        let quantised = if packed::has_vnni() { "VNNI" } else { "no VNNI" };
        format!("{}: products by {}, of integers with {quantised}", self.id.device, gemm::isa())
    }
}

fn runtime() -> RuntimeInfo {
    RuntimeInfo { name: "candle".to_owned(), version: VERSION.to_owned(), path: None, sha256: None }
}

/// The passes that an optimisation level stands for.
fn passes_of(level: Optimization) -> &'static [Pass] {
    match level {
        Optimization::None => &[],
        Optimization::Basic => &[Pass::Fold, Pass::Canonicalise, Pass::Dead],
        Optimization::Extended | Optimization::All => &Pass::ALL,
    }
}

fn read(path: &Path, level: Optimization) -> Result<Graph> {
    let mut graph = Graph::read(path)?;
    passes::run(&mut graph, passes_of(level), usize::MAX)?;
    assume_types(&mut graph);
    Ok(graph)
}

/// Behind what cannot run types are taken for f32: other gaps can be told then.
fn assume_types(graph: &mut Graph) {
    if graph.nodes.iter().any(|n| matches!(n.op, Op::Unsupported(_) | Op::If { .. })) {
        for id in graph.value_ids() {
            if graph.value(id).dtype.is_none() {
                graph.set_dtype(id, DType::F32);
            }
        }
    }
}

impl Backend for CandleBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn availability(&self, _options: &PrepareOptions) -> Availability {
        Availability::Ready(DeviceInfo { name: self.device_name(), runtime: runtime() })
    }

    fn coverage(&self, model: &Path, options: &PrepareOptions) -> Result<Coverage> {
        Ok(build::coverage(&read(model, options.optimization)?, options.threads))
    }

    fn prepare(&self, variant: &Variant, options: &PrepareOptions) -> Result<Box<dyn Prepared>> {
        let threads = candle_core::utils::get_num_threads();
        if threads != options.threads {
            return Err(Error::internal(
                "candle",
                format!("{threads} threads are set in the environment, not {}", options.threads),
            ));
        }
        let clock = RealClock::start();
        let graph = Graph::read(&variant.path)?;
        let load = clock.now();
        let mut graph = graph;
        passes::run(&mut graph, passes_of(options.optimization), usize::MAX)?;
        assume_types(&mut graph);
        let plan = build::lowered(&graph, &self.device, threads)?;
        let compile = clock.now() - load;
        let facts = PreparedFacts {
            device: self.id.device.clone(),
            runtime: runtime(),
            threads,
            shapes: ShapePolicy::Dynamic,
            load,
            compile,
            weights: options.weights,
            numerics: plan.numerics.clone(),
        };
        Ok(Box::new(CandlePrepared { plan: Arc::new(plan), spinning: options.spinning, facts }))
    }
}

/// Operator, what multiplies and what runs it; how many there were, and their time in ns.
type Found<'a> = (&'a (&'a str, &'a str, &'a str), &'a (usize, u64));

struct CandlePrepared {
    plan: Arc<Plan>,
    spinning: bool,
    facts: PreparedFacts,
}

impl Prepared for CandlePrepared {
    fn spawn(&self) -> Result<Box<dyn Session>> {
        CandleSession::new(&self.plan, self.facts.threads, self.spinning)
            .map(|s| Box::new(s) as Box<dyn Session>)
    }

    fn facts(&self) -> &PreparedFacts {
        &self.facts
    }

    fn inspect(&self, sample: &Tensors, _profile: bool) -> Result<Option<Inspection>> {
        let session = CandleSession::new(&self.plan, self.facts.threads, self.spinning)?;
        let mut times = Vec::with_capacity(self.plan.steps());
        // The first run also touches memory for the first time; the second is what serving looks like.
        session.on_own_threads(|| self.plan.run(sample, None))?;
        session.on_own_threads(|| self.plan.run(sample, Some(&mut times)))?;
        let total: u64 = times.iter().map(|t| t.took.0).sum();
        let mut rows: BTreeMap<(&str, &str, &str), (usize, u64)> = BTreeMap::new();
        for step in &times {
            let runs = match step.runs {
                lower::Runs::Device => self.facts.device.as_str(),
                lower::Runs::Host => "cpu",
            };
            let row = rows.entry((step.op, step.with, runs)).or_default();
            *row = (row.0 + 1, row.1 + step.took.0);
        }
        let row = |((op, with, runs), (count, took)): Found<'_>| OpRow {
            kind: if with.is_empty() { (*op).to_owned() } else { format!("{op} ({with})") },
            provider: (*runs).to_owned(),
            count: *count,
            time_share: *took as f64 / total.max(1) as f64,
            time_ns: Some(*took as f64),
            ..OpRow::default()
        };
        let mut rows: Vec<OpRow> = rows.iter().map(row).collect();
        rows.sort_by(|a, b| b.time_share.total_cmp(&a.time_share));
        Ok(Some(Inspection { ops: rows, ceilings: None }))
    }
}

/// A plan with threads of its own. candle computes while it is called: a submitted batch is finished
/// when `submit` returns, and its outputs wait here.
struct CandleSession {
    plan: Arc<Plan>,
    pool: Option<rayon::ThreadPool>,
    /// Whether threads stay awake while a batch runs.
    spinning: bool,
    finished: Finished,
}

impl CandleSession {
    fn new(plan: &Arc<Plan>, threads: usize, spinning: bool) -> Result<Self> {
        let pool =
            (threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build());
        let pool = pool.transpose().map_err(|e| {
            Error::environment("candle", format!("cannot start {threads} threads: {e}"))
                .remedy("ask for fewer threads, or raise the limit of processes")
        })?;
        Ok(Self { plan: Arc::clone(plan), pool, spinning, finished: Finished::default() })
    }

    fn on_own_threads<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) if self.spinning => pool.install(|| awake(f)),
            Some(pool) => pool.install(f),
            None => f(),
        }
    }
}

/// How long `f` waits for other threads to be awake before it begins.
const WAKING: Duration = Duration::from_micros(100);

/// Runs `f` while the other threads of the pool look for work without falling asleep.
///
/// Between two steps that are shared there is less to do than it takes to wake a thread. rayon's own
/// threads sleep after some 30 looks; these look until `f` is over, and let go of the CPU between looks.
///
/// A thread may come to this only before `f` has begun: later it might do so in the middle of a part of `f`, while
/// it waits for another part, and `f` would wait for it for ever.
fn awake<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    /// Tells the others even when `f` panics: they would never stop.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (caller, others) = (rayon::current_thread_index(), rayon::current_num_threads() - 1);
    let (over, begun, ready) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    rayon::in_place_scope(|scope| {
        scope.spawn_broadcast(|_, thread| {
            if Some(thread.index()) == caller || begun.load(Ordering::SeqCst) {
                return;
            }
            ready.fetch_add(1, Ordering::Relaxed);
            while !over.load(Ordering::Acquire) {
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    std::thread::yield_now();
                }
            }
        });
        let _over = Over(&over);
        let clock = RealClock::start();
        let until = Nanos::from(WAKING);
        while ready.load(Ordering::Relaxed) < others && clock.now() < until {
            std::hint::spin_loop();
        }
        begun.store(true, Ordering::SeqCst);
        f()
    })
}

impl Session for CandleSession {
    fn submit(&mut self, inputs: &Tensors) -> Result<Ticket> {
        let outputs = self.run(inputs, &mut Trace::default())?;
        Ok(self.finished.keep(outputs))
    }

    fn wait(&mut self, ticket: Ticket, trace: &mut Trace) -> Result<Tensors> {
        *trace = Trace::default();
        self.finished.take(ticket, "candle")
    }

    fn run(&mut self, inputs: &Tensors, trace: &mut Trace) -> Result<Tensors> {
        *trace = Trace::default();
        self.on_own_threads(|| self.plan.run(inputs, None))
    }
}

#[cfg(test)]
mod tests {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};

    use super::*;

    /// A thread that waits for a part of the work must not be kept by what keeps it awake.
    #[test]
    fn threads_that_are_kept_awake_finish_what_they_share() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for round in 0..20_000_u64 {
            let sum: u64 =
                pool.install(|| awake(|| (0..64_u64).into_par_iter().map(|i| i ^ round).sum()));
            assert_eq!(sum, (0..64).map(|i| i ^ round).sum::<u64>());
        }
    }
}
