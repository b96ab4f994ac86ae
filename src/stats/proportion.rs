//! Intervals of proportions.

use statrs::distribution::{ContinuousCDF, Normal};

use super::quantile::Interval;

/// Share of `successes` in `trials` with Wilson's score interval at `confidence` (Wilson 1927).
/// `None` without trials.
pub fn wilson(successes: usize, trials: usize, confidence: f64) -> Option<Interval> {
    if trials == 0 {
        return None;
    }
    let z = Normal::new(0.0, 1.0).ok()?.inverse_cdf(f64::midpoint(1.0, confidence));
    let n = trials as f64;
    let p = successes as f64 / n;
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Some(Interval::new(p, (centre - half).max(0.0), (centre + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_worked_example() {
        // 81 of 263: 0.2553 to 0.3662 (Newcombe 1998, table I).
        let interval = wilson(81, 263, 0.95).unwrap();
        assert!((interval.low.unwrap() - 0.2553).abs() < 5e-4);
        assert!((interval.high.unwrap() - 0.3662).abs() < 5e-4);
    }

    #[test]
    fn all_right_is_not_certainty() {
        let interval = wilson(20, 20, 0.95).unwrap();
        assert!(interval.low.unwrap() < 0.85);
        assert_eq!(wilson(0, 0, 0.95), None);
    }
}
