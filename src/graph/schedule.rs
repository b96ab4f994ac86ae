//! When each buffer is needed, and where it can lie: the plan that an engine of ours executes.

use super::cost;
use super::ir::{Graph, ValueId};
use super::op::Op;
use crate::error::{Error, Result};

/// Places in the arena are multiples of this: the strictest alignment of storage buffers that WebGPU
/// allows a device to ask for (`minStorageBufferOffsetAlignment`, 256 by default).
pub(crate) const ALIGNMENT: u64 = 256;

/// A buffer in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// The value whose elements it holds; views of it hold none of their own.
    pub value: ValueId,
    /// Its first byte in the arena.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// The node that fills it.
    pub first: usize,
    /// The last node that reads it; past the end for outputs of the model.
    pub last: usize,
}

/// Nodes in their order, with the life of every buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Buffers of what nodes give, in order of `first`.
    pub buffers: Vec<Buffer>,
    /// Values that nothing reads after node `i`.
    pub frees: Vec<Vec<ValueId>>,
    /// Bytes of the arena.
    pub arena: u64,
    /// Bytes alive at once at most: no arena can be smaller.
    pub peak: u64,
}

/// Plans a graph whose sizes are all fixed.
///
/// Buffers are placed largest first, each at the lowest offset that is free during its life (Pisarchyk
/// and Lee, arXiv 2001.03288, "greedy by size").
pub fn of(graph: &Graph) -> Result<Schedule> {
    let end = graph.nodes.len();
    let n = graph.value_ids().count();
    // A view lies where its input lies.
    let mut root: Vec<ValueId> = graph.value_ids().collect();
    let (mut first, mut last) = (vec![None; n], vec![0; n]);
    for (at, node) in graph.nodes.iter().enumerate() {
        let is_view = matches!(
            node.op,
            Op::Identity | Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze
        );
        for output in node.outputs.iter().flatten() {
            match node.input(0).filter(|id| is_view && same_bytes(graph, *id, *output)) {
                Some(input) => root[output.0] = root[input.0],
                None => first[output.0] = Some(at),
            }
        }
        for input in node.reads() {
            last[root[input.0].0] = at;
        }
    }
    for output in &graph.outputs {
        last[root[output.0].0] = end;
    }
    let mut buffers = Vec::new();
    let mut frees = vec![Vec::new(); end];
    for id in graph.value_ids() {
        let Some(first) = first[id.0] else { continue };
        let size = cost::bytes_of(graph, id).ok_or_else(|| {
            Error::input(&graph.subject, format!("the size of {} is not known", graph.show(id)))
                .remedy("bind the free dimensions of the inputs (--dim NAME=SIZE)")
        })?;
        let last = last[id.0].max(first);
        if let Some(freed) = frees.get_mut(last) {
            freed.push(id);
        }
        buffers.push(Buffer {
            value: id,
            offset: 0,
            size: size.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX),
            first,
            last,
        });
    }
    let arena = place(&mut buffers);
    let alive = |at: usize| {
        buffers
            .iter()
            .filter(|b| b.first <= at && at <= b.last)
            .fold(0_u64, |n, b| n.saturating_add(b.size))
    };
    let peak = (0..end).map(alive).max().unwrap_or(0);
    buffers.sort_by_key(|b| b.first);
    Ok(Schedule { buffers, frees, arena, peak })
}

fn same_bytes(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    graph.value(a).dtype == graph.value(b).dtype
        && cost::bytes_of(graph, a) == cost::bytes_of(graph, b)
}

/// Gives each buffer its offset; bytes of the arena.
pub(crate) fn place(buffers: &mut [Buffer]) -> u64 {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(buffers[*at].size));
    let mut placed: Vec<Buffer> = Vec::new();
    for at in order {
        let mut offset = 0_u64;
        // In order of offset: the first gap that is wide enough.
        for other in
            placed.iter().filter(|o| o.first <= buffers[at].last && buffers[at].first <= o.last)
        {
            if offset.saturating_add(buffers[at].size) <= other.offset {
                break;
            }
            offset = offset.max(other.offset.saturating_add(other.size));
        }
        buffers[at].offset = offset;
        let place = placed.partition_point(|o| o.offset < offset);
        placed.insert(place, buffers[at]);
    }
    buffers.iter().map(|b| b.offset.saturating_add(b.size)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::{Binary, Unary};
    use crate::graph::{Dim, Op, infer};
    use crate::variant::DType;

    fn graph() -> Graph {
        let mut graph = Graph::new("g");
        let x = graph.add_input("x", DType::F32, vec![Dim::Fixed(64), Dim::Fixed(2)]);
        let relu = graph.push("a", Op::Unary(Unary::Relu), &[x]);
        let exp = graph.push("b", Op::Unary(Unary::Exp), &[relu]);
        let flat = graph.push("flat", Op::Flatten { axis: 1 }, &[relu]);
        let sum = graph.push("c", Op::Binary(Binary::Add), &[exp, flat]);
        let tanh = graph.push("d", Op::Unary(Unary::Tanh), &[sum]);
        graph.outputs.push(tanh);
        infer(&mut graph).unwrap();
        graph
    }

    #[test]
    fn buffers_that_live_at_once_lie_apart() {
        let graph = graph();
        let schedule = of(&graph).unwrap();
        for (at, a) in schedule.buffers.iter().enumerate() {
            for b in &schedule.buffers[at + 1..] {
                let together = a.first <= b.last && b.first <= a.last;
                let apart = a.offset + a.size <= b.offset || b.offset + b.size <= a.offset;
                assert!(!together || apart, "{a:?} and {b:?}");
            }
        }
        // Four buffers of 512 bytes, at most three at once; the view has none.
        assert_eq!(schedule.buffers.len(), 4);
        assert_eq!((schedule.peak, schedule.arena), (3 * 512, 3 * 512));
        // `a` is read through its view.
        let a = schedule.buffers.iter().find(|b| graph.value(b.value).name == "a").unwrap();
        assert_eq!(a.last, 3);
        assert!(schedule.frees[3].contains(&a.value) && schedule.frees[2].is_empty());
    }

    #[test]
    fn free_sizes_are_named() {
        let mut graph = Graph::new("g");
        let x = graph.add_input("x", DType::F32, vec![Dim::Named("n".into())]);
        let y = graph.push("y", Op::Unary(Unary::Relu), &[x]);
        graph.outputs.push(y);
        infer(&mut graph).unwrap();
        assert!(of(&graph).unwrap_err().to_string().contains("`y` f32[n]"));
    }
}
