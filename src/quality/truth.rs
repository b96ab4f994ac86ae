//! What is right for each sample of a test set, in the forms that tasks have.

use serde::{Deserialize, Serialize};

use super::Metric;

/// What is right for each sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// Nothing is known: only agreement with the parent can be measured.
    #[default]
    Nothing,
    /// A class for each sample; the output holds a score for each class.
    Classes {
        /// Index of the class, by sample.
        labels: Vec<u32>,
        /// Names by index; empty where they are not known.
        names: Vec<String>,
    },
    /// A number for each sample; the output's first value should rise with it.
    Scores(Vec<f64>),
    /// Samples 2i and 2i+1 are a pair with one number; the cosine of their outputs should rise
    /// with it.
    Pairs(Vec<f64>),
    /// For each sample the samples that answer it; empty for one that is only a document.
    Relevant(Vec<Vec<u32>>),
    /// For each sample a token at each position, −100 where there is none; the output holds, at
    /// each position, a score for each token.
    Tokens(Vec<Vec<i64>>),
}

/// Positions without a token, as training frameworks mark them.
pub const NO_TOKEN: i64 = -100;

impl Truth {
    /// Whether there is nothing to judge by.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }

    /// The figures that it allows.
    pub fn metrics(&self) -> Vec<Metric> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Classes { .. } => vec![Metric::Accuracy, Metric::MacroF1],
            Self::Scores(_) | Self::Pairs(_) => vec![Metric::Spearman],
            Self::Relevant(_) => vec![Metric::NdcgAt10, Metric::RecallAt10],
            Self::Tokens(_) => vec![Metric::ExactMatch, Metric::TokenF1],
        }
    }

    /// What is right for some of the samples; nothing where samples belong together.
    #[must_use]
    pub fn subset(&self, samples: &[usize]) -> Self {
        fn pick<T: Clone>(from: &[T], samples: &[usize]) -> Vec<T> {
            samples.iter().filter_map(|at| from.get(*at).cloned()).collect()
        }
        match self {
            Self::Nothing | Self::Pairs(_) | Self::Relevant(_) => Self::Nothing,
            Self::Classes { labels, names } => {
                Self::Classes { labels: pick(labels, samples), names: names.clone() }
            }
            Self::Scores(scores) => Self::Scores(pick(scores, samples)),
            Self::Tokens(tokens) => Self::Tokens(pick(tokens, samples)),
        }
    }

    /// In words, for the line that says what the data are.
    pub fn words(&self, samples: usize) -> String {
        match self {
            Self::Nothing => format!("{samples} samples without labels"),
            Self::Classes { labels, .. } => {
                let classes = labels.iter().collect::<std::collections::BTreeSet<_>>().len();
                format!("{samples} labelled samples of {classes} classes")
            }
            Self::Scores(_) => format!("{samples} samples with a score each"),
            Self::Pairs(scores) => format!("{} pairs with a score each", scores.len()),
            Self::Relevant(lists) => {
                let queries = lists.iter().filter(|l| !l.is_empty()).count();
                format!("{queries} queries over {samples} samples")
            }
            Self::Tokens(_) => format!("{samples} samples with labelled tokens"),
        }
    }
}
