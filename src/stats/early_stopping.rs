//! How many requests must be under a latency bound before a percentile may be said to meet it.

use statrs::function::beta::beta_reg;

/// Smallest number of requests under the bound so that, with `over` requests above it, the
/// `p`-quantile meets the bound at `confidence`.
///
/// The smallest h with `I_p(h, over + 1) ≤ 1 − confidence`, I the regularised incomplete beta
/// function: the binomial CDF of `over` failures in h + over trials at rate 1 − p (MLPerf LoadGen,
/// `early_stopping.cc`, with tolerance 0).
pub fn required_under(over: u32, p: f64, confidence: f64) -> u64 {
    let met = |h: u64| beta_reg(h as f64, f64::from(over) + 1.0, p) <= 1.0 - confidence;
    let mut high = 1;
    while !met(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        if met(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_loadgen() {
        // Totals h + t published for LoadGen at 99 % confidence.
        let total = |t: u32, p: f64| required_under(t, p, 0.99) + u64::from(t);
        let p90 = [(0, 44), (1, 64), (2, 81), (5, 127), (10, 197)];
        let p97 = [(0, 152), (1, 219), (2, 277), (5, 433), (10, 667)];
        let p99 = [(0, 459), (1, 662), (2, 838), (5, 1307), (10, 2010), (50, 6898), (100, 12571)];
        let p999 = [(0, 4603), (1, 6636), (2, 8403)];
        for (p, row) in [(0.90, &p90[..]), (0.97, &p97), (0.99, &p99), (0.999, &p999)] {
            for &(t, n) in row {
                assert_eq!(total(t, p), n, "p{p} t{t}");
            }
        }
    }
}
