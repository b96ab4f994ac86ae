//! Softmax and normalisation.

use candle_core::{DType as Held, Result, Tensor, bail};

use super::binary::together;
use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::simd;
use crate::backend::candle::step::{Lowered, Site, axis_of, one, strides, walk};
use crate::graph::op::LrnAttributes;
use crate::variant::DType;

/// Applies `f` to rows of `width` elements in f32, and gives back the type it was.
fn by_rows(
    x: &Tensor,
    width: usize,
    threads: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<Tensor> {
    let source = cells::wide(x)?;
    let out = cells::with_f32(&source, |from| {
        let mut out = vec![0.0; from.len()];
        simd::in_parts(threads, &mut out, width, |first, part| {
            part.copy_from_slice(&from[first * width..first * width + part.len()]);
            for (at, row) in part.chunks_exact_mut(width).enumerate() {
                f(first + at, row);
            }
        });
        out
    })?;
    cells::rounded(out, x.dims(), x.dtype(), x.device())
}

/// `Softmax` and `LogSoftmax`.
pub(in crate::backend::candle) fn softmax(site: &Site<'_>, axis: i64, log: bool) -> Lowered {
    let threads = site.threads;
    if site.dtype(0)? == DType::F64 {
        return one(move |inputs| softmax_f64(inputs.at(0)?, axis, log));
    }
    one(move |inputs| {
        let x = inputs.at(0)?;
        if x.elem_count() == 0 {
            return Ok(x.clone());
        }
        let axis = axis_of(axis, x.rank())?;
        let last = x.rank() - 1;
        let turned = x.transpose(axis, last)?;
        let width = turned.dims()[last];
        let out = by_rows(&turned, width, threads, |_, row| {
            simd::widest(|| simd::softmax(row, log));
        })?;
        out.transpose(axis, last)?.contiguous()
    })
}

fn softmax_f64(x: &Tensor, axis: i64, log: bool) -> Result<Tensor> {
    let axis = axis_of(axis, x.rank())?;
    let shifted = x.broadcast_sub(&x.max_keepdim(axis)?)?;
    let sum = shifted.exp()?.sum_keepdim(axis)?;
    if log { shifted.broadcast_sub(&sum.log()?) } else { shifted.exp()?.broadcast_div(&sum) }
}

/// Scale and shift of a normalisation, as long as a row.
fn spread(x: Option<&Tensor>, shape: &[usize]) -> Result<Option<Vec<f32>>> {
    let Some(x) = x else { return Ok(None) };
    let fits = together([x.dims(), shape].into_iter())?;
    if fits != shape {
        bail!("{:?} does not fit {shape:?}", x.dims())
    }
    x.to_dtype(Held::F32)?.broadcast_as(shape)?.flatten_all()?.to_vec1().map(Some)
}

/// `LayerNormalization`, with mean and inverse deviation where they are asked for.
pub(in crate::backend::candle) fn layer(site: &Site<'_>, axis: i64, epsilon: f32) -> Lowered {
    let threads = site.threads;
    if site.dtype(0)? == DType::F64 {
        return Err("of f64".to_owned());
    }
    let statistics = site.node.output(1).is_some() || site.node.output(2).is_some();
    Ok(Box::new(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(axis, x.rank())?;
        let width = x.dims()[axis..].iter().product::<usize>();
        let shape = &x.dims()[axis..];
        let (scale, shift) = (spread(inputs.maybe(1), shape)?, spread(inputs.maybe(2), shape)?);
        let out = by_rows(x, width.max(1), threads, |_, row| {
            simd::widest(|| {
                let mean = simd::sum_of(row, |v| v) / width as f32;
                let variance = simd::sum_of(row, |v| (v - mean) * (v - mean)) / width as f32;
                let inverse = 1.0 / (variance + epsilon).sqrt();
                scaled(row, mean, inverse, scale.as_deref(), shift.as_deref());
            });
        })?;
        if !statistics {
            return Ok(vec![out]);
        }
        let values = cells::floats(x)?;
        let (mut means, mut inverses) = (Vec::new(), Vec::new());
        for row in values.chunks(width.max(1)) {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
            means.push(mean);
            inverses.push(1.0 / (variance + f64::from(epsilon)).sqrt());
        }
        let mut shape = x.dims().to_vec();
        shape[axis..].fill(1);
        let mean = Cells::Floats(means).tensor(DType::F32, &shape, x.device())?;
        let inverse = Cells::Floats(inverses).tensor(DType::F32, &shape, x.device())?;
        Ok(vec![out, mean, inverse])
    }))
}

#[expect(clippy::inline_always, reason = "it must become part of a vectorised loop")]
#[inline(always)]
fn scaled(row: &mut [f32], mean: f32, by: f32, scale: Option<&[f32]>, shift: Option<&[f32]>) {
    match (scale, shift) {
        (Some(scale), Some(shift)) => {
            for ((v, s), b) in row.iter_mut().zip(scale).zip(shift) {
                *v = (*v - mean) * by * s + b;
            }
        }
        (Some(scale), None) => {
            row.iter_mut().zip(scale).for_each(|(v, s)| *v = (*v - mean) * by * s);
        }
        (None, Some(shift)) => {
            row.iter_mut().zip(shift).for_each(|(v, b)| *v = (*v - mean) * by + b);
        }
        (None, None) => row.iter_mut().for_each(|v| *v = (*v - mean) * by),
    }
}

/// `RMSNormalization`.
pub(in crate::backend::candle) fn rms(site: &Site<'_>, axis: i64, epsilon: f32) -> Lowered {
    let threads = site.threads;
    if site.dtype(0)? == DType::F64 {
        return Err("of f64".to_owned());
    }
    one(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(axis, x.rank())?;
        let width = x.dims()[axis..].iter().product::<usize>();
        let scale = spread(inputs.maybe(1), &x.dims()[axis..])?;
        by_rows(x, width.max(1), threads, |_, row| {
            simd::widest(|| {
                let square = simd::sum_of(row, |v| v * v) / width as f32;
                scaled(row, 0.0, 1.0 / (square + epsilon).sqrt(), scale.as_deref(), None);
            });
        })
    })
}

/// Values a channel, ready to be broadcast over axis 1 of something with `rank` axes.
fn by_channel(values: &Tensor, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1; rank.max(2)];
    shape[1] = values.elem_count();
    shape.truncate(rank.max(1));
    if rank < 2 { Ok(values.clone()) } else { values.reshape(shape) }
}

/// `BatchNormalization` with statistics that are known.
pub(in crate::backend::candle) fn batch(site: &Site<'_>, epsilon: f32) -> Lowered {
    let dtype = site.dtype(0)?;
    if !dtype.is_float() {
        return Err(format!("of {dtype}"));
    }
    one(move |inputs| {
        let x = inputs.at(0)?;
        let of = |i: usize| inputs.at(i)?.to_dtype(Held::F64);
        let factor = (of(1)? / (of(4)? + f64::from(epsilon))?.sqrt()?)?;
        let shift = (of(2)? - (of(3)? * &factor)?)?;
        let wide = |t: &Tensor| by_channel(&t.to_dtype(x.dtype())?, x.rank());
        x.broadcast_mul(&wide(&factor)?)?.broadcast_add(&wide(&shift)?)
    })
}

/// `InstanceNormalization` and `GroupNormalization`: a channel, or several, are one row.
pub(in crate::backend::candle) fn groups(
    site: &Site<'_>,
    groups: Option<usize>,
    epsilon: f32,
) -> Lowered {
    let threads = site.threads;
    if site.dtype(0)? == DType::F64 {
        return Err("of f64".to_owned());
    }
    one(move |inputs| {
        let x = inputs.at(0)?;
        if x.rank() < 3 {
            bail!("{:?} has no channels of several places", x.dims())
        }
        let channels = x.dims()[1];
        let count = groups.unwrap_or(channels).max(1);
        if channels % count != 0 {
            bail!("{channels} channels are not {count} groups")
        }
        let rows = x.dims()[0] * count;
        let width = (x.elem_count() / rows.max(1)).max(1);
        let normal = by_rows(x, width, threads, |_, row| {
            simd::widest(|| {
                let mean = simd::sum_of(row, |v| v) / width as f32;
                let variance = simd::sum_of(row, |v| (v - mean) * (v - mean)) / width as f32;
                scaled(row, mean, 1.0 / (variance + epsilon).sqrt(), None, None);
            });
        })?;
        let of = |i: usize| by_channel(inputs.at(i)?, x.rank());
        normal.broadcast_mul(&of(1)?)?.broadcast_add(&of(2)?)
    })
}

/// `LRN`: each channel by the squares of its neighbours.
pub(in crate::backend::candle) fn local(site: &Site<'_>, lrn: LrnAttributes) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let x = inputs.at(0)?;
        if x.rank() < 2 || lrn.size == 0 {
            bail!("{:?} has no channels", x.dims())
        }
        let (channels, inner) = (x.dims()[1], x.dims()[2..].iter().product::<usize>());
        let values = cells::floats(x)?;
        let (before, after) = ((lrn.size - 1) / 2, lrn.size / 2);
        let out = values.iter().enumerate().map(|(at, v)| {
            let (channel, base) = (at / inner % channels, at - at / inner % channels * inner);
            let near = channel.saturating_sub(before)..=(channel + after).min(channels - 1);
            let squares: f64 = near.map(|c| values[base + c * inner].powi(2)).sum();
            let scale = f64::from(lrn.bias) + f64::from(lrn.alpha) / lrn.size as f64 * squares;
            v / scale.powf(f64::from(lrn.beta))
        });
        Cells::Floats(out.collect()).tensor(dtype, x.dims(), x.device())
    })
}

/// `LpNormalization`, p being 1 or 2.
pub(in crate::backend::candle) fn lp(site: &Site<'_>, axis: i64, p: i64) -> Lowered {
    let dtype = site.dtype(0)?;
    if ![1, 2].contains(&p) {
        return Err(format!("of norm {p}"));
    }
    one(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(axis, x.rank())?;
        let mut values = cells::floats(x)?;
        let own = strides(x.dims());
        let (mut others, mut steps) = (x.dims().to_vec(), own.clone());
        others.remove(axis);
        steps.remove(axis);
        for base in walk(&others, &steps) {
            let places = (0..x.dims()[axis]).map(|i| base + i * own[axis]);
            let norm = match p {
                1 => places.clone().map(|at| values[at].abs()).sum::<f64>(),
                _ => places.clone().map(|at| values[at].powi(2)).sum::<f64>().sqrt(),
            };
            for at in places {
                values[at] = if norm == 0.0 { 0.0 } else { values[at] / norm };
            }
        }
        Cells::Floats(values).tensor(dtype, x.dims(), x.device())
    })
}
