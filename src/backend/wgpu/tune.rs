//! Which kernel is fastest for a class of shapes on an adapter: measured once, and kept on disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::buffers;
use super::device::Gpu;
use super::kernels::Kernel;
use super::lower::{Lower, Lowered};
use super::view::Memory;
use crate::units::{Clock, Nanos, RealClock};

/// Time that one candidate's calls take together, at least, so that handing them over costs little of it.
const LEAST: Nanos = Nanos(2_000_000);
/// Calls at most that are handed over at once.
const MOST_CALLS: u64 = 200;
/// Times that a candidate is measured; the least counts, since whatever disturbs only adds.
const ROUNDS: usize = 3;
/// A candidate that takes so many times the best one's time is not measured any further.
const HOPELESS: u64 = 4;

/// A way to compute something.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) kernel: Kernel,
    pub(super) params: Vec<u32>,
    pub(super) groups: [u32; 3],
}

/// What was found for a class of shapes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    /// The fastest kernel.
    kernel: String,
    /// Nanoseconds a call, of every candidate that was tried.
    ns: BTreeMap<String, u64>,
}

/// The file: whom its choices hold for, and the choices by class.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Table {
    adapter: String,
    classes: BTreeMap<String, Choice>,
}

/// Choices for one adapter.
pub(super) struct Tuner {
    file: Option<PathBuf>,
    table: Mutex<Table>,
    /// Nanoseconds spent on measuring, in this process.
    took: AtomicU64,
}

/// Puts a file in place whole, or not at all.
pub(super) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(bytes)?;
    new.persist(file)?;
    Ok(())
}

impl Tuner {
    /// Of an adapter, with what earlier processes found in `folder`.
    ///
    /// Its file is named by adapter, driver and the kernels' own text: what holds for one says nothing of
    /// another. A file that cannot be read counts as none.
    pub(super) fn open(adapter: String, folder: Option<&Path>) -> Self {
        let file = folder.map(|folder| {
            let mut hash = Sha256::new();
            hash.update(&adapter);
            hash.update(super::shader::every_text());
            let hash = hash.finalize();
            let short = hash.iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
            folder.join(format!("tuned-{short:016x}.json"))
        });
        let known = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let table = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let table: Table = table.unwrap_or_default();
        Self { file, table: Mutex::new(Table { adapter, ..table }), took: AtomicU64::new(0) }
    }

    /// Time that measuring candidates took in this process so far.
    pub(super) fn took(&self) -> Nanos {
        Nanos(self.took.load(Ordering::Relaxed))
    }

    fn known(&self, class: &str) -> Option<String> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.classes.get(class).map(|choice| choice.kernel.clone())
    }

    /// Keeps a choice; other processes' choices that came meanwhile stay.
    fn keep(&self, class: &str, choice: Choice) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.classes.insert(class.to_owned(), choice);
        let Some(file) = &self.file else { return };
        let others = std::fs::read(file).ok();
        if let Some(others) = others.and_then(|bytes| serde_json::from_slice::<Table>(&bytes).ok())
        {
            for (class, choice) in others.classes {
                table.classes.entry(class).or_insert(choice);
            }
        }
        // What cannot be written is found again by the next process.
        if let Ok(text) = serde_json::to_vec_pretty(&*table) {
            let _ = replace(file, &text);
        }
    }
}

/// The size of a class of shapes that `size` is in: the next power of two.
pub(super) fn class_of(size: usize) -> usize {
    size.next_power_of_two()
}

impl Lower<'_> {
    /// The candidate that is fastest for `class`; the first one where nothing is to be measured.
    pub(super) fn pick(
        &mut self,
        class: &str,
        mut candidates: Vec<Candidate>,
        out: Memory,
        reads: &[Memory],
    ) -> Lowered<Candidate> {
        if !self.tunes || candidates.len() < 2 {
            return Ok(candidates.swap_remove(0));
        }
        let named = |name: &str| candidates.iter().position(|c| c.kernel.title() == name);
        if let Some(at) = self.gpu.tuner.known(class).and_then(|name| named(&name)) {
            return Ok(candidates.swap_remove(at));
        }
        // What does not fit the adapter is refused with the plan.
        let Some(buffers) = self.scratch(out, reads) else {
            return Ok(candidates.swap_remove(0));
        };
        let clock = RealClock::start();
        let (mut best, mut first_error) = (u64::MAX, None);
        let mut found: Vec<Option<u64>> = Vec::with_capacity(candidates.len());
        for candidate in &candidates {
            match timed(self.gpu, candidate, &buffers, best.saturating_mul(HOPELESS)) {
                Ok(ns) => {
                    best = best.min(ns);
                    found.push(Some(ns));
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    found.push(None);
                }
            }
        }
        self.gpu.tuner.took.fetch_add(clock.now().0, Ordering::Relaxed);
        let named = candidates.iter().zip(&found);
        let ns: BTreeMap<String, u64> =
            named.filter_map(|(c, ns)| Some((c.kernel.title(), (*ns)?))).collect();
        let best = (0..found.len()).filter(|at| found[*at].is_some()).min_by_key(|at| found[*at]);
        let at = best.ok_or_else(|| {
            let why = first_error.map_or(String::new(), |e| format!(": {}", e.message()));
            format!("for which no kernel runs on the adapter{why}")
        })?;
        let chosen = candidates.swap_remove(at);
        self.gpu.tuner.keep(class, Choice { kernel: chosen.kernel.title(), ns });
        Ok(chosen)
    }

    /// Buffers to try candidates with: weights and inputs as they are, memory of the right size for the rest;
    /// `None` where the adapter has no room for them.
    fn scratch(&self, out: Memory, reads: &[Memory]) -> Option<Vec<wgpu::Buffer>> {
        let memories: Vec<Memory> = std::iter::once(out).chain(reads.iter().copied()).collect();
        let mut buffers: Vec<wgpu::Buffer> = Vec::with_capacity(memories.len());
        for (at, memory) in memories.iter().enumerate() {
            let again = memories[..at].iter().position(|m| m == memory);
            let buffer = match (again, memory) {
                (Some(at), _) => buffers[at].clone(),
                (None, Memory::Own(own)) => (*self.own[*own]).clone(),
                (None, Memory::Piece(piece)) => {
                    buffers::empty(self.gpu, self.pieces[*piece]).ok()?
                }
            };
            buffers.push(buffer);
        }
        Some(buffers)
    }
}

/// Nanoseconds that a call takes, the least of some rounds.
pub(super) fn timed(
    gpu: &Gpu,
    candidate: &Candidate,
    buffers: &[wgpu::Buffer],
    hopeless: u64,
) -> crate::error::Result<u64> {
    let pipeline = gpu.pipelines.get(gpu, &candidate.kernel)?;
    let bytes: Vec<u8> = candidate.params.iter().flat_map(|v| v.to_le_bytes()).collect();
    let params =
        buffers::filled(gpu, &bytes).map_err(|why| crate::error::Error::internal("wgpu", why))?;
    let entries: Vec<wgpu::BindGroupEntry<'_>> = std::iter::once(&params)
        .chain(buffers)
        .zip(0..)
        .map(|(buffer, binding)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(candidate.kernel.shader.name()),
        layout: &pipeline.layout,
        entries: &entries,
    });
    let calls = |count: u64| -> crate::error::Result<u64> {
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[]);
            let [x, y, z] = candidate.groups;
            for _ in 0..count {
                pass.dispatch_workgroups(x, y, z);
            }
        }
        let clock = RealClock::start();
        let submission = gpu.queue.submit([encoder.finish()]);
        gpu.wait(submission)?;
        Ok(clock.now().0 / count)
    };
    // The first call compiles.
    calls(1)?;
    let once = calls(1)?;
    if once > hopeless {
        return Ok(once);
    }
    let count = (LEAST.0 / once.max(1)).clamp(1, MOST_CALLS);
    let mut least = once;
    for _ in 0..ROUNDS {
        least = least.min(calls(count)?);
    }
    Ok(least)
}

/// What a call gives, as f32: for tests of single kernels.
#[cfg(test)]
pub(super) fn answer(
    gpu: &Gpu,
    candidate: &Candidate,
    reads: &[wgpu::Buffer],
    count: usize,
) -> Vec<f32> {
    let out = buffers::empty(gpu, count * 4).unwrap();
    let all: Vec<wgpu::Buffer> =
        std::iter::once(out.clone()).chain(reads.iter().cloned()).collect();
    timed(gpu, candidate, &all, 0).unwrap();
    let size = (count * 4) as u64;
    let readback = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(&out, 0, &readback, 0, size);
    let submission = gpu.queue.submit([encoder.finish()]);
    super::plan::map(gpu, &readback, submission).unwrap();
    let bytes = readback.get_mapped_range(..).unwrap().to_vec();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}
