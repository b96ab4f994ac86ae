//! wgpu: the graph as compute shaders, on any adapter of Vulkan, Metal or DX12.

#![expect(
    clippy::many_single_char_names,
    reason = "m, n, k and b, h, s, t, d are what everyone calls the sizes of products and of attention"
)]

mod buffers;
mod build;
mod chain;
mod device;
mod elementwise;
mod kernels;
mod lower;
mod ops;
mod pipelines;
mod plan;
mod probe;
mod profile;
mod shader;
mod transfer;
mod trusted;
mod tune;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use self::buffers::Weights;
use self::device::Gpu;
use self::plan::{Flight, Plan};
pub use self::probe::{ProductTime, products};
use super::{
    Availability, Backend, Coverage, DeviceInfo, Inspection, NumericFact, PrepareOptions, Prepared,
    PreparedFacts, RuntimeInfo, Session, Ticket, Trace,
};
use crate::error::{Error, Result};
use crate::graph::passes::{self, Pass};
use crate::graph::{Dim, Graph};
use crate::units::{Clock, Nanos, RealClock};
use crate::variant::{BackendId, DType, Optimization, ShapePolicy, Tensors, Variant};

/// Version of wgpu that this binary is built with.
const VERSION: &str = "30.0.1";

/// Plans that a session keeps, each with its arena: for so many shapes.
const MOST_PLANS: usize = 64;

/// The backend for one adapter.
pub(super) struct WgpuBackend {
    id: BackendId,
}

impl WgpuBackend {
    pub(super) fn new(id: BackendId) -> Self {
        Self { id }
    }
}

fn runtime() -> RuntimeInfo {
    RuntimeInfo { name: "wgpu".to_owned(), version: VERSION.to_owned(), path: None, sha256: None }
}

/// The passes that an optimisation level stands for.
fn passes_of(level: Optimization) -> &'static [Pass] {
    match level {
        Optimization::None => &[],
        Optimization::Basic => &[Pass::Fold, Pass::Canonicalise, Pass::Dead],
        Optimization::Extended | Optimization::All => &Pass::ALL,
    }
}

/// Sizes for free dimensions that are tried in turn: windows, rows and slices of a model may need more than the
/// least.
const TRIED: [usize; 6] = [4, 12, 32, 64, 128, 512];

/// The graph with a size for every free dimension; an error where it fits none of those that are tried.
fn sized(graph: &Graph, passes: &[Pass]) -> Result<Graph> {
    let with = |size: usize| -> Result<Graph> {
        let sizes: BTreeMap<String, usize> =
            graph.free_dims().into_iter().map(|name| (name, size)).collect();
        let mut bound = graph.clone();
        bound.bind(&sizes)?;
        crate::graph::infer(&mut bound)?;
        build::bound(&bound, std::iter::empty(), passes)
    };
    let mut first = None;
    for size in TRIED {
        match with(size) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::internal("wgpu", "tries no sizes")))
}

impl Backend for WgpuBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn availability(&self, _options: &PrepareOptions) -> Availability {
        match device::look(&self.id.device) {
            Ok(info) => Availability::Ready(DeviceInfo {
                name: device::describe(&info),
                runtime: runtime(),
            }),
            Err(e) => Availability::Missing(e),
        }
    }

    fn coverage(&self, model: &Path, options: &PrepareOptions) -> Result<Coverage> {
        let gpu = Gpu::open(&self.id.device, options.tuning.folder.as_deref())?;
        let mut graph = Graph::read(model)?;
        let passes = passes_of(options.optimization);
        passes::run(&mut graph, passes, usize::MAX)?;
        for id in graph.value_ids() {
            // Behind what cannot run types are taken for f32: other gaps can be told then.
            if graph.value(id).dtype.is_none() {
                graph.set_dtype(id, DType::F32);
            }
        }
        let graph = sized(&graph, passes)?;
        let missing = match build::build(&graph, &gpu, &Weights::default(), (false, true)) {
            Ok(_) => Vec::new(),
            Err(gaps) => gaps.missing,
        };
        Ok(Coverage::of(graph.nodes.len(), missing))
    }

    fn prepare(&self, variant: &Variant, options: &PrepareOptions) -> Result<Box<dyn Prepared>> {
        let clock = RealClock::start();
        let graph = Graph::read(&variant.path)?;
        let load = clock.now();
        let mut graph = graph;
        let passes = passes_of(options.optimization);
        passes::run(&mut graph, passes, usize::MAX)?;
        let gpu = Gpu::open(&self.id.device, options.tuning.folder.as_deref())?;
        let (weights, tunes) = (Weights::default(), options.tuning.autotune);
        let shared = Arc::new(Shared { gpu, graph, passes, weights, tunes });
        // Gaps and facts are those of a small batch, and kernels are compiled now, not with the first batch. A model
        // that fits none of the sizes that are tried shows both with its first batch.
        let mut numerics: Vec<NumericFact> = Vec::new();
        if let Ok(bound) = sized(&shared.graph, passes) {
            let built =
                build::build(&bound, &shared.gpu, &shared.weights, (false, !passes.is_empty()))
                    .map_err(|gaps| gaps.refused(&bound))?;
            numerics.clone_from(&built.numerics);
            drop(Plan::new(&shared.gpu, &shared.graph.subject, built)?);
        }
        let compile = clock.now() - load;
        let facts = PreparedFacts {
            device: device::describe(&shared.gpu.info),
            runtime: runtime(),
            threads: options.threads,
            shapes: ShapePolicy::Dynamic,
            load,
            compile,
            weights: options.weights,
            numerics,
        };
        Ok(Box::new(WgpuPrepared { shared, facts }))
    }
}

/// What all sessions of a variant share.
struct Shared {
    gpu: Arc<Gpu>,
    graph: Graph,
    passes: &'static [Pass],
    weights: Weights,
    /// Whether kernels are chosen by measuring them.
    tunes: bool,
}

struct WgpuPrepared {
    shared: Arc<Shared>,
    facts: PreparedFacts,
}

impl Prepared for WgpuPrepared {
    fn spawn(&self) -> Result<Box<dyn Session>> {
        Ok(Box::new(WgpuSession::new(&self.shared)))
    }

    fn facts(&self) -> &PreparedFacts {
        &self.facts
    }

    fn inspect(&self, sample: &Tensors, profile: bool) -> Result<Option<Inspection>> {
        let mut session = WgpuSession::new(&self.shared);
        session.run(sample, &mut Trace::default())?;
        let (gpu, subject) = (&self.shared.gpu, &self.shared.graph.subject);
        let (plan, _) = session.plan(sample)?;
        let Some(times) = plan.timed(gpu, sample, subject)? else { return Ok(None) };
        let ceilings = if profile { Some(probe::ceilings(gpu)?) } else { None };
        let ops = profile::table(&times, &self.facts.device, ceilings.as_ref());
        Ok(Some(Inspection { ops, ceilings }))
    }

    fn tuning(&self) -> Nanos {
        self.shared.gpu.tuner.took()
    }
}

/// Names and sizes of a batch's inputs.
type Shapes = Vec<(String, Vec<usize>)>;

/// A plan for every shape that was met, and batches in flight.
struct WgpuSession {
    shared: Arc<Shared>,
    plans: HashMap<Shapes, (Plan, u64)>,
    /// Counts uses of plans, so that the one unused for longest is dropped first.
    uses: u64,
    next: u64,
    flights: Vec<(Ticket, Shapes, Flight, bool)>,
}

impl WgpuSession {
    fn new(shared: &Arc<Shared>) -> Self {
        let (plans, flights) = (HashMap::new(), Vec::new());
        Self { shared: Arc::clone(shared), plans, uses: 0, next: 0, flights }
    }

    fn shapes(inputs: &Tensors) -> Shapes {
        let mut shapes: Shapes =
            inputs.0.iter().map(|(name, t)| (name.clone(), t.shape().to_vec())).collect();
        shapes.sort();
        shapes
    }

    /// The plan for a batch, and whether it had to be made.
    fn plan(&mut self, inputs: &Tensors) -> Result<(&mut Plan, bool)> {
        let shapes = Self::shapes(inputs);
        self.uses += 1;
        let is_new = !self.plans.contains_key(&shapes);
        if is_new {
            let flying: Vec<&Shapes> = self.flights.iter().map(|(_, shapes, ..)| shapes).collect();
            if self.plans.len() >= MOST_PLANS
                && let Some(oldest) = self
                    .plans
                    .iter()
                    .filter(|(shapes, _)| !flying.contains(shapes))
                    .min_by_key(|(_, (_, used))| *used)
                    .map(|(shapes, _)| shapes.clone())
            {
                self.plans.remove(&oldest);
            }
            let plan = self.shared.plan(inputs)?;
            self.plans.insert(shapes.clone(), (plan, self.uses));
        }
        let uses = self.uses;
        let (plan, used) = self
            .plans
            .get_mut(&shapes)
            .ok_or_else(|| Error::internal("wgpu", "a plan is not where it was put"))?;
        *used = uses;
        Ok((plan, is_new))
    }
}

impl Shared {
    /// A plan for a batch's shapes.
    fn plan(&self, inputs: &Tensors) -> Result<Plan> {
        let graph = &self.graph;
        for id in &graph.inputs {
            let value = graph.value(*id);
            let Some(dims) = &value.dims else { continue };
            let fits = inputs.get(&value.name).is_some_and(|t| {
                let sizes: Vec<Dim> = t.shape().iter().copied().map(Dim::Fixed).collect();
                sizes.len() == dims.len() && !dims.iter().zip(&sizes).any(|(a, b)| a.contradicts(b))
            });
            if !fits {
                return Err(Error::input(
                    &graph.subject,
                    format!("input {} is missing, or of another shape", graph.show(*id)),
                )
                .remedy("give inputs of the sizes that `infermark model inspect` lists"));
            }
        }
        let shapes = inputs.0.iter().map(|(name, t)| (name.as_str(), t.shape()));
        let bound = build::bound(graph, shapes, self.passes)?;
        let built =
            build::build(&bound, &self.gpu, &self.weights, (self.tunes, !self.passes.is_empty()))
                .map_err(|gaps| gaps.refused(&bound))?;
        Plan::new(&self.gpu, &graph.subject, built)
    }
}

impl Session for WgpuSession {
    fn submit(&mut self, inputs: &Tensors) -> Result<Ticket> {
        let shared = Arc::clone(&self.shared);
        let (plan, is_new) = self.plan(inputs)?;
        let flight = plan.submit(&shared.gpu, inputs, &shared.graph.subject)?;
        let ticket = Ticket(self.next);
        self.next += 1;
        self.flights.push((ticket, Self::shapes(inputs), flight, is_new));
        Ok(ticket)
    }

    fn wait(&mut self, ticket: Ticket, trace: &mut Trace) -> Result<Tensors> {
        let unknown = || Error::internal("wgpu", "waited for a batch that is not in flight");
        let at = self.flights.iter().position(|(t, ..)| *t == ticket).ok_or_else(unknown)?;
        let (_, shapes, flight, is_new) = self.flights.swap_remove(at);
        trace.shape_miss = Some(is_new);
        let (plan, _) = self.plans.get_mut(&shapes).ok_or_else(unknown)?;
        plan.wait(&self.shared.gpu, flight)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn records_name_the_version_that_is_built() {
        let lock = include_str!("../../../Cargo.lock");
        let locked = format!("name = \"wgpu\"\nversion = \"{}\"", super::VERSION);
        assert!(lock.contains(&locked), "{}", super::VERSION);
    }
}
