//! From one fp32 graph to smaller ones: a recipe a file, judged stage by stage.
//!
//! Recipes rewrite graphs; they never run one. What they must see (the ranges of activations, how
//! near the answers still are) they ask of an [`Execute`] that they are given.

mod blocks;
mod calibrate;
mod channel;
mod dynamic;
mod fixed;
mod half;
mod integer;
mod judge;
mod left;
mod mixed;
mod prepare;
mod range;
mod rewrite;
mod target;
mod warning;
mod work;

pub use calibrate::{Execute, Purpose};
pub use judge::Validation;
pub use mixed::Sensitivity;
pub use warning::{Warning, overlap, unlike};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::judge::Judge;
use self::work::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::Graph;
use crate::quality::QualityFigure;
use crate::units::Bytes;
use crate::variant::{Budget, Recipe, Stage, Tensors};

/// Changes with whatever changes the bytes that a recipe makes of the same model and data.
pub const RECIPES_VERSION: u32 = 1;

/// What is to be made.
pub struct Job<'a> {
    /// The model.
    pub parent: &'a Graph,
    /// What is done to it, in order.
    pub stages: &'a [Stage],
    /// Samples that ranges follow from.
    pub calibration: &'a [Tensors],
    /// Samples that answers are judged on.
    pub validation: Validation<'a>,
    /// What must hold after every stage.
    pub budget: Option<Budget>,
    /// What happens when it does not.
    pub on_break: OnBreak,
}

/// What happens when a stage breaks the budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnBreak {
    /// The chain ends before it.
    #[default]
    Stop,
    /// The stage is left out, and the chain goes on.
    BackOff,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Its graph is what the next stage started from.
    Kept,
    /// It broke the budget and was left out.
    BackedOff,
    /// It broke the budget, and the chain ended before it.
    Stopped,
    /// The chain had ended.
    NotTried,
}

/// A stage, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Its name.
    pub stage: String,
    /// What became of it.
    pub fate: Fate,
    /// Size of the model after it, as one file.
    pub size: Option<Bytes>,
    /// Quality after it on the validation samples, differences to the model itself.
    pub quality: Vec<QualityFigure>,
    /// Nodes that it changed.
    pub changed: usize,
    /// Nodes that it left in float although it could have changed them, and why.
    pub kept: Vec<(String, String)>,
    /// For `mixed`: what each node costs, the worst first.
    pub sensitivities: Vec<Sensitivity>,
    /// What a user should look at.
    pub warnings: Vec<Warning>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Compressed {
    /// The graph after the last stage that was kept.
    pub graph: Graph,
    /// The stages that were kept.
    pub applied: Recipe,
    /// Every stage asked for.
    pub stages: Vec<StageReport>,
    /// The model's own quality on the validation samples.
    pub parent_quality: Vec<QualityFigure>,
}

/// Carries out a job, telling `told` what it is at.
///
/// An error where a stage matches nothing, meets a weight that is none, or is given a model that is
/// quantised; also where the first stage breaks the budget and nothing is left to keep.
pub fn compress(
    job: &Job<'_>,
    execute: &mut dyn Execute,
    told: &mut dyn FnMut(&str),
) -> Result<Compressed> {
    if job.stages.iter().any(Stage::needs_data) && job.calibration.is_empty() {
        return Err(Error::input("calibration", "has no samples")
            .remedy("give data: --data FILE.npz, or [calibration] in the workload"));
    }
    for (what, is_one) in [
        ("quantise", Stage::quantises as fn(&Stage) -> bool),
        ("make floats of 16 bits", |s| matches!(s, Stage::Half(_))),
    ] {
        let mut such = job.stages.iter().filter(|stage| is_one(stage));
        if let (Some(first), Some(second)) = (such.next(), such.next()) {
            let message = format!("both `{first}` and `{second}` {what}");
            return Err(Error::input(
                format!("recipe `{}`", Recipe::Stages(job.stages.to_vec())),
                message,
            )
            .remedy("of a chain let one stage do so"));
        }
    }
    let mut graph = prepare::prepared(job.parent)?;
    let parameters = float_parameters(&graph);
    if let Some(stage) = job.stages.iter().find(|s| s.quantises()) {
        prepare::not_quantised(&graph, stage)?;
    }
    let judge = Judge::new(job.parent, job.validation, execute)?;
    let parent_quality = judge.parent()?;
    let mut work = Work::new(job.calibration, told);
    let (mut applied, mut stages) = (Vec::new(), Vec::new());
    let mut ended = false;
    for stage in job.stages {
        if ended {
            stages.push(report(stage, Fate::NotTried));
            continue;
        }
        work.forget();
        work.say(&stage.to_string());
        let (made, mut report) = carry_out(&graph, stage, &mut work, &judge, execute)?;
        report
            .warnings
            .extend(report.size.and_then(|s| warning::size(&made, stage, s, parameters)));
        let holds = job.budget.map_or(Ok(true), |b| judge::holds(&report.quality, &b))?;
        if holds {
            graph = made;
            applied.push(stage.clone());
        } else if job.on_break == OnBreak::BackOff {
            report.fate = Fate::BackedOff;
        } else {
            report.fate = Fate::Stopped;
            ended = true;
        }
        stages.push(report);
    }
    Ok(Compressed { graph, applied: Recipe::Stages(applied), stages, parent_quality })
}

fn report(stage: &Stage, fate: Fate) -> StageReport {
    StageReport {
        stage: stage.to_string(),
        fate,
        size: None,
        quality: Vec::new(),
        changed: 0,
        kept: Vec::new(),
        sensitivities: Vec::new(),
        warnings: Vec::new(),
    }
}

fn carry_out(
    graph: &Graph,
    stage: &Stage,
    work: &mut Work<'_>,
    judge: &Judge<'_>,
    execute: &mut dyn Execute,
) -> Result<(Graph, StageReport)> {
    let mut report = report(stage, Fate::Kept);
    let (made, changed) = if let Stage::Mixed(mixed) = stage {
        let found = mixed::search(graph, mixed, work, judge, execute)?;
        let budget = format!("kept so that {} holds", mixed.budget);
        report.kept = found.keep.into_iter().map(|node| (node, budget.clone())).collect();
        report.sensitivities = found.sensitivities;
        (found.graph, found.changed)
    } else {
        work.apply(graph, stage, &BTreeSet::new(), execute)?
    };
    report.kept.append(&mut work.kept);
    report.changed = changed.len();
    report.size = Some(Bytes(made.to_model()?.encoded_len()));
    let figures = judge.figures(&made, execute).map_err(|e| not_run(stage, e))?;
    report.quality = figures.ok_or_else(|| no_number(stage))?;
    if let Some(calibrated) = work.calibrated() {
        report.warnings.extend(warning::small(work.calibration.len(), &calibrated.seen));
        let shares: BTreeMap<String, f64> =
            fixed::clipped(graph, &calibrated.ranges, judge.samples(), execute)?;
        report.warnings.extend(warning::clipped(&shares));
    }
    report.warnings.extend(warning::cliff(stage, &report.quality));
    Ok((made, report))
}

/// An engine that cannot run what a stage made is no defect of the file.
fn not_run(stage: &Stage, error: Error) -> Error {
    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Internal) {
        return error;
    }
    Error::input(format!("recipe `{stage}`"), format!("cannot be run here: {}", error.message()))
        .remedy("this engine lacks kernels for it; use another recipe")
}

/// A weight far from 1 leaves scales that no float holds: what comes of it is no model.
fn no_number(stage: &Stage) -> Error {
    Error::input(
        format!("recipe `{stage}`"),
        "makes a model that answers validation samples with NaN or infinity",
    )
    .remedy(
        "some weights are too large or too small for it; try `mixed-…`, which leaves them in float",
    )
}

/// Elements of all float weights.
fn float_parameters(graph: &Graph) -> u64 {
    let used: BTreeSet<_> = graph.nodes.iter().flat_map(crate::graph::Node::reads).collect();
    used.into_iter()
        .filter_map(|id| graph.constant(Some(id)))
        .filter(|weight| weight.dtype().is_float())
        .map(|weight| weight.len() as u64)
        .sum()
}
