//! Functions of many f32 at once, compiled for the widest vectors that the CPU has.
//!
//! Safe loops that the compiler vectorises, inside `pulp`'s dispatch: the same code exists for SSE2, AVX2
//! with FMA, and AVX-512, and is chosen when it runs.

#![expect(clippy::inline_always, reason = "all of them must become parts of vectorised loops")]
#![expect(clippy::excessive_precision, reason = "constants are those of their sources")]

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::graph::op::Activation;

/// Elements below which waking other threads costs more than it brings; found by trial.
const LEAST_SHARED: usize = 16 * 1024;

/// Runs `f` compiled for the CPU's widest vectors; what it calls must be inlined.
#[inline(always)]
pub(super) fn widest<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Fills `out`, rows of `row` elements, in as many parts as there are threads: `f` is given the first
/// row of its part.
pub(super) fn in_parts(
    threads: usize,
    out: &mut [f32],
    row: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) {
    let rows = out.len().checked_div(row).unwrap_or(0);
    if rows == 0 {
        return;
    }
    if threads < 2 || rows < 2 || out.len() < LEAST_SHARED {
        f(0, out);
        return;
    }
    let part = rows.div_ceil(threads);
    out.par_chunks_mut(part * row).enumerate().for_each(|(at, chunk)| f(at * part, chunk));
}

/// eˣ, within 2 units in the last place.
///
/// Cephes' expf (S. L. Moshier): x = n·ln 2 + r with |r| ≤ ½ ln 2, a polynomial of degree 5 in r, and n
/// put into the exponent. Above 88.37 infinity, below −87.33 zero.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it rounds to whole numbers, which then stand in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    let bounded = x.clamp(-87.336_544, 88.376_26);
    let rounded = bounded * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = bounded - n * 0.693_359_375 - n * -2.121_944_40e-4;
    let mut p = 1.987_569_15e-4;
    p = p * r + 1.398_199_950_7e-3;
    p = p * r + 8.333_451_907_3e-3;
    p = p * r + 4.166_579_589_4e-2;
    p = p * r + 1.666_666_545_9e-1;
    p = p * r + 5.000_000_120_1e-1;
    p = p * r * r + r + 1.0;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000));
    let y = p * power;
    let y = if x > 88.376_26 { f32::INFINITY } else { y };
    let y = if x < -87.336_544 { 0.0 } else { y };
    if x.is_nan() { x } else { y }
}

/// erf(x), within 3e-7.
///
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_429;
    p = p * t - 1.453_152_027;
    p = p * t + 1.421_413_741;
    p = p * t - 0.284_496_736;
    p = p * t + 0.254_829_592;
    let y = 1.0 - p * t * exp(-a * a);
    if x.is_nan() { x } else { y.copysign(x) }
}

/// tanh(x), within 3e-7: by e⁻²ˣ, near 0 by its series.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let e = exp(-2.0 * a);
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    let s = x * x;
    let near = x + x * s * (-1.0 / 3.0 + s * (2.0 / 15.0 - s * (17.0 / 315.0)));
    if a < 0.15 { near } else { far }
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// ½x(1 + erf(x/√2)), or its approximation with tanh.
#[inline(always)]
pub(super) fn gelu(x: f32, by_tanh: bool) -> f32 {
    if by_tanh {
        // √(2/π)
        0.5 * x * (1.0 + tanh(0.797_884_56 * (x + 0.044_715 * x * x * x)))
    } else {
        0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
    }
}

/// Applies an activation to all of `values`.
pub(super) fn activate(values: &mut [f32], activation: Activation) {
    macro_rules! each {
        ($f:expr) => {{
            let f = $f;
            widest(|| values.iter_mut().for_each(|v| *v = f(*v)))
        }};
    }
    match activation {
        Activation::Relu => each!(|x: f32| if x < 0.0 { 0.0 } else { x }),
        Activation::Sigmoid => each!(sigmoid),
        Activation::Tanh => each!(tanh),
        Activation::HardSwish => each!(|x: f32| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Activation::Gelu { tanh: true } => each!(|x: f32| gelu(x, true)),
        Activation::Gelu { tanh: false } => each!(|x: f32| gelu(x, false)),
        Activation::LeakyRelu { alpha } => each!(|x: f32| if x < 0.0 { alpha * x } else { x }),
        Activation::Clip { min, max } => {
            each!(|x: f32| {
                let low = if x < min { min } else { x };
                if low > max { max } else { low }
            });
        }
    }
}

/// Makes one row what softmax makes of it; with `log` its logarithm.
#[inline(always)]
pub(super) fn softmax(row: &mut [f32], log: bool) {
    let largest = largest(row);
    if log {
        let total = sum_of(row, |v| exp(v - largest));
        let shift = total.ln();
        for v in row.iter_mut() {
            *v = (*v - largest) - shift;
        }
        return;
    }
    for v in row.iter_mut() {
        *v = exp(*v - largest);
    }
    let scale = 1.0 / sum_of(row, |v| v);
    for v in row.iter_mut() {
        *v *= scale;
    }
}

/// Lanes of partial results: sums in one order only would keep the compiler from using vectors.
const LANES: usize = 16;

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = if *v > *lane { *v } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a })
}

/// The sum of `f` of every element, in sixteen partial sums.
#[inline(always)]
pub(super) fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|v| f(*v)).sum();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f(*v);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "the right value, rounded")]
    fn functions_are_as_near_as_they_say() {
        for i in -4000..=4000 {
            let x = i as f32 / 100.0;
            let wide = f64::from(x);
            let near = |ours: f32, right: f64, off: f64| {
                assert!((f64::from(ours) - right).abs() <= off, "{x}: {ours}, not {right}");
            };
            near(exp(x) / wide.exp() as f32, 1.0, 3e-7);
            near(erf(x), candle_core::cpu::erf::erf_f64(wide), 4e-7);
            near(tanh(x), wide.tanh(), 4e-7);
            near(sigmoid(x), 1.0 / (1.0 + (-wide).exp()), 3e-7);
        }
        assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!((exp(1000.0), exp(-1000.0)), (f32::INFINITY, 0.0));
        let mut row = [1.0, 2.0, f32::NEG_INFINITY, 3.0];
        softmax(&mut row, false);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6 && row[2] == 0.0);
    }
}
