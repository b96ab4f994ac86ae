//! Functions over axes.

use candle_core::{Result, Tensor};

use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::simd;
use crate::backend::candle::step::{Inputs, Lowered, Site, axis_of, one, strides, walk};
use crate::graph::op::Reduction;
use crate::variant::DType;

/// The axes that input 1 names: all of them where it names none, unless that means nothing is done.
fn axes(inputs: &Inputs<'_>, rank: usize, noop: bool) -> Result<Vec<usize>> {
    let given = inputs.maybe_ints(1)?.unwrap_or_default();
    if given.is_empty() {
        return Ok(if noop { Vec::new() } else { (0..rank).collect() });
    }
    let mut axes: Vec<usize> =
        given.into_iter().map(|a| axis_of(a, rank)).collect::<Result<_>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// Sizes with the reduced ones 1, or without them.
fn reduced(dims: &[usize], axes: &[usize], keepdims: bool) -> Vec<usize> {
    let along = |(at, n): (usize, &usize)| {
        if axes.contains(&at) { keepdims.then_some(1) } else { Some(*n) }
    };
    dims.iter().enumerate().filter_map(along).collect()
}

/// For every element of the result, where its elements lie: bases, and offsets from each.
fn groups(dims: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let own = strides(dims);
    let of = |wanted: bool| {
        let chosen = (0..dims.len()).filter(|a| axes.contains(a) == wanted);
        let (sizes, steps): (Vec<usize>, Vec<usize>) = chosen.map(|a| (dims[a], own[a])).unzip();
        walk(&sizes, &steps)
    };
    (of(false), of(true))
}

/// Any reduction. Floats are added up in double precision; sums of whole numbers wrap.
pub(in crate::backend::candle) fn reduce(
    site: &Site<'_>,
    kind: Reduction,
    keepdims: bool,
    noop: bool,
) -> Lowered {
    let (dtype, threads) = (site.dtype(0)?, site.threads);
    one(move |inputs| {
        let x = inputs.at(0)?;
        let axes = axes(inputs, x.rank(), noop)?;
        let shape = reduced(x.dims(), &axes, keepdims);
        if dtype == DType::F32 && matches!(kind, Reduction::Mean | Reduction::Sum) {
            let trailing = (x.rank() - axes.len()..x.rank()).all(|a| axes.contains(&a));
            if trailing && !axes.is_empty() && x.elem_count() > 0 {
                let mean = kind == Reduction::Mean;
                return rows(x, x.rank() - axes.len(), mean, threads)?.reshape(shape);
            }
            // candle's own, along leading axes.
            let sum = x.contiguous()?.sum_keepdim(axes.as_slice())?;
            let n: usize = axes.iter().map(|a| x.dims()[*a]).product();
            let scale = if kind == Reduction::Mean { 1.0 / n as f64 } else { 1.0 };
            return if axes.is_empty() {
                Ok(x.clone())
            } else {
                sum.affine(scale, 0.0)?.reshape(shape)
            };
        }
        let (bases, offsets) = groups(x.dims(), &axes);
        let out = match Cells::of(x)? {
            Cells::Floats(v) => {
                let of = |base: &usize| floats(kind, offsets.iter().map(|o| v[base + o]));
                Cells::Floats(bases.iter().map(of).collect())
            }
            Cells::Ints(v) => {
                let of = |base: &usize| ints(kind, offsets.iter().map(|o| v[base + o]));
                Cells::Ints(bases.iter().map(of).collect())
            }
        };
        out.tensor(dtype, &shape, x.device())
    })
}

/// Sums, or means, of all elements from axis `from` on.
fn rows(x: &Tensor, from: usize, mean: bool, threads: usize) -> Result<Tensor> {
    let x = x.contiguous()?;
    let width: usize = x.dims()[from..].iter().product();
    let out = cells::with_f32(&x, |all| {
        let mut out = vec![0.0; all.len() / width];
        let scale = if mean { 1.0 / width as f32 } else { 1.0 };
        simd::in_parts(threads, &mut out, 1, |first, part| {
            simd::widest(|| {
                for (row, out) in all[first * width..].chunks_exact(width).zip(part.iter_mut()) {
                    *out = simd::sum_of(row, |v| v) * scale;
                }
            });
        });
        out
    })?;
    let count = out.len();
    Tensor::from_vec(out, count, x.device())
}

fn floats(kind: Reduction, values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let n = values.len() as f64;
    match kind {
        Reduction::L1 => values.map(f64::abs).sum(),
        Reduction::L2 => values.map(|v| v * v).sum::<f64>().sqrt(),
        Reduction::LogSum => values.sum::<f64>().ln(),
        Reduction::LogSumExp => {
            let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
            if largest.is_infinite() {
                return largest;
            }
            largest + values.map(|v| (v - largest).exp()).sum::<f64>().ln()
        }
        Reduction::Max => {
            values.fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
        }
        Reduction::Min => {
            values.fold(f64::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a })
        }
        Reduction::Mean => values.sum::<f64>() / n,
        Reduction::Prod => values.product(),
        Reduction::Sum => values.sum(),
        Reduction::SumSquare => values.map(|v| v * v).sum(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as ONNX Runtime gives whole numbers of them")]
fn ints(kind: Reduction, values: impl ExactSizeIterator<Item = i64> + Clone) -> i64 {
    match kind {
        Reduction::L1 => values.fold(0, |a, b| a.wrapping_add(b.wrapping_abs())),
        Reduction::Max => values.max().unwrap_or(i64::MIN),
        Reduction::Min => values.min().unwrap_or(i64::MAX),
        Reduction::Prod => values.fold(1, i64::wrapping_mul),
        Reduction::Sum => values.fold(0, i64::wrapping_add),
        Reduction::SumSquare => values.fold(0, |a, b| a.wrapping_add(b.wrapping_mul(b))),
        Reduction::Mean => {
            let n = i64::try_from(values.len()).unwrap_or(1).max(1);
            values.fold(0, i64::wrapping_add) / n
        }
        Reduction::L2 | Reduction::LogSum | Reduction::LogSumExp => {
            floats(kind, values.map(|v| v as f64).collect::<Vec<_>>().into_iter()) as i64
        }
    }
}

/// `ArgMax` and `ArgMin`: the place of the largest, or smallest, along an axis.
#[expect(clippy::float_cmp, reason = "ties are of equal numbers")]
pub(in crate::backend::candle) fn arg(
    axis: i64,
    keepdims: bool,
    last: bool,
    largest: bool,
) -> Lowered {
    one(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(axis, x.rank())?;
        let values = Cells::of(x)?.into_floats();
        let (bases, offsets) = groups(x.dims(), &[axis]);
        let found = bases.iter().map(|base| {
            let mut best = 0;
            for (at, offset) in offsets.iter().enumerate().skip(1) {
                let (new, old) = (values[base + offset], values[base + offsets[best]]);
                let wins = if largest { new > old } else { new < old };
                if wins || last && new == old {
                    best = at;
                }
            }
            i64::try_from(best).unwrap_or(0)
        });
        let shape = reduced(x.dims(), &[axis], keepdims);
        Cells::Ints(found.collect()).tensor(DType::I64, &shape, x.device())
    })
}

/// `CumSum`.
pub(in crate::backend::candle) fn cumulated(
    site: &Site<'_>,
    exclusive: bool,
    reverse: bool,
) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(inputs.ints(1)?.first().copied().unwrap_or(0), x.rank())?;
        let (bases, mut offsets) = groups(x.dims(), &[axis]);
        if reverse {
            offsets.reverse();
        }
        macro_rules! run {
            ($v:expr, $zero:expr, $add:expr) => {{
                let mut v = $v;
                for base in &bases {
                    let mut total = $zero;
                    for offset in &offsets {
                        let slot = &mut v[base + offset];
                        let before = total;
                        total = $add(total, *slot);
                        *slot = if exclusive { before } else { total };
                    }
                }
                v
            }};
        }
        let out = match Cells::of(x)? {
            Cells::Floats(v) => Cells::Floats(run!(v, 0.0, |a: f64, b: f64| a + b)),
            Cells::Ints(v) => Cells::Ints(run!(v, 0, i64::wrapping_add)),
        };
        out.tensor(dtype, x.dims(), x.device())
    })
}
