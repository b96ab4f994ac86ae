//! What wgpu cannot check for us: kernels without run-time checks, and compiled kernels from disk.

use std::path::{Path, PathBuf};

/// A shader module whose reads, writes and loops are not checked when it runs.
#[expect(unsafe_code, reason = "a product's inner loop is nothing but reads; see SAFETY")]
pub(super) fn unchecked(
    device: &wgpu::Device,
    described: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    // SAFETY: only files of this program come here, those that `Shader::is_bounded` names. Their loops end at
    // a size that does not change, and they index with rows, columns and words that are cut to the sizes which
    // the buffers were made for; tests hold each to another kernel's answers at odd sizes.
    unsafe {
        device.create_shader_module_trusted(described, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

/// The driver's compiled kernels, kept on disk between processes.
pub(super) struct Compiled {
    pub(super) cache: wgpu::PipelineCache,
    file: PathBuf,
}

impl Compiled {
    /// Of an adapter, in `folder`; `None` where the adapter cannot keep them.
    pub(super) fn open(
        device: &wgpu::Device,
        info: &wgpu::AdapterInfo,
        folder: &Path,
    ) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = folder.join(wgpu::util::pipeline_cache_key(info)?);
        let data = std::fs::read(&file).ok();
        Some(Self { cache: create(device, data.as_deref()), file })
    }

    /// Writes what the driver has compiled. That it could not be written costs time only, in the next process.
    pub(super) fn save(&self) -> std::io::Result<()> {
        let Some(data) = self.cache.get_data() else { return Ok(()) };
        super::tune::replace(&self.file, &data)
    }
}

#[expect(
    unsafe_code,
    reason = "there is no safe way to give a driver what it compiled; see SAFETY"
)]
fn create(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let described =
        wgpu::PipelineCacheDescriptor { label: Some("infermark"), data, fallback: true };
    // SAFETY: the bytes were written by `Compiled::save` into the user's own cache, whole or not at all, and
    // wgpu looks at their header for another adapter or driver. Whoever can change them there can change the
    // program as well.
    unsafe { device.create_pipeline_cache(&described) }
}
