//! Ways to pay for a fleet, and what a month of each comes to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::HOURS_A_MONTH;
use super::fleet::Fleet;
use super::price::Term;
use super::terms::{Interruptions, Mix, Rates, cheapest};

/// How a fleet is paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paying {
    /// By the hour that a machine runs.
    #[default]
    OnDemand,
    /// The same, for machines that can be taken away.
    Spot,
    /// The busiest hour's machines for a year, whether they run or not.
    #[serde(rename = "1y")]
    OneYear,
    /// The same for three years.
    #[serde(rename = "3y")]
    ThreeYears,
    /// Machine by machine the cheapest: committed where it runs for enough hours, the rest by the hour.
    Blended,
    /// Machines of one's own, always there.
    Owned,
}

impl Paying {
    /// What can be asked for.
    pub const ASKED: [Self; 5] =
        [Self::OnDemand, Self::Spot, Self::OneYear, Self::ThreeYears, Self::Blended];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::OneYear => "1y",
            Self::ThreeYears => "3y",
            Self::Blended => "blended",
            Self::Owned => "owned",
        }
    }

    /// Which price it needs; a mix begins with what is paid by the hour.
    pub fn term(self) -> Term {
        match self {
            Self::OnDemand | Self::Blended | Self::Owned => Term::OnDemand,
            Self::Spot => Term::Spot,
            Self::OneYear => Term::OneYear,
            Self::ThreeYears => Term::ThreeYears,
        }
    }

    /// What FOCUS calls it in `PricingCategory`.
    pub fn pricing_category(self) -> &'static str {
        match self {
            Self::OnDemand => "Standard",
            Self::Spot => "Dynamic",
            Self::OneYear | Self::ThreeYears => "Committed",
            Self::Blended | Self::Owned => "Other",
        }
    }
}

impl fmt::Display for Paying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Paying {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ASKED.into_iter().find(|paying| paying.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of on-demand, spot, 1y, 3y, blended"))
    }
}

/// Prices of a machine, in USD an hour; `None` where a price is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Hourly {
    /// By the hour.
    pub on_demand: Option<f64>,
    /// What can be taken away.
    pub spot: Option<f64>,
    /// Committed for a year.
    pub one_year: Option<f64>,
    /// Committed for three years.
    pub three_years: Option<f64>,
    /// One's own: a month of it over 730 hours.
    pub owned: Option<f64>,
}

impl Hourly {
    /// All of them, `factor` times as high.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let each = |of: Option<f64>| of.map(|usd| usd * factor);
        Self {
            on_demand: each(self.on_demand),
            spot: each(self.spot),
            one_year: each(self.one_year),
            three_years: each(self.three_years),
            owned: each(self.owned),
        }
    }

    /// The one that a way to pay names; a mix is named by the hour's.
    pub fn of(&self, paying: Paying) -> Option<f64> {
        match paying {
            Paying::OnDemand | Paying::Blended => self.on_demand,
            Paying::Spot => self.spot,
            Paying::OneYear => self.one_year,
            Paying::ThreeYears => self.three_years,
            Paying::Owned => self.owned,
        }
    }

    /// The least that an hour of a machine can cost by a way to pay.
    pub fn least(&self, paying: Paying) -> Option<f64> {
        match paying {
            Paying::Blended => [self.on_demand, self.spot, self.one_year, self.three_years]
                .into_iter()
                .flatten()
                .min_by(f64::total_cmp),
            Paying::Spot => {
                [self.spot, self.on_demand].into_iter().flatten().min_by(f64::total_cmp)
            }
            paying => self.of(paying),
        }
    }

    /// The share of hours above which a commitment is cheaper than paying by the hour.
    pub fn break_even_share(&self, paying: Paying) -> Option<f64> {
        let committed = match paying {
            Paying::OneYear => self.one_year,
            Paying::ThreeYears => self.three_years,
            Paying::Blended => self.committed(),
            _ => None,
        };
        Some(committed? / self.on_demand?)
    }

    fn committed(&self) -> Option<f64> {
        [self.one_year, self.three_years].into_iter().flatten().min_by(f64::total_cmp)
    }
}

/// `[spot]` of a file of assumptions: what it is to have machines taken away.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpotRules {
    /// Probability that a machine is taken away within a month, 0 to below 1.
    pub interruptions_per_month: f64,
    /// Hours until another one serves: starting, loading, warming up.
    pub hours_lost: f64,
    /// Further cost of each, in USD.
    pub usd_each: f64,
    /// Machines that are never on spot.
    pub floor: u32,
    /// Whether a blended fleet may have any.
    pub blended: bool,
}

impl Default for SpotRules {
    /// The middle of AWS's bucket of 5 to 10 %; five minutes until another machine serves.
    fn default() -> Self {
        Self {
            interruptions_per_month: 0.075,
            hours_lost: 1.0 / 12.0,
            usd_each: 0.0,
            floor: 0,
            blended: false,
        }
    }
}

/// A month of a fleet: USD, and the mix where there is one.
///
/// `None` where a price that it needs is not known.
pub(super) fn month(
    fleet: &Fleet,
    hourly: &Hourly,
    paying: Paying,
    spot: &SpotRules,
) -> Option<(f64, Option<Mix>)> {
    let interruptions = Interruptions {
        monthly: spot.interruptions_per_month,
        hours_lost: spot.hours_lost,
        usd_each: spot.usd_each,
    };
    let always = |usd: f64| f64::from(fleet.most()) * usd * HOURS_A_MONTH;
    Some(match paying {
        Paying::OnDemand => (fleet.mean() * hourly.on_demand? * HOURS_A_MONTH, None),
        Paying::OneYear => (always(hourly.one_year?), None),
        Paying::ThreeYears => (always(hourly.three_years?), None),
        Paying::Owned => (always(hourly.owned?), None),
        Paying::Spot => {
            let each = interruptions.effective(hourly.spot?);
            let on_spot = fleet.mean_beyond(spot.floor);
            let safe = fleet.mean() - on_spot;
            let floor = if safe > 0.0 { safe * hourly.on_demand? } else { 0.0 };
            ((on_spot * each + floor) * HOURS_A_MONTH, None)
        }
        Paying::Blended => {
            let rates = Rates {
                on_demand: hourly.on_demand?,
                committed: hourly.committed(),
                spot: hourly.spot.filter(|_| spot.blended),
            };
            let mut mix = cheapest(fleet, &rates, &interruptions, spot.floor);
            let is_year = hourly.one_year.is_some() && hourly.one_year == hourly.committed();
            mix.commitment = (mix.committed > 0).then_some(if is_year { "1y" } else { "3y" });
            (mix.usd_per_month, Some(mix))
        }
    })
}
