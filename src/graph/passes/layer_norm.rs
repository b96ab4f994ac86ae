//! (x − mean) / √(variance + ε) · γ + β over the last axis, written out → `LayerNormalization`.

use super::pattern::{View, everywhere, same_rank};
use crate::graph::Op;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::{Binary, Reduction, Unary};

pub(super) fn apply(graph: &mut Graph) -> usize {
    everywhere(graph, |graph, at| {
        let Some((last, node)) = matched(graph, at) else { return false };
        graph.nodes[last] = node;
        true
    })
}

/// From the node that divides by the deviation: where the result is made, and by what.
fn matched(graph: &Graph, at: usize) -> Option<(usize, Node)> {
    if !matches!(graph.nodes[at].op, Op::Binary(Binary::Div | Binary::Mul)) {
        return None;
    }
    let view = View::of(graph);
    let (x, epsilon, normal) = normalised(&view, &graph.nodes[at])?;
    let width = view.last_size(x)?;
    let vector = |id: ValueId| {
        let weight = graph.constant(Some(id))?;
        (weight.len() == width && weight.shape().last() == Some(&width)).then_some(id)
    };
    // γ must be there: an operator without one would need a constant of ones.
    let (mut last, scaled) = view.only_reader(normal)?;
    let gamma = other(scaled, Binary::Mul, normal).and_then(vector)?;
    let mut output = scaled.output(0)?;
    let mut inputs = vec![Some(x), Some(gamma)];
    if let Some((next, shifted)) = view.only_reader(output)
        && let Some(beta) = other(shifted, Binary::Add, output).and_then(vector)
    {
        (last, output) = (next, shifted.output(0)?);
        inputs.push(Some(beta));
    }
    if inputs[1..].iter().any(|id| graph.constant(*id).is_some_and(|w| w.shape().len() != 1)) {
        return None;
    }
    same_rank(graph, x, output).then_some(())?;
    #[expect(clippy::cast_possible_truncation, reason = "the attribute is a f32")]
    let op = Op::LayerNormalization { axis: -1, epsilon: epsilon as f32 };
    let name = graph.nodes[last].name.clone();
    Some((last, Node { name, op, inputs, outputs: vec![Some(output)], captures: Vec::new() }))
}

/// x, ε and the result, when `node` makes (x − mean) / √(variance + ε).
fn normalised(view: &View<'_>, node: &Node) -> Option<(ValueId, f64, ValueId)> {
    let (centred, deviation) = match &node.op {
        Op::Binary(Binary::Div) => (node.input(0)?, node.input(1)?),
        Op::Binary(Binary::Mul) => {
            let inverse = |id: ValueId| {
                let maker = view.maker(id)?;
                (maker.op == Op::Unary(Unary::Reciprocal)).then(|| maker.input(0)).flatten()
            };
            let (a, b) = (node.input(0)?, node.input(1)?);
            inverse(b).map(|d| (a, d)).or_else(|| inverse(a).map(|d| (b, d)))?
        }
        _ => return None,
    };
    let (x, mean) = view.operands(centred, Binary::Sub)?;
    if mean_of(view, mean)? != x {
        return None;
    }
    let root = view.maker(deviation).filter(|n| n.op == Op::Unary(Unary::Sqrt))?;
    let (variance, epsilon) = view.with_number(root.input(0)?, Binary::Add)?;
    let square = mean_of(view, variance)?;
    let is_square = view.operands(square, Binary::Mul) == Some((centred, centred))
        || view.with_number(square, Binary::Pow) == Some((centred, 2.0));
    is_square.then_some((x, epsilon, node.output(0)?))
}

/// What `id` is the mean of, over the last axis, which is kept.
fn mean_of(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    let node = view.maker(id)?;
    let Op::Reduce { kind: Reduction::Mean, keepdims: true, .. } = node.op else { return None };
    let rank = i64::try_from(view.graph.dims(node.input(0))?.len()).ok()?;
    match view.graph.ints(node.input(1))?[..] {
        [axis] if axis == -1 || axis == rank - 1 => node.input(0),
        _ => None,
    }
}

/// The other input of `node`, when it is of `kind` and takes `one`.
fn other(node: &Node, kind: Binary, one: ValueId) -> Option<ValueId> {
    if node.op != Op::Binary(kind) {
        return None;
    }
    match (node.input(0)?, node.input(1)?) {
        (a, b) if a == one => Some(b),
        (a, b) if b == one => Some(a),
        _ => None,
    }
}
