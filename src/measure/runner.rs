//! Models run once on given inputs, each after the other in one worker: for comparing outputs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::{Worker, WorkerCommand};
use super::protocol::{Command, Event, RunSpec};
use crate::artifact::Library;
use crate::backend::{Coverage, PrepareOptions, Tuning};
use crate::error::{Error, ErrorKind, Result};
use crate::units::{Bytes, Nanos};
use crate::variant::{BackendId, Engine, Lineage, Optimization, Recipe, Tensors, Variant};

/// Runs models in a worker process. A model that takes the worker down costs its own answer: the
/// next one gets a fresh worker.
pub struct Runner {
    program: WorkerCommand,
    library: Option<(std::path::PathBuf, String)>,
    threads: usize,
    patience: Nanos,
    interrupted: Arc<AtomicBool>,
    folder: tempfile::TempDir,
    tuning: Tuning,
    worker: Option<Worker>,
}

impl Runner {
    /// A runner whose workers run `program` and load `library`; a model that takes longer than
    /// `patience` is given up.
    pub fn new(
        program: WorkerCommand,
        library: Option<&Library>,
        threads: usize,
        patience: Nanos,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| {
            Error::environment("temporary folder", format!("cannot be made: {e}"))
                .remedy("set TMPDIR to a folder that can be written")
        })?;
        let library = library.map(|l| (l.path.clone(), l.sha256.clone()));
        let (tuning, worker) = (Tuning::default(), None);
        Ok(Self { program, library, threads, patience, interrupted, folder, tuning, worker })
    }

    /// With kernels chosen so.
    #[must_use]
    pub fn tuned(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// What the model at `path` gives for `inputs` on `backend`, its graph left as it is.
    pub fn run(&mut self, path: &Path, backend: &BackendId, inputs: &Tensors) -> Result<Tensors> {
        let given =
            self.run_all(path, backend, Optimization::None, std::slice::from_ref(inputs), false)?;
        Ok(given.into_iter().next().unwrap_or_default())
    }

    /// What the model at `path` gives for each sample; with `again`, the session of the last call may
    /// serve: the file must be the same.
    pub fn run_all(
        &mut self,
        path: &Path,
        backend: &BackendId,
        optimization: Optimization,
        samples: &[Tensors],
        again: bool,
    ) -> Result<Vec<Tensors>> {
        let file = |name: &str| self.folder.path().join(name);
        let (inputs_file, outputs_file) = (file("inputs"), file("outputs"));
        let mut inputs = Tensors::default();
        for (at, sample) in samples.iter().enumerate() {
            inputs.stack(at, sample.clone());
        }
        inputs.write(&inputs_file)?;
        let command = Command::Run(Box::new(RunSpec {
            variant: Variant {
                name: "given".to_owned(),
                recipe: Recipe::AsGiven,
                path: path.to_owned(),
                sha256: String::new(),
                size: Bytes(0),
                weights: Bytes(0),
                lineage: Lineage::default(),
            },
            backend: backend.clone(),
            options: PrepareOptions { optimization, ..self.options(backend) },
            inputs: inputs_file,
            samples: samples.len(),
            outputs: outputs_file.clone(),
            again,
        }));
        let is_ran = |event: &Event| matches!(event, Event::Ran).then_some(());
        self.ask(&command, is_ran)?;
        Ok(Tensors::read(&outputs_file)?.unstacked(samples.len()))
    }

    /// Which operators of the model at `path` `backend` lacks.
    pub fn coverage(&mut self, path: &Path, backend: &BackendId) -> Result<Coverage> {
        let (model, options) = (path.to_owned(), self.options(backend));
        let command = Command::Cover { model, backend: backend.clone(), options };
        self.ask(&command, |event| match event {
            Event::Covered(coverage) => Some(coverage.clone()),
            _ => None,
        })
    }

    fn options(&self, backend: &BackendId) -> PrepareOptions {
        PrepareOptions {
            threads: self.threads,
            optimization: Optimization::None,
            spinning: false,
            library: self.library.clone().filter(|_| backend.engine == Engine::Ort),
            weights: Bytes(0),
            tuning: self.tuning.clone(),
        }
    }

    /// Asks the worker, a fresh one where the last one died; `take` finds the answer in its event.
    fn ask<T>(&mut self, command: &Command, take: impl Fn(&Event) -> Option<T>) -> Result<T> {
        let mut worker = if let Some(worker) = self.worker.take() {
            worker
        } else {
            let interrupted = Arc::clone(&self.interrupted);
            Worker::start(&self.program, "comparison", self.threads, interrupted)?
        };
        match worker.ask(command, self.patience) {
            Ok((event, _)) => {
                let answer = take(&event).ok_or_else(|| worker.unexpected(&event));
                self.worker = Some(worker);
                answer
            }
            Err(error) => {
                // After an answer of its own the worker lives on; a dead one is let go.
                if !matches!(error.kind(), ErrorKind::Worker | ErrorKind::Interrupted) {
                    self.worker = Some(worker);
                }
                Err(error)
            }
        }
    }
}
