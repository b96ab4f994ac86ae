//! Operators on constants: what the pass *fold* computes once instead of every engine every time.
//!
//! Layout is moved as bytes, whatever the type; numbers are computed in the widest type of their
//! kind and rounded once, so a folded f32 is as near to the exact value as can be.

mod layout;
mod numbers;

use super::ir::{Graph, Node};
use super::op::Op;
use super::{Weight, dim};
use crate::variant::DType;

/// The outputs of a node whose inputs are all constants; `None` when it is not computed here.
///
/// Shapes and types are those that were inferred: nothing of another size is ever made.
pub(super) fn evaluate(graph: &Graph, node: &Node) -> Option<Vec<Weight>> {
    let constants: Vec<Option<&Weight>> =
        node.inputs.iter().map(|id| graph.constant(*id)).collect();
    if node.inputs.iter().zip(&constants).any(|(id, weight)| id.is_some() && weight.is_none()) {
        return None;
    }
    let output = |index: usize| -> Option<(DType, Vec<usize>)> {
        let value = graph.value(node.output(index)?);
        let (dtype, shape) = (value.dtype?, dim::fixed(value.dims.as_deref()?)?);
        Some((dtype, shape))
    };
    let (dtype, shape) = output(0)?;
    let input = |index: usize| constants.get(index).copied().flatten();
    if shape.contains(&0) {
        return Some(vec![Weight::new(dtype, shape, bytes::Bytes::new())?]);
    }
    let first = input(0);
    let one = |weight: Option<Weight>| weight.map(|w| vec![w]);
    let of_bytes = |at: Option<Vec<usize>>| one(layout::picked(first?, &shape, &at?));
    match &node.op {
        Op::Identity | Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => {
            one(first?.reshaped(shape))
        }
        Op::Cast { .. } | Op::CastLike => one(numbers::cast(first?, dtype, shape)),
        Op::Shape { .. } | Op::Size => {
            let elements = graph.elements(node.output(0)?)?;
            let ints: Option<Vec<i64>> = elements.iter().map(super::Element::int).collect();
            one(Weight::ints(&ints?).reshaped(shape))
        }
        Op::Transpose { perm } => of_bytes(layout::transposed(first?.shape(), perm)),
        Op::Expand => of_bytes(layout::expanded(first?.shape(), &shape)),
        Op::Slice => of_bytes(layout::sliced(graph, node, first?.shape())),
        Op::Gather { axis } => of_bytes(layout::gathered(first?.shape(), *axis, input(1)?)),
        Op::Concat { axis } => {
            let parts: Option<Vec<&Weight>> = constants.iter().copied().collect();
            one(layout::joined(&parts?, *axis, dtype, shape))
        }
        Op::ConstantOfShape { value } => one(layout::filled(value, &shape)),
        Op::Range
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Variadic(_)
        | Op::Where
        | Op::Clip
        | Op::Reduce { .. } => {
            let all: Option<Vec<&Weight>> = constants.iter().copied().collect();
            one(numbers::compute(&node.op, &all?, dtype, shape))
        }
        _ => None,
    }
}

pub(super) use self::layout::{picked, transposed};
