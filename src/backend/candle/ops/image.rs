//! Convolutions of f32 images: laid out a batch entry at a time, multiplied into place, and finished there.

use candle_core::{Result, Tensor, bail};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::window::{self, Axis};
use crate::backend::candle::cells;
use crate::backend::candle::gemm::{View, multiply};
use crate::backend::candle::simd;
use crate::graph::op::{Activation, ConvAttributes};

/// What one entry of a batch needs.
struct Layer<'a> {
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    /// Channels and filters of a group.
    channels: usize,
    filters: usize,
    high: Axis,
    wide: Axis,
    /// That share one entry of the batch.
    threads: usize,
}

/// `activation(conv(x [b, c, h, w], w [m, c/g, kh, kw]) + bias)`.
pub(super) fn conv(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    conv: &ConvAttributes,
    activation: Option<Activation>,
    threads: usize,
) -> Result<Tensor> {
    let (batch, all_channels, h, wide) = x.dims4()?;
    let (all_filters, channels, ..) = w.dims4()?;
    let groups = conv.group.max(1);
    if channels * groups != all_channels || all_filters % groups != 0 {
        bail!("weights {:?} do not fit {:?} in {groups} groups", w.dims(), x.dims())
    }
    if bias.is_some_and(|b| b.elem_count() != all_filters) {
        bail!("a bias that is no vector of {all_filters}")
    }
    let axes = window::axes(&conv.window, &w.dims()[2..], &[h, wide], false)?;
    let [high, wide] = axes[..] else { bail!("an image has two axes") };
    let filters = all_filters / groups;
    if x.elem_count() == 0 || w.elem_count() == 0 {
        return Tensor::zeros((batch, all_filters, high.out, wide.out), x.dtype(), x.device());
    }
    let places = high.out * wide.out;
    let own = if batch < 2 { threads } else { 1 };
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    let bias = bias.map(cells::singles).transpose()?;
    let mut out = vec![0.0_f32; batch * all_filters * places];
    cells::with_f32(&x, |x| {
        cells::with_f32(&w, |weights| {
            let bias = bias.as_deref();
            let layer =
                Layer { weights, bias, activation, channels, filters, high, wide, threads: own };
            let entry = all_channels * high.size * wide.size;
            let size = all_filters * places;
            if size == 0 {
                return;
            }
            let one =
                |at: usize, out: &mut [f32]| layer.entry(&x[at * entry..(at + 1) * entry], out);
            if threads < 2 || batch < 2 {
                out.chunks_mut(size).enumerate().for_each(|(at, out)| one(at, out));
            } else {
                out.par_chunks_mut(size).enumerate().for_each(|(at, out)| one(at, out));
            }
        })
    })??;
    Tensor::from_vec(out, (batch, all_filters, high.out, wide.out), x.device())
}

impl Layer<'_> {
    fn entry(&self, image: &[f32], out: &mut [f32]) {
        let places = self.high.out * self.wide.out;
        let taps = self.high.kernel * self.wide.kernel;
        let (rows, pixels) = (self.channels * taps, self.high.size * self.wide.size);
        let is_copy = taps == 1
            && [self.high, self.wide].iter().all(|a| a.stride == 1 && a.before + a.after == 0);
        let mut columns = vec![0.0; if is_copy { 0 } else { rows * places }];
        for (group, out) in out.chunks_mut(self.filters * places).enumerate() {
            let image =
                &image[group * self.channels * pixels..(group + 1) * self.channels * pixels];
            let weights = &self.weights[group * self.filters * rows..];
            let first = group * self.filters;
            if self.channels == 1 && self.filters == 1 {
                self.depthwise(image, weights, out);
            } else {
                if !is_copy {
                    self.columns(image, &mut columns);
                }
                let all = if is_copy { image } else { &columns };
                let w = View {
                    all: weights,
                    first: 0,
                    rows: self.filters,
                    columns: rows,
                    strides: (rows, 1),
                };
                let x = View { all, first: 0, rows, columns: places, strides: (places, 1) };
                self.product(out, places, w, x);
            }
            for (filter, row) in out.chunks_exact_mut(places).enumerate() {
                if let Some(bias) = self.bias {
                    let bias = bias[first + filter];
                    simd::widest(|| row.iter_mut().for_each(|v| *v += bias));
                }
                if let Some(activation) = self.activation {
                    simd::activate(row, activation);
                }
            }
        }
    }

    /// `out = w · x`, filters shared among threads where a batch of one leaves them nothing else.
    fn product(&self, out: &mut [f32], places: usize, w: View<'_>, x: View<'_>) {
        if self.threads < 2 || out.len() < 4096 {
            return multiply(out, places, w, x);
        }
        let each = w.rows.div_ceil(self.threads);
        out.par_chunks_mut(each * places).enumerate().for_each(|(at, out)| {
            let rows = out.len() / places;
            multiply(out, places, View { first: w.first + at * each * w.columns, rows, ..w }, x);
        });
    }

    /// Under every tap of every channel what the window meets there: `[c·taps, places]`, 0 in the padding.
    fn columns(&self, image: &[f32], columns: &mut [f32]) {
        let places = self.high.out * self.wide.out;
        let pixels = self.high.size * self.wide.size;
        let mut rows = columns.chunks_exact_mut(places);
        for channel in image.chunks_exact(pixels) {
            for down in 0..self.high.kernel {
                for right in 0..self.wide.kernel {
                    let Some(row) = rows.next() else { return };
                    self.each(down, right, |place, pixel, count, stride| {
                        let into = &mut row[place..place + count];
                        if stride == 1 {
                            into.copy_from_slice(&channel[pixel..pixel + count]);
                        } else {
                            let from = channel[pixel..].iter().step_by(stride);
                            into.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                        }
                    });
                }
            }
        }
    }

    /// One filter of one channel: too little work a column for a product.
    fn depthwise(&self, image: &[f32], weights: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for down in 0..self.high.kernel {
            for right in 0..self.wide.kernel {
                let weight = weights[down * self.wide.kernel + right];
                self.each(down, right, |place, pixel, count, stride| {
                    let into = &mut out[place..place + count];
                    let from = image[pixel..].iter().step_by(stride);
                    into.iter_mut().zip(from).for_each(|(to, from)| *to += weight * *from);
                });
            }
        }
    }

    /// Calls `f` with every run of places under a tap that lie within the image: the first place, the
    /// first pixel, how many, and how far apart the pixels are.
    fn each(&self, down: usize, right: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        let (low, high) = self.wide.inside(right);
        if low >= high {
            return;
        }
        let Some(first) = self.wide.under(low, right) else { return };
        let (top, bottom) = self.high.inside(down);
        for row in top..bottom {
            if let Some(line) = self.high.under(row, down) {
                let (place, pixel) = (row * self.wide.out + low, line * self.wide.size + first);
                f(place, pixel, high - low, self.wide.stride);
            }
        }
    }
}
