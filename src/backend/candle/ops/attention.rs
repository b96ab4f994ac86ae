//! Softmax(scale · q·kᵀ + mask) · v, head by head, without a copy of anything but the result.

use candle_core::{CpuStorage, DType as Held, Device, Result, Storage, Tensor, bail};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::binary::together;
use crate::backend::candle::cells;
use crate::backend::candle::gemm::{View, multiply};
use crate::backend::candle::simd;
use crate::backend::candle::step::{Lowered, Site, one};
use crate::variant::DType;

/// The elements of a tensor with four axes, and how far apart they lie.
struct Strided<'a> {
    all: &'a [f32],
    first: usize,
    strides: [usize; 4],
}

impl Strided<'_> {
    /// Rows `from..from + rows` of head `(b, h)`.
    fn view(
        &self,
        (b, h): (usize, usize),
        from: usize,
        (rows, columns): (usize, usize),
    ) -> View<'_> {
        let [sb, sh, down, right] = self.strides;
        let first = self.first + b * sb + h * sh + from * down;
        View { all: self.all, first, rows, columns, strides: (down, right) }
    }

    /// Row `row` of head `(b, h)`: `width` elements next to each other.
    fn row(&self, (b, h): (usize, usize), row: usize, width: usize) -> &[f32] {
        let [sb, sh, down, _] = self.strides;
        let from = self.first + b * sb + h * sh + row * down;
        &self.all[from..from + width]
    }
}

/// Looks at a tensor whose last axis is dense.
fn strided<R>(x: &Tensor, look: impl FnOnce(Strided<'_>) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(all)) = &*storage else {
        bail!("attention is computed in f32 on the CPU")
    };
    let [a, b, c, d] = *layout.stride() else { bail!("attention takes four axes") };
    Ok(look(Strided { all, first: layout.start_offset(), strides: [a, b, c, d] }))
}

/// In f32, with rows that are dense; other axes may lie anyhow.
fn readable(x: &Tensor) -> Result<Tensor> {
    let x = x.to_device(&Device::Cpu)?;
    let is_readable = x.dtype() == Held::F32 && x.rank() == 4 && x.stride().last() == Some(&1);
    if is_readable { Ok(x) } else { cells::wide(&x) }
}

/// `Attention`: the result lies in memory as `[b, s, h, e]`, since its heads are joined next.
pub(in crate::backend::candle) fn attention(site: &Site<'_>, scale: f32) -> Lowered {
    let (dtype, threads) = (site.dtype(0)?, site.threads);
    if dtype == DType::F64 {
        return Err("of f64".to_owned());
    }
    one(move |inputs| {
        let (q, k, v) = (inputs.at(0)?, inputs.at(1)?, inputs.at(2)?);
        let (b, h, s, d) = q.dims4()?;
        let (t, e) = (k.dims4()?.2, v.dims4()?.3);
        if k.dims() != [b, h, t, d] || v.dims() != [b, h, t, e] {
            bail!("keys {:?} and values {:?} do not fit queries {:?}", k.dims(), v.dims(), q.dims())
        }
        let mask = match inputs.maybe(3) {
            Some(mask) => Some(broadcast_mask(mask, [b, h, s, t])?),
            None => None,
        };
        let shape = Shape { h, s, t, d, e, scale };
        let (q, k, v) = (readable(q)?, readable(k)?, readable(v)?);
        let mut out = vec![0.0_f32; b * s * h * e];
        strided(&q, |q| {
            strided(&k, |k| {
                strided(&v, |v| {
                    let mut all = |mask: Option<&Strided<'_>>| {
                        heads(&mut out, &shape, threads, (&q, &k, &v), mask);
                    };
                    if let Some(mask) = &mask {
                        strided(mask, |mask| all(Some(&mask)))
                    } else {
                        all(None);
                        Ok(())
                    }
                })
            })
        })????;
        let given = inputs.at(0)?;
        cells::rounded(out, &[b, s, h, e], given.dtype(), given.device())?.transpose(1, 2)
    })
}

/// Four axes in f32; those of size 1 are not copied but stand still.
fn broadcast_mask(mask: &Tensor, to: [usize; 4]) -> Result<Tensor> {
    let mut shape = vec![1; 4_usize.saturating_sub(mask.rank())];
    shape.extend_from_slice(mask.dims());
    let fits = together([shape.as_slice(), &to].into_iter())?;
    if fits != to {
        bail!("a mask of {:?} does not fit {to:?}", mask.dims())
    }
    let wide = mask.to_device(&Device::Cpu)?.to_dtype(Held::F32)?.reshape(shape)?;
    // The last axis must be dense; a mask of one column is a rare thing.
    let columns = wide.dims().iter().take(3).copied().chain([to[3]]).collect::<Vec<_>>();
    wide.broadcast_as(columns)?.contiguous()?.broadcast_as(&to[..])
}

struct Shape {
    h: usize,
    s: usize,
    t: usize,
    d: usize,
    e: usize,
    scale: f32,
}

fn heads(
    out: &mut [f32],
    shape: &Shape,
    threads: usize,
    (q, k, v): (&Strided<'_>, &Strided<'_>, &Strided<'_>),
    mask: Option<&Strided<'_>>,
) {
    let Shape { h, s, t, d, e, .. } = *shape;
    if out.is_empty() {
        return;
    }
    // One part is a batch entry, or where there are few of them a share of its rows.
    let shares = threads.div_ceil((out.len() / (s * h * e)).max(1)).clamp(1, s);
    let rows = s.div_ceil(shares);
    let one = |batch: usize, from: usize, part: &mut [f32]| {
        let count = part.len() / (h * e);
        let mut scores = vec![0.0; count * t];
        for head in 0..h {
            let at = (batch, head);
            let keys = k.view(at, 0, (t, d));
            let keys =
                View { rows: d, columns: t, strides: (keys.strides.1, keys.strides.0), ..keys };
            multiply(&mut scores, t, q.view(at, from, (count, d)), keys);
            for (row, scores) in scores.chunks_exact_mut(t.max(1)).enumerate() {
                let mask = mask.map(|m| m.row(at, from + row, t));
                simd::widest(|| weighed(scores, shape.scale, mask));
            }
            let weights = View { all: &scores, first: 0, rows: count, columns: t, strides: (t, 1) };
            multiply(&mut part[head * e..], h * e, weights, v.view(at, 0, (t, e)));
        }
    };
    let whole = s * h * e;
    if threads < 2 {
        for (batch, part) in out.chunks_mut(whole).enumerate() {
            one(batch, 0, part);
        }
        return;
    }
    let parts = out.par_chunks_mut(whole).enumerate();
    parts.for_each(|(batch, entry)| {
        let shares = entry.par_chunks_mut(rows * h * e).enumerate();
        shares.for_each(|(at, part)| one(batch, at * rows, part));
    });
}

/// Scores of one query, made its shares of the values.
#[expect(clippy::inline_always, reason = "it must become part of a vectorised loop")]
#[inline(always)]
fn weighed(scores: &mut [f32], scale: f32, mask: Option<&[f32]>) {
    match mask {
        Some(mask) => scores.iter_mut().zip(mask).for_each(|(s, m)| *s = *s * scale + m),
        None => scores.iter_mut().for_each(|s| *s *= scale),
    }
    simd::softmax(scores, false);
}
