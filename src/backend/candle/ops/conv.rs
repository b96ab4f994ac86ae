//! Convolutions: windows laid out as columns, and one product a group.

use candle_core::{DType as Held, Device, Result, Tensor, WithDType, bail};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::image;
use super::product::{activated, product};
use super::window::{self, Axis};
use crate::backend::candle::cells;
use crate::backend::candle::step::{Lowered, Site, one};
use crate::graph::op::{Activation, ConvAttributes, ConvTransposeAttributes};
use crate::variant::DType;

/// `activation(conv(x [b, c, …], w [m, c/g, …]) + bias [m])`.
///
/// Types that gemm does not multiply go through f32, and are rounded once.
pub(super) fn convolved(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    conv: &ConvAttributes,
    activation: Option<Activation>,
    threads: usize,
) -> Result<Tensor> {
    let held = if x.dtype() == Held::F64 { Held::F64 } else { Held::F32 };
    let host = |t: &Tensor| {
        let t = t.to_device(&Device::Cpu)?;
        if held == Held::F32 { cells::wide(&t) } else { t.to_dtype(held)?.contiguous() }
    };
    let (source, weight, bias) = (host(x)?, host(w)?, bias.map(host).transpose()?);
    let out = if held == Held::F32 && x.rank() == 4 {
        image::conv(&source, &weight, bias.as_ref(), conv, activation, threads)?
    } else {
        let out = match held {
            Held::F64 => of::<f64>(&source, &weight, conv, threads)?,
            _ => of::<f32>(&source, &weight, conv, threads)?,
        };
        activated(biased(out, bias.as_ref())?, activation, threads)?
    };
    let is_half = matches!(x.dtype(), Held::F16 | Held::BF16);
    let out = if is_half {
        cells::rounded(cells::singles(&out)?, out.dims(), x.dtype(), out.device())?
    } else {
        out.to_dtype(x.dtype())?
    };
    out.to_device(x.device())
}

fn of<T: WithDType>(
    x: &Tensor,
    w: &Tensor,
    conv: &ConvAttributes,
    threads: usize,
) -> Result<Tensor> {
    if x.rank() < 3 || w.rank() != x.rank() {
        bail!("weights {:?} do not fit {:?}", w.dims(), x.dims())
    }
    let (dims, kernel) = (x.dims(), &w.dims()[2..]);
    let (batch, channels, spatial) = (dims[0], dims[1], &dims[2..]);
    let axes = window::axes(&conv.window, kernel, spatial, false)?;
    let group = conv.group.max(1);
    let (filters, each) = (w.dims()[0], w.dims()[1]);
    if filters % group != 0 {
        bail!("{filters} filters are not {group} groups")
    }
    if each * group != channels {
        bail!("weights are for {} channels, not {channels}", each * group)
    }
    let places: usize = axes.iter().map(|a| a.out).product();
    let taps: usize = kernel.iter().product();
    let shape: Vec<usize> =
        [batch, filters].into_iter().chain(axes.iter().map(|a| a.out)).collect();
    if batch * filters * places == 0 {
        return Tensor::zeros(shape, x.dtype(), x.device());
    }
    let is_copy = taps == 1 && axes.iter().all(|a| a.stride == 1 && a.before + a.after == 0);
    let columns = if is_copy {
        x.reshape((batch * group, each, places))?
    } else {
        let all = columns::<T>(x, &axes, threads)?;
        Tensor::from_vec(all, (batch * group, each * taps, places), x.device())?
    };
    let rows = filters / group;
    let weights = w.reshape((group, rows, each * taps))?;
    let weights = if group == 1 {
        weights.broadcast_as((batch, rows, each * taps))?
    } else {
        let all = weights.unsqueeze(0)?.broadcast_as((batch, group, rows, each * taps))?;
        all.contiguous()?.reshape((batch * group, rows, each * taps))?
    };
    weights.matmul(&columns)?.reshape(shape)
}

/// Under every tap of every channel, the elements that the window meets: `[b·c·taps, places]`.
fn columns<T: WithDType>(x: &Tensor, axes: &[Axis], threads: usize) -> Result<Vec<T>> {
    let (storage, layout) = x.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        bail!("convolutions are laid out on the CPU")
    };
    let all = &storage.as_slice::<T>()?[layout.start_offset()..];
    let image: usize = axes.iter().map(|a| a.size).product();
    let places: usize = axes.iter().map(|a| a.out).product();
    let sizes: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
    let taps = window::indices(&sizes);
    let rows = x.dims()[0] * x.dims()[1] * taps.len();
    let mut out = vec![T::zero(); rows * places];
    let fill = |row: usize, into: &mut [T]| {
        let (channel, tap) = (row / taps.len(), &taps[row % taps.len()]);
        gathered(&all[channel * image..(channel + 1) * image], axes, tap, into);
    };
    if threads < 2 || out.len() < 16 * 1024 {
        out.chunks_mut(places).enumerate().for_each(|(row, into)| fill(row, into));
    } else {
        let rows = out.par_chunks_mut(places).enumerate();
        rows.with_min_len(taps.len()).for_each(|(row, into)| fill(row, into));
    }
    Ok(out)
}

/// What one tap meets in one channel, place by place; 0 in the padding.
fn gathered<T: WithDType>(image: &[T], axes: &[Axis], tap: &[usize], into: &mut [T]) {
    let Some((last, outer)) = axes.split_last() else {
        into[0] = image[0];
        return;
    };
    let tap_last = tap[tap.len() - 1];
    for (row, into) in into.chunks_mut(last.out).enumerate() {
        // The row of the image that this row of places meets.
        let (mut rest, mut at, mut step, mut inside) = (row, 0, last.size, true);
        for (axis, tap) in outer.iter().zip(tap).rev() {
            match axis.under(rest % axis.out, *tap) {
                Some(i) => at += i * step,
                None => inside = false,
            }
            rest /= axis.out;
            step *= axis.size;
        }
        if !inside {
            continue;
        }
        let line = &image[at..at + last.size];
        if last.stride == 1 {
            // Places whose element is there are next to each other.
            let offset = tap_last * last.dilation;
            let from = last.before.saturating_sub(offset).min(last.out);
            let first = (from + offset).saturating_sub(last.before).min(last.size);
            let count = (last.out - from).min(last.size.saturating_sub(first));
            into[from..from + count].copy_from_slice(&line[first..first + count]);
        } else {
            for (place, slot) in into.iter_mut().enumerate() {
                if let Some(i) = last.under(place, tap_last) {
                    *slot = line[i];
                }
            }
        }
    }
}

/// `bias [m]`, ready to be added to `[b, m, …]`.
fn biased(out: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let Some(bias) = bias else { return Ok(out) };
    let mut shape = vec![1; out.rank().max(2)];
    shape[1] = bias.elem_count();
    out.broadcast_add(&bias.to_dtype(out.dtype())?.reshape(shape)?)
}

/// `Conv`.
pub(in crate::backend::candle) fn conv(
    site: &Site<'_>,
    conv: &ConvAttributes,
    activation: Option<Activation>,
) -> Lowered {
    let (conv, threads, dtype) = (conv.clone(), site.threads, site.dtype(0)?);
    if !dtype.is_float() {
        return Err(format!("of {dtype}"));
    }
    // Halves are widened once where they are constants.
    let widened = |index: usize| -> Option<Tensor> {
        let weight = site.constant(index).filter(|w| w.dtype() == dtype && dtype.size() == 2)?;
        cells::wide(&cells::from_host(&weight.to_tensor()?, &Device::Cpu).ok()?).ok()
    };
    let (weight, shift) = (widened(1), widened(2));
    one(move |inputs| {
        let (x, w) = (inputs.at(0)?, weight.as_ref().map_or_else(|| inputs.at(1), Ok)?);
        convolved(x, w, shift.as_ref().or(inputs.maybe(2)), &conv, activation, threads)
    })
}

/// `ConvTranspose`: every element of x laid out under its window, and added up.
pub(in crate::backend::candle) fn transposed(
    site: &Site<'_>,
    attributes: &ConvTransposeAttributes,
) -> Lowered {
    let (attributes, dtype) = (attributes.clone(), site.dtype(0)?);
    if dtype == DType::F64 || !dtype.is_float() {
        return Err(format!("of {dtype}"));
    }
    let Some(crate::graph::Dim::Fixed(_)) =
        site.graph.dims(site.node.input(1)).and_then(|d| d.first())
    else {
        return Err("the shape of its weights is not known".to_owned());
    };
    let outputs: Option<Vec<usize>> = site
        .graph
        .dims(site.node.output(0))
        .map(|d| d.iter().skip(2).map(crate::graph::Dim::fixed).collect::<Option<_>>())
        .unwrap_or_default();
    one(move |inputs| {
        let host =
            |i: usize| inputs.at(i)?.to_device(&Device::Cpu)?.to_dtype(Held::F32)?.contiguous();
        let out = spread(&host(0)?, &host(1)?, &attributes, outputs.as_deref())?;
        let out = out.to_device(inputs.at(0)?.device())?;
        biased(out, inputs.maybe(2))?.to_dtype(inputs.at(0)?.dtype())
    })
}

fn spread(
    x: &Tensor,
    w: &Tensor,
    attributes: &ConvTransposeAttributes,
    known: Option<&[usize]>,
) -> Result<Tensor> {
    let group = attributes.conv.group.max(1);
    if x.rank() < 3
        || w.rank() != x.rank()
        || x.dims()[1] != w.dims()[0]
        || !x.dims()[1].is_multiple_of(group)
    {
        bail!("weights {:?} do not fit {:?} in {group} groups", w.dims(), x.dims())
    }
    let (dims, kernel) = (x.dims(), &w.dims()[2..]);
    let (batch, channels, spatial) = (dims[0], dims[1], &dims[2..]);
    let (each, rows) = (channels / group, w.dims()[1]);
    let axes = transposed_axes(attributes, kernel, spatial, known)?;
    let places: usize = spatial.iter().product();
    let taps: usize = kernel.iter().product();
    // [b·g, rows·taps, places]
    let weights = w.reshape((group, each, rows * taps))?.transpose(1, 2)?.contiguous()?;
    let weights = weights.unsqueeze(0)?.broadcast_as((batch, group, rows * taps, each))?;
    let columns = product(&weights, &x.reshape((batch, group, each, places))?)?;
    let columns = columns.flatten_all()?.to_vec1::<f32>()?;
    let sizes: Vec<usize> = axes.iter().map(|a| a.size).collect();
    super::layout::bounded(&sizes)?;
    let image: usize = sizes.iter().product();
    let mut out = vec![0.0_f32; batch * group * rows * image];
    let (all_taps, all_places) = (window::indices(kernel), window::indices(spatial));
    for (line, values) in columns.chunks(places.max(1)).enumerate() {
        let (channel, tap) = (line / taps, &all_taps[line % taps]);
        for (place, value) in all_places.iter().zip(values) {
            let mut at = Some(0);
            for ((axis, place), tap) in axes.iter().zip(place).zip(tap) {
                at = at.zip(axis.under(*place, *tap)).map(|(at, i)| at * axis.size + i);
            }
            if let Some(at) = at {
                out[channel * image + at] += value;
            }
        }
    }
    let shape: Vec<usize> = [batch, group * rows].into_iter().chain(sizes).collect();
    Tensor::from_vec(out, shape, &Device::Cpu)
}

/// The axes of the convolution that is transposed: `size` is its input's, which is our output's.
fn transposed_axes(
    attributes: &ConvTransposeAttributes,
    kernel: &[usize],
    spatial: &[usize],
    known: Option<&[usize]>,
) -> Result<Vec<Axis>> {
    use crate::graph::op::Pads;
    let window = &attributes.conv.window;
    let entry = |list: &[usize], at: usize, default| list.get(at).copied().unwrap_or(default);
    let mut axes = Vec::new();
    for (at, (places, kernel)) in spatial.iter().copied().zip(kernel.iter().copied()).enumerate() {
        let (stride, dilation) = (entry(&window.strides, at, 1), entry(&window.dilations, at, 1));
        let extra = entry(&attributes.output_padding, at, 0);
        let full = (places.max(1) - 1) * stride + (kernel.max(1) - 1) * dilation + 1 + extra;
        let wanted = attributes.output_shape.get(at).copied();
        let (size, before) = match (&window.pads, wanted) {
            (Pads::Explicit(pads), None) => {
                let (before, after) = (entry(pads, at, 0), entry(pads, at + spatial.len(), 0));
                (full.saturating_sub(before + after), before)
            }
            (Pads::Valid, None) => (full, 0),
            (pads, wanted) => {
                let size = wanted.or(known.and_then(|k| k.get(at).copied()));
                let size = size.unwrap_or(places * stride);
                let total = full.saturating_sub(size);
                // The odd element goes to the beginning unless SAME_UPPER says otherwise.
                let upper = matches!(pads, Pads::SameUpper);
                (size, if upper { total / 2 } else { total - total / 2 })
            }
        };
        axes.push(Axis { size, kernel, stride, dilation, before, after: 0, out: places });
    }
    Ok(axes)
}
