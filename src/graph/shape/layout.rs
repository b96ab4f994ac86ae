//! Shapes of operators that rearrange, pad, join and reduce.

use super::Element;
use super::context::{Context, Fact, axis_of, broadcast, same};
use crate::graph::Weight;
use crate::graph::dim::{self, Dim};
use crate::graph::op::ResizeAttributes;
use crate::variant::DType;

type Facts = Result<Vec<Fact>, String>;

#[expect(clippy::unnecessary_wraps, reason = "every rule ends with it")]
fn one(dtype: Option<DType>, dims: Option<Vec<Dim>>) -> Facts {
    Ok(vec![Fact { dtype, dims }])
}

/// An output whose axes are only known in number.
fn of_rank(dtype: Option<DType>, rank: Option<usize>) -> Facts {
    one(dtype, rank.map(|rank| vec![Dim::Unknown; rank]))
}

/// Which axes `Shape` gives.
pub(super) fn shape_range(rank: usize, start: i64, end: Option<i64>) -> (usize, usize) {
    let rank_i = i64::try_from(rank).unwrap_or(i64::MAX);
    let place = |at: i64| {
        let counted = if at < 0 { at.saturating_add(rank_i) } else { at };
        usize::try_from(counted.clamp(0, rank_i)).unwrap_or(0)
    };
    let (from, to) = (place(start), end.map_or(rank, place));
    (from.min(to), to)
}

pub(super) fn shape(c: &Context<'_>, start: i64, end: Option<i64>) -> Facts {
    let size = c.dims(0)?.map(|dims| {
        let (from, to) = shape_range(dims.len(), start, end);
        Dim::Fixed(to - from)
    });
    one(Some(DType::I64), Some(vec![size.unwrap_or(Dim::Unknown)]))
}

/// Sizes multiplied: what is fixed, and the names of what is not; `None` with an unknown one.
fn product(dims: &[Dim]) -> Option<(usize, Vec<&str>)> {
    let mut names = Vec::new();
    let mut fixed = 1_usize;
    for dim in dims {
        match dim {
            Dim::Fixed(n) => fixed = fixed.checked_mul(*n)?,
            Dim::Named(name) => names.push(name.as_str()),
            Dim::Unknown => return None,
        }
    }
    names.sort_unstable();
    Some((fixed, names))
}

/// What is left of `whole` when it is divided by `part`.
fn quotient(whole: &[Dim], part: &[Dim]) -> Result<Dim, String> {
    let (Some((whole_n, mut names)), Some((part_n, part_names))) = (product(whole), product(part))
    else {
        return Ok(Dim::Unknown);
    };
    for name in &part_names {
        match names.iter().position(|n| n == name) {
            Some(at) => drop(names.remove(at)),
            None => return Ok(Dim::Unknown),
        }
    }
    if part_n == 0 {
        return Ok(if whole_n == 0 { Dim::Unknown } else { Dim::Fixed(0) });
    }
    let even = whole_n % part_n == 0;
    match names[..] {
        [] if even => Ok(Dim::Fixed(whole_n / part_n)),
        [] => Err(format!("{whole_n} elements cannot be split into rows of {part_n}")),
        [name] if even && whole_n == part_n => Ok(Dim::Named(name.to_owned())),
        _ => Ok(Dim::Unknown),
    }
}

pub(super) fn reshape(c: &Context<'_>, allowzero: bool) -> Facts {
    let dtype = c.dtype(0)?;
    let input = c.dims(0)?;
    let Some(target) = c.elements(1) else { return of_rank(dtype, c.length(1)) };
    let mut dims = Vec::with_capacity(target.len());
    let mut open = None;
    for (at, element) in target.iter().enumerate() {
        dims.push(match element {
            Element::Int(-1) if open.is_none() => {
                open = Some(at);
                Dim::Fixed(1)
            }
            Element::Int(0) if !allowzero => match input {
                Some(input) => input
                    .get(at)
                    .cloned()
                    .ok_or_else(|| format!("copies axis {at}, which is not there"))?,
                None => Dim::Unknown,
            },
            other => other.dim().ok_or("its shape holds a negative size, or −1 twice")?,
        });
    }
    if let (Some(at), Some(input)) = (open, input) {
        dims[at] = quotient(input, &dims)?;
    } else if let Some(at) = open {
        dims[at] = Dim::Unknown;
    } else if let Some(input) = input.and_then(dim::fixed)
        && let Some(output) = dim::fixed(&dims)
        && elements(&input) != elements(&output)
    {
        return Err(format!("makes {output:?} of {input:?}"));
    }
    one(dtype, Some(dims))
}

fn elements(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
}

pub(super) fn flatten(c: &Context<'_>, axis: i64) -> Facts {
    let Some(dims) = c.dims(0)? else { return of_rank(c.dtype(0)?, Some(2)) };
    let rank = dims.len();
    let at = if usize::try_from(axis) == Ok(rank) { rank } else { axis_of(axis, rank)? };
    let size = |part: &[Dim]| quotient(part, &[]);
    one(c.dtype(0)?, Some(vec![size(&dims[..at])?, size(&dims[at..])?]))
}

pub(super) fn squeeze(c: &Context<'_>) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return one(dtype, None) };
    let gone: Vec<usize> = if c.has(1) {
        let Some(axes) = c.ints(1) else {
            return of_rank(dtype, c.length(1).map(|n| dims.len().saturating_sub(n)));
        };
        axes.iter().map(|a| axis_of(*a, dims.len())).collect::<Result<_, _>>()?
    } else {
        // Which axes are 1 must be known of every one.
        let Some(fixed) = dim::fixed(dims) else { return one(dtype, None) };
        (0..dims.len()).filter(|at| fixed[*at] == 1).collect()
    };
    if let Some(at) = gone.iter().find(|at| dims[**at].contradicts(&Dim::Fixed(1))) {
        return Err(format!("axis {at} of {} is not 1", dim::show(dims)));
    }
    let kept = dims.iter().enumerate().filter(|(at, _)| !gone.contains(at));
    one(dtype, Some(kept.map(|(_, dim)| dim.clone()).collect()))
}

pub(super) fn unsqueeze(c: &Context<'_>) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return one(dtype, None) };
    let Some(axes) = c.ints(1) else {
        return of_rank(dtype, c.length(1).map(|n| dims.len() + n));
    };
    let rank = dims.len() + axes.len();
    let new: Vec<usize> = axes.iter().map(|a| axis_of(*a, rank)).collect::<Result<_, _>>()?;
    if (1..new.len()).any(|at| new[..at].contains(&new[at])) {
        return Err(format!("axes {axes:?} name one twice"));
    }
    let mut old = dims.iter().cloned();
    let dims = (0..rank).map(|at| if new.contains(&at) { Some(Dim::Fixed(1)) } else { old.next() });
    one(dtype, dims.collect())
}

pub(super) fn transpose(c: &Context<'_>, perm: &[usize]) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else {
        return of_rank(dtype, (!perm.is_empty()).then_some(perm.len()));
    };
    if perm.is_empty() {
        return one(dtype, Some(dims.iter().rev().cloned().collect()));
    }
    let mut seen = perm.to_vec();
    seen.sort_unstable();
    if seen.len() != dims.len() || seen.iter().enumerate().any(|(at, axis)| at != *axis) {
        return Err(format!("{perm:?} is no order of {} axes", dims.len()));
    }
    one(dtype, Some(perm.iter().map(|axis| dims[*axis].clone()).collect()))
}

fn dims_of(elements: &[Element]) -> Result<Vec<Dim>, String> {
    let dims: Option<Vec<Dim>> = elements.iter().map(Element::dim).collect();
    dims.ok_or_else(|| "its shape holds a negative size".to_owned())
}

pub(super) fn expand(c: &Context<'_>) -> Facts {
    let dtype = c.dtype(0)?;
    let dims = match c.elements(1) {
        Some(target) => broadcast(&[c.dims(0)?, Some(&dims_of(&target)?)])?,
        None => match (c.dims(0)?, c.length(1)) {
            (Some(dims), Some(n)) => Some(vec![Dim::Unknown; dims.len().max(n)]),
            _ => None,
        },
    };
    one(dtype, dims)
}

pub(super) fn constant_of_shape(c: &Context<'_>, value: &Weight) -> Facts {
    match c.elements(0) {
        Some(target) => one(Some(value.dtype()), Some(dims_of(&target)?)),
        None => of_rank(Some(value.dtype()), c.length(0)),
    }
}

pub(super) fn tile(c: &Context<'_>) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return of_rank(dtype, c.length(1)) };
    let Some(repeats) = c.elements(1) else { return of_rank(dtype, Some(dims.len())) };
    if repeats.len() != dims.len() {
        return Err(format!("{} repeats for {} axes", repeats.len(), dims.len()));
    }
    let times = |(dim, n): (&Dim, &Element)| match (dim, n.int()) {
        (dim, Some(1)) => dim.clone(),
        (Dim::Fixed(d), Some(n)) => {
            usize::try_from(n).ok().and_then(|n| d.checked_mul(n)).map_or(Dim::Unknown, Dim::Fixed)
        }
        _ => Dim::Unknown,
    };
    one(dtype, Some(dims.iter().zip(&repeats).map(times).collect()))
}

pub(super) fn concat(c: &Context<'_>, axis: i64) -> Facts {
    let dtype = c.dtype(0)?;
    let parts: Result<Vec<_>, _> = (0..c.node.inputs.len()).map(|at| c.dims(at)).collect();
    let parts = parts?;
    let Some(rank) = parts.iter().flatten().next().map(|d| d.len()) else {
        return one(dtype, None);
    };
    let axis = axis_of(axis, rank)?;
    let mut dims: Option<Vec<Dim>> = None;
    for part in &parts {
        let Some(part) = part else {
            // Sizes besides the joined one are those of the others.
            if let Some(dims) = &mut dims {
                dims[axis] = Dim::Unknown;
            } else {
                dims = Some(vec![Dim::Unknown; rank]);
            }
            continue;
        };
        if part.len() != rank {
            return Err(format!("joins {} and {rank} axes", part.len()));
        }
        let Some(sum) = &mut dims else {
            dims = Some(part.to_vec());
            continue;
        };
        for (at, (total, size)) in sum.iter_mut().zip(*part).enumerate() {
            *total = if at != axis {
                same(total, size, &format!("axis {at}"))?
            } else if let (Dim::Fixed(a), Dim::Fixed(b)) = (&total, size) {
                a.checked_add(*b).map_or(Dim::Unknown, Dim::Fixed)
            } else {
                Dim::Unknown
            };
        }
    }
    one(dtype, dims)
}

pub(super) fn split(c: &Context<'_>, axis: i64, num_outputs: Option<usize>) -> Facts {
    let dtype = c.dtype(0)?;
    let parts = c.node.outputs.len();
    let Some(dims) = c.dims(0)? else {
        return Ok((0..parts).map(|_| Fact { dtype, dims: None }).collect());
    };
    let axis = axis_of(axis, dims.len())?;
    let sizes: Option<Vec<Dim>> = match (num_outputs, &dims[axis]) {
        (Some(n), _) if n != parts => return Err(format!("gives {parts} parts of {n}")),
        (Some(n), Dim::Fixed(whole)) if n > 0 => {
            // All of one size, the last one smaller where it must be.
            let each = whole.div_ceil(n);
            Some((0..n).map(|at| Dim::Fixed(each.min(whole.saturating_sub(at * each)))).collect())
        }
        (Some(_), _) => None,
        (None, whole) => {
            let sizes = c.elements(1).map(|e| dims_of(&e)).transpose()?;
            if let (Some(sizes), Dim::Fixed(whole)) = (&sizes, whole)
                && let Some(fixed) = dim::fixed(sizes)
                && fixed.iter().try_fold(0_usize, |n, d| n.checked_add(*d)) != Some(*whole)
            {
                return Err(format!("splits {whole} into {fixed:?}"));
            }
            sizes
        }
    };
    if let Some(n) = sizes.as_ref().map(Vec::len).filter(|n| *n < parts) {
        return Err(format!("gives {parts} parts of {n}"));
    }
    let part = |at: usize| {
        let mut dims = dims.to_vec();
        dims[axis] = sizes.as_ref().map_or(Dim::Unknown, |s| s[at].clone());
        Fact { dtype, dims: Some(dims) }
    };
    Ok((0..parts).map(part).collect())
}

pub(super) fn pad(c: &Context<'_>) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return one(dtype, None) };
    let Some(pads) = c.ints(1) else { return of_rank(dtype, Some(dims.len())) };
    let axes: Vec<usize> = if c.has(3) {
        let Some(axes) = c.ints(3) else { return of_rank(dtype, Some(dims.len())) };
        axes.iter().map(|a| axis_of(*a, dims.len())).collect::<Result<_, _>>()?
    } else {
        (0..dims.len()).collect()
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    let mut out = dims.to_vec();
    for (at, axis) in axes.iter().enumerate() {
        let more = pads[at].saturating_add(pads[at + axes.len()]);
        out[*axis] = match &dims[*axis] {
            size if pads[at] == 0 && pads[at + axes.len()] == 0 => size.clone(),
            Dim::Fixed(n) => {
                let n = i64::try_from(*n).ok().and_then(|n| n.checked_add(more));
                n.and_then(|n| usize::try_from(n).ok()).map_or(Dim::Unknown, Dim::Fixed)
            }
            _ => Dim::Unknown,
        };
    }
    one(dtype, Some(out))
}

pub(super) fn resize(c: &Context<'_>, attributes: &ResizeAttributes) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return one(dtype, None) };
    let mut out = dims.to_vec();
    let axes: Vec<usize> = if attributes.axes.is_empty() {
        (0..dims.len()).collect()
    } else {
        attributes.axes.iter().map(|a| axis_of(*a, dims.len())).collect::<Result<_, _>>()?
    };
    let scales = c.graph.constant(c.node.input(2)).filter(|s| !s.is_empty()).map(Weight::to_f64);
    let sizes = c.elements(3);
    // Of sizes that must keep the proportions, one of them decides about all.
    let kept = || -> Option<f64> {
        let sizes: Option<Vec<i64>> = sizes.as_ref()?.iter().map(Element::int).collect();
        let ratio = |(axis, size): (&usize, i64)| Some(size as f64 / dims[*axis].fixed()? as f64);
        let ratios: Option<Vec<f64>> = axes.iter().zip(sizes?).map(ratio).collect();
        match attributes.keep_aspect_ratio_policy.as_str() {
            "not_larger" => ratios?.into_iter().reduce(f64::min),
            "not_smaller" => ratios?.into_iter().reduce(f64::max),
            _ => None,
        }
    };
    let kept = if scales.is_none() { kept() } else { None };
    for (at, axis) in axes.iter().enumerate() {
        if let (Some(ratio), Dim::Fixed(n)) = (kept, &dims[*axis]) {
            // Halves are rounded up.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, ≥ 0"
            )]
            let size = (ratio * *n as f64 + 0.5).floor().max(0.0) as usize;
            out[*axis] = Dim::Fixed(size);
            continue;
        }
        out[*axis] = match (&scales, &sizes, &dims[*axis]) {
            (None, Some(sizes), _) if attributes.keep_aspect_ratio_policy == "stretch" => {
                sizes.get(at).and_then(Element::dim).unwrap_or(Dim::Unknown)
            }
            (Some(scales), None, size) => match (scales.get(at), size) {
                (Some(scale), size) if (scale - 1.0).abs() < f64::EPSILON => size.clone(),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, ≥ 0"
                )]
                (Some(scale), Dim::Fixed(n)) => {
                    // Scales are floats, and the product is one.
                    Dim::Fixed((*n as f32 * *scale as f32).floor().max(0.0) as usize)
                }
                _ => Dim::Unknown,
            },
            _ => Dim::Unknown,
        };
    }
    one(dtype, Some(out))
}

pub(super) fn depth_to_space(c: &Context<'_>, block: usize) -> Facts {
    let dtype = c.dtype(0)?;
    let Some([n, channels, h, w]) = c.dims(0)? else { return of_rank(dtype, Some(4)) };
    let times =
        |d: &Dim| d.fixed().and_then(|d| d.checked_mul(block)).map_or(Dim::Unknown, Dim::Fixed);
    let area = block.checked_mul(block).ok_or("its blocks are too large")?;
    let channels = match channels.fixed() {
        Some(channels) if channels % area != 0 => {
            return Err(format!("{channels} channels are no multiple of {block}²"));
        }
        Some(channels) => Dim::Fixed(channels / area),
        None => Dim::Unknown,
    };
    one(dtype, Some(vec![n.clone(), channels, times(h), times(w)]))
}

pub(super) fn space_to_depth(c: &Context<'_>, block: usize) -> Facts {
    let dtype = c.dtype(0)?;
    let Some([n, channels, h, w]) = c.dims(0)? else { return of_rank(dtype, Some(4)) };
    let by = |d: &Dim| d.fixed().map_or(Dim::Unknown, |d| Dim::Fixed(d / block));
    let area = block.checked_mul(block).ok_or("its blocks are too large")?;
    let channels = channels.fixed().and_then(|ch| ch.checked_mul(area));
    let channels = channels.map_or(Dim::Unknown, Dim::Fixed);
    one(dtype, Some(vec![n.clone(), channels, by(h), by(w)]))
}

pub(super) fn reduce(c: &Context<'_>, keepdims: bool, noop_with_empty_axes: bool) -> Facts {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return one(dtype, None) };
    let stated = if c.has(1) { c.ints(1) } else { Some(Vec::new()) };
    let Some(stated) = stated else {
        let rank = if keepdims {
            Some(dims.len())
        } else {
            c.length(1).filter(|n| *n > 0).map(|n| dims.len().saturating_sub(n))
        };
        return of_rank(dtype, rank);
    };
    if stated.is_empty() && noop_with_empty_axes {
        return one(dtype, Some(dims.to_vec()));
    }
    let axes: Vec<usize> = if stated.is_empty() {
        (0..dims.len()).collect()
    } else {
        stated.iter().map(|a| axis_of(*a, dims.len())).collect::<Result<_, _>>()?
    };
    one(dtype, Some(without(dims, &axes, keepdims)))
}

/// `dims` without `axes`, or with 1 in their place.
fn without(dims: &[Dim], axes: &[usize], keepdims: bool) -> Vec<Dim> {
    dims.iter()
        .enumerate()
        .filter_map(|(at, dim)| match (axes.contains(&at), keepdims) {
            (false, _) => Some(dim.clone()),
            (true, true) => Some(Dim::Fixed(1)),
            (true, false) => None,
        })
        .collect()
}

pub(super) fn arg(c: &Context<'_>, axis: i64, keepdims: bool) -> Facts {
    let dims = match c.dims(0)? {
        None => None,
        Some(dims) => Some(without(dims, &[axis_of(axis, dims.len())?], keepdims)),
    };
    one(Some(DType::I64), dims)
}

/// Output like the input; parameters are one a channel, which is axis 1.
pub(super) fn per_channel(c: &Context<'_>) -> Facts {
    if let (Some(dims), Some([scale])) = (c.dims(0)?, c.dims(1)?) {
        let channels = dims.get(1).ok_or("its input has no channels")?;
        same(channels, scale, "the number of channels")?;
    }
    Ok(vec![c.fact(0)?])
}

pub(super) fn layer_normalization(c: &Context<'_>, axis: i64) -> Facts {
    let like = c.fact(0)?;
    let statistics = match &like.dims {
        None => None,
        Some(dims) => {
            let from = axis_of(axis, dims.len())?;
            broadcast(&[Some(&dims[from..]), c.dims(1)?])?;
            let axes: Vec<usize> = (from..dims.len()).collect();
            Some(without(dims, &axes, true))
        }
    };
    let other = || Fact { dtype: Some(DType::F32), dims: statistics.clone() };
    let (mean, deviation) = (other(), other());
    Ok(vec![like, mean, deviation])
}
