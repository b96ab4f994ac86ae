//! Quantised operators one by one, as ONNX defines them: in double precision, and therefore slow. What
//! models spend time on is recognised before and goes to candle's quantised kernels (`packed.rs`).

use candle_core::{DType as Held, Result, Tensor, bail};

use super::conv::convolved;
use super::product::product;
use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::simd;
use crate::backend::candle::step::{Inputs, Lowered, Site, axis_of, one};
use crate::graph::op::{ConvAttributes, QuantizeAttributes};
use crate::variant::DType;

/// The numbers of a quantised type.
fn range(dtype: DType) -> std::result::Result<(f64, f64), String> {
    Ok(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65_535.0),
        DType::I16 => (-32_768.0, 32_767.0),
        DType::U4 => (0.0, 15.0),
        DType::I4 => (-8.0, 7.0),
        other => return Err(format!("to {other}")),
    })
}

/// Scales, or zero points, as long as the tensor they belong to.
fn spread(values: &Tensor, like: &Tensor, axis: i64, block: usize) -> Result<Tensor> {
    let values = values.to_dtype(Held::F64)?;
    if values.elem_count() == 1 {
        return values.flatten_all()?.reshape(vec![1; like.rank()]);
    }
    let axis = axis_of(axis, like.rank())?;
    if values.rank() == 1 {
        let mut shape = vec![1; like.rank()];
        shape[axis] = values.elem_count();
        return values.reshape(shape);
    }
    if values.rank() != like.rank() || block == 0 {
        bail!("scales {:?} do not fit {:?}", values.dims(), like.dims())
    }
    let n = like.dims()[axis];
    let places: Vec<u32> = (0..n).map(|i| u32::try_from(i / block).unwrap_or(0)).collect();
    values.index_select(&Tensor::from_vec(places, n, like.device())?, axis)
}

/// `QuantizeLinear`: to the nearest, halves to even.
pub(in crate::backend::candle) fn quantize(site: &Site<'_>, q: &QuantizeAttributes) -> Lowered {
    let (to, q) = (site.gives()?, *q);
    let (low, high) = range(to)?;
    #[expect(clippy::cast_possible_truncation, reason = "16 bits at most")]
    let narrow = (low as f32, high as f32);
    // The quotient is taken in the scale's own type, as ONNX Runtime does.
    let threads = site.threads;
    let is_f32 = site.dtype(0)? == DType::F32;
    one(move |inputs| {
        let x = inputs.at(0)?;
        if is_f32
            && inputs.at(1)?.elem_count() == 1
            && inputs.maybe(2).is_none_or(|z| z.elem_count() == 1)
        {
            let scale = cells::singles(inputs.at(1)?)?[0];
            let zero = inputs.maybe(2).map(cells::singles).transpose()?.map_or(0.0, |z| z[0]);
            return rounded(x, (scale, zero), narrow, to, threads);
        }
        let scale = spread(inputs.at(1)?, x, q.axis, q.block_size)?;
        let quotient = x.to_dtype(Held::F32)?.broadcast_div(&scale.to_dtype(Held::F32)?)?;
        let zero = match inputs.maybe(2) {
            Some(zero) => Some(spread(zero, x, q.axis, q.block_size)?),
            None => None,
        };
        let rounded: Vec<f64> =
            cells::floats(&quotient)?.iter().map(|v| v.round_ties_even()).collect();
        let rounded = Tensor::from_vec(rounded, x.dims(), x.device())?;
        let shifted = match zero {
            Some(zero) => rounded.broadcast_add(&zero)?,
            None => rounded,
        };
        let held = cells::floats(&shifted)?.into_iter().map(|v| v.clamp(low, high)).collect();
        Cells::Floats(held).tensor(to, x.dims(), x.device())
    })
}

/// One scale for all: in f32 and in vectors.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held within the type")]
fn rounded(
    x: &Tensor,
    (scale, zero): (f32, f32),
    (low, high): (f32, f32),
    to: DType,
    threads: usize,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let values = cells::with_f32(&x, |all| {
        let mut out = vec![0.0; all.len()];
        simd::in_parts(threads, &mut out, 1, |first, part| {
            let from = &all[first..first + part.len()];
            simd::widest(|| {
                for (to, v) in part.iter_mut().zip(from) {
                    *to = ((v / scale).round_ties_even() + zero).clamp(low, high);
                }
            });
        });
        out
    })?;
    let (shape, device) = (x.dims(), x.device());
    match to {
        DType::U8 => {
            let all: Vec<u8> = simd::widest(|| values.iter().map(|v| *v as u8).collect());
            Tensor::from_vec(all, shape, device)
        }
        DType::I8 | DType::I16 => {
            let all: Vec<i16> = simd::widest(|| values.iter().map(|v| *v as i16).collect());
            Tensor::from_vec(all, shape, device)
        }
        _ => Cells::Floats(values.into_iter().map(f64::from).collect()).tensor(to, shape, device),
    }
}

/// The numbers that quantised ones stand for, in f64.
fn real(
    x: &Tensor,
    scale: &Tensor,
    zero: Option<&Tensor>,
    axis: i64,
    block: usize,
) -> Result<Tensor> {
    let wide = x.to_dtype(Held::F64)?;
    let shifted = match zero {
        Some(zero) => wide.broadcast_sub(&spread(zero, x, axis, block)?)?,
        None => wide,
    };
    shifted.broadcast_mul(&spread(scale, x, axis, block)?)
}

/// `DequantizeLinear`.
pub(in crate::backend::candle) fn dequantize(site: &Site<'_>, axis: i64, block: usize) -> Lowered {
    let gives = cells::held_in(site.gives()?).ok_or("its type")?;
    let is_wide = matches!(site.dtype(0)?, DType::I32 | DType::U32);
    one(move |inputs| {
        let (x, scale, zero) = (inputs.at(0)?, inputs.at(1)?, inputs.maybe(2));
        let is_one = scale.elem_count() == 1 && zero.is_none_or(|z| z.elem_count() == 1);
        if is_one && !is_wide && gives == Held::F32 {
            let scale = f64::from(cells::singles(scale)?[0]);
            let zero = zero.map(cells::singles).transpose()?.map_or(0.0, |z| f64::from(z[0]));
            // The difference of small whole numbers is exact.
            return (x.to_dtype(Held::F32)? - zero)? * scale;
        }
        real(inputs.at(0)?, inputs.at(1)?, inputs.maybe(2), axis, block)?.to_dtype(gives)
    })
}

/// `DynamicQuantizeLinear`: the range of the tensor, 0 included, on 0 to 255.
pub(in crate::backend::candle) fn dynamic(site: &Site<'_>) -> Lowered {
    let threads = site.threads;
    Ok(Box::new(move |inputs| {
        let x = inputs.at(0)?;
        let values = cells::singles(x)?;
        let low = values.iter().copied().fold(0.0_f32, f32::min);
        let high = values.iter().copied().fold(0.0_f32, f32::max);
        let scale = if high <= low { 1.0 } else { (high - low) / 255.0 };
        let zero = (-low / scale).clamp(0.0, 255.0).round_ties_even();
        let device = x.device();
        Ok(vec![
            rounded(&x.to_dtype(Held::F32)?, (scale, zero), (0.0, 255.0), DType::U8, threads)?,
            Tensor::new(scale, device)?,
            Cells::Floats(vec![f64::from(zero)]).tensor(DType::U8, &[], device)?,
        ])
    }))
}

/// Quantised numbers less their zero point, exact in f64 and f32; zero points a row of the left or a column of
/// the right factor.
fn centred(x: &Tensor, zero: Option<&Tensor>, by_row: bool, held: Held) -> Result<Tensor> {
    let wide = x.to_dtype(held)?;
    let Some(zero) = zero else { return Ok(wide) };
    let zero = zero.to_dtype(held)?;
    let zero = match (zero.elem_count(), zero.rank()) {
        (1, _) => zero.flatten_all()?.reshape(vec![1; x.rank().max(1)])?,
        (_, 1) if by_row => zero.unsqueeze(1)?,
        _ => zero,
    };
    wide.broadcast_sub(&zero)
}

/// Input `index` less its zero points, input `zero`: once where both are constants, else with every call.
struct Centred {
    index: usize,
    zero: usize,
    of: fn(&Tensor, Option<&Tensor>) -> Result<Tensor>,
    known: Option<Tensor>,
}

impl Centred {
    fn new(
        site: &Site<'_>,
        (index, zero): (usize, usize),
        of: fn(&Tensor, Option<&Tensor>) -> Result<Tensor>,
    ) -> std::result::Result<Self, String> {
        let constant = |index: usize| -> Option<Tensor> {
            cells::from_host(&site.constant(index)?.to_tensor()?, site.device).ok()
        };
        let less = constant(zero);
        let is_known = less.is_some() == site.node.input(zero).is_some();
        let known = constant(index).filter(|_| is_known).map(|w| of(&w, less.as_ref()));
        Ok(Self { index, zero, of, known: known.transpose().map_err(|e| e.to_string())? })
    }

    fn get(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        match &self.known {
            Some(known) => Ok(known.clone()),
            None => (self.of)(inputs.at(self.index)?, inputs.maybe(self.zero)),
        }
    }
}

/// A right factor of whole numbers.
fn columns(w: &Tensor, zero: Option<&Tensor>) -> Result<Tensor> {
    centred(w, zero, false, Held::F64)
}

/// `MatMulInteger`.
pub(in crate::backend::candle) fn matmul_integer(site: &Site<'_>) -> Lowered {
    let weights = Centred::new(site, (1, 3), columns)?;
    one(move |inputs| {
        let a = centred(inputs.at(0)?, inputs.maybe(2), true, Held::F64)?;
        let b = weights.get(inputs)?;
        let out = product(&a, &b)?;
        Cells::of(&out)?.tensor(DType::I32, out.dims(), out.device())
    })
}

/// Weights `[m, …]` less their zero points, one for all or one a filter.
fn filters(w: &Tensor, zero: Option<&Tensor>) -> Result<Tensor> {
    let wide = w.to_dtype(Held::F64)?;
    let Some(zero) = zero else { return Ok(wide) };
    let mut shape = vec![1; w.rank()];
    shape[0] = zero.elem_count();
    wide.broadcast_sub(&zero.to_dtype(Held::F64)?.reshape(shape)?)
}

/// Products of this many numbers of 8 bits are exact in f32: 255 · 255 · 258 < 2²⁴.
const EXACT_IN_F32: usize = 258;

/// Weights `[m, …]` less their zero points, in f32 where products with them are exact.
fn exact_filters(w: &Tensor, zero: Option<&Tensor>) -> Result<Tensor> {
    let weight = filters(w, zero)?;
    let products: usize = weight.dims().iter().skip(1).product();
    if products <= EXACT_IN_F32 { weight.to_dtype(Held::F32) } else { Ok(weight) }
}

/// What a `ConvInteger` is computed with.
pub(in crate::backend::candle) fn conv_integer_kernel(site: &Site<'_>) -> &'static str {
    match site.constant(1).map(|w| w.shape().iter().skip(1).product::<usize>()) {
        Some(products) if products <= EXACT_IN_F32 => "gemm f32",
        _ => "gemm f64",
    }
}

/// `ConvInteger`: the padding is the zero point.
pub(in crate::backend::candle) fn conv_integer(site: &Site<'_>, conv: &ConvAttributes) -> Lowered {
    let (conv, threads) = (conv.clone(), site.threads);
    let of = if conv_integer_kernel(site) == "gemm f32" { exact_filters } else { filters };
    let weights = Centred::new(site, (1, 3), of)?;
    one(move |inputs| {
        let w = weights.get(inputs)?;
        let x = centred(inputs.at(0)?, inputs.maybe(2), false, w.dtype())?;
        let out = convolved(&x, &w, None, &conv, None, threads)?;
        Cells::of(&out)?.tensor(DType::I32, out.dims(), out.device())
    })
}

/// Exact numbers, brought to a quantised type by a scale and a zero point.
fn requantised(x: &Tensor, scale: &Tensor, zero: &Tensor, to: DType) -> Result<Tensor> {
    let (low, high) = range(to).map_err(candle_core::Error::msg)?;
    let zero = cells::floats(zero)?.first().copied().unwrap_or(0.0);
    // Scales are f32, and so is the product that is rounded.
    let scaled = x.broadcast_mul(scale)?.to_dtype(Held::F32)?;
    let values = cells::floats(&scaled)?.into_iter();
    let held = values.map(|v| (v.round_ties_even() + zero).clamp(low, high)).collect();
    Cells::Floats(held).tensor(to, x.dims(), x.device())
}

/// `a_scale · b_scale / y_scale`, as f64.
fn combined(inputs: &Inputs<'_>, a: usize, b: usize, y: usize) -> Result<Tensor> {
    let of = |i: usize| inputs.at(i)?.to_dtype(Held::F64);
    let scalar = |t: Tensor| if t.elem_count() == 1 { t.flatten_all()?.reshape(1) } else { Ok(t) };
    let (a, b, y) = (scalar(of(a)?)?, scalar(of(b)?)?, scalar(of(y)?)?);
    if a.elem_count() != 1 || y.elem_count() != 1 {
        bail!("a scale for every row of the first factor, or of the product")
    }
    a.broadcast_mul(&b)?.broadcast_div(&y)
}

/// `QLinearMatMul`.
pub(in crate::backend::candle) fn qlinear_matmul(site: &Site<'_>) -> Lowered {
    let to = site.gives()?;
    let weights = Centred::new(site, (3, 5), columns)?;
    one(move |inputs| {
        let a = centred(inputs.at(0)?, inputs.maybe(2), true, Held::F64)?;
        let b = weights.get(inputs)?;
        requantised(&product(&a, &b)?, &combined(inputs, 1, 4, 6)?, inputs.at(7)?, to)
    })
}

/// `QLinearConv`.
pub(in crate::backend::candle) fn qlinear_conv(site: &Site<'_>, conv: &ConvAttributes) -> Lowered {
    let (conv, threads, to) = (conv.clone(), site.threads, site.gives()?);
    let weights = Centred::new(site, (3, 5), filters)?;
    one(move |inputs| {
        let x = centred(inputs.at(0)?, inputs.maybe(2), false, Held::F64)?;
        let w = weights.get(inputs)?;
        let out = convolved(&x, &w, inputs.maybe(8), &conv, None, threads)?;
        let scale = combined(inputs, 1, 4, 6)?;
        let mut shape = vec![1; out.rank()];
        shape[1] = scale.elem_count();
        requantised(&out, &scale.reshape(shape)?, inputs.at(7)?, to)
    })
}
