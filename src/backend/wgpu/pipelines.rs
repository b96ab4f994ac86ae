//! Kernels, compiled for a device.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::device::Gpu;
use super::kernels::Kernel;
use super::trusted::{self, Compiled};
use crate::error::Result;

/// A compiled kernel.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// Every pipeline that was made on a device, by kernel.
pub(super) struct Pipelines {
    made: Mutex<HashMap<String, Pipeline>>,
    /// What the driver compiled in earlier processes.
    compiled: Option<Compiled>,
    /// Whether it has compiled anything that is not saved.
    is_new: AtomicBool,
}

impl Pipelines {
    pub(super) fn new(compiled: Option<Compiled>) -> Self {
        Self { made: Mutex::default(), compiled, is_new: AtomicBool::new(false) }
    }

    /// Keeps on disk what was compiled since the last time.
    pub(super) fn save(&self) {
        if let Some(compiled) = &self.compiled
            && self.is_new.swap(false, Ordering::Relaxed)
        {
            // What cannot be written is compiled again by the next process.
            let _ = compiled.save();
        }
    }

    /// The pipeline of a kernel, made when it is first asked for.
    pub(super) fn get(&self, gpu: &Gpu, kernel: &Kernel) -> Result<Pipeline> {
        let key = kernel.key();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = made.get(&key) {
            return Ok(pipeline.clone());
        }
        let label = Some(kernel.shader.name());
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..)
            .take(kernel.bindings)
            .map(|binding| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: binding == 0 },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let device = &gpu.device;
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let described = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(Cow::Owned(kernel.source())),
        };
        let module = if kernel.shader.is_bounded() {
            trusted::unchecked(device, described)
        } else {
            device.create_shader_module(described)
        };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &kernel.constants,
                // All that is read was written before.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.compiled.as_ref().map(|c| &c.cache),
        });
        gpu.check()?;
        self.is_new.store(true, Ordering::Relaxed);
        let pipeline = Pipeline { pipeline, layout };
        made.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}
