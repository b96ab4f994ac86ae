//! What an adapter does at most, measured by kernels that do nothing else.

use super::buffers;
use super::device::Gpu;
use super::kernels::{Elem, Kernel};
use super::ops::ways::{self, Sizes};
use super::shader::{Part, Shader};
use super::tune::{Candidate, timed};
use crate::backend::Ceilings;
use crate::error::{Error, Result};

/// Chains of multiplications and additions that an invocation of `peak.wgsl` has, four numbers wide each.
const CHAINS: f64 = 8.0;
/// Multiplications and additions of each of them.
const STEPS: f64 = 256.0;
/// Invocations of a workgroup of the probes.
const WIDE: u32 = 256;
/// Bytes that the copy reads, at most; caches of today's GPUs hold 50 MB.
const COPIED: u64 = 256 << 20;

/// The adapter's ceilings, measured now: some milliseconds on a GPU.
pub(super) fn ceilings(gpu: &Gpu) -> Result<Ceilings> {
    let peak = |kind: f64, elem: Elem| -> Result<f64> {
        // So many that every core has several to switch between.
        let groups = if gpu.is_software() { 64 } else { 16_384 };
        let kernel = Kernel::new(Shader::Peak, 2).of("T", elem).with("BYTES", kind);
        let out = buffers::empty(gpu, (groups * WIDE * 4) as usize).map_err(failed)?;
        let candidate = Candidate { kernel, params: vec![1], groups: [groups, 1, 1] };
        let ns = timed(gpu, &candidate, &[out], u64::MAX)?;
        // A step of four numbers is a multiplication and an addition each; one of bytes four of both, for
        // each of four words.
        let each = if kind > 0.0 { 4.0 * 8.0 } else { 4.0 * 2.0 };
        let all = f64::from(groups) * f64::from(WIDE) * CHAINS * STEPS * each;
        Ok(all / (ns.max(1) as f64 * 1e-9))
    };
    let f16 = if gpu.has_f16() { Some(peak(0.0, Elem::F16)?) } else { None };
    Ok(Ceilings {
        f32_flops_per_s: peak(0.0, Elem::F32)?,
        f16_flops_per_s: f16,
        int8_ops_per_s: Some(peak(1.0, Elem::F32)?),
        bytes_per_s: copied(gpu)?,
    })
}

fn failed(why: String) -> Error {
    Error::environment("probing the adapter", why)
}

/// Bytes a second that a copy reads and writes.
fn copied(gpu: &Gpu) -> Result<f64> {
    let most = gpu.limits.max_storage_buffer_binding_size.min(COPIED);
    let bytes = if gpu.is_software() { most.min(64 << 20) } else { most };
    let fours = bytes / 16;
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (out, x) =
        (buffers::empty(gpu, size).map_err(failed)?, buffers::empty(gpu, size).map_err(failed)?);
    let kernel = Kernel::new(Shader::Stream, 3);
    let all = u32::try_from(fours).unwrap_or(u32::MAX);
    let side = gpu.limits.max_compute_workgroups_per_dimension;
    let groups = all.div_ceil(WIDE);
    let x_groups = groups.min(side);
    let candidate =
        Candidate { kernel, params: vec![all], groups: [x_groups, groups.div_ceil(x_groups), 1] };
    let ns = timed(gpu, &candidate, &[out, x], u64::MAX)?;
    Ok(2.0 * bytes as f64 / (ns.max(1) as f64 * 1e-9))
}

/// A kernel's time for one product, whole matrices by whole matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductTime {
    /// The kernel, e.g. `tiled`.
    pub kernel: String,
    /// What it multiplies, e.g. `f32`, `4 bits`.
    pub factors: &'static str,
    /// Nanoseconds a call, the least of a few rounds.
    pub ns: u64,
}

/// Every kernel's time for `[m, k] · [k, n]` on the adapter called `name`, `k` being a multiple of four, and what
/// the adapter can do at most.
///
/// Errors where there is no such adapter, or the matrices do not fit it.
pub fn products(name: &str, [m, k, n]: [usize; 3]) -> Result<(String, Ceilings, Vec<ProductTime>)> {
    let gpu = Gpu::open(name, None)?;
    let ceilings = ceilings(&gpu)?;
    let sizes = Sizes { z: 1, m, k, n };
    let wide = n.next_multiple_of(4);
    let buffer = |bytes: usize| buffers::empty(&gpu, bytes).map_err(failed);
    let (out, bias) = (buffer(m * n * 4)?, buffer(wide * 4)?);
    let mut all = Vec::new();
    let mut time = |factors, candidate: &Candidate, reads: Vec<wgpu::Buffer>| -> Result<()> {
        let both: Vec<wgpu::Buffer> = std::iter::once(out.clone()).chain(reads).collect();
        let ns = timed(&gpu, candidate, &both, u64::MAX)?;
        all.push(ProductTime { kernel: candidate.kernel.title(), factors, ns });
        Ok(())
    };
    // Places and distances of two plain matrices.
    let word = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let naive = vec![word(m), word(n), word(k), 0, 0, word(k), 1, 0, word(wide), 1, 0];
    let elems = [Elem::F32, Elem::F16];
    for elem in elems.into_iter().filter(|e| *e == Elem::F32 || gpu.has_f16()) {
        let factors = elem.wgsl();
        let (a, b) = (buffer(m * k * elem.size())?, buffer(k * wide * elem.size())?);
        let reads = || vec![a.clone(), b.clone(), bias.clone()];
        let kernel = Kernel::new(Shader::Naive, 5).after(Part::Math);
        let kernel = kernel.of("T", elem).of("A", elem).of("W", elem);
        let groups = [word(n.div_ceil(16)), word(m.div_ceil(4)), 1];
        time(factors, &Candidate { kernel, params: naive.clone(), groups }, reads())?;
        for shader in [Shader::MatMul, Shader::Gemv, Shader::Tiled, Shader::Wide] {
            let (params, groups) = (sizes.params(false, true, true), sizes.groups(shader));
            let kernel = ways::of_floats(shader, elem, elem);
            time(factors, &Candidate { kernel, params, groups }, reads())?;
        }
    }
    let (a, scales) = (buffer(m * k * 4)?, buffer(k.div_ceil(32) * wide * 4)?);
    for (factors, is_narrow) in [("8 bits", false), ("4 bits", true)] {
        let w = buffer(k * wide / if is_narrow { 2 } else { 1 })?;
        for shader in [Shader::Integers, Shader::Gemv, Shader::Tiled, Shader::Wide] {
            let mut params = sizes.params(false, true, true);
            params.push(32);
            let kernel = ways::of_integers(shader, Elem::F32, is_narrow, false);
            let candidate = Candidate { kernel, params, groups: sizes.groups(shader) };
            let reads = vec![a.clone(), w.clone(), scales.clone(), scales.clone(), bias.clone()];
            time(factors, &candidate, reads)?;
        }
    }
    let (a, w, column) = (buffer(m * k)?, buffer(k * wide)?, buffer(wide * 4)?);
    for shader in [Shader::Dots, Shader::DotsTiled] {
        for is_packed in [true, false] {
            let (params, groups) = (sizes.params(false, true, true), sizes.groups(shader));
            let kernel = ways::of_bytes(shader, Elem::F32, is_packed);
            let reads = [&a, &w, &column, &column, &column, &bias].map(Clone::clone).to_vec();
            time("bytes", &Candidate { kernel, params, groups }, reads)?;
        }
    }
    Ok((super::device::describe(&gpu.info), ceilings, all))
}
