//! `config.json`: which architecture, and how large.

use serde::Deserialize;

use super::{Folder, refuse};
use crate::error::{Error, Result};

/// Architectures that differ in names and embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    Roberta,
    DistilBert,
}

/// What a model needs to know of its `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) family: Family,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) activation: String,
    pub(super) epsilon: f32,
    /// Rows of the table of token types.
    pub(super) token_types: usize,
    pub(super) pad_token: i64,
    /// Whether it scores classes.
    pub(super) is_classifier: bool,
}

/// The file, as far as it matters; other keys are about training.
#[derive(Deserialize)]
struct File {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(alias = "dim")]
    hidden_size: Option<usize>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: Option<usize>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<usize>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    layer_norm_eps: Option<f32>,
    type_vocab_size: Option<usize>,
    pad_token_id: Option<i64>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

impl Config {
    pub(super) fn read(subject: &str, folder: &Folder<'_>) -> Result<Self> {
        let path = folder("config.json")?.ok_or_else(|| {
            Error::input(subject, "has no config.json").remedy("give the folder that holds it")
        })?;
        let text =
            std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read the config", &e))?;
        Self::parse(subject, &text)
    }

    fn parse(subject: &str, text: &str) -> Result<Self> {
        let file: File = serde_json::from_str(text).map_err(|e| {
            Error::input(format!("{subject}: config.json"), format!("cannot be read: {e}"))
                .remedy("fetch it again")
        })?;
        let family = match file.model_type.as_deref() {
            Some("bert") => Family::Bert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            Some("distilbert") => Family::DistilBert,
            other => {
                let says =
                    other.map_or("no model_type".to_owned(), |name| format!("model_type `{name}`"));
                return Err(refuse(
                    subject,
                    format!("config.json says {says}; bert, roberta and distilbert are known"),
                ));
            }
        };
        if file.is_decoder || file.add_cross_attention {
            return Err(refuse(
                subject,
                "config.json makes it a decoder, and only encoders are known",
            ));
        }
        if let Some(kind) = file.position_embedding_type.filter(|kind| kind != "absolute") {
            return Err(refuse(
                subject,
                format!("positions are `{kind}`, and only absolute ones are known"),
            ));
        }
        let size = |key: &str, value: Option<usize>| {
            value.filter(|n| *n > 0).ok_or_else(|| {
                Error::input(format!("{subject}: config.json"), format!("has no `{key}`"))
                    .remedy("give the file that belongs to the weights")
            })
        };
        let (hidden, heads) = (
            size("hidden_size", file.hidden_size)?,
            size("num_attention_heads", file.num_attention_heads)?,
        );
        if hidden % heads != 0 {
            return Err(refuse(subject, format!("a width of {hidden} has no {heads} heads")));
        }
        let classifier = file.architectures.iter().find(|a| a.contains("For"));
        let is_classifier = match classifier {
            None => false,
            Some(name) if name.ends_with("ForSequenceClassification") => true,
            // Heads that only training uses: the encoder below is what is served.
            Some(name) if name.ends_with("ForMaskedLM") || name.ends_with("ForPreTraining") => {
                false
            }
            Some(name) => {
                return Err(refuse(subject, format!("the head of `{name}` is not known")));
            }
        };
        Ok(Self {
            family,
            hidden,
            heads,
            layers: size("num_hidden_layers", file.num_hidden_layers)?,
            activation: file.hidden_act.unwrap_or_else(|| "gelu".to_owned()),
            // The default of BertConfig and RobertaConfig; DistilBERT has it fixed in its code.
            epsilon: file.layer_norm_eps.unwrap_or(1e-12),
            token_types: file.type_vocab_size.unwrap_or(2),
            pad_token: file.pad_token_id.unwrap_or(i64::from(family == Family::Roberta)),
            is_classifier,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_either_family_are_read() {
        let bert = r#"{"model_type":"bert","hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2}"#;
        let bert = Config::parse("m", bert).unwrap();
        assert_eq!((bert.family, bert.hidden, bert.is_classifier), (Family::Bert, 8, false));
        let distil = r#"{"model_type":"distilbert","dim":8,"n_layers":3,"n_heads":2,"activation":"relu",
            "architectures":["DistilBertForSequenceClassification"]}"#;
        let distil = Config::parse("m", distil).unwrap();
        assert_eq!((distil.layers, distil.activation.as_str()), (3, "relu"));
        assert!(distil.is_classifier);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let of = |text: &str| Config::parse("m", text).unwrap_err().to_string();
        assert!(of(r#"{"model_type":"llama"}"#).contains("`llama`"));
        assert!(of(r#"{"model_type":"bert","hidden_size":8}"#).contains("num_attention_heads"));
        let t5 = r#"{"model_type":"bert","position_embedding_type":"relative_key"}"#;
        assert!(of(t5).contains("relative_key"));
        let tokens = r#"{"model_type":"bert","hidden_size":8,"num_hidden_layers":1,
            "num_attention_heads":2,"architectures":["BertForTokenClassification"]}"#;
        assert!(of(tokens).contains("BertForTokenClassification"));
    }
}
