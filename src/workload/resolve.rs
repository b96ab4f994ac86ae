//! From a workload to bytes that are here: model, data set, and whether they fit each other.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::dataset::Dataset;
use super::file::Workload;
use super::{files_data, generate};
use crate::artifact::{Artifact, Cache, sha256_bytes, sha256_file};
use crate::error::{Error, Result};
use crate::graph::{Dim, Outline, ValueSpec};
use crate::units::Bytes;
use crate::variant::{Recipe, Tensors, Variant};

/// A workload whose bytes are here and fit each other.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The workload.
    pub workload: Workload,
    /// SHA-256 of the workload as TOML.
    pub workload_sha256: String,
    /// What the model says about itself.
    pub outline: Outline,
    /// What is measured.
    pub variants: Vec<Variant>,
    /// What it is measured on.
    pub data: DataFacts,
    /// What a user should know about how this came about.
    pub notes: Vec<String>,
}

impl Resolved {
    /// Hash of what all cases of a run must share to stand in one table: model, data, windows,
    /// seed, quality and engine options. Lists of cases, attempts and time-outs are not among it.
    pub fn conditions(&self) -> Result<String> {
        let load = &self.workload.load;
        let engine = &self.workload.backends;
        let variants: Vec<&str> = self.variants.iter().map(|v| v.sha256.as_str()).collect();
        let shared = (
            (&self.workload.name, variants, &self.data.sha256, &self.workload.quality),
            (load.duration_s, load.warmup_s, load.seed),
            (engine.optimization, engine.spinning),
        );
        let text = serde_json::to_string(&shared).map_err(|e| Error::internal("workload", e))?;
        Ok(sha256_bytes(text.as_bytes()))
    }
}

/// A data set that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFacts {
    /// The stored set, as workers read it.
    pub path: PathBuf,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Number of samples.
    pub samples: u32,
    /// One class index a sample, where the set is labelled.
    pub labels: Option<Vec<u32>>,
    /// Whether the values are generated rather than real.
    pub generated: bool,
}

/// Brings everything a workload names. Relative paths start at `base`.
///
/// Errors name the source, key or input that does not fit, before anything is measured.
pub fn resolve(workload: Workload, base: &Path, cache: &Cache) -> Result<Resolved> {
    let spec = &workload.model;
    let model = spec.source.fetch(base, cache, spec.sha256.as_deref())?;
    let outline = Outline::read(&model.path)?;
    let subject = model.path.display().to_string();
    if outline.inputs.is_empty() {
        return Err(Error::input(subject, "takes no inputs")
            .remedy("a model without inputs always answers the same; nothing is there to serve"));
    }
    has_one_batch(&outline)?;
    let mut notes = Vec::new();
    let (data, dataset) = data(&workload, &outline, &model.sha256, base, cache, &mut notes)?;
    fits(&outline, &dataset)?;
    if let Some(output) = workload.quality.as_ref().and_then(|q| q.output.as_ref())
        && !outline.outputs.contains(output)
    {
        return Err(Error::input(
            format!("quality.output = `{output}`"),
            "the model has no such output",
        )
        .remedy(format!("its outputs: {}", outline.outputs.join(", "))));
    }
    if workload.quality.is_some() && data.labels.is_none() {
        return Err(Error::input("[quality]", "needs a labelled data set")
            .remedy("give labels with [data.npz] or [data.files], or remove [quality]"));
    }
    let (sha256, size) = whole(&model, &outline)?;
    let variant = Variant {
        name: workload.model.variant.clone(),
        recipe: Recipe::AsGiven,
        path: absolute(&model.path)?,
        sha256,
        size,
    };
    let workload_sha256 = sha256_bytes(workload.to_toml()?.as_bytes());
    Ok(Resolved { workload, workload_sha256, outline, variants: vec![variant], data, notes })
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

/// The data set: from the cache when it was built before, else built and stored there.
fn data(
    workload: &Workload,
    outline: &Outline,
    model_sha256: &str,
    base: &Path,
    cache: &Cache,
    notes: &mut Vec<String>,
) -> Result<(DataFacts, Dataset)> {
    let spec = &workload.data;
    let generated = spec.generated.is_some();
    let mut source_hash = String::new();
    if let Some(npz) = &spec.npz {
        source_hash = npz.source.fetch(base, cache, None)?.sha256;
    } else if let Some(generated) = &spec.generated {
        model_sha256.clone_into(&mut source_hash);
        for (name, size) in generate::bind(outline, &generated.dims)? {
            let by = if generated.dims.contains_key(&name) { "as asked" } else { "by default" };
            notes.push(format!(
                "dimension `{name}` is {size} in generated inputs, {by} (--dim {name}=N sets it)"
            ));
        }
    }
    // The recipe of the set names the stored copy; a change of either makes a new one.
    let recipe = serde_json::to_string(spec).map_err(|e| Error::internal("data", e))?;
    let key = sha256_bytes(format!("1 {recipe} {source_hash}").as_bytes());
    let relative = format!("data/{}-{}.npz", workload.name, &key[..16]);
    let path = cache.path(&relative);
    let dataset = if path.is_file() {
        Dataset::read(&path).map_err(|e| {
            Error::environment(path.display(), format!("the cached data set is broken: {e}"))
                .remedy("remove it and run again; it will be built anew")
        })?
    } else {
        let dataset = match (&spec.files, &spec.npz, &spec.generated) {
            (Some(files), _, _) => files_data::build(files, base, cache)?,
            (_, Some(npz), _) => {
                let file = npz.source.fetch(base, cache, None)?;
                Dataset::read_npz(&file.path, npz.labels.as_deref())?
            }
            (_, _, Some(generated)) => generate::generate(outline, generated)?,
            _ => return Err(Error::internal("data", "no kind of data set was given")),
        };
        if let Some(name) = spec.npz.as_ref().and_then(|npz| npz.labels.as_ref())
            && dataset.labels().is_none()
        {
            return Err(Error::input(
                format!("data.npz.labels = `{name}`"),
                "the file has no such array",
            )
            .remedy("name the array of class indices, or remove the key"));
        }
        cache.store(&relative, &dataset.to_npz()?)?;
        dataset
    };
    let sha256 = dataset.sha256();
    if let Some(expected) = &spec.sha256
        && !expected.eq_ignore_ascii_case(&sha256)
    {
        return Err(Error::input(
            "data.sha256",
            format!("the data set has content hash {sha256}, but {expected} was expected"),
        )
        .remedy("its sources changed: check them, then pin the new hash in the workload"));
    }
    let samples = u32::try_from(dataset.samples().len())
        .map_err(|_| Error::input("data", "has more than 4 billion samples").remedy("sample it"))?;
    let labels = dataset.labels().map(<[u32]>::to_vec);
    if let Some(labels) = &labels {
        let classes = labels.iter().collect::<BTreeSet<_>>().len();
        notes.push(format!("data: {samples} labelled samples of {classes} classes"));
    } else if generated {
        notes.push(format!("data: {samples} generated samples; quality cannot be measured"));
    }
    let path = absolute(&path)?;
    Ok((DataFacts { path, sha256, samples, labels, generated }, dataset))
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

/// Whether the samples can be fed to the model: names, element types, fixed axes.
fn fits(outline: &Outline, dataset: &Dataset) -> Result<()> {
    let wanted: Vec<String> = outline.inputs.iter().map(ToString::to_string).collect();
    let wanted = format!("the model takes {}", wanted.join(" and "));
    let empty = Tensors::default();
    let sample = dataset.samples().first().unwrap_or(&empty);
    for input in &outline.inputs {
        let subject = format!("data for input `{}`", input.name);
        let Some(tensor) = sample.get(&input.name) else {
            return Err(Error::input(subject, "is missing").remedy(wanted));
        };
        if tensor.dtype() != input.dtype {
            let message = format!("has element type {}", tensor.dtype());
            return Err(Error::input(subject, message).remedy(wanted));
        }
        let same_rank = tensor.shape().len() == input.dims.len();
        let mut axes = tensor.shape().iter().zip(&input.dims).skip(1);
        let wrong_axis = axes.any(|(size, dim)| matches!(dim, Dim::Fixed(fixed) if fixed != size));
        if !same_rank || wrong_axis {
            let message =
                format!("has shape {:?} a sample (the first axis is the batch)", tensor.shape());
            return Err(Error::input(subject, message).remedy(wanted));
        }
    }
    match sample.0.iter().find(|(name, _)| !outline.inputs.iter().any(|i| i.name == *name)) {
        Some((name, _)) => {
            Err(Error::input(format!("data array `{name}`"), "is not an input").remedy(wanted))
        }
        None => Ok(()),
    }
}
