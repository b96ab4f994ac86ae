//! Convolutions and pooling: windows that slide over an image.

use super::product::floats;
use super::ways::{Sizes, with_activation};
use crate::backend::wgpu::chain::Expr;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::{Part, Shader};
use crate::backend::wgpu::tune::Candidate;
use crate::backend::wgpu::view::{Memory, View};
use crate::graph::op::{Activation, ConvAttributes, Pads, PoolAttributes, Window};
use crate::graph::{Node, Op};

/// Why integer weights of convolutions are multiplied as floats.
const NO_KERNEL: &str = "there is no quantised convolution";

/// A window along one axis.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    out: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

/// The window along every axis; sizes of the output are those that were inferred.
fn axes(window: &Window, kernel: &[usize], x: &[usize], out: &[usize]) -> Lowered<Vec<Axis>> {
    let rank = x.len();
    if kernel.len() != rank || out.len() != rank {
        return Err("whose window has other axes".to_owned());
    }
    let at = |list: &[usize], axis: usize, other: usize| list.get(axis).copied().unwrap_or(other);
    Ok((0..rank)
        .map(|axis| {
            let (stride, dilation) = (at(&window.strides, axis, 1), at(&window.dilations, axis, 1));
            let needed = (out[axis].saturating_sub(1) * stride) + (kernel[axis] - 1) * dilation + 1;
            let missing = needed.saturating_sub(x[axis]);
            let (before, after) = match &window.pads {
                Pads::Explicit(pads) => (at(pads, axis, 0), at(pads, rank + axis, 0)),
                Pads::SameUpper => (missing / 2, missing - missing / 2),
                Pads::SameLower => (missing - missing / 2, missing / 2),
                Pads::Valid => (0, 0),
            };
            let (size, out, kernel) = (x[axis], out[axis], kernel[axis]);
            Axis { size, out, kernel, stride, dilation, before, after }
        })
        .collect())
}

/// A single axis is an image one element high.
fn image(mut axes: Vec<Axis>) -> Lowered<[Axis; 2]> {
    let flat = Axis { size: 1, out: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };
    if axes.len() == 1 {
        axes.insert(0, flat);
    }
    axes.try_into().map_err(|axes: Vec<Axis>| format!("in {} dimensions", axes.len()))
}

fn spatial<'v>(view: &'v View, what: &str) -> Lowered<&'v [usize]> {
    match &view.dims[..] {
        [_, _, rest @ ..] if !rest.is_empty() => Ok(rest),
        _ => Err(format!("whose {what} is no image")),
    }
}

pub(super) fn conv(
    to: &mut Lower<'_>,
    node: &Node,
    conv: &ConvAttributes,
    activation: Option<Activation>,
) -> Lowered {
    let x = to.dense(Lower::input_id(node, 0)?)?;
    if !x.elem.is_float() {
        return Err("of whole numbers".to_owned());
    }
    let (w, shape) = floats(to, Lower::input_id(node, 1)?)?;
    let bias = match node.input(2) {
        None => None,
        Some(id) => {
            let (memory, dims) = floats(to, id)?;
            if dims.iter().product::<usize>() != shape[0] {
                return Err(format!("whose bias is no vector of {}", shape[0]));
            }
            Some(memory)
        }
    };
    let out = to.give(node)?;
    let maker = to.graph.nodes.iter().find(|n| n.outputs.contains(&node.input(1)));
    let is_real = maker.is_some_and(|n| matches!(n.op, Op::DequantizeLinear { .. }));
    let emulated = is_real.then(|| NO_KERNEL.to_owned());
    convolved(to, &x, (w, &shape, bias), conv, activation, &out, emulated)
}

/// `ConvInteger`: numbers less their zero points, multiplied as floats, exact below 2²⁴.
pub(super) fn conv_integer(to: &mut Lower<'_>, node: &Node, conv: &ConvAttributes) -> Lowered {
    let less = |to: &mut Lower<'_>, index: usize, zero: usize| -> Lowered<View> {
        let id = Lower::input_id(node, index)?;
        let dims = to.dims(id)?;
        let x = to.operand(id, &dims)?;
        let mut parts = vec![x];
        let mut value = format!("f32({})", parts[0].value);
        if let Some(zero) = node.input(zero) {
            let mut view = to.view(zero)?;
            if view.len() > 1 {
                // One a filter.
                let shape = [&[view.len()][..], &vec![1; dims.len() - 1]].concat();
                view = to.in_order(view).reshaped(&shape).ok_or("with odd zero points")?;
            } else {
                view = View { dims: Vec::new(), strides: Vec::new(), ..view };
            }
            let leaf = to.leaf(&view, &dims)?;
            value = format!("{value} - f32({})", leaf.value);
            parts.push(leaf);
        }
        let parts: Vec<&Expr> = parts.iter().collect();
        to.emit(&Expr::of(&parts, value, Elem::F32, dims))
    };
    let (x, w) = (less(to, 0, 2)?, less(to, 1, 3)?);
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let out = to.alloc(Elem::F32, dims.clone());
    convolved(to, &x, (w.memory, &w.dims, None), conv, None, &out, Some(NO_KERNEL.to_owned()))?;
    let leaf = to.leaf(&out, &dims)?;
    let value = format!("i32({})", leaf.value);
    let expr = Expr::of(&[&leaf], value, Elem::I32, dims);
    to.finish(node, expr)
}

/// The convolution of x, in order, with weights and a bias in f32.
pub(super) fn convolved(
    to: &mut Lower<'_>,
    x: &View,
    (w, shape, bias): (Memory, &[usize], Option<Memory>),
    conv: &ConvAttributes,
    activation: Option<Activation>,
    out: &View,
    emulated: Option<String>,
) -> Lowered {
    if shape.len() < 3 {
        return Err(format!("with weights {shape:?}"));
    }
    let (filters, each) = (shape[0], shape[1]);
    let axes = axes(&conv.window, &shape[2..], spatial(x, "input")?, spatial(out, "output")?)?;
    let [high, wide] = image(axes)?;
    let groups = conv.group.max(1);
    if each * groups != x.dims[1] || filters % groups != 0 {
        return Err(format!("of {:?} with weights {shape:?} in {groups} groups", x.dims));
    }
    let params = [
        x.dims[1],
        filters,
        each,
        filters / groups,
        high.size,
        wide.size,
        high.out,
        wide.out,
        high.kernel,
        wide.kernel,
        high.stride,
        wide.stride,
        high.dilation,
        wide.dilation,
        high.before,
        wide.before,
        usize::from(bias.is_some()),
    ];
    let places = high.out * wide.out;
    let window = each * high.kernel * wide.kernel;
    to.count(&format!("conv {}", x.elem.wgsl()), emulated.is_some(), emulated);
    if out.len() == 0 {
        return Ok(());
    }
    let kernel = Kernel::new(Shader::Conv, 5).after(Part::Math).of("T", x.elem);
    let kernel = with_activation(kernel, activation);
    let count = [word(places.div_ceil(4).div_ceil(16)), word(filters.div_ceil(4)), word(x.dims[0])];
    let mut candidates =
        vec![Candidate { kernel, params: params.map(word).to_vec(), groups: count }];
    // Without groups it is a product: filters by places of the window, with places of the window by places of
    // the output, which are gathered as they are multiplied. Its rows are read by fours.
    let sizes = Sizes { z: x.dims[0], m: filters, k: window.next_multiple_of(4), n: places };
    if groups == 1 && window.is_multiple_of(4) {
        for shader in sizes.shaders(to.gpu, Shader::MatMul) {
            let mut params = sizes.params(bias.is_some(), true, true);
            let geometry = [
                window,
                each,
                high.size,
                wide.size,
                wide.out,
                high.kernel,
                wide.kernel,
                high.stride,
                wide.stride,
                high.dilation,
                wide.dilation,
                high.before,
                wide.before,
            ];
            params.extend(geometry.map(word));
            let kernel = Kernel::new(shader, 5).after(Part::Math).after(Part::OfWindow);
            let kernel = kernel.after(Part::Four).of("T", x.elem).of("A", Elem::F32);
            let kernel = with_activation(kernel.of("X", x.elem), activation);
            candidates.push(Candidate { kernel, params, groups: sizes.groups(shader) });
        }
        // On a GPU a product is the likelier choice where there are filters for a tile of it.
        if !to.gpu.is_software() && filters >= 32 {
            candidates.rotate_left(1);
        }
    }
    let reads = vec![w, x.memory, bias.unwrap_or(w)];
    let shape = [high.kernel, wide.kernel, high.stride, wide.stride, wide.out, groups];
    let class = sizes.class(&format!("conv {} {shape:?}", x.elem.wgsl()));
    let flops = Sizes { k: window, ..sizes }.flops();
    to.push_best(&class, candidates, out.memory, reads, flops)
}

/// The largest, or with `mean` the mean; whether it counts the padding.
pub(super) fn pool(
    to: &mut Lower<'_>,
    node: &Node,
    pool: &PoolAttributes,
    mean: Option<bool>,
) -> Lowered {
    if node.output(1).is_some() {
        return Err("whose places are asked for".to_owned());
    }
    let x = to.dense(Lower::input_id(node, 0)?)?;
    if !x.elem.is_float() {
        return Err("of whole numbers".to_owned());
    }
    let out = to.give(node)?;
    let kernel = &pool.window.kernel_shape;
    let axes = axes(&pool.window, kernel, spatial(&x, "input")?, spatial(&out, "output")?)?;
    let [high, wide] = image(axes)?;
    let params = [
        out.len(),
        high.size,
        wide.size,
        high.out,
        wide.out,
        high.kernel,
        wide.kernel,
        high.stride,
        wide.stride,
        high.dilation,
        wide.dilation,
        high.before,
        wide.before,
        high.after,
        wide.after,
    ];
    let number = |is: bool| f64::from(u8::from(is));
    let kernel = Kernel::new(Shader::Pool, 3)
        .of("T", x.elem)
        .with("MEAN", number(mean.is_some()))
        .with("COUNT_PADDING", number(mean.unwrap_or(false)));
    let n = groups(out.len(), to.gpu);
    to.push(kernel, params.map(word).to_vec(), out.memory, vec![x.memory], n);
    Ok(())
}
