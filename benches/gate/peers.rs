//! What others would say of the same observations.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use infermark::stats;

/// Resamples of criterion's test; it takes 100,000 itself.
const RESAMPLES: usize = 2000;
/// Its significance level and noise threshold.
const SIGNIFICANCE: f64 = 0.05;
const NOISE: f64 = 0.01;

/// Criterion's own rule: a t test whose distribution is bootstrapped from both samples together, at 0.05, and then a
/// confidence interval of the relative change of means that lies above its noise threshold of 1 %.
pub(crate) fn criterion(baseline: &[f64], candidate: &[f64], seed: u64) -> bool {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let t = student_t(candidate, baseline).abs();
    let mixed: Vec<f64> = baseline.iter().chain(candidate).copied().collect();
    let mut draw = |from: &[f64], count: usize| -> Vec<f64> {
        (0..count).map(|_| from[random.random_range(0..from.len())]).collect()
    };
    let beyond = (0..RESAMPLES)
        .filter(|_| {
            let (new, old) = (draw(&mixed, candidate.len()), draw(&mixed, baseline.len()));
            student_t(&new, &old).abs() >= t
        })
        .count();
    if beyond as f64 / RESAMPLES as f64 >= SIGNIFICANCE {
        return false;
    }
    let mut changes: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            mean(&draw(candidate, candidate.len())) / mean(&draw(baseline, baseline.len())) - 1.0
        })
        .collect();
    changes.sort_by(f64::total_cmp);
    stats::order_statistic(&changes, SIGNIFICANCE / 2.0).is_some_and(|low| low > NOISE)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn student_t(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let variance = |values: &[f64], mean: f64| {
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
    };
    let error = variance(a, mean_a) / a.len() as f64 + variance(b, mean_b) / b.len() as f64;
    (mean_a - mean_b) / error.sqrt()
}
