//! From `[data]` to a stored data set that fits the model.

use std::path::{Path, PathBuf};

use super::arrays::build_arrays;
use super::data_spec::DataSpec;
use super::dataset::{About, Dataset};
use super::file::Workload;
use super::table::{self, Split};
use super::{files_data, generate};
use crate::artifact::{Cache, sha256_bytes};
use crate::error::{Error, Result};
use crate::graph::{Dim, Outline};
use crate::quality::Truth;
use crate::variant::Tensors;

/// A data set that is here.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFacts {
    /// The stored set, as workers read it.
    pub path: PathBuf,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Number of samples.
    pub samples: u32,
    /// What is right for each sample, and its segment.
    pub about: About,
    /// Whether the values are generated rather than real.
    pub generated: bool,
}

/// The data set: from the cache when it was built before, else built and stored there.
pub(super) fn resolve(
    workload: &Workload,
    split: Split,
    outline: &Outline,
    model_sha256: &str,
    base: &Path,
    cache: &Cache,
    notes: &mut Vec<String>,
) -> Result<DataFacts> {
    let spec = &workload.data;
    let generated = spec.generated.is_some();
    let sources = hashes_of_sources(spec, base, cache)?;
    if let Some(generated) = &spec.generated {
        for (name, size) in generate::bind(outline, &generated.dims)? {
            let by = if generated.dims.contains_key(&name) { "as asked" } else { "by default" };
            notes.push(format!(
                "dimension `{name}` is {size} in generated inputs, {by} (--dim {name}=N sets it)"
            ));
        }
    }
    // What a set is built from names the stored copy, notes included; a change makes a new one.
    let recipe = serde_json::to_string(spec).map_err(|e| Error::internal("data", e))?;
    let key = sha256_bytes(format!("2 {recipe} {sources} {model_sha256} {split:?}").as_bytes());
    let relative = format!("data/{}-{}.npz", workload.name, &key[..16]);
    let path = cache.path(&relative);
    let dataset = if path.is_file() {
        Dataset::read(&path).map_err(|e| {
            Error::environment(path.display(), format!("the cached data set is broken: {e}"))
                .remedy("remove it and run again; it will be built anew")
        })?
    } else {
        let dataset = match spec {
            DataSpec { files: Some(files), .. } => files_data::build(files, base, cache)?,
            DataSpec { npz: Some(npz), .. } => {
                let file = npz.source.fetch(base, cache, None)?;
                let mut set = Dataset::read_npz(&file.path, npz)?;
                let wanted = outline.inputs.iter().map(|i| (i.name.clone(), i.dtype));
                set.cast(&wanted.collect());
                set
            }
            DataSpec { arrays: Some(spec), .. } => build_arrays(spec, split, base, cache)?,
            DataSpec { table: Some(spec), .. } => table::build(spec, split, outline, base, cache)?,
            DataSpec { generated: Some(spec), .. } => generate::generate(outline, spec)?,
            _ => return Err(Error::internal("data", "no kind of data set was given")),
        };
        cache.store(&relative, &dataset.to_npz()?)?;
        dataset
    };
    fits(outline, &dataset)?;
    let sha256 = dataset.sha256();
    if let Some(expected) = &spec.sha256
        && split == Split::Test
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
    let about = dataset.about().clone();
    notes.extend(about.notes.iter().cloned());
    let what = about.truth.words(dataset.samples().len());
    notes.push(match (&about.truth, generated) {
        (Truth::Nothing, true) => {
            format!("data: {samples} generated samples; quality cannot be measured")
        }
        _ => format!("data: {what}"),
    });
    let path = path.canonicalize().map_err(|e| Error::io(&path, "find", &e))?;
    Ok(DataFacts { path, sha256, samples, about, generated })
}

/// The hashes of the files that a set is built from, where they are not pinned by version.
fn hashes_of_sources(spec: &DataSpec, base: &Path, cache: &Cache) -> Result<String> {
    let mut sources = Vec::new();
    if let Some(npz) = &spec.npz {
        sources.push(&npz.source);
    }
    if let Some(table) = &spec.table {
        sources.extend(table.sources.iter().map(|s| &s.source));
        sources.extend(table.tokenizer.iter().map(|t| &t.source));
    }
    if let Some(arrays) = &spec.arrays {
        sources.extend(&arrays.sources);
    }
    let hashes: Result<Vec<String>> =
        sources.iter().map(|source| Ok(source.fetch(base, cache, None)?.sha256)).collect();
    Ok(hashes?.join(" "))
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
