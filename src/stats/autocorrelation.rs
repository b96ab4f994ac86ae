//! How many independent observations a correlated series is worth.

/// Effective sample size of a 0/1 series for its mean: n·(1 − ρ)/(1 + ρ), ρ the lag-1
/// autocorrelation (first-order autoregressive model; Bayley & Hammersley 1946).
///
/// A quantile's uncertainty is that of the share of observations above it, so the series to pass
/// is "was above the quantile". ρ counts only when it is positive and beyond 2/√n, what an
/// uncorrelated series shows by chance.
pub fn effective_size(above: &[bool]) -> f64 {
    let n = above.len() as f64;
    let mean = above.iter().filter(|a| **a).count() as f64 / n;
    let variance = mean * (1.0 - mean);
    if above.len() < 3 || variance <= 0.0 {
        return n;
    }
    let centred = |a: bool| f64::from(u8::from(a)) - mean;
    let covariance =
        above.windows(2).map(|w| centred(w[0]) * centred(w[1])).sum::<f64>() / (n - 1.0);
    let rho = covariance / variance;
    if rho <= 2.0 / n.sqrt() { n } else { n * (1.0 - rho.min(0.999)) / (1.0 + rho.min(0.999)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn an_uncorrelated_series_keeps_its_size() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let series: Vec<bool> = (0..1000).map(|_| rng.random::<f64>() < 0.1).collect();
        assert!(effective_size(&series) > 900.0);
    }

    #[test]
    fn runs_of_ten_are_worth_about_a_tenth() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut series = Vec::new();
        for _ in 0..200 {
            let above = rng.random::<f64>() < 0.5;
            series.extend([above; 10]);
        }
        let worth = effective_size(&series);
        // Blocks of ten have ρ₁ = 0.9, hence a factor of 0.1/1.9.
        assert!((80.0..140.0).contains(&worth), "{worth}");
    }
}
