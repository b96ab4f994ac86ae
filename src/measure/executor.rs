//! The engine of the recipes: graphs run in a worker.

use std::path::PathBuf;
use std::sync::Arc;

use super::maker::Maker;
use super::runner::Runner;
use crate::compress::{Execute, Purpose};
use crate::error::{Error, Result};
use crate::graph::{Dim, Graph};
use crate::units::Nanos;
use crate::variant::{BackendId, Optimization, Tensor, Tensors};

/// How long one round of samples may take.
const PATIENCE: Nanos = Nanos::from_secs(600);
/// Samples that cross to the worker at once.
const CHUNK: usize = 64;

/// Runs graphs in a worker: saved to a file, loaded once, given samples in turns.
pub(super) struct Executor {
    runner: Runner,
    backend: BackendId,
    folder: tempfile::TempDir,
    loaded: Option<(PathBuf, Purpose)>,
    is_ready: bool,
    count: usize,
    /// Samples that the model takes at once, where it takes no other number.
    batch: usize,
}

impl Executor {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| {
            Error::environment("temporary folder", format!("cannot be made: {e}"))
                .remedy("set TMPDIR to a folder that can be written")
        })?;
        let runner = Runner::new(
            maker.program.clone(),
            maker.library,
            maker.threads,
            PATIENCE,
            Arc::clone(&maker.interrupted),
        )?;
        let backend = maker.backend.clone();
        let first = maker.resolved.outline.inputs.first().and_then(|input| input.dims.first());
        let batch = first.and_then(Dim::fixed).unwrap_or(1).max(1);
        Ok(Self { runner, backend, folder, loaded: None, is_ready: false, count: 0, batch })
    }
}

impl Execute for Executor {
    fn load(&mut self, graph: &Graph, purpose: Purpose) -> Result<()> {
        if let Some((old, _)) = self.loaded.take() {
            // What the worker has loaded it holds; the next graph has another name.
            let _ = std::fs::remove_file(old);
        }
        self.count += 1;
        let path = self.folder.path().join(format!("{}.onnx", self.count));
        graph.write(&path)?;
        self.loaded = Some((path, purpose));
        self.is_ready = false;
        Ok(())
    }

    fn run(&mut self, samples: &[Tensors]) -> Result<Vec<Tensors>> {
        let Some((path, purpose)) = self.loaded.clone() else {
            return Err(Error::internal("compress", "ran no graph"));
        };
        let optimization = match purpose {
            Purpose::Probe => Optimization::None,
            Purpose::Judge => Optimization::All,
        };
        let mut all = Vec::with_capacity(samples.len());
        for chunk in samples.chunks(CHUNK * self.batch) {
            let batches = batches(chunk, self.batch)?;
            let given =
                self.runner.run_all(&path, &self.backend, optimization, &batches, self.is_ready)?;
            self.is_ready = true;
            for (samples, given) in chunk.chunks(self.batch).zip(given) {
                all.extend((0..samples.len()).map(|at| row(&given, at, self.batch)));
            }
        }
        Ok(all)
    }
}

/// Samples as a model with a fixed batch takes them; the last batch is filled up with its last sample.
fn batches(samples: &[Tensors], size: usize) -> Result<Vec<Tensors>> {
    if size == 1 {
        return Ok(samples.to_vec());
    }
    let batch = |chunk: &[Tensors]| {
        let filled = (0..size).filter_map(|at| chunk.get(at).or(chunk.last()));
        let mut batch = Tensors::default();
        batch.assemble(filled).then_some(batch).ok_or_else(|| {
            Error::input("samples", "differ in shape, and the model takes several at once")
                .remedy("give samples of one shape, or a model with a free batch")
        })
    };
    samples.chunks(size).map(batch).collect()
}

/// What a batch gave for one of its samples; what has no row for each is given whole.
fn row(given: &Tensors, at: usize, size: usize) -> Tensors {
    if size == 1 {
        return given.clone();
    }
    let pick = |tensor: &Tensor| match tensor.shape().first() {
        Some(rows) if *rows == size => tensor.row(at).unwrap_or_else(|| tensor.clone()),
        _ => tensor.clone(),
    };
    Tensors(given.0.iter().map(|(name, tensor)| (name.clone(), pick(tensor))).collect())
}
