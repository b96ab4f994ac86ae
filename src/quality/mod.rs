//! How good a variant is, measured on the same test set by the session code that is timed.

use serde::{Deserialize, Serialize};

use crate::stats::{self, CONFIDENCE};

/// One measured quality figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityFigure {
    /// What is measured.
    pub metric: Metric,
    /// The part of the test set it is measured on; `all` for the whole.
    pub segment: String,
    /// The figure, in the metric's unit.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub high: Option<f64>,
    /// Difference to the parent variant, where there is one.
    pub delta: Option<f64>,
    /// Samples it was measured on.
    pub samples: usize,
}

/// What quality is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of samples whose highest score is at their label; 0 to 1, higher is better.
    Accuracy,
}

/// Accuracy of `predictions` against `labels`, with Wilson's interval.
///
/// `None` for an empty test set or when the lengths differ.
pub fn accuracy(predictions: &[u32], labels: &[u32]) -> Option<QualityFigure> {
    if predictions.len() != labels.len() {
        return None;
    }
    let right = predictions.iter().zip(labels).filter(|(p, l)| p == l).count();
    let interval = stats::wilson(right, labels.len(), CONFIDENCE)?;
    Some(QualityFigure {
        metric: Metric::Accuracy,
        segment: "all".to_owned(),
        value: interval.value,
        low: interval.low,
        high: interval.high,
        delta: None,
        samples: labels.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_the_share_of_right_answers() {
        let figure = accuracy(&[1, 2, 3, 4], &[1, 2, 3, 9]).unwrap();
        assert!((figure.value - 0.75).abs() < 1e-12);
        assert!(figure.low.unwrap() < 0.75 && figure.high.unwrap() > 0.75);
        assert_eq!(accuracy(&[1], &[1, 2]), None);
        assert_eq!(accuracy(&[], &[]), None);
    }
}
