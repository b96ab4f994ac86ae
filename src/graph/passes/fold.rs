//! Computes what only depends on constants.

use crate::error::Result;
use crate::graph::eval::evaluate;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::{Element, Numbers, Op, Weight, dim, onnx, shape};
use crate::variant::DType;

/// A folded constant may have this many elements, or as many bytes as its inputs have together:
/// weights that are stored in a small way stay small, and a file cannot claim memory it does not fill.
const MOST_ELEMENTS: usize = 4 << 20;

/// All constants that one pass makes may have this many bytes.
const MOST_BYTES_IN_ALL: usize = 128 << 20;

pub(super) fn apply(graph: &mut Graph) -> Result<usize> {
    let mut changes = 0;
    let mut room = MOST_BYTES_IN_ALL;
    let mut kept: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    for node in std::mem::take(&mut graph.nodes) {
        if let Some(weights) = constants(graph, &node, room) {
            let given = node.outputs.iter().zip(&weights);
            let known = given.filter_map(|(id, weight)| Some(((*id)?, weight.clone())));
            for (id, weight) in known.collect::<Vec<(ValueId, Weight)>>() {
                room = room.saturating_sub(weight.bytes().len());
                graph.make_constant(id, weight);
            }
            changes += 1;
        } else if let Some(nodes) = opened(graph, &node)? {
            changes += 1;
            kept.extend(nodes);
        } else {
            kept.push(node);
        }
    }
    graph.nodes = kept;
    Ok(changes)
}

/// What the node gives, when that is known now.
fn constants(graph: &Graph, node: &Node, room: usize) -> Option<Vec<Weight>> {
    let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
    let [only] = outputs[..] else { return None };
    let value = graph.value(only);
    let (dtype, shape) = (value.dtype?, dim::fixed(value.dims.as_deref()?)?);
    // Sizes of inputs, whatever the inputs themselves are.
    if matches!(dtype, DType::I64 | DType::I32 | DType::Bool)
        && let Some(elements) = graph.elements(only)
        && let Some(ints) = elements.iter().map(Element::int).collect::<Option<Vec<i64>>>()
    {
        let numbers = Numbers::Ints(ints.into_iter().map(i128::from).collect());
        return Weight::from_numbers(dtype, shape, &numbers).map(|weight| vec![weight]);
    }
    let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
    let bytes = dtype.bytes_of(elements)?;
    let sizes = node.inputs.iter().filter_map(|id| graph.constant(*id)).map(|w| w.bytes().len());
    let given = sizes.fold(0_usize, usize::saturating_add);
    if elements > MOST_ELEMENTS && bytes > given || bytes > room {
        return None;
    }
    evaluate(graph, node)
}

/// The branch that an `If` with a constant condition takes.
fn opened(graph: &mut Graph, node: &Node) -> Result<Option<Vec<Node>>> {
    let Op::If { then_branch, else_branch } = &node.op else { return Ok(None) };
    let Some(condition) = graph.number(node.input(0)) else { return Ok(None) };
    let branch = if condition == 0.0 { else_branch } else { then_branch };
    let Some((mut nodes, results)) = onnx::inline(graph, branch)? else { return Ok(None) };
    for (output, result) in node.outputs.iter().zip(results) {
        let Some(output) = *output else { continue };
        nodes.push(Node {
            name: graph.value(output).name.clone(),
            op: Op::Identity,
            inputs: vec![Some(result)],
            outputs: vec![Some(output)],
            captures: Vec::new(),
        });
    }
    for inner in &nodes {
        shape::infer_node(graph, inner)?;
    }
    Ok(Some(nodes))
}
