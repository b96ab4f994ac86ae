//! Pooling over sliding windows, and over everything.

use candle_core::{Result, Tensor, bail};

use super::window;
use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::step::{Lowered, Site, one, strides};
use crate::graph::op::PoolAttributes;
use crate::variant::DType;

/// For every place of the window, the elements that it meets in one channel; `padded` counts those in
/// the padding too, as [`AveragePool`](crate::graph::op::Op::AveragePool) can.
struct Meets {
    places: Vec<(Vec<usize>, usize)>,
    out: Vec<usize>,
}

fn meets(x: &Tensor, pool: &PoolAttributes) -> Result<Meets> {
    if x.rank() < 3 || x.elem_count() == 0 {
        bail!("{:?} has nothing to slide a window over", x.dims())
    }
    let spatial = &x.dims()[2..];
    let axes = window::axes(&pool.window, &pool.window.kernel_shape, spatial, pool.ceil_mode)?;
    let out: Vec<usize> = axes.iter().map(|a| a.out).collect();
    let sizes: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
    let taps = window::indices(&sizes);
    let own = strides(spatial);
    let places = window::indices(&out).into_iter().map(|place| {
        let mut counted = 0;
        let mut under = Vec::with_capacity(taps.len());
        for tap in &taps {
            let mut at = Some(0);
            let mut is_counted = true;
            for (axis, ((place, tap), step)) in
                axes.iter().zip(place.iter().zip(tap).zip(own.iter().copied()))
            {
                let position = place * axis.stride + tap * axis.dilation;
                is_counted &= position < axis.size + axis.before + axis.after;
                at = at.zip(axis.under(*place, *tap)).map(|(at, i)| at + i * step);
            }
            counted += usize::from(is_counted);
            under.extend(at);
        }
        (under, counted)
    });
    let places: Vec<(Vec<usize>, usize)> = places.collect();
    if places.iter().any(|(under, _)| under.is_empty()) {
        bail!("a window lies wholly in the padding")
    }
    Ok(Meets { places, out })
}

/// `MaxPool`, with the places of the largest where they are asked for.
pub(in crate::backend::candle) fn max(
    site: &Site<'_>,
    pool: &PoolAttributes,
    storage_order: i64,
) -> Lowered {
    let (pool, dtype) = (pool.clone(), site.dtype(0)?);
    let indices = site.node.output(1).is_some();
    Ok(Box::new(move |inputs| {
        let x = inputs.at(0)?;
        let meets = meets(x, &pool)?;
        let spatial = &x.dims()[2..];
        let image: usize = spatial.iter().product();
        let values = Cells::of(x)?;
        let larger = |a: usize, b: usize| match &values {
            Cells::Floats(v) => v[a] > v[b] || v[a].is_nan(),
            Cells::Ints(v) => v[a] > v[b],
        };
        let mut best = Vec::new();
        for channel in 0..x.dims()[0] * x.dims()[1] {
            for (under, _) in &meets.places {
                let mut all = under.iter().map(|at| channel * image + at);
                let first = all.next().unwrap_or(channel * image);
                best.push(all.fold(first, |best, at| if larger(at, best) { at } else { best }));
            }
        }
        let shape = [&x.dims()[..2], &meets.out].concat();
        let largest = match &values {
            Cells::Floats(v) => Cells::Floats(best.iter().map(|at| v[*at]).collect()),
            Cells::Ints(v) => Cells::Ints(best.iter().map(|at| v[*at]).collect()),
        };
        let mut outputs = vec![largest.tensor(dtype, &shape, x.device())?];
        if indices {
            let columns = spatial.last().copied().unwrap_or(1).max(1);
            let rows = image / columns;
            let place = |at: &usize| {
                let (base, inside) = (at / image * image, at % image);
                let turned = inside % columns * rows + inside / columns;
                let at = if storage_order == 1 { base + turned } else { *at };
                i64::try_from(at).unwrap_or(0)
            };
            let places = Cells::Ints(best.iter().map(place).collect());
            outputs.push(places.tensor(DType::I64, &shape, x.device())?);
        }
        Ok(outputs)
    }))
}

/// `AveragePool`.
pub(in crate::backend::candle) fn average(
    site: &Site<'_>,
    pool: &PoolAttributes,
    count_include_pad: bool,
) -> Lowered {
    let (pool, dtype) = (pool.clone(), site.dtype(0)?);
    one(move |inputs| {
        let x = inputs.at(0)?;
        let meets = meets(x, &pool)?;
        let image: usize = x.dims()[2..].iter().product();
        let values = cells::floats(x)?;
        let mut out = Vec::new();
        for channel in values.chunks(image.max(1)) {
            out.extend(meets.places.iter().map(|(under, counted)| {
                let sum: f64 = under.iter().map(|at| channel[*at]).sum();
                sum / if count_include_pad { *counted } else { under.len() } as f64
            }));
        }
        let shape = [&x.dims()[..2], &meets.out].concat();
        Cells::Floats(out).tensor(dtype, &shape, x.device())
    })
}

/// `GlobalAveragePool` and `GlobalMaxPool`.
pub(in crate::backend::candle) fn global(site: &Site<'_>, average: bool) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let x = inputs.at(0)?;
        if x.rank() < 2 {
            bail!("{:?} has no channels", x.dims())
        }
        let image: usize = x.dims()[2..].iter().product();
        let of = |channel: &[f64]| {
            if average {
                channel.iter().sum::<f64>() / image as f64
            } else {
                channel.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            }
        };
        let out = cells::floats(x)?.chunks(image.max(1)).map(of).collect();
        let shape: Vec<usize> =
            x.dims().iter().enumerate().map(|(at, n)| if at < 2 { *n } else { 1 }).collect();
        Cells::Floats(out).tensor(dtype, &shape, x.device())
    })
}
