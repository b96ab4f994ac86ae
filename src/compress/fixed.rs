//! `int8-static`: weights and activations of 8 bits, with ranges that were calibrated on data.
//!
//! The form is pairs of `QuantizeLinear` and `DequantizeLinear` (QDQ), which any engine may read as
//! floats, and from which ONNX Runtime makes 8-bit kernels: a product of matrices needs a pair on its
//! input, a convolution another one on its output.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::calibrate::{Execute, Look, observe};
use super::integer::{Affine, Levels, quantise, wholes};
use super::range::Seen;
use super::rewrite::{cast, constant_of, emit, emit_as, float_type, gather_whole};
use super::target::{Product, Target};
use crate::error::{Error, Result};
use crate::graph::op::QuantizeAttributes;
use crate::graph::{Graph, Node, Op, ValueId, Weight};
use crate::variant::{DType, Granularity, Int8Static, RangeRule, Scope, Tensors};

/// Bits of a scale's significand that are kept: engines add in different orders on different CPUs, and
/// what they see as the largest value differs in its last bits. Rounded up, so that nothing is cut.
const SCALE_BITS: u32 = 8;

/// Samples on which clipping is looked for.
const CLIP_SAMPLES: usize = 32;

/// Ranges by the name of the value.
pub(super) type Ranges = BTreeMap<String, (f32, f32)>;

/// What calibration found.
pub(super) struct Calibrated {
    pub(super) ranges: Ranges,
    /// What was seen, for warnings.
    pub(super) seen: BTreeMap<String, Seen>,
}

/// Ranges of every activation that the recipe makes whole.
pub(super) fn calibrate(
    graph: &Graph,
    recipe: &Int8Static,
    samples: &[Tensors],
    execute: &mut dyn Execute,
) -> Result<Calibrated> {
    let look = if recipe.range == RangeRule::MinMax { Look::Range } else { Look::Histogram };
    let plan = Plan::of(graph, recipe, &BTreeSet::new());
    let seen = observe(graph, &plan.activations(graph), samples, look, execute)?;
    let name = |id: ValueId| graph.value(id).name.clone();
    let ranges = seen.iter().map(|(id, seen)| (name(*id), seen.range(recipe.range))).collect();
    let seen = seen.into_iter().map(|(id, seen)| (name(id), seen)).collect();
    Ok(Calibrated { ranges, seen })
}

/// Names of the nodes that the recipe changes.
pub(super) fn names(graph: &Graph, recipe: &Int8Static) -> Vec<String> {
    let plan = Plan::of(graph, recipe, &BTreeSet::new());
    plan.nodes.keys().map(|at| graph.nodes[*at].name.clone()).collect()
}

/// The share of each activation's values on `samples` that its range cuts.
pub(super) fn clipped(
    graph: &Graph,
    ranges: &Ranges,
    samples: &[Tensors],
    execute: &mut dyn Execute,
) -> Result<BTreeMap<String, f64>> {
    let ids: Vec<ValueId> = ranges.keys().filter_map(|name| graph.find(name)).collect();
    let samples = &samples[..samples.len().min(CLIP_SAMPLES)];
    let seen = observe(graph, &ids, samples, Look::Histogram, execute)?;
    let share = |(id, seen): (ValueId, Seen)| {
        let name = graph.value(id).name.clone();
        let cut = ranges.get(&name).map_or(0.0, |range| seen.clipped(*range));
        (name, cut)
    };
    Ok(seen.into_iter().map(share).collect())
}

/// What becomes whole: for each node the inputs to be paired, and outputs to be paired.
struct Plan {
    nodes: BTreeMap<usize, Paired>,
}

struct Paired {
    /// Indices of inputs that are activations.
    inputs: Vec<usize>,
    /// The value after the node, or after the activation that follows it.
    output: Option<ValueId>,
    /// The constant weight, and what is added.
    target: Option<Target>,
    /// Other constants that become whole, by the index of the input.
    constants: Vec<usize>,
}

impl Plan {
    fn of(graph: &Graph, recipe: &Int8Static, keep: &BTreeSet<String>) -> Self {
        let mut nodes = BTreeMap::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            if keep.contains(&node.name) {
                continue;
            }
            if let Some(target) = Target::of(graph, node) {
                let output = target.is_conv().then(|| after(graph, at)).flatten();
                let paired =
                    Paired { inputs: vec![0], output, target: Some(target), constants: Vec::new() };
                nodes.insert(at, paired);
                continue;
            }
            let is_product = node.op == Op::MatMul && recipe.scope != Scope::Weighted;
            if is_product || recipe.scope == Scope::EveryOp && is_on_floats(graph, node) {
                let reads = |constant: bool| {
                    move |index: &usize| {
                        node.input(*index).is_some_and(|id| {
                            is_f32(graph, id) && graph.constant(Some(id)).is_some() == constant
                        })
                    }
                };
                let inputs: Vec<usize> = (0..node.inputs.len()).filter(reads(false)).collect();
                let constants = (0..node.inputs.len())
                    .filter(reads(true))
                    .filter(|index| fits(graph, node.input(*index)))
                    .collect();
                let output = if is_product { None } else { node.output(0) };
                let output = output.filter(|id| !graph.outputs.contains(id));
                nodes.insert(at, Paired { inputs, output, target: None, constants });
            }
        }
        Self { nodes }
    }

    /// Values whose ranges must be known.
    fn activations<'a>(&'a self, graph: &'a Graph) -> Vec<ValueId> {
        let inputs = self.nodes.iter().flat_map(|(at, paired)| {
            paired.inputs.iter().filter_map(|index| graph.nodes[*at].input(*index))
        });
        inputs.chain(self.nodes.values().filter_map(|paired| paired.output)).collect()
    }
}

/// Whether a constant has a scale that leaves anything of its other numbers: masks hold −∞, or the
/// lowest number there is.
fn fits(graph: &Graph, id: Option<ValueId>) -> bool {
    const LARGEST: f32 = 1e30;
    graph.constant(id).is_some_and(|c| c.to_f32().iter().all(|v| v.abs() < LARGEST))
}

fn is_f32(graph: &Graph, id: ValueId) -> bool {
    graph.value(id).dtype == Some(DType::F32)
}

/// Operators on floats that ONNX Runtime has 8-bit kernels for, or that only move values and so do it in
/// any type: those that its own tool takes when it is given no list.
fn is_on_floats(graph: &Graph, node: &Node) -> bool {
    use crate::graph::op::{Binary, Unary};
    let has_kernel = matches!(
        node.op,
        Op::Binary(Binary::Add | Binary::Mul)
            | Op::Unary(Unary::Relu | Unary::Sigmoid)
            | Op::LeakyRelu { .. }
            | Op::Softmax { .. }
            | Op::LayerNormalization { .. }
            | Op::InstanceNormalization { .. }
            | Op::MatMul
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::Concat { .. }
            | Op::Split { .. }
            | Op::Where
            | Op::Resize(_)
            | Op::Pad { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Squeeze
            | Op::Unsqueeze
    );
    has_kernel && node.output(0).is_some_and(|id| is_f32(graph, id)) && node.outputs.len() == 1
}

/// What a convolution's output is called after the activation that ONNX Runtime takes into its 8-bit
/// kernel; `None` when it is an output of the model.
fn after(graph: &Graph, at: usize) -> Option<ValueId> {
    use crate::graph::op::Unary;
    let output = graph.nodes[at].output(0)?;
    let mut readers = graph.nodes.iter().filter(|n| n.reads().any(|id| id == output));
    let (first, second) = (readers.next(), readers.next());
    let is_output = |id: ValueId| graph.outputs.contains(&id);
    if let (Some(next), None, false) = (first, second, is_output(output))
        && matches!(next.op, Op::Unary(Unary::Relu) | Op::Clip)
        && let Some(id) = next.output(0)
    {
        return (!is_output(id)).then_some(id);
    }
    (!is_output(output)).then_some(output)
}

/// Rewrites all products but those in `keep`; the names of the nodes that were.
pub(super) fn apply(
    graph: &mut Graph,
    recipe: &Int8Static,
    ranges: &Ranges,
    keep: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let plan = Plan::of(graph, recipe, keep);
    let outputs: BTreeSet<ValueId> = plan.nodes.values().filter_map(|p| p.output).collect();
    let mut pairs = Pairs { recipe, ranges, made: HashMap::new(), weights: HashMap::new() };
    let mut changed = Vec::new();
    for (at, mut node) in std::mem::take(&mut graph.nodes).into_iter().enumerate() {
        let paired = plan.nodes.get(&at);
        if let Some(paired) = paired {
            for index in &paired.inputs {
                if let Some(id) = node.input(*index) {
                    node.inputs[*index] = Some(pairs.activation(graph, id)?);
                }
            }
            if let Some(target) = &paired.target {
                let weight = pairs.weight(graph, target, &node)?;
                node.inputs[1] = Some(weight.0);
                if let Some(bias) = target.bias {
                    let bias = pairs.bias(graph, target, bias, &weight.1)?;
                    node.inputs[2] = Some(bias);
                }
            }
            changed.push(node.name.clone());
            if matches!(node.op, Op::Gather { .. }) && paired.constants == [0] {
                gather_whole(graph, &node, pairs.levels()).ok_or_else(|| {
                    Error::internal(&node.name, "its table does not fit its shape")
                })?;
                continue;
            }
            for index in &paired.constants {
                if let Some(id) = node.input(*index) {
                    node.inputs[*index] = Some(pairs.constant(graph, id, &node)?);
                }
            }
        }
        // Other readers of a convolution's output take it after its pair, too: its 8-bit kernel has
        // no other output.
        for input in node.inputs.iter_mut().flatten() {
            if outputs.contains(input) {
                *input = pairs.activation(graph, *input)?;
            }
        }
        graph.nodes.push(node);
    }
    Ok(changed)
}

/// The pairs that are there already.
struct Pairs<'a> {
    recipe: &'a Int8Static,
    ranges: &'a Ranges,
    made: HashMap<ValueId, ValueId>,
    weights: HashMap<(ValueId, usize), (ValueId, Vec<f32>)>,
}

impl Pairs<'_> {
    fn levels(&self) -> (Levels, DType) {
        if self.recipe.symmetric {
            (Levels::symmetric(8), DType::I8)
        } else {
            (Levels::unsigned(8), DType::U8)
        }
    }

    fn affine(&self, graph: &Graph, id: ValueId) -> Result<Affine> {
        let name = &graph.value(id).name;
        let (low, high) = self
            .ranges
            .get(name)
            .copied()
            .ok_or_else(|| Error::internal(name, "was not calibrated"))?;
        let (levels, _) = self.levels();
        let fine = Affine::covering(low, high, levels);
        let scale = rounded_up(fine.scale);
        if levels.low < 0 {
            return Ok(Affine { scale, zero: 0 });
        }
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the levels")]
        let zero = (-low.min(0.0) / scale).round_ties_even() as i32;
        Ok(Affine { scale, zero: zero.clamp(levels.low, levels.high) })
    }

    /// The value after its pair, which is made where there is none yet.
    fn activation(&mut self, graph: &mut Graph, id: ValueId) -> Result<ValueId> {
        if let Some(known) = self.made.get(&id) {
            return Ok(*known);
        }
        let affine = self.affine(graph, id)?;
        let (_, dtype) = self.levels();
        let fail = || Error::internal(&graph.value(id).name, "its zero point does not fit");
        let zero = wholes(dtype, Vec::new(), &[affine.zero]).ok_or_else(fail)?;
        let name = graph.value(id).name.clone();
        let own = float_type(graph, id);
        let float = cast(graph, id, DType::F32);
        let scale = Weight::scalar(DType::F32, f64::from(affine.scale));
        let scale = graph.add_constant(&format!("{name}_scale"), scale);
        let zero = graph.add_constant(&format!("{name}_zero_point"), zero);
        let attributes = QuantizeAttributes { axis: 1, block_size: 0, output_dtype: None };
        let op = Op::QuantizeLinear(attributes);
        let whole = emit(graph, &format!("{name}_quantized"), op, &[float, scale, zero]);
        let op = Op::DequantizeLinear { axis: 1, block_size: 0 };
        let back = emit(graph, &format!("{name}_dequantized"), op, &[whole, scale, zero]);
        graph.set_dtype(back, DType::F32);
        let back = cast(graph, back, own);
        self.made.insert(id, back);
        Ok(back)
    }

    /// The weight after its pair, of which only the second half is in the graph, and its scales.
    fn weight(
        &mut self,
        graph: &mut Graph,
        target: &Target,
        node: &Node,
    ) -> Result<(ValueId, Vec<f32>)> {
        let axis = target.channel_axis();
        if let Some(known) = self.weights.get(&(target.weight, axis)) {
            return Ok(known.clone());
        }
        let per_channel = self.recipe.granularity == Granularity::PerChannel;
        let levels = Levels::symmetric(if self.recipe.reduce_range { 7 } else { 8 });
        let kind = (levels, DType::I8);
        let made = stored(graph, target.weight, per_channel.then_some(axis), kind)
            .ok_or_else(|| Error::internal(&node.name, "its weight does not fit its shape"))?;
        self.weights.insert((target.weight, axis), made.clone());
        Ok(made)
    }

    /// Another constant, with one scale, in the activations' type: 8-bit kernels of operators that
    /// meet both take one type.
    fn constant(&mut self, graph: &mut Graph, id: ValueId, node: &Node) -> Result<ValueId> {
        if let Some(known) = self.weights.get(&(id, usize::MAX)) {
            return Ok(known.0);
        }
        let made = stored(graph, id, None, self.levels())
            .ok_or_else(|| Error::internal(&node.name, "its constant does not fit its shape"))?;
        self.weights.insert((id, usize::MAX), made.clone());
        Ok(made.0)
    }

    /// The bias in 32 bits, its scale that of the product: the 8-bit kernels add it before they round.
    fn bias(
        &mut self,
        graph: &mut Graph,
        target: &Target,
        bias: ValueId,
        scales: &[f32],
    ) -> Result<ValueId> {
        let Some(constant) = graph.constant(Some(bias)) else { return Ok(bias) };
        let values = constant.to_f32();
        let own = constant.dtype();
        let alpha = match target.product {
            Product::Gemm { alpha, .. } => alpha,
            _ => 1.0,
        };
        let input = self.affine(graph, target.activation)?.scale;
        let scale_of = |at: usize| {
            let scale = scales.get(at).or(scales.first()).copied().unwrap_or(1.0);
            input * scale * alpha
        };
        // One scale for several channels, or several for one number: left in float, as it is.
        if scales.len() > 1 && values.len() != scales.len() || constant.shape().len() != 1 {
            return Ok(bias);
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and is checked below")]
        let whole: Vec<i32> = values
            .iter()
            .enumerate()
            .map(|(at, v)| (v / scale_of(at)).round_ties_even() as i32)
            .collect();
        if whole.iter().any(|w| *w == i32::MAX || *w == i32::MIN) {
            return Ok(bias);
        }
        let fail = || Error::internal("bias", "does not fit its shape");
        let count = scales.len();
        let scale: Vec<f32> = (0..count).map(scale_of).collect();
        let shape = if count > 1 { vec![count] } else { Vec::new() };
        let scale = Weight::floats(shape.clone(), &scale).ok_or_else(fail)?;
        let whole = wholes(DType::I32, vec![whole.len()], &whole).ok_or_else(fail)?;
        let whole = constant_of(graph, bias, "quantized", whole);
        let scale = constant_of(graph, bias, "scale", scale);
        let zero = wholes(DType::I32, shape, &vec![0; count]).ok_or_else(fail)?;
        let zero = constant_of(graph, bias, "zero_point", zero);
        let back = graph.add_value(&format!("{}_dequantized", graph.value(bias).name), None, None);
        let op = Op::DequantizeLinear { axis: 0, block_size: 0 };
        emit_as(graph, op, &[whole, scale, zero], &[back]);
        graph.set_dtype(back, DType::F32);
        Ok(cast(graph, back, own))
    }
}

/// A constant in whole numbers, made float again in the graph; also its scales.
fn stored(
    graph: &mut Graph,
    id: ValueId,
    axis: Option<usize>,
    (levels, dtype): (Levels, DType),
) -> Option<(ValueId, Vec<f32>)> {
    let weight = graph.constant(Some(id))?;
    let (shape, own) = (weight.shape().to_vec(), weight.dtype());
    let quantised = quantise(&weight.to_f32(), &shape, axis, levels);
    let whole = quantised.weight(dtype, &shape)?;
    let (scales, zeros) =
        (quantised.scales(axis.is_some())?, quantised.zeros(dtype, axis.is_some())?);
    let whole = constant_of(graph, id, "quantized", whole);
    let scale = constant_of(graph, id, "scale", scales);
    let zero = constant_of(graph, id, "zero_point", zeros);
    let wish = format!("{}_dequantized", graph.value(id).name);
    let op = Op::DequantizeLinear { axis: i64::try_from(axis.unwrap_or(0)).ok()?, block_size: 0 };
    let back = emit(graph, &wish, op, &[whole, scale, zero]);
    graph.set_dtype(back, DType::F32);
    let back = cast(graph, back, own);
    Some((back, quantised.affines.iter().map(|a| a.scale).collect()))
}

/// The smallest number of few significant bits that is not below `scale`.
fn rounded_up(scale: f32) -> f32 {
    let step = 1 << (24 - SCALE_BITS);
    let bits = scale.to_bits();
    f32::from_bits(bits.div_ceil(step) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_that_differ_in_their_last_bits_become_one() {
        for scale in [0.013_f32, 1.0, 3.7e-5, 250.0] {
            let rounded = rounded_up(scale);
            assert!(rounded >= scale && rounded <= scale * 1.008, "{scale} became {rounded}");
            assert_eq!(rounded_up(rounded).to_bits(), rounded.to_bits());
        }
        assert_eq!(rounded_up(0.013).to_bits(), rounded_up(0.013 * (1.0 - 3e-7)).to_bits());
    }
}
