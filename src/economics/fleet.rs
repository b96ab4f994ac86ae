//! How many replicas serve a demand, hour by hour.

use serde::{Deserialize, Serialize};

use super::demand::{Demand, HOURS_A_WEEK};

/// What a replica serves, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// As fast as it goes, whatever the latency.
    Saturated,
    /// The highest rate that met the SLO when it was measured.
    Slo,
    /// Stated, not measured.
    Assumed,
}

impl Basis {
    /// The share of its capacity that a replica is planned for.
    ///
    /// A rate that met the SLO has its headroom already, one at which the replica is always busy has none: 60 %
    /// then, between `SageMaker`'s starting point of 50 % and the 70 % that is usual
    /// (docs.aws.amazon.com/sagemaker, "Load testing for auto scaling"). Stated capacities are taken as they are.
    pub fn utilization(self) -> f64 {
        match self {
            Self::Saturated => 0.6,
            Self::Slo | Self::Assumed => 1.0,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saturated => "saturated",
            Self::Slo => "slo",
            Self::Assumed => "assumed",
        }
    }
}

/// What a fleet must hold to: `[fleet]` of a file of assumptions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Replicas at any time.
    pub at_least: u32,
    /// Replicas that may fail while the rest keep up with the demand.
    pub redundant: u32,
    /// The share of its capacity that a replica is planned for; the basis's own where there is none.
    pub utilization: Option<f64>,
    /// Hours that a replica is kept after it was last needed.
    pub lag_hours: usize,
    /// Whether replicas come and go with the demand; if not, the busiest hour's are always there.
    pub autoscaled: bool,
    /// Sessions or models that share a replica: each has so much of it. 1 where it is alone.
    pub share: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            at_least: 1,
            redundant: 0,
            utilization: None,
            lag_hours: 1,
            autoscaled: false,
            share: 1.0,
        }
    }
}

/// Replicas hour by hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fleet {
    /// In each hour of the week.
    pub replicas: Vec<u32>,
    /// Share of its capacity that it is planned for.
    pub utilization: f64,
    /// Mean share of what is paid for that works.
    pub busy: f64,
}

impl Fleet {
    /// The fleet that serves `demand` with replicas of `capacity_per_s` each, above 0.
    ///
    /// replicas(h) = max(`at_least`, ⌈λ/(μ·U)⌉, ⌈λ/μ⌉ + `redundant`), λ being the hour's busiest second. The headroom of
    /// U and the redundant replicas are not added up: either is there for what the other is.
    pub fn of(demand: &Demand, capacity_per_s: f64, basis: Basis, rules: &Rules) -> Self {
        Peaks::of(demand, rules).fleet(capacity_per_s, basis, rules)
    }

    /// Mean number of replicas beyond the first `floor`.
    pub fn mean_beyond(&self, floor: u32) -> f64 {
        let all: f64 = self.replicas.iter().map(|n| f64::from(n.saturating_sub(floor))).sum();
        all / self.replicas.len().max(1) as f64
    }

    /// Replicas of the busiest hour.
    pub fn most(&self) -> u32 {
        self.replicas.iter().copied().max().unwrap_or(0)
    }

    /// Mean number of replicas: what is paid for.
    pub fn mean(&self) -> f64 {
        let all: f64 = self.replicas.iter().map(|n| f64::from(*n)).sum();
        all / self.replicas.len().max(1) as f64
    }

    /// The share of the week's hours in which at least `count` replicas run.
    pub fn share_of_hours(&self, count: u32) -> f64 {
        let hours = self.replicas.iter().filter(|n| **n >= count).count();
        hours as f64 / self.replicas.len().max(1) as f64
    }
}

/// What a fleet must keep up with in each hour: its busiest second, and that of the hours before whose replicas are
/// still kept. The same for every capacity, so that a grid of many works it out once.
#[derive(Debug, Clone, PartialEq)]
pub struct Peaks {
    by_hour: Vec<f64>,
    /// Requests a second on average, kept replicas' hours and idle ones included.
    pub mean_held: f64,
    mean: f64,
}

impl Peaks {
    /// Of a demand.
    pub fn of(demand: &Demand, rules: &Rules) -> Self {
        let wanted: Vec<f64> = demand.per_s.iter().map(|mean| mean * demand.peak_to_mean).collect();
        let hours = wanted.len();
        let by_hour: Vec<f64> = if rules.autoscaled {
            // The week goes round: Monday's first hours still have Sunday's last replicas.
            let back = |hour: usize, lag: usize| wanted[(hour + hours - lag % hours) % hours];
            let lags = rules.lag_hours.min(HOURS_A_WEEK - 1);
            (0..hours)
                .map(|hour| (0..=lags).map(|lag| back(hour, lag)).fold(0.0, f64::max))
                .collect()
        } else {
            vec![wanted.iter().copied().fold(0.0, f64::max); hours]
        };
        let mean_held = by_hour.iter().sum::<f64>() / hours.max(1) as f64;
        Self { by_hour, mean_held, mean: demand.mean_per_s() }
    }

    /// Of a demand `factor` times as large.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self {
            by_hour: self.by_hour.iter().map(|peak| peak * factor).collect(),
            mean_held: self.mean_held * factor,
            mean: self.mean * factor,
        }
    }

    /// The fleet of replicas that serve `capacity_per_s` each, above 0.
    pub fn fleet(&self, capacity_per_s: f64, basis: Basis, rules: &Rules) -> Fleet {
        let utilization = rules.utilization.unwrap_or_else(|| basis.utilization());
        let capacity = capacity_per_s * rules.share;
        let needed = |peak: f64| {
            let planned = whole(peak / (capacity * utilization));
            let redundant = whole(peak / capacity).saturating_add(rules.redundant);
            rules.at_least.max(planned).max(redundant)
        };
        let mut last = (f64::NAN, 0);
        let each = self.by_hour.iter().map(|peak| {
            // Hours alike follow each other.
            if last.0.to_bits() != peak.to_bits() {
                last = (*peak, needed(*peak));
            }
            last.1
        });
        let replicas: Vec<u32> = each.collect();
        let paid: f64 = replicas.iter().map(|n| f64::from(*n)).sum();
        let hours = replicas.len() as f64;
        let busy = self.mean * hours / (paid * capacity).max(f64::MIN_POSITIVE);
        Fleet { replicas, utilization, busy }
    }

    /// Replicas on average, at least: no fleet has fewer.
    pub fn least(&self, capacity_per_s: f64, basis: Basis, rules: &Rules) -> f64 {
        let utilization = rules.utilization.unwrap_or_else(|| basis.utilization());
        let planned = self.mean_held / (capacity_per_s * rules.share * utilization);
        planned.max(f64::from(rules.at_least.max(rules.redundant)))
    }
}

/// The next whole number; what is whole but for the last digits of a float stays.
fn whole(replicas: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "above 0, and casts of floats saturate"
    )]
    let count = (replicas - 1e-9).ceil().max(0.0) as u32;
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::economics::demand::Shape;

    #[test]
    fn headroom_is_taken_once() {
        let demand = Demand::shaped(100.0, Shape::Flat);
        let fleet = |basis, rules: &Rules| Fleet::of(&demand, 50.0, basis, rules).most();
        let alone = Rules::default();
        assert_eq!(fleet(Basis::Slo, &alone), 2);
        assert_eq!(fleet(Basis::Saturated, &alone), 4);
        // One may fail: three hold the load, and the four that headroom asks for have that in them.
        let redundant = Rules { redundant: 1, ..alone };
        assert_eq!(fleet(Basis::Slo, &redundant), 3);
        assert_eq!(fleet(Basis::Saturated, &redundant), 4);
        assert_eq!(fleet(Basis::Slo, &Rules { share: 0.5, ..alone }), 4);
        // 7.5 requests are in flight where 50 a second take 150 ms (Little's law): 8 places for one each.
        let in_flight = 50.0 * 0.150;
        assert!((in_flight - 7.5_f64).abs() < 1e-12 && whole(in_flight) == 8);
    }

    #[test]
    fn replicas_stay_for_a_while() {
        let mut demand = Demand::shaped(1.0, Shape::Flat);
        demand.per_s.fill(1.0);
        demand.per_s[10] = 95.0;
        demand.per_s[167] = 45.0;
        let rules = Rules { autoscaled: true, lag_hours: 2, ..Rules::default() };
        let fleet = Fleet::of(&demand, 10.0, Basis::Slo, &rules);
        assert_eq!(fleet.replicas[8..14], [1, 1, 10, 10, 10, 1]);
        assert_eq!((fleet.replicas[0], fleet.replicas[1], fleet.replicas[2]), (5, 5, 1));
        assert!(fleet.mean() < 1.3 && fleet.most() == 10);
        let always = Fleet::of(&demand, 10.0, Basis::Slo, &Rules::default());
        assert!((always.mean() - 10.0).abs() < 1e-12);
        assert!((fleet.share_of_hours(2) - 6.0 / 168.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn replicas_never_fall_short(
            rates in prop::collection::vec(0.0..1e4_f64, 168),
            capacity in 0.01..1e3_f64,
            at_least in 0..4_u32,
            redundant in 0..3_u32,
            lag in 0..5_usize,
            autoscaled: bool,
            peak in 1.0..5.0_f64,
        ) {
            let mut demand = Demand::shaped(1.0, Shape::Flat);
            demand.per_s = rates;
            demand.peak_to_mean = peak;
            let rules = Rules {
                at_least, redundant, lag_hours: lag, autoscaled, utilization: None, share: 1.0,
            };
            for basis in [Basis::Saturated, Basis::Slo] {
                let fleet = Fleet::of(&demand, capacity, basis, &rules);
                for (rate, replicas) in demand.per_s.iter().zip(&fleet.replicas) {
                    let left = f64::from(replicas.saturating_sub(redundant));
                    prop_assert!(left * capacity >= rate * peak * (1.0 - 1e-9));
                    prop_assert!(*replicas >= at_least);
                }
                let least = Peaks::of(&demand, &rules).least(capacity, basis, &rules);
                prop_assert!(fleet.mean() >= least * (1.0 - 1e-6) - 1e-6);
                let always = Fleet::of(&demand, capacity, basis, &Rules { autoscaled: false, ..rules });
                prop_assert!(fleet.mean() <= always.mean() + 1e-9);
                let doubled = Fleet::of(&demand.times(2.0), capacity, basis, &rules);
                prop_assert!(doubled.mean() >= fleet.mean() - 1e-9);
            }
        }
    }
}
