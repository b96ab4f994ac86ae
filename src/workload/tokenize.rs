//! From text to the inputs of an encoder, with the model's own tokenizer.

use std::collections::BTreeMap;
use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};

use super::data_spec::TokenizerSpec;
use crate::artifact::Cache;
use crate::error::{Error, Result};
use crate::graph::{Outline, ValueSpec};
use crate::variant::{DType, Tensor, TensorData, Tensors};

/// A tokenizer and the inputs it fills.
pub(super) struct Encoder {
    tokenizer: Tokenizer,
    max_length: usize,
    inputs: Vec<(ValueSpec, Part)>,
    /// What inputs are padded with, by name.
    pub(super) padding: BTreeMap<String, i64>,
    /// Texts that were longer than the limit.
    pub(super) cut: usize,
}

/// What of an encoded text an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ids,
    Mask,
    Types,
}

impl Encoder {
    /// Reads the tokenizer and finds out which input of the model takes what.
    pub(super) fn new(
        spec: &TokenizerSpec,
        outline: &Outline,
        base: &Path,
        cache: &Cache,
    ) -> Result<Self> {
        let file = spec.source.fetch(base, cache, spec.sha256.as_deref())?;
        let bad = |e: &dyn std::fmt::Display| {
            Error::input(&spec.source, format!("is no tokenizer: {e}"))
                .remedy("give the `tokenizer.json` that belongs to the model")
        };
        let mut tokenizer = Tokenizer::from_file(&file.path).map_err(|e| bad(&e))?;
        let pad = tokenizer.get_padding().map(|p| p.pad_id);
        let pad = pad.or_else(|| ["[PAD]", "<pad>"].iter().find_map(|t| tokenizer.token_to_id(t)));
        // One token more than the limit is enough to see that a text is cut.
        let longest =
            TruncationParams { max_length: spec.max_length, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(longest)).map_err(|e| bad(&e))?;
        tokenizer.with_padding(None);
        let mut inputs = Vec::new();
        let mut padding = BTreeMap::new();
        for input in &outline.inputs {
            let part = part(input)?;
            let value = if part == Part::Ids { pad.map_or(0, i64::from) } else { 0 };
            padding.insert(input.name.clone(), value);
            inputs.push((input.clone(), part));
        }
        Ok(Self { tokenizer, max_length: spec.max_length, inputs, padding, cut: 0 })
    }

    /// The inputs for one text, or for two that belong together.
    pub(super) fn encode(&mut self, texts: &[&str]) -> Result<Tensors> {
        let encoded = match texts {
            [one] => self.tokenizer.encode(*one, true),
            [one, two] => self.tokenizer.encode((*one, *two), true),
            _ => return Err(Error::internal("tokenizer", "takes one text or two")),
        };
        let encoded = encoded.map_err(|e| {
            Error::input("tokenizer", format!("cannot encode a text: {e}"))
                .remedy("check the tokenizer.json")
        })?;
        if !encoded.get_overflowing().is_empty() && encoded.len() >= self.max_length {
            self.cut += 1;
        }
        let mut sample = Tensors::default();
        for (input, part) in &self.inputs {
            let values = match part {
                Part::Ids => encoded.get_ids(),
                Part::Mask => encoded.get_attention_mask(),
                Part::Types => encoded.get_type_ids(),
            };
            let data = if input.dtype == DType::I32 {
                TensorData::I32(values.iter().map(|v| i32::try_from(*v).unwrap_or(0)).collect())
            } else {
                TensorData::I64(values.iter().map(|v| i64::from(*v)).collect())
            };
            let tensor = Tensor::new(vec![1, values.len()], data)
                .ok_or_else(|| Error::internal("tokenizer", "does not fit its own length"))?;
            sample.0.push((input.name.clone(), tensor));
        }
        Ok(sample)
    }
}

/// What an input takes, by its name: encoders are exported with one of few.
fn part(input: &ValueSpec) -> Result<Part> {
    let name = input.name.to_ascii_lowercase();
    let part = if name.contains("mask") {
        Part::Mask
    } else if name.contains("type") || name.contains("segment") {
        Part::Types
    } else if name.contains("ids") || name.contains("tokens") {
        Part::Ids
    } else {
        return Err(Error::input(
            format!("input `{}`", input.name),
            "is nothing a tokenizer makes",
        )
        .remedy("inputs must be called like input_ids, attention_mask or token_type_ids"));
    };
    if matches!(input.dtype, DType::I64 | DType::I32) && input.dims.len() == 2 {
        return Ok(part);
    }
    Err(Error::input(format!("input `{input}`"), "does not take token ids")
        .remedy("a tokenizer fills inputs of int64 or int32 with the axes batch and sequence"))
}
