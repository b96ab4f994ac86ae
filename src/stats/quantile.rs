//! Quantiles as order statistics, with distribution-free confidence intervals.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

/// A figure with its two-sided confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end; `None` where the sample is too small for a finite one.
    pub low: Option<f64>,
    /// Upper end; `None` where the sample is too small for a finite one.
    pub high: Option<f64>,
}

impl Interval {
    /// An interval with both ends.
    pub fn new(value: f64, low: f64, high: f64) -> Self {
        Self { value, low: Some(low), high: Some(high) }
    }
}

/// The order statistic for quantile `p`: the smallest value such that at least `p` of the sample
/// is not above it (nearest rank, index ⌈n·p⌉ − 1). `None` for an empty sample.
///
/// `sorted` must be in ascending order.
pub fn order_statistic(sorted: &[f64], p: f64) -> Option<f64> {
    if sorted.is_empty() {
        return None;
    }
    Some(sorted[rank_above(sorted.len(), p)])
}

/// The median of an unsorted sample: the mean of the two middle values when there are two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
    }
}

/// Quantile `p` with a distribution-free interval at `confidence`, for a sample that is worth
/// `independent` independent observations (at most its length).
///
/// The interval is made of order statistics. With n independent observations their ranks, counted
/// from 1, are l = `ppf(α/2; n, p)` and u = `ppf(1 − α/2; n, p) + 1` of the binomial distribution
/// (David & Nagaraja, *Order Statistics*, 3rd ed., section 7.1). An end is finite only where
/// 1 ≤ l and u ≤ n: for p99 at 95 % from n = 368 on. Where observations come in groups the ranks
/// are found for the number of groups and scaled to the sample.
///
/// `None` when fewer than one observation is expected beyond the quantile: the figure would be
/// the largest value under another name.
pub fn percentile(sorted: &[f64], p: f64, independent: f64, confidence: f64) -> Option<Interval> {
    let value = order_statistic(sorted, p)?;
    if sorted.len() as f64 * p.min(1.0 - p) < 1.0 - 1e-9 {
        return None;
    }
    let n = independent.min(sorted.len() as f64).floor().max(1.0);
    let (low, high) = ranks(n, p, confidence).map_or((None, None), |(l, u)| {
        let at = |rank: f64| order_statistic(sorted, rank / n);
        ((l >= 1.0).then(|| at(l)).flatten(), (u <= n).then(|| at(u)).flatten())
    });
    // An interval with one open end is not printed as an interval.
    match (low, high) {
        (Some(low), Some(high)) => Some(Interval::new(value, low, high)),
        _ => Some(Interval { value, low: None, high: None }),
    }
}

/// Ranks (from 1) of the order statistics that bound quantile `p` of `n` observations.
fn ranks(n: f64, p: f64, confidence: f64) -> Option<(f64, f64)> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "n is a floored count ≥ 1"
    )]
    let binomial = Binomial::new(p, n as u64).ok()?;
    let tail = (1.0 - confidence) / 2.0;
    let low = binomial.inverse_cdf(tail);
    let high = binomial.inverse_cdf(1.0 - tail) + 1;
    Some((low as f64, high as f64))
}

fn rank_above(n: usize, p: f64) -> usize {
    // Guards against p·n landing a rounding error above a whole number.
    let exact = p * n as f64;
    let rank = (exact - 1e-9).ceil().max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 ≤ rank ≤ n by construction"
    )]
    let rank = rank as usize;
    rank.min(n) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks_agree_with_the_published_table() {
        // p99, 95 %: n → ranks, computed with scipy.stats.binom (statistics note, section 3).
        for (n, low, high) in
            [(500.0, 490.0, 500.0), (1000.0, 983.0, 997.0), (3000.0, 2959.0, 2981.0)]
        {
            let (l, u) = ranks(n, 0.99, 0.95).unwrap();
            assert!((l - low).abs() <= 1.0 && (u - high).abs() <= 1.0, "{n}: {l} {u}");
        }
    }

    #[test]
    fn p99_has_a_finite_interval_from_368_on() {
        let sample = |n: usize| (0..n).map(|i| i as f64).collect::<Vec<_>>();
        let at = |n: usize| percentile(&sample(n), 0.99, n as f64, 0.95);
        assert_eq!(at(367).unwrap().high, None);
        assert!(at(368).unwrap().high.is_some());
        assert_eq!(at(99), None, "fewer than one observation beyond p99");
    }

    #[test]
    fn batches_count_once() {
        // 664 observations in 83 batches: not enough for a p99 interval, enough for a p50 one.
        let sorted: Vec<f64> = (0..664).map(|i| f64::from(i / 8)).collect();
        let median = percentile(&sorted, 0.5, 83.0, 0.95).unwrap();
        assert!((median.value - 41.0).abs() < 1e-9);
        assert!(median.low.unwrap() <= 33.0 && median.high.unwrap() >= 50.0, "{median:?}");
        let tail = percentile(&sorted, 0.99, 83.0, 0.95).unwrap();
        assert_eq!((tail.low, tail.high), (None, None));
    }

    #[test]
    fn a_median_interval_covers_the_truth_as_often_as_it_says() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut covered = 0;
        for _ in 0..2000 {
            let mut sample: Vec<f64> = (0..101).map(|_| rng.random::<f64>()).collect();
            sample.sort_by(f64::total_cmp);
            let interval = percentile(&sample, 0.5, 101.0, 0.95).unwrap();
            if interval.low.unwrap() <= 0.5 && 0.5 <= interval.high.unwrap() {
                covered += 1;
            }
        }
        // 95 % of 2000 less 4 standard errors; order statistics are slightly conservative.
        assert!((1861..=1985).contains(&covered), "{covered}");
    }

    proptest! {
        #[test]
        fn the_order_statistic_is_the_smallest_value_with_enough_below(
            mut values in prop::collection::vec(-1e6_f64..1e6, 1..200), p in 0.001_f64..0.999,
        ) {
            values.sort_by(f64::total_cmp);
            let naive = values.iter().copied().find(|v| {
                let below = values.iter().filter(|w| *w <= v).count();
                below as f64 >= p * values.len() as f64 - 1e-9
            });
            prop_assert_eq!(order_statistic(&values, p), naive);
        }
    }
}
