//! `int8-dynamic`: weights of 8 bits; activations become 8 bits at run time, each tensor with the
//! scale that it needs then.
//!
//! The form is the one that ONNX Runtime fuses: `DynamicQuantizeLinear`, `MatMulInteger` or
//! `ConvInteger`, `Cast`, and a `Mul` with both scales.

use std::collections::{BTreeSet, HashMap};

use super::integer::{Affine, Levels, Quantised, quantise, wholes};
use super::rewrite::{cast, constant_of, emit, emit_as, float_type, gather_whole};
use super::target::{Product, Target};
use crate::error::{Error, Result};
use crate::graph::op::Binary;
use crate::graph::{Graph, Node, Op, ValueId, Weight};
use crate::variant::{DType, Granularity, Int8Dynamic};

/// An activation in whole numbers, with its scale and zero point.
#[derive(Clone, Copy)]
struct Activation {
    whole: ValueId,
    scale: ValueId,
    zero: ValueId,
}

/// A weight in whole numbers, with its scales and zero points.
#[derive(Clone, Copy)]
struct Stored {
    whole: ValueId,
    scale: ValueId,
    zero: ValueId,
}

/// Rewrites all products but those in `keep`; the names of the nodes that were.
pub(super) fn apply(
    graph: &mut Graph,
    recipe: Int8Dynamic,
    keep: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    let mut activations: HashMap<ValueId, Activation> = HashMap::new();
    let mut weights: HashMap<ValueId, Stored> = HashMap::new();
    for node in std::mem::take(&mut graph.nodes) {
        if keep.contains(&node.name) {
            graph.nodes.push(node);
            continue;
        }
        if recipe.embeddings && is_embedding(graph, &node) {
            embedding(graph, &node, recipe)?;
            changed.push(node.name.clone());
            continue;
        }
        let target = Target::of(graph, &node).filter(|t| recipe.conv || !t.is_conv());
        let (Some(target), Some(output)) = (target, node.output(0)) else {
            graph.nodes.push(node);
            continue;
        };
        let activation = if let Some(known) = activations.get(&target.activation) {
            *known
        } else {
            let made = quantised_at_run_time(graph, target.activation);
            activations.insert(target.activation, made);
            made
        };
        // A Gemm turns and scales its weight: what it stores is its own.
        let is_plain = !matches!(target.product, Product::Gemm { .. });
        let weight = if let Some(known) = weights.get(&target.weight).filter(|_| is_plain) {
            *known
        } else {
            let made = stored(graph, &target, recipe)
                .ok_or_else(|| Error::internal(&node.name, "its weight does not fit its shape"))?;
            if is_plain {
                weights.insert(target.weight, made);
            }
            made
        };
        product(graph, &target, activation, weight, output);
        changed.push(node.name.clone());
    }
    Ok(changed)
}

fn quantised_at_run_time(graph: &mut Graph, id: ValueId) -> Activation {
    let name = graph.value(id).name.clone();
    let float = cast(graph, id, DType::F32);
    let whole = graph.add_value(&format!("{name}_quantized"), None, None);
    let scale = graph.add_value(&format!("{name}_scale"), None, None);
    let zero = graph.add_value(&format!("{name}_zero_point"), None, None);
    emit_as(graph, Op::DynamicQuantizeLinear, &[float], &[whole, scale, zero]);
    Activation { whole, scale, zero }
}

fn levels(recipe: Int8Dynamic) -> (Levels, DType) {
    let bits = if recipe.reduce_range { 7 } else { 8 };
    if recipe.asymmetric {
        (Levels::unsigned(bits), DType::U8)
    } else {
        (Levels::symmetric(bits), DType::I8)
    }
}

/// Adds the weight as constants of whole numbers, scales and zero points.
fn stored(graph: &mut Graph, target: &Target, recipe: Int8Dynamic) -> Option<Stored> {
    let (levels, dtype) = levels(recipe);
    // ONNX Runtime's `ConvInteger` takes one zero point: channels of their own need none at all.
    let may_differ = !target.is_conv() || !recipe.asymmetric;
    let per_channel = recipe.granularity == Granularity::PerChannel && may_differ;
    let (shape, axis, quantised): (Vec<usize>, usize, Quantised) =
        if let Some(matrix) = target.matrix(graph) {
            let shape = vec![matrix.k, matrix.n];
            let quantised = quantise(&matrix.values, &shape, per_channel.then_some(1), levels);
            (shape, 1, quantised)
        } else {
            let weight = graph.constant(Some(target.weight))?;
            let shape = weight.shape().to_vec();
            let quantised = quantise(&weight.to_f32(), &shape, per_channel.then_some(0), levels);
            (shape, 0, quantised)
        };
    let scales = quantised.scales(per_channel)?;
    // Of a convolution the channels are axis 1 of the output: scales are shaped to be multiplied.
    let scales = if target.is_conv() && per_channel {
        let mut dims = vec![1; shape.len()];
        dims[1] = shape[axis];
        scales.reshaped(dims)?
    } else {
        scales
    };
    let whole = quantised.weight(dtype, &shape)?;
    let zero = if target.is_conv() {
        wholes(dtype, Vec::new(), &[quantised.affines.first()?.zero])?
    } else {
        quantised.zeros(dtype, per_channel)?
    };
    Some(Stored {
        whole: constant_of(graph, target.weight, "quantized", whole),
        scale: constant_of(graph, target.weight, "scale", scales),
        zero: constant_of(graph, target.weight, "zero_point", zero),
    })
}

/// The product in whole numbers, brought back to floats, with the bias added.
fn product(graph: &mut Graph, target: &Target, a: Activation, w: Stored, output: ValueId) {
    let title = graph.value(output).name.clone();
    let dtype = float_type(graph, target.activation);
    let op = match &target.product {
        Product::Conv(conv) => Op::ConvInteger(conv.clone()),
        _ => Op::MatMulInteger,
    };
    let whole = emit(graph, &format!("{title}_int32"), op, &[a.whole, w.whole, a.zero, w.zero]);
    let float = emit(graph, &format!("{title}_float"), Op::Cast { to: DType::F32 }, &[whole]);
    let scales =
        emit(graph, &format!("{title}_scales"), Op::Binary(Binary::Mul), &[a.scale, w.scale]);
    let is_last = target.bias.is_none() && dtype == DType::F32;
    if is_last {
        emit_as(graph, Op::Binary(Binary::Mul), &[float, scales], &[output]);
        return;
    }
    let mut value =
        emit(graph, &format!("{title}_scaled"), Op::Binary(Binary::Mul), &[float, scales]);
    if dtype != DType::F32 {
        value = emit(graph, &format!("{title}_{dtype}"), Op::Cast { to: dtype }, &[value]);
    }
    match target.bias {
        None => emit_as(graph, Op::Identity, &[value], &[output]),
        Some(bias) => {
            let bias = if target.is_conv() { as_channels(graph, bias, target) } else { bias };
            emit_as(graph, Op::Binary(Binary::Add), &[value, bias], &[output]);
        }
    }
}

/// The bias of a convolution, shaped so that it is added to each channel.
fn as_channels(graph: &mut Graph, bias: ValueId, target: &Target) -> ValueId {
    let rank = graph.constant(Some(target.weight)).map_or(3, |w| w.shape().len());
    let mut dims = vec![1_i64; rank];
    dims[1] = -1;
    let name = graph.value(bias).name.clone();
    let shape = graph.add_constant(&format!("{name}_shape"), Weight::ints(&dims));
    emit(graph, &format!("{name}_channels"), Op::Reshape { allowzero: false }, &[bias, shape])
}

/// Whether a node looks rows up in a constant table of floats.
fn is_embedding(graph: &Graph, node: &Node) -> bool {
    matches!(node.op, Op::Gather { axis: 0 | -2 })
        && graph
            .constant(node.input(0))
            .is_some_and(|table| table.dtype().is_float() && table.shape().len() == 2)
}

/// The table in whole numbers, a scale for each row; what is looked up becomes float again.
///
/// Scales are stored in 16 bits: they are as many as the table has rows.
fn embedding(graph: &mut Graph, node: &Node, recipe: Int8Dynamic) -> Result<()> {
    let fail = || Error::internal(&node.name, "its table does not fit its shape");
    if recipe.granularity == Granularity::PerTensor || recipe.asymmetric {
        return gather_whole(graph, node, levels(recipe)).ok_or_else(fail);
    }
    let (Some(id), Some(indices), Some(output)) = (node.input(0), node.input(1), node.output(0))
    else {
        return Err(fail());
    };
    let table = graph.constant(Some(id)).ok_or_else(fail)?;
    let (shape, own, values) = (table.shape().to_vec(), table.dtype(), table.to_f32());
    let title = graph.value(output).name.clone();
    let (levels, dtype) = levels(recipe);
    let width = shape[1].max(1);
    let mut scales = Vec::with_capacity(shape[0]);
    let mut rounded = Vec::with_capacity(values.len());
    for row in values.chunks(width) {
        let largest = row.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        let fine = Affine::covering(-largest, largest, levels).scale;
        let half = half::f16::from_f32(fine);
        // The next one up where rounding went down: nothing is cut.
        let half =
            if half.to_f32() < fine { half::f16::from_bits(half.to_bits() + 1) } else { half };
        let affine = Affine { scale: half.to_f32(), zero: 0 };
        rounded.extend(row.iter().map(|v| affine.whole(*v, levels)));
        scales.push(half);
    }
    let bytes: Vec<u8> = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
    let scales = Weight::new(DType::F16, vec![shape[0], 1], bytes.into()).ok_or_else(fail)?;
    let whole = wholes(dtype, shape, &rounded).ok_or_else(fail)?;
    let whole = constant_of(graph, id, "quantized", whole);
    let scales = constant_of(graph, id, "scale", scales);
    let rows = emit(graph, &format!("{title}_quantized"), node.op.clone(), &[whole, indices]);
    let scale = emit(graph, &format!("{title}_scale"), node.op.clone(), &[scales, indices]);
    let rows = emit(graph, &format!("{title}_rows"), Op::Cast { to: own }, &[rows]);
    let scale = emit(graph, &format!("{title}_scales"), Op::Cast { to: own }, &[scale]);
    emit_as(graph, Op::Binary(Binary::Mul), &[rows, scale], &[output]);
    Ok(())
}
