//! What follows a `Conv`, `Gemm`, `Linear` or `MatMul` by a matrix → its activation.

use super::pattern::{View, everywhere};
use crate::graph::Op;
use crate::graph::ir::{Graph, Node};
use crate::graph::op::{Activation, Unary};

pub(super) fn apply(graph: &mut Graph) -> usize {
    everywhere(graph, |graph, at| {
        let Some((next, op)) = matched(graph, at) else { return false };
        let inputs = graph.nodes[at].inputs.clone();
        let node = &mut graph.nodes[next];
        (node.op, node.inputs) = (op, inputs);
        true
    })
}

fn matched(graph: &Graph, at: usize) -> Option<(usize, Op)> {
    let node = &graph.nodes[at];
    let can = matches!(
        node.op,
        Op::Conv { activation: None, .. }
            | Op::Gemm { activation: None, .. }
            | Op::Linear { activation: None }
            | Op::MatMul
    );
    if !can {
        return None;
    }
    let view = View::of(graph);
    let (next, after) = view.only_reader(node.output(0)?)?;
    let activation = Some(activation(graph, after)?);
    let op = match node.op.clone() {
        Op::Conv { conv, .. } => Op::Conv { conv, activation },
        Op::Gemm { alpha, beta, trans_a, trans_b, .. } => {
            Op::Gemm { alpha, beta, trans_a, trans_b, activation }
        }
        Op::Linear { .. } => Op::Linear { activation },
        Op::MatMul if graph.dims(node.input(1))?.len() == 2 => Op::Linear { activation },
        _ => return None,
    };
    Some((next, op))
}

fn activation(graph: &Graph, node: &Node) -> Option<Activation> {
    match &node.op {
        Op::Unary(Unary::Relu) => Some(Activation::Relu),
        Op::Unary(Unary::Sigmoid) => Some(Activation::Sigmoid),
        Op::Unary(Unary::Tanh) => Some(Activation::Tanh),
        Op::Unary(Unary::HardSwish) => Some(Activation::HardSwish),
        Op::Gelu { tanh } => Some(Activation::Gelu { tanh: *tanh }),
        Op::LeakyRelu { alpha } => Some(Activation::LeakyRelu { alpha: *alpha }),
        Op::Clip => {
            #[expect(clippy::cast_possible_truncation, reason = "constants of the model are f32")]
            let number = |index: usize| graph.number(node.input(index)).map(|n| n as f32);
            Some(Activation::Clip { min: number(1)?, max: number(2)? })
        }
        _ => None,
    }
}
