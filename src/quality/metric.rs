//! What quality is measured in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A figure of quality. On files and in records it is its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Metric {
    /// Share of samples decided right; 0 to 1.
    Accuracy,
    /// Mean over classes of the harmonic mean of precision and recall; 0 to 1.
    MacroF1,
    /// Spearman's rank correlation with the truth; −1 to 1.
    Spearman,
    /// Share of the relevant documents among the first ten; 0 to 1, mean over queries.
    RecallAt10,
    /// Normalised discounted cumulative gain of the first ten; 0 to 1, mean over queries.
    NdcgAt10,
    /// Share of samples whose every token is right; 0 to 1.
    ExactMatch,
    /// Overlap of predicted and labelled tokens (F1); 0 to 1, mean over samples.
    TokenF1,
    /// Share of samples decided like the parent's; 0 to 1.
    Agreement,
    /// Cosine of the output and the parent's; −1 to 1, mean over samples.
    Cosine,
    /// Largest difference of any output value to the parent's; lower is better.
    MaxAbsError,
    /// A figure of the user's own scorer.
    Own(String),
}

const NAMES: [(Metric, &str); 10] = [
    (Metric::Accuracy, "accuracy"),
    (Metric::MacroF1, "macro_f1"),
    (Metric::Spearman, "spearman"),
    (Metric::RecallAt10, "recall_at_10"),
    (Metric::NdcgAt10, "ndcg_at_10"),
    (Metric::ExactMatch, "exact_match"),
    (Metric::TokenF1, "token_f1"),
    (Metric::Agreement, "agreement"),
    (Metric::Cosine, "cosine"),
    (Metric::MaxAbsError, "max_abs_error"),
];

impl Metric {
    /// The names of all figures that are ours.
    pub fn names() -> Vec<&'static str> {
        NAMES.iter().map(|(_, name)| *name).collect()
    }

    /// Whether it compares with the parent's outputs instead of the truth.
    pub fn is_against_parent(&self) -> bool {
        matches!(self, Self::Agreement | Self::Cosine | Self::MaxAbsError)
    }
}

impl From<String> for Metric {
    fn from(name: String) -> Self {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        known.map_or(Self::Own(name), |(metric, _)| metric.clone())
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(name) => f.write_str(name),
            known => {
                let name = NAMES.iter().find(|(metric, _)| metric == known);
                f.write_str(name.map_or("unknown", |(_, name)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in Metric::names().into_iter().chain(["bleu"]) {
            assert_eq!(Metric::from(name.to_owned()).to_string(), name);
        }
        assert_eq!(Metric::from("bleu".to_owned()), Metric::Own("bleu".to_owned()));
    }
}
