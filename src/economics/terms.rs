//! What a fleet costs by each way of paying for it.

use serde::{Deserialize, Serialize};

use super::HOURS_A_MONTH;
use super::fleet::Fleet;

/// Prices of one replica an hour, in USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// By the hour.
    pub on_demand: f64,
    /// Committed for a term, paid in every hour whether it is used or not; `None` where it is not known.
    pub committed: Option<f64>,
    /// What can be taken away; `None` where it is not known.
    pub spot: Option<f64>,
}

/// What interruptions cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interruptions {
    /// Probability that a replica is taken away within a month, 0 to 1.
    pub monthly: f64,
    /// Hours until another one serves: starting, loading, warming up.
    pub hours_lost: f64,
    /// Further cost of each, in USD.
    pub usd_each: f64,
}

impl Interruptions {
    /// Interruptions an hour: −ln(1 − q) / 730, q being the month's probability.
    pub fn per_hour(&self) -> f64 {
        -(1.0 - self.monthly.clamp(0.0, 0.999)).ln() / HOURS_A_MONTH
    }

    /// What an hour of spot costs with them.
    pub fn effective(&self, spot: f64) -> f64 {
        let rate = self.per_hour();
        spot * (1.0 + rate * self.hours_lost) + rate * self.usd_each
    }
}

/// A way to pay, and what it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mix {
    /// Replicas that are committed.
    pub committed: u32,
    /// For how long, `1y` or `3y`; `None` where none is.
    pub commitment: Option<&'static str>,
    /// Mean replicas that are taken on demand beyond these.
    pub on_demand: f64,
    /// Mean replicas that are taken on spot.
    pub spot: f64,
    /// USD a month.
    pub usd_per_month: f64,
}

/// The cheapest mix: replica by replica, committed where it runs in enough hours, the rest on spot (with `floor`
/// replicas at least that cannot be taken away) or on demand.
///
/// Whether replica k is worth a commitment does not depend on the others: they are paid for by themselves.
pub fn cheapest(fleet: &Fleet, rates: &Rates, interruptions: &Interruptions, floor: u32) -> Mix {
    let spot = rates.spot.map(|spot| interruptions.effective(spot));
    let mut mix =
        Mix { committed: 0, commitment: None, on_demand: 0.0, spot: 0.0, usd_per_month: 0.0 };
    // Replicas between two numbers that some hour has run in the same hours; a week has 168 of these at most.
    let mut levels: Vec<u32> = fleet.replicas.iter().copied().filter(|n| *n > 0).collect();
    levels.push(floor.min(fleet.most()));
    levels.sort_unstable();
    levels.dedup();
    let mut below = 0;
    for level in levels.into_iter().filter(|level| *level > 0) {
        let count = level - below;
        let share = fleet.share_of_hours(level);
        let by_hour = share * rates.on_demand;
        let by_spot = spot.filter(|_| below >= floor).map(|spot| share * spot);
        let committed = rates.committed.unwrap_or(f64::INFINITY);
        let hourly = if committed < by_hour && by_spot.is_none_or(|s| committed < s) {
            mix.committed += count;
            committed
        } else if let Some(by_spot) = by_spot.filter(|s| *s < by_hour) {
            mix.spot += share * f64::from(count);
            by_spot
        } else {
            mix.on_demand += share * f64::from(count);
            by_hour
        };
        mix.usd_per_month += hourly * f64::from(count) * HOURS_A_MONTH;
        below = level;
    }
    mix
}

/// Hardware that is owned: its price over its life, power and a place for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// Price of a machine, in USD.
    pub capital_usd: f64,
    /// Months until it is written off.
    pub life_months: f64,
    /// Mean power, in watts.
    pub watts: f64,
    /// Power usage effectiveness: what the building takes for a watt of the machine.
    #[serde(default = "one")]
    pub pue: f64,
    /// Price of a kilowatt-hour, in USD.
    pub usd_per_kwh: f64,
    /// A place for it, its network and hands, in USD a month.
    #[serde(default)]
    pub hosting_usd_per_month: f64,
}

fn one() -> f64 {
    1.0
}

impl Owned {
    /// USD a month of one machine that is always on.
    pub fn usd_per_month(&self) -> f64 {
        let power = self.watts / 1e3 * self.pue * HOURS_A_MONTH * self.usd_per_kwh;
        self.capital_usd / self.life_months + power + self.hosting_usd_per_month
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::economics::demand::{Demand, Shape};
    use crate::economics::fleet::{Basis, Rules};

    const QUIET: Interruptions = Interruptions { monthly: 0.0, hours_lost: 0.0, usd_each: 0.0 };

    #[test]
    fn a_commitment_pays_above_its_share_of_hours() {
        // 37 % off pays above 63 % of hours.
        let fleet = |hours: usize| Fleet {
            replicas: (0..168).map(|h| u32::from(h < hours)).collect(),
            utilization: 1.0,
            busy: 1.0,
        };
        let rates = Rates { on_demand: 1.0, committed: Some(0.63), spot: None };
        assert_eq!(cheapest(&fleet(105), &rates, &QUIET, 0).committed, 0);
        let mix = cheapest(&fleet(107), &rates, &QUIET, 0);
        assert_eq!(mix.committed, 1);
        // What is committed is paid for in the hours in which it idles, too.
        assert!((mix.usd_per_month - 0.63 * 730.0).abs() < 1e-9);
    }

    #[test]
    fn interruptions_are_a_rate() {
        let some = Interruptions { monthly: 0.1, hours_lost: 0.5, usd_each: 2.0 };
        let rate = -(0.9_f64.ln()) / 730.0;
        assert!((some.per_hour() - rate).abs() < 1e-15);
        assert!((some.effective(0.3) - (0.3 * (1.0 + rate * 0.5) + rate * 2.0)).abs() < 1e-12);
    }

    #[test]
    fn owned_hardware_costs_its_life_its_power_and_its_place() {
        let owned = Owned {
            capital_usd: 36_000.0,
            life_months: 36.0,
            watts: 500.0,
            pue: 1.2,
            usd_per_kwh: 0.1,
            hosting_usd_per_month: 100.0,
        };
        assert!((owned.usd_per_month() - (1000.0 + 43.8 + 100.0)).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_mix_is_never_dearer_than_on_demand(
            rates in prop::collection::vec(0.0..1e3_f64, 168),
            on_demand in 0.01..10.0_f64,
            committed in 0.1..1.0_f64,
            spot in 0.1..1.2_f64,
            floor in 0..4_u32,
        ) {
            let mut demand = Demand::shaped(1.0, Shape::Flat);
            demand.per_s = rates;
            let rules = Rules { autoscaled: true, ..Rules::default() };
            let fleet = Fleet::of(&demand, 10.0, Basis::Slo, &rules);
            let prices = Rates {
                on_demand,
                committed: Some(committed * on_demand),
                spot: Some(spot * on_demand),
            };
            let mix = cheapest(&fleet, &prices, &QUIET, floor);
            let plain = fleet.mean() * on_demand * HOURS_A_MONTH;
            prop_assert!(mix.usd_per_month <= plain * (1.0 + 1e-9));
            // No plan is cheaper than its cheapest hour for what it must run.
            let least = on_demand * committed.min(spot).min(1.0);
            prop_assert!(mix.usd_per_month >= fleet.mean() * least * 730.0 * (1.0 - 1e-9));
            prop_assert!(mix.usd_per_month.is_finite());
            let more = Rates { on_demand: on_demand * 1.5, ..prices };
            prop_assert!(cheapest(&fleet, &more, &QUIET, floor).usd_per_month >= mix.usd_per_month * (1.0 - 1e-9));
        }
    }
}
