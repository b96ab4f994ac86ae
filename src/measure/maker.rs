//! Variants made by recipe: compressed here, judged in a worker, kept with a card.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::executor::Executor;
use super::host::WorkerCommand;
use super::run::timestamp;
use super::samples;
use crate::artifact::Library;
use crate::compress::{self, Compressed, Fate, Job, OnBreak, Validation, Warning};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::quality::{QualityFigure, TestSet};
use crate::variant::{
    Approval, BackendId, Budget, Card, CardFigure, CardStage, Recipe, SampleFacts, Stage,
    StageParameters, Tensors,
};
use crate::workload::{Calibration, Resolved, artifact_facts, carded_facts, hash_of_samples};

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
                let known = self.as_of_now(known, &path, recipe)?;
                return Ok(Made {
                    path: Some(path),
                    card: known,
                    was_there: true,
                    parent_quality: Vec::new(),
                });
            }
        }
        may_replace(&path, &card)?;
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
            on_break: self.budget.map(|_| on_break(self.on_break).to_owned()),
            stages: Vec::new(),
            warnings: Vec::new(),
            runtime: library.map_or_else(|| self.backend.to_string(), std::borrow::Cow::into_owned),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            recipes_version: compress::RECIPES_VERSION,
            made_at: timestamp(),
            approvals: Vec::new(),
        }
    }

    /// A card that was there, with what is to be said of the test set of today.
    fn as_of_now(&self, mut card: Card, path: &Path, recipe: &Recipe) -> Result<Card> {
        let is_of_data =
            |w: &String| samples::CODES.iter().any(|c| w.starts_with(&format!("{c}: ")));
        let mut warnings = texts(samples::warnings(self, recipe)?);
        warnings.extend(card.warnings.iter().filter(|w| !is_of_data(w)).cloned());
        if warnings != card.warnings {
            card.warnings = warnings;
            card.write(path)?;
        }
        Ok(card)
    }

    fn keep(
        &self,
        path: PathBuf,
        mut card: Card,
        compressed: Compressed,
        recipe: &Recipe,
    ) -> Result<Made> {
        let Compressed { graph, applied, stages, parent_quality } = compressed;
        let mut warnings = samples::warnings(self, recipe)?;
        warnings.extend(stages.iter().flat_map(|s| s.warnings.clone()));
        let before = Card::beside(&path).ok().flatten();
        let (before, other) = match before {
            Some(b) if b.parent_sha256 == card.parent_sha256 => (Some(b), None),
            other => (None, other),
        };
        if let Some(other) = other.filter(|_| path.is_file()) {
            let text = format!("a variant of another model lay here, sha256 {}", other.sha256);
            warnings.push(Warning::new("replaced", text));
        }
        card.warnings = texts(warnings);
        card.stages = stages.iter().map(card_stage).collect();
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
            return Ok(Made { path: None, card, was_there: false, parent_quality });
        }
        std::fs::create_dir_all(self.folder).map_err(|e| Error::io(self.folder, "create", &e))?;
        let fresh = path.with_extension("onnx.new");
        graph.write(&fresh)?;
        let facts = artifact_facts(&fresh)?;
        (card.sha256, card.size_bytes) = (facts.sha256, facts.size);
        if let Some(known) = before.as_ref().filter(|b| b.approval() == Approval::Approved)
            && known.sha256 != card.sha256
            && path.is_file()
        {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_file(&fresh);
            let message = "is approved, and what was made now has other bytes: other samples, another \
                           budget, runtime or version";
            return Err(Error::input(path.display(), message).remedy(
                "ask as before, reject it (`infermark variants reject`), or name another folder with --out",
            ));
        }
        std::fs::rename(&fresh, &path).map_err(|e| Error::io(&path, "write", &e))?;
        // Decisions speak of bytes: those on other bytes are kept, and hold for nothing.
        // Another model's are not this one's.
        card.approvals = before.map(|b| b.approvals).unwrap_or_default();
        card.write(&path)?;
        Ok(Made { path: Some(path), card, was_there: false, parent_quality })
    }
}

/// Whether the file may take the place of the one that is there: another model's goes, unless somebody
/// approved it.
fn may_replace(path: &Path, card: &Card) -> Result<()> {
    let Ok(Some(before)) = Card::beside(path) else { return Ok(()) };
    if before.parent_sha256 == card.parent_sha256 || before.approval() != Approval::Approved {
        return Ok(());
    }
    let message = format!(
        "is approved, and was made of another model, sha256 {}…",
        before.parent_sha256.get(..12).unwrap_or(&before.parent_sha256)
    );
    Err(Error::input(path.display(), message)
        .remedy("name another folder with --out, or move that file and its card away"))
}

fn on_break(what: OnBreak) -> &'static str {
    match what {
        OnBreak::Stop => "stop",
        OnBreak::BackOff => "back-off",
    }
}

fn texts(warnings: Vec<Warning>) -> Vec<String> {
    warnings.into_iter().map(|w| format!("{}: {}", w.code, w.text)).collect()
}

fn is_of_the_same(known: &Card, asked: &Card) -> bool {
    let samples = |facts: &Option<SampleFacts>| facts.as_ref().map(|f| f.sha256.clone());
    known.parent_sha256 == asked.parent_sha256
        && known.recipe == asked.recipe
        && (&known.budget, &known.on_break) == (&asked.budget, &asked.on_break)
        && known.runtime == asked.runtime
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
        sensitivities: report.sensitivities.iter().map(|s| (s.node.clone(), s.value)).collect(),
        quality: report.quality.iter().map(figure).collect(),
    }
}
