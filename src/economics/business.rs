//! What a user says of the business: demand, today's bill, what a change costs, and what it must reach.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HOURS_A_MONTH;
use super::currency::Currencies;
use super::demand::{Demand, Shape, parse_rate};
use super::fleet::Rules;
use super::pay::{Hourly, Paying, SpotRules};
use super::terms::Owned;
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
    /// What it is to have machines taken away.
    pub spot: SpotRules,
    /// What latency and quality are worth.
    pub value: Value,
    /// How many draws a band is made of; none where it is left out.
    pub band: Option<Draws>,
    /// Rates of other currencies, by their code.
    pub rate: Currencies,
}

/// `[value]`: what latency and quality are worth to whoever pays; nothing where it is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Value {
    /// Worth of one millisecond less for a million requests.
    pub usd_per_1m_per_ms: Option<f64>,
    /// Cost of an answer that is wrong and was right before.
    pub usd_per_wrong_answer: Option<f64>,
}

/// `[band]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draws {
    /// How many.
    pub draws: u32,
    /// Of this seed.
    pub seed: u64,
}

impl Default for Draws {
    fn default() -> Self {
        Self { draws: 2000, seed: 0 }
    }
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
    /// Price of a machine, with `capacity_per_s`.
    pub usd_per_hour: Option<f64>,
    /// Its price where it can be taken away.
    pub usd_per_hour_spot: Option<f64>,
    /// Its price committed for a year.
    pub usd_per_hour_1y: Option<f64>,
    /// Its price committed for three years.
    pub usd_per_hour_3y: Option<f64>,
    /// Or a machine of one's own, with `capacity_per_s`.
    pub owned: Option<Owned>,
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

    /// Prices of a machine, as far as they are stated.
    pub fn hourly(&self) -> Hourly {
        Hourly {
            on_demand: self.usd_per_hour,
            spot: self.usd_per_hour_spot,
            one_year: self.usd_per_hour_1y,
            three_years: self.usd_per_hour_3y,
            owned: self.owned.map(|own| own.usd_per_month() / HOURS_A_MONTH),
        }
    }
}

impl Business {
    /// What is paid of a price: nobody negotiates with oneself.
    pub(super) fn paid(&self, paying: Paying) -> f64 {
        if paying == Paying::Owned { 1.0 } else { 1.0 - self.discount }
    }
}

impl Extras {
    /// Disks of a machine, in USD a month.
    pub fn disks(&self) -> f64 {
        self.storage_gb.unwrap_or(0.0) * self.storage_usd_per_gb_month.unwrap_or(0.0)
    }
}
