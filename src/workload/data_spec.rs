//! The schema of `[data]` in `workloads/*.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::encode::Encoding;
use crate::artifact::{Package, Source};

/// `[data]`: exactly one of `files`, `npz`, `table`, `arrays`, `generated`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// SHA-256 that the data set's content must have (not that of a file: names, element types,
    /// shapes and values in order).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A labelled set built from the files inside packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSpec>,
    /// Arrays in a NumPy `.npz` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npz: Option<NpzSpec>,
    /// Rows of CSV or JSON files, their columns mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableSpec>,
    /// Lists of numbers in JSON files, a file a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrays: Option<ArraysSpec>,
    /// Seeded values that fit the model's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedSpec>,
}

/// `[data.files]`: real files, labelled by their extension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesSpec {
    /// Packages whose files are taken, pinned.
    pub packages: Vec<Package>,
    /// How a file becomes a model input.
    pub encoding: Encoding,
    /// The model's classes in the order of its scores: a JSON file and the key of the list in it.
    pub classes: ClassesSpec,
    /// Which extensions belong to which class.
    pub extensions: BTreeMap<String, Vec<String>>,
    /// At most this many files a class, chosen by their hash.
    pub max_per_class: usize,
    /// Classes with fewer files than this are left out.
    #[serde(default = "one")]
    pub min_per_class: usize,
    /// Smaller files are left out: they are empty modules and markers.
    #[serde(default)]
    pub min_bytes: usize,
}

/// Where the names of a model's classes are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassesSpec {
    /// A JSON file.
    pub source: Source,
    /// Key of the list of names in it.
    pub key: String,
}

/// `[data.npz]`: one array an input, samples on axis 0; arrays named here hold what is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpzSpec {
    /// The file.
    pub source: Source,
    /// Name of the array of class indices, or of tokens when it has two axes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Name of the array of scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<String>,
    /// Name of the array of segments' indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<String>,
    /// Names of the classes in the order of the model's scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// `[data.table]`: rows in, by columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// The files, in order.
    pub sources: Vec<TableSource>,
    /// Columns of text: one, or two that are encoded together.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    /// Column of a second text that is a sample of its own, to be compared with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Columns of numbers for each input of the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Vec<String>>,
    /// Column of the class: its name or index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Names of the classes in the order of the model's scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Column of a score that the output, or the cosine of a pair, should rise with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// Column of a row's id, for retrieval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Column of the ids that answer a row; empty for a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relevant: Option<String>,
    /// Column of the segment; instead of the sources' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// Whether rows without a label are left out instead of being an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop_unlabelled: bool,
    /// Share of rows, 0 to 1, that is set aside for fitting a head and never measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_share: Option<f64>,
    /// What turns text into inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerSpec>,
}

/// One file of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSource {
    /// The file.
    pub source: Source,
    /// SHA-256 that its bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `csv`, `json` or `jsonl`; by its name's ending when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TableFormat>,
    /// Segment of all its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// With a header line.
    Csv,
    /// A list of objects.
    Json,
    /// An object a line.
    Jsonl,
}

/// `[data.table.tokenizer]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSpec {
    /// The model's `tokenizer.json`.
    pub source: Source,
    /// SHA-256 that its bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Longer texts are cut to this many tokens.
    #[serde(default = "default_max_length")]
    pub max_length: usize,
}

/// `[data.arrays]`: JSON files of nothing but numbers, a file a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArraysSpec {
    /// The model's input.
    pub input: String,
    /// The files, in the order of the model's scores.
    pub sources: Vec<Source>,
    /// Key of the list of numbers in each.
    pub key: String,
    /// Axes of a sample, without the batch.
    pub shape: Vec<usize>,
    /// Names of the classes, in the order of the files.
    pub classes: Vec<String>,
    /// Share of samples, 0 to 1, that is set aside for training and calibration and never measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_share: Option<f64>,
}

impl ArraysSpec {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, message: &str| Err((key, message.to_owned()));
        if self.sources.is_empty() || self.sources.len() != self.classes.len() {
            return wrong("data.arrays.sources", "must name a file for each class");
        }
        if self.shape.is_empty() || self.shape.contains(&0) {
            return wrong("data.arrays.shape", "must give the axes of a sample, none of them 0");
        }
        if self.train_share.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            return wrong("data.arrays.train_share", "must be 0 or more and below 1");
        }
        Ok(())
    }
}

/// `[data.generated]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedSpec {
    /// How many samples.
    #[serde(default = "default_samples")]
    pub samples: u32,
    /// Seed of the values.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Sizes of the model's free dimensions, by name; the batch is never among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dims: BTreeMap<String, usize>,
}

impl DataSpec {
    /// What the schema alone cannot say: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let kinds = [
            self.files.is_some(),
            self.npz.is_some(),
            self.table.is_some(),
            self.arrays.is_some(),
            self.generated.is_some(),
        ];
        if kinds.iter().filter(|k| **k).count() != 1 {
            return Err((
                "data",
                "needs exactly one of files, npz, table, arrays, generated".to_owned(),
            ));
        }
        if self.generated.as_ref().is_some_and(|generated| generated.samples == 0) {
            return Err(("data.generated.samples", "must be at least 1".to_owned()));
        }
        let arrays = self.arrays.as_ref().map_or(Ok(()), ArraysSpec::check);
        arrays.and_then(|()| self.table.as_ref().map_or(Ok(()), TableSpec::check))
    }
}

impl DataSpec {
    /// The share of rows that is set aside, where there is one.
    pub(super) fn train_share(&self) -> Option<f64> {
        let table = self.table.as_ref().and_then(|t| t.train_share);
        table.or_else(|| self.arrays.as_ref().and_then(|a| a.train_share))
    }
}

impl TableSpec {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, message: &str| Err((key, message.to_owned()));
        if self.sources.is_empty() {
            return wrong("data.table.sources", "must name at least one file");
        }
        if self.text.is_empty() == self.inputs.is_empty() {
            return wrong("data.table", "needs either `text` or `inputs`");
        }
        if self.text.is_empty() == self.tokenizer.is_some() || self.text.len() > 2 {
            return wrong("data.table.text", "is one column or two, with a tokenizer for them");
        }
        let right = [self.label.is_some(), self.score.is_some(), self.relevant.is_some()];
        if right.iter().filter(|r| **r).count() > 1 {
            return wrong("data.table", "takes one of `label`, `score`, `relevant`");
        }
        if self.pair.is_some() && (self.score.is_none() || self.text.len() != 1) {
            return wrong("data.table.pair", "needs one `text` and a `score`");
        }
        if self.relevant.is_some() != self.id.is_some() {
            return wrong("data.table.relevant", "needs `id`, and the other way round");
        }
        if self.drop_unlabelled && self.label.is_none() {
            return wrong("data.table.drop_unlabelled", "needs `label`");
        }
        let segments = self.sources.iter().filter(|s| s.segment.is_some()).count();
        if self.segment.is_none() && segments > 0 && segments < self.sources.len() {
            return wrong("data.table.sources", "need a segment each, or none");
        }
        if self.train_share.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            return wrong("data.table.train_share", "must be 0 or more and below 1");
        }
        match &self.tokenizer {
            Some(tokenizer) if !(3..=1 << 16).contains(&tokenizer.max_length) => {
                wrong("data.table.tokenizer.max_length", "must be from 3 to 65536")
            }
            _ => Ok(()),
        }
    }
}

/// A text, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn one() -> usize {
    1
}
fn default_samples() -> u32 {
    64
}
fn default_seed() -> u64 {
    42
}
fn default_max_length() -> usize {
    256
}
