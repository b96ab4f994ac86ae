//! Drift of a series over its window.

use statrs::distribution::{ContinuousCDF, Normal};

use super::quantile::median;

/// A straight line through a series, as the change over the whole window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Change from the first to the last observation, relative to the median.
    pub change: f64,
    /// Whether the interval of the change excludes 0.
    pub significant: bool,
}

/// Drift of `series` over its length, robust to outliers, at `confidence`.
///
/// The slope is Theil's (median of the pairwise slopes) and its significance Kendall's test in
/// the normal approximation (Theil 1950; Sen 1968). Series longer than 100 values are first cut
/// into 100 consecutive blocks and their medians taken, which bounds the work and removes most
/// short-range correlation. `None` with fewer than 8 values or a median of 0.
pub fn trend(series: &[f64], confidence: f64) -> Option<Trend> {
    const BLOCKS: usize = 100;
    let middle = median(series)?;
    if series.len() < 8 || middle == 0.0 {
        return None;
    }
    let blocks: Vec<f64> = if series.len() <= BLOCKS {
        series.to_vec()
    } else {
        (0..BLOCKS)
            .filter_map(|b| {
                let (from, to) = (b * series.len() / BLOCKS, (b + 1) * series.len() / BLOCKS);
                median(&series[from..to])
            })
            .collect()
    };
    let n = blocks.len();
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    let mut score: f64 = 0.0;
    for i in 0..n {
        for j in i + 1..n {
            let rise = blocks[j] - blocks[i];
            slopes.push(rise / (j - i) as f64);
            score += if rise > 0.0 {
                1.0
            } else if rise < 0.0 {
                -1.0
            } else {
                0.0
            };
        }
    }
    let n = n as f64;
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let critical = Normal::new(0.0, 1.0).ok()?.inverse_cdf(f64::midpoint(1.0, confidence));
    let change = median(&slopes)? * (n - 1.0) / middle;
    Some(Trend { change, significant: (score.abs() - 1.0) / deviation > critical })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn noisy(n: usize, drift: f64, seed: u64) -> Vec<f64> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|i| 10.0 * (1.0 + drift * i as f64 / n as f64) + rng.random::<f64>()).collect()
    }

    #[test]
    fn a_drift_of_ten_percent_is_seen() {
        let found = trend(&noisy(400, 0.10, 1), 0.95).unwrap();
        assert!(found.significant && (found.change - 0.095).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn a_level_series_is_rarely_called_a_drift() {
        let alarms = (0..200)
            .filter(|seed| trend(&noisy(300, 0.0, *seed), 0.95).unwrap().significant)
            .count();
        assert!(alarms <= 20, "{alarms} of 200 at 5 %");
    }

    #[test]
    fn one_outlier_is_no_drift() {
        let mut series = noisy(200, 0.0, 5);
        series[199] = 1000.0;
        assert!(trend(&series, 0.95).unwrap().change.abs() < 0.02);
    }
}
