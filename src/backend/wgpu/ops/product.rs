//! Products of matrices, with what follows them.

use super::ways::{Sizes, of_floats, with_activation};
use crate::backend::wgpu::chain::{Expr, literal};
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, word};
use crate::backend::wgpu::shader::{Part, Shader};
use crate::backend::wgpu::tune::Candidate;
use crate::backend::wgpu::view::{Memory, View};
use crate::graph::op::Activation;
use crate::graph::{Node, ValueId, Weight};

/// A bias: a vector of the columns.
pub(super) fn bias_of(
    to: &mut Lower<'_>,
    id: Option<ValueId>,
    n: usize,
) -> Lowered<Option<Memory>> {
    let Some(id) = id else { return Ok(None) };
    let (memory, dims) = floats(to, id)?;
    if dims.iter().product::<usize>() != n {
        return Err(format!("whose bias is no vector of {n}"));
    }
    Ok(Some(memory))
}

/// Numbers in f32, whether they are constants or not, with their sizes.
pub(super) fn floats(to: &mut Lower<'_>, id: ValueId) -> Lowered<(Memory, Vec<usize>)> {
    if let Some(weight) = to.graph.constant(Some(id)).filter(|w| w.dtype().is_float()) {
        return Ok((to.numbers(weight)?, weight.shape().to_vec()));
    }
    let view = to.dense(id)?;
    if view.elem != Elem::F32 {
        return Err("whose weights are halves and no constants".to_owned());
    }
    Ok((view.memory, view.dims))
}

/// `[k, n]` or `[n, k]` weights as rows of k, rows and columns filled up to fours with zeros.
fn packed(weight: &Weight, turned: bool, elem: Elem) -> Vec<u8> {
    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
    let (k, n) = if turned { (columns, rows) } else { (rows, columns) };
    let values = weight.to_f32();
    let (deep, wide) = (k.next_multiple_of(4), n.next_multiple_of(4));
    let mut bytes = Vec::with_capacity(deep * wide * elem.size());
    for row in 0..deep {
        for column in 0..wide {
            let at = if turned { column * k + row } else { row * n + column };
            let value = if column < n && row < k { values[at] } else { 0.0 };
            match elem {
                Elem::F16 => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
                _ => bytes.extend(value.to_le_bytes()),
            }
        }
    }
    bytes
}

/// Products of factors that do not lie as kernels want them are multiplied where they lie below this many
/// floating-point operations: copying takes longer.
const COPIED: f64 = 1e5;

/// `activation(a · w + bias)` for constant weights with two axes; `None` where no kernel for them fits.
fn constant(
    to: &mut Lower<'_>,
    a: &View,
    w: ValueId,
    turned: bool,
    (bias, activation): (Option<ValueId>, Option<Activation>),
) -> Lowered<Option<View>> {
    let Some(weight) = to.graph.constant(Some(w)).cloned() else { return Ok(None) };
    let &[rows, columns] = weight.shape() else { return Ok(None) };
    let (k, n) = if turned { (columns, rows) } else { (rows, columns) };
    let elem = to.elem(w)?;
    let width = a.dims.last().copied().unwrap_or(1);
    if k == 0 || n == 0 || !elem.is_float() || width != k {
        return Ok(None);
    }
    let form = format!("columns {turned} {}", elem.wgsl());
    let memory = to.weight(&weight, &form, || Ok(packed(&weight, turned, elem)))?;
    let bias = bias_of(to, bias, n)?;
    let dims = [&a.dims[..a.dims.len() - 1], &[n]].concat();
    let sizes = Sizes { z: 1, m: a.len() / k, k, n };
    let out = multiplied(to, a, (memory, elem), sizes, (bias, activation), None)?;
    Ok(Some(out.reshaped(&dims).ok_or("whose sizes do not fit")?))
}

/// The product of rows of `a` with one matrix that lies as kernels want it: `[m, n]`.
fn multiplied(
    to: &mut Lower<'_>,
    a: &View,
    (b, b_elem): (Memory, Elem),
    sizes: Sizes,
    (bias, activation): (Option<Memory>, Option<Activation>),
    emulated: Option<String>,
) -> Lowered<View> {
    let Sizes { m, k, n, .. } = sizes;
    let deep = k.next_multiple_of(4);
    let a = to.in_order(a.clone()).reshaped(&[m, k]).ok_or("whose sizes do not fit")?;
    let a = to.padded(&a, &[m, deep]);
    let out = to.alloc(a.elem, vec![m, n]);
    let sizes = Sizes { k: deep, ..sizes };
    let factors = Factors { a: &a, b, b_elem, a_repeats: true, b_repeats: true };
    product(to, &factors, sizes, (bias, activation), &out, emulated)?;
    Ok(out)
}

/// Two factors that lie as kernels want them.
struct Factors<'v> {
    a: &'v View,
    b: Memory,
    b_elem: Elem,
    /// Whether one matrix serves all.
    a_repeats: bool,
    b_repeats: bool,
}

fn product(
    to: &mut Lower<'_>,
    factors: &Factors<'_>,
    sizes: Sizes,
    (bias, activation): (Option<Memory>, Option<Activation>),
    out: &View,
    emulated: Option<String>,
) -> Lowered {
    let Factors { a, b, b_elem, a_repeats, b_repeats } = *factors;
    let params = sizes.params(bias.is_some(), a_repeats, b_repeats);
    let candidates = sizes.shaders(to.gpu, Shader::MatMul).into_iter().map(|shader| {
        let kernel = with_activation(of_floats(shader, a.elem, b_elem), activation);
        Candidate { kernel, params: params.clone(), groups: sizes.groups(shader) }
    });
    let candidates = candidates.collect();
    to.count(&named("product", a.elem, b_elem), emulated.is_some(), emulated);
    let class = sizes.class(&named("product", a.elem, b_elem));
    let reads = vec![a.memory, b, bias.unwrap_or(b)];
    to.push_best(&class, candidates, out.memory, reads, sizes.flops())
}

/// What is computed with what, for tables.
fn named(what: &str, a: Elem, w: Elem) -> String {
    let of = if a == w { a.wgsl().to_owned() } else { format!("{} × {}", a.wgsl(), w.wgsl()) };
    format!("{what} {of}")
}

/// `a · b` for factors of any layout.
///
/// `emulated` says why integer weights came here.
pub(super) fn any(
    to: &mut Lower<'_>,
    a: &View,
    b: &View,
    (bias, activation): (Option<Memory>, Option<Activation>),
    emulated: Option<String>,
) -> Lowered<View> {
    let (ra, rb) = (a.dims.len(), b.dims.len());
    let (m, k, n) = (a.dims[ra - 2], a.dims[ra - 1], b.dims[rb - 1]);
    if b.dims[rb - 2] != k || !a.elem.is_float() || !b.elem.is_float() {
        return Err(format!("of {:?} and {:?}", a.dims, b.dims));
    }
    let batch = together(&a.dims[..ra - 2], &b.dims[..rb - 2])
        .ok_or_else(|| format!("of {:?} and {:?}", a.dims, b.dims))?;
    let z: usize = batch.iter().product();
    if z > to.gpu.limits.max_compute_workgroups_per_dimension as usize {
        return Err(format!("of {z} matrices, more than the adapter counts"));
    }
    let dims = [&batch[..], &[m, n]].concat();
    let sizes = Sizes { z, m, k, n };
    if sizes.flops() < COPIED {
        return in_place(to, a, b, &dims, (bias, activation), emulated);
    }
    // One matrix for all, or one for each.
    let alone = |view: &View| view.dims[..view.dims.len() - 2].iter().product::<usize>() == 1;
    let (a_repeats, b_repeats) = (alone(a), alone(b));
    if b_repeats && !(a_repeats && batch.is_empty()) {
        // Rows of all matrices are rows of one.
        let sizes = Sizes { z: 1, m: z * m, k, n };
        let b = matrices(to, b, false, (k, n), &[])?;
        let b = (b.memory, b.elem);
        let out = multiplied(to, a, b, sizes, (bias, activation), emulated)?;
        return Ok(out.reshaped(&dims).ok_or("whose sizes do not fit")?);
    }
    let sizes = Sizes { k: k.next_multiple_of(4), ..sizes };
    let a = matrices(to, a, true, (m, k), if a_repeats { &[] } else { &batch })?;
    let b = matrices(to, b, false, (k, n), if b_repeats { &[] } else { &batch })?;
    let out = to.alloc(a.elem, dims);
    let factors = Factors { a: &a, b: b.memory, b_elem: b.elem, a_repeats, b_repeats };
    product(to, &factors, sizes, (bias, activation), &out, emulated)?;
    Ok(out)
}

/// Matrices in order, one after the other: rows filled up to fours, and where they are a second factor's, as
/// many rows of them.
fn matrices(
    to: &mut Lower<'_>,
    view: &View,
    first: bool,
    (rows, columns): (usize, usize),
    batch: &[usize],
) -> Lowered<View> {
    let dims = [batch, &[rows, columns]].concat();
    let wide = if batch.is_empty() { view.reshaped(&dims) } else { view.broadcast(&dims) };
    let wide = match wide {
        Some(wide) => wide,
        None => to.in_order(view.clone()).reshaped(&dims).ok_or("of sizes that do not fit")?,
    };
    let filled = if first { rows } else { rows.next_multiple_of(4) };
    let full = [batch, &[filled, columns.next_multiple_of(4)]].concat();
    Ok(to.padded(&wide, &full))
}

/// `a · b` where they lie, one element an invocation.
fn in_place(
    to: &mut Lower<'_>,
    a: &View,
    b: &View,
    dims: &[usize],
    (bias, activation): (Option<Memory>, Option<Activation>),
    emulated: Option<String>,
) -> Lowered<View> {
    let rank = dims.len() - 2;
    let (batch, m, n) = (&dims[..rank], dims[rank], dims[rank + 1]);
    let k = a.dims.last().copied().unwrap_or(0);
    let wide = |view: &View| {
        let dims = [batch, &view.dims[view.dims.len() - 2..]].concat();
        view.broadcast(&dims).ok_or("of sizes that do not fit")
    };
    let (a, b) = (wide(a)?, wide(b)?);
    let out = to.alloc(a.elem, dims.to_vec());
    let mut params = vec![
        word(m),
        word(n),
        word(k),
        u32::from(bias.is_some()),
        word(a.offset),
        word(a.strides[rank]),
        word(a.strides[rank + 1]),
        word(b.offset),
        word(b.strides[rank]),
        word(b.strides[rank + 1]),
        word(rank),
    ];
    let all = batch.iter().chain(&a.strides[..rank]).chain(&b.strides[..rank]);
    params.extend(all.map(|v| word(*v)));
    let kernel = Kernel::new(Shader::Naive, 5).after(Part::Math);
    let kernel = kernel.of("T", a.elem).of("A", a.elem).of("W", b.elem);
    let kernel = with_activation(kernel, activation);
    let z: usize = batch.iter().product();
    let groups = [word(n.div_ceil(16)), word(m.div_ceil(4)), word(z)];
    to.count(&named("product", a.elem, b.elem), emulated.is_some(), emulated);
    if z * m * n > 0 {
        let reads = vec![a.memory, b.memory, bias.unwrap_or(b.memory)];
        let flops = Sizes { z, m, k, n }.flops();
        let candidate = Candidate { kernel, params, groups };
        to.push_best("", vec![candidate], out.memory, reads, flops)?;
    }
    Ok(out)
}

/// The sizes that two of batches have together.
fn together(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |of: &[usize], axis: usize| {
        (axis + of.len()).checked_sub(rank).and_then(|i| of.get(i)).copied().unwrap_or(1)
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect()
}

/// `MatMul` and `Linear`.
pub(super) fn matmul(to: &mut Lower<'_>, node: &Node, activation: Option<Activation>) -> Lowered {
    let (first, second) = (Lower::input_id(node, 0)?, Lower::input_id(node, 1)?);
    let a = to.view(first)?;
    let id = Lower::output_id(node)?;
    if !a.elem.is_float() {
        return Err("of whole numbers".to_owned());
    }
    let with = (node.input(2), activation);
    let out = if let Some(out) = constant(to, &a, second, false, with)? {
        out
    } else {
        {
            let b = to.view(second)?;
            let (mut left, mut right) = (a.clone(), b.clone());
            if left.dims.len() == 1 {
                left.dims.insert(0, 1);
                left.strides.insert(0, 0);
            }
            if right.dims.len() == 1 {
                right.dims.push(1);
                right.strides.push(0);
            }
            if left.dims.len() < 2 || right.dims.len() < 2 {
                return Err("of a number".to_owned());
            }
            let n = right.dims.last().copied().unwrap_or(1);
            let bias = bias_of(to, node.input(2), n)?;
            any(to, &left, &right, (bias, activation), None)?
        }
    };
    let dims = to.dims(id)?;
    to.set(id, out.reshaped(&dims).ok_or("whose sizes do not fit")?);
    Ok(())
}

/// `Gemm`.
pub(super) fn gemm(
    to: &mut Lower<'_>,
    node: &Node,
    (alpha, beta): (f32, f32),
    (trans_a, trans_b): (bool, bool),
    activation: Option<Activation>,
) -> Lowered {
    let (first, second) = (Lower::input_id(node, 0)?, Lower::input_id(node, 1)?);
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let a = to.view(first)?;
    if !a.elem.is_float() || a.dims.len() != 2 {
        return Err("of whole numbers, or of no matrices".to_owned());
    }
    let a = if trans_a { a.transposed(&[1, 0]) } else { a };
    let c = node.input(2);
    #[expect(clippy::float_cmp, reason = "1 is stored as 1")]
    let plain = alpha == 1.0 && (c.is_none() || beta == 1.0);
    let is_row = |to: &Lower<'_>, c: ValueId| {
        let size = to.dims(c);
        size.is_ok_and(|d| d.iter().product::<usize>() == dims[1] && d.last() == Some(&dims[1]))
    };
    let fits = plain && c.is_none_or(|c| is_row(to, c));
    let with = if fits { (c, activation) } else { (None, None) };
    let product = if let Some(out) = constant(to, &a, second, trans_b, with)? {
        out
    } else {
        {
            let b = to.view(second)?;
            if b.dims.len() != 2 {
                return Err("of no matrices".to_owned());
            }
            let b = if trans_b { b.transposed(&[1, 0]) } else { b };
            let bias = bias_of(to, with.0, dims[1])?;
            any(to, &a, &b, (bias, with.1), None)?
        }
    };
    if fits {
        to.set(id, product);
        return Ok(());
    }
    let number = |v: f32| literal(f64::from(v), Elem::F32).ok_or("with an infinite factor");
    let x = to.leaf(&product, &dims)?;
    let mut parts = vec![x];
    let mut value = format!("{} * {}", number(alpha)?, parts[0].value);
    if let Some(c) = c {
        let c = to.operand(c, &dims)?;
        value = format!("{value} + {} * {}", number(beta)?, c.value);
        parts.push(c);
    }
    let value = activated(&format!("({value})"), activation)?;
    let parts: Vec<&Expr> = parts.iter().collect();
    let expr = Expr::of(&parts, value, product.elem, dims);
    to.finish(node, expr)
}

/// An activation as text.
fn activated(x: &str, activation: Option<Activation>) -> Lowered<String> {
    let number = |v: f32| literal(f64::from(v), Elem::F32).ok_or("with an infinite bound");
    Ok(match activation {
        None => x.to_owned(),
        Some(Activation::Relu) => format!("max({x}, 0.0)"),
        Some(Activation::Sigmoid) => format!("sigmoid({x})"),
        Some(Activation::Tanh) => format!("bounded_tanh({x})"),
        Some(Activation::HardSwish) => format!("hard_swish({x})"),
        Some(Activation::Gelu { tanh: false }) => format!("gelu({x})"),
        Some(Activation::Gelu { tanh: true }) => format!("gelu_tanh({x})"),
        Some(Activation::LeakyRelu { alpha }) => {
            format!("select({x}, {} * {x}, {x} < 0.0)", number(alpha)?)
        }
        Some(Activation::Clip { min, max }) => {
            format!("clamp({x}, {}, {})", number(min.max(f32::MIN))?, number(max.min(f32::MAX))?)
        }
    })
}
