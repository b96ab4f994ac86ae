//! From a workload to bytes that are here: model, data set, and whether they fit each other.

use std::path::{Component, Path, PathBuf};

use super::file::{QualitySpec, VariantSpec, Workload};
use super::model::{ModelFile, fetch_model};
use super::resolve_data::{self, DataFacts};
use super::table::Split;
use crate::artifact::{Artifact, Cache, Source, sha256_bytes, sha256_file};
use crate::error::{Error, Result};
use crate::graph::{Dim, Outline, ValueSpec};
use crate::load::{Arrivals, Open, Scenario};
use crate::quality::{Head, Metric, Truth};
use crate::units::Bytes;
use crate::variant::{Card, Lineage, Recipe, Variant};

/// A workload whose bytes are here and fit each other.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The workload.
    pub workload: Workload,
    /// SHA-256 of the workload as TOML.
    pub workload_sha256: String,
    /// The folder that its relative paths start at.
    pub base: PathBuf,
    /// What the model says about itself.
    pub outline: Outline,
    /// The hash by which a workload pins the model.
    pub pinned_by: String,
    /// What is measured; the model itself first.
    pub variants: Vec<Variant>,
    /// What it is measured on.
    pub data: DataFacts,
    /// Recipes that are to be carried out on the model before anything is measured.
    pub to_make: Vec<VariantSpec>,
    /// What turns outputs into scores of classes.
    pub head: Option<Head>,
    /// What a user should know about how this came about.
    pub notes: Vec<String>,
}

impl Resolved {
    /// A scenario with its trace where it really lies.
    pub fn located(&self, scenario: &Scenario) -> Scenario {
        let mut scenario = scenario.clone();
        if let Scenario::Open(Open { arrivals: Arrivals::Trace { file }, .. }) = &mut scenario {
            let there = self.base.join(&*file);
            *file = there.canonicalize().unwrap_or(there);
        }
        scenario
    }

    /// Name of the variant that others are compared with.
    pub fn baseline(&self) -> &str {
        self.workload.baseline.as_ref().unwrap_or(&self.workload.model.variant)
    }

    /// Hash of what all cases of a run must share to stand in one table: model, data, windows,
    /// seed, bounds, queue, buckets, deployment, quality and engine options. Lists of cases, attempts and time-outs are not among it.
    pub fn conditions(&self) -> Result<String> {
        let load = &self.workload.load;
        let engine = &self.workload.backends;
        let variants: Vec<&str> = self.variants.iter().map(|v| v.sha256.as_str()).collect();
        let shared = (
            (&self.workload.name, variants, &self.data.sha256, &self.workload.quality),
            (&self.head, &self.workload.baseline),
            (load.duration_s, load.warmup_s, load.seed),
            (&load.slo, load.queue, &load.buckets, load.drain_s, &self.workload.deployment),
            (engine.optimization, engine.spinning, engine.autotune),
        );
        let text = serde_json::to_string(&shared).map_err(|e| Error::internal("workload", e))?;
        Ok(sha256_bytes(text.as_bytes()))
    }
}

/// Brings everything a workload names. Relative paths start at `base`.
///
/// Errors name the source, key or input that does not fit, before anything is measured.
pub fn resolve(workload: Workload, split: Split, base: &Path, cache: &Cache) -> Result<Resolved> {
    let spec = &workload.model;
    let ModelFile { onnx: model, pinned_by, made_of } =
        fetch_model(&spec.source, spec.sha256.as_deref(), base, cache)?;
    let outline = outline_of(&model.path)?;
    let subject = model.path.display().to_string();
    if outline.inputs.is_empty() {
        return Err(Error::input(subject, "takes no inputs")
            .remedy("a model without inputs always answers the same; nothing is there to serve"));
    }
    has_one_batch(&outline)?;
    if split == Split::Train && workload.data.train_share().is_none() {
        return Err(Error::input("train_share", "is not there: nothing is to train on")
            .remedy("set aside a share of the rows, e.g. train_share = 0.5"));
    }
    let mut notes = Vec::new();
    if !made_of.is_empty() {
        notes.push(format!("model made of {}", made_of.join(", ")));
    }
    let data =
        resolve_data::resolve(&workload, split, &outline, &model.sha256, base, cache, &mut notes)?;
    // Training needs no head: it is what comes of it.
    let head = match (&workload.quality, split) {
        (Some(quality), Split::Test) => judge(quality, &outline, &data, base, cache)?,
        _ => None,
    };
    let (sha256, size) = whole(&model, &outline)?;
    // A variant that is run by itself is held to its card as one in a workload is.
    let card = Card::beside(&model.path)?;
    if let Some(card) = &card {
        card.check(&model.path, &sha256)?;
    }
    let mut variants = vec![Variant {
        name: workload.model.variant.clone(),
        recipe: card.as_ref().map_or(Recipe::AsGiven, |card| card.applied.clone()),
        path: absolute(&model.path)?,
        sha256,
        size,
        weights: outline.weights,
        lineage: Lineage {
            made_by: if made_of.is_empty() {
                card.as_ref().map(|c| format!("infermark {} on {}", c.tool_version, c.runtime))
            } else {
                let of = made_of.join(", ");
                Some(format!("infermark {}, of {of}", env!("CARGO_PKG_VERSION")))
            },
            approval: card.as_ref().map(Card::approval),
            ..Lineage::default()
        },
    }];
    let mut to_make = Vec::new();
    if split == Split::Test {
        for spec in &workload.variants {
            match &spec.path {
                Some(path) => {
                    let model = (&outline, variants[0].sha256.as_str());
                    let made = external(spec, path, &workload, model, base, cache)?;
                    variants.push(made);
                }
                None => to_make.push(spec.clone()),
            }
        }
    }
    let workload_sha256 = sha256_bytes(workload.to_toml()?.as_bytes());
    let base = base.to_owned();
    let pinned_by = if made_of.is_empty() { variants[0].sha256.clone() } else { pinned_by };
    Ok(Resolved {
        workload,
        workload_sha256,
        base,
        outline,
        pinned_by,
        variants,
        data,
        to_make,
        head,
        notes,
    })
}

/// Whether what quality is judged by is there; its head, if it has one.
fn judge(
    quality: &QualitySpec,
    outline: &Outline,
    data: &DataFacts,
    base: &Path,
    cache: &Cache,
) -> Result<Option<Head>> {
    if let Some(output) = &quality.output
        && !outline.outputs.contains(output)
    {
        return Err(Error::input(
            format!("quality.output = `{output}`"),
            "the model has no such output",
        )
        .remedy(format!("its outputs: {}", outline.outputs.join(", "))));
    }
    let truth = &data.about.truth;
    if truth.is_nothing() && quality.scorer.is_none() && !quality.metric.is_against_parent() {
        return Err(Error::input("[quality]", "needs a labelled data set").remedy(
            "give labels with [data.table], [data.npz] or [data.files], or remove [quality]",
        ));
    }
    let allowed = truth.metrics();
    let is_ours = !matches!(quality.metric, Metric::Own(_)) && !quality.metric.is_against_parent();
    if is_ours && !allowed.contains(&quality.metric) {
        let names: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        return Err(Error::input(
            format!("quality.metric = `{}`", quality.metric),
            "cannot be measured with these data",
        )
        .remedy(format!("they allow {}", names.join(", "))));
    }
    let head = match &quality.head {
        None => None,
        Some(source) => {
            let file = source.fetch(base, cache, None)?;
            let text = std::fs::read_to_string(&file.path)
                .map_err(|e| Error::io(&file.path, "read the head", &e))?;
            Some(Head::parse(&source.to_string(), &text)?)
        }
    };
    if let (Truth::Classes { names, .. }, Some(head)) = (truth, &head)
        && !names.is_empty()
        && names.len() != head.classes()
    {
        let message =
            format!("scores {} classes, and the data name {}", head.classes(), names.len());
        return Err(Error::input("quality.head", message).remedy(
            "fit it again with `infermark fit-head`, or correct the names of the classes",
        ));
    }
    // What the signature tells is checked now and not after minutes of measuring.
    let output = quality.output.as_ref().or(outline.outputs.first());
    let width = output.and_then(|name| outline.output_widths.get(name)).copied();
    let width = head.as_ref().map(Head::classes).or(width);
    if let (Truth::Classes { labels, .. }, Some(width)) = (truth, width)
        && width > 1
        && let Some(at) = labels.iter().position(|label| *label as usize >= width)
    {
        let message = format!("is {}, but the model scores {width} classes", labels[at]);
        return Err(Error::input(format!("label of sample {at}"), message).remedy(
            "correct the label, or name the output that holds the scores (quality.output)",
        ));
    }
    Ok(head)
}

/// A file made elsewhere, which must take what the model takes.
fn external(
    spec: &VariantSpec,
    path: &Source,
    workload: &Workload,
    (model, parent): (&Outline, &str),
    base: &Path,
    cache: &Cache,
) -> Result<Variant> {
    let file = fetch_model(path, spec.sha256.as_deref(), base, cache)?.onnx;
    let outline = outline_of(&file.path)?;
    let signature = |outline: &Outline| {
        let mut inputs: Vec<_> =
            outline.inputs.iter().map(|i| (i.name.clone(), i.dtype, i.dims.len())).collect();
        inputs.sort_by(|a, b| a.0.cmp(&b.0));
        inputs
    };
    if signature(&outline) != signature(model) {
        let words = |outline: &Outline| {
            outline.inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        };
        return Err(Error::input(
            format!("variant `{}`", spec.name),
            format!("takes {}", words(&outline)),
        )
        .remedy(format!("a variant takes what its model takes: {}", words(model))));
    }
    let judged = workload.quality.as_ref().and_then(|q| q.output.as_ref());
    if let Some(output) = judged.filter(|output| !outline.outputs.contains(output)) {
        return Err(Error::input(
            format!("variant `{}`", spec.name),
            format!("has no output `{output}`"),
        )
        .remedy(format!("its outputs: {}", outline.outputs.join(", "))));
    }
    let (sha256, size) = whole(&file, &outline)?;
    let card = Card::beside(&file.path)?;
    if let Some(card) = &card {
        card.check(&file.path, &sha256)?;
        if card.parent_sha256 != parent {
            let message = format!(
                "was made of another model, by its card: sha256 {}, where this one has {parent}",
                card.parent_sha256
            );
            return Err(Error::input(format!("variant `{}`", spec.name), message)
                .remedy("make it of this model; or, if that is meant, move its card away"));
        }
    }
    let by_card = |card: &Card| format!("infermark {} on {}", card.tool_version, card.runtime);
    Ok(Variant {
        name: spec.called(),
        recipe: card.as_ref().map_or(Recipe::External, |card| card.applied.clone()),
        path: absolute(&file.path)?,
        sha256,
        size,
        weights: outline.weights,
        lineage: Lineage {
            parent: Some(workload.model.variant.clone()),
            made_by: spec.made_by.clone().or_else(|| card.as_ref().map(by_card)),
            upfront_cost_usd: spec.upfront_cost,
            approval: card.map(|card| card.approval()),
        },
    })
}

/// What a model says about itself. A file that cannot be read and is not the one of its card was
/// changed: that is what is wrong with it.
fn outline_of(path: &Path) -> Result<Outline> {
    let outline = Outline::read(path);
    if outline.is_err()
        && let Some(card) = Card::beside(path)?
    {
        card.check(path, &sha256_file(path)?)?;
    }
    outline
}

/// Hash and size of a model with the files beside it that hold its weights: of a model in one file
/// they are the file's own, otherwise the hash is that of all the files' hashes.
fn whole(model: &Artifact, outline: &Outline) -> Result<(String, Bytes)> {
    let size_of = |path: &Path| {
        std::fs::metadata(path).map(|m| m.len()).map_err(|e| Error::io(path, "read", &e))
    };
    let mut size = size_of(&model.path)?;
    let mut hashes = model.sha256.clone();
    for name in &outline.external_files {
        let beside = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
        if !beside {
            return Err(Error::input(model.path.display(), format!("keeps weights in `{name}`"))
                .remedy("weights must lie in the model's own folder; export it again"));
        }
        let path = model.path.with_file_name(name);
        if !path.is_file() {
            return Err(Error::input(path.display(), "is missing; the model keeps weights in it")
                .remedy("put it beside the model, where it was exported"));
        }
        hashes.push_str(&sha256_file(&path)?);
        size += size_of(&path)?;
    }
    let sha256 =
        if outline.external_files.is_empty() { hashes } else { sha256_bytes(hashes.as_bytes()) };
    Ok((sha256, Bytes(size)))
}

/// What a model's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFacts {
    /// SHA-256 of the file, or of all files' hashes where weights lie beside it.
    pub sha256: String,
    /// Size of all of them.
    pub size: Bytes,
    /// What the model says about itself.
    pub outline: Outline,
}

/// As [`artifact_facts`], of a file that must be the one that its card speaks of.
pub fn carded_facts(path: &Path, card: &Card) -> Result<ArtifactFacts> {
    let facts = artifact_facts(path)?;
    card.check(path, &facts.sha256)?;
    Ok(facts)
}

/// Hash, size and outline of the ONNX file at `path` with the files beside it that hold its weights.
pub fn artifact_facts(path: &Path) -> Result<ArtifactFacts> {
    let outline = outline_of(path)?;
    let artifact = Artifact { path: path.to_owned(), sha256: sha256_file(path)? };
    let (sha256, size) = whole(&artifact, &outline)?;
    Ok(ArtifactFacts { sha256, size, outline })
}

/// Workers start in the same folder, but records must not depend on it.
fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|e| Error::io(path, "find", &e))
}

/// Whether the first axis of every input is the batch: all of them free, or all of one size.
fn has_one_batch(outline: &Outline) -> Result<()> {
    let fixed = |input: &ValueSpec| matches!(input.dims.first(), Some(Dim::Fixed(_)));
    let mut firsts = outline.inputs.iter().map(|i| (i.dims.first().filter(|_| fixed(i)), i));
    if let Some((first, one)) = firsts.next()
        && let Some((_, other)) = firsts.find(|(f, _)| *f != first)
    {
        return Err(Error::input(
            "the model",
            format!("mixes batches: it takes {one} and {other}"),
        )
        .remedy("every input needs the batch as its first axis; export the model that way"));
    }
    if let Some(input) = outline.inputs.iter().find(|i| i.dims.is_empty()) {
        return Err(Error::input(format!("input `{}`", input.name), "has no batch axis")
            .remedy("every input needs the batch as its first axis; export the model that way"));
    }
    Ok(())
}
