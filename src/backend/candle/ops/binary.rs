//! Functions of several tensors that are broadcast against each other.

use candle_core::{DType as Held, Result, Tensor, bail};

use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::simd;
use crate::backend::candle::step::{Inputs, Lowered, Site, one, strides, walk};
use crate::graph::op::{Binary, Variadic};
use crate::variant::DType;

/// The shape that several are broadcast to.
pub(super) fn together<'a>(shapes: impl Iterator<Item = &'a [usize]>) -> Result<Vec<usize>> {
    let mut out: Vec<usize> = Vec::new();
    for shape in shapes {
        if shape.len() > out.len() {
            let missing = shape.len() - out.len();
            out.splice(0..0, std::iter::repeat_n(1, missing));
        }
        let from = out.len() - shape.len();
        for (slot, size) in out[from..].iter_mut().zip(shape) {
            match (*slot, *size) {
                (a, b) if a == b || b == 1 => {}
                (1, b) => *slot = b,
                (a, b) => bail!("axes of {a} and {b} cannot be broadcast"),
            }
        }
    }
    Ok(out)
}

/// Steps through a tensor of `from` that make it one of `to`.
fn steps(from: &[usize], to: &[usize]) -> Vec<usize> {
    let own = strides(from);
    let extra = to.len() - from.len();
    let along = |(size, step): (&usize, usize)| if *size == 1 { 0 } else { step };
    std::iter::repeat_n(0, extra).chain(from.iter().zip(own).map(along)).collect()
}

/// `f` of two dense tensors' elements, broadcast to `to`.
fn zip<T: Copy, U>(
    (a, a_shape): (&[T], &[usize]),
    (b, b_shape): (&[T], &[usize]),
    to: &[usize],
    f: impl Fn(T, T) -> U,
) -> Vec<U> {
    if a_shape == b_shape {
        return a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
    }
    let (a_steps, b_steps) = (steps(a_shape, to), steps(b_shape, to));
    let outer = to.len().saturating_sub(1);
    let (inner, a_step, b_step) = match to.last() {
        Some(size) => (*size, a_steps[outer], b_steps[outer]),
        None => (1, 0, 0),
    };
    let mut out = Vec::with_capacity(to.iter().product());
    let rows = walk(&to[..outer], &a_steps[..outer]).into_iter();
    for (at, bt) in rows.zip(walk(&to[..outer], &b_steps[..outer])) {
        match (a_step, b_step) {
            (1, 1) => {
                let rows = a[at..at + inner].iter().zip(&b[bt..bt + inner]);
                out.extend(rows.map(|(a, b)| f(*a, *b)));
            }
            (1, 0) => out.extend(a[at..at + inner].iter().map(|a| f(*a, b[bt]))),
            (0, 1) => out.extend(b[bt..bt + inner].iter().map(|b| f(a[at], *b))),
            _ => out.extend((0..inner).map(|i| f(a[at + i * a_step], b[bt + i * b_step]))),
        }
    }
    out
}

/// Both f32, or halves that go through it: in vectors, and in parts where the second repeats along leading axes only.
fn zip_f32(
    a: &Tensor,
    b: &Tensor,
    threads: usize,
    f: impl Fn(f32, f32) -> f32 + Copy + Sync,
) -> Result<Tensor> {
    let shape = together([a.dims(), b.dims()].into_iter())?;
    let held = a.dtype();
    let (a, b) = (cells::wide(a)?, cells::wide(b)?);
    let (a_dims, b_dims) = (a.dims(), b.dims());
    let trimmed: Vec<usize> = b_dims.iter().copied().skip_while(|d| *d == 1).collect();
    let repeats = shape == a_dims && shape.ends_with(&trimmed) && b.elem_count() > 0;
    let out = cells::with_f32(&a, |a| {
        cells::with_f32(&b, |b| {
            if let (true, [b]) = (repeats, b) {
                let mut out = vec![0.0; a.len()];
                simd::in_parts(threads, &mut out, 1, |first, part| {
                    let from = &a[first..];
                    simd::widest(|| {
                        part.iter_mut().zip(from).for_each(|(out, a)| *out = f(*a, *b));
                    });
                });
                return out;
            }
            if !repeats {
                return simd::widest(|| zip((a, a_dims), (b, b_dims), &shape, f));
            }
            let mut out = vec![0.0; a.len()];
            simd::in_parts(threads, &mut out, b.len(), |first, part| {
                let from = &a[first * b.len()..];
                simd::widest(|| {
                    for (row, from) in part.chunks_mut(b.len()).zip(from.chunks(b.len())) {
                        for ((out, a), b) in row.iter_mut().zip(from).zip(b) {
                            *out = f(*a, *b);
                        }
                    }
                });
            });
            out
        })
    })??;
    cells::rounded(out, &shape, held, a.device())
}

/// Any types, through the widest of their kind.
fn zip_cells(
    a: &Tensor,
    b: &Tensor,
    gives: DType,
    of_floats: fn(f64, f64) -> f64,
    of_ints: fn(i64, i64) -> i64,
) -> Result<Tensor> {
    let shape = together([a.dims(), b.dims()].into_iter())?;
    let (a_dims, b_dims) = (a.dims(), b.dims());
    let out = match (Cells::of(a)?, Cells::of(b)?) {
        (Cells::Ints(x), Cells::Ints(y)) => {
            Cells::Ints(zip((&x, a_dims), (&y, b_dims), &shape, of_ints))
        }
        (x, y) => {
            let (x, y) = (x.into_floats(), y.into_floats());
            Cells::Floats(zip((&x, a_dims), (&y, b_dims), &shape, of_floats))
        }
    };
    out.tensor(gives, &shape, a.device())
}

/// Any operator of the family.
pub(in crate::backend::candle) fn binary(site: &Site<'_>, kind: Binary) -> Lowered {
    let (gives, threads) = (site.gives()?, site.threads);
    // Halves too: rounding an f32 sum, product or quotient of two gives the half next to it.
    let singles = [DType::F32, DType::F16, DType::BF16];
    let is_f32 = singles.contains(&site.dtype(0)?) && site.dtype(1)? == site.dtype(0)?;
    macro_rules! single {
        ($f:expr) => {
            one(move |inputs| zip_f32(inputs.at(0)?, inputs.at(1)?, threads, $f))
        };
    }
    match kind {
        Binary::Add if is_f32 => single!(|a, b| a + b),
        Binary::Sub if is_f32 => single!(|a, b| a - b),
        Binary::Mul if is_f32 => single!(|a, b| a * b),
        Binary::Div if is_f32 => single!(|a, b| a / b),
        Binary::PRelu if is_f32 => single!(|a: f32, b| if a < 0.0 { a * b } else { a }),
        Binary::Pow if is_f32 => one(move |inputs| {
            let (x, power) = (inputs.at(0)?, inputs.at(1)?);
            match power.elem_count() {
                1 if power.rank() <= x.rank() && inputs.number(1)? == Some(2.0) => {
                    zip_f32(x, x, threads, |a, b| a * b)
                }
                _ => zip_f32(x, power, threads, f32::powf),
            }
        }),
        _ => {
            let (of_floats, of_ints) = generic(kind);
            one(move |inputs| zip_cells(inputs.at(0)?, inputs.at(1)?, gives, of_floats, of_ints))
        }
    }
}

type Pair = (fn(f64, f64) -> f64, fn(i64, i64) -> i64);

#[expect(clippy::float_cmp, reason = "that is what the operators ask")]
fn generic(kind: Binary) -> Pair {
    macro_rules! compare {
        ($op:tt) => {
            (|a, b| f64::from(u8::from(a $op b)), |a, b| i64::from(a $op b))
        };
    }
    match kind {
        Binary::Add => (|a, b| a + b, i64::wrapping_add),
        Binary::Sub => (|a, b| a - b, i64::wrapping_sub),
        Binary::Mul => (|a, b| a * b, i64::wrapping_mul),
        // By zero there is no answer; C would stop the process.
        Binary::Div => (|a, b| a / b, |a, b| a.checked_div(b).unwrap_or(0)),
        Binary::Pow => (f64::powf, power),
        Binary::PRelu => (
            |a, b| if a < 0.0 { a * b } else { a },
            |a, b| if a < 0 { a.wrapping_mul(b) } else { a },
        ),
        Binary::And => {
            (|a, b| f64::from(u8::from(a != 0.0 && b != 0.0)), |a, b| i64::from(a != 0 && b != 0))
        }
        Binary::Or => {
            (|a, b| f64::from(u8::from(a != 0.0 || b != 0.0)), |a, b| i64::from(a != 0 || b != 0))
        }
        Binary::Xor => (
            |a, b| f64::from(u8::from((a != 0.0) != (b != 0.0))),
            |a, b| i64::from((a != 0) != (b != 0)),
        ),
        Binary::Equal => compare!(==),
        Binary::Greater => compare!(>),
        Binary::GreaterOrEqual => compare!(>=),
        Binary::Less => compare!(<),
        Binary::LessOrEqual => compare!(<=),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
fn power(a: i64, b: i64) -> i64 {
    match u32::try_from(b) {
        Ok(b) => a.wrapping_pow(b),
        Err(_) => (a as f64).powf(b as f64) as i64,
    }
}

/// `Max`, `Min`, `Sum` and `Mean` of one or more.
pub(in crate::backend::candle) fn variadic(site: &Site<'_>, kind: Variadic) -> Lowered {
    let gives = site.gives()?;
    let (of_floats, of_ints): Pair = match kind {
        // A number that is none wins.
        Variadic::Max => (|a, b| if b > a || b.is_nan() { b } else { a }, i64::max),
        Variadic::Min => (|a, b| if b < a || b.is_nan() { b } else { a }, i64::min),
        Variadic::Sum | Variadic::Mean => (|a, b| a + b, i64::wrapping_add),
    };
    one(move |inputs: &Inputs<'_>| {
        let count = inputs.all().count();
        let mut total: Option<Tensor> = None;
        for tensor in inputs.all() {
            total = Some(match total {
                None => tensor.clone(),
                Some(total) => zip_cells(&total, tensor, gives, of_floats, of_ints)?,
            });
        }
        match total {
            Some(total) if kind == Variadic::Mean => {
                total.to_dtype(Held::F64)?.affine(1.0 / count as f64, 0.0)?.to_dtype(total.dtype())
            }
            Some(total) => Ok(total),
            None => bail!("is given nothing"),
        }
    })
}

/// `Mod`: of whole numbers with the divisor's sign, or as C's `fmod`.
pub(in crate::backend::candle) fn modulo(site: &Site<'_>, fmod: bool) -> Lowered {
    let gives = site.gives()?;
    let (of_floats, of_ints): Pair = if fmod {
        (|a, b| a % b, |a, b| a.checked_rem(b).unwrap_or(0))
    } else {
        let floored = |a: i64, b: i64| {
            let rest = a.checked_rem(b).unwrap_or(0);
            if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
        };
        (|a, b| a - b * (a / b).floor(), floored)
    };
    one(move |inputs| zip_cells(inputs.at(0)?, inputs.at(1)?, gives, of_floats, of_ints))
}

/// `Where`.
pub(in crate::backend::candle) fn choose(site: &Site<'_>) -> Lowered {
    site.gives()?;
    one(|inputs| {
        let (condition, a, b) = (inputs.at(0)?, inputs.at(1)?, inputs.at(2)?);
        let shape = together([condition.dims(), a.dims(), b.dims()].into_iter())?;
        let wide = |t: &Tensor| t.broadcast_as(shape.as_slice())?.contiguous();
        wide(condition)?.where_cond(&wide(a)?, &wide(b)?)
    })
}
