//! Labelled sequences: exact match and overlap of tokens.

use std::collections::BTreeMap;

use super::truth::NO_TOKEN;
use super::{ALL, Metric, Outputs, QualityFigure};
use crate::error::{Error, Result};
use crate::stats::{self, CONFIDENCE};

/// Exact match and token F1 at the labelled positions.
///
/// F1 is that of `SQuAD` (Rajpurkar et al. 2016): predicted and labelled tokens as bags. A label
/// that no score belongs to, or a sequence longer than the output, is an error.
pub(super) fn figures(
    labels: &[Vec<i64>],
    outputs: &Outputs,
    parents: Option<&Outputs>,
) -> Result<Vec<QualityFigure>> {
    let per_sample = |outputs: &Outputs| -> Result<(Vec<bool>, Vec<f64>)> {
        let decided = outputs.decisions();
        let (mut exact, mut overlap) = (Vec::new(), Vec::new());
        for (at, (decided, labels)) in decided.iter().zip(labels).enumerate() {
            let wrong = |message: String| {
                Err(Error::input(format!("labels of sample {at}"), message)
                    .remedy("give one token a position of the output, −100 where there is none"))
            };
            if decided.len() < labels.len() {
                return wrong(format!(
                    "are {}, the output has {} positions",
                    labels.len(),
                    decided.len()
                ));
            }
            let mut pairs = Vec::new();
            for (position, label) in labels.iter().enumerate().filter(|(_, l)| **l != NO_TOKEN) {
                let Ok(label) = u32::try_from(*label) else {
                    return wrong(format!("hold {label} at position {position}"));
                };
                if !outputs.integers && label as usize >= outputs.width {
                    return wrong(format!("hold {label}; the output has {} scores", outputs.width));
                }
                pairs.push((decided[position], label));
            }
            if pairs.is_empty() {
                return wrong("are all −100: nothing to judge".to_owned());
            }
            exact.push(pairs.iter().all(|(d, l)| d == l));
            overlap.push(bag_f1(&pairs));
        }
        Ok((exact, overlap))
    };
    let (exact, overlap) = per_sample(outputs)?;
    let before = parents.map(per_sample).transpose()?;
    let n = exact.len();
    let right = exact.iter().filter(|e| **e).count();
    let mut figures = Vec::new();
    if let Some(interval) = stats::wilson(right, n, CONFIDENCE) {
        let delta = before.as_ref().and_then(|(before, _)| {
            let gained = exact.iter().zip(before).filter(|(a, b)| **a && !**b).count();
            let lost = exact.iter().zip(before).filter(|(a, b)| !**a && **b).count();
            stats::paired_difference(gained, lost, n, CONFIDENCE)
        });
        figures.push(QualityFigure::new(Metric::ExactMatch, ALL, interval, n).with_delta(delta));
    }
    if let Some(interval) = stats::bootstrap_mean(&overlap, CONFIDENCE) {
        let delta = before.as_ref().and_then(|(_, before)| {
            let apart: Vec<f64> = overlap.iter().zip(before).map(|(a, b)| a - b).collect();
            stats::bootstrap_mean(&apart, CONFIDENCE)
        });
        figures.push(QualityFigure::new(Metric::TokenF1, ALL, interval, n).with_delta(delta));
    }
    Ok(figures)
}

/// Of (decided, labelled) tokens: both bags have one size, so precision, recall and F1 are equal.
fn bag_f1(pairs: &[(u32, u32)]) -> f64 {
    let mut bag: BTreeMap<u32, i64> = BTreeMap::new();
    for (_, label) in pairs {
        *bag.entry(*label).or_default() += 1;
    }
    let mut shared = 0;
    for (decided, _) in pairs {
        if let Some(left) = bag.get_mut(decided).filter(|left| **left > 0) {
            *left -= 1;
            shared += 1;
        }
    }
    f64::from(shared) / pairs.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_judged_at_their_labelled_positions() {
        let integers = |rows: &[&[f32]]| Outputs {
            rows: rows.iter().map(|r| r.to_vec()).collect(),
            width: 3,
            integers: true,
        };
        let labels = [vec![5, 6, NO_TOKEN], vec![7, 8]];
        let figures = figures(&labels, &integers(&[&[5., 6., 9.], &[8., 7., 0.]]), None).unwrap();
        assert!((figures[0].value - 0.5).abs() < 1e-12, "the second is in the wrong order");
        assert!((figures[1].value - 1.0).abs() < 1e-12, "but all its tokens are there");
    }

    #[test]
    fn labels_that_do_not_fit_are_errors() {
        let outputs = Outputs { rows: vec![vec![0.1, 0.9]], width: 2, integers: false };
        for (labels, says) in [
            (vec![2], "2 scores"),
            (vec![0, 0], "1 positions"),
            (vec![NO_TOKEN], "all −100"),
            (vec![-5], "-5"),
        ] {
            let error = figures(&[labels], &outputs, None).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("sample 0"), "{error}");
        }
    }
}
