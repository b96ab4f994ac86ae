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
    // Exactly 0 and 1 where the formula is, and rounding is not.
    let low = if successes == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if successes == trials { 1.0 } else { (centre + half).min(1.0) };
    Some(Interval::new(p, low, high))
}

/// Difference of two shares of the same `trials`, of which `gained` are right only the second time
/// and `lost` only the first, with Agresti and Min's interval at `confidence`: Wald's after adding
/// half a trial to each of the four cells (Agresti & Min 2005). It has a width even when nothing
/// changed. `None` without trials.
pub fn paired_difference(
    gained: usize,
    lost: usize,
    trials: usize,
    confidence: f64,
) -> Option<Interval> {
    if trials == 0 {
        return None;
    }
    let z = Normal::new(0.0, 1.0).ok()?.inverse_cdf(f64::midpoint(1.0, confidence));
    let (b, c, n) = (lost as f64, gained as f64, trials as f64);
    let (b2, c2, n2) = (b + 0.5, c + 0.5, n + 2.0);
    let centre = (c2 - b2) / n2;
    let half = z * ((b2 + c2) - (c2 - b2).powi(2) / n2).sqrt() / n2;
    Some(Interval::new((c - b) / n, (centre - half).max(-1.0), (centre + half).min(1.0)))
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

    #[test]
    fn a_paired_difference_agrees_with_its_formula() {
        // By hand: 8/88 ± 1.96·√(25 − 8²/88)/88 = 0.0909 ± 0.1097.
        let interval = paired_difference(16, 8, 86, 0.95).unwrap();
        assert!((interval.value - 8.0 / 86.0).abs() < 1e-12);
        assert!((interval.low.unwrap() + 0.0188).abs() < 1e-4, "{interval:?}");
        assert!((interval.high.unwrap() - 0.2006).abs() < 1e-4, "{interval:?}");
        let nothing = paired_difference(0, 0, 1500, 0.95).unwrap();
        assert!(nothing.low.unwrap() < 0.0 && nothing.high.unwrap() > 0.0);
    }
}
