//! Shapes of operators that slide a window: convolutions and pooling.

use super::context::{Context, Fact, same};
use crate::graph::dim::{self, Dim};
use crate::graph::op::{ConvAttributes, ConvTransposeAttributes, Pads, PoolAttributes, Window};

/// Entry `at` of a list that may be left out.
fn entry(list: &[usize], at: usize, default: usize) -> usize {
    list.get(at).copied().unwrap_or(default)
}

/// Places of a window along one axis of `size`.
fn places(
    window: &Window,
    at: usize,
    size: usize,
    kernel: usize,
    ceil: bool,
    axes: usize,
) -> Result<usize, String> {
    let stride = entry(&window.strides, at, 1);
    let reach = entry(&window.dilations, at, 1)
        .checked_mul(kernel.saturating_sub(1))
        .and_then(|n| n.checked_add(1))
        .ok_or("its window is too large")?;
    let (begin, end) = match &window.pads {
        Pads::SameUpper | Pads::SameLower => return Ok(size.div_ceil(stride)),
        Pads::Valid => (0, 0),
        Pads::Explicit(pads) => (entry(pads, at, 0), entry(pads, at + axes, 0)),
    };
    let padded =
        size.checked_add(begin).and_then(|n| n.checked_add(end)).ok_or("it pads too much")?;
    let Some(room) = padded.checked_sub(reach) else {
        return Err(format!("a window of {reach} does not fit {padded}"));
    };
    if !ceil {
        return Ok(room / stride + 1);
    }
    let count = room.div_ceil(stride) + 1;
    // A window that would begin in the padding at the end does not count.
    let begins = (count - 1).saturating_mul(stride);
    Ok(if begins >= size.saturating_add(begin) { count - 1 } else { count })
}

fn slide(
    window: &Window,
    spatial: &[Dim],
    kernel: &[Option<usize>],
    ceil: bool,
) -> Result<Vec<Dim>, String> {
    let axes = spatial.len();
    let along = |(at, size): (usize, &Dim)| match (size, kernel.get(at).copied().flatten()) {
        (Dim::Fixed(size), Some(kernel)) => {
            places(window, at, *size, kernel, ceil, axes).map(Dim::Fixed)
        }
        _ => Ok(Dim::Unknown),
    };
    spatial.iter().enumerate().map(along).collect()
}

/// Input `x` `[n, c, …]` with weights `w` `[m, c/group, …]`.
pub(super) fn conv(
    c: &Context<'_>,
    attributes: &ConvAttributes,
    x: usize,
    w: usize,
) -> Result<Option<Vec<Dim>>, String> {
    let (Some(x), Some(w)) = (c.dims(x)?, c.dims(w)?) else { return Ok(None) };
    if x.len() < 3 || x.len() != w.len() {
        return Err(format!("slides {} over {}", dim::show(w), dim::show(x)));
    }
    if let (Some(channels), Some(taken)) = (x[1].fixed(), w[1].fixed()) {
        let taken = taken.saturating_mul(attributes.group);
        same(&Dim::Fixed(channels), &Dim::Fixed(taken), "the number of channels")?;
    }
    let kernel: Vec<Option<usize>> = w[2..].iter().map(Dim::fixed).collect();
    let spatial = slide(&attributes.window, &x[2..], &kernel, false)?;
    Ok(Some([vec![x[0].clone(), w[0].clone()], spatial].concat()))
}

pub(super) fn pool(
    c: &Context<'_>,
    attributes: &PoolAttributes,
) -> Result<Option<Vec<Dim>>, String> {
    let Some(x) = c.dims(0)? else { return Ok(None) };
    let kernel = &attributes.window.kernel_shape;
    if x.len() != kernel.len() + 2 {
        return Err(format!("slides {kernel:?} over {}", dim::show(x)));
    }
    let kernel: Vec<Option<usize>> = kernel.iter().copied().map(Some).collect();
    let spatial = slide(&attributes.window, &x[2..], &kernel, attributes.ceil_mode)?;
    Ok(Some([x[..2].to_vec(), spatial].concat()))
}

pub(super) fn global_pool(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    let dims = match c.dims(0)? {
        Some(x) if x.len() >= 2 => {
            Some([x[..2].to_vec(), vec![Dim::Fixed(1); x.len() - 2]].concat())
        }
        Some(_) => return Err("its input has no channels".to_owned()),
        None => None,
    };
    Ok(vec![Fact { dtype: c.dtype(0)?, dims }])
}

/// Input `[n, c, …]` with weights `[c, m/group, …]`.
pub(super) fn conv_transpose(
    c: &Context<'_>,
    attributes: &ConvTransposeAttributes,
) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let (Some(x), Some(w)) = (c.dims(0)?, c.dims(1)?) else {
        return Ok(vec![Fact { dtype, dims: None }]);
    };
    if x.len() < 3 || x.len() != w.len() {
        return Err(format!("slides {} over {}", dim::show(w), dim::show(x)));
    }
    same(&x[1], &w[0], "the number of channels")?;
    let channels = w[1].fixed().and_then(|m| m.checked_mul(attributes.conv.group));
    let mut dims = vec![x[0].clone(), channels.map_or(Dim::Unknown, Dim::Fixed)];
    let window = &attributes.conv.window;
    let axes = x.len() - 2;
    for at in 0..axes {
        let stride = entry(&window.strides, at, 1);
        let grown = || {
            let (size, kernel) = (x[at + 2].fixed()?, w[at + 2].fixed()?);
            let (begin, end) = match &window.pads {
                Pads::SameUpper | Pads::SameLower => return size.checked_mul(stride),
                Pads::Valid => (0, 0),
                Pads::Explicit(pads) => (entry(pads, at, 0), entry(pads, at + axes, 0)),
            };
            let reach = entry(&window.dilations, at, 1).checked_mul(kernel.checked_sub(1)?)?;
            stride
                .checked_mul(size.checked_sub(1)?)?
                .checked_add(entry(&attributes.output_padding, at, 0))?
                .checked_add(reach)?
                .checked_add(1)?
                .checked_sub(begin)?
                .checked_sub(end)
        };
        // Spatial sizes alone, though some files state all of them.
        let stated = &attributes.output_shape;
        let stated = if stated.len() == axes { stated.get(at) } else { stated.get(at + 2) };
        dims.push(stated.copied().or_else(grown).map_or(Dim::Unknown, Dim::Fixed));
    }
    Ok(vec![Fact { dtype, dims: Some(dims) }])
}
