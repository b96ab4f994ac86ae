//! A linear head on an encoder's output: fitted once, kept for every variant.
//!
//! A head fitted anew for each variant would hide what compression did to the encoder.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// scores = W·x + b, one row of W and one b a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// How it came about, for readers.
    #[serde(default)]
    pub description: String,
    /// By class and input value.
    weights: Vec<Vec<f32>>,
    /// By class.
    bias: Vec<f32>,
}

impl Head {
    /// Reads a head's JSON; `subject` names it in errors.
    pub fn parse(subject: &str, text: &str) -> Result<Self> {
        let remedy = "`infermark fit-head` makes one";
        let head: Self = serde_json::from_str(text)
            .map_err(|e| Error::input(subject, format!("is no head: {e}")).remedy(remedy))?;
        let width = head.weights.first().map_or(0, Vec::len);
        let fits = head.weights.len() == head.bias.len()
            && head.weights.len() >= 2
            && width > 0
            && head.weights.iter().all(|row| row.len() == width)
            && head.weights.iter().flatten().chain(&head.bias).all(|w| w.is_finite());
        if !fits {
            let message =
                "needs two classes or more, each with a bias and as many weights, all finite";
            return Err(Error::input(subject, message).remedy(remedy));
        }
        Ok(head)
    }

    /// Classes that it scores.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Values that it reads.
    pub fn inputs(&self) -> usize {
        self.weights.first().map_or(0, Vec::len)
    }

    /// The scores of one output.
    pub fn scores(&self, output: &[f32]) -> Vec<f32> {
        let score = |(weights, bias): (&Vec<f32>, &f32)| {
            let products = weights.iter().zip(output).map(|(w, x)| f64::from(*w) * f64::from(*x));
            #[expect(clippy::cast_possible_truncation, reason = "scores are shown and compared")]
            let score = (products.sum::<f64>() + f64::from(*bias)) as f32;
            score
        };
        self.weights.iter().zip(&self.bias).map(score).collect()
    }

    /// Fits one: ridge regression of ±1 targets, a class against the others (Hoerl & Kennard 1970),
    /// on centred outputs, `ridge` times their mean square added to the diagonal.
    ///
    /// Deterministic: the same outputs give the same head. An error when there are fewer than two
    /// classes or the outputs differ in length.
    pub fn fit(rows: &[Vec<f32>], labels: &[u32], classes: usize, ridge: f64) -> Result<Self> {
        let width = rows.first().map_or(0, Vec::len);
        if classes < 2 || width == 0 || rows.len() != labels.len() {
            return Err(Error::input("head", "needs outputs of two classes or more to be fitted"));
        }
        if rows.iter().any(|row| row.len() != width) {
            return Err(Error::input("head", "the outputs of samples differ in length")
                .remedy("choose a pooled output with quality.output"));
        }
        let n = rows.len() as f64;
        let mut mean = vec![0.0; width];
        for row in rows {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += f64::from(*x) / n);
        }
        let centred: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| row.iter().zip(&mean).map(|(x, m)| f64::from(*x) - m).collect())
            .collect();
        let mut gram = vec![vec![0.0; width]; width];
        for row in &centred {
            for (i, x) in row.iter().enumerate() {
                gram[i].iter_mut().zip(row).take(i + 1).for_each(|(g, y)| *g += x * y);
            }
        }
        let trace: f64 = (0..width).map(|i| gram[i][i]).sum();
        for (i, row) in gram.iter_mut().enumerate() {
            row[i] += ridge * trace / width as f64;
        }
        let factor = cholesky(gram).ok_or_else(|| {
            Error::input("head", "the outputs are all alike; nothing can be told from them")
                .remedy("choose another output with quality.output")
        })?;
        let mut head = Self { description: String::new(), weights: vec![], bias: vec![] };
        for class in 0..classes {
            let target = |label: &u32| if *label as usize == class { 1.0 } else { -1.0 };
            let offset = labels.iter().map(target).sum::<f64>() / n;
            let mut moment = vec![0.0; width];
            for (row, label) in centred.iter().zip(labels) {
                let t = target(label) - offset;
                moment.iter_mut().zip(row).for_each(|(m, x)| *m += t * x);
            }
            let weights = solve(&factor, moment);
            let shift: f64 = weights.iter().zip(&mean).map(|(w, m)| w * m).sum();
            // Six digits are plenty, and make the file's size and bytes the same everywhere.
            head.weights.push(weights.into_iter().map(six_digits).collect());
            head.bias.push(six_digits(offset - shift));
        }
        Ok(head)
    }
}

fn six_digits(value: f64) -> f32 {
    format!("{value:.6}").parse().unwrap_or(0.0)
}

/// The lower factor L of a symmetric positive matrix L·Lᵀ, of which only the lower half is read.
fn cholesky(mut a: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for j in 0..a.len() {
        for i in j..a.len() {
            let dot: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            let value = a[i][j] - dot;
            if i == j {
                if value <= 0.0 || value.is_nan() {
                    return None;
                }
                a[j][j] = value.sqrt();
            } else {
                a[i][j] = value / a[j][j];
            }
        }
    }
    Some(a)
}

/// Solves L·Lᵀ·x = b.
fn solve(l: &[Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    for i in 0..b.len() {
        let dot: f64 = (0..i).map(|k| l[i][k] * b[k]).sum();
        b[i] = (b[i] - dot) / l[i][i];
    }
    for i in (0..b.len()).rev() {
        let dot: f64 = (i + 1..b.len()).map(|k| l[k][i] * b[k]).sum();
        b[i] = (b[i] - dot) / l[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fitted_head_separates_what_can_be_separated() {
        let rows: Vec<Vec<f32>> = (0..40_u8)
            .map(|i| {
                let side = if i % 2 == 0 { 1.0 } else { -1.0 };
                vec![side * 0.5 + 3.0, f32::from(i % 7), f32::from(i % 3)]
            })
            .collect();
        let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
        let head = Head::fit(&rows, &labels, 2, 1e-3).unwrap();
        for (row, label) in rows.iter().zip(&labels) {
            let scores = head.scores(row);
            assert_eq!(u32::from(scores[1] > scores[0]), *label, "{scores:?}");
        }
        let text = serde_json::to_string(&head).unwrap();
        assert_eq!(Head::parse("h", &text).unwrap(), head);
    }

    #[test]
    fn a_solved_system_fits() {
        let l = cholesky(vec![vec![4.0, 0.0], vec![2.0, 3.0]]).unwrap();
        let x = solve(&l, vec![8.0, 7.0]);
        assert!((4.0 * x[0] + 2.0 * x[1] - 8.0).abs() < 1e-12);
        assert!((2.0 * x[0] + 3.0 * x[1] - 7.0).abs() < 1e-12);
        assert_eq!(cholesky(vec![vec![0.0]]), None);
    }

    #[test]
    fn half_a_head_is_none() {
        for text in [
            "{}",
            r#"{"weights": [[1.0]], "bias": [0.0]}"#,
            r#"{"weights": [[1],[1,2]], "bias": [0,0]}"#,
        ] {
            assert!(Head::parse("h.json", text).unwrap_err().to_string().contains("h.json"));
        }
    }
}
