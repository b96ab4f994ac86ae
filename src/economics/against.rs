//! A plan against the baseline: saving, payback, and what that hangs on.

use serde::Serialize;

use super::advise::is_assumed;
use super::evaluate::{AS_IS, Evaluated, What, bill};
use super::fleet::Basis;
use super::grid::Asked;
use super::offer::Offer;
use super::roi::{Change, Return, Swing, tornado};
use crate::error::{Error, Result};

/// Against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Versus {
    /// Saving, payback, present value. The saving of a month holds what latency and quality are worth, where the
    /// user says it; its share is of the bills alone.
    pub returns: Return,
    /// How many times as cheap a request is.
    pub cheaper: f64,
    /// How many times as fast.
    pub speedup: Option<f64>,
    /// Quality less the baseline's.
    pub quality_change: Option<f64>,
    /// What the latency that is saved is worth, in USD a month; `None` where nobody says or it is not known.
    pub latency_value_per_month: Option<f64>,
    /// What further wrong answers cost, in USD a month; `None` where nobody says or it is not known.
    pub quality_loss_per_month: Option<f64>,
    /// Requests a month from which on it pays within the months that are looked ahead.
    pub break_even_requests: Option<f64>,
    /// What the monthly saving hangs on, the widest first.
    pub tornado: Vec<Swing>,
}

/// The baseline as an offer: a stated bill, or one of `rows`, by its name or by `name@instance`.
pub(super) fn baseline(asked: &Asked<'_>, rows: &[Evaluated]) -> Result<Option<Offer>> {
    let Some(stated) = &asked.business.baseline else { return Ok(None) };
    let Some(wanted) = &stated.of else {
        return Ok(Some(Offer {
            name: "baseline".to_owned(),
            bill: stated.usd_per_month,
            latency_ms: stated.latency_ms,
            quality: stated.accuracy,
            provenance: "stated".to_owned(),
            ..Offer::default()
        }));
    };
    let paying = asked.paying.first().copied().unwrap_or_default();
    let is_it = |offer: &Offer| {
        let of = offer.price.as_ref().map(|p| p.instance_type.as_str());
        offer.name == *wanted
            || wanted
                .rsplit_once('@')
                .is_some_and(|(name, at)| offer.name == name && of == Some(at))
    };
    // Of several loads and machines the one that can be chosen, was measured, is paid for the first way that is asked
    // for, and costs least: it is what would be kept.
    let found = rows.iter().filter(|row| is_it(&row.offer)).min_by(|a, b| {
        let rank = |row: &Evaluated| {
            let by = row.offer.price.as_ref().is_some_and(|price| price.paying != paying);
            (!row.offer.excluded.is_empty(), is_assumed(row), by)
        };
        rank(a).cmp(&rank(b)).then(a.usd_per_month.total_cmp(&b.usd_per_month))
    });
    let Some(Evaluated { offer: found, .. }) = found else {
        let mut names: Vec<&str> = rows.iter().map(|row| row.offer.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        return Err(Error::input("baseline", format!("`{wanted}` is none of what is priced"))
            .remedy(format!("name one of {}", names.join(", "))));
    };
    Ok(Some(Offer {
        latency_ms: stated.latency_ms.or(found.latency_ms),
        quality: stated.accuracy.or(found.quality),
        ..found.clone()
    }))
}

/// A plan against the baseline, but for what only rows that are shown need: see [`details`].
pub(super) fn versus(
    base: &Offer,
    before: &Evaluated,
    after: &Evaluated,
    asked: &Asked<'_>,
) -> Result<Versus> {
    let (business, growth) = (asked.business, asked.demand.growth);
    let change = &business.change;
    let both = |a: Option<f64>, b: Option<f64>| a.zip(b);
    let faster_ms = both(base.latency_ms, after.offer.latency_ms).map(|(old, new)| old - new);
    let better = both(after.offer.goodness(), base.goodness()).map(|(new, old)| new - old);
    let requests = asked.demand.per_month();
    let latency_value = both(business.value.usd_per_1m_per_ms, faster_ms)
        .map(|(usd, ms)| usd * ms * requests / 1e6);
    let quality_loss = both(business.value.usd_per_wrong_answer, better)
        .map(|(usd, change)| -usd * change * requests);
    let worth = latency_value.unwrap_or(0.0) - quality_loss.unwrap_or(0.0);
    let mut savings = Vec::with_capacity(change.months as usize);
    for month in 0..change.months {
        let demand = (1.0 + growth).powi(month.cast_signed());
        let what = What { demand, ..AS_IS };
        // Without growth every month is the first.
        let saving = if growth == 0.0 {
            before.usd_per_month - after.usd_per_month
        } else {
            bill(base, asked, &what)?.usd - bill(&after.offer, asked, &what)?.usd
        };
        savings.push(saving + worth * demand);
    }
    let (one_off, interest) = (change.one_off(), change.interest);
    let (old, new) = (before.usd_per_month, after.usd_per_month);
    Ok(Versus {
        returns: Change { before: old, after: new, savings, one_off, interest }.returns(),
        cheaper: before.usd_per_request / after.usd_per_request,
        speedup: both(base.latency_ms, after.offer.latency_ms).map(|(old, new)| old / new),
        quality_change: better,
        latency_value_per_month: latency_value,
        quality_loss_per_month: quality_loss,
        break_even_requests: None,
        tornado: Vec::new(),
    })
}

/// Adds what takes many bills to work out: break-even and tornado.
pub(super) fn details(
    base: &Offer,
    offer: &Offer,
    versus: &mut Versus,
    asked: &Asked<'_>,
) -> Result<()> {
    versus.break_even_requests = break_even(base, offer, versus, asked)?;
    let is_base =
        (&base.name, &base.case_id, &base.price) == (&offer.name, &offer.case_id, &offer.price);
    if !is_base {
        versus.tornado = swings(base, offer, asked)?;
    }
    Ok(())
}

/// Requests a month from which on the change pays within the months that are looked ahead, at every larger volume that
/// is tried; 0 where it pays at any. Volumes from a ten-thousandth to ten thousand times the demand are tried, the same
/// in every month; fleets are of whole machines, so that a saving per request would not tell.
fn break_even(
    base: &Offer,
    offer: &Offer,
    versus: &Versus,
    asked: &Asked<'_>,
) -> Result<Option<f64>> {
    let change = &asked.business.change;
    let worth = versus.latency_value_per_month.unwrap_or(0.0)
        - versus.quality_loss_per_month.unwrap_or(0.0);
    let pays = |demand: f64| -> Result<bool> {
        let what = What { demand, ..AS_IS };
        let month = bill(base, asked, &what)?.usd - bill(offer, asked, &what)?.usd + worth * demand;
        let sum = month * f64::from(change.months);
        Ok(if change.one_off() > 0.0 { sum >= change.one_off() } else { month > 0.0 })
    };
    let at = |step: i32| 10.0_f64.powf(f64::from(step) / 8.0);
    let mut least = None;
    for step in (-32..=32).rev() {
        if !pays(at(step))? {
            break;
        }
        least = Some(step);
    }
    let Some(step) = least else { return Ok(None) };
    if step == -32 {
        return Ok(Some(0.0));
    }
    // Between the last volume at which it pays and the first at which it does not.
    let (mut no, mut yes) = (at(step - 1), at(step));
    for _ in 0..40 {
        let middle = f64::midpoint(no, yes);
        if pays(middle)? { yes = middle } else { no = middle }
    }
    Ok(Some(yes * asked.demand.per_month()))
}

/// The saving of a month's bill when one assumption at a time is lower or higher.
fn swings(base: &Offer, offer: &Offer, asked: &Asked<'_>) -> Result<Vec<Swing>> {
    let business = asked.business;
    let saving = |old: &What, new: &What| -> Result<f64> {
        Ok(bill(base, asked, old)?.usd - bill(offer, asked, new)?.usd)
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
