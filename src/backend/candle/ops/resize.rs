//! `Resize`: axis by axis, each output element a weighted sum of a few input elements.

use candle_core::{Result, bail};

use super::layout::{bounded, size};
use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::step::{Inputs, Lowered, Site, axis_of, one};
use crate::graph::op::ResizeAttributes;

/// How one axis is resized.
struct Axis {
    at: usize,
    from: usize,
    to: usize,
    scale: f64,
    roi: (f64, f64),
}

/// `Resize` by scales or to sizes.
pub(in crate::backend::candle) fn resize(site: &Site<'_>, a: &ResizeAttributes) -> Lowered {
    if a.antialias {
        return Err("with antialias".to_owned());
    }
    if !["nearest", "linear", "cubic"].contains(&a.mode.as_str()) {
        return Err(format!("of mode {}", a.mode));
    }
    let (dtype, a) = (site.dtype(0)?, a.clone());
    one(move |inputs| {
        let x = inputs.at(0)?;
        let mut shape = x.dims().to_vec();
        let mut values = cells::floats(x)?;
        for axis in axes(inputs, &a, &shape)? {
            if axis.from == axis.to && axis.roi == (0.0, 1.0) && (axis.scale - 1.0).abs() < 1e-12 {
                continue;
            }
            let inner: usize = shape[axis.at + 1..].iter().product();
            let outer: usize = shape[..axis.at].iter().product();
            if axis.from * inner == 0 {
                bail!("an axis of nothing cannot be resized")
            }
            bounded(&[outer, axis.to, inner])?;
            let mut out = Vec::with_capacity(outer * axis.to * inner);
            let taps: Vec<Vec<(usize, f64)>> =
                (0..axis.to).map(|place| taps(&a, &axis, place)).collect();
            for block in values.chunks(axis.from * inner).take(outer) {
                for taps in &taps {
                    out.extend((0..inner).map(|i| {
                        if taps.is_empty() {
                            return f64::from(a.extrapolation_value);
                        }
                        taps.iter().map(|(at, weight)| block[at * inner + i] * weight).sum()
                    }));
                }
            }
            shape[axis.at] = axis.to;
            values = out;
        }
        Cells::Floats(values).tensor(dtype, &shape, x.device())
    })
}

fn axes(inputs: &Inputs<'_>, a: &ResizeAttributes, dims: &[usize]) -> Result<Vec<Axis>> {
    let rank = dims.len();
    let chosen: Vec<usize> = if a.axes.is_empty() {
        (0..rank).collect()
    } else {
        a.axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Result<_>>()?
    };
    let given = |index: usize| -> Result<Option<Vec<f64>>> {
        let values = inputs.maybe(index).map(cells::floats).transpose()?;
        Ok(values.filter(|v| !v.is_empty()))
    };
    let (roi, scales, sizes) = (given(1)?, given(2)?, given(3)?);
    let count = chosen.len();
    let crops = a.coordinate_transformation_mode == "tf_crop_and_resize";
    for (list, wanted) in [(&scales, count), (&sizes, count), (&roi, 2 * count)] {
        if list.as_ref().is_some_and(|l| l.len() != wanted && (wanted == count || crops)) {
            bail!("{count} axes are not given as many scales, sizes or bounds")
        }
    }
    let ratio = |at: usize, to: f64| to / dims[chosen[at]] as f64;
    let kept = sizes.as_ref().map(|sizes| {
        let ratios = sizes.iter().enumerate().map(|(at, to)| ratio(at, *to));
        match a.keep_aspect_ratio_policy.as_str() {
            "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
            "not_smaller" => Some(ratios.fold(0.0, f64::max)),
            _ => None,
        }
    });
    let kept = kept.flatten();
    let mut axes = Vec::new();
    for (at, axis) in chosen.iter().copied().enumerate() {
        let from = dims[axis];
        #[expect(clippy::cast_possible_truncation, reason = "sizes are whole")]
        let (scale, to) = match (&scales, &sizes, kept) {
            (Some(scales), _, _) => (scales[at], (from as f64 * scales[at] + 1e-9).floor() as i64),
            (None, Some(_), Some(scale)) => (scale, (scale * from as f64 + 0.5).floor() as i64),
            (None, Some(sizes), None) => (ratio(at, sizes[at]), sizes[at] as i64),
            (None, None, _) => bail!("has neither scales nor sizes"),
        };
        let roi = match roi.as_ref().filter(|_| crops) {
            Some(roi) => (roi[at], roi[at + chosen.len()]),
            None => (0.0, 1.0),
        };
        axes.push(Axis { at: axis, from, to: size(to)?, scale, roi });
    }
    Ok(axes)
}

/// Where a place of the output lies among the input's.
fn coordinate(mode: &str, axis: &Axis, place: usize) -> f64 {
    let (x, from, to) = (place as f64, axis.from as f64, axis.to as f64);
    let half = (x + 0.5) / axis.scale - 0.5;
    match mode {
        "asymmetric" => x / axis.scale,
        "align_corners" => {
            // By the size that the scale means, which need not be whole.
            let length = from * axis.scale;
            if length <= 1.0 { 0.0 } else { x * (from - 1.0) / (length - 1.0) }
        }
        "pytorch_half_pixel" => {
            if to > 1.0 {
                half
            } else {
                0.0
            }
        }
        "half_pixel_symmetric" => {
            let adjustment = to / (axis.scale * from);
            from / 2.0 * (1.0 - adjustment) + half
        }
        "tf_crop_and_resize" => {
            let (start, end) = axis.roi;
            if to > 1.0 {
                start * (from - 1.0) + x * (end - start) * (from - 1.0) / (to - 1.0)
            } else {
                0.5 * (start + end) * (from - 1.0)
            }
        }
        _ => half,
    }
}

/// Input elements with their weights; none where the place lies outside and is extrapolated.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held within the axis")]
fn taps(a: &ResizeAttributes, axis: &Axis, place: usize) -> Vec<(usize, f64)> {
    let at = coordinate(&a.coordinate_transformation_mode, axis, place);
    let last = axis.from.max(1) - 1;
    if a.coordinate_transformation_mode == "tf_crop_and_resize"
        && !(0.0..=last as f64).contains(&at)
    {
        return Vec::new();
    }
    let held = |i: f64| i.clamp(0.0, last as f64) as usize;
    match a.mode.as_str() {
        "nearest" => {
            let rounded = match a.nearest_mode.as_str() {
                "round_prefer_ceil" => (at + 0.5).floor(),
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                _ => (at - 0.5).ceil(),
            };
            vec![(held(rounded), 1.0)]
        }
        "linear" => {
            let low = at.clamp(0.0, last as f64).floor();
            let part = at.clamp(0.0, last as f64) - low;
            vec![(held(low), 1.0 - part), (held(low + 1.0), part)]
        }
        _ => {
            // Keys' cubic convolution.
            let (low, c) = (at.floor(), f64::from(a.cubic_coeff_a));
            let weight = |d: f64| {
                let d = d.abs();
                if d <= 1.0 {
                    ((c + 2.0) * d - (c + 3.0)) * d * d + 1.0
                } else if d < 2.0 {
                    ((c * d - 5.0 * c) * d + 8.0 * c) * d - 4.0 * c
                } else {
                    0.0
                }
            };
            let mut taps: Vec<(f64, f64)> =
                (-1..=2).map(|i| (low + f64::from(i), weight(at - low - f64::from(i)))).collect();
            if a.exclude_outside {
                taps.retain(|(i, _)| (0.0..=last as f64).contains(i));
                let total: f64 = taps.iter().map(|(_, w)| w).sum();
                for (_, w) in &mut taps {
                    *w /= total;
                }
            }
            taps.into_iter().map(|(i, w)| (held(i), w)).collect()
        }
    }
}
