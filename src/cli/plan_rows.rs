//! Plans as rows: JSON in USD, CSV and tables in the currency asked for.

use super::output;
use super::shown::Shown;
use crate::economics::{Evaluated, Offer, Paying};

/// A plan's name: a variant and the machine that it is priced by.
pub(super) fn name(offer: &Offer) -> String {
    match (&offer.price, &offer.case_id) {
        (Some(price), Some(_)) => format!("{} on {}", offer.name, price.instance_type),
        _ => offer.name.clone(),
    }
}

fn term(offer: &Offer) -> Option<&'static str> {
    let price = offer.price.as_ref()?;
    // What is only stated has a term if it is another than the hour's.
    let is_plain = price.provenance == "stated" && price.paying == Paying::OnDemand;
    Some(if is_plain { "stated" } else { price.paying.name() })
}

/// A row as the machine contract has it.
pub(super) fn json(row: &Evaluated, is_front: bool, is_chosen: bool) -> serde_json::Value {
    let (offer, price) = (&row.offer, row.offer.price.as_ref());
    let mut all = serde_json::json!({
        "case_id": offer.case_id,
        "hardware_class": offer.hardware_class,
        "runs": offer.runs,
        "model": offer.model,
        "variant": offer.name,
        "backend": offer.backend,
        "load": offer.load,
        "provider": price.map(|p| &p.provider),
        "instance_type": price.map(|p| &p.instance_type),
        "region": price.map(|p| &p.region),
        "term": term(offer),
        "usd_per_hour": price.map(|p| p.usd_per_hour),
        "price_date": price.map(|p| &p.date),
        "price_source": price.map(|p| &p.source),
        "machine": price.map(|p| &p.machine),
        "capacity_per_s": offer.capacity.map(|c| c.per_s),
        "capacity_basis": offer.capacity.map(|c| c.basis.name()),
        "utilization": row.utilization,
        "replicas": row.replicas,
        "mean_replicas": row.mean_replicas,
        "busy": row.busy,
        "in_flight": row.in_flight,
        "latency_ms": offer.latency_ms,
        "latency_is": offer.latency_is,
        "quality": offer.quality,
    });
    let costs = serde_json::json!({
        "usd_per_request": row.usd_per_request,
        "usd_per_1k": row.usd_per_1k,
        "usd_per_1m": row.usd_per_1m,
        "usd_per_1m_saturated": row.usd_per_1m_saturated,
        "usd_per_month": row.usd_per_month,
        "usd_per_month_list": row.usd_per_month_list,
        "usd_per_month_low": row.usd_per_month_low,
        "usd_per_month_high": row.usd_per_month_high,
        "usd_three_years": row.usd_three_years,
        "mix": row.mix,
        "break_even_share": row.break_even_share,
        "carbon": row.carbon,
        "band": row.band,
        "versus_baseline": row.versus,
        "targets": row.targets,
        "excluded": offer.excluded,
        "pareto": is_front,
        "recommended": is_chosen,
        "provenance": price.map_or(offer.provenance.as_str(), |p| p.provenance.as_str()),
    });
    if let (Some(all), serde_json::Value::Object(costs)) = (all.as_object_mut(), costs) {
        all.extend(costs);
    }
    all
}

/// FOCUS's names (`FinOps` Open Cost and Usage Specification 1.2) where it has one; amounts are in `BillingCurrency`.
pub(super) const HEADER: [&str; 39] = [
    "model",
    "case_id",
    "backend",
    "variant",
    "hardware_class",
    "load",
    "ProviderName",
    "instance_type",
    "RegionId",
    "term",
    "PricingCategory",
    "BillingCurrency",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ListCost",
    "ContractedCost",
    "EffectiveCost",
    "EffectiveCost_low",
    "EffectiveCost_high",
    "cost_three_years",
    "cost_per_1k",
    "cost_per_1m",
    "cost_per_1m_saturated",
    "capacity_per_s",
    "capacity_basis",
    "utilization",
    "replicas",
    "latency_ms",
    "quality",
    "saving_share",
    "payback_months",
    "kwh_per_month",
    "kg_co2e_per_month",
    "provenance",
    "price_date",
    "targets",
    "excluded",
];

/// The month of a machine in hours.
const HOURS: f64 = crate::economics::HOURS_A_MONTH;

pub(super) fn cells(row: &Evaluated, shown: &Shown) -> [String; 39] {
    let (offer, price) = (&row.offer, row.offer.price.as_ref());
    let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let amount = |usd: f64| shown.amount(usd).to_string();
    let money = |usd: Option<f64>| usd.map(amount).unwrap_or_default();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let returns = row.versus.as_ref().map(|v| &v.returns);
    let carbon = row.carbon.as_ref();
    let list = price.and_then(|p| p.hourly.on_demand);
    [
        text(offer.model.as_ref()),
        text(offer.case_id.as_ref()),
        text(offer.backend.as_ref()),
        offer.name.clone(),
        text(offer.hardware_class.as_ref()),
        text(offer.load.as_ref()),
        text(price.map(|p| &p.provider)),
        text(price.map(|p| &p.instance_type)),
        text(price.map(|p| &p.region)),
        term(offer).unwrap_or_default().to_owned(),
        price.map_or("Other", |p| p.paying.pricing_category()).to_owned(),
        shown.code().to_owned(),
        money(list),
        money(list.map(|usd| usd * row.discounted)),
        number(row.paid_machines.map(|n| n * HOURS)),
        row.paid_machines.map_or("", |_| "Hours").to_owned(),
        money(row.usd_per_month_list),
        money(row.usd_per_month_list.map(|usd| usd * row.discounted)),
        amount(row.usd_per_month),
        amount(row.usd_per_month_low),
        amount(row.usd_per_month_high),
        amount(row.usd_three_years),
        amount(row.usd_per_1k),
        amount(row.usd_per_1m),
        money(row.usd_per_1m_saturated),
        number(offer.capacity.map(|c| c.per_s)),
        offer.capacity.map(|c| c.basis.name().to_owned()).unwrap_or_default(),
        number(row.utilization),
        row.replicas.map(|n| n.to_string()).unwrap_or_default(),
        number(offer.latency_ms),
        number(offer.quality),
        number(returns.map(|r| r.saving_share)),
        number(returns.and_then(|r| r.payback_months)),
        number(carbon.map(|c| c.kwh_per_month)),
        number(carbon.and_then(|c| c.kg_co2e_per_month)),
        price.map_or(offer.provenance.clone(), |p| p.provenance.clone()),
        text(price.map(|p| &p.date)),
        missed(row),
        offer.excluded.join("; "),
    ]
}

/// Targets that are missed.
fn missed(row: &Evaluated) -> String {
    let all = row.targets.iter().filter(|t| !t.met);
    let words = all.map(|t| format!("misses {}", t.target)).collect::<Vec<_>>();
    match (row.targets.is_empty(), words.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "met".to_owned(),
        _ => words.join(", "),
    }
}

/// For a terminal; `at` are the rows that are shown.
pub(super) fn report(
    rows: &[Evaluated],
    at: &[usize],
    front: &[usize],
    chosen: Option<usize>,
    shown: &Shown,
) -> String {
    let (per_1m, per_month) = (shown.unit("1M"), shown.unit("month"));
    let columns =
        ["variant", "price of", "req/s", "n", &per_1m, &per_month, "saving", "ms", "quality", ""];
    // Only where it tells rows apart.
    let classes: std::collections::BTreeSet<&String> =
        rows.iter().filter_map(|row| row.offer.hardware_class.as_ref()).collect();
    let several = classes.len() > 1;
    let cells = at.iter().map(|at| {
        let row = &rows[*at];
        let price = row.offer.price.as_ref();
        let saving =
            row.versus.as_ref().map(|v| format!("{:.1} %", v.returns.saving_share * 100.0));
        let capacity = row.offer.capacity.map(|c| format!("{:.0} {}", c.per_s, c.basis.name()));
        let mark = match (Some(*at) == chosen, front.contains(at)) {
            (true, _) => "← cheapest",
            (false, true) => "pareto",
            _ => "",
        };
        let mark = match (row.offer.excluded.first(), missed(row)) {
            (Some(why), _) => why.clone(),
            (None, missed) if missed.starts_with("misses") => missed,
            _ => mark.to_owned(),
        };
        let is_assumed = crate::economics::is_assumed(row);
        let mark = if is_assumed { format!("ASSUMED {mark}") } else { mark };
        let month = match &row.band {
            None => format!("{:.2}", shown.amount(row.usd_per_month)),
            Some(band) => format!(
                "{:.2} ({:.0}–{:.0})",
                shown.amount(row.usd_per_month),
                shown.amount(band.usd_per_month.p5),
                shown.amount(band.usd_per_month.p95)
            ),
        };
        vec![
            match (&row.offer.load, &row.offer.hardware_class) {
                (Some(load), Some(class)) if several => {
                    format!("{} {load} @ {class}", row.offer.name)
                }
                (Some(load), _) => format!("{} {load}", row.offer.name),
                _ => row.offer.name.clone(),
            },
            price
                .map(|p| format!("{} {}", p.instance_type, term(&row.offer).unwrap_or_default()))
                .unwrap_or_default(),
            capacity.unwrap_or_default(),
            row.replicas.map(|n| n.to_string()).unwrap_or_default(),
            format!("{:.4}", shown.amount(row.usd_per_1m)),
            month,
            saving.unwrap_or_default(),
            row.offer.latency_ms.map(|ms| format!("{ms:.1}")).unwrap_or_default(),
            row.offer.quality.map(|q| format!("{q:.3}")).unwrap_or_default(),
            mark,
        ]
    });
    output::ruled(&columns.map(String::from), &cells.collect::<Vec<_>>())
}
