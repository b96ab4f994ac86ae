//! Bootstrap over samples: intervals of figures that have no formula.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::quantile::{Interval, order_statistic};

const RESAMPLES: u32 = 1000;
/// With fewer samples the resamples are too much alike.
const LEAST_SAMPLES: usize = 20;

/// The figure that `statistic` computes from a list of sample indices, for `0..n`, with a percentile
/// bootstrap interval at `confidence` (Efron & Tibshirani 1993, ch. 13).
///
/// Samples are drawn with replacement, 1000 times, from a fixed seed; resamples for which the
/// figure does not exist are left out. With fewer than 20 samples no interval is given; `None` when
/// the figure does not exist.
pub fn bootstrap(
    n: usize,
    confidence: f64,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Interval> {
    let all: Vec<usize> = (0..n).collect();
    let value = statistic(&all)?;
    if n < LEAST_SAMPLES {
        return Some(Interval { value, low: None, high: None });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0x5eed_0b00);
    let mut drawn = all;
    let mut figures: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            for index in &mut drawn {
                *index = rng.random_range(0..n);
            }
            statistic(&drawn)
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let low = order_statistic(&figures, tail).map(|low| low.min(value));
    let high = order_statistic(&figures, 1.0 - tail).map(|high| high.max(value));
    Some(Interval { value, low, high })
}

/// Mean of `values` with its bootstrap interval.
pub fn bootstrap_mean(values: &[f64], confidence: f64) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    bootstrap(values.len(), confidence, |drawn| {
        Some(drawn.iter().map(|i| values[*i]).sum::<f64>() / drawn.len() as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_the_textbook_interval() {
        let values: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 90.0 } else { 110.0 }).collect();
        let interval = bootstrap_mean(&values, 0.95).unwrap();
        // σ = 10: ±1.96·10/√400 = ±0.98.
        assert!((interval.value - 100.0).abs() < 1e-9);
        assert!((interval.high.unwrap() - 100.98).abs() < 0.2, "{interval:?}");
        assert_eq!(interval, bootstrap_mean(&values, 0.95).unwrap(), "seeded");
    }

    #[test]
    fn few_samples_have_no_interval() {
        assert_eq!(bootstrap_mean(&[1.0, 2.0], 0.95).unwrap().low, None);
        assert_eq!(bootstrap_mean(&[], 0.95), None);
    }
}
