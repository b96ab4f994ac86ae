//! Which assumptions cannot be.

use super::business::{Baseline, Business, Stated};
use super::currency::check_currencies;
use super::terms::Owned;
use crate::error::{Error, Result};
use crate::units::today;

/// Keys with their numbers, by what these must be.
#[derive(Default)]
struct Numbers {
    above: Vec<(String, Option<f64>)>,
    not_below: Vec<(String, Option<f64>)>,
    shares: Vec<(String, Option<f64>)>,
}

impl Numbers {
    fn option(&mut self, option: &Stated) {
        let key = |k: &str| format!("option `{}`: {k}", option.name);
        self.above.extend([
            (key("usd_per_hour"), option.usd_per_hour),
            (key("usd_per_hour_spot"), option.usd_per_hour_spot),
            (key("usd_per_hour_1y"), option.usd_per_hour_1y),
            (key("usd_per_hour_3y"), option.usd_per_hour_3y),
            (key("capacity_per_s"), option.capacity_per_s),
            (key("latency_ms"), option.latency_ms),
            (key("usd_per_month"), option.usd_per_month),
            (key("usd_per_day"), option.usd_per_day),
            (key("usd_per_1k"), option.usd_per_1k),
        ]);
        self.shares.push((key("accuracy"), option.accuracy));
        if let Some(Owned {
            capital_usd,
            life_months,
            watts,
            pue,
            usd_per_kwh,
            hosting_usd_per_month,
        }) = option.owned
        {
            self.above.push((key("owned.life_months"), Some(life_months)));
            self.not_below.extend([
                (key("owned.capital_usd"), Some(capital_usd)),
                (key("owned.watts"), Some(watts)),
                (key("owned.usd_per_kwh"), Some(usd_per_kwh)),
                (key("owned.hosting_usd_per_month"), Some(hosting_usd_per_month)),
                (key("owned.pue, which is 1 or above,"), Some(pue - 1.0)),
            ]);
        }
    }

    fn baseline(&mut self, baseline: &Baseline) {
        self.above.extend([
            ("baseline.usd_per_month".to_owned(), baseline.usd_per_month),
            ("baseline.latency_ms".to_owned(), baseline.latency_ms),
        ]);
        self.shares.push(("baseline.accuracy".to_owned(), baseline.accuracy));
    }

    fn rest(&mut self, business: &Business) {
        let Business { targets, fleet, change, extras, spot, value, .. } = business;
        self.above.extend([
            ("targets.max_usd_per_month".to_owned(), targets.max_usd_per_month),
            ("targets.min_speedup".to_owned(), targets.min_speedup),
            ("targets.max_latency_ms".to_owned(), targets.max_latency_ms),
            ("fleet.utilization".to_owned(), fleet.utilization),
            ("fleet.share".to_owned(), Some(fleet.share)),
        ]);
        self.shares.extend([
            ("targets.min_accuracy".to_owned(), targets.min_accuracy),
            ("targets.max_drop".to_owned(), targets.max_drop),
            ("targets.min_saving".to_owned(), targets.min_saving),
            ("fleet.utilization".to_owned(), fleet.utilization),
            ("fleet.share".to_owned(), Some(fleet.share)),
            ("change.price_range".to_owned(), Some(change.price_range)),
            ("change.demand_range".to_owned(), Some(change.demand_range)),
            ("spot.interruptions_per_month".to_owned(), Some(spot.interruptions_per_month)),
        ]);
        self.not_below.extend([
            ("change.hours".to_owned(), Some(change.hours)),
            ("change.usd_per_hour".to_owned(), Some(change.usd_per_hour)),
            ("change.other_usd".to_owned(), Some(change.other_usd)),
            ("change.interest".to_owned(), Some(change.interest)),
            ("extras.load_balancer_usd_per_month".to_owned(), extras.load_balancer_usd_per_month),
            ("extras.egress_usd_per_gb".to_owned(), extras.egress_usd_per_gb),
            ("extras.storage_gb".to_owned(), extras.storage_gb),
            ("extras.storage_usd_per_gb_month".to_owned(), extras.storage_usd_per_gb_month),
            ("spot.hours_lost".to_owned(), Some(spot.hours_lost)),
            ("spot.usd_each".to_owned(), Some(spot.usd_each)),
            ("value.usd_per_1m_per_ms".to_owned(), value.usd_per_1m_per_ms),
            ("value.usd_per_wrong_answer".to_owned(), value.usd_per_wrong_answer),
        ]);
    }
}

/// What an option states, in one of the ways that say what it costs.
fn is_whole(option: &Stated) -> bool {
    let bills = [option.usd_per_month, option.usd_per_day, option.usd_per_1k];
    let bills = bills.iter().flatten().count();
    let hourly = option.hourly();
    let rented = [hourly.on_demand, hourly.spot, hourly.one_year, hourly.three_years];
    let is_rented = rented.iter().any(Option::is_some);
    match (bills, is_rented, option.owned.is_some()) {
        (1, false, false) => option.capacity_per_s.is_none(),
        (0, rented, owned) => rented != owned && option.capacity_per_s.is_some(),
        _ => false,
    }
}

impl Business {
    /// Reads a file of assumptions. Errors name the key.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let business: Self = toml::from_str(text).map_err(|e| {
            Error::input(name, e.to_string().trim().to_owned())
                .remedy("docs/money.md lists the keys of a file of assumptions")
        })?;
        business.check(name)?;
        Ok(business)
    }

    /// Numbers that cannot be.
    pub fn check(&self, name: &str) -> Result<()> {
        let refuse = |key: String, why: &str| {
            Err(Error::input(format!("{name}: {key}"), why)
                .remedy("docs/money.md says what each key means"))
        };
        let mut numbers = Numbers::default();
        for (at, option) in self.option.iter().enumerate() {
            if option.name.trim().is_empty() {
                return refuse(format!("option {}", at + 1), "has no name");
            }
            if self.option[..at].iter().any(|other| other.name == option.name) {
                return refuse(format!("option `{}`", option.name), "is there twice");
            }
            if !is_whole(option) {
                return refuse(
                    format!("option `{}`", option.name),
                    "needs capacity_per_s with usd_per_hour (or usd_per_hour_spot, _1y, _3y) or with owned, or one of \
                     usd_per_month, usd_per_day and usd_per_1k",
                );
            }
            numbers.option(option);
        }
        if let Some(baseline) = &self.baseline {
            if baseline.of.is_some() == baseline.usd_per_month.is_some() {
                return refuse("baseline".to_owned(), "needs `of` or usd_per_month, and not both");
            }
            numbers.baseline(baseline);
        }
        numbers.rest(self);
        if let Some(demand) = &self.demand {
            let payload = Some(demand.payload_bytes);
            numbers.not_below.push(("demand.payload_bytes".to_owned(), payload));
            if !((1.0..=1e6).contains(&demand.peak_to_mean)) {
                return refuse("demand.peak_to_mean".to_owned(), "must be 1 or above");
            }
            if !(demand.growth_per_month > -1.0 && demand.growth_per_month <= 1.0) {
                return refuse(
                    "demand.growth_per_month".to_owned(),
                    "must be above -1, and 1 at most: twice as much every month",
                );
            }
        }
        let bad = |list: &[(String, Option<f64>)], fits: fn(f64) -> bool| {
            list.iter()
                .find(|(_, v)| v.is_some_and(|v| !(v.is_finite() && fits(v))))
                .map(|(k, _)| k.clone())
        };
        if let Some(key) = bad(&numbers.above, |v| v > 0.0) {
            return refuse(key, "must be above 0");
        }
        if let Some(key) = bad(&numbers.not_below, |v| v >= 0.0) {
            return refuse(key, "must be 0 or above");
        }
        if let Some(key) = bad(&numbers.shares, |v| (0.0..=1.0).contains(&v)) {
            return refuse(key, "is a share, from 0 to 1");
        }
        if !(0.0..1.0).contains(&self.discount) {
            return refuse("discount".to_owned(), "is a share, from 0 to below 1");
        }
        if self.spot.interruptions_per_month >= 1.0 {
            return refuse("spot.interruptions_per_month".to_owned(), "must be below 1");
        }
        if self.change.months == 0 || self.change.months > 120 {
            return refuse("change.months".to_owned(), "must be from 1 to 120");
        }
        if self.band.as_ref().is_some_and(|band| !(1..=100_000).contains(&band.draws)) {
            return refuse("band.draws".to_owned(), "must be from 1 to 100000");
        }
        check_currencies(&self.rate, today())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_names_its_key() {
        let parse = |text: &str| Business::parse("money.toml", text);
        assert!(
            parse("[demand]\nrate = \"1M/day\"\n[[option]]\nname = \"a\"\nusd_per_day = 150.0\n")
                .is_ok()
        );
        for (text, says) in [
            ("[demnd]\nrate = \"1/s\"\n", "demnd"),
            ("[[option]]\nname = \"a\"\nusd_per_hour = 1.0\n", "option `a`"),
            (
                "[[option]]\nname = \"a\"\nusd_per_hour = -1.0\ncapacity_per_s = 2.0\n",
                "usd_per_hour",
            ),
            (
                "[[option]]\nname = \"a\"\nusd_per_hour = 1.0\ncapacity_per_s = 0.0\n",
                "capacity_per_s",
            ),
            ("[[option]]\nusd_per_day = 1.0\n", "no name"),
            ("[baseline]\naccuracy = 0.9\n", "baseline"),
            ("[targets]\nmin_accuracy = 90.0\n", "min_accuracy"),
            ("[demand]\nrate = \"1/s\"\npeak_to_mean = 0.5\n", "peak_to_mean"),
            ("[fleet]\nutilization = 0.0\n", "utilization"),
            ("discount = 1.0\n", "discount"),
            ("[change]\nmonths = 0\n", "months"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("money.toml"), "{text}: {error}");
        }
    }
}
