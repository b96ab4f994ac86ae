//! Where sliding windows lie, in any number of axes.

use candle_core::{Result, bail};

use crate::graph::op::{Pads, Window};

/// One axis of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) before: usize,
    pub(super) after: usize,
    /// Places of the window.
    pub(super) out: usize,
}

impl Axis {
    /// The places whose tap `tap` lies within the axis: from the first to one past the last.
    pub(super) fn inside(&self, tap: usize) -> (usize, usize) {
        let offset = tap * self.dilation;
        let from = self.before.saturating_sub(offset).div_ceil(self.stride);
        let reach = (self.size + self.before).saturating_sub(offset).div_ceil(self.stride);
        (from, reach.min(self.out))
    }

    /// The element under tap `tap` at place `at`; `None` in the padding.
    #[inline]
    pub(super) fn under(&self, at: usize, tap: usize) -> Option<usize> {
        (at * self.stride + tap * self.dilation).checked_sub(self.before).filter(|i| *i < self.size)
    }
}

fn entry(list: &[usize], at: usize, default: usize) -> usize {
    list.get(at).copied().unwrap_or(default)
}

/// The axes of a window over sizes `spatial`; `ceil` counts windows that overhang the end.
pub(super) fn axes(
    window: &Window,
    kernel: &[usize],
    spatial: &[usize],
    ceil: bool,
) -> Result<Vec<Axis>> {
    if kernel.len() != spatial.len() || window.strides.contains(&0) {
        bail!("a window of {kernel:?} does not fit {spatial:?}")
    }
    let mut axes = Vec::with_capacity(spatial.len());
    for (at, (size, kernel)) in spatial.iter().copied().zip(kernel.iter().copied()).enumerate() {
        let (stride, dilation) = (entry(&window.strides, at, 1), entry(&window.dilations, at, 1));
        let reach = (kernel.max(1) - 1).saturating_mul(dilation).saturating_add(1);
        let same = |upper: bool| {
            let total = ((size.div_ceil(stride).max(1) - 1) * stride + reach).saturating_sub(size);
            let (small, large) = (total / 2, total - total / 2);
            if upper { (small, large) } else { (large, small) }
        };
        let (before, after) = match &window.pads {
            Pads::Explicit(pads) => (entry(pads, at, 0), entry(pads, at + spatial.len(), 0)),
            Pads::SameUpper => same(true),
            Pads::SameLower => same(false),
            Pads::Valid => (0, 0),
        };
        let padded = size.saturating_add(before).saturating_add(after);
        super::layout::bounded(&[padded])?;
        super::layout::bounded(&[reach])?;
        let Some(room) = padded.checked_sub(reach) else {
            bail!("a window of {reach} does not fit {padded}")
        };
        let mut out = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        // A window that would begin in the padding at the end does not count.
        if ceil && (out - 1) * stride >= size + before {
            out -= 1;
        }
        axes.push(Axis { size, kernel, stride, dilation, before, after, out });
    }
    Ok(axes)
}

/// Every combination of indices below `sizes`, in C order.
pub(super) fn indices(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::with_capacity(sizes.len())];
    for size in sizes {
        let longer = |prefix: &Vec<usize>, i: usize| {
            let mut longer = prefix.clone();
            longer.push(i);
            longer
        };
        all = all.iter().flat_map(|p| (0..*size).map(move |i| longer(p, i))).collect();
    }
    all
}
