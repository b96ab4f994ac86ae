//! Operators over axes: rows that lie in order, one after the other.

use super::axis_of;
use crate::backend::wgpu::chain::Expr;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::{Part, Shader};
use crate::backend::wgpu::tune::{Candidate, class_of};
use crate::backend::wgpu::view::{Memory, View};
use crate::graph::op::Reduction;
use crate::graph::{Node, Weight};
use crate::variant::DType;

fn kind_number(kind: Reduction) -> f64 {
    match kind {
        Reduction::Sum => 0.0,
        Reduction::Mean => 1.0,
        Reduction::LogSum => 2.0,
        Reduction::Max => 3.0,
        Reduction::Min => 4.0,
        Reduction::Prod => 5.0,
        Reduction::L1 => 6.0,
        Reduction::SumSquare => 7.0,
        Reduction::L2 => 8.0,
        Reduction::LogSumExp => 9.0,
    }
}

/// Rows up to which sharing one out pays on any adapter, where it is as wide as `WIDE`.
const FEW: usize = 8;
/// See `FEW`.
const WIDE: u32 = 512;

/// A kernel of rows, shared out in the way that is fastest on the adapter.
fn by_rows(
    to: &mut Lower<'_>,
    class: &str,
    kernel: &Kernel,
    params: &[u32],
    out: Memory,
    reads: Vec<Memory>,
) -> Lowered {
    let (rows, width) = (params[0] as usize, params[1]);
    let mut ways = vec![Part::LanesAlone, Part::LanesShared];
    if to.gpu.has_subgroups() {
        ways.push(Part::LanesSubgroups);
    }
    // Barriers are dear where the CPU computes, but for few wide rows; everything else has many more invocations
    // than rows. Sums of many parts also lose fewer digits.
    let is_wide = rows <= FEW && width >= WIDE;
    if is_wide || !to.gpu.is_software() {
        ways.reverse();
    }
    let most = to.gpu.limits.max_compute_workgroups_per_dimension as usize;
    let candidates = ways.into_iter().map(|lanes| {
        let kernel = kernel.clone().after(lanes).by_rows(lanes);
        let groups = if lanes == Part::LanesAlone {
            groups(rows, to.gpu)
        } else {
            let x = rows.clamp(1, most);
            [word(x), word(rows.div_ceil(x)), 1]
        };
        Candidate { kernel, params: params.to_vec(), groups }
    });
    let candidates = candidates.collect();
    let class = format!("{class} ≤{} rows of {width}", class_of(rows));
    to.push_best(&class, candidates, out, reads, 0.0)
}

fn reduced(
    to: &mut Lower<'_>,
    node: &Node,
    view: &View,
    axes: &[usize],
    kind: Reduction,
) -> Lowered {
    let kept = (0..view.dims.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    let width: usize = axes.iter().map(|axis| view.dims[*axis]).product();
    if width == 0 {
        return Err("of no elements".to_owned());
    }
    let x = to.in_order(view.transposed(&order));
    let out = to.give(node)?;
    if !x.elem.is_float() {
        return whole(to, node, &x, &out, (width, kind));
    }
    let kernel = Kernel::new(Shader::Reduce, 3).of("T", x.elem).with("KIND", kind_number(kind));
    let params = [word(out.len()), word(width)];
    let class = format!("{kind:?} {}", x.elem.wgsl());
    by_rows(to, &class, &kernel, &params, out.memory, vec![x.memory])
}

/// The same of whole numbers.
fn whole(
    to: &mut Lower<'_>,
    node: &Node,
    x: &View,
    out: &View,
    (width, kind): (usize, Reduction),
) -> Lowered {
    let dtype = node.input(0).and_then(|id| to.graph.value(id).dtype);
    let wide = matches!(dtype, Some(DType::I32 | DType::I64));
    match kind {
        Reduction::Max | Reduction::Min => {}
        Reduction::LogSum | Reduction::L2 | Reduction::LogSumExp => {
            return Err("of whole numbers".to_owned());
        }
        _ if !wide => {
            return Err("of numbers that are held in 32 bits and would not wrap".to_owned());
        }
        _ => {}
    }
    let kernel =
        Kernel::new(Shader::ReduceWhole, 3).of("T", x.elem).with("KIND", kind_number(kind));
    let n = groups(out.len(), to.gpu);
    to.push(kernel, vec![word(out.len()), word(width)], out.memory, vec![x.memory], n);
    Ok(())
}

/// `LpNormalization`: rows by the sum of their sizes, or the root of that of their squares; rows of nothing stay.
pub(super) fn lp(to: &mut Lower<'_>, node: &Node, axis: i64, p: i64) -> Lowered {
    let id = Lower::input_id(node, 0)?;
    let view = to.view(id)?;
    if !view.elem.is_float() {
        return Err("of whole numbers".to_owned());
    }
    let axis = axis_of(axis, view.dims.len())?;
    let order: Vec<usize> = (0..view.dims.len()).filter(|a| *a != axis).chain([axis]).collect();
    let x = to.in_order(view.transposed(&order));
    let kind = if p == 1 { Reduction::L1 } else { Reduction::L2 };
    let width = view.dims[axis];
    let mut dims = view.dims.clone();
    dims[axis] = 1;
    let norms = to.alloc(view.elem, dims);
    let kernel = Kernel::new(Shader::Reduce, 3).of("T", x.elem).with("KIND", kind_number(kind));
    let class = format!("{kind:?} {}", x.elem.wgsl());
    let params = [word(norms.len()), word(width)];
    by_rows(to, &class, &kernel, &params, norms.memory, vec![x.memory])?;
    let (dims, elem) = (view.dims.clone(), view.elem);
    let parts = [to.leaf(&view, &dims)?, to.leaf(&norms, &dims)?];
    let [x, norm] = &parts;
    let value = format!("select({0} / {1}, 0.0, {1} == 0.0)", x.value, norm.value);
    to.finish(node, Expr::of(&[x, norm], value, elem, dims))
}

pub(super) fn reduce(
    to: &mut Lower<'_>,
    node: &Node,
    kind: Reduction,
    noop_with_empty_axes: bool,
) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let axes = match node.input(1) {
        None => None,
        Some(id) => {
            Some(to.graph.ints(Some(id)).ok_or("whose axes depend on the input's elements")?)
        }
    };
    let rank = view.dims.len();
    let axes: Vec<usize> = match axes {
        Some(axes) if !axes.is_empty() => {
            axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Lowered<_>>()?
        }
        _ if noop_with_empty_axes => Vec::new(),
        _ => (0..rank).collect(),
    };
    reduced(to, node, &view, &axes, kind)
}

/// The mean or the largest of every channel.
pub(super) fn global(to: &mut Lower<'_>, node: &Node, mean: bool) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let axes: Vec<usize> = (2..view.dims.len()).collect();
    reduced(to, node, &view, &axes, if mean { Reduction::Mean } else { Reduction::Max })
}

pub(super) fn softmax(to: &mut Lower<'_>, node: &Node, axis: i64, log: bool) -> Lowered {
    let view = to.view(Lower::input_id(node, 0)?)?;
    let axis = axis_of(axis, view.dims.len())?;
    // The axis is exchanged with the last one, and back.
    let mut order: Vec<usize> = (0..view.dims.len()).collect();
    let last = order.len() - 1;
    order.swap(axis, last);
    let x = to.in_order(view.transposed(&order));
    let out = to.alloc(x.elem, x.dims.clone());
    let width = x.dims[last];
    let rows = x.len().checked_div(width).unwrap_or(0);
    let kernel =
        Kernel::new(Shader::Softmax, 3).of("T", x.elem).with("LOG", f64::from(u8::from(log)));
    let class = format!("softmax {}", x.elem.wgsl());
    by_rows(to, &class, &kernel, &[word(rows), word(width)], out.memory, vec![x.memory])?;
    to.set(Lower::output_id(node)?, out.transposed(&order));
    Ok(())
}

/// A constant that scales or shifts, in f32.
fn factors(to: &mut Lower<'_>, node: &Node, index: usize) -> Lowered<Option<(Memory, Weight)>> {
    let Some(id) = node.input(index) else { return Ok(None) };
    let weight = to.graph.constant(Some(id)).ok_or("whose scale or shift is no constant")?.clone();
    let memory = to.numbers(&weight)?;
    Ok(Some((memory, weight)))
}

/// How rows are normalised.
struct Rows {
    count: usize,
    width: usize,
    epsilon: f32,
    /// Element i of row r is scaled by what is at (r % period) * step + (i / run) % own.
    period: usize,
    step: usize,
    run: usize,
    own: usize,
    centred: bool,
}

fn normalised(
    to: &mut Lower<'_>,
    node: &Node,
    x: &View,
    rows: &Rows,
    (scale, shift): (Memory, Option<Memory>),
) -> Lowered {
    let out = to.give(node)?;
    let kernel = Kernel::new(Shader::Norm, 5)
        .of("T", x.elem)
        .with("CENTRED", f64::from(u8::from(rows.centred)))
        .with("SHIFTED", f64::from(u8::from(shift.is_some())));
    let params = vec![
        word(rows.count),
        word(rows.width),
        rows.epsilon.to_bits(),
        word(rows.period),
        word(rows.step),
        word(rows.run),
        word(rows.own),
    ];
    let reads = vec![x.memory, scale, shift.unwrap_or(scale)];
    let class = format!("norm {}", x.elem.wgsl());
    by_rows(to, &class, &kernel, &params, out.memory, reads)
}

pub(super) fn layer(
    to: &mut Lower<'_>,
    node: &Node,
    axis: i64,
    epsilon: f32,
    centred: bool,
) -> Lowered {
    if node.outputs.len() > 1 && node.outputs[1..].iter().any(Option::is_some) {
        return Err("whose mean or deviation is asked for".to_owned());
    }
    let x = to.dense(Lower::input_id(node, 0)?)?;
    let axis = axis_of(axis, x.dims.len())?;
    let width: usize = x.dims[axis..].iter().product();
    let (scale, weight) = factors(to, node, 1)?.ok_or("without its scale")?;
    let shift = factors(to, node, 2)?;
    if weight.len() != width || shift.as_ref().is_some_and(|(_, w)| w.len() != width) {
        return Err("whose scale or shift is no row".to_owned());
    }
    let count = x.len().checked_div(width).unwrap_or(0);
    let rows = Rows { count, width, epsilon, period: 1, step: 0, run: 1, own: width, centred };
    normalised(to, node, &x, &rows, (scale, shift.map(|(memory, _)| memory)))
}

/// `InstanceNormalization`, and `GroupNormalization` with its number of groups.
pub(super) fn groups_of(channels: usize, groups: Option<usize>) -> Lowered<(usize, usize)> {
    let groups = groups.unwrap_or(channels);
    let each = channels.checked_div(groups).ok_or("of no groups")?;
    if each * groups == channels { Ok((groups, each)) } else { Err("of uneven groups".to_owned()) }
}

pub(super) fn grouped(
    to: &mut Lower<'_>,
    node: &Node,
    count: Option<usize>,
    epsilon: f32,
) -> Lowered {
    let x = to.dense(Lower::input_id(node, 0)?)?;
    let [batch, channels, ..] = x.dims[..] else { return Err("of no channels".to_owned()) };
    let (count, each) = groups_of(channels, count)?;
    let places: usize = x.dims[2..].iter().product();
    let (scale, weight) = factors(to, node, 1)?.ok_or("without its scale")?;
    let shift = factors(to, node, 2)?;
    if weight.len() != channels || shift.as_ref().is_some_and(|(_, w)| w.len() != channels) {
        return Err("whose scale or shift is no vector of the channels".to_owned());
    }
    let rows = Rows {
        count: batch * count,
        width: each * places,
        epsilon,
        period: count,
        step: each,
        run: places.max(1),
        own: each,
        centred: true,
    };
    normalised(to, node, &x, &rows, (scale, shift.map(|(memory, _)| memory)))
}

/// `BatchNormalization` for inference: one factor and one shift a channel, computed once.
pub(super) fn batch_norm(to: &mut Lower<'_>, node: &Node, epsilon: f32) -> Lowered {
    let id = Lower::output_id(node)?;
    let (elem, dims) = (to.elem(id)?, to.dims(id)?);
    let constant = |to: &Lower<'_>, index: usize| -> Lowered<Vec<f32>> {
        let weight =
            to.graph.constant(node.input(index)).ok_or("whose numbers are no constants")?;
        Ok(weight.to_f32())
    };
    let (scale, bias) = (constant(to, 1)?, constant(to, 2)?);
    let (mean, variance) = (constant(to, 3)?, constant(to, 4)?);
    let channels = dims.get(1).copied().unwrap_or(1);
    if [&scale, &bias, &mean, &variance].iter().any(|v| v.len() != channels) {
        return Err("whose numbers are no vectors of the channels".to_owned());
    }
    let factors: Vec<f32> =
        scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let shifts: Vec<f32> =
        bias.iter().zip(&mean).zip(&factors).map(|((b, m), f)| b - m * f).collect();
    let mut per_channel = vec![1; dims.len().saturating_sub(1)];
    if let Some(first) = per_channel.first_mut() {
        *first = channels;
    }
    let leaf = |to: &mut Lower<'_>, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let buffer = crate::backend::wgpu::buffers::filled(to.gpu, &bytes)?;
        let memory = to.keep(std::sync::Arc::new(buffer));
        to.leaf(&View::dense(memory, Elem::F32, per_channel.clone()), &dims)
    };
    let (factor, shift) = (leaf(to, &factors)?, leaf(to, &shifts)?);
    let x = to.operand(Lower::input_id(node, 0)?, &dims)?;
    let value = format!("({} * {} + {})", x.value, factor.value, shift.value);
    let expr = Expr::of(&[&x, &factor, &shift], value, elem, dims);
    to.finish(node, expr)
}
