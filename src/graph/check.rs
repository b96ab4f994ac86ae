//! Whether a graph is one: every value made once and before it is used.

use std::collections::HashSet;

use super::ir::{Graph, ValueId};
use crate::error::Result;

/// Checks that the graph is consistent; run after loading and after every pass.
///
/// Errors name the node and the value.
pub fn check(graph: &Graph) -> Result<()> {
    let mut known: HashSet<ValueId> = graph.inputs.iter().copied().collect();
    known.extend(graph.value_ids().filter(|id| graph.value(*id).constant.is_some()));
    for node in &graph.nodes {
        for input in node.reads() {
            if !known.contains(&input) {
                let name = &graph.value(input).name;
                return Err(graph
                    .refuse_node(node, format!("reads `{name}`, which nothing gives before it")));
            }
        }
        for output in node.outputs.iter().flatten() {
            if !known.insert(*output) {
                let name = &graph.value(*output).name;
                return Err(
                    graph.refuse_node(node, format!("gives `{name}`, which is there already"))
                );
            }
        }
        if node.outputs.iter().flatten().next().is_none() {
            return Err(graph.refuse_node(node, "gives nothing"));
        }
    }
    if let Some(output) = graph.outputs.iter().find(|id| !known.contains(id)) {
        return Err(
            graph.refuse(format!("output `{}` is given by no node", graph.value(*output).name))
        );
    }
    let mut names = HashSet::new();
    if let Some(id) = graph.value_ids().find(|id| !names.insert(&graph.value(*id).name)) {
        return Err(graph.refuse(format!("two values are called `{}`", graph.value(id).name)));
    }
    Ok(())
}
