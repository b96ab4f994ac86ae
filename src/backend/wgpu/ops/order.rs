//! Operators for which order along an axis matters.

use super::axis_of;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::Shader;
use crate::backend::wgpu::view::View;
use crate::graph::Node;

/// The axis exchanged with the last one, in order; the exchange.
fn last(to: &mut Lower<'_>, node: &Node, axis: i64) -> Lowered<(View, Vec<usize>)> {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let axis = axis_of(axis, view.dims.len())?;
    let mut order: Vec<usize> = (0..view.dims.len()).collect();
    let end = order.len() - 1;
    order.swap(axis, end);
    Ok((to.in_order(view.transposed(&order)), order))
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Where the largest or the smallest of each row is.
pub(super) fn arg(
    to: &mut Lower<'_>,
    node: &Node,
    axis: i64,
    largest: bool,
    last_of_equals: bool,
) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let rank = view.dims.len();
    let axis = axis_of(axis, rank)?;
    // The other axes stay in their order.
    let order: Vec<usize> = (0..rank).filter(|a| *a != axis).chain([axis]).collect();
    let x = to.in_order(view.transposed(&order));
    let out = to.give(node)?;
    let width = x.dims[rank - 1];
    if width == 0 {
        return Err("of no elements".to_owned());
    }
    let kernel = Kernel::new(Shader::Arg, 3)
        .of("T", x.elem)
        .with("LARGEST", flag(largest))
        .with("LAST", flag(last_of_equals));
    let n = groups(out.len(), to.gpu);
    to.push(kernel, vec![word(out.len()), word(width)], out.memory, vec![x.memory], n);
    Ok(())
}

pub(super) fn cumulate(to: &mut Lower<'_>, node: &Node, exclusive: bool, reverse: bool) -> Lowered {
    let axis = to.graph.ints(node.input(1)).filter(|all| all.len() == 1);
    let axis = axis.ok_or("whose axis depends on the input's elements")?[0];
    let (x, order) = last(to, node, axis)?;
    let out = to.alloc(x.elem, x.dims.clone());
    let width = x.dims.last().copied().unwrap_or(1);
    let rows = x.len().checked_div(width).unwrap_or(0);
    let sum = if x.elem.is_float() { Elem::F32 } else { x.elem };
    let kernel = Kernel::new(Shader::Cumulate, 3)
        .of("T", x.elem)
        .of("B", sum)
        .with("EXCLUSIVE", flag(exclusive))
        .with("REVERSE", flag(reverse));
    to.push(
        kernel,
        vec![word(rows), word(width)],
        out.memory,
        vec![x.memory],
        groups(rows, to.gpu),
    );
    to.set(Lower::output_id(node)?, out.transposed(&order));
    Ok(())
}

pub(super) fn top(to: &mut Lower<'_>, node: &Node, axis: i64, largest: bool) -> Lowered {
    let k = to.graph.ints(node.input(1)).filter(|all| all.len() == 1);
    let k = k.ok_or("whose k depends on the input's elements")?[0];
    let k = usize::try_from(k).map_err(|_| "with a k below 0")?;
    let (x, order) = last(to, node, axis)?;
    let mut dims = x.dims.clone();
    let width = dims.last().copied().unwrap_or(1);
    if k > width {
        return Err(format!("of {k} among {width}"));
    }
    if let Some(last) = dims.last_mut() {
        *last = k;
    }
    let (values, places) = (to.alloc(x.elem, dims.clone()), to.alloc(Elem::I32, dims));
    let kernel = Kernel::new(Shader::Top, 4).of("T", x.elem).with("LARGEST", flag(largest));
    let params = vec![word(x.len()), word(width), word(k)];
    // Places are written too: what a kernel is given counts as in use, whichever it does.
    let reads = vec![x.memory, places.memory];
    to.push(kernel, params, values.memory, reads, groups(x.len(), to.gpu));
    for (at, view) in [values, places].into_iter().enumerate() {
        if let Some(id) = node.output(at) {
            to.set(id, view.transposed(&order));
        }
    }
    Ok(())
}
