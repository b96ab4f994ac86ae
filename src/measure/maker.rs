//! Variants made by recipe: compressed here, judged in a worker, kept with a card.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::WorkerCommand;
use super::run::timestamp;
use super::runner::Runner;
use crate::artifact::Library;
use crate::compress::{
    self, Compressed, Execute, Fate, Job, OnBreak, Purpose, Validation, Warning,
};
use crate::error::{Error, Result};
use crate::graph::{Dim, Graph};
use crate::quality::{QualityFigure, TestSet};
use crate::units::Nanos;
use crate::variant::{
    BackendId, Budget, Card, CardFigure, CardStage, Optimization, Recipe, SampleFacts, Stage,
    StageParameters, Tensor, Tensors,
};
use crate::workload::{
    Calibration, Dataset, Resolved, artifact_facts, carded_facts, hash_of_samples,
};

/// How long one round of samples may take.
const PATIENCE: Nanos = Nanos::from_secs(600);
/// Samples that cross to the worker at once.
const CHUNK: usize = 64;

/// What variants are made with.
pub struct Maker<'a> {
    /// The model and what is known of its data.
    pub resolved: &'a Resolved,
    /// Samples set aside.
    pub calibration: &'a Calibration,
    /// Where artifacts and cards go.
    pub folder: &'a Path,
    /// The engine that runs graphs while they are made.
    pub backend: BackendId,
    /// ONNX Runtime's library, where that engine needs it.
    pub library: Option<&'a Library>,
    /// Threads of a session.
    pub threads: usize,
    /// The program that workers run.
    pub program: WorkerCommand,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    /// What must hold after every stage.
    pub budget: Option<Budget>,
    /// What happens when it does not.
    pub on_break: OnBreak,
}

/// An artifact with its card.
#[derive(Debug, Clone)]
pub struct Made {
    /// The ONNX file; `None` when no stage kept the budget.
    pub path: Option<PathBuf>,
    /// What is known of it.
    pub card: Card,
    /// Whether it was there already.
    pub was_there: bool,
    /// The model's own quality on the validation samples; empty when the artifact was there.
    pub parent_quality: Vec<QualityFigure>,
    /// What each node costs, where a search measured it.
    pub sensitivities: Vec<compress::Sensitivity>,
}

impl Maker<'_> {
    /// Makes the variant that `recipe` asks for, or takes the one that is there: made of the same
    /// model by the same recipe, from the same samples.
    ///
    /// A file that is not what its card says is an error.
    pub fn make(&self, recipe: &Recipe, told: &mut dyn FnMut(&str)) -> Result<Made> {
        let Recipe::Stages(stages) = recipe else {
            return Err(Error::input(format!("recipe `{recipe}`"), "makes nothing")
                .remedy("name a recipe, e.g. int8-dynamic"));
        };
        let parent = &self.resolved.variants[0];
        let name = format!("{}.{recipe}.onnx", self.resolved.workload.name);
        let path = self.folder.join(&name);
        let card = self.card(recipe, stages, &name);
        if let Some(known) = Card::beside(&path)?.filter(|_| path.is_file()) {
            carded_facts(&path, &known)?;
            if is_of_the_same(&known, &card) {
                return Ok(Made {
                    path: Some(path),
                    card: known,
                    was_there: true,
                    parent_quality: Vec::new(),
                    sensitivities: Vec::new(),
                });
            }
        }
        let graph = Graph::read(&parent.path)?;
        let about = &self.calibration;
        let head = self.resolved.head.as_ref();
        let quality = self.resolved.workload.quality.as_ref();
        let job = Job {
            parent: &graph,
            stages,
            calibration: &about.calibration,
            validation: Validation {
                samples: &about.validation,
                set: TestSet { truth: &about.truth, segments: None, head },
                output: quality.and_then(|q| q.output.as_deref()),
                metric: quality.map(|q| &q.metric).filter(|_| !about.truth.is_nothing()),
            },
            budget: self.budget,
            on_break: self.on_break,
        };
        let mut executor = Executor::new(self)?;
        let compressed = compress::compress(&job, &mut executor, told)?;
        self.keep(path, card, compressed, recipe)
    }

    /// What the card says before anything was done.
    fn card(&self, recipe: &Recipe, stages: &[Stage], file: &str) -> Card {
        let about = &self.calibration;
        let facts = |samples: &[Tensors]| SampleFacts {
            sha256: hash_of_samples(samples),
            samples: samples.len(),
            source: about.source.clone(),
        };
        let sees = |s: &Stage| s.needs_data() || matches!(s, Stage::Half(_));
        let library = self.library.and_then(|l| l.path.file_name()).map(|n| n.to_string_lossy());
        Card {
            schema_version: Card::VERSION,
            file: file.to_owned(),
            sha256: String::new(),
            size_bytes: crate::units::Bytes(0),
            model: self.resolved.workload.name.clone(),
            parent_sha256: self.resolved.variants[0].sha256.clone(),
            recipe: recipe.clone(),
            applied: recipe.clone(),
            parameters: Vec::new(),
            calibration: stages.iter().any(sees).then(|| facts(&about.calibration)),
            validation: facts(&about.validation),
            budget: self.budget.map(|b| b.to_string()),
            stages: Vec::new(),
            warnings: Vec::new(),
            runtime: library.map_or_else(|| self.backend.to_string(), std::borrow::Cow::into_owned),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            recipes_version: compress::RECIPES_VERSION,
            made_at: timestamp(),
            approvals: Vec::new(),
        }
    }

    /// Warnings that hold for all recipes: they are about the samples.
    fn data_warnings(&self, recipe: &Recipe) -> Result<Vec<Warning>> {
        let about = &self.calibration;
        let mut warnings = Vec::new();
        let data = &self.resolved.data;
        if about.generated {
            warnings.push(Warning::new(
                "calibration-generated",
                "calibrated and judged on generated inputs: real ones have other ranges; give data"
                    .to_owned(),
            ));
        } else if !data.generated {
            let test = Dataset::read(&data.path)?;
            let mut ours = about.validation.clone();
            ours.extend(about.calibration.iter().cloned());
            warnings.extend(compress::overlap(&ours, test.samples()));
            if recipe.needs_data() {
                warnings.extend(compress::unlike(&about.calibration, test.samples()));
            }
        }
        Ok(warnings)
    }

    fn keep(
        &self,
        path: PathBuf,
        mut card: Card,
        compressed: Compressed,
        recipe: &Recipe,
    ) -> Result<Made> {
        let Compressed { graph, applied, stages, parent_quality } = compressed;
        let warnings = self.data_warnings(recipe)?;
        card.warnings = warnings
            .into_iter()
            .chain(stages.iter().flat_map(|s| s.warnings.clone()))
            .map(|w| format!("{}: {}", w.code, w.text))
            .collect();
        card.stages = stages.iter().map(card_stage).collect();
        let sensitivities = stages.into_iter().flat_map(|s| s.sensitivities).collect();
        let Recipe::Stages(done) = &applied else {
            return Err(Error::internal("compress", "applied no recipe"));
        };
        card.parameters = done
            .iter()
            .map(|stage| StageParameters {
                stage: stage.to_string(),
                values: stage.parameters().into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            })
            .collect();
        let nothing_left = done.is_empty();
        card.applied = applied;
        if nothing_left {
            return Ok(Made { path: None, card, was_there: false, parent_quality, sensitivities });
        }
        std::fs::create_dir_all(self.folder).map_err(|e| Error::io(self.folder, "create", &e))?;
        graph.write(&path)?;
        let facts = artifact_facts(&path)?;
        (card.sha256, card.size_bytes) = (facts.sha256, facts.size);
        // Decisions speak of bytes: those on other bytes are kept, and hold for nothing.
        // Another model's are not this one's.
        if let Ok(Some(before)) = Card::beside(&path)
            && before.parent_sha256 == card.parent_sha256
        {
            card.approvals = before.approvals;
        }
        card.write(&path)?;
        Ok(Made { path: Some(path), card, was_there: false, parent_quality, sensitivities })
    }
}

fn is_of_the_same(known: &Card, asked: &Card) -> bool {
    let samples = |facts: &Option<SampleFacts>| facts.as_ref().map(|f| f.sha256.clone());
    known.parent_sha256 == asked.parent_sha256
        && known.recipe == asked.recipe
        && known.budget == asked.budget
        && known.recipes_version == asked.recipes_version
        && known.validation.sha256 == asked.validation.sha256
        && samples(&known.calibration) == samples(&asked.calibration)
}

fn card_stage(report: &compress::StageReport) -> CardStage {
    let fate = match report.fate {
        Fate::Kept => "kept",
        Fate::BackedOff => "backed-off",
        Fate::Stopped => "stopped",
        Fate::NotTried => "not-tried",
    };
    let figure = |f: &QualityFigure| CardFigure {
        metric: f.metric.to_string(),
        segment: f.segment.clone(),
        value: f.value,
        low: f.low,
        high: f.high,
        delta: f.delta,
        delta_low: f.delta_low,
        delta_high: f.delta_high,
    };
    CardStage {
        stage: report.stage.clone(),
        fate: fate.to_owned(),
        size_bytes: report.size,
        changed: report.changed,
        kept: report.kept.clone(),
        quality: report.quality.iter().map(figure).collect(),
    }
}

/// Runs graphs in a worker: saved to a file, loaded once, given samples in turns.
struct Executor {
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
    fn new(maker: &Maker<'_>) -> Result<Self> {
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
