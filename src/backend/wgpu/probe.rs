//! What an adapter does at most, measured by kernels that do nothing else.

use super::buffers;
use super::device::Gpu;
use super::kernels::{Elem, Kernel};
use super::shader::Shader;
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
        let ns = timed(gpu, &candidate, &[out], f64::INFINITY)?;
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
    let (out, x) = (buffers::empty(gpu, size).map_err(failed)?, buffers::empty(gpu, size).map_err(failed)?);
    let kernel = Kernel::new(Shader::Stream, 3);
    let all = u32::try_from(fours).unwrap_or(u32::MAX);
    let side = gpu.limits.max_compute_workgroups_per_dimension;
    let groups = all.div_ceil(WIDE);
    let x_groups = groups.min(side);
    let candidate =
        Candidate { kernel, params: vec![all], groups: [x_groups, groups.div_ceil(x_groups), 1] };
    let ns = timed(gpu, &candidate, &[out, x], f64::INFINITY)?;
    Ok(2.0 * bytes as f64 / (ns.max(1) as f64 * 1e-9))
}
