//! Products of matrices, with what follows them.

use crate::backend::wgpu::chain::{Expr, literal};
use crate::backend::wgpu::kernels::{Elem, Kernel, Shader};
use crate::backend::wgpu::lower::{Lower, Lowered, word};
use crate::backend::wgpu::view::{Memory, View};
use crate::graph::op::Activation;
use crate::graph::{Node, ValueId, Weight};

/// What `math.wgsl` calls it.
pub(super) fn with_activation(kernel: Kernel, activation: Option<Activation>) -> Kernel {
    let (number, alpha, beta) = match activation {
        None => return kernel,
        Some(Activation::Relu) => (1.0, 0.0, 0.0),
        Some(Activation::Sigmoid) => (2.0, 0.0, 0.0),
        Some(Activation::Tanh) => (3.0, 0.0, 0.0),
        Some(Activation::HardSwish) => (4.0, 0.0, 0.0),
        Some(Activation::Gelu { tanh: false }) => (5.0, 0.0, 0.0),
        Some(Activation::Gelu { tanh: true }) => (6.0, 0.0, 0.0),
        Some(Activation::LeakyRelu { alpha }) => (7.0, alpha, 0.0),
        // Bounds of an override must be finite.
        Some(Activation::Clip { min, max }) => (8.0, min.max(f32::MIN), max.min(f32::MAX)),
    };
    let kernel = kernel.with("ACTIVATION", number);
    kernel.with("ALPHA", f64::from(alpha)).with("BETA", f64::from(beta))
}

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

/// `[k, n]` or `[n, k]` weights as rows of k with columns filled up to fours.
fn packed(weight: &Weight, turned: bool, elem: Elem) -> Vec<u8> {
    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
    let (k, n) = if turned { (columns, rows) } else { (rows, columns) };
    let values = weight.to_f32();
    let wide = n.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(k * wide * elem.size());
    for row in 0..k {
        for column in 0..wide {
            let at = if turned { column * k + row } else { row * n + column };
            let value = if column < n { values[at] } else { 0.0 };
            match elem {
                Elem::F16 => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
                _ => bytes.extend(value.to_le_bytes()),
            }
        }
    }
    bytes
}

/// Name of the kernel for tables.
fn named(shader: Shader, a: Elem, w: Elem) -> String {
    let of = if a == w { a.wgsl().to_owned() } else { format!("{} × {}", a.wgsl(), w.wgsl()) };
    format!("{} {of}", shader.name())
}

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
    if k % 4 != 0 || k == 0 || n == 0 || !elem.is_float() || width != k {
        return Ok(None);
    }
    let a = to.in_order(a.clone());
    let m = a.len() / k;
    let form = format!("columns {turned} {}", elem.wgsl());
    let memory = to.weight(&weight, &form, || Ok(packed(&weight, turned, elem)))?;
    let bias = bias_of(to, bias, n)?;
    let mut dims = a.dims.clone();
    if let Some(last) = dims.last_mut() {
        *last = n;
    }
    let out = to.alloc(a.elem, dims);
    let fours = n.div_ceil(4);
    // Barriers are dear where the CPU computes, and a tile pays for many rows only.
    let shader = if to.gpu.is_software() || m < 16 { Shader::MatMul } else { Shader::Tiled };
    let kernel = Kernel::new(shader, 5).of("T", a.elem).of("A", a.elem).of("W", elem);
    let kernel = with_activation(kernel, activation);
    let params =
        vec![word(m), word(n), word(k / 4), word(fours), u32::from(bias.is_some()), 0, 0, 0];
    let groups = match shader {
        Shader::Tiled => [word(fours.div_ceil(16)), word(m.div_ceil(64)), 1],
        _ => [word(fours.div_ceil(16)), word(m.div_ceil(16)), 1],
    };
    let reads = vec![a.memory, memory, bias.unwrap_or(memory)];
    to.count(&named(shader, a.elem, elem), false, None);
    to.push(kernel, params, out.memory, reads, groups);
    Ok(Some(out))
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
    let wide = |view: &View| {
        let dims = [&batch[..], &view.dims[view.dims.len() - 2..]].concat();
        view.broadcast(&dims).ok_or("of sizes that do not fit")
    };
    let (a, b) = (wide(a)?, wide(b)?);
    let out = to.alloc(a.elem, [&batch[..], &[m, n]].concat());
    let rank = batch.len();
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
    let kernel = Kernel::new(Shader::Naive, 5).of("T", a.elem).of("A", a.elem).of("W", b.elem);
    let kernel = with_activation(kernel, activation);
    let matrices: usize = batch.iter().product();
    let groups = [word(n.div_ceil(16)), word(m.div_ceil(4)), word(matrices)];
    if matrices > to.gpu.limits.max_compute_workgroups_per_dimension as usize {
        return Err(format!("of {matrices} matrices, more than the adapter counts"));
    }
    to.count(&named(Shader::Naive, a.elem, b.elem), emulated.is_some(), emulated);
    if matrices * m * n > 0 {
        let reads = vec![a.memory, b.memory, bias.unwrap_or(b.memory)];
        to.push(kernel, params, out.memory, reads, groups);
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
