//! A data set from rows whose columns are mapped: text or numbers in, what is right beside them.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::data_spec::TableSpec;
use super::dataset::{About, Dataset, check_classes};
use super::rows::{self, Row};
use super::tokenize::Encoder;
use crate::artifact::Cache;
use crate::error::{Error, Result};
use crate::graph::Outline;
use crate::quality::Truth;
use crate::variant::{DType, Tensor, TensorData, Tensors};

/// Which part of a table is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Split {
    /// What is measured: all rows, or those that training does not take.
    #[default]
    Test,
    /// The rows that `train_share` sets aside.
    Train,
}

/// Builds the set.
pub(super) fn build(
    spec: &TableSpec,
    split: Split,
    outline: &Outline,
    base: &Path,
    cache: &Cache,
) -> Result<Dataset> {
    let mut notes = Vec::new();
    let rows = chosen(spec, split, base, cache, &mut notes)?;
    let mut encoder = match &spec.tokenizer {
        Some(tokenizer) => Some(Encoder::new(tokenizer, outline, base, cache)?),
        None => None,
    };
    let mut samples = Vec::new();
    let mut segments = Vec::new();
    for (row, segment) in &rows {
        let before = samples.len();
        match &mut encoder {
            Some(encoder) => {
                let texts: Vec<String> =
                    spec.text.iter().map(|column| row.text(column)).collect::<Result<_>>()?;
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                samples.push(encoder.encode(&texts)?);
                if let Some(pair) = &spec.pair {
                    samples.push(encoder.encode(&[&row.text(pair)?])?);
                }
            }
            None => samples.push(numbers(spec, row, outline)?),
        }
        segments.extend(std::iter::repeat_n(segment.clone(), samples.len() - before));
    }
    let rows: Vec<&Row> = rows.iter().map(|(row, _)| row).collect();
    let segments: Option<Vec<String>> = segments.into_iter().collect();
    let mut about = About::of(truth(spec, &rows)?);
    about.segments = segments;
    if let Some(encoder) = encoder {
        notes.push(lengths(&samples, encoder.cut));
        about.padding = encoder.padding;
    }
    about.notes = notes;
    Dataset::of_samples("data.table", samples, about)
}

/// The rows of all sources that belong to the split, each with its segment.
fn chosen(
    spec: &TableSpec,
    split: Split,
    base: &Path,
    cache: &Cache,
    notes: &mut Vec<String>,
) -> Result<Vec<(Row, Option<String>)>> {
    let mut all = Vec::new();
    let mut dropped = 0;
    for source in &spec.sources {
        let file = source.source.fetch(base, cache, source.sha256.as_deref())?;
        for row in rows::read(&file.path, &source.source.to_string(), source.format)? {
            if let (true, Some(label)) = (spec.drop_unlabelled, &spec.label)
                && row.get(label)?.is_none()
            {
                dropped += 1;
                continue;
            }
            if spec
                .train_share
                .is_some_and(|share| is_training(spec, &row, share) != (split == Split::Train))
            {
                continue;
            }
            let segment = match &spec.segment {
                Some(column) => Some(row.text(column)?),
                None => source.segment.clone(),
            };
            all.push((row, segment));
        }
    }
    if dropped > 0 {
        notes.push(format!("data: {dropped} rows without a label were dropped, as asked"));
    }
    if all.is_empty() {
        return Err(Error::input("data.table", "no row is left to measure with")
            .remedy("check the sources, and that `train_share` leaves some rows"));
    }
    Ok(all)
}

/// Whether a row is set aside for training: by a hash of its own content, so that equal rows are
/// always on the same side and the choice depends on nothing else.
fn is_training(spec: &TableSpec, row: &Row, share: f64) -> bool {
    let mut hasher = Sha256::new();
    let columns = spec.text.iter().chain(&spec.pair).chain(spec.inputs.values().flatten());
    for column in columns {
        // A column that is missing is an error where it is read.
        hasher.update(row.text(column).unwrap_or_default());
        hasher.update([0]);
    }
    let digest = hasher.finalize();
    let head = digest.iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    (head as f64) < share * 2_f64.powi(64)
}

/// One sample of numbers: each input's columns one after the other.
fn numbers(spec: &TableSpec, row: &Row, outline: &Outline) -> Result<Tensors> {
    let mut sample = Tensors::default();
    for (name, columns) in &spec.inputs {
        let input = outline.inputs.iter().find(|i| i.name == *name).ok_or_else(|| {
            let known: Vec<&str> = outline.inputs.iter().map(|i| i.name.as_str()).collect();
            Error::input(format!("data.table.inputs: `{name}`"), "is no input of the model")
                .remedy(format!("its inputs: {}", known.join(", ")))
        })?;
        let mut values = Vec::new();
        for column in columns {
            values.extend(row.numbers(column)?);
        }
        let wrong = |message: String| {
            Error::input(&row.at, message).remedy(format!("the model takes {input}"))
        };
        let data = typed(&values, input.dtype)
            .ok_or_else(|| wrong(format!("`{name}` holds numbers that {} cannot", input.dtype)))?;
        // The signature's own axes where it has them, else one axis of values.
        let fixed: Option<Vec<usize>> = input
            .dims
            .iter()
            .skip(1)
            .map(|dim| if let crate::graph::Dim::Fixed(size) = dim { Some(*size) } else { None })
            .collect();
        let mut shape = vec![1];
        match fixed {
            Some(axes) if axes.iter().product::<usize>() == values.len() => shape.extend(axes),
            _ => shape.push(values.len()),
        }
        let tensor = Tensor::new(shape, data)
            .ok_or_else(|| wrong(format!("`{name}` has {} values", values.len())))?;
        sample.0.push((name.clone(), tensor));
    }
    Ok(sample)
}

/// Numbers in the type that an input takes; `None` when one does not fit it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "one macro for all types; whole numbers are checked against the type's range first"
)]
pub(super) fn typed(values: &[f64], dtype: DType) -> Option<TensorData> {
    macro_rules! whole {
        ($type:ty, $kind:ident) => {{
            let fits = |v: &f64| {
                v.fract() == 0.0 && *v >= <$type>::MIN as f64 && *v <= <$type>::MAX as f64
            };
            values
                .iter()
                .all(fits)
                .then(|| TensorData::$kind(values.iter().map(|v| *v as $type).collect()))
        }};
    }
    match dtype {
        DType::F32 => Some(TensorData::F32(values.iter().map(|v| *v as f32).collect())),
        DType::F64 => Some(TensorData::F64(values.to_vec())),
        DType::F16 => {
            Some(TensorData::F16(values.iter().map(|v| half::f16::from_f64(*v)).collect()))
        }
        DType::BF16 => {
            Some(TensorData::BF16(values.iter().map(|v| half::bf16::from_f64(*v)).collect()))
        }
        DType::I8 => whole!(i8, I8),
        DType::U8 => whole!(u8, U8),
        DType::I16 => whole!(i16, I16),
        DType::U16 => whole!(u16, U16),
        DType::I32 => whole!(i32, I32),
        DType::U32 => whole!(u32, U32),
        DType::I64 => whole!(i64, I64),
        DType::U64 => whole!(u64, U64),
        DType::Bool => {
            let flag = |v: &f64| match v.total_cmp(&0.0) {
                std::cmp::Ordering::Equal => Some(false),
                _ => v.total_cmp(&1.0).is_eq().then_some(true),
            };
            values.iter().map(flag).collect::<Option<Vec<bool>>>().map(TensorData::Bool)
        }
        // No session takes these; a signature with one was refused.
        DType::I4 | DType::U4 => None,
    }
}

/// What is right for each sample.
fn truth(spec: &TableSpec, rows: &[&Row]) -> Result<Truth> {
    if let Some(column) = &spec.label {
        let labels = rows
            .iter()
            .map(|row| label(row, column, &spec.classes))
            .collect::<Result<Vec<u32>>>()?;
        check_classes("data.table", &labels, &spec.classes)?;
        return Ok(Truth::Classes { labels, names: spec.classes.clone() });
    }
    if let Some(column) = &spec.score {
        let scores = rows.iter().map(|row| match row.numbers(column)?[..] {
            [one] => Ok(one),
            _ => Err(Error::input(&row.at, format!("column `{column}` holds a list"))
                .remedy("give one score a row")),
        });
        let scores = scores.collect::<Result<Vec<f64>>>()?;
        return Ok(if spec.pair.is_some() { Truth::Pairs(scores) } else { Truth::Scores(scores) });
    }
    if let (Some(id), Some(relevant)) = (&spec.id, &spec.relevant) {
        return retrieval(rows, id, relevant);
    }
    Ok(Truth::Nothing)
}

/// A label: the name of a class, or its index.
fn label(row: &Row, column: &str, classes: &[String]) -> Result<u32> {
    let text = match row.need(column)? {
        serde_json::Value::Bool(yes) => u8::from(*yes).to_string(),
        _ => row.text(column)?,
    };
    if let Some(at) = classes.iter().position(|class| *class == text) {
        return Ok(u32::try_from(at).unwrap_or(u32::MAX));
    }
    let index = text.trim().parse::<f64>().ok().filter(|n| n.fract() == 0.0);
    let n = classes.len();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked here")]
    match index {
        Some(i) if i >= 0.0 && i < f64::from(u32::MAX) && (n == 0 || i < n as f64) => Ok(i as u32),
        _ => {
            let known =
                if n == 0 { "an index of 0 or above".to_owned() } else { classes.join(", ") };
            Err(Error::input(&row.at, format!("has label `{text}`, which is no class"))
                .remedy(format!("give {known}, or name all classes in data.table.classes")))
        }
    }
}

/// Rows by id; the column of relevant ids is a list or text separated by white space.
fn retrieval(rows: &[&Row], id: &str, relevant: &str) -> Result<Truth> {
    let mut by_id = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let i = u32::try_from(i).unwrap_or(u32::MAX);
        if by_id.insert(row.text(id)?, i).is_some() {
            return Err(Error::input(&row.at, format!("has the same `{id}` as another row"))
                .remedy("give every row an id of its own"));
        }
    }
    let lists = rows.iter().map(|row| {
        let ids: Vec<String> = match row.get(relevant)? {
            None => Vec::new(),
            Some(serde_json::Value::Array(list)) => list
                .iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned))
                .collect(),
            Some(_) => row.text(relevant)?.split_whitespace().map(ToOwned::to_owned).collect(),
        };
        let mut found = std::collections::BTreeSet::new();
        for wanted in &ids {
            let other = by_id.get(wanted).copied();
            let other = other.ok_or_else(|| {
                Error::input(&row.at, format!("names `{wanted}`, which is no row's `{id}`"))
                    .remedy("correct the id, or add the row it stands for")
            })?;
            if by_id.get(&row.text(id)?) == Some(&other) {
                return Err(Error::input(&row.at, "names itself as what answers it")
                    .remedy("name other rows; a query never finds itself"));
            }
            found.insert(other);
        }
        Ok(found.into_iter().collect())
    });
    let lists: Vec<Vec<u32>> = lists.collect::<Result<_>>()?;
    if lists.iter().all(Vec::is_empty) {
        return Err(Error::input("data.table", format!("no row has anything in `{relevant}`"))
            .remedy("name the documents that answer each query there"));
    }
    Ok(Truth::Relevant(lists))
}

/// How long the samples are, in words.
fn lengths(samples: &[Tensors], cut: usize) -> String {
    let length = |s: &Tensors| s.0.first().and_then(|(_, t)| t.shape().get(1)).copied();
    let mut all: Vec<usize> = samples.iter().filter_map(length).collect();
    all.sort_unstable();
    let at =
        |share: usize| all.get(share * all.len().saturating_sub(1) / 100).copied().unwrap_or(0);
    let cut = if cut > 0 { format!("; {cut} texts were cut there") } else { String::new() };
    format!("lengths: {} to {} tokens, median {}{cut}", at(0), at(100), at(50))
}
