//! A graph lowered once: steps over slots, each slot emptied when nothing reads it any more.

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::{Device, Tensor};

use super::cells;
use super::lower::{self, lower};
use super::ops::product::computed_in;
use super::packed::Packed;
use super::quantised::{self, Product};
use super::step::{Inputs, Kernel, Site};
use crate::backend::{Coverage, NumericFact};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, Op, ValueId};
use crate::units::{Clock, Nanos, RealClock};
use crate::variant::{DType, Tensors};

/// Where a step finds an input.
#[derive(Debug, Clone, Copy)]
enum Place {
    Constant(usize),
    Slot(usize),
}

struct Step {
    /// The node's name and operator, for messages.
    name: String,
    op: String,
    kernel: Kernel,
    inputs: Vec<Option<Place>>,
    outputs: Vec<Option<usize>>,
    /// Slots that nothing reads after this step.
    frees: Vec<usize>,
    /// What multiplies, where that is the question.
    with: String,
    runs: lower::Place,
}

/// A graph, ready to run.
pub(super) struct Plan {
    subject: String,
    steps: Vec<Step>,
    constants: Vec<Tensor>,
    inputs: Vec<(String, usize, DType)>,
    outputs: Vec<(String, Place, DType)>,
    slots: usize,
    /// What products are computed with.
    pub(super) numerics: Vec<NumericFact>,
    device: Device,
}

/// One step's time in a run.
pub(super) struct Timed<'a> {
    pub(super) op: &'a str,
    pub(super) with: &'a str,
    pub(super) runs: lower::Place,
    pub(super) took: Nanos,
}

/// Nodes that candle cannot run as the model has them.
type Gaps = Vec<(String, String, String)>;

/// Which operators of a graph candle lacks.
pub(super) fn coverage(graph: &Graph, threads: usize) -> Coverage {
    let missing = match Builder::new(graph, &Device::Cpu, threads).build() {
        Ok(_) => Vec::new(),
        Err((_, gaps)) => gaps,
    };
    Coverage::of(graph.nodes.len(), missing)
}

/// Lowers a graph; an error names the first operator that candle lacks, and counts the others.
pub(super) fn lowered(graph: &Graph, device: &Device, threads: usize) -> Result<Plan> {
    Builder::new(graph, device, threads).build().map_err(|(node, gaps)| {
        let more =
            if gaps.len() > 1 { format!(" (and {} more)", gaps.len() - 1) } else { String::new() };
        let reason =
            gaps.first().map(|(_, op, reason)| format!("{op} {reason}")).unwrap_or_default();
        Error::input(&graph.subject, format!("candle cannot run node `{node}`: {reason}{more}"))
            .remedy("`infermark model coverage` lists all gaps; run this model on ort:cpu")
    })
}

struct Builder<'a> {
    graph: &'a Graph,
    device: &'a Device,
    threads: usize,
    places: HashMap<ValueId, Place>,
    constants: Vec<Tensor>,
    slots: usize,
    steps: Vec<Step>,
    numerics: BTreeMap<(String, String, bool, String), usize>,
    gaps: Gaps,
    first_gap: String,
    /// Values that whole numbers were made floats again into.
    dequantised: HashSet<ValueId>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, device: &'a Device, threads: usize) -> Self {
        Self {
            graph,
            device,
            threads,
            places: HashMap::new(),
            constants: Vec::new(),
            slots: 0,
            steps: Vec::new(),
            numerics: BTreeMap::new(),
            gaps: Vec::new(),
            first_gap: String::new(),
            dequantised: graph
                .nodes
                .iter()
                .filter(|node| matches!(node.op, Op::DequantizeLinear { .. }))
                .filter_map(|node| node.output(0))
                .collect(),
        }
    }

    fn site(&self, node: &'a Node) -> Site<'a> {
        Site { graph: self.graph, node, device: self.device, threads: self.threads }
    }

    fn build(mut self) -> std::result::Result<Plan, (String, Gaps)> {
        let graph = self.graph;
        let (mut products, refused) = quantised::find(graph, |node| self.site(node));
        let live = live(graph, &products);
        let mut inputs = Vec::new();
        for id in &graph.inputs {
            let value = graph.value(*id);
            let slot = self.slot(*id);
            match value.dtype.filter(|t| cells::held_in(*t).is_some()) {
                Some(dtype) => inputs.push((value.name.clone(), slot, dtype)),
                None => {
                    self.unheld("(input)", &value.name, "is of a type that candle does not have")
                }
            }
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            if !live[at] {
                continue;
            }
            match products.remove(&at) {
                Some(product) => self.product(node, product),
                None => self.node(node, refused.get(&at)),
            }
        }
        let mut outputs = Vec::new();
        for id in &graph.outputs {
            let value = graph.value(*id);
            let (Some(dtype), Some(place)) = (value.dtype, self.place(*id)) else {
                self.unheld("(output)", &value.name, "is of a type that is not known");
                continue;
            };
            outputs.push((value.name.clone(), place, dtype));
        }
        if !self.gaps.is_empty() {
            return Err((self.first_gap, self.gaps));
        }
        let numerics =
            self.numerics.iter().map(|((kernel, activations, emulated, reason), n)| NumericFact {
                kernel: kernel.clone(),
                products: *n,
                activation_quant: (!activations.is_empty()).then(|| activations.clone()),
                emulated: *emulated,
                reason: (!reason.is_empty()).then(|| reason.clone()),
            });
        let mut plan = Plan {
            subject: graph.subject.clone(),
            numerics: numerics.collect(),
            steps: self.steps,
            constants: self.constants,
            inputs,
            outputs,
            slots: self.slots,
            device: self.device.clone(),
        };
        plan.free();
        Ok(plan)
    }

    /// Notes that a value cannot be held.
    fn unheld(&mut self, what: &str, name: &str, reason: &str) {
        if self.gaps.is_empty() {
            name.clone_into(&mut self.first_gap);
        }
        self.gaps.push((String::new(), what.to_owned(), reason.to_owned()));
    }

    /// Notes that a node cannot run.
    fn gap(&mut self, node: &Node, reason: String) {
        if self.gaps.is_empty() {
            node.name.clone_into(&mut self.first_gap);
        }
        self.gaps.push((node.op.domain().to_owned(), node.op.name().to_owned(), reason));
    }

    fn slot(&mut self, id: ValueId) -> usize {
        let slot = self.slots;
        self.slots += 1;
        self.places.insert(id, Place::Slot(slot));
        slot
    }

    /// Where a value is; a constant is put among the constants when it is first asked for.
    fn place(&mut self, id: ValueId) -> Option<Place> {
        if let Some(place) = self.places.get(&id) {
            return Some(*place);
        }
        let weight = self.graph.constant(Some(id))?;
        let tensor = cells::from_host(&weight.to_tensor()?, self.device).ok()?;
        Some(self.constant(id, tensor))
    }

    fn constant(&mut self, id: ValueId, tensor: Tensor) -> Place {
        let place = Place::Constant(self.constants.len());
        self.constants.push(tensor);
        self.places.insert(id, place);
        place
    }

    /// A product with integer weights, on candle's quantised kernels where they take it.
    fn product(&mut self, node: &'a Node, product: Product) {
        let asks = product.asks;
        let packed = match Packed::new(&product.weights, self.threads, self.device) {
            Ok(packed) => packed,
            Err(reason) => {
                let plain = product.weights.real(self.device).map_err(|e| e.to_string());
                return match plain {
                    Ok(weights) => self.plain(node, product, weights, reason),
                    Err(reason) => self.gap(node, reason),
                };
            }
        };
        let (kernel, activations) = (packed.kernel(), packed.activations());
        let activations = format!("{activations}; the model asks for {asks}");
        let reason = packed.hindrance().unwrap_or_default();
        *self.numerics.entry((kernel.to_owned(), activations, false, reason)).or_default() += 1;
        let activation = product.activation;
        let run: Kernel = Box::new(move |inputs: &Inputs<'_>| {
            Ok(vec![packed.multiply(inputs.at(0)?, inputs.maybe(1), activation)?])
        });
        let with = (kernel.to_owned(), lower::Place::Device);
        self.push(node, run, &[Some(product.x), product.bias], with);
    }

    /// The same with weights that were made numbers again, once.
    fn plain(&mut self, node: &'a Node, product: Product, weights: Tensor, reason: String) {
        let kernel = "gemm f32".to_owned();
        *self.numerics.entry((kernel.clone(), String::new(), true, reason)).or_default() += 1;
        let (threads, activation) = (self.threads, product.activation);
        let run: Kernel = Box::new(move |inputs: &Inputs<'_>| {
            let out = super::ops::product::product(inputs.at(0)?, &weights)?;
            let (bias, width) = (inputs.maybe(1), weights.dims()[1]);
            let epilogue =
                super::ops::product::Epilogue { bias, scale: None, activation, width, threads };
            Ok(vec![epilogue.apply(out)?])
        });
        self.push(node, run, &[Some(product.x), product.bias], (kernel, lower::Place::Device));
    }

    fn node(&mut self, node: &'a Node, refused: Option<&String>) {
        let (kernel, runs) = match lower(&self.site(node)) {
            Ok(lowered) => lowered,
            Err(reason) => return self.gap(node, reason),
        };
        let held =
            |id: &ValueId| self.graph.value(*id).dtype.is_none_or(|t| cells::held_in(t).is_some());
        if !node.inputs.iter().chain(&node.outputs).flatten().all(held) {
            let reason = "of 64-bit unsigned numbers, which candle does not have";
            return self.gap(node, reason.to_owned());
        }
        let with = self.computed(node, refused);
        self.push(node, kernel, &node.inputs, (with, runs));
    }

    /// What a product is computed with, counted; empty for what is none.
    fn computed(&mut self, node: &Node, refused: Option<&String>) -> String {
        let dtype = node.input(0).and_then(|id| self.graph.value(id).dtype);
        let (kernel, reason) = match &node.op {
            Op::MatMul
            | Op::Gemm { .. }
            | Op::Linear { .. }
            | Op::Conv { .. }
            | Op::Einsum { .. } => match dtype.and_then(computed_in) {
                Some(kernel) => (kernel, String::new()),
                None => ("gemm f64", "whole numbers".to_owned()),
            },
            Op::MatMulNBits(_) => ("gemm f32", String::new()),
            Op::MatMulInteger | Op::QLinearMatMul => {
                ("gemm f64", "not the form that is recognised".to_owned())
            }
            Op::ConvInteger(_) | Op::QLinearConv(_) => {
                ("gemm f64", "candle has no quantised convolutions".to_owned())
            }
            _ => return String::new(),
        };
        let is_dequantised = node.input(1).is_some_and(|id| self.dequantised.contains(&id));
        let reason = match refused {
            Some(refused) => refused.clone(),
            None if is_dequantised && matches!(node.op, Op::Conv { .. }) => {
                "candle has no quantised convolutions".to_owned()
            }
            None => reason,
        };
        let key = (kernel.to_owned(), String::new(), !reason.is_empty(), reason);
        *self.numerics.entry(key).or_default() += 1;
        kernel.to_owned()
    }

    /// Adds a step; one that only reads constants is run at once, and is a constant from then on.
    fn push(
        &mut self,
        node: &'a Node,
        kernel: Kernel,
        reads: &[Option<ValueId>],
        (with, runs): (String, lower::Place),
    ) {
        let mut inputs = Vec::with_capacity(reads.len());
        for id in reads {
            let place = id.and_then(|id| self.place(id));
            if id.is_some() && place.is_none() {
                let reason = "an input has no value that candle can hold".to_owned();
                return self.gap(node, reason);
            }
            inputs.push(place);
        }
        let known: Option<Vec<Option<&Tensor>>> = inputs
            .iter()
            .map(|place| match place {
                None => Some(None),
                Some(Place::Constant(at)) => Some(Some(&self.constants[*at])),
                Some(Place::Slot(_)) => None,
            })
            .collect();
        if let Some(known) = known {
            match kernel(&Inputs(&known)) {
                Ok(values) => {
                    for (id, value) in node.outputs.iter().zip(values) {
                        if let Some(id) = id {
                            self.constant(*id, value);
                        }
                    }
                }
                Err(e) => self.gap(node, one_line(&e)),
            }
            return;
        }
        let outputs = node.outputs.iter().map(|id| id.map(|id| self.slot(id))).collect();
        self.steps.push(Step {
            name: node.name.clone(),
            op: node.op.name().to_owned(),
            kernel,
            inputs,
            outputs,
            frees: Vec::new(),
            with,
            runs,
        });
    }
}

/// Which nodes something needs, when recognised products read nothing but their factor and bias.
fn live(graph: &Graph, products: &HashMap<usize, Product>) -> Vec<bool> {
    let mut needed: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut live = vec![false; graph.nodes.len()];
    for (at, node) in graph.nodes.iter().enumerate().rev() {
        if !node.outputs.iter().flatten().any(|id| needed.contains(id)) {
            continue;
        }
        live[at] = true;
        match products.get(&at) {
            Some(product) => {
                needed.insert(product.x);
                needed.extend(product.bias);
            }
            None => needed.extend(node.reads()),
        }
    }
    live
}

impl Plan {
    /// Finds the last reader of every slot.
    fn free(&mut self) {
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let written = step.outputs.iter().flatten().copied();
            let read = step.inputs.iter().flatten().filter_map(|place| match place {
                Place::Slot(slot) => Some(*slot),
                Place::Constant(_) => None,
            });
            last.extend(written.chain(read).map(|slot| (slot, at)));
        }
        for (_, place, _) in &self.outputs {
            if let Place::Slot(slot) = place {
                last.remove(slot);
            }
        }
        for (slot, at) in last {
            self.steps[at].frees.push(slot);
        }
    }

    /// Operators that the model was lowered to.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Runs one batch; with `times`, each step's.
    pub(super) fn run<'a>(
        &'a self,
        inputs: &Tensors,
        mut times: Option<&mut Vec<Timed<'a>>>,
    ) -> Result<Tensors> {
        let clock = RealClock::start();
        let mut slots: Vec<Option<Tensor>> = vec![None; self.slots];
        for (name, slot, dtype) in &self.inputs {
            let given = inputs
                .get(name)
                .ok_or_else(|| self.refuse(format!("input `{name}` is missing")))?;
            if given.dtype() != *dtype {
                return Err(
                    self.refuse(format!("input `{name}` is {}, not {dtype}", given.dtype()))
                );
            }
            let tensor = cells::from_host(given, &self.device);
            slots[*slot] = Some(tensor.map_err(|e| self.refuse(one_line(&e)))?);
        }
        for step in &self.steps {
            let before = clock.now();
            let given: Vec<Option<&Tensor>> = step
                .inputs
                .iter()
                .map(|place| match place {
                    None => None,
                    Some(Place::Constant(at)) => Some(&self.constants[*at]),
                    Some(Place::Slot(slot)) => slots[*slot].as_ref(),
                })
                .collect();
            let outputs = (step.kernel)(&Inputs(&given)).map_err(|e| {
                self.refuse(format!("node `{}` ({}): {}", step.name, step.op, one_line(&e)))
            })?;
            for (slot, output) in step.outputs.iter().zip(outputs) {
                if let Some(slot) = slot {
                    slots[*slot] = Some(output);
                }
            }
            for slot in &step.frees {
                slots[*slot] = None;
            }
            if let Some(times) = &mut times {
                let (op, with, runs) = (&step.op, &step.with, step.runs);
                times.push(Timed { op, with, runs, took: clock.now() - before });
            }
        }
        let mut outputs = Tensors::default();
        for (name, place, dtype) in &self.outputs {
            let tensor = match place {
                Place::Constant(at) => Some(&self.constants[*at]),
                Place::Slot(slot) => slots[*slot].as_ref(),
            };
            let tensor = tensor
                .ok_or_else(|| Error::internal("candle", format!("gave no output `{name}`")))?;
            let host = cells::to_host(tensor, *dtype).map_err(|e| self.refuse(one_line(&e)))?;
            outputs.0.push((name.clone(), host));
        }
        Ok(outputs)
    }

    fn refuse(&self, message: String) -> Error {
        Error::input(&self.subject, format!("candle: {message}"))
            .remedy("check the inputs against the model's signature (`infermark model inspect`)")
    }
}

/// candle's messages can carry a backtrace; what went wrong stands on the first line.
pub(super) fn one_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().trim().to_owned()
}
