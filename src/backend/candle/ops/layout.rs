//! Elements moved about: whole axes, in candle's own ways.

use candle_core::{Result, Tensor, bail};

use super::binary::together;
use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::step::{Inputs, Lowered, Site, axis_of, one};
use crate::graph::op::PadMode;
use crate::variant::DType;

/// A size that a file states as a signed number.
pub(super) fn size(n: i64) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => bail!("{n} is no size"),
    }
}

/// Elements of a tensor at most that a node may make out of nothing: 2³¹.
const MOST_ELEMENTS: usize = 1 << 31;

/// Refuses what no machine should be asked for: one wrong number in a model would end the process.
pub(super) fn bounded(shape: &[usize]) -> Result<()> {
    let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    match count.filter(|n| *n <= MOST_ELEMENTS) {
        Some(_) => Ok(()),
        None => bail!("a tensor of {shape:?} is too large"),
    }
}

/// `Reshape`: 0 keeps a size unless `allowzero`, −1 is what is left.
pub(in crate::backend::candle) fn reshape(allowzero: bool) -> Lowered {
    one(move |inputs: &Inputs<'_>| {
        let x = inputs.at(0)?;
        let mut shape = Vec::new();
        let mut open = None;
        for (at, n) in inputs.ints(1)?.into_iter().enumerate() {
            shape.push(match n {
                -1 => {
                    open = Some(at);
                    1
                }
                0 if !allowzero => match x.dims().get(at) {
                    Some(same) => *same,
                    None => bail!("keeps axis {at} of {:?}", x.dims()),
                },
                n => size(n)?,
            });
        }
        if let Some(at) = open {
            let known: usize = shape.iter().product();
            shape[at] = x.elem_count().checked_div(known).unwrap_or(0);
        }
        x.reshape(shape)
    })
}

/// `Flatten` to two axes.
pub(in crate::backend::candle) fn flatten(axis: i64) -> Lowered {
    one(move |inputs| {
        let x = inputs.at(0)?;
        let rank = x.rank();
        let at = if axis == i64::try_from(rank).unwrap_or(0) { rank } else { axis_of(axis, rank)? };
        let rows: usize = x.dims()[..at].iter().product();
        let columns: usize = x.dims()[at..].iter().product();
        x.reshape((rows, columns))
    })
}

/// `Squeeze`: the axes given, or all of size 1.
pub(in crate::backend::candle) fn squeeze() -> Lowered {
    one(|inputs| {
        let x = inputs.at(0)?;
        let axes: Vec<usize> = match inputs.maybe_ints(1)? {
            Some(axes) => axes.into_iter().map(|a| axis_of(a, x.rank())).collect::<Result<_>>()?,
            None => (0..x.rank()).filter(|a| x.dims()[*a] == 1).collect(),
        };
        let kept = x.dims().iter().enumerate().filter(|(a, _)| !axes.contains(a));
        x.reshape(kept.map(|(_, n)| *n).collect::<Vec<usize>>())
    })
}

/// `Unsqueeze`.
pub(in crate::backend::candle) fn unsqueeze() -> Lowered {
    one(|inputs| {
        let x = inputs.at(0)?;
        let axes = inputs.ints(1)?;
        let rank = x.rank() + axes.len();
        let axes: Vec<usize> = axes.into_iter().map(|a| axis_of(a, rank)).collect::<Result<_>>()?;
        let mut own = x.dims().iter();
        let shape =
            (0..rank).map(|a| if axes.contains(&a) { 1 } else { own.next().copied().unwrap_or(1) });
        x.reshape(shape.collect::<Vec<usize>>())
    })
}

/// `Transpose`: the elements stay, the strides change.
pub(in crate::backend::candle) fn transpose(perm: &[usize]) -> Lowered {
    let perm = perm.to_vec();
    one(move |inputs| {
        let x = inputs.at(0)?;
        let order = if perm.is_empty() { (0..x.rank()).rev().collect() } else { perm.clone() };
        x.permute(order)
    })
}

/// `Expand`: broadcast in both directions.
pub(in crate::backend::candle) fn expand() -> Lowered {
    one(|inputs| {
        let x = inputs.at(0)?;
        let wanted: Vec<usize> = inputs.ints(1)?.into_iter().map(size).collect::<Result<_>>()?;
        let shape = together([x.dims(), &wanted].into_iter())?;
        bounded(&shape)?;
        x.broadcast_as(shape)?.contiguous()
    })
}

/// `Tile`.
pub(in crate::backend::candle) fn tile() -> Lowered {
    one(|inputs| {
        let mut x = inputs.at(0)?.contiguous()?;
        for (axis, times) in inputs.ints(1)?.into_iter().enumerate() {
            let grown = size(times)?.checked_mul(x.elem_count());
            bounded(&[grown.unwrap_or(usize::MAX)])?;
            match size(times)? {
                0 => x = x.narrow(axis, 0, 0)?,
                1 => {}
                times => x = Tensor::cat(&vec![&x; times], axis)?,
            }
        }
        Ok(x)
    })
}

/// `Concat`.
pub(in crate::backend::candle) fn concat(axis: i64) -> Lowered {
    one(move |inputs| {
        let parts: Vec<&Tensor> = inputs.all().collect();
        Tensor::cat(&parts, axis_of(axis, inputs.at(0)?.rank())?)?.contiguous()
    })
}

/// `Split`: in the sizes given, or in parts of which the last may be smaller.
pub(in crate::backend::candle) fn split(
    site: &Site<'_>,
    axis: i64,
    num_outputs: Option<usize>,
) -> Lowered {
    let outputs = num_outputs.unwrap_or(site.node.outputs.len());
    Ok(Box::new(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(axis, x.rank())?;
        let whole = x.dims()[axis];
        let sizes: Vec<usize> = if let Some(sizes) = inputs.maybe_ints(1)? {
            sizes.into_iter().map(size).collect::<Result<_>>()?
        } else {
            let part = whole.div_ceil(outputs.max(1));
            (0..outputs).map(|i| part.min(whole.saturating_sub(i * part))).collect()
        };
        if sizes.iter().sum::<usize>() != whole {
            bail!("an axis of {whole} cannot be split in {sizes:?}")
        }
        let mut from = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            parts.push(x.narrow(axis, from, size)?.contiguous()?);
            from += size;
        }
        Ok(parts)
    }))
}

/// The places that a slice picks of `n`: from, to, step, as the file states them.
fn cut(start: i64, end: i64, step: i64, n: usize) -> Result<Vec<u32>> {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    let counted = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let mut places = Vec::new();
    let (mut at, to) = match step {
        0 => bail!("slices in steps of 0"),
        1.. => (counted(start).clamp(0, n), counted(end).clamp(0, n)),
        _ => (counted(start).max(0).min(n - 1), counted(end).max(-1).min(n - 1)),
    };
    while if step > 0 { at < to } else { at > to } {
        places.push(u32::try_from(at).unwrap_or(u32::MAX));
        at = at.saturating_add(step);
    }
    Ok(places)
}

/// `Slice`.
pub(in crate::backend::candle) fn slice() -> Lowered {
    one(|inputs| {
        let x = inputs.at(0)?;
        let (starts, ends) = (inputs.ints(1)?, inputs.ints(2)?);
        let axes = match inputs.maybe_ints(3)? {
            Some(axes) => axes,
            None => (0..starts.len()).map(|a| i64::try_from(a).unwrap_or(0)).collect(),
        };
        let steps = inputs.maybe_ints(4)?.unwrap_or(vec![1; starts.len()]);
        let mut out = x.clone();
        for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = axis_of(*axis, x.rank())?;
            let places = cut(*start, *end, *step, x.dims()[axis])?;
            out = match (step, places.first()) {
                (_, None) => out.narrow(axis, 0, 0)?,
                (1, Some(first)) => out.narrow(axis, *first as usize, places.len())?,
                _ => {
                    let count = places.len();
                    let places = Tensor::from_vec(places, count, x.device())?;
                    out.contiguous()?.index_select(&places, axis)?
                }
            };
        }
        out.contiguous()
    })
}

/// Where the element of place `at` beyond an axis of `n` comes from.
fn mirrored(at: i64, n: i64, mode: PadMode) -> i64 {
    match mode {
        PadMode::Edge | PadMode::Constant => at.clamp(0, n - 1),
        PadMode::Wrap => at.rem_euclid(n),
        PadMode::Reflect => {
            let period = (2 * (n - 1)).max(1);
            let inside = at.rem_euclid(period);
            inside.min(period - inside).min(n - 1)
        }
    }
}

/// `Pad`: begin of every axis, then end of every axis; below 0 cuts off.
pub(in crate::backend::candle) fn pad(site: &Site<'_>, mode: PadMode) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let x = inputs.at(0)?;
        let pads = inputs.ints(1)?;
        let axes: Vec<usize> = match inputs.maybe_ints(3)? {
            Some(axes) => axes.into_iter().map(|a| axis_of(a, x.rank())).collect::<Result<_>>()?,
            None => (0..x.rank()).collect(),
        };
        let fill = match inputs.maybe(2).filter(|_| mode == PadMode::Constant) {
            Some(value) => Cells::of(value)?,
            None => Cells::Ints(vec![0]),
        };
        if pads.len() != 2 * axes.len() {
            bail!("{} pads do not fit {} axes", pads.len(), axes.len())
        }
        let mut out = x.contiguous()?;
        for (at, axis) in axes.iter().enumerate() {
            let (before, after) = (pads[at], pads[at + axes.len()]);
            out = padded(&out, *axis, (before, after), mode, &fill, dtype)?;
        }
        Ok(out)
    })
}

fn padded(
    x: &Tensor,
    axis: usize,
    (before, after): (i64, i64),
    mode: PadMode,
    fill: &Cells,
    dtype: DType,
) -> Result<Tensor> {
    if before == 0 && after == 0 {
        return Ok(x.clone());
    }
    let n = i64::try_from(x.dims()[axis]).unwrap_or(0);
    bounded(&[size(n.saturating_add(before).saturating_add(after).max(0))?])?;
    if n == 0 && mode != PadMode::Constant {
        bail!("has nothing to pad axis {axis} with")
    }
    if mode != PadMode::Constant {
        let places =
            (-before..n + after).map(|at| u32::try_from(mirrored(at, n, mode)).unwrap_or(0));
        let places: Vec<u32> = places.collect();
        let count = places.len();
        return x.index_select(&Tensor::from_vec(places, count, x.device())?, axis);
    }
    let (from, to) = ((-before).clamp(0, n), (n + after.min(0)).clamp(0, n));
    let kept = x.narrow(axis, size(from)?, size((to - from).max(0))?)?;
    let block = |n: i64| -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        shape[axis] = size(n.max(0))?;
        let value = fill.clone().tensor(dtype, &[1], x.device())?;
        value.reshape(vec![1; shape.len()])?.broadcast_as(shape)?.contiguous()
    };
    Tensor::cat(&[&block(before)?, &kept, &block(after)?], axis)?.contiguous()
}

/// `Shape` of the axes from `start` to `end`.
pub(in crate::backend::candle) fn shape(start: i64, end: Option<i64>) -> Lowered {
    one(move |inputs| {
        let x = inputs.at(0)?;
        let rank = i64::try_from(x.rank()).unwrap_or(0);
        let counted = |at: i64| size(if at < 0 { at + rank } else { at }.clamp(0, rank));
        let (from, to) = (counted(start)?, counted(end.unwrap_or(rank))?);
        let sizes = &x.dims()[from..to.max(from)];
        let sizes: Vec<i64> = sizes.iter().map(|n| i64::try_from(*n).unwrap_or(0)).collect();
        let count = sizes.len();
        Tensor::from_vec(sizes, count, x.device())
    })
}

/// `Size`: the number of elements.
pub(in crate::backend::candle) fn count() -> Lowered {
    one(|inputs| {
        let x = inputs.at(0)?;
        Tensor::new(i64::try_from(x.elem_count()).unwrap_or(0), x.device())
    })
}

/// `ConstantOfShape`.
pub(in crate::backend::candle) fn filled(site: &Site<'_>, value: &crate::graph::Weight) -> Lowered {
    let host = value.to_tensor().ok_or("its value cannot be read")?;
    let value = cells::from_host(&host, site.device).map_err(|e| e.to_string())?;
    one(move |inputs| {
        let shape: Vec<usize> = inputs.ints(0)?.into_iter().map(size).collect::<Result<_>>()?;
        bounded(&shape)?;
        value.flatten_all()?.reshape(vec![1; shape.len()])?.broadcast_as(shape)?.contiguous()
    })
}

/// `Range` from a start to a limit that it does not reach, in steps.
pub(in crate::backend::candle) fn range(site: &Site<'_>) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let device = inputs.at(0)?.device();
        if dtype.is_float() {
            let of = |i| Ok::<f64, candle_core::Error>(inputs.number(i)?.unwrap_or(0.0));
            let (start, limit, step) = (of(0)?, of(1)?, of(2)?);
            let steps = ((limit - start) / step).ceil().max(0.0);
            if steps.is_nan() || steps > MOST_ELEMENTS as f64 {
                bail!("from {start} to {limit} in steps of {step} has no end")
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "is a count"
            )]
            let all: Vec<f64> = (0..steps as usize).map(|i| start + i as f64 * step).collect();
            let count = all.len();
            return Cells::Floats(all).tensor(dtype, &[count], device);
        }
        let of =
            |i: usize| Ok::<i64, candle_core::Error>(inputs.ints(i)?.first().copied().unwrap_or(0));
        let (mut at, limit, step) = (of(0)?, of(1)?, of(2)?);
        let mut all = Vec::new();
        if step == 0 || limit.abs_diff(at) / step.unsigned_abs() > MOST_ELEMENTS as u64 {
            bail!("from {at} to {limit} in steps of {step} has no end")
        }
        while step != 0 && if step > 0 { at < limit } else { at > limit } {
            all.push(at);
            at = at.saturating_add(step);
        }
        let count = all.len();
        Cells::Ints(all).tensor(dtype, &[count], device)
    })
}

/// `DepthToSpace`, in either order, and `SpaceToDepth`, of images.
pub(in crate::backend::candle) fn blocks(
    blocksize: usize,
    column_row_depth: bool,
    to_space: bool,
) -> Lowered {
    one(move |inputs| {
        let x = inputs.at(0)?;
        let (b, c, h, w) = x.dims4()?;
        let s = blocksize;
        let fits =
            if to_space { c % (s * s).max(1) == 0 } else { h % s.max(1) + w % s.max(1) == 0 };
        if s == 0 || !fits {
            bail!("blocks of {s} do not fit {:?}", x.dims())
        }
        if !to_space {
            let cut =
                x.reshape(&[b, c, h / s, s, w / s, s][..])?.permute(vec![0, 3, 5, 1, 2, 4])?;
            return cut.contiguous()?.reshape((b, c * s * s, h / s, w / s));
        }
        let depth = c / (s * s);
        let cut = if column_row_depth {
            x.reshape(&[b, depth, s, s, h, w][..])?.permute(vec![0, 1, 4, 2, 5, 3])?
        } else {
            x.reshape(&[b, s, s, depth, h, w][..])?.permute(vec![0, 3, 4, 1, 5, 2])?
        };
        cut.contiguous()?.reshape((b, depth, h * s, w * s))
    })
}
