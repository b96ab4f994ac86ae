//! Operators that only move elements: most of them move none.

use super::axis_of;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::Shader;
use crate::backend::wgpu::view::View;
use crate::graph::op::PadMode;
use crate::graph::{Node, Weight};

/// The whole numbers of a constant input.
fn known(to: &Lower<'_>, node: &Node, index: usize, what: &str) -> Lowered<Option<Vec<i64>>> {
    match node.input(index) {
        None => Ok(None),
        Some(id) => to
            .graph
            .ints(Some(id))
            .map(Some)
            .ok_or_else(|| format!("whose {what} depend on the input's elements")),
    }
}

pub(super) fn same(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    to.set(Lower::output_id(node)?, view);
    Ok(())
}

/// The same elements in order under other sizes: whatever the operator, its output's sizes are known.
pub(super) fn reshape(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let view = to.view(Lower::input_id(node, 0)?)?;
    let view = if let Some(view) = view.reshaped(&dims) {
        view
    } else {
        let dense = to.in_order(view);
        dense.reshaped(&dims).ok_or_else(|| format!("of {:?} to {dims:?}", dense.dims))?
    };
    to.set(id, view);
    Ok(())
}

pub(super) fn transpose(to: &mut Lower<'_>, node: &Node, perm: &[usize]) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let reversed: Vec<usize> = (0..view.dims.len()).rev().collect();
    let perm = if perm.is_empty() { &reversed } else { perm };
    if perm.len() != view.dims.len() {
        return Err(format!("of {:?} by {perm:?}", view.dims));
    }
    to.set(Lower::output_id(node)?, view.transposed(perm));
    Ok(())
}

pub(super) fn expand(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let view = to.view(Lower::input_id(node, 0)?)?;
    let view = view.broadcast(&dims).ok_or_else(|| format!("of {:?} to {dims:?}", view.dims))?;
    to.set(id, view);
    Ok(())
}

/// Each axis once more in front of it, repeated there.
pub(super) fn tile(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let repeats = known(to, node, 1, "repeats")?.ok_or("without repeats")?;
    let view = to.view(Lower::input_id(node, 0)?)?;
    let mut wide = View { dims: Vec::new(), strides: Vec::new(), ..view.clone() };
    for ((size, stride), repeat) in view.dims.iter().zip(&view.strides).zip(&repeats) {
        wide.dims.extend([usize::try_from(*repeat).map_err(|_| "with repeats below 0")?, *size]);
        wide.strides.extend([0, *stride]);
    }
    let (id, dense) = (Lower::output_id(node)?, to.in_order(wide));
    let dims = to.dims(id)?;
    to.set(id, dense.reshaped(&dims).ok_or("with repeats that do not fit")?);
    Ok(())
}

pub(super) fn concat(to: &mut Lower<'_>, node: &Node, axis: i64) -> Lowered {
    let out = to.give(node)?;
    let axis = axis_of(axis, out.dims.len())?;
    let mut start = 0;
    for id in node.inputs.iter().flatten() {
        let view = to.view(*id)?;
        let place = out.sliced(axis, start, view.dims[axis], 1);
        start += view.dims[axis];
        to.copy(&view, &place);
    }
    Ok(())
}

pub(super) fn split(to: &mut Lower<'_>, node: &Node, axis: i64) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let axis = axis_of(axis, view.dims.len())?;
    let mut start = 0;
    for id in &node.outputs {
        // One that nothing asks for still takes its place; without its size the rest cannot be found.
        let id = id.ok_or("with an output that is left out")?;
        let size = to.dims(id)?[axis];
        to.set(id, view.sliced(axis, start, size, 1));
        start += size;
    }
    Ok(())
}

pub(super) fn slice(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let mut view = to.view(Lower::input_id(node, 0)?)?;
    let starts = known(to, node, 1, "starts")?.ok_or("without starts")?;
    let rank = i64::try_from(view.dims.len()).unwrap_or(0);
    let axes = known(to, node, 3, "axes")?.unwrap_or_else(|| (0..rank).collect());
    let steps = known(to, node, 4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    let dims = to.dims(Lower::output_id(node)?)?;
    let mut backwards = Vec::new();
    for ((start, axis), step) in starts.iter().zip(&axes).zip(&steps) {
        let axis = axis_of(*axis, view.dims.len())?;
        let size = i64::try_from(view.dims[axis]).unwrap_or(i64::MAX);
        let from = if *start < 0 { start.saturating_add(size) } else { *start };
        let far = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        if *step > 0 {
            let from = usize::try_from(from.clamp(0, size)).unwrap_or(0);
            view = view.sliced(axis, from, dims[axis], far);
        } else {
            // The same elements forwards, turned round afterwards.
            let from = usize::try_from(from.clamp(0, (size - 1).max(0))).unwrap_or(0);
            let count = dims[axis];
            let first = from.saturating_sub(count.saturating_sub(1).saturating_mul(far));
            view = view.sliced(axis, first, count, far);
            backwards.push(axis);
        }
    }
    if !backwards.is_empty() {
        view = turned_round(to, &view, &backwards);
    }
    to.set(Lower::output_id(node)?, view);
    Ok(())
}

/// The elements along some axes in the opposite order: a copy that writes from behind, distances below zero
/// being what wraps around to them in 32 bits.
fn turned_round(to: &mut Lower<'_>, view: &View, axes: &[usize]) -> View {
    let out = to.alloc(view.elem, view.dims.clone());
    let (n, rank) = (view.len(), view.dims.len());
    let mut first = word(view.offset);
    let mut strides: Vec<u32> = view.strides.iter().map(|s| word(*s)).collect();
    for axis in axes.iter().filter(|axis| view.dims[**axis] > 0) {
        let last = word(view.dims[*axis] - 1);
        first = first.wrapping_add(last.wrapping_mul(strides[*axis]));
        strides[*axis] = strides[*axis].wrapping_neg();
    }
    let mut params = vec![word(n), word(rank), 0, first];
    params.extend(view.dims.iter().chain(&out.strides).map(|v| word(*v)));
    params.extend(strides);
    let kernel = Kernel::new(Shader::Copy, 3).of("T", view.elem);
    to.push(kernel, params, out.memory, vec![view.memory], groups(n, to.gpu));
    out
}

pub(super) fn filled(to: &mut Lower<'_>, node: &Node, value: &Weight) -> Lowered {
    let out = to.give(node)?;
    to.fill(&out, value.single().unwrap_or(0.0));
    Ok(())
}

/// `Pad` with a constant.
pub(super) fn pad(to: &mut Lower<'_>, node: &Node, mode: PadMode) -> Lowered {
    let pads = known(to, node, 1, "pads")?.ok_or("without pads")?;
    let value = match node.input(2) {
        None => 0.0,
        Some(id) => {
            to.graph.number(Some(id)).ok_or("whose border depends on the input's elements")?
        }
    };
    let mut view = to.view(Lower::input_id(node, 0)?)?;
    let rank = view.dims.len();
    let axes = known(to, node, 3, "axes")?
        .unwrap_or_else(|| (0..i64::try_from(rank).unwrap_or(0)).collect());
    let out = to.give(node)?;
    if mode != PadMode::Constant {
        return surrounded(to, &view, &out, &pads, &axes, mode);
    }
    to.fill(&out, value);
    let mut place = out;
    for (at, axis) in axes.iter().enumerate() {
        let axis = axis_of(*axis, rank)?;
        let of = |index: usize| pads.get(index).copied().ok_or("with too few pads");
        let (before, after) = (of(at)?, of(axes.len() + at)?);
        // A negative border cuts off.
        let cut = |pad: i64| usize::try_from(-pad).unwrap_or(0);
        let kept = view.dims[axis].saturating_sub(cut(before) + cut(after));
        view = view.sliced(axis, cut(before), kept, 1);
        place = place.sliced(axis, usize::try_from(before).unwrap_or(0), kept, 1);
    }
    to.copy(&view, &place);
    Ok(())
}

/// `Pad` with a border made of what it surrounds.
fn surrounded(
    to: &mut Lower<'_>,
    view: &View,
    out: &View,
    pads: &[i64],
    axes: &[i64],
    mode: PadMode,
) -> Lowered {
    if view.len() == 0 {
        return Err("of no elements".to_owned());
    }
    let rank = view.dims.len();
    let mut before = vec![0_i32; rank];
    for (at, axis) in axes.iter().enumerate() {
        let pad = pads.get(at).ok_or("with too few pads")?;
        before[axis_of(*axis, rank)?] = i32::try_from(*pad).map_err(|_| "with pads too wide")?;
    }
    let x = to.in_order(view.clone());
    let sizes = out.dims.iter().chain(&x.dims).chain(&x.strides).map(|v| word(*v));
    let mut params = vec![word(out.len()), word(rank)];
    params.extend(sizes.chain(before.into_iter().map(i32::cast_unsigned)));
    let number = match mode {
        PadMode::Reflect | PadMode::Constant => 0.0,
        PadMode::Edge => 1.0,
        PadMode::Wrap => 2.0,
    };
    let kernel = Kernel::new(Shader::Pad, 3).of("T", x.elem).with("MODE", number);
    let n = groups(out.len(), to.gpu);
    to.push(kernel, params, out.memory, vec![x.memory], n);
    Ok(())
}

pub(super) fn gather(to: &mut Lower<'_>, node: &Node, axis: i64) -> Lowered {
    let table = to.dense(Lower::input_id(node, 0)?)?;
    let axis = axis_of(axis, table.dims.len())?;
    let index = to.dense(Lower::input_id(node, 1)?)?;
    if index.elem != Elem::I32 {
        return Err("whose indices are no whole numbers".to_owned());
    }
    let out = to.give(node)?;
    let inner: usize = table.dims[axis + 1..].iter().product();
    let params = [out.len(), inner, index.len(), table.dims[axis]].map(word).to_vec();
    let kernel = Kernel::new(Shader::Gather, 4).of("T", table.elem);
    let (reads, n) = (vec![table.memory, index.memory], groups(out.len(), to.gpu));
    to.push(kernel, params, out.memory, reads, n);
    // Of the table it reads what it writes.
    let moved = 2 * out.len() * out.elem.size() + index.len() * 4;
    if let Some(task) = to.tasks.last_mut() {
        task.bytes = Some(moved as f64);
    }
    Ok(())
}

pub(super) fn depth_to_space(
    to: &mut Lower<'_>,
    node: &Node,
    block: usize,
    column_row_depth: bool,
) -> Lowered {
    let view = to.dense(Lower::input_id(node, 0)?)?;
    let [n, c, h, w] = view.dims[..] else { return Err("of no image".to_owned()) };
    let deep = c / (block * block).max(1);
    let (sizes, perm) = if column_row_depth {
        ([n, deep, block, block, h, w], [0, 1, 4, 2, 5, 3])
    } else {
        ([n, block, block, deep, h, w], [0, 3, 4, 1, 5, 2])
    };
    blocks(to, node, &view, &sizes, &perm)
}

pub(super) fn space_to_depth(to: &mut Lower<'_>, node: &Node, block: usize) -> Lowered {
    let view = to.dense(Lower::input_id(node, 0)?)?;
    let [n, c, h, w] = view.dims[..] else { return Err("of no image".to_owned()) };
    let b = block.max(1);
    blocks(to, node, &view, &[n, c, h / b, b, w / b, b], &[0, 3, 5, 1, 2, 4])
}

fn blocks(
    to: &mut Lower<'_>,
    node: &Node,
    view: &View,
    sizes: &[usize],
    perm: &[usize],
) -> Lowered {
    let parts = view.reshaped(sizes).ok_or("whose sizes are no multiples of the block")?;
    let turned = to.in_order(parts.transposed(perm));
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    to.set(id, turned.reshaped(&dims).ok_or("whose sizes are no multiples of the block")?);
    Ok(())
}
