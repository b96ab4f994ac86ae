//! What a variant answered: one row of values a sample.

use serde::{Deserialize, Serialize};

use super::head::Head;

/// The output of every sample, in the order of the test set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outputs {
    /// The sample's values in C order.
    pub rows: Vec<Vec<f32>>,
    /// Size of the last axis: scores a position.
    pub width: usize,
    /// Whether the output's element type is an integer: it names classes itself.
    pub integers: bool,
}

impl Outputs {
    /// The head's scores in place of what it reads.
    #[must_use]
    pub fn through(&self, head: &Head) -> Self {
        Self {
            rows: self.rows.iter().map(|row| head.scores(row)).collect(),
            width: head.classes(),
            integers: false,
        }
    }

    /// What each sample was decided to be: the class with the highest score at each position, the
    /// integers themselves where the output is made of those.
    pub fn decisions(&self) -> Vec<Vec<u32>> {
        self.rows
            .iter()
            .map(|row| {
                if self.integers {
                    return row.iter().map(|v| to_class(*v)).collect();
                }
                row.chunks(self.width.max(1)).map(largest).collect()
            })
            .collect()
    }

    /// The first decision of each sample: its class.
    pub fn classes(&self) -> Vec<u32> {
        self.decisions().into_iter().map(|d| d.first().copied().unwrap_or(u32::MAX)).collect()
    }
}

fn to_class(value: f32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "integers below 2^24 are exact; a negative one is no class"
    )]
    if value >= 0.0 { value as u32 } else { u32::MAX }
}

/// Index of the largest value. Ties go to the lower index and NaN never wins.
fn largest(row: &[f32]) -> u32 {
    let mut best: Option<(usize, f32)> = None;
    for (index, &value) in row.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, top)| value > top) {
            best = Some((index, value));
        }
    }
    best.map_or(u32::MAX, |(index, _)| u32::try_from(index).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_decides_and_nan_never_does() {
        let rows = vec![vec![f32::NAN, 1.0, 1.0], vec![3.0, 2.0, f32::NAN], vec![f32::NAN; 3]];
        let outputs = Outputs { rows, width: 3, integers: false };
        assert_eq!(outputs.classes(), [1, 0, u32::MAX]);
    }

    #[test]
    fn integers_are_classes_themselves() {
        let outputs = Outputs { rows: vec![vec![4.0], vec![-1.0]], width: 1, integers: true };
        assert_eq!(outputs.classes(), [4, u32::MAX]);
    }
}
