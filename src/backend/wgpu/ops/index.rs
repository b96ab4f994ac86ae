//! Operators that pick or place elements by indices.

use super::axis_of;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::Shader;
use crate::backend::wgpu::view::{View, dense_strides};
use crate::graph::op::ScatterReduction;
use crate::graph::{Node, ValueId};

/// Indices in order; an error where they are no whole numbers.
fn indices(to: &mut Lower<'_>, node: &Node, at: usize) -> Lowered<View> {
    let index = to.dense(Lower::input_id(node, at)?)?;
    if index.elem == Elem::I32 {
        Ok(index)
    } else {
        Err("whose indices are no whole numbers".to_owned())
    }
}

/// What `gather_elements.wgsl` and `scatter.wgsl` are told of an index for each element.
fn by_elements(index: &View, x: &View, axis: i64) -> Lowered<Vec<u32>> {
    let rank = x.dims.len();
    if index.dims.len() != rank {
        return Err(format!("of {:?} by {:?}", x.dims, index.dims));
    }
    let axis = axis_of(axis, rank)?;
    let head = [index.len(), rank, axis, x.dims[axis]];
    let rest = index.dims.iter().copied().chain(dense_strides(&x.dims));
    Ok(head.into_iter().chain(rest).map(word).collect())
}

/// What `gather_nd.wgsl` and `scatter.wgsl` are told of tuples of indices; `batch` axes come before those that
/// are indexed.
fn by_tuples(index: &View, x: &View, batch: usize) -> Lowered<Vec<u32>> {
    let width = index.dims.last().copied().ok_or("whose indices are a number")?;
    let indexed = batch + width;
    if indexed > x.dims.len() || batch >= index.dims.len() {
        return Err(format!("of {:?} by {:?}", x.dims, index.dims));
    }
    let slice: usize = x.dims[indexed..].iter().product();
    let tuples: usize = index.dims[..index.dims.len() - 1].iter().product();
    let each: usize = index.dims[batch..index.dims.len() - 1].iter().product();
    let of_batch: usize = x.dims[batch..].iter().product();
    let head = [tuples * slice, slice, width, each, of_batch];
    let sizes = x.dims[batch..indexed].iter().copied();
    let strides = dense_strides(&x.dims).into_iter().skip(batch).take(width);
    Ok(head.into_iter().chain(sizes).chain(strides).map(word).collect())
}

pub(super) fn gather_elements(to: &mut Lower<'_>, node: &Node, axis: i64) -> Lowered {
    let x = to.dense(Lower::input_id(node, 0)?)?;
    let index = indices(to, node, 1)?;
    let params = by_elements(&index, &x, axis)?;
    picked(to, node, Shader::GatherElements, params, &x, &index)
}

pub(super) fn gather_nd(to: &mut Lower<'_>, node: &Node, batch: usize) -> Lowered {
    let x = to.dense(Lower::input_id(node, 0)?)?;
    let index = indices(to, node, 1)?;
    let params = by_tuples(&index, &x, batch)?;
    picked(to, node, Shader::GatherNd, params, &x, &index)
}

fn picked(
    to: &mut Lower<'_>,
    node: &Node,
    shader: Shader,
    params: Vec<u32>,
    x: &View,
    index: &View,
) -> Lowered {
    let out = to.give(node)?;
    let kernel = Kernel::new(shader, 4).of("T", x.elem);
    let n = groups(out.len(), to.gpu);
    to.push(kernel, params, out.memory, vec![x.memory, index.memory], n);
    Ok(())
}

/// `ScatterElements` along an axis, or `ScatterND` without one.
pub(super) fn scatter(
    to: &mut Lower<'_>,
    node: &Node,
    axis: Option<i64>,
    reduction: ScatterReduction,
) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let index = indices(to, node, 1)?;
    let updates = to.dense(Lower::input_id(node, 2)?)?;
    let out = to.give(node)?;
    to.copy(&view, &out);
    let params = match axis {
        Some(axis) => by_elements(&index, &out, axis)?,
        None => by_tuples(&index, &out, 0)?,
    };
    let (how, is_serial) = match reduction {
        ScatterReduction::None => (0.0, false),
        ScatterReduction::Add => (1.0, true),
        ScatterReduction::Mul => (2.0, true),
        ScatterReduction::Max => (3.0, true),
        ScatterReduction::Min => (4.0, true),
    };
    let flag = |is: bool| f64::from(u8::from(is));
    let kernel = Kernel::new(Shader::Scatter, 4)
        .of("T", out.elem)
        .with("HOW", how)
        .with("SERIAL", flag(is_serial))
        .with("TUPLES", flag(axis.is_none()));
    let n = if is_serial { [1, 1, 1] } else { groups(updates.len(), to.gpu) };
    to.push(kernel, params, out.memory, vec![updates.memory, index.memory], n);
    Ok(())
}

/// The number of a constant input.
fn number(to: &Lower<'_>, id: Option<ValueId>, what: &str) -> Lowered<i64> {
    let one = to.graph.ints(id).filter(|all| all.len() == 1);
    one.map(|all| all[0]).ok_or_else(|| format!("whose {what} depends on the input's elements"))
}

pub(super) fn trilu(to: &mut Lower<'_>, node: &Node, upper: bool) -> Lowered {
    let x = to.dense(Lower::input_id(node, 0)?)?;
    let k = if node.input(1).is_some() { number(to, node.input(1), "diagonal")? } else { 0 };
    let &[.., rows, columns] = &x.dims[..] else { return Err("of no matrices".to_owned()) };
    let out = to.give(node)?;
    // Beyond the corners it makes no difference.
    let most = i64::try_from(rows + columns).unwrap_or(i64::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "cut to the matrix")]
    let k = (k.clamp(-most, most) as i32).cast_unsigned();
    let params = vec![word(x.len()), word(rows), word(columns), k, u32::from(upper)];
    let n = groups(x.len(), to.gpu);
    let kernel = Kernel::new(Shader::Trilu, 3).of("T", x.elem);
    to.push(kernel, params, out.memory, vec![x.memory], n);
    Ok(())
}

pub(super) fn one_hot(to: &mut Lower<'_>, node: &Node, axis: i64) -> Lowered {
    let index = to.dense(Lower::input_id(node, 0)?)?;
    let values = to.dense(Lower::input_id(node, 2)?)?;
    let out = to.give(node)?;
    let axis = axis_of(axis, out.dims.len())?;
    let inner: usize = out.dims[axis + 1..].iter().product();
    let params = vec![word(out.len()), word(inner), word(out.dims[axis])];
    let kernel = Kernel::new(Shader::OneHot, 4).of("T", out.elem).of("X", index.elem);
    let n = groups(out.len(), to.gpu);
    to.push(kernel, params, out.memory, vec![index.memory, values.memory], n);
    Ok(())
}
