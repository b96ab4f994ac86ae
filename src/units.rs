//! Quantities with their units, and the clocks they are read from.
//!
//! Time is read through a [`Clock`], never directly, so that the harness can be tested on a
//! virtual one. Nothing else in the crate calls `Instant::now`.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span or a point on a [`Clock`], in nanoseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Whole milliseconds as nanoseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Whole seconds as nanoseconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1_000_000_000)
    }

    /// As fractional milliseconds, the unit of reports.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// As fractional seconds, the unit of rates.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The later minus the earlier; 0 when they are the wrong way round.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.since(other)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} ns", self.0),
            1_000..1_000_000 => write!(f, "{:.1} µs", self.0 as f64 / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} ms", self.as_millis_f64()),
            _ => write!(f, "{:.1} s", self.as_secs_f64()),
        }
    }
}

/// An amount of memory or storage.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// Decimal units, as disks and price lists use them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kB", self.0 as f64 / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} MB", self.0 as f64 / 1e6),
            _ => write!(f, "{:.2} GB", self.0 as f64 / 1e9),
        }
    }
}

/// An amount of arithmetic: operations on numbers.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Flops(pub u64);

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} flop", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kflop", self.0 as f64 / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} Mflop", self.0 as f64 / 1e6),
            _ => write!(f, "{:.2} Gflop", self.0 as f64 / 1e9),
        }
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Nanoseconds since an origin of the clock's own; never goes back.
    fn now(&self) -> Nanos;

    /// Returns when it is `at`, or later: at once where that is past.
    fn sleep_until(&self, at: Nanos);
}

/// Makes this thread, and those that it starts from now on, wake when they are due: Linux lets timers
/// be 50 µs late to wake fewer times (`PR_SET_TIMERSLACK`, prctl(2)).
pub fn exact_sleep() {
    // Where it is refused, sleeps are as late as before, and what that costs is measured as lag.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// The machine's monotonic clock, counted from its creation.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    origin: std::time::Instant,
}

impl RealClock {
    /// A clock whose origin is now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }
}

impl Clock for RealClock {
    #[inline]
    fn now(&self) -> Nanos {
        Nanos::from(self.origin.elapsed())
    }

    fn sleep_until(&self, at: Nanos) {
        let left = at - self.now();
        if left > Nanos(0) {
            std::thread::sleep(left.into());
        }
    }
}

/// A clock that moves only when told to; for testing the harness itself.
#[derive(Debug, Default)]
pub struct VirtualClock {
    now: AtomicU64,
}

impl VirtualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Nanos) {
        self.now.fetch_add(by.0, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        Nanos(self.now.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, at: Nanos) {
        self.now.fetch_max(at.0, Ordering::SeqCst);
    }
}

/// Bytes as lower-case hex, the way digests are shown.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Seconds since the Unix epoch; for names and dates, never for durations.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// The day it is, in UTC; for telling dates that have not come.
pub fn today() -> jiff::civil::Date {
    // A clock that no calendar has is after every date that anybody writes.
    jiff::Timestamp::try_from(wall_clock())
        .map_or(jiff::civil::Date::MAX, |now| now.to_zoned(jiff::tz::TimeZone::UTC).date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_in_the_nearest_unit() {
        let shown = [Nanos(7), Nanos(1_500), Nanos::from_millis(12), Nanos::from_secs(3)]
            .map(|n| n.to_string());
        assert_eq!(shown, ["7 ns", "1.5 µs", "12.0 ms", "3.0 s"]);
        assert_eq!(Bytes(3_163_737).to_string(), "3.2 MB");
    }

    #[test]
    fn a_virtual_clock_moves_only_when_told() {
        let clock = VirtualClock::default();
        assert_eq!(clock.now(), Nanos(0));
        clock.advance(Nanos::from_millis(2));
        assert_eq!(clock.now(), Nanos::from_millis(2));
    }

    #[test]
    fn the_real_clock_never_goes_back() {
        let clock = RealClock::start();
        let (a, b) = (clock.now(), clock.now());
        assert!(b >= a);
    }
}
