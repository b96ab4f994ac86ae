//! What each way to serve comes to for a demand.

use serde::Serialize;

use super::HOURS_A_MONTH;
use super::against::{Versus, baseline, details, versus};
use super::bands::{Band, band};
use super::business::Targets;
use super::carbon::Carbon;
use super::fleet::Fleet;
use super::grid::Asked;
use super::offer::Offer;
use super::pay::{Paying, month};
use super::terms::Mix;
use crate::error::{Error, Result};

/// Bytes of a GB, as clouds bill traffic.
const GB: f64 = 1e9;

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// The way to serve.
    pub offer: Offer,
    /// Machines in the busiest hour; `None` for a bill.
    pub replicas: Option<u32>,
    /// Mean machines.
    pub mean_replicas: Option<f64>,
    /// Share of a machine's capacity that is planned for.
    pub utilization: Option<f64>,
    /// Share of what is paid for that works.
    pub busy: Option<f64>,
    /// Requests that are being served at once, on average: demand · mean latency (Little's law); the median stands for
    /// the mean of what was measured, whose records have none.
    pub in_flight: Option<f64>,
    /// USD of a request, for this demand.
    pub usd_per_request: f64,
    /// Of 1,000.
    pub usd_per_1k: f64,
    /// Of 1,000,000.
    pub usd_per_1m: f64,
    /// Of 1,000,000 on a machine that is always busy; `None` for a bill.
    pub usd_per_1m_saturated: Option<f64>,
    /// USD a month.
    pub usd_per_month: f64,
    /// What is paid of a list price: 1 less the negotiated discount.
    pub discounted: f64,
    /// Machines that are paid for on average, as much of each as is this model's: all of them where they are committed.
    pub paid_machines: Option<f64>,
    /// Of it at list prices by the hour, without any discount or commitment; `None` where that price is not known.
    pub usd_per_month_list: Option<f64>,
    /// With the upper end of the capacity's interval and prices as low as they may get.
    pub usd_per_month_low: f64,
    /// With the lower end and prices as high.
    pub usd_per_month_high: f64,
    /// Of three years, with the demand's growth.
    pub usd_three_years: f64,
    /// What is committed and what is not, where a way to pay mixes them.
    pub mix: Option<Mix>,
    /// The share of hours above which a commitment is cheaper than paying by the hour.
    pub break_even_share: Option<f64>,
    /// An estimate of energy and carbon; `None` where no table knows the machine.
    pub carbon: Option<Carbon>,
    /// What draws from the intervals of capacity, prices and demand come to; `None` unless asked for.
    pub band: Option<Band>,
    /// Against the baseline; `None` without one.
    pub versus: Option<Versus>,
    /// Targets, met or missed.
    pub targets: Vec<Target>,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// Its key.
    pub target: &'static str,
    /// What was asked for.
    pub wanted: f64,
    /// What it is; `None` where it is not known.
    pub is: Option<f64>,
    /// Whether it is met; what is not known is not.
    pub met: bool,
}

/// A month's bill, and the fleet behind it.
pub(super) struct Bill {
    pub usd: f64,
    pub fleet: Option<Fleet>,
    pub mix: Option<Mix>,
}

/// What else could have been.
#[derive(Debug, Clone, Copy)]
pub(super) struct What {
    pub demand: f64,
    pub price: f64,
    pub capacity: f64,
    pub utilization: Option<f64>,
}

/// Everything as it was measured and stated.
pub(super) const AS_IS: What = What { demand: 1.0, price: 1.0, capacity: 1.0, utilization: None };

/// A month of an offer.
pub(super) fn bill(offer: &Offer, asked: &Asked<'_>, what: &What) -> Result<Bill> {
    let business = asked.business;
    if let Some(bill) = offer.bill {
        // A price by the request grows with them; any other bill is all that is paid.
        let usd = if offer.is_by_request { bill * what.demand } else { bill };
        return Ok(Bill { usd, fleet: None, mix: None });
    }
    let (Some(price), Some(capacity)) = (&offer.price, &offer.capacity) else {
        return Err(Error::internal(&offer.name, "has neither a bill nor price and capacity"));
    };
    let per_s = capacity.per_s * what.capacity;
    if !(per_s.is_finite() && per_s > 0.0) {
        return Err(Error::input(&offer.name, format!("serves {per_s} requests a second"))
            .remedy("leave it out, or measure it again"));
    }
    let extras = &business.extras;
    let requests = asked.demand.per_month() * what.demand;
    let egress =
        extras.egress_usd_per_gb.unwrap_or(0.0) * requests * asked.demand.payload_bytes / GB;
    let shared = extras.load_balancer_usd_per_month.unwrap_or(0.0) + egress;
    let mut rules = business.fleet;
    rules.utilization = what.utilization.or(rules.utilization);
    let fleet = asked.peaks.times(what.demand).fleet(per_s, capacity.basis, &rules);
    if fleet.most() == u32::MAX {
        let message =
            format!("would need more machines than can be counted, of {per_s} requests a second");
        return Err(Error::input(&offer.name, message).remedy("ask for less demand or less growth"));
    }
    let paid = month(&fleet, &price.hourly, price.paying, &business.spot);
    let (usd, mix) = paid.ok_or_else(|| {
        Error::input(&offer.name, format!("has no known price for {}", price.paying))
            .remedy("leave --term out, or give a table that has it with --prices")
    })?;
    let part = what.price * business.paid(price.paying) * rules.share;
    let usd = usd * part + fleet.mean() * extras.disks() + shared;
    let mix = mix.map(|mix| Mix { usd_per_month: mix.usd_per_month * part, ..mix });
    Ok(Bill { usd, fleet: Some(fleet), mix })
}

/// Costs of `offer` for the demand, without a baseline.
pub(super) fn alone(offer: &Offer, asked: &Asked<'_>) -> Result<Evaluated> {
    let Bill { usd, fleet, mix } = bill(offer, asked, &AS_IS)?;
    let business = asked.business;
    let requests = asked.demand.per_month();
    let capacity = offer.capacity.as_ref();
    let range = business.change.price_range;
    let end = |of: Option<f64>, price: f64| -> Result<f64> {
        let capacity = match (capacity, of.filter(|v| *v > 0.0)) {
            (Some(capacity), Some(end)) => end / capacity.per_s,
            _ => 1.0,
        };
        Ok(bill(offer, asked, &What { price, capacity, ..AS_IS })?.usd)
    };
    let (low, high) = (
        end(capacity.and_then(|c| c.high), 1.0 - range)?,
        end(capacity.and_then(|c| c.low), 1.0 + range)?,
    );
    let mut three_years = 0.0;
    if asked.demand.growth == 0.0 {
        three_years = 36.0 * usd;
    } else {
        for month in 0..36 {
            let what = What { demand: (1.0 + asked.demand.growth).powi(month), ..AS_IS };
            three_years += bill(offer, asked, &what)?.usd;
        }
    }
    let price = offer.price.as_ref();
    let saturated = price.zip(capacity).map(|(price, capacity)| {
        // A mix has no price of its own.
        let paid = business.paid(price.paying);
        (price.paying != Paying::Blended)
            .then(|| price.usd_per_hour * paid / (capacity.per_s * 3600.0) * 1e6)
    });
    let saturated = saturated.flatten();
    let paid_machines = price.zip(fleet.as_ref()).map(|(price, fleet)| {
        let always = [Paying::OneYear, Paying::ThreeYears, Paying::Owned].contains(&price.paying);
        business.fleet.share * if always { f64::from(fleet.most()) } else { fleet.mean() }
    });
    let list = price
        .zip(paid_machines)
        .and_then(|(price, machines)| Some(machines * price.hourly.on_demand? * HOURS_A_MONTH));
    Ok(Evaluated {
        replicas: fleet.as_ref().map(Fleet::most),
        mean_replicas: fleet.as_ref().map(Fleet::mean),
        utilization: fleet.as_ref().map(|f| f.utilization),
        busy: fleet.as_ref().map(|f| f.busy),
        in_flight: offer.mean_ms.map(|ms| asked.demand.mean_per_s() * ms / 1e3),
        usd_per_request: usd / requests,
        usd_per_1k: usd / requests * 1e3,
        usd_per_1m: usd / requests * 1e6,
        usd_per_1m_saturated: saturated,
        usd_per_month: usd,
        discounted: price.map_or(1.0, |p| business.paid(p.paying)),
        paid_machines,
        usd_per_month_list: list,
        usd_per_month_low: low,
        usd_per_month_high: high,
        usd_three_years: three_years,
        mix,
        break_even_share: price.and_then(|p| p.hourly.break_even_share(p.paying)),
        carbon: fleet.as_ref().and_then(|fleet| carbon(offer, fleet, asked)),
        band: None,
        versus: None,
        targets: Vec::new(),
        offer: offer.clone(),
    })
}

/// An estimate for the machines that run. A commitment is a way to pay: what is not needed is off, where fleets come
/// and go.
fn carbon(offer: &Offer, fleet: &Fleet, asked: &Asked<'_>) -> Option<Carbon> {
    let price = offer.price.as_ref()?;
    let share = asked.business.fleet.share;
    if let Some(watts) = price.own_watts {
        let kwh = f64::from(fleet.most()) * watts * HOURS_A_MONTH * share / 1e3;
        return Some(Carbon {
            kwh_per_month: kwh,
            kg_co2e_per_month: None,
            provenance: "estimate",
            basis: format!("{watts:.1} W a machine, its building included, as stated"),
        });
    }
    asked.footprints.estimate(&price.running(fleet.mean() * share, fleet.busy)?)
}

/// All offers for a demand, each against the baseline, and what that is.
pub fn evaluate(offers: &[Offer], asked: &Asked<'_>) -> Result<(Vec<Evaluated>, Option<Offer>)> {
    let mut rows: Vec<Evaluated> =
        offers.iter().map(|offer| alone(offer, asked)).collect::<Result<_>>()?;
    let base = baseline(asked, &rows)?;
    let before = base.as_ref().map(|base| alone(base, asked)).transpose()?;
    for row in &mut rows {
        if let Some((base, before)) = base.as_ref().zip(before.as_ref()) {
            row.versus = Some(versus(base, before, row, asked)?);
        }
        row.targets = targets(&asked.business.targets, row);
    }
    Ok((rows, base))
}

/// Adds to a row that is shown what takes many bills to work out: where it breaks even, and its tornado.
pub fn add_details(row: &mut Evaluated, base: Option<&Offer>, asked: &Asked<'_>) -> Result<()> {
    if let Some((base, versus)) = base.zip(row.versus.as_mut()) {
        details(base, &row.offer, versus, asked)?;
    }
    Ok(())
}

/// Adds to a row what draws from its ranges come to.
pub fn add_band(row: &mut Evaluated, base: Option<&Offer>, asked: &Asked<'_>) -> Result<()> {
    row.band = Some(band(&row.offer, base, asked)?);
    Ok(())
}

fn targets(wanted: &Targets, row: &Evaluated) -> Vec<Target> {
    let versus = row.versus.as_ref();
    let mut all = Vec::new();
    let mut add = |target, wanted: Option<f64>, is: Option<f64>, at_least: bool| {
        let Some(wanted) = wanted else { return };
        // A figure on the bound keeps to it, whatever its last digit.
        let slack = 1e-9 * wanted.abs().max(1.0);
        let fits = |is: f64| if at_least { is >= wanted - slack } else { is <= wanted + slack };
        all.push(Target { target, wanted, is, met: is.is_some_and(fits) });
    };
    add("max_usd_per_month", wanted.max_usd_per_month, Some(row.usd_per_month), false);
    add("max_latency_ms", wanted.max_latency_ms, row.offer.latency_ms, false);
    // An error that should be small is no accuracy.
    let accuracy = row.offer.quality.filter(|_| !row.offer.fewer_is_better);
    add("min_accuracy", wanted.min_accuracy, accuracy, true);
    add("min_speedup", wanted.min_speedup, versus.and_then(|v| v.speedup), true);
    add("max_drop", wanted.max_drop, versus.and_then(|v| v.quality_change).map(|c| -c), false);
    add("min_saving", wanted.min_saving, versus.map(|v| v.returns.saving_share), true);
    all
}
