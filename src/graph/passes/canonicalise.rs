//! One way to say what can be said in several, and nothing that does nothing.

use super::pattern::same_dims;
use crate::graph::dim::Dim;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::{Binary, Variadic};
use crate::graph::shape::broadcast_of;
use crate::graph::uses::Uses;
use crate::graph::{Element, Op};

pub(super) fn apply(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for at in 0..graph.nodes.len() {
        if let Some(node) = simpler(graph, &graph.nodes[at]) {
            graph.nodes[at] = node;
            changes += 1;
        }
    }
    changes + without_identities(graph)
}

/// The node said in the usual way; `None` when it is.
fn simpler(graph: &Graph, node: &Node) -> Option<Node> {
    let with = |op: Op, inputs: Vec<Option<ValueId>>| Some(Node { op, inputs, ..node.clone() });
    let identity = || with(Op::Identity, vec![node.input(0)]);
    if node.op != Op::Identity && does_nothing(graph, node) {
        return identity();
    }
    match &node.op {
        Op::CastLike => {
            let to = graph.value(node.input(1)?).dtype?;
            with(Op::Cast { to }, vec![node.input(0)])
        }
        Op::Variadic(_) | Op::Concat { .. } if node.inputs.len() == 1 => identity(),
        Op::Variadic(Variadic::Sum) if node.inputs.len() == 2 => {
            with(Op::Binary(Binary::Add), node.inputs.clone())
        }
        Op::Binary(kind) => {
            let (a, b) = (node.input(0)?, node.input(1)?);
            let is_constant = |id| graph.constant(Some(id)).is_some();
            if kind.is_commutative() && is_constant(a) && !is_constant(b) {
                return with(node.op.clone(), vec![Some(b), Some(a)]);
            }
            if let Some(other) = neutral(graph, *kind, a, b)
                && same_dims(graph, other, node.output(0)?)
            {
                return with(Op::Identity, vec![Some(other)]);
            }
            // `PRelu` broadcasts its second input only: the first one must have the whole size.
            if *kind == Binary::PRelu { None } else { unexpanded(graph, node) }
        }
        Op::Transpose { perm } => {
            let inner = maker(graph, node.input(0)?)?;
            let Op::Transpose { perm: first } = &inner.op else { return None };
            let rank = graph.dims(inner.input(0))?.len();
            let full = |perm: &[usize]| -> Vec<usize> {
                if perm.is_empty() { (0..rank).rev().collect() } else { perm.to_vec() }
            };
            let (first, second) = (full(first), full(perm));
            let both =
                second.iter().map(|axis| first.get(*axis).copied()).collect::<Option<_>>()?;
            with(Op::Transpose { perm: both }, vec![inner.input(0)])
        }
        Op::Reshape { .. } => {
            let inner = maker(graph, node.input(0)?)?;
            let moves_nothing = matches!(
                inner.op,
                Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze
            );
            let target = graph.elements(node.input(1)?)?;
            // A 0 would copy an axis of another input.
            let copies = target.iter().any(|e| !matches!(e, Element::Int(n) if *n != 0));
            (moves_nothing && !copies).then_some(())?;
            with(node.op.clone(), vec![inner.input(0), node.input(1)])
        }
        _ => None,
    }
}

fn maker(graph: &Graph, id: ValueId) -> Option<&Node> {
    graph.nodes.iter().find(|n| n.outputs.contains(&Some(id)))
}

/// Whether the output is the input.
fn does_nothing(graph: &Graph, node: &Node) -> bool {
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return false };
    match &node.op {
        Op::Cast { to } => graph.value(input).dtype == Some(*to),
        Op::Transpose { perm } => {
            !perm.is_empty() && perm.iter().enumerate().all(|(at, axis)| at == *axis)
        }
        Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Expand
        | Op::Tile => same_dims(graph, input, output),
        // Steps of −1 keep the size and turn the order round.
        Op::Slice => {
            let steps =
                if node.input(4).is_some() { graph.ints(node.input(4)) } else { Some(vec![]) };
            same_dims(graph, input, output)
                && steps.is_some_and(|s| s.iter().all(|step| *step == 1))
        }
        Op::Pad { .. } => {
            graph.ints(node.input(1)).is_some_and(|pads| pads.iter().all(|p| *p == 0))
        }
        _ => false,
    }
}

/// The operand that is the result, when the other one is 0 of a sum or 1 of a product.
fn neutral(graph: &Graph, kind: Binary, a: ValueId, b: ValueId) -> Option<ValueId> {
    let number = graph.number(Some(b))?;
    let nothing = match kind {
        Binary::Add | Binary::Sub => number == 0.0,
        Binary::Mul | Binary::Div => (number - 1.0).abs() < f64::EPSILON,
        _ => false,
    };
    (nothing && graph.value(a).dtype == graph.value(b).dtype).then_some(a)
}

/// Operands of which the operator itself would make the size that `Expand` makes.
fn unexpanded(graph: &Graph, node: &Node) -> Option<Node> {
    let whole = graph.dims(node.output(0))?;
    if whole.contains(&Dim::Unknown) {
        return None;
    }
    let mut inputs = node.inputs.clone();
    let mut changed = false;
    for at in 0..inputs.len() {
        let Some(inner) = maker(graph, inputs[at]?).filter(|n| n.op == Op::Expand) else {
            continue;
        };
        let mut without = inputs.clone();
        without[at] = inner.input(0);
        let dims: Option<Vec<&[Dim]>> = without.iter().map(|id| graph.dims(*id)).collect();
        if broadcast_of(&dims?).as_deref() == Some(whole) {
            inputs = without;
            changed = true;
        }
    }
    changed.then(|| Node { inputs, ..node.clone() })
}

/// Readers of an identity read its input instead.
fn without_identities(graph: &mut Graph) -> usize {
    let mut changes = 0;
    for at in 0..graph.nodes.len() {
        if graph.nodes[at].op != Op::Identity {
            continue;
        }
        let (Some(input), Some(output)) = (graph.nodes[at].input(0), graph.nodes[at].output(0))
        else {
            continue;
        };
        let uses = Uses::of(graph);
        if !uses.is_pinned(output) {
            if uses.is_used(output) {
                read_instead(graph, output, input);
                changes += 1;
            }
            continue;
        }
        // The output's name is known outside: whoever makes the input makes it instead.
        let Some(made_by) = uses.producer(input).filter(|_| !uses.is_pinned(input)) else {
            continue;
        };
        for slot in graph.nodes[made_by].outputs.iter_mut().filter(|slot| **slot == Some(input)) {
            *slot = Some(output);
        }
        graph.nodes[at].outputs[0] = Some(input);
        graph.nodes[at].inputs[0] = Some(output);
        // Between the two places nothing else may read the input any more.
        read_instead(graph, input, output);
        let (dtype, dims) = (graph.value(input).dtype, graph.value(input).dims.clone());
        let elements = graph.value(input).elements.clone();
        let value = graph.value_mut(output);
        value.dtype = value.dtype.or(dtype);
        value.dims = value.dims.take().or(dims);
        value.elements = value.elements.take().or(elements);
        changes += 1;
    }
    changes
}

/// Every node that reads `old` reads `new`.
fn read_instead(graph: &mut Graph, old: ValueId, new: ValueId) {
    for node in &mut graph.nodes {
        for input in node.inputs.iter_mut().filter(|input| **input == Some(old)) {
            *input = Some(new);
        }
    }
}
