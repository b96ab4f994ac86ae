//! Products that a stage left in float although they have weights: a file that is larger or slower than
//! its recipe promises should say why.

use std::collections::BTreeSet;

use super::target::Target;
use crate::graph::{Graph, Node, Op};
use crate::variant::{DType, Stage};

/// Nodes of `graph` with constant weights that `stage` did not change, and why, in the graph's order.
pub(super) fn out(graph: &Graph, stage: &Stage, changed: &[String]) -> Vec<(String, String)> {
    let changed: BTreeSet<&str> = changed.iter().map(String::as_str).collect();
    let left = graph.nodes.iter().filter(|node| !changed.contains(node.name.as_str()));
    left.filter_map(|node| Some((node.name.clone(), reason(graph, node, stage)?))).collect()
}

/// A few of `left` in one sentence; empty when there are none.
pub(super) fn sentence(left: &[(String, String)]) -> String {
    let Some((node, reason)) = left.first() else { return String::new() };
    match left.len() - 1 {
        0 => format!(": `{node}` stays in float: {reason}"),
        more => format!(": `{node}` stays in float: {reason}; {more} more stay in float"),
    }
}

fn reason(graph: &Graph, node: &Node, stage: &Stage) -> Option<String> {
    if let Some(target) = Target::of(graph, node) {
        let base = if let Stage::Mixed(mixed) = stage { &mixed.base } else { stage };
        return match base {
            Stage::Blocks(_) if target.is_conv() => {
                Some("MatMulNBits multiplies matrices only".to_owned())
            }
            Stage::Int8Dynamic(_) if target.is_conv() => {
                Some("convolutions are taken with -conv".to_owned())
            }
            _ => None,
        };
    }
    let weight = |at: usize| graph.constant(node.input(at)).filter(|w| w.dtype().is_float());
    let rank = |at: usize| weight(at).map_or(0, |w| w.shape().len());
    let reason = match &node.op {
        Op::MatMul | Op::Gemm { .. } if rank(0) >= 2 && weight(1).is_none() => {
            "its constant is on the left".to_owned()
        }
        Op::MatMul | Op::Gemm { .. } if rank(1) < 2 => return None,
        Op::Conv { .. } if rank(1) < 3 => return None,
        Op::MatMul | Op::Gemm { .. } | Op::Conv { .. }
            if weight(1).is_some_and(|w| w.dtype() == DType::F64) =>
        {
            "its weight is f64".to_owned()
        }
        Op::MatMul => format!("its weight has {} axes", rank(1)),
        Op::Gemm { trans_a: true, .. } => "it transposes what comes in (transA)".to_owned(),
        Op::Gemm { activation: Some(_), .. } | Op::Conv { activation: Some(_), .. } => {
            "an activation is fused into it".to_owned()
        }
        Op::Gemm { .. } => "beta scales what is added, and that is no constant".to_owned(),
        _ => return None,
    };
    Some(reason)
}
