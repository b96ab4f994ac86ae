//! Whether a measurement can be believed: every rule with its number, in one table.
//!
//! `valid` (can the figure be believed) and `meets_quality` (is the variant any good) are two
//! things; nothing here looks at quality.

use crate::stats::Trend;
use crate::units::{Bytes, Nanos};

/// What is known about a window when it is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// Requests that ended in an error.
    pub errors: usize,
    /// Batches run in the window.
    pub batches: usize,
    /// Requests that still waited when the load's time was over.
    pub unfinished: usize,
    /// By how many more requests waited at the end of the window than in its middle.
    pub backlog_growth: i64,
    /// Requests that were due in its second half.
    pub late_arrivals: usize,
    /// p99 of `sent − scheduled`.
    pub lag: Nanos,
    /// p99 of latency.
    pub latency: Nanos,
    /// Drift of the time in the session over the window.
    pub trend: Option<Trend>,
    /// Half the interval of the throughput, relative to it; `None` where the load decides it.
    pub width: Option<f64>,
    /// Growth of the worker's resident set over the window.
    pub rss_trend: Option<Trend>,
    /// Its largest resident set.
    pub rss: Bytes,
    /// What the log of observations may have added to it.
    pub log: Bytes,
    /// CPU-seconds a second held back by a CPU quota that nobody asked for.
    pub throttled_share: Option<f64>,
    /// Share of the machine's CPU time given to other machines.
    pub steal_share: Option<f64>,
    /// Share of the machine's CPU time used by other processes.
    pub foreign_share: Option<f64>,
    /// Timed outputs compared with an untimed run.
    pub outputs_checked: u32,
    /// How many of those differed.
    pub outputs_differing: u32,
}

/// A rule that a believable measurement keeps.
pub struct Rule {
    /// Its name in `verdict.reasons`.
    pub code: &'static str,
    /// Its number; the unit is in `says`.
    pub limit: f64,
    /// What it demands, `{}` being the number.
    pub says: &'static str,
    /// Whether what breaks it lies outside the case, so that measuring again may help.
    pub is_disturbance: bool,
    /// What breaks it, given the number: the sentence for the record.
    check: fn(&Evidence, f64) -> Option<String>,
}

/// Least client lag that counts, whatever the latency.
const LAG_FLOOR: Nanos = Nanos(200_000);

/// Memory that an engine may take and give back without leaking.
const MEMORY_FLOOR: Bytes = Bytes(16_000_000);

/// A queue that grew by fewer requests than this may have done so by chance.
const BACKLOG_FLOOR: f64 = 20.0;

/// All rules, in the order in which reasons are listed.
pub const RULES: &[Rule] = &[
    Rule {
        code: "errors",
        limit: 0.0,
        says: "no request ends in an error",
        is_disturbance: false,
        check: |e, limit| {
            (e.errors as f64 > limit).then(|| format!("{} requests ended in an error", e.errors))
        },
    },
    Rule {
        code: "too-few",
        limit: 10.0,
        says: "at least {} batches are run",
        is_disturbance: false,
        check: |e, limit| {
            ((e.batches as f64) < limit).then(|| format!("only {} batches were run", e.batches))
        },
    },
    Rule {
        code: "outputs",
        limit: 0.0,
        says: "timed outputs equal an untimed run of the same batch (max|a−b|/max|b| ≤ 1e-5)",
        is_disturbance: false,
        check: |e, limit| {
            (f64::from(e.outputs_differing) > limit).then(|| {
                format!(
                    "{} of {} timed outputs differ from an untimed run of the same batch",
                    e.outputs_differing, e.outputs_checked
                )
            })
        },
    },
    Rule {
        code: "lag",
        limit: 0.05,
        says: "the client's p99 lag is at most {} of the p99 latency, or 200 µs",
        is_disturbance: true,
        check: |e, limit| {
            let allowed = (e.latency.0 as f64 * limit).max(LAG_FLOOR.0 as f64);
            (e.lag.0 as f64 > allowed)
                .then(|| format!("the client was {} late at p99 of {}", e.lag, e.latency))
        },
    },
    Rule {
        code: "saturated",
        limit: 0.05,
        says: "the queue grows by at most {} of the requests that come, or 20",
        is_disturbance: false,
        check: |e, limit| {
            let allowed = (e.late_arrivals as f64 * limit).max(BACKLOG_FLOOR);
            let grew = e.backlog_growth as f64 > allowed;
            let text = || {
                format!(
                    "more requests came than were served: {} more waited at the end of the window than \
                     in its middle, and {} were given up; lower the rate, or bound the queue",
                    e.backlog_growth.max(0),
                    e.unfinished
                )
            };
            (grew || e.unfinished > 0).then(text)
        },
    },
    Rule {
        code: "trend",
        limit: 0.05,
        says: "the time in the session drifts by at most {} of its median over the window",
        is_disturbance: true,
        check: |e, limit| {
            let trend = e.trend.filter(|t| t.significant && t.change.abs() > limit)?;
            Some(format!("the time in the session drifted by {:+.1} %", 100.0 * trend.change))
        },
    },
    Rule {
        code: "unsteady",
        limit: 0.25,
        says: "half the throughput's interval is at most {} of it",
        is_disturbance: true,
        check: |e, limit| {
            let width = e.width.filter(|w| *w > limit)?;
            Some(format!("throughput is known to ±{:.0} % only", 100.0 * width))
        },
    },
    Rule {
        code: "memory",
        limit: 0.05,
        says: "memory grows by at most {} of it over the window, or 16 MB and the log of requests",
        is_disturbance: false,
        check: |e, limit| {
            let trend = e.rss_trend.filter(|t| t.significant && t.change > limit)?;
            let grown = trend.change * e.rss.0 as f64;
            let grew = grown > (MEMORY_FLOOR.0 + e.log.0) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "above 0, and a number of bytes"
            )]
            let text = || {
                let grown = Bytes(grown as u64);
                format!("memory grew by {grown} of {} over the window", e.rss)
            };
            grew.then(text)
        },
    },
    Rule {
        code: "throttled",
        limit: 0.01,
        says: "a CPU quota holds back at most {} CPU-seconds a second",
        is_disturbance: false,
        check: |e, limit| {
            share_above(e.throttled_share, limit, "of a CPU's time was held back by a CPU quota")
        },
    },
    Rule {
        code: "steal",
        limit: 0.05,
        says: "the hypervisor gives at most {} of the CPU time to other machines",
        is_disturbance: true,
        check: |e, limit| {
            share_above(e.steal_share, limit, "of the CPU time went to other virtual machines")
        },
    },
    Rule {
        code: "foreign",
        limit: 0.05,
        says: "other processes use at most {} of the machine's CPU time",
        is_disturbance: true,
        check: |e, limit| {
            share_above(e.foreign_share, limit, "of the CPU time went to other processes")
        },
    },
];

fn share_above(share: Option<f64>, limit: f64, of_what: &str) -> Option<String> {
    let share = share.filter(|s| *s > limit)?;
    Some(format!("{:.1} % {of_what}", 100.0 * share))
}

/// The reasons not to believe a measurement, each `code: sentence`; none when it is VALID.
pub fn judge(evidence: &Evidence) -> Vec<String> {
    RULES
        .iter()
        .filter_map(|rule| {
            let reason = (rule.check)(evidence, rule.limit)?;
            Some(format!("{}: {reason}", rule.code))
        })
        .collect()
}

/// Whether all `reasons` of [`judge`] are disturbances from outside, and there is at least one.
pub fn is_worth_another_attempt(reasons: &[String]) -> bool {
    let outside = |reason: &String| {
        RULES.iter().any(|rule| {
            rule.is_disturbance && reason.split(':').next().is_some_and(|code| code == rule.code)
        })
    };
    !reasons.is_empty() && reasons.iter().all(outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quiet measurement.
    fn quiet() -> Evidence {
        Evidence {
            batches: 500,
            lag: Nanos(2_000),
            latency: Nanos::from_millis(10),
            trend: Some(Trend { change: 0.01, significant: true }),
            width: Some(0.02),
            throttled_share: Some(0.0),
            steal_share: Some(0.01),
            foreign_share: Some(0.02),
            outputs_checked: 5,
            ..Evidence::default()
        }
    }

    #[test]
    fn a_quiet_measurement_is_valid() {
        assert_eq!(judge(&quiet()), Vec::<String>::new());
    }

    #[test]
    fn every_rule_trips_alone() {
        let disturbed = [
            ("errors", Evidence { errors: 1, ..quiet() }),
            ("too-few", Evidence { batches: 9, ..quiet() }),
            ("outputs", Evidence { outputs_differing: 1, ..quiet() }),
            ("lag", Evidence { lag: Nanos(600_000), ..quiet() }),
            (
                "trend",
                Evidence { trend: Some(Trend { change: -0.06, significant: true }), ..quiet() },
            ),
            ("saturated", Evidence { unfinished: 1, ..quiet() }),
            ("unsteady", Evidence { width: Some(0.3), ..quiet() }),
            (
                "memory",
                Evidence {
                    rss_trend: Some(Trend { change: 0.2, significant: true }),
                    rss: Bytes(200_000_000),
                    ..quiet()
                },
            ),
            ("throttled", Evidence { throttled_share: Some(0.02), ..quiet() }),
            ("steal", Evidence { steal_share: Some(0.06), ..quiet() }),
            ("foreign", Evidence { foreign_share: Some(0.3), ..quiet() }),
        ];
        assert_eq!(disturbed.len(), RULES.len(), "every rule has a case here");
        for (code, evidence) in disturbed {
            let reasons = judge(&evidence);
            assert_eq!(reasons.len(), 1, "{code}: {reasons:?}");
            assert!(reasons[0].starts_with(&format!("{code}: ")), "{reasons:?}");
        }
    }

    #[test]
    fn only_disturbances_are_worth_another_attempt() {
        let reasons = |codes: &[&str]| codes.iter().map(|c| format!("{c}: x")).collect::<Vec<_>>();
        assert!(is_worth_another_attempt(&reasons(&["trend", "steal"])));
        assert!(!is_worth_another_attempt(&reasons(&["trend", "errors"])));
        assert!(!is_worth_another_attempt(&[]));
    }

    #[test]
    fn memory_that_the_log_of_requests_takes_is_no_leak() {
        let trend = Some(Trend { change: 0.2, significant: true });
        let grown = Evidence { rss_trend: trend, rss: Bytes(200_000_000), ..quiet() };
        assert_eq!(judge(&Evidence { log: Bytes(30_000_000), ..grown }), Vec::<String>::new());
        let small = Evidence { rss: Bytes(50_000_000), ..grown };
        assert_eq!(judge(&small), Vec::<String>::new());
    }

    #[test]
    fn a_drift_that_may_be_chance_is_no_reason() {
        let evidence =
            Evidence { trend: Some(Trend { change: 0.2, significant: false }), ..quiet() };
        assert!(judge(&evidence).is_empty());
    }

    #[test]
    fn a_queue_that_grows_is_saturated_and_one_that_swings_is_not() {
        let growth = |backlog_growth, late_arrivals| {
            judge(&Evidence { backlog_growth, late_arrivals, ..quiet() })
        };
        assert!(growth(19, 100).is_empty() && growth(49, 1000).is_empty());
        assert!(growth(51, 1000)[0].starts_with("saturated: "));
    }

    #[test]
    fn what_the_system_does_not_say_is_no_reason() {
        let evidence =
            Evidence { throttled_share: None, steal_share: None, foreign_share: None, ..quiet() };
        assert!(judge(&evidence).is_empty());
    }
}
