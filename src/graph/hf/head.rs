//! The head of an encoder: pooling as sentence-transformers describes it, or a classifier.

use serde::Deserialize;

use super::layers::Builder;
use super::{Family, Folder, refuse};
use crate::error::{Error, Result};
use crate::graph::ir::ValueId;
use crate::graph::op::{Binary, Reduction, Unary};
use crate::graph::{Op, Weight};
use crate::variant::DType;

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduce {
    Mean,
    Max,
    First,
}

/// The head of a sentence encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pooling {
    pub(super) reduce: Reduce,
    /// Whether the result is brought to length 1.
    pub(super) normalise: bool,
}

/// An entry of sentence-transformers' `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct Modes {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl Pooling {
    /// From `modules.json` and what it names; without one, the mean, as sentence-transformers does.
    pub(super) fn read(subject: &str, folder: &Folder<'_>) -> Result<Self> {
        let mut pooling = Self { reduce: Reduce::Mean, normalise: false };
        let Some(path) = folder("modules.json")? else { return Ok(pooling) };
        let modules: Vec<Module> = parse(&path)?;
        for module in modules {
            match module.r#type.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Normalize" => pooling.normalise = true,
                "Pooling" => {
                    let name = format!("{}/config.json", module.path);
                    let path = folder(&name)?.ok_or_else(|| {
                        Error::input(
                            subject,
                            format!("`{name}`, which modules.json names, is missing"),
                        )
                        .remedy("fetch the whole folder")
                    })?;
                    pooling.reduce = mode(subject, &parse(&path)?)?;
                }
                other => {
                    return Err(refuse(
                        subject,
                        format!("modules.json names `{other}`, which is not known"),
                    ));
                }
            }
        }
        Ok(pooling)
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))?;
    serde_json::from_str(&text).map_err(|e| {
        Error::input(path.display(), format!("cannot be read: {e}")).remedy("fetch it again")
    })
}

fn mode(subject: &str, modes: &Modes) -> Result<Reduce> {
    let other =
        modes.other.iter().find(|(key, on)| key.starts_with("pooling_mode") && **on == true);
    if let Some((key, _)) = other {
        return Err(refuse(subject, format!("`{key}` is not known")));
    }
    let all = [
        (modes.pooling_mode_mean_tokens, Reduce::Mean),
        (modes.pooling_mode_cls_token, Reduce::First),
        (modes.pooling_mode_max_tokens, Reduce::Max),
    ];
    match all.iter().filter(|(on, _)| *on).collect::<Vec<_>>()[..] {
        [(_, only)] => Ok(*only),
        _ => Err(refuse(subject, "more than one way of pooling, or none, is switched on")),
    }
}

impl Builder<'_> {
    /// One vector a text from one a token.
    pub(super) fn pooled(&mut self, hidden: ValueId, pooling: Pooling) -> ValueId {
        let vector = match pooling.reduce {
            Reduce::First => self.first_token(hidden),
            Reduce::Mean => {
                let mask = self.token_mask();
                let kept = self.binary("pool/kept", Binary::Mul, hidden, mask);
                let sum = self.reduce("pool/sum", Reduction::Sum, kept, 1, false);
                let count = self.reduce("pool/count", Reduction::Sum, mask, 1, false);
                // A text of no tokens has no mean; the bound is sentence-transformers' own.
                let least = self.number("pool/least", 1e-9);
                let count = self.graph.push("pool/counted", Op::Clip, &[count, least]);
                self.binary("pool/mean", Binary::Div, sum, count)
            }
            Reduce::Max => {
                let mask = self.token_mask();
                let none = self.number("pool/zero", 0.0);
                let is_there = self.binary("pool/is_there", Binary::Greater, mask, none);
                let lowest = self.number("pool/lowest", -1e9);
                let kept = self.graph.push("pool/kept", Op::Where, &[is_there, hidden, lowest]);
                self.reduce("pool/max", Reduction::Max, kept, 1, false)
            }
        };
        let output = "sentence_embedding";
        if !pooling.normalise {
            return self.graph.push(output, Op::Identity, &[vector]);
        }
        let length = self.reduce("normalise/length", Reduction::L2, vector, 1, true);
        // The bound of torch.nn.functional.normalize.
        let least = self.number("normalise/least", 1e-12);
        let length = self.graph.push("normalise/bounded", Op::Clip, &[length, least]);
        self.binary(output, Binary::Div, vector, length)
    }

    /// Scores of classes.
    pub(super) fn classifier(&mut self, hidden: ValueId) -> Result<ValueId> {
        let first = self.first_token(hidden);
        let (dense, activation, output) = match self.config.family {
            Family::Bert => ("pooler.dense", Unary::Tanh, "classifier"),
            Family::Roberta => ("classifier.dense", Unary::Tanh, "classifier.out_proj"),
            Family::DistilBert => ("pre_classifier", Unary::Relu, "classifier"),
        };
        // The pooler is part of the encoder, and has its prefix.
        let dense =
            if self.config.family == Family::Bert { self.title(dense) } else { dense.to_owned() };
        let hidden = self.config.hidden;
        let inner = self.linear(&dense, first, hidden, hidden)?;
        let inner = self.graph.push("classifier/activation", Op::Unary(activation), &[inner]);
        let bias = self.weights.find(&format!("{output}.bias"))?;
        let scores = self.linear(output, inner, hidden, bias.len())?;
        Ok(self.graph.push("logits", Op::Identity, &[scores]))
    }

    /// The vector of the first token, `[batch, hidden]`.
    fn first_token(&mut self, hidden: ValueId) -> ValueId {
        let zero = Weight::scalar(DType::I64, 0.0);
        let zero = self.graph.add_constant("first", zero);
        self.graph.push("first_token", Op::Gather { axis: 1 }, &[hidden, zero])
    }

    /// The mask as f32 `[batch, sequence, 1]`.
    fn token_mask(&mut self) -> ValueId {
        let mask = self.graph.push("pool/mask", Op::Cast { to: DType::F32 }, &[self.mask]);
        let axes = self.graph.add_constant("pool/axes", Weight::ints(&[-1]));
        self.graph.push("pool/mask_a_token", Op::Unsqueeze, &[mask, axes])
    }
}
