//! Paired comparison: the Hodges–Lehmann estimate with its exact signed-rank interval.

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

/// Largest w with P(T⁺ ≤ w) ≤ `tail` for n pairs; `None` if even P(T⁺ = 0) is larger.
fn largest_rank_within(n: usize, tail: f64) -> Option<usize> {
    // counts[t] / 2ⁿ = P(T⁺ = t), by adding one rank after the other.
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
    let mut cumulative = 0.0;
    let mut largest = None;
    for (w, probability) in counts.iter().enumerate() {
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
    fn a_shift_is_found_and_bounded() {
        let differences: Vec<f64> = (0..15).map(|i| 0.05 + 0.001 * f64::from(i - 7)).collect();
        let result = hodges_lehmann(&differences, 0.95).unwrap();
        assert!((result.estimate - 0.05).abs() < 1e-12);
        assert!(result.low > 0.04 && result.high < 0.06, "{result:?}");
    }

    #[test]
    fn too_few_pairs_say_nothing() {
        let result = hodges_lehmann(&[0.1, 0.2, 0.3], 0.95).unwrap();
        assert!(result.low.is_infinite() && result.high.is_infinite());
    }
}
