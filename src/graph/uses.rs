//! Who makes and who reads each value.

use super::ir::{Graph, ValueId};

/// Who makes and who reads each value.
pub(super) struct Uses {
    producer: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
    is_output: Vec<bool>,
    is_captured: Vec<bool>,
}

impl Uses {
    pub(super) fn of(graph: &Graph) -> Self {
        let n = graph.values.len();
        let mut uses = Self {
            producer: vec![None; n],
            readers: vec![Vec::new(); n],
            is_output: vec![false; n],
            is_captured: vec![false; n],
        };
        for (at, node) in graph.nodes.iter().enumerate() {
            for output in node.outputs.iter().flatten() {
                uses.producer[output.0] = Some(at);
            }
            for input in node.reads() {
                uses.readers[input.0].push(at);
            }
            for captured in &node.captures {
                uses.is_captured[captured.0] = true;
            }
        }
        for output in &graph.outputs {
            uses.is_output[output.0] = true;
        }
        uses
    }

    /// The index of the node that makes `id`.
    pub(super) fn producer(&self, id: ValueId) -> Option<usize> {
        self.producer[id.0]
    }

    /// Indices of the nodes that read `id`, one an input.
    pub(super) fn readers(&self, id: ValueId) -> &[usize] {
        &self.readers[id.0]
    }

    /// Whether `id` is read exactly once, by a node, and nowhere else.
    pub(super) fn is_read_once(&self, id: ValueId) -> bool {
        self.readers[id.0].len() == 1 && !self.is_output[id.0] && !self.is_captured[id.0]
    }

    /// Whether the value's name is known outside: an output of the model, or used by inner graphs.
    pub(super) fn is_pinned(&self, id: ValueId) -> bool {
        self.is_output[id.0] || self.is_captured[id.0]
    }

    /// Whether anything reads `id` at all.
    pub(super) fn is_used(&self, id: ValueId) -> bool {
        self.is_output[id.0] || !self.readers[id.0].is_empty()
    }
}
