//! How near a variant's answers are to its parent's. Needs no labels.

use super::{ALL, Metric, Outputs, QualityFigure};
use crate::stats::{self, CONFIDENCE, Interval};

/// Share of samples decided like the parent's.
pub(super) fn agreement(outputs: &Outputs, parents: &Outputs) -> Option<QualityFigure> {
    let (now, before) = (outputs.decisions(), parents.decisions());
    if now.len() != before.len() {
        return None;
    }
    let same = now.iter().zip(&before).filter(|(a, b)| a == b).count();
    let interval = stats::wilson(same, now.len(), CONFIDENCE)?;
    Some(QualityFigure::new(Metric::Agreement, ALL, interval, now.len()))
}

/// Mean cosine with the parent's outputs, and the largest difference of any value.
///
/// The largest difference of the samples is known exactly and has no upper bound beyond them: its
/// interval is open above.
pub(super) fn distances(outputs: &Outputs, parents: &Outputs) -> Vec<QualityFigure> {
    let mut cosines = Vec::with_capacity(outputs.rows.len());
    let mut largest: f64 = 0.0;
    for (a, b) in outputs.rows.iter().zip(&parents.rows) {
        // A vector of zeros or of no numbers is like nothing, except its own like.
        let alike = a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits());
        cosines.push(if alike { 1.0 } else { cosine(a, b).unwrap_or(0.0) });
        for (x, y) in a.iter().zip(b) {
            let apart = (f64::from(*x) - f64::from(*y)).abs();
            // A NaN on one side only is as far as it gets; on both it is the same answer.
            let apart = if apart.is_nan() && x.is_nan() != y.is_nan() { f64::MAX } else { apart };
            largest = largest.max(apart);
        }
    }
    let n = outputs.rows.len();
    let mut figures = Vec::new();
    if let Some(mean) = stats::bootstrap_mean(&cosines, CONFIDENCE) {
        figures.push(QualityFigure::new(Metric::Cosine, ALL, mean, cosines.len()));
    }
    if n > 0 {
        let open = Interval { value: largest, low: Some(largest), high: None };
        figures.push(QualityFigure::new(Metric::MaxAbsError, ALL, open, n));
    }
    figures
}

/// Cosine of two vectors; `None` when one is zero or their lengths differ.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let cosine = ab / (aa.sqrt() * bb.sqrt());
    cosine.is_finite().then_some(cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(rows: Vec<Vec<f32>>) -> Outputs {
        let width = rows[0].len();
        Outputs { rows, width, integers: false }
    }

    #[test]
    fn the_parent_itself_is_at_no_distance() {
        let rows: Vec<Vec<f32>> = (0..30_u8).map(|i| vec![f32::from(i), 1.0]).collect();
        let same = outputs(rows);
        let figures = distances(&same, &same);
        assert!((figures[0].value - 1.0).abs() < 1e-12);
        assert!(figures[1].value.abs() < 1e-12);
        assert_eq!(figures[1].high, None);
        assert!((agreement(&same, &same).unwrap().value - 1.0).abs() < 1e-12);
    }

    #[test]
    fn answers_that_are_no_numbers_are_not_left_out() {
        let good = outputs(vec![vec![1.0, 0.0]; 30]);
        let broken: Vec<Vec<f32>> =
            (0..30_u8).map(|i| if i < 15 { vec![f32::NAN; 2] } else { vec![1.0, 0.0] }).collect();
        let figures = distances(&outputs(broken), &good);
        assert!((figures[0].value - 0.5).abs() < 1e-12 && figures[0].samples == 30);
        assert!(figures[1].value >= f64::MAX);
    }

    #[test]
    fn distances_of_a_worked_example() {
        let a = outputs(vec![vec![1.0, 0.0], vec![0.0, 2.0]]);
        let b = outputs(vec![vec![0.0, 1.0], vec![0.0, 5.0]]);
        let figures = distances(&a, &b);
        assert!((figures[0].value - 0.5).abs() < 1e-12, "cosines 0 and 1");
        assert!((figures[1].value - 3.0).abs() < 1e-12);
        assert!((agreement(&a, &b).unwrap().value - 0.5).abs() < 1e-12);
    }
}
