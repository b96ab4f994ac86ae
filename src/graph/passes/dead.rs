//! Removes nodes that nothing reads, and constants that no node uses.

use crate::graph::ir::Graph;
use crate::graph::uses::Uses;

pub(super) fn apply(graph: &mut Graph) -> usize {
    let mut removed = 0;
    loop {
        let uses = Uses::of(graph);
        let before = graph.nodes.len();
        graph.nodes.retain(|node| node.outputs.iter().flatten().any(|id| uses.is_used(*id)));
        if graph.nodes.len() == before {
            break;
        }
        removed += before - graph.nodes.len();
    }
    // Optional outputs at the end that nobody asks for need not be computed.
    let uses = Uses::of(graph);
    for node in &mut graph.nodes {
        while node.outputs.len() > 1
            && node.outputs.last().is_some_and(|last| last.is_none_or(|id| !uses.is_used(id)))
            && can_shrink(&node.op)
        {
            node.outputs.pop();
            removed += 1;
        }
    }
    removed + graph.forget_unused_constants()
}

/// Whether fewer outputs mean the same: not where their number says how to split.
fn can_shrink(op: &crate::graph::Op) -> bool {
    use crate::graph::Op;
    matches!(op, Op::MaxPool { .. } | Op::LayerNormalization { .. } | Op::LSTM(_) | Op::GRU { .. })
}
