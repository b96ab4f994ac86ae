//! A labelled data set from the files inside pinned packages: the label is the extension.

use std::collections::{BTreeMap, HashSet};

use super::data_spec::FilesSpec;
use super::dataset::{About, Dataset};
use crate::artifact::{Cache, sha256_bytes};
use crate::error::{Error, Result};
use crate::quality::Truth;
use crate::variant::{Tensor, TensorData, Tensors};

/// Builds the set. Of each class at most `max_per_class` files are taken, those with the smallest SHA-256: a
/// choice that depends on nothing but the files. Files with equal content count once.
pub(super) fn build(spec: &FilesSpec, base: &std::path::Path, cache: &Cache) -> Result<Dataset> {
    let class_names = class_names(spec, base, cache)?;
    let by_extension = extensions(spec, &class_names)?;
    let mut found: BTreeMap<u32, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for package in &spec.packages {
        // What pip writes about a package is not one of its files.
        let wanted =
            |path: &str| !path.contains(".dist-info/") && class_of(path, &by_extension).is_some();
        for member in package.members(cache, wanted)? {
            let Some(class) = class_of(&member.path, &by_extension) else { continue };
            if member.bytes.len() < spec.min_bytes {
                continue;
            }
            let hash = sha256_bytes(&member.bytes);
            if seen.insert(hash.clone()) {
                found.entry(class).or_default().insert(hash, member.bytes);
            }
        }
    }
    found.retain(|_, files| files.len() >= spec.min_per_class.max(1));
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for (class, files) in &found {
        for bytes in files.values().take(spec.max_per_class) {
            values.extend(spec.encoding.encode(bytes));
            labels.push(*class);
        }
    }
    let shape = vec![labels.len(), spec.encoding.width()];
    let tensor = Tensor::new(shape, TensorData::I32(values))
        .ok_or_else(|| Error::internal("data.files", "encoded rows differ in width"))?;
    let arrays = Tensors(vec![(spec.encoding.input_name().to_owned(), tensor)]);
    let truth = Truth::Classes { labels, names: class_names };
    Dataset::new("data.files", &arrays, About::of(truth))
}

fn class_names(spec: &FilesSpec, base: &std::path::Path, cache: &Cache) -> Result<Vec<String>> {
    let source = &spec.classes.source;
    let file = source.fetch(base, cache, None)?;
    let text = std::fs::read(&file.path).map_err(|e| Error::io(&file.path, "read", &e))?;
    let json: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|e| Error::input(source, format!("is not JSON: {e}")))?;
    json.get(&spec.classes.key)
        .and_then(|list| serde_json::from_value(list.clone()).ok())
        .ok_or_else(|| {
            let message = format!("has no list of names under `{}`", spec.classes.key);
            Error::input(source, message).remedy("correct data.files.classes.key")
        })
}

/// Extension → class index.
fn extensions(spec: &FilesSpec, names: &[String]) -> Result<BTreeMap<String, u32>> {
    let mut by_extension = BTreeMap::new();
    for (class, extensions) in &spec.extensions {
        let index = names.iter().position(|n| n == class).ok_or_else(|| {
            Error::input(format!("data.files.extensions: `{class}`"), "the model has no such class")
                .remedy(format!(
                    "see the names under `{}` in {}",
                    spec.classes.key, spec.classes.source
                ))
        })?;
        for extension in extensions {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            if by_extension.insert(extension.to_ascii_lowercase(), index).is_some() {
                return Err(Error::input(
                    format!("data.files.extensions: `{extension}`"),
                    "belongs to two classes",
                )
                .remedy("name each extension once"));
            }
        }
    }
    Ok(by_extension)
}

fn class_of(path: &str, by_extension: &BTreeMap<String, u32>) -> Option<u32> {
    let name = path.rsplit('/').next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() { None } else { by_extension.get(&extension.to_ascii_lowercase()).copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_last_extension() {
        let by_extension = BTreeMap::from([("py".to_owned(), 3), ("gz".to_owned(), 4)]);
        assert_eq!(class_of("a/b.PY", &by_extension), Some(3));
        assert_eq!(class_of("a/b.tar.gz", &by_extension), Some(4));
        assert_eq!(class_of("a/.py", &by_extension), None);
        assert_eq!(class_of("a.py/readme", &by_extension), None);
    }
}
