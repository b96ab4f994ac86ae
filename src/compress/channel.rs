//! `int4-channel` and its like: weights of few bits, a scale for each output channel, made float
//! again by a `DequantizeLinear` in the graph; nothing else changes.

use std::collections::{BTreeSet, HashMap};

use super::integer::{Levels, quantise};
use super::rewrite::{cast, constant_of, emit, float_type};
use super::target::Target;
use crate::error::{Error, Result};
use crate::graph::{Graph, Op, ValueId};
use crate::variant::{Channel, DType};

/// Rewrites the weights of all products but those in `keep`; the names of the nodes that were.
///
/// Weights of up to 4 bits are stored in 4, others in 8: fewer bits mean fewer levels, not always a
/// smaller file.
pub(super) fn apply(
    graph: &mut Graph,
    recipe: Channel,
    keep: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    let mut made: HashMap<(ValueId, usize), ValueId> = HashMap::new();
    let levels = Levels::symmetric(recipe.bits);
    let stored = if recipe.bits <= 4 { DType::I4 } else { DType::I8 };
    for mut node in std::mem::take(&mut graph.nodes) {
        if let Some(target) = Target::of(graph, &node).filter(|_| !keep.contains(&node.name)) {
            let axis = target.channel_axis();
            let floats = if let Some(known) = made.get(&(target.weight, axis)) {
                *known
            } else {
                let fail = || Error::internal(&node.name, "its weight does not fit its shape");
                let weight = graph.constant(Some(target.weight)).ok_or_else(fail)?;
                let shape = weight.shape().to_vec();
                let quantised = quantise(&weight.to_f32(), &shape, Some(axis), levels);
                let whole = quantised.weight(stored, &shape).ok_or_else(fail)?;
                let scales = quantised.scales(true).ok_or_else(fail)?;
                let own = float_type(graph, target.weight);
                let whole = constant_of(graph, target.weight, "quantized", whole);
                let scales = constant_of(graph, target.weight, "scale", scales);
                let wish = format!("{}_dequantized", graph.value(target.weight).name);
                let axis_attribute = i64::try_from(axis).unwrap_or(0);
                let op = Op::DequantizeLinear { axis: axis_attribute, block_size: 0 };
                let floats = emit(graph, &wish, op, &[whole, scales]);
                graph.set_dtype(floats, DType::F32);
                let floats = cast(graph, floats, own);
                made.insert((target.weight, axis), floats);
                floats
            };
            node.inputs[1] = Some(floats);
            changed.push(node.name.clone());
        }
        graph.nodes.push(node);
    }
    Ok(changed)
}
