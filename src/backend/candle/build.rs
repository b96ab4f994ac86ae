//! From a graph to a plan: each node to its step, what depends on constants only computed at once.

use std::collections::{HashMap, HashSet};

use candle_core::{Device, Tensor};

use super::cells;
use super::lower::{self, lower};
use super::ops::product::{Epilogue, Factor, activated, computed_in, constant_factor};
use super::ops::quantise::conv_integer_kernel;
use super::packed::{Packed, real};
use super::plan::{Input, Place, Plan, Step, one_line};
use super::step::{Inputs, Kernel, Site};
use crate::backend::integers::{Product, find, live};
use crate::backend::{Coverage, NumericFact};
use crate::error::{Error, Result};
use crate::graph::op::Activation;
use crate::graph::{Graph, Node, Op, ValueId};

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

/// Lowers a graph; an error names the first node that candle cannot run, and every operator that it lacks.
pub(super) fn lowered(graph: &Graph, device: &Device, threads: usize) -> Result<Plan> {
    Builder::new(graph, device, threads).build().map_err(|(node, gaps)| {
        let missing = Coverage::of(graph.nodes.len(), gaps).missing;
        let all = missing.iter().map(|m| format!("{} of {} ({})", m.count, m.op, m.reason));
        let all = all.collect::<Vec<_>>().join(", ");
        Error::input(&graph.subject, format!("candle cannot run node `{node}`; it lacks {all}"))
            .remedy("`infermark model coverage` lists the gaps of any backend; try ort:cpu")
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
    numerics: Vec<NumericFact>,
    gaps: Gaps,
    first_gap: String,
    /// Values that whole numbers were made floats again into.
    dequantised: HashSet<ValueId>,
}

/// What `DequantizeLinear` gives, and the same under another shape or order.
fn dequantised(graph: &Graph) -> HashSet<ValueId> {
    let mut found = HashSet::new();
    for node in &graph.nodes {
        let moves = matches!(
            node.op,
            Op::Transpose { .. }
                | Op::Reshape { .. }
                | Op::Flatten { .. }
                | Op::Squeeze
                | Op::Unsqueeze
                | Op::Identity
                | Op::Cast { .. }
        );
        let is_moved = moves && node.input(0).is_some_and(|id| found.contains(&id));
        if matches!(node.op, Op::DequantizeLinear { .. }) || is_moved {
            found.extend(node.output(0));
        }
    }
    found
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
            numerics: Vec::new(),
            gaps: Vec::new(),
            first_gap: String::new(),
            dequantised: dequantised(graph),
        }
    }

    fn site(&self, node: &'a Node) -> Site<'a> {
        Site { graph: self.graph, node, device: self.device, threads: self.threads }
    }

    fn build(mut self) -> std::result::Result<Plan, (String, Gaps)> {
        let graph = self.graph;
        let (mut products, refused) = find(graph);
        let live = live(graph, &products);
        let mut inputs = Vec::new();
        for id in &graph.inputs {
            let value = graph.value(*id);
            let slot = self.slot(*id);
            match value.dtype.filter(|t| cells::held_in(*t).is_some()) {
                Some(dtype) => {
                    let (name, dims) = (value.name.clone(), value.dims.clone());
                    inputs.push(Input { name, slot, dtype, dims });
                }
                None => {
                    self.unheld("(input)", &value.name, "is of a type that candle does not have");
                }
            }
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            if !live[at] {
                continue;
            }
            match products.remove(&at) {
                Some(product) => self.product(node, &product),
                None => self.node(node, refused.get(&at)),
            }
        }
        let mut outputs = Vec::new();
        for id in &graph.outputs {
            let value = graph.value(*id);
            let (Some(dtype), Some(place)) = (value.dtype, self.place(*id)) else {
                if self.gaps.is_empty() {
                    self.unheld("(output)", &value.name, "is of a type that is not known");
                }
                continue;
            };
            outputs.push((value.name.clone(), place, dtype));
        }
        if !self.gaps.is_empty() {
            return Err((self.first_gap, self.gaps));
        }
        let mut plan = Plan {
            subject: graph.subject.clone(),
            numerics: self.numerics,
            steps: self.steps,
            constants: self.constants.into_iter().map(Some).collect(),
            inputs,
            outputs,
            slots: self.slots,
            device: self.device.clone(),
        };
        plan.free();
        Ok(plan)
    }

    /// Counts a product with those that are computed alike.
    fn count(
        &mut self,
        kernel: &str,
        activation_quant: Option<String>,
        emulated: bool,
        reason: Option<String>,
    ) {
        let kernel = kernel.to_owned();
        let fact = NumericFact { kernel, products: 0, activation_quant, emulated, reason };
        let alike = |known: &NumericFact| NumericFact { products: 0, ..known.clone() } == fact;
        match self.numerics.iter_mut().find(|known| alike(known)) {
            Some(known) => known.products += 1,
            None => self.numerics.push(NumericFact { products: 1, ..fact }),
        }
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
        // What reads its outputs is no gap for that.
        for id in node.outputs.iter().flatten() {
            self.slot(*id);
        }
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
    fn product(&mut self, node: &'a Node, product: &Product) {
        let asks = product.activations.name();
        let packed = match Packed::new(&product.weights, self.threads, self.device) {
            Ok(packed) => packed,
            Err(reason) => {
                let plain = real(&product.weights, self.device).map_err(|e| e.to_string());
                return match plain {
                    Ok(weights) => self.plain(node, product, weights, reason),
                    Err(reason) => self.gap(node, reason),
                };
            }
        };
        let (kernel, activations) = (packed.kernel(), packed.activations());
        let activations = format!("{activations}; the model asks for {asks}");
        self.count(kernel, Some(activations), false, packed.hindrance());
        let (activation, bounds, threads) =
            (product.activation, product.activations.bounds(), self.threads);
        let run: Kernel = Box::new(move |inputs: &Inputs<'_>| {
            let x = cut(inputs.at(0)?, bounds, threads)?;
            Ok(vec![packed.multiply(&x, inputs.maybe(1), activation)?])
        });
        let with = (kernel.to_owned(), lower::Runs::Device);
        self.push(node, run, &[Some(product.x), product.bias], with);
    }

    /// The same with weights that were made numbers again, once.
    fn plain(&mut self, node: &'a Node, product: &Product, weights: Tensor, reason: String) {
        let kernel = "gemm f32".to_owned();
        self.count(&kernel, None, true, Some(reason));
        let (activation, bounds, threads) =
            (product.activation, product.activations.bounds(), self.threads);
        let width = product.weights.n;
        let factor = match Factor::new(weights, threads) {
            Ok(factor) => factor,
            Err(e) => return self.gap(node, one_line(&e)),
        };
        let run: Kernel = Box::new(move |inputs: &Inputs<'_>| {
            let x = cut(inputs.at(0)?, bounds, threads)?;
            let (out, bias) = (factor.multiply(&x)?, inputs.maybe(1));
            let epilogue = Epilogue { bias, scale: None, activation, width, threads };
            Ok(vec![epilogue.apply(out)?])
        });
        self.push(node, run, &[Some(product.x), product.bias], (kernel, lower::Runs::Device));
    }

    fn node(&mut self, node: &'a Node, refused: Option<&String>) {
        if let Some(kernel) = constant_factor(&self.site(node)) {
            let with = self.computed(node, refused, true);
            let first = [node.input(0)];
            return self.push(node, kernel, &first, (with, lower::Runs::Device));
        }
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
        let with = self.computed(node, refused, false);
        // What a kernel holds in a form of its own is not kept as the model has it too.
        let own = held_by_kernel(&self.site(node));
        let reads = node.inputs.iter().enumerate();
        let reads: Vec<Option<ValueId>> =
            reads.map(|(at, id)| id.filter(|_| !own.contains(&at))).collect();
        self.push(node, kernel, &reads, (with, runs));
    }

    /// What a product is computed with, counted; empty for what is none. Those `in_panels` are of f32.
    fn computed(&mut self, node: &'a Node, refused: Option<&String>, in_panels: bool) -> String {
        let dtype = node.input(0).and_then(|id| self.graph.value(id).dtype);
        let (kernel, reason) = match &node.op {
            Op::MatMul
            | Op::Gemm { .. }
            | Op::Linear { .. }
            | Op::Conv { .. }
            | Op::Einsum { .. } => match dtype.and_then(computed_in) {
                Some("gemm f16") if in_panels || matches!(node.op, Op::Conv { .. }) => {
                    ("gemm f32 of f16", String::new())
                }
                Some(kernel) => (kernel, String::new()),
                None => ("gemm f64", "whole numbers".to_owned()),
            },
            Op::MatMulNBits(_) => ("gemm f32", "no 8 bits hold its weights".to_owned()),
            Op::Attention { .. } | Op::ConvTranspose(_) | Op::LSTM(_) | Op::GRU { .. } => {
                ("gemm f32", String::new())
            }
            Op::MatMulInteger | Op::QLinearMatMul => {
                ("gemm f64", "not the form that is recognised".to_owned())
            }
            Op::ConvInteger(_) => (
                conv_integer_kernel(&self.site(node)),
                "candle has no quantised convolutions".to_owned(),
            ),
            Op::QLinearConv(_) => ("gemm f64", "candle has no quantised convolutions".to_owned()),
            _ => return String::new(),
        };
        let mut factors = [node.input(0), node.input(1)].into_iter().flatten();
        let is_dequantised = factors.any(|id| self.dequantised.contains(&id));
        let reason = match refused {
            Some(refused) => refused.clone(),
            None if is_dequantised && matches!(node.op, Op::Conv { .. }) => {
                "candle has no quantised convolutions".to_owned()
            }
            None if is_dequantised => "a factor was made floats again before".to_owned(),
            None => reason,
        };
        let reason = (!reason.is_empty()).then_some(reason);
        self.count(kernel, None, reason.is_some(), reason);
        kernel.to_owned()
    }

    /// Adds a step; one that only reads constants is run at once, and is a constant from then on.
    fn push(
        &mut self,
        node: &'a Node,
        kernel: Kernel,
        reads: &[Option<ValueId>],
        (with, runs): (String, lower::Runs),
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

/// Constant inputs that the node's kernel has a copy of.
fn held_by_kernel(site: &Site<'_>) -> &'static [usize] {
    let known = |index: usize| site.constant(index).is_some();
    let all = |of: &'static [usize]| -> &'static [usize] {
        let is_known = |at: &usize| known(*at) || site.node.input(*at).is_none();
        if known(of[0]) && of.iter().all(is_known) { of } else { &[] }
    };
    match &site.node.op {
        Op::Conv { .. } if site.dtype(0).is_ok_and(|t| t.is_float() && t.size() == 2) => {
            all(&[1, 2])
        }
        Op::MatMulInteger | Op::ConvInteger(_) => all(&[1, 3]),
        Op::QLinearMatMul | Op::QLinearConv(_) => all(&[3, 5]),
        Op::MatMulNBits(_) => all(&[1, 2, 3, 4]),
        _ => &[],
    }
}

/// x as a model's own quantisation would cut it off.
fn cut(x: &Tensor, bounds: Option<(f32, f32)>, threads: usize) -> candle_core::Result<Tensor> {
    match bounds {
        Some((min, max)) => {
            activated(x.contiguous()?.copy()?, Some(Activation::Clip { min, max }), threads)
        }
        None => Ok(x.clone()),
    }
}
