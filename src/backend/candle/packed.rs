//! Integer weights in the blocks that candle's quantised kernels multiply.
//!
//! candle quantises the other factor itself, a block at a time, whatever scale the model has for it: see
//! [`Packed::activations`]. A weight is held as `Q8_0`, blocks of 32 numbers of 8 bits with an f16 scale,
//! because that form has the only kernels that use VNNI; 4-bit weights without zero points are held as
//! `Q4_0` where the CPU has no VNNI. Scales of a row that differ by block are taken relative to their
//! largest, so that f16 holds them well; the largest itself, or the one scale of a channel, is an f32
//! factor of the output.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{D, DType as Held, Device, Module, Result, Tensor, bail};
use half::f16;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::gemm::isa;
use super::ops::product::{Epilogue, Factor};
use super::step::{Lowered, Site, one};
use crate::backend::integers::{Integers, unpacked};
use crate::graph::op::{Activation, NBits};

/// Numbers that share a scale in candle's blocks.
const BLOCK: usize = 32;
/// What the VNNI kernels ask of rows and columns (candle-core 0.11, `quantized/repack_x86.rs`).
const TILE_K: usize = 256;
const TILE_N: usize = 16;
/// Rows are filled up to whole tiles while that makes them at most so many times longer: the kernels
/// that take any length were measured to be five times slower (docs/measurements/candle.md).
const MOST_PADDING: usize = 4;

/// Kernels of candle's that multiply quantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// `Q8_0`, sixteen columns at a time by VNNI.
    Tiles,
    /// `Q8_0`, a dot product at a time.
    Dots8,
    /// `Q4_0`, a dot product at a time.
    Dots4,
}

impl Kernel {
    /// How it holds weights.
    fn form(self) -> GgmlDType {
        match self {
            Self::Tiles | Self::Dots8 => GgmlDType::Q8_0,
            Self::Dots4 => GgmlDType::Q4_0,
        }
    }
}

/// The same weights as candle multiplies them.
pub(super) struct Packed {
    /// A share of the columns for each thread.
    slabs: Vec<QMatMul>,
    n: usize,
    k: usize,
    padded_k: usize,
    /// A factor for every column.
    factors: Vec<f32>,
    /// What every column has of the sum of x, where its weights did not fit 8 bits.
    shifts: Option<Vec<f32>>,
    kernel: Kernel,
    threads: usize,
}

/// Whether candle has kernels for this CPU that multiply four 8-bit numbers at once.
pub(super) fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"))
            || (is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Packed {
    /// Packs weights whose blocks are whole blocks of candle's; an error says why they cannot be.
    pub(super) fn new(
        weights: &Integers,
        threads: usize,
        device: &Device,
    ) -> std::result::Result<Self, String> {
        if weights.n == 0 || weights.k == 0 {
            return Err("of no weights".to_owned());
        }
        let with_sum = weights.with_sum();
        let (width, weights) = (weights.n, with_sum.as_ref().unwrap_or(weights));
        let Integers { n, k, block, .. } = *weights;
        if block != k && !weights.offsets.is_empty() {
            return Err("whose weights do not fit 8 bits, in blocks".to_owned());
        }
        if block != k && block % BLOCK != 0 {
            return Err(format!("candle has no blocks of {block} weights"));
        }
        let tiled = k.next_multiple_of(TILE_K);
        let narrow = weights.values.iter().all(|v| (-8..8).contains(v));
        let kernel = if has_vnni() && tiled <= k * MOST_PADDING {
            Kernel::Tiles
        } else if narrow {
            Kernel::Dots4
        } else {
            Kernel::Dots8
        };
        let (padded_k, tile) = match kernel {
            Kernel::Tiles => (tiled, TILE_N),
            Kernel::Dots8 | Kernel::Dots4 => (k.next_multiple_of(BLOCK), 4),
        };
        let form = kernel.form();
        let columns = n.next_multiple_of(tile);
        let share = columns.div_ceil(tile).div_ceil(threads.max(1)) * tile;
        let mut factors = Vec::with_capacity(n);
        let per_row = k.div_ceil(block);
        for row in weights.scales.chunks_exact(per_row) {
            let largest = row.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            factors.push(if largest == 0.0 { 1.0 } else { largest });
        }
        let mut slabs = Vec::new();
        for from in (0..columns).step_by(share) {
            let to = (from + share).min(columns);
            let mut bytes = Vec::new();
            for row in from..to {
                for start in (0..padded_k).step_by(BLOCK) {
                    weights.block_at(row, start, &factors, form, &mut bytes);
                }
            }
            let of = |bytes: Vec<u8>| -> Result<QMatMul> {
                let storage = QStorage::from_data(Cow::Owned(bytes), device, form)?;
                QMatMul::from_qtensor(QTensor::new(storage, (to - from, padded_k))?)
            };
            slabs.push(of(bytes).map_err(|e| e.to_string())?);
        }
        let shifts = (!weights.offsets.is_empty()).then(|| {
            let each = weights.offsets.iter().zip(&weights.scales);
            each.map(|(offset, scale)| f32::from(*offset) * scale).collect()
        });
        Ok(Self { slabs, n: width, k, padded_k, factors, shifts, kernel, threads })
    }

    /// The kernel that a product of these weights reaches.
    pub(super) fn kernel(&self) -> &'static str {
        match self.kernel {
            Kernel::Tiles => "q8_0 tiles (VNNI)",
            Kernel::Dots8 => "q8_0 dot products",
            Kernel::Dots4 => "q4_0 dot products",
        }
    }

    /// What keeps these weights from the fastest kernel, or makes it slower.
    pub(super) fn hindrance(&self) -> Option<String> {
        let (k, padded) = (self.k, self.padded_k);
        match self.kernel {
            Kernel::Tiles => {
                let filled = (padded > k).then(|| format!("rows of {k} filled up to {padded}"));
                let wide = (isa() == "AVX-512").then(|| {
                    "slower than f32 by AVX-512 in every model measured so far; why is not known"
                        .to_owned()
                });
                let both: Vec<String> = filled.into_iter().chain(wide).collect();
                (!both.is_empty()).then(|| both.join("; "))
            }
            _ if has_vnni() => Some(format!("rows of {k} are too short for VNNI kernels")),
            _ => Some("this CPU has no VNNI".to_owned()),
        }
    }

    /// How candle quantises what these weights are multiplied with.
    pub(super) fn activations(&self) -> &'static str {
        match self.kernel {
            Kernel::Tiles => "int8, symmetric, a scale for 256 values",
            Kernel::Dots8 | Kernel::Dots4 => "int8, symmetric, a scale for 32 values",
        }
    }

    /// `activation(x · weights + bias)` for x of any number of axes.
    pub(super) fn multiply(
        &self,
        x: &Tensor,
        bias: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Tensor> {
        if x.dims().last() != Some(&self.k) {
            bail!("{:?} cannot be multiplied with [{}, {}]", x.dims(), self.k, self.n)
        }
        let rows = x.elem_count().checked_div(self.k).unwrap_or(0);
        if rows == 0 {
            let shape = [&x.dims()[..x.rank() - 1], &[self.n]].concat();
            return Tensor::zeros(shape, x.dtype(), x.device());
        }
        let mut flat = x.to_dtype(Held::F32)?.contiguous()?.reshape((rows, self.k))?;
        // The kernels that take a dot product at a time hold scales of 32 values in 16 bits: rows are made
        // as large as 1, so that numbers of any size fit.
        let sizes = if self.kernel == Kernel::Tiles {
            None
        } else {
            let largest = flat.abs()?.max_keepdim(1)?;
            let is_zero = largest.eq(0.0)?.to_dtype(Held::F32)?;
            Some((largest + is_zero)?)
        };
        if let Some(sizes) = &sizes {
            flat = flat.broadcast_div(sizes)?;
        }
        // The kernels' whole numbers have no NaN and no infinity, and would hide both.
        let odd = flat.affine(0.0, 0.0)?.sum_keepdim(1)?;
        let odd = odd.sum_all()?.to_scalar::<f32>()?.is_nan().then_some(odd);
        if self.padded_k > self.k {
            flat = flat.pad_with_zeros(D::Minus1, 0, self.padded_k - self.k)?.contiguous()?;
        }
        let out = match &self.slabs[..] {
            [only] => only.forward(&flat)?,
            slabs => {
                let parts: Result<Vec<Tensor>> =
                    slabs.par_iter().map(|s| s.forward(&flat)).collect();
                Tensor::cat(&parts?, 1)?
            }
        };
        let held = self.factors.len();
        let out = if out.dims()[1] > held { out.narrow(1, 0, held)?.contiguous()? } else { out };
        let out = match &sizes {
            Some(sizes) => out.broadcast_mul(sizes)?,
            None => out,
        };
        let out = match &odd {
            Some(odd) => out.broadcast_add(odd)?,
            None => out,
        };
        let scale = Some(self.factors.as_slice());
        let (width, threads) = (self.n, self.threads);
        let out = if let Some(shifts) = &self.shifts {
            let plain = Epilogue { bias: None, scale, activation: None, width: held, threads };
            let (out, shifts) =
                (plain.apply(out)?, Tensor::from_slice(shifts, (1, width), x.device())?);
            let sums = out.narrow(1, width, 1)?.contiguous()?.matmul(&shifts)?;
            let shifted = (out.narrow(1, 0, width)?.contiguous()? + sums)?;
            Epilogue { bias, scale: None, activation, width, threads }.apply(shifted)?
        } else {
            Epilogue { bias, scale, activation, width, threads }.apply(out)?
        };
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.n;
        }
        out.reshape(shape)?.to_dtype(x.dtype())
    }
}

impl Integers {
    /// Where there are offsets, with one more row of ones: its product is the sum of x as the kernel
    /// quantises it, of which every column has its offset's share.
    fn with_sum(&self) -> Option<Self> {
        if self.offsets.is_empty() {
            return None;
        }
        let (mut values, mut scales) = (self.values.clone(), self.scales.clone());
        values.resize(values.len() + self.k, 1);
        scales.resize(scales.len() + self.k.div_ceil(self.block), 1.0);
        let (n, offsets) = (self.n + 1, self.offsets.clone());
        Some(Self { n, k: self.k, values, scales, block: self.block, offsets })
    }

    /// One of candle's blocks: scale and numbers; zeros past the end.
    fn block_at(
        &self,
        row: usize,
        start: usize,
        factors: &[f32],
        form: GgmlDType,
        bytes: &mut Vec<u8>,
    ) {
        let at = |i: usize| {
            let inside = row < self.n && start + i < self.k;
            if inside { self.values[row * self.k + start + i] } else { 0 }
        };
        let scale = if row < self.n && start < self.k {
            self.scales[row * self.k.div_ceil(self.block) + start / self.block] / factors[row]
        } else {
            0.0
        };
        bytes.extend_from_slice(&f16::from_f32(scale).to_le_bytes());
        match form {
            // Two numbers a byte, the second half of the block in the high halves, 8 meaning 0.
            GgmlDType::Q4_0 => {
                let nibble = |i: usize| (at(i) + 8).cast_unsigned();
                bytes.extend((0..BLOCK / 2).map(|i| nibble(i) | nibble(i + BLOCK / 2) << 4));
            }
            _ => bytes.extend((0..BLOCK).map(|i| at(i).cast_unsigned())),
        }
    }
}

/// `MatMulNBits` as plain numbers: the weights are unpacked once, and multiplied in f32.
pub(super) fn n_bits(site: &Site<'_>, bits: &NBits) -> Lowered {
    let weights = unpacked(site.graph, site.node, bits)?;
    let (n, threads) = (weights.n, site.threads);
    let real = Tensor::from_vec(weights.real(), (weights.k, n), site.device);
    let factor = real.and_then(|real| Factor::new(real, threads)).map_err(|e| e.to_string())?;
    one(move |inputs| {
        let (out, bias, width) = (factor.multiply(inputs.at(0)?)?, inputs.maybe(5), n);
        Epilogue { bias, scale: None, activation: None, width, threads }.apply(out)
    })
}

/// Weights as numbers, `[k, n]`.
pub(super) fn real(weights: &Integers, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(weights.real(), (weights.k, weights.n), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::candle::cells;

    /// Weights of every kind that is recognised, with x, against the product of plain numbers.
    #[test]
    fn packed_weights_multiply_as_the_numbers_they_stand_for() {
        for (rows, n, k, block, largest) in [
            (1, 16, 256_usize, 256, 127_i8),
            (3, 20, 64, 32, 7),
            (5, 48, 384, 128, 15),
            (9, 33, 96, 96, 100),
        ] {
            let values: Vec<i8> = (0..n * k)
                .map(|i| {
                    i16::try_from(i * 37 % (2 * usize::from(largest.unsigned_abs()) + 1)).unwrap()
                })
                .map(|i| i8::try_from(i - i16::from(largest)).unwrap())
                .collect();
            let scales =
                (0..n * k.div_ceil(block)).map(|i| 0.01 + (i % 7) as f32 * 0.002).collect();
            let wide = if block == k && n % 2 == 0 { n } else { 0 };
            let offsets = (0..wide).map(|row| i16::try_from(row % 5).unwrap() * 20 - 60).collect();
            let weights = Integers { n, k, values, scales, block, offsets };
            let x: Vec<f32> = (0..rows * k).map(|i| ((i * 53 % 97) as f32 - 48.0) / 40.0).collect();
            let x = Tensor::from_vec(x, (rows, k), &Device::Cpu).unwrap();
            let right = x.matmul(&real(&weights, &Device::Cpu).unwrap()).unwrap();
            let right = cells::singles(&right).unwrap();
            let size = right.iter().map(|v| v * v).sum::<f32>().sqrt();
            for threads in [1, 2] {
                let packed = Packed::new(&weights, threads, &Device::Cpu).unwrap();
                let ours = cells::singles(&packed.multiply(&x, None, None).unwrap()).unwrap();
                let off =
                    ours.iter().zip(&right).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
                assert!(off / size < 0.02, "{rows}×{n}×{k} by {block}: {}", off / size);
                // A row with a number that is none gives none, and no other row does.
                for odd in [f32::NAN, f32::INFINITY] {
                    let mut values = cells::singles(&x).unwrap();
                    values[k / 2] = odd;
                    let x = Tensor::from_vec(values, (rows, k), &Device::Cpu).unwrap();
                    let found = cells::singles(&packed.multiply(&x, None, None).unwrap()).unwrap();
                    assert!(found[..n].iter().all(|v| v.is_nan()), "{rows}×{n}×{k}: {odd}");
                    assert!(found[n..].iter().all(|v| v.is_finite()), "{rows}×{n}×{k}: {odd}");
                }
            }
        }
        let narrow = Integers {
            n: 16,
            k: 48,
            values: vec![1; 768],
            scales: vec![1.0; 48],
            block: 16,
            offsets: vec![],
        };
        assert!(
            Packed::new(&narrow, 1, &Device::Cpu).is_err_and(|why| why.contains("blocks of 16"))
        );
    }
}
