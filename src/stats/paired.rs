//! Paired comparison: the Hodges–Lehmann estimate with its exact signed-rank interval.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::quantile::median;

/// The middle of a set of paired differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// Median of the Walsh averages (Hodges & Lehmann 1963).
    pub estimate: f64,
    /// Ends of the exact confidence interval; infinite where there are too few differences.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The Hodges–Lehmann estimate of `differences` and its exact interval at `confidence`.
///
/// The ends are the Walsh averages (dᵢ + dⱼ)/2, i ≤ j, at 0-based positions w and last − w, w the
/// largest integer with P(T⁺ ≤ w) ≤ α/2 under the signed-rank distribution, which is counted
/// exactly (Hollander, Wolfe & Chicken, *Nonparametric Statistical Methods*, 3rd ed., 3.2–3.3).
/// `None` without differences.
pub fn hodges_lehmann(differences: &[f64], confidence: f64) -> Option<SignedRank> {
    let n = differences.len();
    let mut walsh = Vec::with_capacity(n * (n + 1) / 2);
    for (i, a) in differences.iter().enumerate() {
        walsh.extend(differences[i..].iter().map(|b| f64::midpoint(*a, *b)));
    }
    walsh.sort_by(f64::total_cmp);
    let estimate = median(&walsh)?;
    let (low, high) = match largest_rank_within(n, (1.0 - confidence) / 2.0) {
        Some(w) if w < walsh.len() => (walsh[w], walsh[walsh.len() - 1 - w]),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    };
    Some(SignedRank { estimate, low, high })
}

/// The exact one-sided p-value of the signed-rank test that the differences lie above 0: P(T⁺ ≥ t) for as many pairs.
///
/// Differences of 0 are left out and ties share the mean of their ranks, rounded down to a whole one: towards a larger
/// p-value (Hollander, Wolfe & Chicken, 3.1). 1 without differences.
pub fn signed_rank_above(differences: &[f64]) -> f64 {
    let mut all: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    all.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let mut doubled = 0; // Twice the sum of ranks, which is whole.
    let mut at = 0;
    while at < all.len() {
        let ties = all[at..].iter().take_while(|d| d.abs() <= all[at].abs()).count();
        // Ranks at + 1 to at + ties, of which the mean is at + (ties + 1) / 2.
        let above = all[at..at + ties].iter().filter(|d| **d > 0.0).count();
        doubled += above * (2 * at + ties + 1);
        at += ties;
    }
    distribution(all.len()).iter().skip(doubled / 2).sum::<f64>().min(1.0)
}

/// How much differences deviate: the larger of their standard deviation and 1.4826 times the median absolute deviation,
/// of which the one is carried away by a single value and the other blind to it. `None` with fewer than two.
pub fn deviation(differences: &[f64]) -> Option<f64> {
    let (middle, n) = (median(differences)?, differences.len() as f64);
    let apart: Vec<f64> = differences.iter().map(|d| (d - middle).abs()).collect();
    let mean = differences.iter().sum::<f64>() / n;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    (n > 1.0).then_some((squares / (n - 1.0)).sqrt().max(1.4826 * median(&apart)?))
}

/// The value that Student's t of so many degrees of freedom lies below with probability `p`; `None` without any.
pub fn student_quantile(p: f64, freedom: f64) -> Option<f64> {
    StudentsT::new(0.0, 1.0, freedom).ok().map(|t| t.inverse_cdf(p))
}

/// P(T⁺ = t) for n pairs, t from 0 to n(n + 1)/2.
fn distribution(n: usize) -> Vec<f64> {
    // By adding one rank after the other.
    let total = n * (n + 1) / 2;
    let mut counts = vec![0.0_f64; total + 1];
    counts[0] = 1.0;
    for rank in 1..=n {
        for t in (rank..=total).rev() {
            counts[t] += counts[t - rank];
        }
        // Kept as probabilities, so that many pairs do not overflow.
        for count in &mut counts {
            *count /= 2.0;
        }
    }
    counts
}

/// Largest w with P(T⁺ ≤ w) ≤ `tail` for n pairs; `None` if even P(T⁺ = 0) is larger.
fn largest_rank_within(n: usize, tail: f64) -> Option<usize> {
    let mut cumulative = 0.0;
    let mut largest = None;
    for (w, probability) in distribution(n).iter().enumerate() {
        cumulative += probability;
        if cumulative > tail {
            break;
        }
        largest = Some(w);
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_critical_ranks_are_the_tabulated_ones() {
        // Two-sided 5 %: tables give W = 0 at n = 6, 2 at 7, 3 at 8, 8 at 10, 52 at 20.
        for (n, w) in [(6, 0), (7, 2), (8, 3), (10, 8), (20, 52)] {
            assert_eq!(largest_rank_within(n, 0.025), Some(w), "n = {n}");
        }
        assert_eq!(largest_rank_within(5, 0.025), None);
    }

    #[test]
    fn p_values_are_those_of_the_tables() {
        // All of n above 0: 2⁻ⁿ.
        let all: Vec<f64> = (1..=8).map(f64::from).collect();
        assert!((signed_rank_above(&all) - 1.0 / 256.0).abs() < 1e-12);
        let none: Vec<f64> = all.iter().map(|d| -d).collect();
        assert!((signed_rank_above(&none) - 1.0).abs() < 1e-12);
        // n = 10: P(T⁺ ≥ 47) is tabulated as 0.024.
        let mut mixed: Vec<f64> = (1..=10).map(f64::from).collect();
        mixed[7] = -8.0;
        assert!((signed_rank_above(&mixed) - 0.0244).abs() < 5e-4, "{}", signed_rank_above(&mixed));
        // It agrees with the interval: the lower end is above 0 exactly where p is within the tail.
        for shift in [0.0, 0.5, 2.5, 4.5, 8.5] {
            let values: Vec<f64> = mixed.iter().map(|d| d + shift).collect();
            let low = hodges_lehmann(&values, 0.98).unwrap().low;
            assert_eq!(low > 0.0, signed_rank_above(&values) <= 0.01, "{shift}");
        }
        assert!((signed_rank_above(&[]) - 1.0).abs() < 1e-12);
        assert!((signed_rank_above(&[1.0, 1.0, -1.0]) - 0.375).abs() < 1e-12);
    }

    #[test]
    fn a_deviation_is_the_larger_of_two() {
        assert!(
            (deviation(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap()
                - 2.0_f64.sqrt().max(1.4826 * 1.0).max(2.5_f64.sqrt()))
            .abs()
                < 1e-12
        );
        assert!(deviation(&[0.0, 0.0, 0.0, 0.0, 9.0]).unwrap() > 4.0);
        assert_eq!(deviation(&[0.1]), None);
    }

    #[test]
    fn a_shift_is_found_and_bounded() {
        let differences: Vec<f64> = (0..15).map(|i| 0.05 + 0.001 * f64::from(i - 7)).collect();
        let result = hodges_lehmann(&differences, 0.95).unwrap();
        assert!((result.estimate - 0.05).abs() < 1e-12);
        assert!(result.low > 0.04 && result.high < 0.06, "{result:?}");
    }

    #[test]
    fn quantiles_of_t_are_those_of_the_tables() {
        // t at 0.975 of 4 and 10 degrees of freedom: 2.776 and 2.228.
        assert!((student_quantile(0.975, 4.0).unwrap() - 2.776).abs() < 1e-3);
        assert!((student_quantile(0.975, 10.0).unwrap() - 2.228).abs() < 1e-3);
        assert_eq!(student_quantile(0.9, 0.0), None);
    }

    #[test]
    fn too_few_pairs_say_nothing() {
        let result = hodges_lehmann(&[0.1, 0.2, 0.3], 0.95).unwrap();
        assert!(result.low.is_infinite() && result.high.is_infinite());
    }
}
