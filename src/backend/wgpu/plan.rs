//! A model for inputs of one shape: an arena, bind groups, and one submission an inference.

use std::collections::HashMap;
use std::sync::Arc;

use super::buffers;
use super::build::Built;
use super::device::Gpu;
use super::lower::{Input, Output, Task};
use super::view::Memory;
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::graph::schedule::{self, Buffer};
use crate::variant::Tensors;

/// A task with all that a call needs.
struct Step {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    op: String,
    kernel: String,
    flops: f64,
    bytes: f64,
}

/// One step's time on the device, by its clock, and what it did in it.
pub(super) struct Timed {
    pub(super) op: String,
    pub(super) kernel: String,
    pub(super) ns: f64,
    pub(super) flops: f64,
    pub(super) bytes: f64,
}

/// A plan, ready to run.
pub(super) struct Plan {
    steps: Vec<Step>,
    inputs: Vec<(Input, Arc<wgpu::Buffer>)>,
    outputs: Vec<(Output, Source)>,
    /// Bytes of all outputs, one after the other.
    readback: u64,
    /// Readback buffers that no batch in flight uses.
    free: Vec<wgpu::Buffer>,
}

/// Where an output is copied from, and to which place of the readback buffer.
struct Source {
    buffer: wgpu::Buffer,
    from: u64,
    to: u64,
    size: u64,
}

/// A batch that was handed over.
pub(super) struct Flight {
    submission: wgpu::SubmissionIndex,
    readback: wgpu::Buffer,
}

/// When each piece of the arena is needed, and where it lies then; bytes of the arena.
fn arena(tasks: &[Task], pieces: &[usize], kept: &[Memory]) -> (Vec<u64>, u64) {
    let mut life: HashMap<usize, (usize, usize)> = HashMap::new();
    for (at, task) in tasks.iter().enumerate() {
        for memory in task.reads.iter().chain([&task.out]) {
            if let Memory::Piece(piece) = memory {
                life.entry(*piece).or_insert((at, at)).1 = at;
            }
        }
    }
    for memory in kept {
        if let Memory::Piece(piece) = memory {
            life.entry(*piece).or_insert((tasks.len(), 0)).1 = tasks.len();
        }
    }
    let mut buffers: Vec<Buffer> = pieces
        .iter()
        .enumerate()
        .filter_map(|(piece, size)| {
            let (first, last) = *life.get(&piece)?;
            let size = (*size as u64).next_multiple_of(schedule::ALIGNMENT);
            Some(Buffer { value: ValueId::numbered(piece), offset: 0, size, first, last })
        })
        .collect();
    let all = schedule::place(&mut buffers);
    let mut offsets = vec![0; pieces.len()];
    for buffer in buffers {
        offsets[buffer.value.number()] = buffer.offset;
    }
    (offsets, all)
}

/// Whether the adapter binds every piece and counts every workgroup.
fn fits(gpu: &Gpu, tasks: &[Task], pieces: &[usize]) -> std::result::Result<(), String> {
    let bound = gpu.limits.max_storage_buffer_binding_size;
    if let Some(size) = pieces.iter().map(|size| *size as u64).find(|size| *size > bound) {
        return Err(format!(
            "a tensor takes {size} bytes, and it binds {bound} at most in one piece"
        ));
    }
    let most = gpu.limits.max_compute_workgroups_per_dimension;
    if let Some(task) = tasks.iter().find(|t| t.groups.iter().any(|count| *count > most)) {
        let [x, y, z] = task.groups;
        let (op, name) = (&task.op, task.kernel.title());
        return Err(format!(
            "{op} ({name}) takes {x}×{y}×{z} workgroups, and it counts to {most} along an axis"
        ));
    }
    Ok(())
}

impl Plan {
    pub(super) fn new(gpu: &Gpu, subject: &str, built: Built) -> Result<Self> {
        let Built { tasks, pieces, own, inputs, outputs, .. } = built;
        let refuse = |why: String| {
            Error::input(subject, format!("does not fit the adapter: {why}"))
                .remedy("run smaller batches, or on another adapter")
        };
        let kept: Vec<Memory> = outputs.iter().map(|o| o.view.memory).collect();
        let (offsets, arena_size) = arena(&tasks, &pieces, &kept);
        let bytes = usize::try_from(arena_size).unwrap_or(usize::MAX);
        let arena = buffers::arena(gpu, bytes).map_err(refuse)?;
        fits(gpu, &tasks, &pieces).map_err(refuse)?;
        let alignment = gpu.limits.min_storage_buffer_offset_alignment as usize / 4;
        let mut params: Vec<u32> = Vec::new();
        let mut places = Vec::with_capacity(tasks.len());
        for task in &tasks {
            let from = params.len().next_multiple_of(alignment.max(4));
            params.resize(from, 0);
            params.extend(&task.params);
            params.resize(params.len().next_multiple_of(4), 0);
            places.push((from * 4, (params.len() - from) * 4));
        }
        let params: Vec<u8> = params.iter().flat_map(|v| v.to_le_bytes()).collect();
        let params = buffers::filled(gpu, &params).map_err(refuse)?;
        let whole = |memory: &Memory| -> (wgpu::Buffer, u64, u64) {
            match memory {
                Memory::Piece(piece) => {
                    let size = (pieces[*piece] as u64).next_multiple_of(16);
                    (arena.clone(), offsets[*piece], size)
                }
                Memory::Own(at) => ((*own[*at]).clone(), 0, own[*at].size()),
            }
        };
        let mut steps = Vec::with_capacity(tasks.len());
        for (task, place) in tasks.into_iter().zip(places) {
            let pipeline = gpu.pipelines.get(gpu, &task.kernel)?;
            let mut bound = vec![(params.clone(), place.0 as u64, place.1 as u64)];
            bound.extend([&task.out].into_iter().chain(&task.reads).map(whole));
            let entries: Vec<wgpu::BindGroupEntry<'_>> = bound
                .iter()
                .zip(0..)
                .map(|((buffer, offset, size), binding)| wgpu::BindGroupEntry {
                    binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: *offset,
                        size: wgpu::BufferSize::new(*size),
                    }),
                })
                .collect();
            let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(task.kernel.shader.name()),
                layout: &pipeline.layout,
                entries: &entries,
            });
            // What stands in for an operand that is missing is given twice, and read once.
            let given: Vec<&Memory> = std::iter::once(&task.out).chain(&task.reads).collect();
            let sizes = given.iter().zip(&bound[1..]).enumerate();
            let first = |at: usize| given[..at].iter().all(|earlier| *earlier != given[at]);
            let moved = sizes.filter(|(at, _)| first(*at)).map(|(_, (_, b))| b.2 as f64).sum();
            steps.push(Step {
                pipeline: pipeline.pipeline,
                group,
                workgroups: task.groups,
                op: task.op,
                kernel: task.kernel.title(),
                flops: task.flops,
                bytes: task.bytes.unwrap_or(moved),
            });
        }
        let mut readback = 0;
        let outputs = outputs
            .into_iter()
            .map(|output| {
                let (buffer, from, _) = whole(&output.view.memory);
                let bytes = output.view.len() * output.view.elem.size();
                let size = (bytes as u64).next_multiple_of(4);
                let source = Source { buffer, from, to: readback, size };
                readback += size.next_multiple_of(8);
                (output, source)
            })
            .collect();
        let inputs = inputs
            .into_iter()
            .filter_map(|input| match input.view.memory {
                Memory::Own(at) => Some((input, Arc::clone(&own[at]))),
                Memory::Piece(_) => None,
            })
            .collect();
        gpu.check()?;
        gpu.pipelines.save();
        Ok(Self { steps, inputs, outputs, readback, free: Vec::new() })
    }

    /// Hands a batch over.
    pub(super) fn submit(&mut self, gpu: &Gpu, tensors: &Tensors, subject: &str) -> Result<Flight> {
        self.upload(gpu, tensors, subject)?;
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for step in &self.steps {
                step.call(&mut pass);
            }
        }
        let readback = self.free.pop().unwrap_or_else(|| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size: self.readback.max(8),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        for (_, source) in self.outputs.iter().filter(|(_, source)| source.size > 0) {
            let Source { buffer, from, to, size } = source;
            encoder.copy_buffer_to_buffer(buffer, *from, &readback, *to, *size);
        }
        let submission = gpu.queue.submit([encoder.finish()]);
        gpu.check()?;
        Ok(Flight { submission, readback })
    }

    fn upload(&self, gpu: &Gpu, tensors: &Tensors, subject: &str) -> Result<()> {
        for (input, buffer) in &self.inputs {
            let bytes = input.bytes(tensors, subject)?;
            if !bytes.is_empty() {
                gpu.queue.write_buffer(buffer, 0, &bytes);
            }
        }
        Ok(())
    }

    /// Waits for a batch; its outputs.
    pub(super) fn wait(&mut self, gpu: &Gpu, flight: Flight) -> Result<Tensors> {
        let Flight { submission, readback } = flight;
        map(gpu, &readback, submission)?;
        let mut outputs = Vec::with_capacity(self.outputs.len());
        {
            let all = readback.get_mapped_range(..).map_err(|e| failed(gpu, &e.to_string()))?;
            for (output, source) in &self.outputs {
                let from = usize::try_from(source.to).unwrap_or(usize::MAX);
                let bytes = output.view.len() * output.view.elem.size();
                outputs.push((output.name.clone(), output.tensor(&all[from..from + bytes])?));
            }
        }
        readback.unmap();
        self.free.push(readback);
        Ok(Tensors(outputs))
    }

    /// Runs one batch with a clock around every step; `None` where the adapter has none.
    pub(super) fn timed(
        &mut self,
        gpu: &Gpu,
        tensors: &Tensors,
        subject: &str,
    ) -> Result<Option<Vec<Timed>>> {
        if !gpu.features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        self.upload(gpu, tensors, subject)?;
        let mut rows = Vec::with_capacity(self.steps.len());
        // A set of queries holds a bounded number of them.
        let most = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;
        for steps in self.steps.chunks(most) {
            let count = u32::try_from(steps.len() * 2).unwrap_or(u32::MAX);
            let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let size = u64::from(count) * 8;
            let buffer = |usage| {
                gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: None,
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            };
            let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
            let readback = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
            let mut encoder =
                gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for (step, at) in steps.iter().zip((0..).step_by(2)) {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &set,
                        beginning_of_pass_write_index: Some(at),
                        end_of_pass_write_index: Some(at + 1),
                    }),
                });
                step.call(&mut pass);
            }
            encoder.resolve_query_set(&set, 0..count, &resolved, 0);
            encoder.copy_buffer_to_buffer(&resolved, 0, &readback, 0, size);
            let submission = gpu.queue.submit([encoder.finish()]);
            map(gpu, &readback, submission)?;
            let all = readback.get_mapped_range(..).map_err(|e| failed(gpu, &e.to_string()))?;
            let ticks: Vec<u64> = all
                .chunks_exact(8)
                .map(|b| b.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
                .collect();
            let period = f64::from(gpu.queue.get_timestamp_period());
            rows.extend(steps.iter().zip(ticks.chunks_exact(2)).map(|(step, t)| Timed {
                op: step.op.clone(),
                kernel: step.kernel.clone(),
                flops: step.flops,
                bytes: step.bytes,
                ns: t[1].saturating_sub(t[0]) as f64 * period,
            }));
        }
        Ok(Some(rows))
    }
}

fn failed(gpu: &Gpu, message: &str) -> Error {
    Error::environment(format!("adapter {}", gpu.info.name), message)
        .remedy("look at the driver's log")
}

/// Makes a buffer readable once `submission` is done.
pub(super) fn map(
    gpu: &Gpu,
    buffer: &wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
) -> Result<()> {
    let (told, heard) = std::sync::mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // Nobody listens any more where waiting failed already.
        let _ = told.send(result);
    });
    gpu.wait(submission)?;
    // Another session that waits on the same device may be about to call the function above: whoever finds
    // the work done calls it. It is called or dropped in any case, so this does not wait for ever.
    match heard.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(failed(gpu, &e.to_string())),
        Err(_) => Err(failed(gpu, "does not give the outputs back")),
    }
}

impl Step {
    fn call(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}
