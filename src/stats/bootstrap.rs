//! Bootstrap over blocks of time.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::quantile::{Interval, order_statistic};

const RESAMPLES: u32 = 2000;
/// With fewer blocks a percentile interval is much too narrow: 84 % at 5, simulated.
const LEAST_BLOCKS: usize = 10;

/// Σ amounts / Σ lengths of `blocks`, each (amount, length), with a percentile bootstrap interval
/// at `confidence`.
///
/// The caller cuts a series into consecutive blocks long enough that neighbours are nearly
/// independent (Künsch 1989); here whole blocks are resampled with replacement, 2000 times, from
/// a fixed seed, and the ratio is taken of each resample. With fewer than 10 blocks no interval is
/// given; `None` without any length.
pub fn block_bootstrap_rate(blocks: &[(f64, f64)], confidence: f64) -> Option<Interval> {
    let rate = |amount: f64, length: f64| (length > 0.0).then(|| amount / length);
    let sum = |chosen: &mut dyn Iterator<Item = (f64, f64)>| {
        chosen.fold((0.0, 0.0), |(amount, length), (a, l)| (amount + a, length + l))
    };
    let (amount, length) = sum(&mut blocks.iter().copied());
    let value = rate(amount, length)?;
    let n = blocks.len();
    if n < LEAST_BLOCKS {
        return Some(Interval { value, low: None, high: None });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0x0b00_757a);
    let mut rates: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let (amount, length) = sum(&mut (0..n).map(|_| blocks[rng.random_range(0..n)]));
            rate(amount, length)
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let (low, high) = (order_statistic(&rates, tail)?, order_statistic(&rates, 1.0 - tail)?);
    Some(Interval::new(value, low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_narrows_with_more_blocks() {
        let width = |n: usize| {
            let block = |i: usize| (if i.is_multiple_of(2) { 90.0 } else { 110.0 }, 1.0);
            let blocks: Vec<(f64, f64)> = (0..n).map(block).collect();
            let interval = block_bootstrap_rate(&blocks, 0.95).unwrap();
            assert!((interval.value - 100.0).abs() < 1e-9);
            interval.high.unwrap() - interval.low.unwrap()
        };
        // σ = 10: ±1.96·10/√n.
        assert!((width(400) - 1.96).abs() < 0.2, "{}", width(400));
        assert!(width(20) > 3.0 * width(400));
    }

    #[test]
    fn few_blocks_have_no_interval() {
        assert_eq!(block_bootstrap_rate(&[(1.0, 1.0), (2.0, 1.0)], 0.95).unwrap().low, None);
        assert_eq!(block_bootstrap_rate(&[], 0.95), None);
    }

    #[test]
    fn a_long_block_weighs_more_than_a_short_one() {
        let blocks = [(10.0, 1.0), (10.0, 4.0)];
        assert!((block_bootstrap_rate(&blocks, 0.95).unwrap().value - 4.0).abs() < 1e-12);
    }
}
