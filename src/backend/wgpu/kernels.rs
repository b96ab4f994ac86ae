//! Kernels: WGSL files, what is written before them, and the pipelines made of both.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::Gpu;
use crate::error::Result;

/// A WGSL file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shader {
    Attention,
    Chain,
    Conv,
    Copy,
    Fill,
    Gather,
    MatMul,
    Naive,
    Norm,
    Pool,
    Reduce,
    Softmax,
    Tiled,
    Dots,
    Integers,
    Quantise,
    Range,
    Scale,
}

impl Shader {
    #[cfg(test)]
    const ALL: [Self; 18] = [
        Self::Attention,
        Self::Chain,
        Self::Conv,
        Self::Copy,
        Self::Fill,
        Self::Gather,
        Self::MatMul,
        Self::Naive,
        Self::Norm,
        Self::Pool,
        Self::Reduce,
        Self::Softmax,
        Self::Tiled,
        Self::Dots,
        Self::Integers,
        Self::Quantise,
        Self::Range,
        Self::Scale,
    ];

    /// Its file's name without the ending: what tables call the kernel.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Chain => "chain",
            Self::Conv => "conv",
            Self::Copy => "copy",
            Self::Fill => "fill",
            Self::Gather => "gather",
            Self::MatMul => "matmul",
            Self::Naive => "naive",
            Self::Norm => "norm",
            Self::Pool => "pool",
            Self::Reduce => "reduce",
            Self::Softmax => "softmax",
            Self::Tiled => "tiled",
            Self::Dots => "dots",
            Self::Integers => "integers",
            Self::Quantise => "quantise",
            Self::Range => "range",
            Self::Scale => "scale",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Attention => include_str!("shaders/attention.wgsl"),
            Self::Chain => include_str!("shaders/chain.wgsl"),
            Self::Conv => include_str!("shaders/conv.wgsl"),
            Self::Copy => include_str!("shaders/copy.wgsl"),
            Self::Fill => include_str!("shaders/fill.wgsl"),
            Self::Gather => include_str!("shaders/gather.wgsl"),
            Self::MatMul => include_str!("shaders/matmul.wgsl"),
            Self::Naive => include_str!("shaders/naive.wgsl"),
            Self::Norm => include_str!("shaders/norm.wgsl"),
            Self::Pool => include_str!("shaders/pool.wgsl"),
            Self::Reduce => include_str!("shaders/reduce.wgsl"),
            Self::Softmax => include_str!("shaders/softmax.wgsl"),
            Self::Tiled => include_str!("shaders/tiled.wgsl"),
            Self::Dots => include_str!("shaders/dots.wgsl"),
            Self::Integers => include_str!("shaders/integers.wgsl"),
            Self::Quantise => include_str!("shaders/quantise.wgsl"),
            Self::Range => include_str!("shaders/range.wgsl"),
            Self::Scale => include_str!("shaders/scale.wgsl"),
        }
    }

    /// Whether it calls what stands in `math.wgsl`.
    fn uses_math(self) -> bool {
        matches!(
            self,
            Self::Chain
                | Self::Conv
                | Self::Dots
                | Self::Integers
                | Self::MatMul
                | Self::Naive
                | Self::Tiled
        )
    }
}

/// A kernel: a file with types and values for what it leaves open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    pub(super) shader: Shader,
    /// Names for types, e.g. `T = f32`.
    pub(super) types: Vec<(&'static str, Elem)>,
    /// What is written before the file besides.
    pub(super) preamble: String,
    /// For the file's marks, in their order.
    pub(super) marks: Vec<(&'static str, String)>,
    /// The values of `override`s.
    pub(super) constants: Vec<(&'static str, f64)>,
    /// Buffers that it is given, parameters included.
    pub(super) bindings: usize,
}

/// How elements lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Elem {
    F32,
    F16,
    /// Whole numbers of any width.
    I32,
    /// Booleans, 0 or 1.
    U32,
}

impl Elem {
    pub(super) fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I32 => "i32",
            Self::U32 => "u32",
        }
    }

    /// Bytes of one.
    pub(super) fn size(self) -> usize {
        if self == Self::F16 { 2 } else { 4 }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }
}

impl Kernel {
    pub(super) fn new(shader: Shader, bindings: usize) -> Self {
        Self {
            shader,
            types: Vec::new(),
            preamble: String::new(),
            marks: Vec::new(),
            constants: Vec::new(),
            bindings,
        }
    }

    pub(super) fn of(mut self, name: &'static str, elem: Elem) -> Self {
        self.types.push((name, elem));
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.constants.push((name, value));
        self
    }

    /// The whole text that is compiled.
    pub(super) fn source(&self) -> String {
        let mut text = String::new();
        if self.types.iter().any(|(_, elem)| *elem == Elem::F16) {
            text.push_str("enable f16;\n");
        }
        for (name, elem) in &self.types {
            text.push_str(&format!("alias {name} = {};\n", elem.wgsl()));
        }
        text.push_str(&self.preamble);
        if self.shader.uses_math() {
            text.push_str(include_str!("shaders/math.wgsl"));
        }
        let mut file = self.shader.text().to_owned();
        for (mark, with) in &self.marks {
            file = file.replace(&format!("//@ {mark}"), with);
        }
        if matches!(self.shader, Shader::Integers | Shader::MatMul | Shader::Tiled) {
            file.push_str(include_str!("shaders/four.wgsl"));
        }
        text + &file
    }

    /// What tells two kernels apart.
    fn key(&self) -> String {
        format!("{}\n{:?}\n{}", self.source(), self.constants, self.bindings)
    }
}

/// A compiled kernel.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// Every pipeline that was made on a device, by kernel.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<String, Pipeline>>);

impl Pipelines {
    /// The pipeline of a kernel, made when it is first asked for.
    pub(super) fn get(&self, gpu: &Gpu, kernel: &Kernel) -> Result<Pipeline> {
        let key = kernel.key();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(Cow::Owned(kernel.source())),
        });
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
            cache: None,
        });
        gpu.check()?;
        let pipeline = Pipeline { pipeline, layout };
        made.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

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
    let size = size.next_multiple_of(16).max(16) as u64;
    let most = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size);
    if size > most {
        return Err(format!(
            "needs {size} bytes in one piece, and the adapter binds {most} at most"
        ));
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

#[cfg(test)]
mod tests {
    use wgpu::naga;

    use super::*;

    /// Every file with every type that it is used with, and every activation: without an adapter.
    #[test]
    fn every_shader_is_valid() {
        for shader in Shader::ALL {
            let elems = match shader {
                Shader::Copy | Shader::Fill | Shader::Gather | Shader::Chain => {
                    &[Elem::F32, Elem::F16, Elem::I32, Elem::U32][..]
                }
                _ => &[Elem::F32, Elem::F16],
            };
            for elem in elems {
                let mut kernel = Kernel::new(shader, 2);
                for name in ["T", "A", "W", "M", "O"] {
                    kernel = kernel.of(name, *elem);
                }
                kernel = kernel.of("B", if elem.is_float() { Elem::F32 } else { *elem });
                kernel.preamble = "const WIDTH: u32 = 32u;\n".to_owned();
                kernel.marks = vec![("bindings", String::new()), ("body", String::new())];
                let source = kernel.source();
                let module = naga::front::wgsl::parse_str(&source)
                    .unwrap_or_else(|e| panic!("{}: {}", shader.name(), e.emit_to_string(&source)));
                let mut validator = naga::valid::Validator::new(
                    naga::valid::ValidationFlags::all(),
                    naga::valid::Capabilities::all(),
                );
                if let Err(e) = validator.validate(&module) {
                    panic!("{} of {elem:?}: {}", shader.name(), e.emit_to_string(&source));
                }
                let [main] = &module.entry_points[..] else {
                    panic!("{} has no single entrance", shader.name());
                };
                assert!(main.workgroup_size.iter().product::<u32>() <= 256);
            }
        }
    }
}
