//! The products of candle's own library, `gemm`, on memory that is laid out for them.
//!
//! candle multiplies whole tensors and allocates every result. Here a product is written where it belongs,
//! and weights are cut into panels of columns once: a model of more weights than the cache holds is then
//! read from end to end, with every inference. Measured beside the same kernels on a row-major weight:
//! docs/measurements/candle.md.

use candle_core::{Result, Tensor, bail};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::cells;
use super::simd;
use crate::graph::op::Activation;

/// Columns of a panel: of 16, 32, 48, 64, 96, 192 and 384 the fastest for 8 to 200 rows.
const PANEL: usize = 64;
/// Multiplications below which other threads are not woken.
const LEAST_SHARED: usize = 256 * 1024;
/// Rows a thread from which each takes rows of its own; with fewer each takes panels of its own, so that
/// the weights are read once by all together.
const ROWS_EACH: usize = 48;

/// The widest vectors that gemm multiplies with on this CPU.
pub(super) fn isa() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            "AVX-512"
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            "AVX2"
        } else {
            "scalar code"
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        "NEON"
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        "scalar code"
    }
}

/// A matrix somewhere in a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) all: &'a [f32],
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// How far apart neighbours in a column, and in a row, lie.
    pub(super) strides: (usize, usize),
}

impl View<'_> {
    /// One past its last element.
    fn end(&self) -> usize {
        let (down, right) = self.strides;
        self.first + (self.rows - 1) * down + (self.columns - 1) * right + 1
    }
}

/// `out = a · b`, rows of `out` being `stride` apart.
///
/// Panics where a view is larger than its slice: that is a defect of ours.
#[expect(unsafe_code, reason = "gemm has no other entrance; see SAFETY")]
pub(super) fn multiply(out: &mut [f32], stride: usize, a: View<'_>, b: View<'_>) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        out.chunks_mut(stride).for_each(|row| row[..n].fill(0.0));
        return;
    }
    assert_eq!(k, b.rows, "factors that do not fit");
    assert!(a.end() <= a.all.len() && b.end() <= b.all.len(), "a view beyond its slice");
    assert!(n <= stride && (m - 1) * stride + n <= out.len(), "a product beyond its slice");
    let step = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    // SAFETY: all three matrices lie within their slices, as was asserted, and `out` is borrowed by
    // nobody else. Of `out` nothing is read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            step(stride),
            false,
            a.all.as_ptr().add(a.first),
            step(a.strides.1),
            step(a.strides.0),
            b.all.as_ptr().add(b.first),
            step(b.strides.1),
            step(b.strides.0),
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A constant right factor in panels, with what follows the product.
pub(super) struct Panels {
    k: usize,
    n: usize,
    /// Panel after panel, each `[k, PANEL]`; the last one may be narrower.
    all: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Option<Activation>,
    threads: usize,
}

impl Panels {
    /// Of a weight `[k, n]` and a bias `[n]`, both held in f32 from then on.
    pub(super) fn new(
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Option<Activation>,
        threads: usize,
    ) -> Result<Self> {
        let (k, n) = weight.dims2()?;
        let values = cells::singles(weight)?;
        let mut all = Vec::with_capacity(values.len());
        for from in (0..n).step_by(PANEL) {
            let to = (from + PANEL).min(n);
            for row in values.chunks_exact(n) {
                all.extend_from_slice(&row[from..to]);
            }
        }
        let bias = bias.map(cells::singles).transpose()?;
        if bias.as_ref().is_some_and(|b| b.len() != n) {
            bail!("a bias that is no vector of {n}")
        }
        Ok(Self { k, n, all, bias, activation, threads })
    }

    /// `activation(x · w + bias)` for x of any number of axes; halves go through f32.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.dims().last() != Some(&self.k) {
            bail!("{:?} cannot be multiplied with [{}, {}]", x.dims(), self.k, self.n)
        }
        let held = x.dtype();
        let rows = x.dims()[..x.rank() - 1].iter().product();
        let x = cells::wide(x)?;
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.n;
        }
        let out = cells::with_f32(&x, |x| self.product(x, rows))?;
        cells::rounded(out, &shape, held, x.device())
    }

    fn product(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows * self.n];
        let panels = self.n.div_ceil(PANEL);
        if self.threads < 2 || x.len() * self.n < LEAST_SHARED {
            self.rows((x, rows), &mut out, self.n, 0..panels);
        } else if rows >= ROWS_EACH * self.threads {
            let each = rows.div_ceil(self.threads);
            out.par_chunks_mut(each * self.n).enumerate().for_each(|(at, out)| {
                let from = at * each * self.k;
                let rows = out.len() / self.n;
                self.rows((&x[from..from + rows * self.k], rows), out, self.n, 0..panels);
            });
        } else {
            let each = panels.div_ceil(self.threads);
            let shares: Vec<(usize, usize)> =
                (0..panels).step_by(each).map(|p| (p, (p + each).min(panels))).collect();
            let width = |(from, to): (usize, usize)| (to * PANEL).min(self.n) - from * PANEL;
            let parts = shares.par_iter().map(|share| {
                let width = width(*share);
                let mut part = vec![0.0; rows * width];
                self.rows((x, rows), &mut part, width, share.0..share.1);
                part
            });
            for (share, part) in shares.iter().zip(parts.collect::<Vec<_>>()) {
                let (from, width) = (share.0 * PANEL, width(*share));
                for (out, part) in out.chunks_exact_mut(self.n).zip(part.chunks_exact(width)) {
                    out[from..from + width].copy_from_slice(part);
                }
            }
        }
        out
    }

    /// Some panels of the product, `out` beginning with the first of them.
    fn rows(
        &self,
        (x, rows): (&[f32], usize),
        out: &mut [f32],
        stride: usize,
        panels: std::ops::Range<usize>,
    ) {
        if rows == 0 || self.n == 0 {
            return;
        }
        let first = panels.start * PANEL;
        for panel in panels {
            let from = panel * PANEL;
            let width = PANEL.min(self.n - from);
            let a = View { all: x, first: 0, rows, columns: self.k, strides: (self.k, 1) };
            let b = View {
                all: &self.all,
                first: from * self.k,
                rows: self.k,
                columns: width,
                strides: (width, 1),
            };
            let out = &mut out[from - first..];
            multiply(out, stride, a, b);
            for row in 0..rows {
                let row = &mut out[row * stride..row * stride + width];
                if let Some(bias) = &self.bias {
                    let bias = &bias[from..from + width];
                    simd::widest(|| row.iter_mut().zip(bias).for_each(|(v, b)| *v += b));
                }
                if let Some(activation) = self.activation {
                    simd::activate(row, activation);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn panels_give_what_candle_gives_however_the_work_is_shared() {
        for (m, k, n) in [(1, 7, 5), (3, 64, 64), (5, 65, 200), (200, 96, 130), (3, 0, 70)] {
            let of = |rows: usize, columns: usize| {
                let values: Vec<f32> =
                    (0..rows * columns).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
                Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
            };
            let (x, w, bias) = (of(m, k), of(k, n), of(1, n));
            let right = x.matmul(&w).unwrap().broadcast_add(&bias).unwrap();
            let right = cells::singles(&right.relu().unwrap()).unwrap();
            for threads in [1, 2, 3] {
                let panels = Panels::new(&w, Some(&bias), Some(Activation::Relu), threads).unwrap();
                let ours = cells::singles(&panels.apply(&x).unwrap()).unwrap();
                let worst =
                    ours.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
                assert!(worst < 1e-4, "{m}×{k}×{n} on {threads} threads: {worst}");
            }
        }
    }
}
