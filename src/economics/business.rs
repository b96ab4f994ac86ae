//! What a user says of the business: demand, today's bill, what a change costs, and what it must reach.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HOURS_A_MONTH;
use super::demand::{Demand, Shape, parse_rate};
use super::fleet::Rules;
use crate::error::{Error, Result};

/// A file of assumptions, e.g. `money.toml`: docs/money.md has every key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Business {
    /// Requests over time.
    pub demand: Option<DemandSpec>,
    /// What a fleet must hold to.
    pub fleet: Rules,
    /// Ways to serve that were not measured.
    pub option: Vec<Stated>,
    /// What changes are held against.
    pub baseline: Option<Baseline>,
    /// What changing costs, and how far is looked ahead.
    pub change: ChangeSpec,
    /// What comes on top of machines.
    pub extras: Extras,
    /// What a plan must reach.
    pub targets: Targets,
    /// Share off the list price that was negotiated: 0.1 is 10 %.
    pub discount: f64,
}

/// `[demand]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemandSpec {
    /// e.g. `10M/day`, `50/s`.
    pub rate: String,
    /// How a week is spread.
    #[serde(default)]
    pub shape: Shape,
    /// A file of 168 numbers instead of a shape.
    #[serde(default)]
    pub profile: Option<PathBuf>,
    /// The busiest second of an hour over the hour's mean; 1 or above.
    #[serde(default = "one")]
    pub peak_to_mean: f64,
    /// 0.02 is 2 % more every month.
    #[serde(default)]
    pub growth_per_month: f64,
    /// Bytes that leave the cloud with each answer.
    #[serde(default)]
    pub payload_bytes: f64,
}

/// `[[option]]`: a way to serve with figures of the user's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stated {
    /// What it is called.
    pub name: String,
    /// Price of a replica, with `capacity_per_s`.
    pub usd_per_hour: Option<f64>,
    /// Requests a second of a replica.
    pub capacity_per_s: Option<f64>,
    /// Or the whole bill.
    pub usd_per_month: Option<f64>,
    /// Or that of a day.
    pub usd_per_day: Option<f64>,
    /// Or a price by the request.
    pub usd_per_1k: Option<f64>,
    /// Latency of a request.
    pub latency_ms: Option<f64>,
    /// Share of right answers, 0 to 1.
    pub accuracy: Option<f64>,
}

/// `[baseline]`: a stated bill, or the name of a variant or an option.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Baseline {
    /// A variant of the runs, or an option's name.
    pub of: Option<String>,
    /// Today's bill.
    pub usd_per_month: Option<f64>,
    /// Latency today.
    pub latency_ms: Option<f64>,
    /// Share of right answers today, 0 to 1.
    pub accuracy: Option<f64>,
}

/// `[change]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeSpec {
    /// Hours of work.
    pub hours: f64,
    /// Their rate.
    pub usd_per_hour: f64,
    /// Computing for training, and whatever else is paid once.
    pub other_usd: f64,
    /// Months that are looked ahead.
    pub months: u32,
    /// Interest a year.
    pub interest: f64,
    /// How far prices may move either way: 0.1 is 10 %.
    pub price_range: f64,
    /// The same of demand.
    pub demand_range: f64,
}

/// `[extras]`: what comes on top of machines; what is left out is listed as not included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extras {
    /// A load balancer.
    pub load_balancer_usd_per_month: Option<f64>,
    /// Bytes that leave the cloud.
    pub egress_usd_per_gb: Option<f64>,
    /// Disks of a replica.
    pub storage_gb: Option<f64>,
    /// Their price.
    pub storage_usd_per_gb_month: Option<f64>,
}

/// `[targets]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// At most so much a month.
    pub max_usd_per_month: Option<f64>,
    /// At least so many times as fast as the baseline.
    pub min_speedup: Option<f64>,
    /// At least this share of right answers.
    pub min_accuracy: Option<f64>,
    /// At most so much less than the baseline's, as a share: 0.02 is two points.
    pub max_drop: Option<f64>,
    /// At least this share of the baseline's cost saved.
    pub min_saving: Option<f64>,
    /// At most this latency, in ms.
    pub max_latency_ms: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl Default for ChangeSpec {
    fn default() -> Self {
        Self {
            hours: 0.0,
            usd_per_hour: 0.0,
            other_usd: 0.0,
            months: 36,
            interest: 0.0,
            price_range: 0.1,
            demand_range: 0.2,
        }
    }
}

impl ChangeSpec {
    /// What is paid once.
    pub fn one_off(&self) -> f64 {
        self.hours * self.usd_per_hour + self.other_usd
    }
}

impl DemandSpec {
    /// As requests over a week; a profile's file is looked for from `base`.
    pub fn demand(&self, base: &Path) -> Result<Demand> {
        let mean = parse_rate(&self.rate)?;
        let mut demand = match &self.profile {
            None => Demand::shaped(mean, self.shape),
            Some(path) => {
                let path = base.join(path);
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| Error::io(&path, "read the profile", &e))?;
                Demand::from_csv(mean, &path.display().to_string(), &text)?
            }
        };
        demand.peak_to_mean = self.peak_to_mean;
        demand.growth = self.growth_per_month;
        demand.payload_bytes = self.payload_bytes;
        Ok(demand)
    }
}

impl Stated {
    /// The bill of a month, where it does not depend on a fleet.
    pub fn bill(&self, requests_per_month: f64) -> Option<f64> {
        self.usd_per_month
            .or_else(|| Some(self.usd_per_day? * HOURS_A_MONTH / 24.0))
            .or_else(|| Some(self.usd_per_1k? * requests_per_month / 1000.0))
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
        let mut above: Vec<(String, Option<f64>)> = Vec::new();
        let mut not_below: Vec<(String, Option<f64>)> = Vec::new();
        let mut shares: Vec<(String, Option<f64>)> = Vec::new();
        for (at, option) in self.option.iter().enumerate() {
            if option.name.trim().is_empty() {
                return refuse(format!("option {}", at + 1), "has no name");
            }
            let key = |k: &str| format!("option `{}`: {k}", option.name);
            above.extend([
                (key("usd_per_hour"), option.usd_per_hour),
                (key("capacity_per_s"), option.capacity_per_s),
                (key("latency_ms"), option.latency_ms),
                (key("usd_per_month"), option.usd_per_month),
                (key("usd_per_day"), option.usd_per_day),
                (key("usd_per_1k"), option.usd_per_1k),
            ]);
            shares.push((key("accuracy"), option.accuracy));
            let bills = [option.usd_per_month, option.usd_per_day, option.usd_per_1k];
            let bills = bills.iter().flatten().count();
            let replica = (option.usd_per_hour.is_some(), option.capacity_per_s.is_some());
            if (bills, replica) != (1, (false, false)) && (bills, replica) != (0, (true, true)) {
                return refuse(
                    format!("option `{}`", option.name),
                    "needs usd_per_hour with capacity_per_s, or one of usd_per_month, usd_per_day and \
                     usd_per_1k",
                );
            }
        }
        if let Some(baseline) = &self.baseline {
            if baseline.of.is_some() == baseline.usd_per_month.is_some() {
                return refuse("baseline".to_owned(), "needs `of` or usd_per_month, and not both");
            }
            above.extend([
                ("baseline.usd_per_month".to_owned(), baseline.usd_per_month),
                ("baseline.latency_ms".to_owned(), baseline.latency_ms),
            ]);
            shares.push(("baseline.accuracy".to_owned(), baseline.accuracy));
        }
        let targets = &self.targets;
        above.extend([
            ("targets.max_usd_per_month".to_owned(), targets.max_usd_per_month),
            ("targets.min_speedup".to_owned(), targets.min_speedup),
            ("targets.max_latency_ms".to_owned(), targets.max_latency_ms),
            ("fleet.utilization".to_owned(), self.fleet.utilization),
            ("fleet.share".to_owned(), Some(self.fleet.share)),
        ]);
        shares.extend([
            ("targets.min_accuracy".to_owned(), targets.min_accuracy),
            ("targets.max_drop".to_owned(), targets.max_drop),
            ("targets.min_saving".to_owned(), targets.min_saving),
            ("fleet.utilization".to_owned(), self.fleet.utilization),
            ("fleet.share".to_owned(), Some(self.fleet.share)),
            ("change.price_range".to_owned(), Some(self.change.price_range)),
            ("change.demand_range".to_owned(), Some(self.change.demand_range)),
        ]);
        let (change, extras) = (&self.change, &self.extras);
        not_below.extend([
            ("change.hours".to_owned(), Some(change.hours)),
            ("change.usd_per_hour".to_owned(), Some(change.usd_per_hour)),
            ("change.other_usd".to_owned(), Some(change.other_usd)),
            ("change.interest".to_owned(), Some(change.interest)),
            ("extras.load_balancer_usd_per_month".to_owned(), extras.load_balancer_usd_per_month),
            ("extras.egress_usd_per_gb".to_owned(), extras.egress_usd_per_gb),
            ("extras.storage_gb".to_owned(), extras.storage_gb),
            ("extras.storage_usd_per_gb_month".to_owned(), extras.storage_usd_per_gb_month),
        ]);
        if let Some(demand) = &self.demand {
            not_below.push(("demand.payload_bytes".to_owned(), Some(demand.payload_bytes)));
            if !(demand.peak_to_mean.is_finite() && demand.peak_to_mean >= 1.0) {
                return refuse("demand.peak_to_mean".to_owned(), "must be 1 or above");
            }
            if !(demand.growth_per_month.is_finite() && demand.growth_per_month > -1.0) {
                return refuse("demand.growth_per_month".to_owned(), "must be above -1");
            }
        }
        let bad = |list: &[(String, Option<f64>)], fits: fn(f64) -> bool| {
            list.iter()
                .find(|(_, v)| v.is_some_and(|v| !(v.is_finite() && fits(v))))
                .map(|(k, _)| k.clone())
        };
        if let Some(key) = bad(&above, |v| v > 0.0) {
            return refuse(key, "must be above 0");
        }
        if let Some(key) = bad(&not_below, |v| v >= 0.0) {
            return refuse(key, "must be 0 or above");
        }
        if let Some(key) = bad(&shares, |v| (0.0..=1.0).contains(&v)) {
            return refuse(key, "is a share, from 0 to 1");
        }
        if !(0.0..1.0).contains(&self.discount) {
            return refuse("discount".to_owned(), "is a share, from 0 to below 1");
        }
        if change.months == 0 || change.months > 120 {
            return refuse("change.months".to_owned(), "must be from 1 to 120");
        }
        Ok(())
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
