//! Adding nodes to a graph while its old ones are gone through in order.

use std::collections::BTreeSet;

use super::integer::{Levels, quantise};
use crate::graph::{Graph, Node, Op, ValueId, Weight};
use crate::variant::DType;

/// Adds a node at the end; its one output is called `wish`, or like it.
pub(super) fn emit(graph: &mut Graph, wish: &str, op: Op, inputs: &[ValueId]) -> ValueId {
    let output = graph.add_value(wish, None, None);
    emit_as(graph, op, inputs, &[output]);
    output
}

/// Adds a node at the end that gives `outputs`, called after the first of them.
pub(super) fn emit_as(graph: &mut Graph, op: Op, inputs: &[ValueId], outputs: &[ValueId]) {
    let first = outputs.first().map(|id| graph.value(*id).name.clone()).unwrap_or_default();
    let name = format!("{first}/{}", op.name());
    graph.nodes.push(Node {
        name,
        op,
        inputs: inputs.iter().copied().map(Some).collect(),
        outputs: outputs.iter().copied().map(Some).collect(),
        captures: Vec::new(),
    });
}

/// Gives every node a name of its own; the first that has one keeps it, and one of `known` always.
pub(super) fn name_apart(graph: &mut Graph, known: &BTreeSet<String>) {
    let mut taken: BTreeSet<String> = known.clone();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for node in &mut graph.nodes {
        if known.contains(&node.name) && kept.insert(node.name.clone()) {
            continue;
        }
        let wish = node.name.clone();
        let mut n = 1;
        while !taken.insert(node.name.clone()) {
            node.name = format!("{wish}_{n}");
            n += 1;
        }
    }
}

/// The value in `dtype`: itself, or what a `Cast` at the end makes of it.
pub(super) fn cast(graph: &mut Graph, id: ValueId, dtype: DType) -> ValueId {
    if graph.value(id).dtype.is_none_or(|own| own == dtype) {
        return id;
    }
    let wish = format!("{}/{dtype}", graph.value(id).name);
    let cast = emit(graph, &wish, Op::Cast { to: dtype }, &[id]);
    graph.set_dtype(cast, dtype);
    cast
}

/// Looks rows up in a table of whole numbers with one scale, and makes only those float again: a pair on
/// the table itself would be worked off for all of it, every time. `None` when the node has no constant
/// table.
pub(super) fn gather_whole(
    graph: &mut Graph,
    node: &Node,
    (levels, dtype): (Levels, DType),
) -> Option<()> {
    let (table, indices, output) = (node.input(0)?, node.input(1)?, node.output(0)?);
    let weight = graph.constant(Some(table))?;
    let (shape, own) = (weight.shape().to_vec(), weight.dtype());
    let quantised = quantise(&weight.to_f32(), &shape, None, levels);
    let whole = quantised.weight(dtype, &shape)?;
    let zero = quantised.zeros(dtype, false)?;
    let scale = Weight::scalar(own, f64::from(quantised.affines.first()?.scale));
    let whole = constant_of(graph, table, "quantized", whole);
    let scale = constant_of(graph, table, "scale", scale);
    let zero = constant_of(graph, table, "zero_point", zero);
    let wish = format!("{}_quantized", graph.value(output).name);
    let rows = emit(graph, &wish, node.op.clone(), &[whole, indices]);
    let op = Op::DequantizeLinear { axis: 1, block_size: 0 };
    emit_as(graph, op, &[rows, scale, zero], &[output]);
    Some(())
}

/// A constant that is called after `id`, with `suffix`.
pub(super) fn constant_of(graph: &mut Graph, id: ValueId, suffix: &str, weight: Weight) -> ValueId {
    let wish = format!("{}_{suffix}", graph.value(id).name);
    graph.add_constant(&wish, weight)
}

/// The element type of a value's floats: f32 where nothing is known.
pub(super) fn float_type(graph: &Graph, id: ValueId) -> DType {
    graph.value(id).dtype.unwrap_or(DType::F32)
}
