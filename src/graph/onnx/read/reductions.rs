//! Operators over axes.

use super::{Lower, Reason, layout};
use crate::graph::Op;
use crate::graph::op::Reduction;

pub(super) fn read(node: &mut Lower<'_>, name: &str) -> Result<Option<Op>, Reason> {
    if let Some(kind) = Reduction::from_name(name) {
        layout::axes(node, if kind == Reduction::Sum { 13 } else { 18 })?;
        let a = &node.attributes;
        return Ok(Some(Op::Reduce {
            kind,
            keepdims: a.flag("keepdims", true)?,
            noop_with_empty_axes: a.flag("noop_with_empty_axes", false)?,
        }));
    }
    let a = &node.attributes;
    Ok(Some(match name {
        "ArgMax" | "ArgMin" => {
            let (axis, keepdims) = (a.int_or("axis", 0)?, a.flag("keepdims", true)?);
            let select_last_index = a.flag("select_last_index", false)?;
            match name {
                "ArgMax" => Op::ArgMax { axis, keepdims, select_last_index },
                _ => Op::ArgMin { axis, keepdims, select_last_index },
            }
        }
        "Softmax" => softmax(node, |axis| Op::Softmax { axis })?,
        "LogSoftmax" => softmax(node, |axis| Op::LogSoftmax { axis })?,
        _ => return Ok(None),
    }))
}

/// Before opset 13 everything from `axis` on is one axis.
fn softmax(node: &mut Lower<'_>, op: impl Fn(i64) -> Op) -> Result<Op, Reason> {
    if node.since >= 13 {
        return Ok(op(node.attributes.int_or("axis", -1)?));
    }
    let axis = node.attributes.int_or("axis", 1)?;
    let input = node.input(0)?;
    let rank = node.graph.dims(Some(input)).map(<[_]>::len);
    let last = rank.and_then(|rank| i64::try_from(rank).ok()).map(|rank| rank - 1);
    if axis == -1 || Some(axis) == last {
        return Ok(op(-1));
    }
    let shape = node.first("shape", Op::Shape { start: 0, end: None }, &[input]);
    let flat = node.first("flat", Op::Flatten { axis }, &[input]);
    node.inputs[0] = Some(flat);
    node.then("unflattened", Op::Reshape { allowzero: true }, &[shape])?;
    Ok(op(-1))
}
