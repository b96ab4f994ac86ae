//! What multiplies or shifts each channel after a `Conv` → its weights and bias.

use super::pattern::View;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::Binary;
use crate::graph::{Numbers, Op, Weight};

pub(super) fn apply(graph: &mut Graph) -> usize {
    let mut changes = 0;
    let mut at = 0;
    while at < graph.nodes.len() {
        // One after the other: batch norms are often written as three nodes.
        while let Some((next, weight, bias)) = matched(graph, at) {
            let title = graph.nodes[at].name.clone();
            let weight = graph.add_constant(&format!("{title}/weight"), weight);
            let bias = graph.add_constant(&format!("{title}/bias"), bias);
            let (x, output) = (graph.nodes[at].inputs[0], graph.nodes[next].outputs.clone());
            graph.nodes[at].inputs = vec![x, Some(weight), Some(bias)];
            graph.nodes[at].outputs = output;
            graph.nodes.remove(next);
            changes += 1;
        }
        at += 1;
    }
    changes
}

/// The next node, and the weights and bias that do its work too.
fn matched(graph: &Graph, at: usize) -> Option<(usize, Weight, Weight)> {
    let node = &graph.nodes[at];
    let Op::Conv { activation: None, .. } = node.op else { return None };
    let weight = graph.constant(node.input(1)).filter(|w| !w.is_empty())?;
    let bias = match node.input(2) {
        None => vec![0.0; *weight.shape().first()?],
        Some(id) => graph.constant(Some(id))?.to_f64(),
    };
    let view = View::of(graph);
    let (next, after) = view.only_reader(node.output(0)?)?;
    let channels = *weight.shape().first()?;
    let (scale, shift) = affine(graph, after, node.output(0)?, channels, weight.shape().len())?;
    let row = weight.len() / channels.max(1);
    if !weight.dtype().is_float() || row == 0 {
        return None;
    }
    let weights = weight.to_f64();
    let scaled = weights
        .chunks(row)
        .zip(&scale)
        .flat_map(|(row, s)| row.iter().map(move |w| w * s).collect::<Vec<f64>>());
    let scaled = Numbers::Floats(scaled.collect());
    let shifted = bias.iter().zip(&scale).zip(&shift).map(|((b, s), t)| b * s + t);
    let shifted = Numbers::Floats(shifted.collect());
    Some((
        next,
        Weight::from_numbers(weight.dtype(), weight.shape().to_vec(), &scaled)?,
        Weight::from_numbers(weight.dtype(), vec![channels], &shifted)?,
    ))
}

/// What `node` multiplies each channel of `x` by, and adds to it.
fn affine(
    graph: &Graph,
    node: &Node,
    x: ValueId,
    channels: usize,
    rank: usize,
) -> Option<(Vec<f64>, Vec<f64>)> {
    match &node.op {
        Op::BatchNormalization { epsilon } if node.input(0) == Some(x) => {
            let vector = |index: usize| {
                graph
                    .constant(node.input(index))
                    .map(Weight::to_f64)
                    .filter(|v| v.len() == channels)
            };
            let (gamma, beta, mean, variance) = (vector(1)?, vector(2)?, vector(3)?, vector(4)?);
            let epsilon = f64::from(*epsilon);
            let scale: Vec<f64> =
                gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
            let shift = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
            Some((scale, shift))
        }
        Op::Binary(kind @ (Binary::Mul | Binary::Add)) => {
            let other = if node.input(0) == Some(x) { node.input(1)? } else { node.input(0)? };
            let vector = per_channel(graph.constant(Some(other))?, channels, rank)?;
            Some(match kind {
                Binary::Mul => (vector, vec![0.0; channels]),
                _ => (vec![1.0; channels], vector),
            })
        }
        _ => None,
    }
}

/// A constant that is broadcast to one number a channel; axis 1 of `rank` axes.
fn per_channel(weight: &Weight, channels: usize, rank: usize) -> Option<Vec<f64>> {
    if weight.len() == 1 && weight.shape().len() <= rank {
        return Some(vec![weight.single()?; channels]);
    }
    let own = weight.shape();
    let axis = own.len().checked_sub(rank - 1)?;
    let fits = own.len() <= rank
        && own.iter().enumerate().all(|(at, size)| *size == if at == axis { channels } else { 1 });
    fits.then(|| weight.to_f64())
}
