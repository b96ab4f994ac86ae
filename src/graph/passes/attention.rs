//! softmax(q·kᵀ·scale + mask)·v, written out → `Attention`.

use super::pattern::View;
use crate::graph::Op;
use crate::graph::dim::Dim;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::Binary;

pub(super) fn apply(graph: &mut Graph) -> usize {
    let mut changes = 0;
    let mut at = 0;
    while at < graph.nodes.len() {
        if let Some(found) = matched(graph, at) {
            at = rewrite(graph, at, found);
            changes += 1;
        }
        at += 1;
    }
    changes
}

struct Found {
    query: ValueId,
    /// What the keys are a transposition of, and in which order their axes must be.
    key: (ValueId, Vec<usize>),
    value: ValueId,
    mask: Option<ValueId>,
    scale: f64,
}

fn matched(graph: &Graph, at: usize) -> Option<Found> {
    let node = &graph.nodes[at];
    if node.op != Op::MatMul {
        return None;
    }
    let view = View::of(graph);
    let (shares, value) = (node.input(0)?, node.input(1)?);
    let softmax = view.maker(shares).filter(|_| view.uses.is_read_once(shares))?;
    let Op::Softmax { axis } = softmax.op else { return None };
    if axis != -1 && axis != 3 {
        return None;
    }
    let scores = softmax.input(0)?;
    let scored = |id: ValueId| scaled_product(&view, id);
    let (product, scale, mask) = if let Some((product, scale)) = scored(scores) {
        (product, scale, None)
    } else {
        let (a, b) = view.operands(scores, Binary::Add)?;
        let ((product, scale), unmasked, mask) = match scored(a) {
            Some(found) => (found, a, b),
            None => (scored(b)?, b, a),
        };
        is_mask(graph, mask, unmasked).then_some(())?;
        (product, scale, Some(mask))
    };
    let (query, keys) = (product.input(0)?, product.input(1)?);
    let four = |id: ValueId| graph.dims(Some(id)).is_some_and(|d| d.len() == 4);
    if ![query, keys, value].into_iter().all(four) {
        return None;
    }
    // Heads must not be broadcast: the operator has no such thing.
    let heads = |id: ValueId| graph.dims(Some(id)).map(|d| d[..2].to_vec());
    if heads(query).is_none_or(|dims| dims.contains(&Dim::Unknown)) {
        return None;
    }
    if heads(query) != heads(keys) || heads(query) != heads(value) {
        return None;
    }
    let transposed = view.maker(keys)?;
    let Op::Transpose { perm } = &transposed.op else { return None };
    let mut order = perm.clone();
    (order.len() == 4).then_some(())?;
    order.swap(2, 3);
    Some(Found { query, key: (transposed.input(0)?, order), value, mask, scale })
}

/// The product that `id` is, and the number it is multiplied by.
fn scaled_product<'a>(view: &View<'a>, id: ValueId) -> Option<(&'a Node, f64)> {
    if !view.uses.is_read_once(id) {
        return None;
    }
    if let Some(node) = view.maker(id).filter(|n| n.op == Op::MatMul) {
        return Some((node, 1.0));
    }
    let (inner, scale) = match view.with_number(id, Binary::Mul) {
        Some((inner, factor)) => (inner, factor),
        None => view.with_number(id, Binary::Div).map(|(inner, divisor)| (inner, 1.0 / divisor))?,
    };
    let node = view.maker(inner).filter(|n| n.op == Op::MatMul)?;
    view.uses.is_read_once(inner).then_some((node, scale))
}

/// Whether adding `mask` leaves the scores' shape as it is.
fn is_mask(graph: &Graph, mask: ValueId, scores: ValueId) -> bool {
    let (Some(mask), Some(scores)) = (graph.dims(Some(mask)), graph.dims(Some(scores))) else {
        return false;
    };
    mask.len() <= scores.len()
        && mask
            .iter()
            .rev()
            .zip(scores.iter().rev())
            .all(|(m, s)| *m == Dim::Fixed(1) || m == s && *m != Dim::Unknown)
}

/// Puts the operator in the place of the last product; its new index.
fn rewrite(graph: &mut Graph, at: usize, found: Found) -> usize {
    let (from, order) = found.key;
    let in_order = order.iter().enumerate().all(|(at, axis)| at == *axis);
    let (key, mut place) = (if in_order { Some(from) } else { None }, at);
    let key = key.unwrap_or_else(|| {
        let title = format!("{}/keys", graph.nodes[at].name);
        let dtype = graph.value(from).dtype;
        let dims = graph.dims(Some(from)).map(|d| order.iter().map(|a| d[*a].clone()).collect());
        let id = graph.add_value(&title, dtype, dims);
        let name = graph.value(id).name.clone();
        let op = Op::Transpose { perm: order };
        let (inputs, outputs) = (vec![Some(from)], vec![Some(id)]);
        graph.nodes.insert(at, Node { name, op, inputs, outputs, captures: Vec::new() });
        place += 1;
        id
    });
    let node = &mut graph.nodes[place];
    #[expect(clippy::cast_possible_truncation, reason = "the attribute is a f32")]
    let scale = found.scale as f32;
    node.op = Op::Attention { scale };
    node.inputs = vec![Some(found.query), Some(key), Some(found.value)];
    node.inputs.extend(found.mask.map(Some));
    place
}
