//! How many independent observations a correlated series is worth.

/// No more lags are summed than this, nor more than a quarter of the series.
const MOST_LAGS: usize = 500;

/// Consecutive parts whose means are compared, to see drift that is slower than any lag.
const PARTS: usize = 10;
/// (1.96 / 2.26)²: the mean of 10 parts has Student's t with 9 degrees of freedom.
const FEW_PARTS: f64 = 0.75;

/// Effective sample size of a 0/1 series for its mean, the smaller of two estimates.
///
/// A quantile's uncertainty is that of the share of observations above it, so the series to pass
/// is "was above the quantile".
///
/// - n / (1 + 2·Σ ρₖ), ρₖ the autocorrelation at lag k (Bayley & Hammersley 1946), summed up to the
///   first lag whose ρₖ is not beyond 2/√n, what an uncorrelated series shows by chance.
/// - From 200 observations on, p·(1 − p) / (s²/10), s² the variance of the means of 10 consecutive
///   parts (batch means; Conway 1963): it sees a speed that drifts over the window.
pub fn effective_size(above: &[bool]) -> f64 {
    let n = above.len() as f64;
    let mean = above.iter().filter(|a| **a).count() as f64 / n;
    let variance = mean * (1.0 - mean);
    if above.len() < 8 || variance <= 0.0 {
        return n;
    }
    let centred: Vec<f64> = above.iter().map(|a| f64::from(u8::from(*a)) - mean).collect();
    let noise = 2.0 / n.sqrt();
    let sum: f64 = (1..=MOST_LAGS.min(above.len() / 4))
        .map(|lag| {
            let products = centred.iter().zip(&centred[lag..]).map(|(a, b)| a * b);
            products.sum::<f64>() / (n * variance)
        })
        .take_while(|rho| *rho > noise)
        .sum();
    let by_lags = n / (1.0 + 2.0 * sum);
    if above.len() < 20 * PARTS {
        return by_lags;
    }
    let part = |i: usize| &centred[i * above.len() / PARTS..(i + 1) * above.len() / PARTS];
    let means = (0..PARTS).map(|i| part(i).iter().sum::<f64>() / part(i).len() as f64);
    let spread = means.map(|m| m * m).sum::<f64>() / (PARTS - 1) as f64;
    let by_parts = FEW_PARTS * variance / (spread / PARTS as f64).max(variance / n);
    by_lags.min(by_parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::percentile;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn an_uncorrelated_series_keeps_its_size() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let series: Vec<bool> = (0..1000).map(|_| rng.random::<f64>() < 0.1).collect();
        assert!(effective_size(&series) > 500.0);
    }

    #[test]
    fn runs_of_ten_are_worth_a_tenth() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut series = Vec::new();
        for _ in 0..400 {
            let above = rng.random::<f64>() < 0.5;
            series.extend([above; 10]);
        }
        let worth = effective_size(&series);
        assert!((200.0..500.0).contains(&worth), "{worth}");
    }

    #[test]
    fn a_speed_that_drifts_over_the_window_is_seen() {
        // Services of 1 ± 5 % noise on a level that wanders by 2 % over a tenth of the window: the
        // truth is the median over all windows.
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (n, step) = (1000_u32, 100);
        let mut covered = 0;
        for _ in 0..500 {
            let mut level = 0.0;
            let latencies: Vec<f64> = (0..n)
                .map(|i| {
                    if i % step == 0 {
                        level = 0.04 * (rng.random::<f64>() - 0.5);
                    }
                    1.0 + level + 0.1 * (rng.random::<f64>() - 0.5)
                })
                .collect();
            let mut sorted = latencies.clone();
            sorted.sort_by(f64::total_cmp);
            let value = crate::stats::order_statistic(&sorted, 0.5).unwrap();
            let above: Vec<bool> = latencies.iter().map(|l| *l > value).collect();
            let interval = percentile(&sorted, 0.5, effective_size(&above), 0.95).unwrap();
            if interval.low.unwrap() <= 1.0 && 1.0 <= interval.high.unwrap() {
                covered += 1;
            }
        }
        assert!(covered >= 440, "{covered} of 500");
    }

    /// How often, of 1000, the interval of `p` covers the truth for sums of `width` neighbouring
    /// uniform services: the latencies of a closed load with so many clients.
    fn coverage(width: usize, n: usize, p: f64) -> u32 {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut series = |n: usize| -> Vec<f64> {
            let services: Vec<f64> = (0..n + width).map(|_| rng.random()).collect();
            services.windows(width).take(n).map(|w| w.iter().sum()).collect()
        };
        let mut long = series(400_000);
        long.sort_by(f64::total_cmp);
        let truth = crate::stats::order_statistic(&long, p).unwrap();
        let covered = (0..1000).filter(|_| {
            let latencies = series(n);
            let mut sorted = latencies.clone();
            sorted.sort_by(f64::total_cmp);
            let value = crate::stats::order_statistic(&sorted, p).unwrap();
            let above: Vec<bool> = latencies.iter().map(|l| *l > value).collect();
            let interval = percentile(&sorted, p, effective_size(&above), 0.95).unwrap();
            // An open interval covers everything.
            interval.low.is_none_or(|low| low <= truth)
                && interval.high.is_none_or(|high| truth <= high)
        });
        u32::try_from(covered.count()).unwrap()
    }

    #[test]
    fn intervals_of_correlated_latencies_cover_the_truth() {
        for (width, n, p) in [(1, 1000, 0.5), (4, 1000, 0.5), (16, 2000, 0.5), (4, 2000, 0.95)] {
            let covered = coverage(width, n, p);
            assert!(covered >= 900, "width {width}, n {n}, p {p}: {covered} of 1000");
        }
    }
}
