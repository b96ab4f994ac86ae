//! What passes ask about the surroundings of a node.

use crate::graph::Op;
use crate::graph::dim::Dim;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::Binary;
use crate::graph::uses::Uses;
use crate::variant::DType;

/// A graph with who makes and reads what, for as long as it does not change.
pub(super) struct View<'a> {
    pub(super) graph: &'a Graph,
    pub(super) uses: Uses,
}

impl<'a> View<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        Self { graph, uses: Uses::of(graph) }
    }

    /// The node that makes a value.
    pub(super) fn maker(&self, id: ValueId) -> Option<&'a Node> {
        self.graph.nodes.get(self.uses.producer(id)?)
    }

    /// The only node that reads a value, when nothing else sees it.
    pub(super) fn only_reader(&self, id: ValueId) -> Option<(usize, &'a Node)> {
        let at = *self.uses.readers(id).first().filter(|_| self.uses.is_read_once(id))?;
        Some((at, &self.graph.nodes[at]))
    }

    /// The two inputs of the `kind` that makes `id`.
    pub(super) fn operands(&self, id: ValueId, kind: Binary) -> Option<(ValueId, ValueId)> {
        let node = self.maker(id)?;
        if node.op != Op::Binary(kind) {
            return None;
        }
        Some((node.input(0)?, node.input(1)?))
    }

    /// The other input and the number, when `kind` makes `id` of a value and a constant number.
    pub(super) fn with_number(&self, id: ValueId, kind: Binary) -> Option<(ValueId, f64)> {
        let (a, b) = self.operands(id, kind)?;
        // A number with more axes than the value would make its result have more, too.
        let number = |number: ValueId, value: ValueId| {
            let axes = |id| self.graph.dims(Some(id)).map(<[Dim]>::len);
            (axes(number)? <= axes(value)?).then(|| self.graph.number(Some(number))).flatten()
        };
        if let Some(found) = number(b, a) {
            return Some((a, found));
        }
        Some((b, number(a, b).filter(|_| kind.is_commutative())?))
    }

    /// The size of a value's last axis, where it is fixed.
    pub(super) fn last_size(&self, id: ValueId) -> Option<usize> {
        self.graph.dims(Some(id))?.last().and_then(Dim::fixed)
    }
}

/// Whether two values are known to have the same axes; unknown sizes are not.
pub(super) fn same_dims(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    match (graph.dims(Some(a)), graph.dims(Some(b))) {
        (Some(a), Some(b)) => a == b && !a.contains(&Dim::Unknown),
        _ => false,
    }
}

/// Whether two values are known to have as many axes.
pub(super) fn same_rank(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    let axes = |id| graph.dims(Some(id)).map(<[Dim]>::len);
    axes(a).is_some() && axes(a) == axes(b)
}

/// Whether a constant of the model is this number: to a millionth, or as its type rounds it.
pub(super) fn is_about(number: f64, expected: f64, held: Option<DType>) -> bool {
    let rounded = match held {
        Some(DType::F16) => half::f16::from_f64(expected).to_f64(),
        Some(DType::BF16) => half::bf16::from_f64(expected).to_f64(),
        _ => expected,
    };
    (number - rounded).abs() <= 1e-6 * rounded.abs()
}

/// Applies `rewrite` to one place after the other until it finds none; how many there were.
pub(super) fn everywhere(graph: &mut Graph, rewrite: impl Fn(&mut Graph, usize) -> bool) -> usize {
    let mut changes = 0;
    let mut at = 0;
    while at < graph.nodes.len() {
        if rewrite(graph, at) {
            changes += 1;
        }
        at += 1;
    }
    changes
}
