//! A model's bytes: an ONNX file as it is, or the one that is made of an encoder's folder.

use std::path::{Path, PathBuf};

use crate::artifact::{Artifact, Cache, Source, sha256_bytes, sha256_file};
use crate::error::{Error, Result};
use crate::graph::{encoder_files, read_encoder};

/// Changes with whatever changes the ONNX file that is made of the same folder.
const CONVERSION: u32 = 1;

/// A model that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// The ONNX file.
    pub onnx: Artifact,
    /// The hash by which a workload pins it: the file's own, or that of the folder's files.
    pub pinned_by: String,
    /// The folder's files it was made of; empty for an ONNX file.
    pub made_of: Vec<String>,
}

/// Brings the model that `source` names, and checks it against `expected` (SHA-256) when given.
///
/// `source` is an ONNX file, the `config.json` of an encoder in the form of Hugging Face, or a folder
/// of the user's own that holds one. Relative paths start at `base`.
pub fn fetch_model(
    source: &Source,
    expected: Option<&str>,
    base: &Path,
    cache: &Cache,
) -> Result<ModelFile> {
    let config = match source {
        Source::Path(path) if base.join(path).is_dir() => Source::Path(path.join("config.json")),
        other => other.clone(),
    };
    if config.file_name() != "config.json" {
        let onnx = source.fetch(base, cache, expected)?;
        return Ok(ModelFile { pinned_by: onnx.sha256.clone(), onnx, made_of: Vec::new() });
    }
    let subject = match source {
        Source::Path(path) => path.display().to_string(),
        other => other.to_string(),
    };
    if let Source::Path(path) = &config
        && !base.join(path).is_file()
    {
        return Err(Error::input(&subject, "is a folder without a config.json, and no file").remedy(
            "name the `.onnx` inside it, or the folder of an encoder: config.json, model.safetensors",
        ));
    }
    let folder = |name: &str| -> Result<Option<PathBuf>> {
        Ok(config.beside(name).fetch_if_there(base, cache)?.map(|found| found.path))
    };
    let files = encoder_files(&subject, &folder)?;
    let mut list = String::new();
    for (name, path) in &files {
        list.push_str(&format!("{} {name}\n", sha256_file(path)?));
    }
    let pinned_by = sha256_bytes(list.as_bytes());
    if let Some(expected) = expected.filter(|e| !e.eq_ignore_ascii_case(&pinned_by)) {
        return Err(Error::input(
            &subject,
            format!("has sha256 {pinned_by} over its files, but {expected} was expected"),
        )
        .remedy("if the new files are wanted, pin their hash in the workload"));
    }
    let key = sha256_bytes(format!("{CONVERSION} {pinned_by}").as_bytes());
    let path = cache.path(&format!("made/{}/model.onnx", &key[..16]));
    if !path.is_file() {
        let graph = read_encoder(&subject, &folder)?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", &e))?;
        }
        graph.write(&path)?;
    }
    let onnx = Artifact { sha256: sha256_file(&path)?, path };
    let made_of = files.into_iter().map(|(name, _)| name).collect();
    Ok(ModelFile { onnx, pinned_by, made_of })
}
