//! Bootstrap over blocks of time.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::quantile::{Interval, order_statistic};

const RESAMPLES: u32 = 2000;

/// Mean of `blocks` with a percentile bootstrap interval at `confidence`.
///
/// The caller cuts a series into consecutive blocks long enough that neighbours are nearly
/// independent (Künsch 1989); here whole blocks are resampled with replacement, 2000 times, from
/// a fixed seed. With fewer than 5 blocks no interval is given.
pub fn block_bootstrap_mean(blocks: &[f64], confidence: f64) -> Option<Interval> {
    if blocks.is_empty() {
        return None;
    }
    let n = blocks.len();
    let mean = blocks.iter().sum::<f64>() / n as f64;
    if n < 5 {
        return Some(Interval { value: mean, low: None, high: None });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0x0b00_757a);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| blocks[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let (low, high) = (order_statistic(&means, tail)?, order_statistic(&means, 1.0 - tail)?);
    Some(Interval::new(mean, low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_narrows_with_more_blocks() {
        let blocks = |n: usize| (0..n).map(|i| if i % 2 == 0 { 90.0 } else { 110.0 }).collect();
        let width = |n: usize| {
            let blocks: Vec<f64> = blocks(n);
            let interval = block_bootstrap_mean(&blocks, 0.95).unwrap();
            assert!((interval.value - 100.0).abs() < 1e-9);
            interval.high.unwrap() - interval.low.unwrap()
        };
        // σ = 10: ±1.96·10/√n.
        assert!((width(400) - 1.96).abs() < 0.2, "{}", width(400));
        assert!(width(20) > 3.0 * width(400));
    }

    #[test]
    fn few_blocks_have_no_interval() {
        assert_eq!(block_bootstrap_mean(&[1.0, 2.0], 0.95).unwrap().low, None);
        assert_eq!(block_bootstrap_mean(&[], 0.95), None);
    }
}
