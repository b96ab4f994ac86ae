//! Encoders as Hugging Face keeps them: a folder of `config.json` and `*.safetensors` → the graph.
//!
//! BERT and its like (MiniLM is one), RoBERTa and DistilBERT, with the head that the folder tells of:
//! sentence-transformers' pooling, or a classifier. Layers follow the papers (Devlin et al., arXiv
//! 1810.04805; Liu et al., 1907.11692; Sanh et al., 1910.01108); names of tensors and settings are
//! those of the files.

mod config;
mod head;
mod layers;
mod weights;

use std::path::PathBuf;

use self::config::{Config, Family};
use self::head::Pooling;
use self::weights::Weights;
use super::ir::Graph;
use super::{check, shape};
use crate::error::{Error, Result};

/// Finds the files of a folder by name; `None` where the folder has none of that name.
pub type Folder<'a> = dyn Fn(&str) -> Result<Option<PathBuf>> + 'a;

/// Reads an encoder with its head; `subject` names the folder in errors.
///
/// Inputs: `input_ids`, `attention_mask` and, of BERT, `token_type_ids`, each i64 `[batch, sequence]`.
/// Output: `logits` f32 `[batch, labels]` of a classifier, otherwise `sentence_embedding` f32
/// `[batch, hidden]`.
///
/// Errors name what is not supported, or the tensor that is missing or of another shape.
pub fn read_encoder(subject: &str, folder: &Folder<'_>) -> Result<Graph> {
    let config = Config::read(subject, folder)?;
    let pooling = Pooling::read(subject, folder)?;
    let weights = Weights::read(subject, folder)?;
    let mut builder = layers::Builder::new(subject, &config, &weights);
    let hidden = builder.encoder()?;
    let output = match (config.is_classifier, pooling) {
        (true, _) => builder.classifier(hidden)?,
        (false, pooling) => builder.pooled(hidden, pooling),
    };
    let mut graph = builder.finish(output);
    check::check(&graph)?;
    shape::infer(&mut graph)?;
    Ok(graph)
}

/// The files of the folder that [`read_encoder`] reads, by name, in order.
pub fn encoder_files(subject: &str, folder: &Folder<'_>) -> Result<Vec<(String, PathBuf)>> {
    let names = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let noting = |name: &str| {
        let found = folder(name)?;
        if let Some(path) = &found {
            names.borrow_mut().insert(name.to_owned(), path.clone());
        }
        Ok(found)
    };
    Config::read(subject, &noting)?;
    Pooling::read(subject, &noting)?;
    Weights::files(subject, &noting)?;
    Ok(names.into_inner().into_iter().collect())
}

/// A setting that is not supported.
fn refuse(subject: &str, what: impl std::fmt::Display) -> Error {
    Error::input(subject, what).remedy("export the model to ONNX, and give that file")
}
