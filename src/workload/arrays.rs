//! A labelled data set from JSON files that hold nothing but numbers, a file a class.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::data_spec::ArraysSpec;
use super::dataset::{About, Dataset};
use super::table::Split;
use crate::artifact::Cache;
use crate::error::{Error, Result};
use crate::quality::Truth;
use crate::variant::{Tensor, TensorData, Tensors};

/// Builds the part of the set that `split` names: samples of one class after the other, in the files'
/// order.
pub fn build_arrays(
    spec: &ArraysSpec,
    split: Split,
    base: &Path,
    cache: &Cache,
) -> Result<Dataset> {
    let width: usize = spec.shape.iter().product();
    let mut shape = vec![1];
    shape.extend(&spec.shape);
    let (mut samples, mut labels) = (Vec::new(), Vec::new());
    for (class, source) in (0_u32..).zip(&spec.sources) {
        let file = source.fetch(base, cache, None)?;
        let text = std::fs::read(&file.path).map_err(|e| Error::io(&file.path, "read", &e))?;
        let bad = |message: String| {
            Error::input(source, message)
                .remedy("give JSON with a list of numbers under data.arrays.key")
        };
        let mut json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| bad(format!("is not JSON: {e}")))?;
        let list = json.get_mut(&spec.key).map(serde_json::Value::take);
        let list = list.ok_or_else(|| bad(format!("has no list `{}`", spec.key)))?;
        let values: Vec<f32> = serde_json::from_value(list)
            .map_err(|e| bad(format!("`{}` holds more than numbers: {e}", spec.key)))?;
        if !values.len().is_multiple_of(width) {
            let message = format!("{} numbers are not a whole number of {width}", values.len());
            return Err(bad(message));
        }
        for row in values.chunks(width) {
            if spec
                .train_share
                .is_some_and(|share| is_training(row, share) != (split == Split::Train))
            {
                continue;
            }
            let tensor = Tensor::new(shape.clone(), TensorData::F32(row.to_vec()))
                .ok_or_else(|| Error::internal("data.arrays", "a row does not fit its shape"))?;
            samples.push(Tensors(vec![(spec.input.clone(), tensor)]));
            labels.push(class);
        }
    }
    let truth = Truth::Classes { labels, names: spec.classes.clone() };
    Dataset::of_samples("data.arrays", samples, About::of(truth))
}

/// Whether a sample is set aside for training: by a hash of its own values, so that equal ones are
/// always on the same side.
fn is_training(row: &[f32], share: f64) -> bool {
    let mut hasher = Sha256::new();
    for value in row {
        hasher.update(value.to_le_bytes());
    }
    let digest = hasher.finalize();
    let first = digest.iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    (first as f64) < share * 2.0_f64.powi(64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Source;

    #[test]
    fn a_file_a_class_and_a_split_that_leaves_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, from: u16| {
            let numbers: Vec<String> = (from..from + 40).map(|n| n.to_string()).collect();
            let text = format!("{{\"data\": [{}]}}", numbers.join(","));
            std::fs::write(folder.path().join(name), text).unwrap();
            Source::Path(name.into())
        };
        let mut spec = ArraysSpec {
            input: "x".into(),
            sources: vec![write("a.json", 0), write("b.json", 100)],
            key: "data".into(),
            shape: vec![1, 2],
            classes: vec!["a".into(), "b".into()],
            train_share: Some(0.5),
        };
        let cache = Cache::at(folder.path().join("cache"));
        let build = |spec: &ArraysSpec, split| build_arrays(spec, split, folder.path(), &cache);
        let (train, test) =
            (build(&spec, Split::Train).unwrap(), build(&spec, Split::Test).unwrap());
        assert_eq!(train.samples().len() + test.samples().len(), 40);
        assert!(train.samples().len() > 5 && test.samples().len() > 5);
        assert!(train.samples().iter().all(|sample| !test.samples().contains(sample)));
        assert_eq!(test.samples()[0].get("x").unwrap().shape(), [1, 1, 2]);
        spec.shape = vec![3];
        let error = build(&spec, Split::Test).unwrap_err().to_string();
        assert!(error.contains("40 numbers are not a whole number of 3"), "{error}");
        spec.key = "other".into();
        let error = build(&spec, Split::Test).unwrap_err().to_string();
        assert!(error.contains("a.json") && error.contains("no list `other`"), "{error}");
    }
}
