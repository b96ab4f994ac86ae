//! A data set: samples that a model can be given, with labels where there are any.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::data_spec::NpzSpec;
use super::npz::{arrays, class_indices, npy, token_rows};
use super::table::typed;

use crate::error::{Error, Result};
use crate::quality::Truth;
use crate::variant::{DType, Tensor, Tensors};

/// Name of the entry of a stored data set that holds what is not a tensor.
pub(super) const ABOUT: &str = "infermark.json";

/// Samples, each a set of input tensors with a batch axis of 1, and what is right for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    samples: Vec<Tensors>,
    about: About,
    is_ragged: bool,
}

/// What a data set holds besides tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What is right for each sample.
    pub truth: Truth,
    /// The segment of each sample.
    pub segments: Option<Vec<String>>,
    /// What inputs are padded with, by name, where samples differ in length.
    pub padding: BTreeMap<String, i64>,
    /// What a user should know about how it was built.
    pub notes: Vec<String>,
    /// Length of each sample along the second axis, where they differ; set when it is stored.
    lengths: Option<Vec<usize>>,
}

impl About {
    /// What is right for each sample, and no more.
    pub fn of(truth: Truth) -> Self {
        Self { truth, ..Self::default() }
    }
}

impl Dataset {
    /// From arrays that hold all samples on axis 0.
    ///
    /// An error names the array whose number of samples differs.
    pub fn new(subject: &str, arrays: &Tensors, about: About) -> Result<Self> {
        let remedy = "every array needs the samples on axis 0, as many as the others";
        let count = |tensor: &Tensor| tensor.shape().first().copied().unwrap_or(0);
        let samples = arrays.0.first().map_or(0, |(_, tensor)| count(tensor));
        if let Some((name, tensor)) = arrays.0.iter().find(|(_, t)| count(t) != samples) {
            let message =
                format!("array `{name}` has {} samples, the first {samples}", count(tensor));
            return Err(Error::input(subject, message).remedy(remedy));
        }
        let samples = (0..samples)
            .map(|i| {
                let rows = arrays.0.iter().filter_map(|(n, t)| Some((n.clone(), t.row(i)?)));
                Tensors(rows.collect())
            })
            .collect();
        Self::of_samples(subject, samples, about)
    }

    /// From samples, which may differ in length along the second axis of inputs with two axes.
    ///
    /// An error says what is there too often or not often enough.
    pub fn of_samples(subject: &str, samples: Vec<Tensors>, mut about: About) -> Result<Self> {
        if samples.is_empty() {
            return Err(Error::input(subject, "holds no samples").remedy(
                "check that it is the right file; nothing can be measured without inputs",
            ));
        }
        let n = samples.len();
        let right = match &about.truth {
            Truth::Nothing => n,
            Truth::Classes { labels, .. } => labels.len(),
            Truth::Scores(scores) => scores.len(),
            Truth::Pairs(scores) => 2 * scores.len(),
            Truth::Relevant(lists) => lists.len(),
            Truth::Tokens(labels) => labels.len(),
        };
        let segments = about.segments.as_ref().map_or(n, Vec::len);
        for (what, count) in [("labels", right), ("segments", segments)] {
            if count != n {
                return Err(Error::input(subject, format!("has {count} {what} for {n} samples"))
                    .remedy("give one for each sample, on axis 0"));
            }
        }
        let shapes = |sample: &Tensors| -> Vec<Vec<usize>> {
            sample.0.iter().map(|(_, tensor)| tensor.shape().to_vec()).collect()
        };
        let first = shapes(&samples[0]);
        let is_ragged = samples.iter().any(|sample| shapes(sample) != first);
        about.lengths = None;
        Ok(Self { samples, about, is_ragged })
    }

    /// Inputs in the types that `wanted` gives by name, where that loses nothing: NumPy's defaults
    /// are seldom a model's.
    pub fn cast(&mut self, wanted: &BTreeMap<String, DType>) {
        for sample in &mut self.samples {
            for (name, tensor) in &mut sample.0 {
                let Some(dtype) = wanted.get(name).filter(|d| **d != tensor.dtype()) else {
                    continue;
                };
                // Whole numbers become whole numbers or floats; floats only floats.
                if !tensor.dtype().is_integer() && dtype.is_integer() {
                    continue;
                }
                let cast = tensor.to_f64().and_then(|values| typed(&values, *dtype));
                if let Some(cast) = cast.and_then(|data| Tensor::new(tensor.shape().to_vec(), data))
                {
                    *tensor = cast;
                }
            }
        }
    }

    /// The samples.
    pub fn samples(&self) -> &[Tensors] {
        &self.samples
    }

    /// What it holds besides them.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether samples differ in length: their batches are padded.
    pub fn is_ragged(&self) -> bool {
        self.is_ragged
    }

    /// SHA-256 of the content: names, element types, shapes and little-endian values in order,
    /// then what is right and the segments. The same samples have the same hash in whatever file
    /// they come.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for sample in &self.samples {
            sample.feed(&mut hasher);
        }
        match &self.about.truth {
            Truth::Nothing => {}
            Truth::Classes { labels, .. } => {
                for label in labels {
                    hasher.update(label.to_le_bytes());
                }
            }
            // Numbers are written in one way only.
            other => hasher.update(format!("{other:?}")),
        }
        for segment in self.about.segments.iter().flatten() {
            hasher.update(format!("{segment}\n"));
        }
        crate::units::hex(&hasher.finalize())
    }

    /// Stores the set as an uncompressed `.npz`, one array an input.
    pub fn to_npz(&self) -> Result<Vec<u8>> {
        let fail = |e: &dyn std::fmt::Display| Error::internal("data set", e);
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        let mut all = Tensors::default();
        let mut about = self.about.clone();
        if self.is_ragged {
            let lengths = self.samples.iter().map(|s| *s.0[0].1.shape().get(1).unwrap_or(&0));
            about.lengths = Some(lengths.collect());
            let padded = all.assemble_padded(&self.samples.iter(), &self.about.padding, &[]);
            if padded.is_none() {
                return Err(Error::input("data set", "samples differ in more than their length")
                    .remedy("give all samples the same inputs, of the same types"));
            }
        } else if !all.assemble(self.samples.iter()) {
            return Err(Error::input("data set", "samples differ in name, type or shape")
                .remedy("give all samples the same inputs, of the same types"));
        }
        for (name, tensor) in &all.0 {
            zip.start_file(format!("{name}.npy"), stored).map_err(|e| fail(&e))?;
            zip.write_all(&npy(tensor)?).map_err(|e| fail(&e))?;
        }
        let about = serde_json::to_vec(&about).map_err(|e| fail(&e))?;
        zip.start_file(ABOUT, stored).map_err(|e| fail(&e))?;
        zip.write_all(&about).map_err(|e| fail(&e))?;
        zip.finish().map(std::io::Cursor::into_inner).map_err(|e| fail(&e))
    }

    /// Reads a set that [`Self::to_npz`] stored.
    pub fn read(path: &Path) -> Result<Self> {
        let (arrays, about) = arrays(path)?;
        let subject = path.display().to_string();
        let bad = |why: String| {
            Error::input(&subject, format!("is no stored data set{why}"))
                .remedy("`infermark cache clean data` removes it, and it is built anew")
        };
        let about = about.ok_or_else(|| bad(String::new()))?;
        let about: About = serde_json::from_slice(&about).map_err(|e| bad(format!(": {e}")))?;
        let lengths = about.lengths.clone();
        let mut set = Self::new(&subject, &arrays, about)?;
        if let Some(lengths) = lengths {
            for (sample, length) in set.samples.iter_mut().zip(lengths) {
                sample.0.iter_mut().for_each(|(_, tensor)| tensor.truncate(length));
            }
            set.is_ragged = true;
        }
        Ok(set)
    }

    /// Reads a user's `.npz`: arrays that are named in `spec` hold what is right, the others are
    /// inputs.
    pub fn read_npz(path: &Path, spec: &NpzSpec) -> Result<Self> {
        let subject = path.display().to_string();
        let (mut arrays, _) = arrays(path)?;
        let mut take = |key: &str, name: &Option<String>| -> Result<Option<Tensor>> {
            let Some(name) = name else { return Ok(None) };
            match arrays.0.iter().position(|(n, _)| n == name) {
                Some(at) => Ok(Some(arrays.0.remove(at).1)),
                None => Err(Error::input(
                    format!("data.npz.{key} = `{name}`"),
                    "the file has no such array",
                )
                .remedy("name an array of the file, or remove the key")),
            }
        };
        let labels = take("labels", &spec.labels)?;
        let scores = take("scores", &spec.scores)?;
        let segments = take("segments", &spec.segments)?;
        let bad = |name: &Option<String>, what: &str| {
            let name = name.as_deref().unwrap_or_default();
            Error::input(&subject, format!("array `{name}` must hold {what}"))
                .remedy("give integers of 0 or above, or −100 where a token has no label")
        };
        let truth = match (labels, scores) {
            (Some(_), Some(_)) => {
                return Err(Error::input("data.npz", "has both labels and scores")
                    .remedy("keep the one that the model is judged by"));
            }
            (Some(labels), None) if labels.shape().len() == 2 => {
                Truth::Tokens(token_rows(&labels).ok_or_else(|| bad(&spec.labels, "tokens"))?)
            }
            (Some(labels), None) => {
                let labels = class_indices(labels.data())
                    .ok_or_else(|| bad(&spec.labels, "class indices, 0 or above"))?;
                check_classes(&subject, &labels, &spec.classes)?;
                Truth::Classes { labels, names: spec.classes.clone() }
            }
            (None, Some(scores)) => {
                let scores = scores.to_f64().filter(|all| all.iter().all(|s| s.is_finite()));
                Truth::Scores(scores.ok_or_else(|| {
                    Error::input(&subject, "the array of scores must hold finite numbers")
                        .remedy("leave samples without a score out")
                })?)
            }
            (None, None) => Truth::Nothing,
        };
        let segments = match segments {
            Some(segments) => Some(
                class_indices(segments.data())
                    .ok_or_else(|| bad(&spec.segments, "indices of segments, 0 or above"))?
                    .into_iter()
                    .map(|s| s.to_string())
                    .collect(),
            ),
            None => None,
        };
        Self::new(&subject, &arrays, About { segments, ..About::of(truth) })
    }
}

/// Whether every label is one of the named classes, where they are named.
pub(super) fn check_classes(subject: &str, labels: &[u32], classes: &[String]) -> Result<()> {
    let outside = labels.iter().position(|label| *label as usize >= classes.len());
    match outside.filter(|_| !classes.is_empty()) {
        Some(at) => Err(Error::input(
            format!("{subject}: sample {at}"),
            format!("has label {}, but there are {} classes", labels[at], classes.len()),
        )
        .remedy("correct the label, or name all classes in the order of the model's scores")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::TensorData;

    fn small() -> Dataset {
        let x = Tensor::new(vec![3, 2], TensorData::F32(vec![1., 2., 3., 4., 5., 6.])).unwrap();
        let m = Tensor::new(vec![3, 1], TensorData::I64(vec![7, 8, 9])).unwrap();
        let arrays = Tensors(vec![("x".into(), x), ("m".into(), m)]);
        let truth = Truth::Classes { labels: vec![0, 1, 0], names: vec!["a".into(), "b".into()] };
        Dataset::new("small", &arrays, About::of(truth)).unwrap()
    }

    #[test]
    fn a_stored_set_comes_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        std::fs::write(&path, small().to_npz().unwrap()).unwrap();
        let back = Dataset::read(&path).unwrap();
        assert_eq!(back, small());
        assert_eq!(back.sha256(), small().sha256());
        assert_eq!(back.samples()[2].get("m").unwrap().shape(), [1, 1]);
    }

    #[test]
    fn samples_of_different_length_keep_it() {
        let sample = |ids: &[i64]| {
            let tensor = Tensor::new(vec![1, ids.len()], TensorData::I64(ids.to_vec())).unwrap();
            Tensors(vec![("ids".to_owned(), tensor)])
        };
        let samples = vec![sample(&[1, 2, 3]), sample(&[4])];
        let segments = Some(vec!["x".to_owned(), "y".to_owned()]);
        let about = About { segments, ..About::of(Truth::Scores(vec![0.5, 1.0])) };
        let set = Dataset::of_samples("s", samples, about).unwrap();
        assert!(set.is_ragged());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        std::fs::write(&path, set.to_npz().unwrap()).unwrap();
        let back = Dataset::read(&path).unwrap();
        assert_eq!(back.samples(), set.samples());
        assert!(back.is_ragged());
        assert_eq!(back.sha256(), set.sha256());
    }

    #[test]
    fn an_empty_set_and_too_few_labels_are_errors() {
        let error = Dataset::of_samples("s", vec![], About::default()).unwrap_err().to_string();
        assert!(error.contains("holds no samples"), "{error}");
        let x = Tensor::new(vec![2, 1], TensorData::F32(vec![1., 2.])).unwrap();
        let about = About::of(Truth::Scores(vec![1.0]));
        let error = Dataset::new("d", &Tensors(vec![("x".into(), x)]), about).unwrap_err();
        assert!(error.to_string().contains("1 labels for 2 samples"), "{error}");
    }

    #[test]
    fn arrays_of_different_length_are_named() {
        let x = Tensor::new(vec![2, 1], TensorData::F32(vec![1., 2.])).unwrap();
        let y = Tensor::new(vec![1, 1], TensorData::F32(vec![1.])).unwrap();
        let arrays = Tensors(vec![("x".into(), x), ("y".into(), y)]);
        let error = Dataset::new("d", &arrays, About::default()).unwrap_err().to_string();
        assert!(error.contains("`y` has 1 samples"), "{error}");
    }

    #[test]
    fn junk_is_no_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        std::fs::write(&path, b"not a zip").unwrap();
        assert!(Dataset::read(&path).unwrap_err().to_string().contains("is no .npz"));
    }
}
