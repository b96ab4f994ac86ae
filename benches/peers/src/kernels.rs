//! What candle's kernels reach on the products of an encoder, one thread: the figures that decided how
//! weights are laid out.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};

/// Rows and columns of the weights of one layer of MiniLM-L6, and its layers.
const LAYER: [(usize, usize); 6] =
    [(384, 384), (384, 384), (384, 384), (384, 384), (384, 1536), (1536, 384)];
const LAYERS: usize = 6;

/// Median seconds of a call.
fn median(mut f: impl FnMut()) -> f64 {
    let mut all = Vec::new();
    for round in 0..17 {
        let start = Instant::now();
        f();
        if round > 1 {
            all.push(start.elapsed().as_secs_f64());
        }
    }
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// `out = x · w` for row-major x and out; w with its strides.
fn multiply(
    (m, n, k): (usize, usize, usize),
    out: &mut [f32],
    stride: usize,
    x: &[f32],
    w: &[f32],
    (down, right): (usize, usize),
) {
    assert!(out.len() >= (m - 1) * stride + n && x.len() >= m * k);
    assert!(w.len() > (k - 1) * down + (n - 1) * right);
    // SAFETY: the three matrices lie within their slices, as was asserted.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            false,
            x.as_ptr(),
            1,
            k as isize,
            w.as_ptr(),
            right as isize,
            down as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

pub(crate) fn print() -> Result<()> {
    let work = |m: usize| LAYER.iter().map(|(k, n)| 2 * m * k * n * LAYERS).sum::<usize>() as f64;
    let weights: Vec<Vec<f32>> =
        (0..LAYERS).flat_map(|_| LAYER.iter().map(|(k, n)| vec![0.25; k * n])).collect();
    println!("All products of MiniLM-L6, GFLOP/s on one thread, `gemm` {}\n", super::products());
    println!("| rows | [k, n] | [n, k] | panels of 16 | 32 | 48 | 64 | 96 | 192 |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for m in [8, 16, 32, 64, 200] {
        let (x, mut out) = (vec![0.5_f32; m * 1536], vec![0.0_f32; m * 1536]);
        let mut cells = Vec::new();
        for panel in [0, 1, 16, 32, 48, 64, 96, 192] {
            let took = median(|| {
                for (w, (k, n)) in weights.iter().zip(LAYER.iter().cycle()) {
                    match panel {
                        0 => multiply((m, *n, *k), &mut out, *n, &x, w, (*n, 1)),
                        1 => multiply((m, *n, *k), &mut out, *n, &x, w, (1, *k)),
                        _ => {
                            for from in (0..*n).step_by(panel) {
                                let width = panel.min(n - from);
                                let shape = (m, width, *k);
                                multiply(
                                    shape,
                                    &mut out[from..],
                                    *n,
                                    &x,
                                    &w[from * k..],
                                    (width, 1),
                                );
                            }
                        }
                    }
                }
                black_box(&out);
            });
            cells.push(format!("{:.0}", work(m) / took / 1e9));
        }
        println!("| {m} | {} |", cells.join(" | "));
    }
    println!("\nOne product, GFLOP/s on one thread\n");
    println!("| rows × k × n | f32 | f16 | Q8_0 | Q4_0 | Q4_1 |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (m, k, n) in
        [(16, 384, 384), (16, 512, 384), (16, 1536, 384), (200, 512, 384), (200, 1536, 384)]
    {
        let x = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu)?;
        let w = Tensor::randn(0f32, 1.0, (n, k), &Device::Cpu)?;
        let turned = w.t()?.contiguous()?;
        let (xh, wh) =
            (x.to_dtype(candle_core::DType::F16)?, turned.to_dtype(candle_core::DType::F16)?);
        let mut cells = Vec::new();
        let mut rate = |f: &dyn Fn() -> candle_core::Result<Tensor>| {
            let took = median(|| drop(black_box(f())));
            cells.push(format!("{:.0}", (2 * m * k * n) as f64 / took / 1e9));
        };
        rate(&|| x.matmul(&turned));
        rate(&|| xh.matmul(&wh));
        for form in [GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::Q4_1] {
            let packed = QMatMul::from_qtensor(QTensor::quantize(&w, form)?)?;
            rate(&|| packed.forward(&x));
        }
        println!("| {m} × {k} × {n} | {} |", cells.join(" | "));
    }
    Ok(())
}
