//! Functions of one number.

use candle_core::{DType as Held, Result, Tensor};

use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::simd;
use crate::backend::candle::step::{Inputs, Lowered, Site, one};
use crate::graph::op::Unary;
use crate::variant::DType;

/// Applies `f` to every element of an f32 tensor, in parts; halves go through f32.
pub(super) fn map(
    tensor: &Tensor,
    threads: usize,
    f: impl Fn(&mut [f32]) + Sync,
) -> Result<Tensor> {
    let source = cells::wide(tensor)?;
    let out = cells::with_f32(&source, |from| {
        let mut out = vec![0.0; from.len()];
        simd::in_parts(threads, &mut out, 1, |first, part| {
            part.copy_from_slice(&from[first..first + part.len()]);
            f(part);
        });
        out
    })?;
    cells::rounded(out, tensor.dims(), tensor.dtype(), tensor.device())
}

/// The function on f64, for every kind of float; `None` for those that are not of floats.
fn exact(kind: Unary) -> Option<fn(f64) -> f64> {
    Some(match kind {
        Unary::Abs => f64::abs,
        Unary::Acos => f64::acos,
        Unary::Acosh => f64::acosh,
        Unary::Asin => f64::asin,
        Unary::Asinh => f64::asinh,
        Unary::Atan => f64::atan,
        Unary::Atanh => f64::atanh,
        Unary::Ceil => f64::ceil,
        Unary::Cos => f64::cos,
        Unary::Cosh => f64::cosh,
        // candle's own, in double precision.
        Unary::Erf => candle_core::cpu::erf::erf_f64,
        Unary::Exp => f64::exp,
        Unary::Floor => f64::floor,
        Unary::HardSwish => |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Log => f64::ln,
        Unary::Mish => |x| x * x.exp().ln_1p().tanh(),
        Unary::Neg => |x| -x,
        Unary::Reciprocal => |x| 1.0 / x,
        Unary::Relu => |x| if x < 0.0 { 0.0 } else { x },
        Unary::Round => f64::round_ties_even,
        Unary::Sigmoid => |x| 1.0 / (1.0 + (-x).exp()),
        Unary::Sign => |x| if x == 0.0 || x.is_nan() { x } else { x.signum() },
        Unary::Sin => f64::sin,
        Unary::Sinh => f64::sinh,
        // ln(1 + eˣ) without overflow.
        Unary::Softplus => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Softsign => |x| x / (1.0 + x.abs()),
        Unary::Sqrt => f64::sqrt,
        Unary::Tan => f64::tan,
        Unary::Tanh => f64::tanh,
        Unary::IsNaN | Unary::Not => return None,
    })
}

/// The function on f32 that the compiler makes vectors of, for those that models spend time on.
fn fast(kind: Unary) -> Option<fn(&mut [f32])> {
    macro_rules! each {
        ($f:expr) => {
            Some(|part: &mut [f32]| {
                simd::widest(|| part.iter_mut().for_each(|v| *v = $f(*v)));
            })
        };
    }
    match kind {
        Unary::Abs => each!(f32::abs),
        Unary::Erf => each!(simd::erf),
        Unary::Exp => each!(simd::exp),
        Unary::HardSwish => each!(|x: f32| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Unary::Neg => each!(|x: f32| -x),
        Unary::Reciprocal => each!(|x: f32| 1.0 / x),
        Unary::Relu => each!(|x: f32| if x < 0.0 { 0.0 } else { x }),
        Unary::Sigmoid => each!(simd::sigmoid),
        Unary::Sqrt => each!(f32::sqrt),
        Unary::Tanh => each!(simd::tanh),
        _ => None,
    }
}

/// Any operator of the family.
pub(in crate::backend::candle) fn unary(site: &Site<'_>, kind: Unary) -> Lowered {
    let (dtype, threads) = (site.dtype(0)?, site.threads);
    match kind {
        Unary::IsNaN => one(|inputs| {
            let floats = cells::floats(inputs.at(0)?)?;
            let is = floats.into_iter().map(|x| i64::from(x.is_nan())).collect();
            Cells::Ints(is).tensor(DType::Bool, inputs.at(0)?.dims(), inputs.at(0)?.device())
        }),
        Unary::Not => integers(DType::Bool, |x| i64::from(x == 0)),
        _ if !dtype.is_float() => match kind {
            Unary::Abs => integers(dtype, i64::wrapping_abs),
            Unary::Neg => integers(dtype, i64::wrapping_neg),
            Unary::Sign => integers(dtype, i64::signum),
            Unary::Relu => integers(dtype, |x| x.max(0)),
            _ => Err(format!("of {dtype}")),
        },
        _ => match (fast(kind).filter(|_| dtype != DType::F64), exact(kind)) {
            (Some(f), _) => one(move |inputs| map(inputs.at(0)?, threads, f)),
            (None, Some(f)) => floats(dtype, f),
            (None, None) => Err("is not one of numbers".to_owned()),
        },
    }
}

/// A function of floats, computed in double precision and rounded once.
pub(in crate::backend::candle) fn floats(
    dtype: DType,
    f: impl Fn(f64) -> f64 + Send + Sync + 'static,
) -> Lowered {
    if !dtype.is_float() {
        return Err(format!("of {dtype}"));
    }
    one(move |inputs: &Inputs<'_>| {
        let x = inputs.at(0)?;
        let values = cells::floats(x)?.into_iter().map(&f).collect();
        Cells::Floats(values).tensor(dtype, x.dims(), x.device())
    })
}

fn integers(dtype: DType, f: fn(i64) -> i64) -> Lowered {
    one(move |inputs: &Inputs<'_>| {
        let x = inputs.at(0)?;
        let values = cells::ints(x)?.into_iter().map(f).collect();
        Cells::Ints(values).tensor(dtype, x.dims(), x.device())
    })
}

/// `Gelu`, with the error function or its approximation.
pub(in crate::backend::candle) fn gelu(site: &Site<'_>, by_tanh: bool) -> Lowered {
    let (dtype, threads) = (site.dtype(0)?, site.threads);
    if dtype == DType::F64 {
        return floats(dtype, move |x| {
            let inner = if by_tanh {
                ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh()
            } else {
                candle_core::cpu::erf::erf_f64(x * std::f64::consts::FRAC_1_SQRT_2)
            };
            0.5 * x * (1.0 + inner)
        });
    }
    let activation = crate::graph::op::Activation::Gelu { tanh: by_tanh };
    one(move |inputs| map(inputs.at(0)?, threads, |part| simd::activate(part, activation)))
}

/// `Cast` and `CastLike`.
pub(in crate::backend::candle) fn cast(to: DType) -> Lowered {
    let held = cells::held_in(to).ok_or("candle has no 64-bit unsigned numbers")?;
    one(move |inputs| {
        let x = inputs.at(0)?;
        let wide = |t: Held| matches!(t, Held::F32 | Held::F64 | Held::F16 | Held::BF16);
        // Between floats, and from what fits, candle converts; the rest wraps as in C.
        if wide(x.dtype()) && wide(held) {
            return x.to_dtype(held);
        }
        Cells::of(x)?.tensor(to, x.dims(), x.device())
    })
}

/// `Clip` of any numbers.
pub(in crate::backend::candle) fn clip(site: &Site<'_>) -> Lowered {
    let (dtype, threads) = (site.dtype(0)?, site.threads);
    one(move |inputs| {
        let x = inputs.at(0)?;
        if dtype.is_float() {
            let low = inputs.number(1)?.unwrap_or(f64::NEG_INFINITY);
            let high = inputs.number(2)?.unwrap_or(f64::INFINITY);
            if dtype == DType::F64 {
                let values = cells::floats(x)?.into_iter();
                let held =
                    values.map(|v| if v.is_nan() { v } else { v.max(low).min(high) }).collect();
                return Cells::Floats(held).tensor(dtype, x.dims(), x.device());
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounds are of the data's type")]
            let (min, max) = (low as f32, high as f32);
            let activation = crate::graph::op::Activation::Clip { min, max };
            return map(x, threads, |part| simd::activate(part, activation));
        }
        let bound = |index: usize| -> Result<Option<i64>> {
            Ok(inputs.maybe_ints(index)?.and_then(|v| v.first().copied()))
        };
        let (low, high) = (bound(1)?.unwrap_or(i64::MIN), bound(2)?.unwrap_or(i64::MAX));
        let values = cells::ints(x)?.into_iter().map(|v| v.max(low).min(high)).collect();
        Cells::Ints(values).tensor(dtype, x.dims(), x.device())
    })
}
