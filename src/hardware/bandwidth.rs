//! Memory bandwidth, clock and quiet of this machine, measured.

use std::hint::black_box;
use std::sync::Barrier;

use crate::units::{Clock, Nanos, RealClock, exact_sleep};

/// Each measurement is the best of so many: what the machine can do when nothing disturbs it.
const REPEATS: usize = 5;
/// Arrays are at least so many times the last-level cache (the rule of `STREAM`).
const TIMES_CACHE: u64 = 4;
/// Arrays are never smaller or larger than this, in bytes.
const ARRAY: (u64, u64) = (64 << 20, 512 << 20);

/// Bytes of an array that no cache holds, for a last level of `cache` bytes.
pub fn array_bytes(cache: Option<u64>) -> u64 {
    (cache.unwrap_or(0) * TIMES_CACHE).clamp(ARRAY.0, ARRAY.1)
}

/// What is done with the arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// a = b: 16 bytes an element.
    Copy,
    /// a = b + 3 c: 24 bytes an element.
    Triad,
}

/// Bandwidth in GB/s of `threads` threads together on arrays of `bytes` each, as STREAM counts it:
/// bytes read and written by the kernel, not what caches fetch besides.
pub fn bandwidth(kernel: Kernel, threads: usize, bytes: u64) -> f64 {
    let elements = (bytes / 8) as usize / threads.max(1);
    let barrier = Barrier::new(threads);
    let clock = RealClock::start();
    let spans: Vec<Vec<(Nanos, Nanos)>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut a = vec![0.0_f64; elements];
                    let (b, c) = (vec![1.0_f64; elements], vec![2.0_f64; elements]);
                    (0..REPEATS)
                        .map(|_| {
                            barrier.wait();
                            let start = clock.now();
                            match kernel {
                                Kernel::Copy => a.copy_from_slice(black_box(&b)),
                                Kernel::Triad => {
                                    let both = black_box(&b).iter().zip(black_box(&c));
                                    for (a, (b, c)) in a.iter_mut().zip(both) {
                                        *a = b + 3.0 * c;
                                    }
                                }
                            }
                            black_box(&a);
                            (start, clock.now())
                        })
                        .collect()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_default()).collect()
    });
    let per_element = if kernel == Kernel::Copy { 16.0 } else { 24.0 };
    let moved = per_element * elements as f64 * threads as f64;
    // From the first start to the last end of each repeat: slow threads count.
    let repeat = |n: usize| {
        let of = spans.iter().filter_map(|all| all.get(n));
        let start = of.clone().map(|(start, _)| start.0).min()?;
        let end = of.map(|(_, end)| end.0).max()?;
        (end > start).then(|| moved / (end - start) as f64)
    };
    (0..REPEATS).filter_map(repeat).fold(0.0, f64::max)
}

/// What reading the clock costs and resolves, in ns: the mean of a read, and the smallest step seen.
pub fn timer() -> (f64, u64) {
    const READS: u32 = 100_000;
    let clock = RealClock::start();
    let (start, mut last, mut step) = (clock.now(), clock.now(), u64::MAX);
    for _ in 0..READS {
        let now = clock.now();
        if now > last {
            step = step.min((now - last).0);
        }
        last = now;
    }
    ((last - start).0 as f64 / f64::from(READS), step)
}

/// How late sleeps of 1 ms end, in µs.
pub fn sleep_lateness() -> Vec<f64> {
    exact_sleep();
    let clock = RealClock::start();
    (0..500)
        .map(|_| {
            let due = clock.now() + Nanos::from_millis(1);
            clock.sleep_until(due);
            (clock.now() - due).0 as f64 / 1e3
        })
        .collect()
}

/// How long the same half millisecond of arithmetic takes, in ns, again and again for two seconds: always the
/// same on a machine that is alone with itself.
pub fn noise() -> Vec<f64> {
    let clock = RealClock::start();
    let work = |turns: u32| {
        let start = clock.now();
        let mut x = 1.0_f64;
        for _ in 0..turns {
            x = black_box(x.mul_add(1.000_000_1, 1e-9));
        }
        black_box(x);
        (clock.now() - start).0 as f64
    };
    let trial = work(100_000).max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let turns = (100_000.0 * 500_000.0 / trial) as u32;
    (0..4000).map(|_| work(turns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_larger_than_caches_and_fit_in_memory() {
        assert_eq!(array_bytes(None), 64 << 20);
        assert_eq!(array_bytes(Some(32 << 20)), 128 << 20);
        assert_eq!(array_bytes(Some(1 << 30)), 512 << 20);
    }

    #[test]
    fn memory_is_moved_at_some_speed() {
        for kernel in [Kernel::Copy, Kernel::Triad] {
            let found = bandwidth(kernel, 2, 8 << 20);
            assert!(found > 0.01 && found.is_finite(), "{kernel:?}: {found} GB/s");
        }
        let (read, step) = timer();
        assert!(read > 0.0 && step > 0);
    }
}
