//! Memory of an adapter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::Gpu;

/// Buffers with weights, shared by the plans and sessions of a variant, by what they hold.
#[derive(Default)]
pub(super) struct Weights(Mutex<HashMap<String, (Arc<wgpu::Buffer>, bytes::Bytes)>>);

impl Weights {
    /// The buffer of a weight in the form `form`, made by `fill` when it is first asked for.
    ///
    /// Weights are told apart by where their bytes lie; they are kept, so that nothing else can lie there.
    pub(super) fn get(
        &self,
        gpu: &Gpu,
        bytes: &bytes::Bytes,
        form: &str,
        fill: impl FnOnce() -> std::result::Result<Vec<u8>, String>,
    ) -> std::result::Result<Arc<wgpu::Buffer>, String> {
        let key = format!("{:p} {} {form}", bytes.as_ptr(), bytes.len());
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((buffer, _)) = made.get(&key) {
            return Ok(Arc::clone(buffer));
        }
        let buffer = Arc::new(filled(gpu, &fill()?)?);
        made.insert(key, (Arc::clone(&buffer), bytes.clone()));
        Ok(buffer)
    }
}

/// A buffer of these bytes.
pub(super) fn filled(gpu: &Gpu, bytes: &[u8]) -> std::result::Result<wgpu::Buffer, String> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(16).max(16), 0);
    let buffer = empty(gpu, padded.len())?;
    gpu.queue.write_buffer(&buffer, 0, &padded);
    Ok(buffer)
}

/// A buffer for kernels, as long as the adapter lets one be bound.
pub(super) fn empty(gpu: &Gpu, size: usize) -> std::result::Result<wgpu::Buffer, String> {
    let most = gpu.limits.max_storage_buffer_binding_size;
    if size as u64 > most {
        return Err(format!(
            "needs {size} bytes in one piece, and the adapter binds {most} at most"
        ));
    }
    arena(gpu, size)
}

/// A buffer of which kernels see pieces.
pub(super) fn arena(gpu: &Gpu, size: usize) -> std::result::Result<wgpu::Buffer, String> {
    let size = size.next_multiple_of(16).max(16) as u64;
    let most = gpu.limits.max_buffer_size;
    if size > most {
        return Err(format!("needs {size} bytes at once, and the adapter has {most} at most"));
    }
    Ok(gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    }))
}
