//! When requests of an open load come: absolute times, drawn from a seed before the load begins.

use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma};

use super::{Arrivals, Open};
use crate::error::{Error, Result};
use crate::units::Nanos;

/// Arrivals that are held in memory at most, 8 bytes each.
const MOST: usize = 50_000_000;

/// Arrival times of `open` within `length`, counted from the start of the load, in order.
///
/// The same seed gives the same times. A trace is read from its file; it begins with its first
/// arrival, is stretched to the rate where one is given, and ends early where `length` is longer.
pub fn schedule(open: &Open, length: Nanos, seed: u64) -> Result<Vec<Nanos>> {
    if let Arrivals::Trace { file } = &open.arrivals {
        return stretched(trace(file)?, open.rate, length, file);
    }
    let rate = open.rate.unwrap_or(0.0);
    let mean = 1.0 / rate;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let gap: Box<dyn FnMut() -> f64> = match &open.arrivals {
        Arrivals::Constant => Box::new(|| mean),
        Arrivals::Gamma { cv } => {
            // Shape 1/cv², scale mean·cv²: mean and coefficient of variation as asked.
            let shape = 1.0 / (cv * cv);
            let gamma = Gamma::new(shape, mean / shape).map_err(|e| {
                Error::input("load.scenarios", format!("gamma with cv {cv}: {e}"))
                    .remedy("give a cv from 0.01 to 100")
            })?;
            Box::new(move || gamma.sample(&mut rng))
        }
        _ => Box::new(move || {
            let gap: f64 = Exp1.sample(&mut rng);
            gap * mean
        }),
    };
    let length = length.as_secs_f64();
    if !(rate.is_finite() && rate > 0.0) || rate * length > MOST as f64 {
        let message = format!("{rate} requests a second for {length} s cannot be issued");
        return Err(Error::input("load.scenarios", message)
            .remedy("give a rate in requests a second, or a shorter window"));
    }
    let mut times = Vec::new();
    let mut at = 0.0;
    for gap in std::iter::repeat_with(gap) {
        at += gap;
        if at >= length || times.len() >= MOST {
            break;
        }
        times.push(nanos(at));
    }
    Ok(times)
}

/// Seconds of a trace's arrivals, in order.
fn trace(file: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, "read", &e))?;
    let mut times = Vec::new();
    for (line, text) in text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty())
    {
        let time = text.split(',').next().unwrap_or_default().trim().parse::<f64>();
        let bad = |what: &str| {
            Error::input(format!("{} line {}", file.display(), line + 1), what)
                .remedy("a trace has one arrival a line: seconds since its start, in order")
        };
        match time {
            Ok(time) if time.is_finite() => {
                if times.last().is_some_and(|last| time < *last) {
                    return Err(bad("is earlier than the line before"));
                }
                times.push(time);
            }
            // The first line may be a heading.
            _ if line == 0 => {}
            _ => return Err(bad(&format!("`{text}` is no number of seconds"))),
        }
    }
    if times.len() < 2 {
        return Err(Error::input(file.display(), "has fewer than two arrivals")
            .remedy("a trace has one arrival a line: seconds since its start, in order"));
    }
    Ok(times)
}

fn stretched(times: Vec<f64>, rate: Option<f64>, length: Nanos, file: &Path) -> Result<Vec<Nanos>> {
    let first = times.first().copied().unwrap_or(0.0);
    let span = times.last().copied().unwrap_or(0.0) - first;
    if span <= 0.0 {
        return Err(Error::input(file.display(), "has all its arrivals at one time")
            .remedy("give a trace that takes some time"));
    }
    let stretch = rate.map_or(1.0, |rate| (times.len() - 1) as f64 / span / rate);
    let times = times.into_iter().map(|time| nanos((time - first) * stretch));
    Ok(times.take_while(|time| *time < length).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time, above 0")]
fn nanos(seconds: f64) -> Nanos {
    Nanos((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and coefficient of variation of the gaps.
    fn gaps(times: &[Nanos]) -> (f64, f64) {
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn gaps_have_the_mean_and_the_spread_that_were_asked_for() {
        let kinds = [
            (Arrivals::Poisson, 1.0),
            (Arrivals::Constant, 0.0),
            (Arrivals::Gamma { cv: 0.5 }, 0.5),
            (Arrivals::Gamma { cv: 3.0 }, 3.0),
        ];
        for (arrivals, cv) in kinds {
            let open = Open { rate: Some(1000.0), arrivals };
            let times = schedule(&open, Nanos::from_secs(200), 7).unwrap();
            assert!(times.is_sorted());
            let (mean, found) = gaps(&times);
            assert!((mean * 1000.0 - 1.0).abs() < 0.02, "{open}: mean {mean}");
            assert!((found - cv).abs() < 0.03 * cv.max(0.01), "{open}: cv {found}");
            assert_eq!(times, schedule(&open, Nanos::from_secs(200), 7).unwrap());
        }
    }

    #[test]
    fn a_trace_is_replayed_and_stretched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.csv");
        std::fs::write(&file, "arrival_s,length\n10.0,3\n10.5,4\n12.0,5\n").unwrap();
        let open = |rate| Open { rate, arrivals: Arrivals::Trace { file: file.clone() } };
        let ms = |open: &Open, length| -> Vec<u64> {
            let times = schedule(open, Nanos::from_secs(length), 1).unwrap();
            times.iter().map(|t| t.0 / 1_000_000).collect()
        };
        assert_eq!(ms(&open(None), 9), [0, 500, 2000]);
        assert_eq!(ms(&open(None), 1), [0, 500]);
        assert_eq!(ms(&open(Some(10.0)), 9), [0, 50, 200]);
        std::fs::write(&file, "1\n0.5\n").unwrap();
        let error = schedule(&open(None), Nanos::from_secs(9), 1).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        std::fs::write(&file, "1\nx\n").unwrap();
        assert!(schedule(&open(None), Nanos::from_secs(9), 1).is_err());
    }
}
