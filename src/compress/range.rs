//! From the values that an activation took to the range that its whole numbers cover.

use crate::variant::RangeRule;

/// Bins of a histogram over `[-reach, reach]`, half of them on either side of 0.
pub(super) const BINS: usize = 8192;
/// Levels that an entropy-calibrated magnitude is cut into: those of 8 bits with a sign.
const ENTROPY_LEVELS: usize = 128;

/// What was seen of one activation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// Smallest value.
    pub(super) low: f32,
    /// Largest value.
    pub(super) high: f32,
    /// How often a value fell into each bin; empty before the second look.
    pub(super) histogram: Vec<u64>,
    /// Values that were seen.
    pub(super) count: u64,
    /// Smallest and largest before the last quarter of the samples.
    pub(super) early: (f32, f32),
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            histogram: Vec::new(),
            count: 0,
            early: (0.0, 0.0),
        }
    }
}

impl Seen {
    /// Widens for whatever is finite: for values that may be masked with −∞.
    pub(super) fn widen_finite(&mut self, values: &[f32]) {
        for value in values.iter().filter(|v| v.is_finite()) {
            self.low = self.low.min(*value);
            self.high = self.high.max(*value);
        }
        self.count += values.len() as u64;
    }

    /// By how much the range grew over the last quarter of the samples, as a share of it.
    pub(super) fn growth(&self) -> f32 {
        let (low, high) = self.early;
        let (width, before) = (self.high - self.low, high - low);
        if width > 0.0 { (1.0 - before / width).max(0.0) } else { 0.0 }
    }

    /// Takes note of smallest and largest; false when a value is no finite number.
    pub(super) fn widen(&mut self, values: &[f32]) -> bool {
        for value in values {
            if !value.is_finite() {
                return false;
            }
            self.low = self.low.min(*value);
            self.high = self.high.max(*value);
        }
        self.count += values.len() as u64;
        true
    }

    /// The largest magnitude: half the width of the histogram.
    pub(super) fn reach(&self) -> f32 {
        self.high.max(-self.low).max(0.0)
    }

    /// Counts values that were widened for before.
    pub(super) fn sort_in(&mut self, values: &[f32]) {
        self.histogram.resize(BINS, 0);
        let reach = self.reach();
        if reach <= 0.0 {
            self.histogram[BINS / 2] += values.len() as u64;
            return;
        }
        let half = BINS as f32 / 2.0;
        for value in values {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let bin = ((value / reach + 1.0) * half).clamp(0.0, BINS as f32 - 1.0) as usize;
            self.histogram[bin] += 1;
        }
    }

    /// The range that `rule` finds; what lies outside is cut.
    pub(super) fn range(&self, rule: RangeRule) -> (f32, f32) {
        if self.count == 0 {
            return (0.0, 0.0);
        }
        match rule {
            RangeRule::MinMax => (self.low, self.high),
            RangeRule::Percentile(percent) => self.percentile(percent),
            RangeRule::Entropy => {
                let cut = self.entropy();
                (self.low.max(-cut), self.high.min(cut))
            }
        }
    }

    /// The share of values that a range cuts, from the histogram.
    pub(super) fn clipped(&self, (low, high): (f32, f32)) -> f64 {
        if self.reach() <= 0.0 {
            return 0.0;
        }
        let outside = |bin: usize| {
            let (from, to) = (self.edge(bin), self.edge(bin + 1));
            to <= low || from >= high
        };
        let cut: u64 = self
            .histogram
            .iter()
            .enumerate()
            .filter(|(bin, _)| outside(*bin))
            .map(|(_, n)| n)
            .sum();
        if self.count == 0 { 0.0 } else { cut as f64 / self.count as f64 }
    }

    fn edge(&self, bin: usize) -> f32 {
        (bin as f32 / (BINS as f32 / 2.0) - 1.0) * self.reach()
    }

    /// Cuts half of what is left over on either side, at the edges of bins.
    fn percentile(&self, percent: f64) -> (f32, f32) {
        let tail = (1.0 - percent / 100.0) / 2.0 * self.count as f64;
        let low = self.passes(0..self.histogram.len(), tail).map_or(self.low, |b| self.edge(b));
        let high = self
            .passes((0..self.histogram.len()).rev(), tail)
            .map_or(self.high, |b| self.edge(b + 1));
        (low.max(self.low), high.min(self.high))
    }

    /// The first of `bins` at which more than `tail` values were passed.
    fn passes(&self, mut bins: impl Iterator<Item = usize>, tail: f64) -> Option<usize> {
        let mut passed = 0.0;
        bins.find(|bin| {
            passed += self.histogram[*bin] as f64;
            passed > tail
        })
    }

    /// The magnitude at which to cut, so that the distribution of magnitudes, cut and in 128 levels,
    /// is nearest to the uncut one by Kullback–Leibler divergence.
    ///
    /// As in S. Migacz, *8-bit inference with `TensorRT`* (GTC 2017): what is cut is counted into the
    /// last bin of the reference, and each level spreads its count over those of its bins that were
    /// not empty.
    fn entropy(&self) -> f32 {
        let half = BINS / 2;
        let folded: Vec<f64> = (0..half)
            .map(|at| {
                let mirrored = self.histogram[half + at] + self.histogram[half - 1 - at];
                mirrored as f64
            })
            .collect();
        // Bins of a quarter's resolution: 1024 magnitudes over the reach.
        let mut bins: Vec<f64> = folded.chunks(4).map(|chunk| chunk.iter().sum()).collect();
        // Zeros are exact wherever it is cut, and after a Relu they are half of the values: they
        // would outvote all others.
        bins[0] = bins[1];
        let total: f64 = bins.iter().sum();
        let mut best = (f64::INFINITY, bins.len());
        let mut inside = bins[..ENTROPY_LEVELS].iter().sum::<f64>();
        for end in ENTROPY_LEVELS..=bins.len() {
            if end > ENTROPY_LEVELS {
                inside += bins[end - 1];
            }
            let divergence = divergence(&bins[..end], total - inside);
            if divergence < best.0 {
                best = (divergence, end);
            }
        }
        self.reach() * best.1 as f32 / bins.len() as f32
    }
}

fn divergence(bins: &[f64], cut: f64) -> f64 {
    let mut reference = bins.to_vec();
    if let Some(last) = reference.last_mut() {
        *last += cut;
    }
    let mut coarse = vec![0.0; bins.len()];
    for level in 0..ENTROPY_LEVELS {
        let from = level * bins.len() / ENTROPY_LEVELS;
        let to = (level + 1) * bins.len() / ENTROPY_LEVELS;
        let filled = bins[from..to].iter().filter(|n| **n > 0.0).count();
        let sum: f64 = bins[from..to].iter().sum();
        for at in from..to {
            if bins[at] > 0.0 {
                coarse[at] = sum / filled as f64;
            }
        }
    }
    let (p_sum, q_sum): (f64, f64) = (reference.iter().sum(), coarse.iter().sum());
    if q_sum <= 0.0 {
        return f64::INFINITY;
    }
    reference
        .iter()
        .zip(&coarse)
        .filter(|(p, _)| **p > 0.0)
        .map(|(p, q)| {
            // A bin that the cut filled and no level covers weighs as heavily as a float allows.
            let (p, q) = (p / p_sum, (q / q_sum).max(1e-9));
            p * (p / q).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[f32]) -> Seen {
        let mut seen = Seen::default();
        assert!(seen.widen(values));
        seen.sort_in(values);
        seen
    }

    #[test]
    fn minmax_takes_all_and_percentiles_cut_both_ends() {
        let values: Vec<f32> = (0..=10_000_u16).map(|i| f32::from(i) / 5000.0 - 1.0).collect();
        let seen = seen(&values);
        assert_eq!(seen.range(RangeRule::MinMax), (-1.0, 1.0));
        let (low, high) = seen.range(RangeRule::Percentile(90.0));
        assert!((low + 0.9).abs() < 1e-3 && (high - 0.9).abs() < 1e-3, "{low} {high}");
        assert!((seen.clipped((low, high)) - 0.1).abs() < 1e-3);
        assert_eq!(seen.clipped((-1.0, 1.0)).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn entropy_cuts_a_lone_outlier_and_leaves_an_even_spread() {
        let mut values: Vec<f32> = (0..20_000_u16).map(|i| (f32::from(i) * 0.37).sin()).collect();
        let (low, high) = seen(&values).range(RangeRule::Entropy);
        assert!(low < -0.9 && high > 0.9, "an even spread is kept: {low} {high}");
        values.push(40.0);
        let (low, high) = seen(&values).range(RangeRule::Entropy);
        assert!(low <= -0.99 && high < 20.0, "one value in 20,000 is cut: {low} {high}");
    }

    #[test]
    fn what_is_no_number_is_noticed_and_nothing_is_a_range_too() {
        assert!(!Seen::default().widen(&[1.0, f32::NAN]));
        assert!(!Seen::default().widen(&[f32::INFINITY]));
        let zeros = seen(&[0.0; 5]);
        for rule in [RangeRule::MinMax, RangeRule::Percentile(99.0), RangeRule::Entropy] {
            assert_eq!(zeros.range(rule), (0.0, 0.0));
        }
        assert_eq!(Seen::default().range(RangeRule::MinMax), (0.0, 0.0));
    }
}
