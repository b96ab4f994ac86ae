//! Products of whole numbers that no quantised kernel takes: multiplied as floats, and marked.

use super::integers::{along, bounds};
use super::product::{any, bias_of};
use super::window::convolved;
use crate::backend::integers::unpacked;
use crate::backend::wgpu::buffers;
use crate::backend::wgpu::chain::Expr;
use crate::backend::wgpu::kernels::Elem;
use crate::backend::wgpu::lower::{Lower, Lowered};
use crate::backend::wgpu::view::{Memory, View};
use crate::graph::op::{ConvAttributes, NBits};
use crate::graph::{Node, ValueId};

/// Why.
const AS_FLOATS: &str = "no kernel takes this form of whole numbers";

/// `(x − zero) · scale` in f32, each along `axis` where it has one.
fn real(
    to: &mut Lower<'_>,
    x: ValueId,
    scale: Option<ValueId>,
    zero: Option<ValueId>,
    axis: i64,
) -> Lowered<View> {
    let dims = to.dims(x)?;
    let mut parts = vec![to.operand(x, &dims)?];
    let mut value = format!("f32({})", parts[0].value);
    if let Some(zero) = zero {
        let zero = along(to, zero, axis, &dims)?;
        value = format!("({value} - f32({}))", zero.value);
        parts.push(zero);
    }
    if let Some(scale) = scale {
        let scale = along(to, scale, axis, &dims)?;
        value = format!("({value} * {})", scale.value);
        parts.push(scale);
    }
    let parts: Vec<&Expr> = parts.iter().collect();
    to.emit(&Expr::of(&parts, value, Elem::F32, dims))
}

/// Rounded to whole numbers by a scale and a zero point: a node's output.
fn quantised(to: &mut Lower<'_>, node: &Node, x: &View, scale: usize, zero: usize) -> Lowered {
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let (low, high) = bounds(to.graph.value(id).dtype.ok_or("to an unknown type")?)?;
    let x = x.reshaped(&dims).ok_or("whose sizes do not fit")?;
    let x = to.leaf(&x, &dims)?;
    let scale = along(to, Lower::input_id(node, scale)?, 1, &dims)?;
    let zero = along(to, Lower::input_id(node, zero)?, 1, &dims)?;
    let value = format!("round_even({} / {}) + f32({})", x.value, scale.value, zero.value);
    let value = format!("i32(clamp({value}, {low}, {high}))");
    to.finish(node, Expr::of(&[&x, &scale, &zero], value, Elem::I32, dims))
}

fn matrix(view: View, first: bool) -> View {
    let dims = match view.dims[..] {
        [n] if first => vec![1, n],
        [n] => vec![n, 1],
        _ => return view,
    };
    view.reshaped(&dims).unwrap_or(view)
}

fn multiplied(to: &mut Lower<'_>, a: View, b: View) -> Lowered<View> {
    let (a, b) = (matrix(a, true), matrix(b, false));
    if a.dims.len() < 2 || b.dims.len() < 2 {
        return Err("of a number".to_owned());
    }
    any(to, &a, &b, (None, None), Some(AS_FLOATS.to_owned()))
}

/// `MatMulInteger`: exact while sums stay below 2²⁴.
pub(super) fn matmul_integer(to: &mut Lower<'_>, node: &Node) -> Lowered {
    // A zero point is one of a row of a, and one of a column of b.
    let a = real(to, Lower::input_id(node, 0)?, None, node.input(2), -2)?;
    let b = real(to, Lower::input_id(node, 1)?, None, node.input(3), -1)?;
    let out = multiplied(to, a, b)?;
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    let out = out.reshaped(&dims).ok_or("whose sizes do not fit")?;
    let leaf = to.leaf(&out, &dims)?;
    let value = format!("i32(round_even({}))", leaf.value);
    to.finish(node, Expr::of(&[&leaf], value, Elem::I32, dims))
}

pub(super) fn qlinear_matmul(to: &mut Lower<'_>, node: &Node) -> Lowered {
    let a = real(to, Lower::input_id(node, 0)?, node.input(1), node.input(2), -2)?;
    let b = real(to, Lower::input_id(node, 3)?, node.input(4), node.input(5), -1)?;
    let out = multiplied(to, a, b)?;
    quantised(to, node, &out, 6, 7)
}

pub(super) fn qlinear_conv(to: &mut Lower<'_>, node: &Node, conv: &ConvAttributes) -> Lowered {
    let x = real(to, Lower::input_id(node, 0)?, node.input(1), node.input(2), 1)?;
    let w = real(to, Lower::input_id(node, 3)?, node.input(4), node.input(5), 0)?;
    let bias = match node.input(8) {
        None => None,
        // In steps of both scales.
        Some(id) => {
            let dims = to.dims(id)?;
            let parts = [
                to.operand(id, &dims)?,
                along(to, Lower::input_id(node, 1)?, 0, &dims)?,
                along(to, Lower::input_id(node, 4)?, 0, &dims)?,
            ];
            let [bias, x_scale, w_scale] = &parts;
            let value = format!("f32({}) * {} * {}", bias.value, x_scale.value, w_scale.value);
            let expr = Expr::of(&[bias, x_scale, w_scale], value, Elem::F32, dims);
            Some(to.emit(&expr)?.memory)
        }
    };
    let dims = to.dims(Lower::output_id(node)?)?;
    let out = to.alloc(Elem::F32, dims);
    let why = Some(AS_FLOATS.to_owned());
    convolved(to, &x, (w.memory, &w.dims, bias), conv, None, &out, why)?;
    quantised(to, node, &out, 6, 7)
}

/// `MatMulNBits` as plain numbers.
pub(super) fn n_bits(to: &mut Lower<'_>, node: &Node, bits: &NBits) -> Lowered {
    let weights = unpacked(to.graph, node, bits)?;
    let (k, n) = (weights.k, weights.n);
    let bytes: Vec<u8> = weights.real().into_iter().flat_map(f32::to_le_bytes).collect();
    let buffer = std::sync::Arc::new(buffers::filled(to.gpu, &bytes)?);
    let memory: Memory = to.keep(buffer);
    let b = View::dense(memory, Elem::F32, vec![k, n]);
    let a = to.view(Lower::input_id(node, 0)?)?;
    let a = matrix(a, true);
    let bias = bias_of(to, node.input(5), n)?;
    let out = any(to, &a, &b, (bias, None), Some(AS_FLOATS.to_owned()))?;
    let id = Lower::output_id(node)?;
    let dims = to.dims(id)?;
    to.set(id, out.reshaped(&dims).ok_or("whose sizes do not fit")?);
    Ok(())
}
