//! The tensors of a folder's safetensors files, as slices of the mapped files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::Deserialize;

use super::Folder;
use crate::error::{Error, Result};
use crate::graph::mapped::mapped;
use crate::graph::{Numbers, Weight};
use crate::variant::{DType, from_safetensors};

/// All tensors by name.
pub(super) struct Weights {
    subject: String,
    tensors: HashMap<String, Weight>,
}

/// `model.safetensors.index.json` of a model in several files.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Weights {
    pub(super) fn read(subject: &str, folder: &Folder<'_>) -> Result<Self> {
        let mut tensors = HashMap::new();
        for path in Self::files(subject, folder)? {
            add(&path, &mut tensors)?;
        }
        Ok(Self { subject: subject.to_owned(), tensors })
    }

    /// The files that hold the tensors.
    pub(super) fn files(subject: &str, folder: &Folder<'_>) -> Result<Vec<PathBuf>> {
        if let Some(path) = folder("model.safetensors")? {
            return Ok(vec![path]);
        }
        let Some(path) = folder("model.safetensors.index.json")? else {
            return Err(Error::input(subject, "holds no model.safetensors").remedy(
                "weights in other formats (pytorch_model.bin) must be saved as safetensors first",
            ));
        };
        let text =
            std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read the index", &e))?;
        let index: Index = serde_json::from_str(&text).map_err(|e| {
            Error::input(path.display(), format!("is no index of tensors: {e}"))
                .remedy("fetch it again")
        })?;
        let mut files: Vec<&String> = index.weight_map.values().collect();
        files.sort();
        files.dedup();
        files
            .into_iter()
            .map(|file| {
                folder(file)?.ok_or_else(|| {
                    Error::input(subject, format!("`{file}`, which its index names, is missing"))
                        .remedy("fetch the whole folder")
                })
            })
            .collect()
    }

    /// The tensor `name`, which must be of `shape`, as f32.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Weight> {
        let weight = self.find(name)?;
        if weight.shape() != shape {
            return Err(Error::input(
                format!("{}: tensor `{name}`", self.subject),
                format!("is {:?}, and config.json makes it {shape:?}", weight.shape()),
            )
            .remedy("give weights and config.json that belong together"));
        }
        Ok(weight)
    }

    /// The tensor `name` as f32: halves are widened.
    pub(super) fn find(&self, name: &str) -> Result<Weight> {
        let missing = || {
            Error::input(&self.subject, format!("tensor `{name}` is missing"))
                .remedy("give weights and config.json that belong together")
        };
        let weight = self.tensors.get(name).ok_or_else(missing)?;
        if weight.dtype() == DType::F32 {
            return Ok(weight.clone());
        }
        if !weight.dtype().is_float() {
            return Err(Error::input(
                format!("{}: tensor `{name}`", self.subject),
                format!("is of type {}", weight.dtype()),
            )
            .remedy("give weights in f32, f16 or bf16"));
        }
        let wide = Numbers::Floats(weight.to_f64());
        Weight::from_numbers(DType::F32, weight.shape().to_vec(), &wide).ok_or_else(missing)
    }

    /// Whether there is a tensor whose name begins so.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(prefix))
    }

    /// Whether there is a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}

/// The tensors of one file; those of types that nothing here can hold are left out, and missed when
/// they are asked for.
fn add(path: &Path, into: &mut HashMap<String, Weight>) -> Result<()> {
    let bytes = mapped(path)?;
    let bad = |what: &dyn std::fmt::Display| {
        Error::input(path.display(), format!("holds no tensors: {what}"))
            .remedy("the file is damaged or cut short; fetch it again")
    };
    let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(&e))?;
    let start = 8 + header;
    for (name, info) in metadata.tensors() {
        let Some(dtype) = from_safetensors(info.dtype) else { continue };
        let (from, to) = info.data_offsets;
        let range = start.checked_add(from).zip(start.checked_add(to));
        let range = range.filter(|(from, to)| from <= to && *to <= bytes.len());
        let (from, to) = range.ok_or_else(|| bad(&format!("`{name}` lies beyond its end")))?;
        let weight = Weight::new(dtype, info.shape.clone(), bytes.slice(from..to));
        let weight = weight.ok_or_else(|| bad(&format!("`{name}` does not fit its shape")))?;
        into.insert(name, weight);
    }
    Ok(())
}
