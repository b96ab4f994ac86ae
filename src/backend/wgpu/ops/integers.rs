//! Products with integer weights, and quantisation itself.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::axis_of;
use super::product::{any, bias_of};
use super::ways::{Sizes, of_bytes, of_integers, with_activation};
use crate::backend::integers::{Activations, Integers, Product};
use crate::backend::wgpu::buffers;
use crate::backend::wgpu::chain::Expr;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::Shader;
use crate::backend::wgpu::tune::Candidate;
use crate::backend::wgpu::view::{Memory, View};
use crate::graph::op::QuantizeAttributes;
use crate::graph::{Node, ValueId};
use crate::variant::DType;

/// Invocations that look for a tensor's range.
const LOOKERS: usize = 256;

/// Bytes of 32-bit words.
fn words(all: impl Iterator<Item = u32>) -> Vec<u8> {
    all.flat_map(u32::to_le_bytes).collect()
}

/// A buffer of this plan's own.
fn kept(to: &mut Lower<'_>, bytes: &[u8]) -> Lowered<Memory> {
    let buffer = Arc::new(buffers::filled(to.gpu, bytes)?);
    Ok(to.keep(buffer))
}

/// Weights in the layout of a kernel, kept for all plans: by the constant that they are made of, and what
/// else goes into them.
fn shared(
    to: &mut Lower<'_>,
    product: &Product,
    form: &str,
    fill: impl FnOnce() -> Vec<u8>,
) -> Lowered<Memory> {
    let (graph, Integers { n, k, scales, offsets, .. }) = (to.graph, &product.weights);
    let mut digest = std::hash::DefaultHasher::new();
    for scale in scales {
        digest.write_u32(scale.to_bits());
    }
    offsets.hash(&mut digest);
    let form = format!("{form} {n}×{k} {:x}", digest.finish());
    match graph.constant(Some(product.of)) {
        Some(weight) => to.weight(weight, &form, || Ok(fill())),
        None => kept(to, &fill()),
    }
}

/// A product with integer weights, as it was recognised.
pub(in crate::backend::wgpu) fn product(
    to: &mut Lower<'_>,
    node: &Node,
    product: &Product,
) -> Lowered {
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let weights = &product.weights;
    let x = to.dense(product.x)?;
    if !x.elem.is_float() || x.dims.last() != Some(&weights.k) {
        return Err(format!("of {:?} with weights for {}", x.dims, weights.k));
    }
    let bias = bias_of(to, product.bias, weights.n)?;
    let (k, deep) = (weights.k, weights.k.next_multiple_of(4));
    // Blocks of the last axis that are no multiples of four begin in the middle of one.
    if weights.block != k && !weights.block.is_multiple_of(4) {
        return as_numbers(to, product, &x, bias, id, &dims);
    }
    let m = x.len() / k.max(1);
    let out = to.alloc(x.elem, [&x.dims[..x.dims.len() - 1], &[weights.n]].concat());
    let x = x.reshaped(&[m, k]).ok_or("whose sizes do not fit")?;
    let x = to.padded(&x, &[m, deep]);
    let is_narrow = |dtype| matches!(dtype, DType::I8 | DType::U8);
    let exact = weights.block == weights.k && weights.offsets.is_empty();
    match product.activations {
        Activations::Dynamic if exact => {
            let by = dynamic(to, product.x, &x);
            dots(to, product, &x, &out, by, bias)?;
        }
        Activations::Static { scale, zero, dtype } if exact && is_narrow(dtype) => {
            let shift = if dtype == DType::U8 { 128.0 } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, reason = "the model's numbers are f32")]
            let both = [(scale as f32).to_bits(), ((zero - shift) as f32).to_bits()];
            let by = match to.statics.get(&both) {
                Some(by) => *by,
                None => kept(to, &words(both.into_iter()))?,
            };
            to.statics.insert(both, by);
            dots(to, product, &x, &out, by, bias)?;
        }
        activations => {
            let x = match activations.bounds() {
                None => x,
                Some((low, high)) => cut(to, &x, low, high)?,
            };
            registers(to, product, &x, &out, bias)?;
        }
    }
    to.set(id, out.reshaped(&dims).ok_or("whose sizes do not fit")?);
    Ok(())
}

/// Weights that no kernel takes as whole numbers, as the numbers that they stand for.
fn as_numbers(
    to: &mut Lower<'_>,
    product: &Product,
    x: &View,
    bias: Option<Memory>,
    id: ValueId,
    dims: &[usize],
) -> Lowered {
    let weights = &product.weights;
    let real =
        shared(to, product, "numbers", || words(weights.real().into_iter().map(f32::to_bits)))?;
    let real = View::dense(real, Elem::F32, vec![weights.k, weights.n]);
    let x = match product.activations.bounds() {
        None => x.clone(),
        Some((low, high)) => cut(to, x, low, high)?,
    };
    let why = format!("blocks of {} are no multiple of 4", weights.block);
    let x = if x.dims.len() < 2 { x.reshaped(&[1, weights.k]).unwrap_or(x) } else { x };
    let out = any(to, &x, &real, (bias, product.activation), Some(why))?;
    to.set(id, out.reshaped(dims).ok_or("whose sizes do not fit")?);
    Ok(())
}

/// x between two bounds: what a quantisation that is left out would do besides rounding.
fn cut(to: &mut Lower<'_>, x: &View, low: f32, high: f32) -> Lowered<View> {
    let leaf = to.leaf(x, &x.dims)?;
    let number = |v: f32| super::super::chain::literal(f64::from(v), Elem::F32);
    let (low, high) = (number(low).ok_or("of infinity")?, number(high).ok_or("of infinity")?);
    let value = format!("clamp({}, {low}, {high})", leaf.value);
    to.emit(&Expr::of(&[&leaf], value, x.elem, x.dims.clone()))
}

/// A tensor's scale and zero point on 0 to 255, less 128, found once however many products read it.
fn dynamic(to: &mut Lower<'_>, id: ValueId, x: &View) -> Memory {
    if let Some(by) = to.ranges.get(&id) {
        return *by;
    }
    let ends = to.alloc(Elem::F32, vec![LOOKERS, 2]);
    let kernel = Kernel::new(Shader::Range, 3).of("T", x.elem);
    let n = [word(LOOKERS / 64), 1, 1];
    to.push(kernel, vec![word(x.len())], ends.memory, vec![x.memory], n);
    let by = to.alloc(Elem::F32, vec![2]);
    let kernel = Kernel::new(Shader::Scale, 3);
    to.push(kernel, vec![word(LOOKERS)], by.memory, vec![ends.memory], [1, 1, 1]);
    to.ranges.insert(id, by.memory);
    by.memory
}

/// Both factors in 8 bits; x is `[m, k]`, its rows filled up to fours.
fn dots(
    to: &mut Lower<'_>,
    product: &Product,
    x: &View,
    out: &View,
    by: Memory,
    bias: Option<Memory>,
) -> Lowered {
    let Integers { n, k, values, scales, .. } = &product.weights;
    let (n, k, m, deep) = (*n, *k, x.dims[0], x.dims[1]);
    let wide = n.next_multiple_of(4);
    let packed = || {
        let word = |step: usize, column: usize| {
            (0..4).fold(0_u32, |all, j| {
                let at = step * 4 + j;
                let inside = column < n && at < k;
                let byte = if inside { values[column * k + at].cast_unsigned() } else { 0 };
                all | u32::from(byte) << (8 * j)
            })
        };
        words((0..deep / 4).flat_map(|step| (0..wide).map(move |column| word(step, column))))
    };
    let w = shared(to, product, "dots", packed)?;
    let sums = || {
        let sum = |row: &[i8]| row.iter().map(|v| i32::from(*v)).sum::<i32>();
        words(values.chunks_exact(k).map(|row| sum(row).cast_unsigned()))
    };
    let sums = shared(to, product, "sums", sums)?;
    let scales = || words(scales.iter().map(|v| v.to_bits()));
    let scales = shared(to, product, "scales", scales)?;
    let key = (x.memory, by);
    let a = if let Some(a) = to.quantised.get(&key) {
        *a
    } else {
        let a = to.alloc(Elem::I32, vec![m, deep / 4]);
        let kernel = Kernel::new(Shader::Quantise, 4).of("T", x.elem);
        let all = m * deep / 4;
        let reads = vec![x.memory, by];
        to.push(kernel, vec![word(all)], a.memory, reads, groups(all, to.gpu));
        to.quantised.insert(key, a.memory);
        a.memory
    };
    let quant = match product.activations {
        Activations::Static { dtype, .. } => format!("static {dtype}"),
        _ => "dynamic uint8, a scale a tensor".to_owned(),
    };
    to.count_quantised("dot4I8Packed", quant);
    let sizes = Sizes { z: 1, m, k: deep, n };
    let kernel = |shader: Shader, is_packed: bool| Candidate {
        kernel: with_activation(of_bytes(shader, x.elem, is_packed), product.activation),
        params: sizes.params(bias.is_some(), true, true),
        groups: sizes.groups(shader),
    };
    let tiles = m > 32 && !to.gpu.is_software();
    let mut candidates = vec![kernel(Shader::Dots, true), kernel(Shader::Dots, false)];
    if tiles {
        candidates.insert(0, kernel(Shader::DotsTiled, true));
    }
    let reads = vec![a, w, scales, sums, by, bias.unwrap_or(scales)];
    let class = sizes.class(&format!("product of bytes to {}", x.elem.wgsl()));
    to.push_best(&class, candidates, out.memory, reads, sizes.flops())
}

/// Weights that become numbers in registers; the other factor, `[m, k]` with its rows filled up to fours, stays
/// what it is.
fn registers(
    to: &mut Lower<'_>,
    product: &Product,
    x: &View,
    out: &View,
    bias: Option<Memory>,
) -> Lowered {
    let Integers { n, k, values, scales, block, offsets } = &product.weights;
    let (n, k, block, m, deep) = (*n, *k, *block, x.dims[0], x.dims[1]);
    let wide = n.next_multiple_of(4);
    let is_narrow = values.iter().all(|v| (-8..8).contains(v));
    let at = |row: usize, column: usize| -> u32 {
        let inside = column < n && row < k;
        if inside { u32::from(values[column * k + row].cast_unsigned()) } else { 0 }
    };
    let packed = || {
        let bytes = |row: usize, four: usize| {
            (0..4).fold(0_u32, |all, j| all | at(row, four * 4 + j) << (8 * j))
        };
        let nibbles = |row: usize, four: usize| {
            (0..8)
                .fold(0_u32, |all, j| all | (at(row * 2 + j / 4, four * 4 + j % 4) & 15) << (4 * j))
        };
        if is_narrow {
            words((0..deep / 2).flat_map(|r| (0..wide / 4).map(move |f| nibbles(r, f))))
        } else {
            words((0..deep).flat_map(|r| (0..wide / 4).map(move |f| bytes(r, f))))
        }
    };
    let w = shared(to, product, "registers", packed)?;
    let blocks = k.div_ceil(block);
    let factors = || {
        let of = |b: usize, column: usize| {
            if column < n { scales[column * blocks + b].to_bits() } else { 0 }
        };
        words((0..blocks).flat_map(|b| (0..wide).map(move |column| of(b, column))))
    };
    let factors = shared(to, product, "block scales", factors)?;
    let shifts = if offsets.is_empty() {
        factors
    } else {
        let all = || {
            let of = |column: usize| offsets.get(column).map_or(0.0, |v| f32::from(*v)).to_bits();
            words((0..wide).map(of))
        };
        shared(to, product, "offsets", all)?
    };
    let bits = if is_narrow { 4 } else { 8 };
    let sizes = Sizes { z: 1, m, k: deep, n };
    // The last block may be shorter, or filled up.
    let block = if block == k { deep } else { block };
    let candidates = sizes.shaders(to.gpu, Shader::Integers).into_iter().map(|shader| {
        let kernel = of_integers(shader, x.elem, is_narrow, !offsets.is_empty());
        let mut params = sizes.params(bias.is_some(), true, true);
        params.push(word(block));
        let kernel = with_activation(kernel, product.activation);
        Candidate { kernel, params, groups: sizes.groups(shader) }
    });
    let candidates = candidates.collect();
    let name = format!("weights of {bits} bits in registers, {}", x.elem.wgsl());
    let (is_left_out, asks) =
        (product.activations != Activations::Kept, product.activations.name());
    let why = is_left_out.then(|| format!("the model asks for {asks} of the other factor"));
    to.count(&name, is_left_out, why);
    let reads = vec![x.memory, w, factors, shifts, bias.unwrap_or(factors)];
    let class = sizes.class(&format!("product {} × {bits} bits", x.elem.wgsl()));
    to.push_best(&class, candidates, out.memory, reads, sizes.flops())
}

/// Bounds of a type of 8 bits.
pub(super) fn bounds(dtype: DType) -> Lowered<(&'static str, &'static str)> {
    match dtype {
        DType::U8 => Ok(("0.0", "255.0")),
        DType::I8 => Ok(("-128.0", "127.0")),
        _ => Err(format!("to {dtype}")),
    }
}

/// A scale or zero point, with its axis where it has one.
pub(super) fn along(to: &mut Lower<'_>, id: ValueId, axis: i64, dims: &[usize]) -> Lowered<Expr> {
    let view = to.view(id)?;
    if view.len() == 1 {
        return to.operand(id, dims);
    }
    let axis = axis_of(axis, dims.len())?;
    if view.dims != [dims[axis]] {
        return Err(format!("with scales of {:?} along axis {axis}", view.dims));
    }
    let mut shape = vec![1; dims.len() - axis];
    shape[0] = dims[axis];
    let view = to.in_order(view).reshaped(&shape).ok_or("with scales that do not fit")?;
    to.leaf(&view, dims)
}

pub(super) fn quantize(
    to: &mut Lower<'_>,
    node: &Node,
    attributes: &QuantizeAttributes,
) -> Lowered {
    if attributes.block_size > 0 {
        return Err("in blocks".to_owned());
    }
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let given = to.graph.value(id).dtype.ok_or("to an unknown type")?;
    let (low, high) = bounds(given)?;
    let x = to.operand(Lower::input_id(node, 0)?, &dims)?;
    let scale = along(to, Lower::input_id(node, 1)?, attributes.axis, &dims)?;
    let mut parts = vec![x, scale];
    let mut value = format!("round_even({} / {})", parts[0].value, parts[1].value);
    if let Some(zero) = node.input(2) {
        let zero = along(to, zero, attributes.axis, &dims)?;
        value = format!("{value} + f32({})", zero.value);
        parts.push(zero);
    }
    let parts: Vec<&Expr> = parts.iter().collect();
    let value = format!("i32(clamp({value}, {low}, {high}))");
    let view = to.emit(&Expr::of(&parts, value, Elem::I32, dims))?;
    to.set(id, view);
    Ok(())
}

pub(super) fn dequantize(to: &mut Lower<'_>, node: &Node, axis: i64, block_size: usize) -> Lowered {
    if block_size > 0 {
        return Err("in blocks".to_owned());
    }
    let id = Lower::output_id(node)?;
    let (elem, dims) = (to.elem(id)?, to.dims(id)?);
    if elem == Elem::F32
        && let Some(memory) = real(to, node, axis, &dims)?
    {
        to.set(id, View::dense(memory, elem, dims));
        return Ok(());
    }
    let x = to.operand(Lower::input_id(node, 0)?, &dims)?;
    let scale = along(to, Lower::input_id(node, 1)?, axis, &dims)?;
    let mut parts = vec![x, scale];
    let mut value = format!("f32({})", parts[0].value);
    if let Some(zero) = node.input(2) {
        let zero = along(to, zero, axis, &dims)?;
        value = format!("({value} - f32({}))", zero.value);
        parts.push(zero);
    }
    let value = format!("({value} * {})", parts[1].value);
    let parts: Vec<&Expr> = parts.iter().collect();
    let expr = Expr::of(&parts, value, elem, dims);
    to.finish(node, expr)
}

/// Constants as the numbers that they stand for, made once.
fn real(to: &mut Lower<'_>, node: &Node, axis: i64, dims: &[usize]) -> Lowered<Option<Memory>> {
    let graph = to.graph;
    let constant = |index: usize| graph.constant(node.input(index));
    let (Some(weight), Some(scale)) = (constant(0), constant(1)) else { return Ok(None) };
    let zeros = match (node.input(2), constant(2)) {
        (None, _) => vec![0],
        (Some(_), Some(zeros)) => zeros.to_i64().ok_or("with odd zero points")?,
        (Some(_), None) => return Ok(None),
    };
    let (whole, scales) = (weight.to_i64().ok_or("of no whole numbers")?, scale.to_f32());
    let inner: usize = match axis_of(axis, dims.len()) {
        Ok(axis) => dims[axis + 1..].iter().product(),
        Err(why) if scales.len() > 1 || zeros.len() > 1 => return Err(why),
        Err(_) => 1,
    };
    let mut digest = std::hash::DefaultHasher::new();
    scale.bytes().hash(&mut digest);
    zeros.hash(&mut digest);
    let form = format!("real {axis} {:x}", digest.finish());
    let fill = || {
        let value = |(at, v): (usize, &i64)| {
            let channel = at / inner.max(1);
            (v - zeros[channel % zeros.len()]) as f32 * scales[channel % scales.len()]
        };
        Ok(words(whole.iter().enumerate().map(value).map(f32::to_bits)))
    };
    to.weight(weight, &form, fill).map(Some)
}

pub(super) fn dynamic_quantize(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let source = Lower::input_id(node, 0)?;
    let x = to.dense(source)?;
    let by = dynamic(to, source, &x);
    let both = View::dense(by, Elem::F32, vec![2]);
    let scalar =
        |at: usize| View { dims: Vec::new(), strides: Vec::new(), offset: at, ..both.clone() };
    let (scale, zero) = (scalar(0), scalar(1));
    if let Some(id) = node.output(0) {
        let parts = [to.leaf(&x, &x.dims)?, to.leaf(&scale, &x.dims)?, to.leaf(&zero, &x.dims)?];
        let [x_of, s, z] = &parts;
        let value = format!(
            "i32(clamp(round_even({} / {}) + {} + 128.0, 0.0, 255.0))",
            x_of.value, s.value, z.value
        );
        let expr = Expr::of(&[x_of, s, z], value, Elem::I32, x.dims.clone());
        let view = to.emit(&expr)?;
        to.set(id, view);
    }
    if let Some(id) = node.output(1) {
        to.set(id, scale);
    }
    if let Some(id) = node.output(2) {
        let leaf = to.leaf(&zero, &[])?;
        let value = format!("i32({} + 128.0)", leaf.value);
        let view = to.emit(&Expr::of(&[&leaf], value, Elem::I32, Vec::new()))?;
        to.set(id, view);
    }
    Ok(())
}
