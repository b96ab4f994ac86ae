//! Where a series changed its level.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::quantile::median;

/// A place where the level of a series changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Index of the first value after it.
    pub at: usize,
    /// Median from the change before to here.
    pub before: f64,
    /// Median from here to the next change.
    pub after: f64,
    /// Share of shuffled orders that split at least as well.
    pub p_value: f64,
}

/// Values on either side of a change at least.
const LEAST: usize = 3;
/// Shuffled orders a test.
const SHUFFLES: u32 = 999;

/// Changes of level, in order, each with a p-value of `alpha` at most.
///
/// E-divisive (Matteson & James 2014): the split that parts the energy distance most, tested against shuffled orders of
/// the same values, and both sides split again. Shuffles are seeded: the same series always gives the same changes.
pub fn change_points(series: &[f64], alpha: f64) -> Vec<ChangePoint> {
    let mut found = Vec::new();
    let mut random = ChaCha8Rng::seed_from_u64(17);
    split(series, 0, alpha, &mut random, &mut found);
    found.sort_unstable_by_key(|(at, _)| *at);
    let ends: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
    let level = |from: usize, to: usize| median(&series[from..to]).unwrap_or_default();
    found
        .iter()
        .enumerate()
        .map(|(i, (at, p_value))| {
            let from = if i == 0 { 0 } else { ends[i - 1] };
            let to = ends.get(i + 1).copied().unwrap_or(series.len());
            ChangePoint {
                at: *at,
                before: level(from, *at),
                after: level(*at, to),
                p_value: *p_value,
            }
        })
        .collect()
}

fn split(
    part: &[f64],
    offset: usize,
    alpha: f64,
    random: &mut ChaCha8Rng,
    found: &mut Vec<(usize, f64)>,
) {
    let Some((at, statistic)) = best_split(part) else { return };
    let mut shuffled = part.to_vec();
    let mut as_good = 0;
    for done in 1..=SHUFFLES {
        shuffled.shuffle(random);
        if best_split(&shuffled).is_some_and(|(_, other)| other >= statistic) {
            as_good += 1;
        }
        // It cannot become significant any more.
        if f64::from(as_good + 1) / f64::from(SHUFFLES + 1) > alpha && done >= 20 {
            return;
        }
    }
    let p_value = f64::from(as_good + 1) / f64::from(SHUFFLES + 1);
    if p_value > alpha {
        return;
    }
    found.push((offset + at, p_value));
    split(&part[..at], offset, alpha, random, found);
    split(&part[at..], offset + at, alpha, random, found);
}

/// The split with the largest mn/(m+n) · (2 E|X−Y| − E|X−X′| − E|Y−Y′|); `None` where the series is too short.
fn best_split(values: &[f64]) -> Option<(usize, f64)> {
    let n = values.len();
    if n < 2 * LEAST {
        return None;
    }
    // Sums of distances within the left side, within the right side and between, moved one value at a time.
    let distance = |i: usize, j: usize| (values[i] - values[j]).abs();
    let to_left = |i: usize| (0..i).map(|j| distance(i, j)).sum::<f64>();
    let to_right = |i: usize| (i + 1..n).map(|j| distance(i, j)).sum::<f64>();
    let (mut within_left, mut between) = (0.0, 0.0);
    let mut within_right: f64 = (0..n).map(to_right).sum();
    let mut best: Option<(usize, f64)> = None;
    for at in 1..n {
        let (left, right) = (to_left(at - 1), to_right(at - 1));
        within_left += left;
        within_right -= right;
        between += right - left;
        if at < LEAST || n - at < LEAST {
            continue;
        }
        let (m, k) = (at as f64, (n - at) as f64);
        let pairs = |n: f64| n * (n - 1.0) / 2.0;
        let energy = 2.0 * between / (m * k) - within_left / pairs(m) - within_right / pairs(k);
        let statistic = m * k / (m + k) * energy;
        if best.is_none_or(|(_, most)| statistic > most) {
            best = Some((at, statistic));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Normal};

    use super::*;

    fn noise(seed: u64, count: usize) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let normal = Normal::new(0.0, 0.01).unwrap();
        (0..count).map(|_| normal.sample(&mut random)).collect()
    }

    #[test]
    fn steps_are_found_where_they_are() {
        let mut series = noise(1, 60);
        series[20..].iter_mut().for_each(|v| *v += 0.06);
        series[45..].iter_mut().for_each(|v| *v -= 0.10);
        let found = change_points(&series, 0.01);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].at.abs_diff(20) <= 1 && found[1].at.abs_diff(45) <= 1, "{found:?}");
        assert!((found[0].after - found[0].before - 0.06).abs() < 0.01, "{found:?}");
        assert!((found[1].after - found[1].before + 0.10).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn a_level_series_rarely_changes() {
        let alarms = (0..60).filter(|seed| !change_points(&noise(*seed, 40), 0.01).is_empty());
        let alarms = alarms.count();
        assert!(alarms <= 3, "{alarms} of 60 at 1 %");
        assert_eq!(change_points(&[1.0; 5], 0.5), Vec::new());
        assert_eq!(change_points(&[1.0; 30], 0.01), Vec::new());
    }
}
