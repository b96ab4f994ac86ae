//! What each way to serve costs for a demand, and what it saves against another.

use serde::Serialize;

use super::HOURS_A_MONTH;
use super::business::{Business, Targets};
use super::demand::Demand;
use super::fleet::{Basis, Fleet};
use super::roi::{Change, Return, Swing, break_even_requests, tornado};
use crate::error::{Error, Result};

/// Bytes of a gigabyte, as egress is billed.
const GB: f64 = 1e9;

/// A way to serve: measured at a price, or stated.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Offer {
    /// What it is called: a variant, or an option's name.
    pub name: String,
    /// The case it was measured by.
    pub case_id: Option<String>,
    /// Engine and device.
    pub backend: Option<String>,
    /// Batch size and load, in words.
    pub load: Option<String>,
    /// Machine, region and term in words, and where the price was read; `None` for a bill.
    pub price: Option<PriceOf>,
    /// Requests a second of a replica, with its interval.
    pub capacity: Option<Capacity>,
    /// The bill of a month, where it does not depend on a fleet.
    pub bill: Option<f64>,
    /// Latency of a request, in ms.
    pub latency_ms: Option<f64>,
    /// Which percentile that is, e.g. `p99`.
    pub latency_is: Option<String>,
    /// Share of right answers, or whatever decides quality.
    pub quality: Option<f64>,
    /// Why it cannot be chosen; empty where it can.
    pub excluded: Vec<String>,
    /// `measured`, or `stated`.
    pub provenance: String,
}

/// What a replica costs, and who says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PriceOf {
    /// Who rents it out.
    pub provider: String,
    /// Its type.
    pub instance_type: String,
    /// Where it stands.
    pub region: String,
    /// How it is paid for.
    pub term: String,
    /// USD an hour, before a discount.
    pub usd_per_hour: f64,
    /// When it was read.
    pub date: String,
    /// Where it was read.
    pub source: String,
    /// `list price`, `pro-rata`, `assumed`, `given` or `stated`.
    pub provenance: String,
}

/// What a replica serves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Capacity {
    /// Requests a second.
    pub per_s: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// How it is known.
    pub basis: Basis,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// The way to serve.
    pub offer: Offer,
    /// Replicas in the busiest hour; `None` for a bill.
    pub replicas: Option<u32>,
    /// Mean replicas: what is paid for.
    pub mean_replicas: Option<f64>,
    /// Share of a replica's capacity that is planned for.
    pub utilization: Option<f64>,
    /// Share of what is paid for that works.
    pub busy: Option<f64>,
    /// Requests that are being served at once, on average: demand · latency (Little's law).
    pub in_flight: Option<f64>,
    /// USD of a request, for this demand.
    pub usd_per_request: f64,
    /// Of 1,000.
    pub usd_per_1k: f64,
    /// Of 1,000,000.
    pub usd_per_1m: f64,
    /// Of 1,000,000 on a replica that is always busy; `None` for a bill.
    pub usd_per_1m_saturated: Option<f64>,
    /// USD a month, and with the ends of the capacity's interval.
    pub usd_per_month: f64,
    /// With the upper end.
    pub usd_per_month_low: Option<f64>,
    /// With the lower end.
    pub usd_per_month_high: Option<f64>,
    /// Of three years, with the demand's growth.
    pub usd_three_years: f64,
    /// Against the baseline; `None` without one.
    pub versus: Option<Versus>,
    /// Targets, met or missed.
    pub targets: Vec<Target>,
}

/// Against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Versus {
    /// Saving, payback, present value.
    pub returns: Return,
    /// How many times as cheap a request is.
    pub cheaper: f64,
    /// How many times as fast.
    pub speedup: Option<f64>,
    /// Quality less the baseline's.
    pub quality_change: Option<f64>,
    /// Requests a month from which on it pays within the months that are looked ahead.
    pub break_even_requests: Option<f64>,
    /// What the monthly saving hangs on, the widest first.
    pub tornado: Vec<Swing>,
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
struct Bill {
    usd: f64,
    fleet: Option<Fleet>,
}

/// What else could have been.
#[derive(Debug, Clone, Copy)]
struct What {
    demand: f64,
    price: f64,
    capacity: f64,
    utilization: Option<f64>,
}

const AS_IS: What = What { demand: 1.0, price: 1.0, capacity: 1.0, utilization: None };

fn bill(offer: &Offer, business: &Business, demand: &Demand, what: &What) -> Result<Bill> {
    let demand = demand.times(what.demand);
    let requests = demand.per_month();
    let extras = &business.extras;
    let egress = extras.egress_usd_per_gb.unwrap_or(0.0) * requests * demand.payload_bytes / GB;
    let shared = extras.load_balancer_usd_per_month.unwrap_or(0.0) + egress;
    if let Some(bill) = offer.bill {
        // A stated bill is all that is paid.
        return Ok(Bill { usd: bill, fleet: None });
    }
    let (Some(price), Some(capacity)) = (&offer.price, &offer.capacity) else {
        return Err(Error::internal(&offer.name, "has neither a bill nor price and capacity"));
    };
    let per_s = capacity.per_s * what.capacity;
    if !(per_s.is_finite() && per_s > 0.0) {
        return Err(Error::input(&offer.name, format!("serves {per_s} requests a second"))
            .remedy("leave it out, or measure it again"));
    }
    let mut rules = business.fleet;
    rules.utilization = what.utilization.or(rules.utilization);
    let fleet = Fleet::of(&demand, per_s, capacity.basis, &rules);
    let hourly = price.usd_per_hour * what.price * (1.0 - business.discount);
    let disks = extras.storage_gb.unwrap_or(0.0) * extras.storage_usd_per_gb_month.unwrap_or(0.0);
    let usd = fleet.mean() * (hourly * HOURS_A_MONTH * rules.share + disks) + shared;
    Ok(Bill { usd, fleet: Some(fleet) })
}

/// Costs of `offer` for `demand`.
fn alone(offer: &Offer, business: &Business, demand: &Demand) -> Result<Evaluated> {
    let Bill { usd, fleet } = bill(offer, business, demand, &AS_IS)?;
    let requests = demand.per_month();
    let capacity = offer.capacity.as_ref();
    let end = |of: Option<f64>| -> Result<Option<f64>> {
        let Some((capacity, end)) = capacity.zip(of.filter(|v| *v > 0.0)) else { return Ok(None) };
        let what = What { capacity: end / capacity.per_s, ..AS_IS };
        Ok(Some(bill(offer, business, demand, &what)?.usd))
    };
    let mut three_years = 0.0;
    for month in 0..36 {
        let what = What { demand: (1.0 + demand.growth).powi(month), ..AS_IS };
        three_years += bill(offer, business, demand, &what)?.usd;
    }
    let saturated = offer.price.as_ref().zip(capacity).map(|(price, capacity)| {
        price.usd_per_hour * (1.0 - business.discount) / (capacity.per_s * 3600.0) * 1e6
    });
    Ok(Evaluated {
        replicas: fleet.as_ref().map(Fleet::most),
        mean_replicas: fleet.as_ref().map(Fleet::mean),
        utilization: fleet.as_ref().map(|f| f.utilization),
        busy: fleet.as_ref().map(|f| f.busy),
        in_flight: offer.latency_ms.map(|ms| demand.mean_per_s() * ms / 1e3),
        usd_per_request: usd / requests,
        usd_per_1k: usd / requests * 1e3,
        usd_per_1m: usd / requests * 1e6,
        usd_per_1m_saturated: saturated,
        usd_per_month: usd,
        usd_per_month_low: end(capacity.and_then(|c| c.high))?,
        usd_per_month_high: end(capacity.and_then(|c| c.low))?,
        usd_three_years: three_years,
        versus: None,
        targets: Vec::new(),
        offer: offer.clone(),
    })
}

/// The baseline as an offer: a stated bill, or one of `offers`.
fn baseline(business: &Business, offers: &[Offer]) -> Result<Option<Offer>> {
    let Some(stated) = &business.baseline else { return Ok(None) };
    let Some(name) = &stated.of else {
        return Ok(Some(Offer {
            name: "baseline".to_owned(),
            bill: stated.usd_per_month,
            latency_ms: stated.latency_ms,
            quality: stated.accuracy,
            provenance: "stated".to_owned(),
            ..Offer::default()
        }));
    };
    // Of several loads and machines the one that serves a request for least: it is what would be kept.
    let cost = |o: &Offer| match (&o.price, &o.capacity) {
        (Some(price), Some(capacity)) => price.usd_per_hour / capacity.per_s,
        _ => 0.0,
    };
    let found =
        offers.iter().filter(|o| o.name == *name).min_by(|a, b| cost(a).total_cmp(&cost(b)));
    let Some(found) = found else {
        let mut names: Vec<&str> = offers.iter().map(|o| o.name.as_str()).collect();
        names.dedup();
        return Err(Error::input("baseline", format!("`{name}` is none of what is priced"))
            .remedy(format!("name one of {}", names.join(", "))));
    };
    Ok(Some(Offer {
        latency_ms: stated.latency_ms.or(found.latency_ms),
        quality: stated.accuracy.or(found.quality),
        ..found.clone()
    }))
}

/// All offers for a demand, each against the baseline.
pub fn evaluate(offers: &[Offer], business: &Business, demand: &Demand) -> Result<Vec<Evaluated>> {
    let base = baseline(business, offers)?;
    let before = base.as_ref().map(|base| alone(base, business, demand)).transpose()?;
    let mut all = Vec::with_capacity(offers.len());
    for offer in offers {
        let mut row = alone(offer, business, demand)?;
        if let (Some(base), Some(before)) = (&base, &before) {
            row.versus = Some(versus(base, before, &row, business, demand)?);
        }
        row.targets = targets(&business.targets, &row);
        all.push(row);
    }
    Ok(all)
}

fn versus(
    base: &Offer,
    before: &Evaluated,
    after: &Evaluated,
    business: &Business,
    demand: &Demand,
) -> Result<Versus> {
    let one_off = business.change.one_off();
    let change = Change {
        before: before.usd_per_month,
        after: after.usd_per_month,
        one_off,
        interest: business.change.interest,
        months: business.change.months,
        growth: demand.growth,
    };
    let per_request = before.usd_per_request - after.usd_per_request;
    let both = |a: Option<f64>, b: Option<f64>| a.zip(b);
    Ok(Versus {
        returns: change.returns(),
        cheaper: before.usd_per_request / after.usd_per_request,
        speedup: both(base.latency_ms, after.offer.latency_ms).map(|(old, new)| old / new),
        quality_change: both(after.offer.quality, base.quality).map(|(new, old)| new - old),
        break_even_requests: break_even_requests(one_off, per_request, f64::from(change.months)),
        tornado: swings(base, &after.offer, business, demand)?,
    })
}

/// The monthly saving when one assumption at a time is lower or higher.
fn swings(base: &Offer, offer: &Offer, business: &Business, demand: &Demand) -> Result<Vec<Swing>> {
    let saving = |old: &What, new: &What| -> Result<f64> {
        let before = bill(base, business, demand, old)?.usd;
        Ok(before - bill(offer, business, demand, new)?.usd)
    };
    let mut all = Vec::new();
    let mut add = |what: &str, range: (String, String), low: f64, high: f64| {
        all.push(Swing { what: what.to_owned(), range, values: (low, high) });
    };
    let percent = |share: f64| format!("{:+.0} %", share * 100.0);
    let range = business.change.demand_range;
    if range > 0.0 {
        let at = |factor: f64| {
            let what = What { demand: factor, ..AS_IS };
            saving(&what, &what)
        };
        add("demand", (percent(-range), percent(range)), at(1.0 - range)?, at(1.0 + range)?);
    }
    let range = business.change.price_range;
    if range > 0.0 && offer.price.is_some() {
        let at = |factor: f64| saving(&AS_IS, &What { price: factor, ..AS_IS });
        add("price", (percent(-range), percent(range)), at(1.0 - range)?, at(1.0 + range)?);
    }
    if let Some(capacity) = &offer.capacity {
        if let (Some(low), Some(high)) = (capacity.low, capacity.high)
            && low > 0.0
        {
            let at = |end: f64| saving(&AS_IS, &What { capacity: end / capacity.per_s, ..AS_IS });
            add(
                "capacity (95 %)",
                (format!("{low:.1}/s"), format!("{high:.1}/s")),
                at(low)?,
                at(high)?,
            );
        }
        if capacity.basis == Basis::Saturated && business.fleet.utilization.is_none() {
            let at = |share: f64| saving(&AS_IS, &What { utilization: Some(share), ..AS_IS });
            add("utilization", ("50 %".to_owned(), "70 %".to_owned()), at(0.5)?, at(0.7)?);
        }
    }
    Ok(tornado(all))
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
    add("min_accuracy", wanted.min_accuracy, row.offer.quality, true);
    add("min_speedup", wanted.min_speedup, versus.and_then(|v| v.speedup), true);
    add("max_drop", wanted.max_drop, versus.and_then(|v| v.quality_change).map(|c| -c), false);
    add("min_saving", wanted.min_saving, versus.map(|v| v.returns.saving_share), true);
    all
}

/// Which rows nothing else beats in cost, quality and latency at once; an unknown figure counts as the worst.
pub fn pareto(rows: &[Evaluated]) -> Vec<usize> {
    let figures = |row: &Evaluated| {
        let latency = row.offer.latency_ms.unwrap_or(f64::INFINITY);
        let quality = row.offer.quality.unwrap_or(f64::NEG_INFINITY);
        [row.usd_per_month, -quality, latency]
    };
    let beats = |a: &[f64; 3], b: &[f64; 3]| {
        a.iter().zip(b).all(|(x, y)| x <= y) && a.iter().zip(b).any(|(x, y)| x < y)
    };
    let all: Vec<[f64; 3]> = rows.iter().map(figures).collect();
    (0..rows.len())
        .filter(|at| rows[*at].offer.excluded.is_empty())
        .filter(|at| {
            let others = (0..rows.len()).filter(|o| rows[*o].offer.excluded.is_empty());
            !others.into_iter().any(|other| beats(&all[other], &all[*at]))
        })
        .collect()
}

/// The cheapest row that can be chosen and meets every target; `None` where none does.
pub fn cheapest_that_fits(rows: &[Evaluated]) -> Option<usize> {
    let fits = |row: &Evaluated| row.offer.excluded.is_empty() && row.targets.iter().all(|t| t.met);
    (0..rows.len())
        .filter(|at| fits(&rows[*at]))
        .min_by(|a, b| rows[*a].usd_per_month.total_cmp(&rows[*b].usd_per_month))
}
