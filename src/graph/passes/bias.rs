//! x·w + b → `Linear`.

use super::pattern::{View, everywhere, same_rank};
use crate::graph::Op;
use crate::graph::ir::{Graph, Node};
use crate::graph::op::Binary;

pub(super) fn apply(graph: &mut Graph) -> usize {
    everywhere(graph, |graph, at| {
        let Some((next, inputs, bias_shape)) = matched(graph, at) else { return false };
        let mut inputs = inputs;
        if let (Some(shape), Some(bias)) = (bias_shape, inputs[2])
            && let Some(flat) = graph.constant(Some(bias)).and_then(|w| w.reshaped(vec![shape]))
        {
            let title = format!("{}/bias", graph.nodes[at].name);
            inputs[2] = Some(graph.add_constant(&title, flat));
        }
        let node = &mut graph.nodes[next];
        (node.op, node.inputs) = (Op::Linear { activation: None }, inputs);
        true
    })
}

/// The sum after a product, its inputs as a `Linear`, and the bias's length where it must be
/// flattened.
fn matched(
    graph: &Graph,
    at: usize,
) -> Option<(usize, Vec<Option<crate::graph::ValueId>>, Option<usize>)> {
    let node: &Node = &graph.nodes[at];
    let is_matrix = graph.dims(node.input(1)).is_some_and(|d| d.len() == 2);
    let product = node.output(0).filter(|_| node.op == Op::MatMul && is_matrix)?;
    let view = View::of(graph);
    let (next, sum) = view.only_reader(product)?;
    let (a, b) = view.operands(sum.output(0)?, Binary::Add)?;
    let bias = if a == product { b } else { a };
    let weight = graph.constant(Some(bias))?;
    let width = view.last_size(product)?;
    let is_vector = weight.len() == width && weight.shape().last() == Some(&width);
    // A vector as long as the last axis repeats along the others, whatever their sizes.
    if !is_vector || !same_rank(graph, product, sum.output(0)?) {
        return None;
    }
    let flatten = (weight.shape().len() != 1).then_some(width);
    Some((next, vec![node.input(0), node.input(1), Some(bias)], flatten))
}
