//! The graph as text, one node a line: for readers, and for tests of passes.

use super::dim;
use super::ir::{Graph, Node, ValueId};
use super::op::Op;

/// The whole graph: inputs, nodes in order, outputs.
pub fn dump(graph: &Graph) -> String {
    let mut text = String::new();
    for id in &graph.inputs {
        text.push_str(&format!("input  {}\n", graph.show(*id)));
    }
    for node in &graph.nodes {
        text.push_str(&line(graph, node));
        text.push('\n');
    }
    for id in &graph.outputs {
        text.push_str(&format!("output {}\n", graph.show(*id)));
    }
    text
}

fn line(graph: &Graph, node: &Node) -> String {
    let outputs: Vec<String> =
        node.outputs.iter().map(|id| id.map_or("–".to_owned(), |id| graph.show(id))).collect();
    let inputs: Vec<String> =
        node.inputs.iter().map(|id| id.map_or("–".to_owned(), |id| operand(graph, id))).collect();
    format!("{} = {}({})", outputs.join(", "), shown(&node.op), inputs.join(", "))
}

/// An input: small constants by their elements, large ones by their type, others by name.
fn operand(graph: &Graph, id: ValueId) -> String {
    let Some(weight) = graph.constant(Some(id)) else {
        return format!("`{}`", graph.value(id).name);
    };
    if weight.len() <= 8 {
        let values: Vec<String> = weight.to_f64().iter().map(f64::to_string).collect();
        let list = values.join(", ");
        return if weight.shape().is_empty() { list } else { format!("[{list}]") };
    }
    let dims = graph.dims(Some(id)).map(dim::show).unwrap_or_default();
    format!("{}{dims}", weight.dtype())
}

/// The operator with its attributes; graphs and raw nodes by their size and name.
fn shown(op: &Op) -> String {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) => op.name().to_owned(),
        Op::Unsupported(raw) => format!("{} [kept as it is: {}]", raw.op_type(), raw.reason()),
        Op::If { then_branch, else_branch } => {
            format!("If [{} nodes or {}]", then_branch.nodes(), else_branch.nodes())
        }
        Op::ConstantOfShape { value } => {
            format!("ConstantOfShape {{ value: {} }}", value.single().unwrap_or(f64::NAN))
        }
        other => format!("{other:?}"),
    }
}
