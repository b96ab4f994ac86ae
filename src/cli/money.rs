//! What a demand costs: fleets, targets, returns and a recommendation, for `infermark cost`.

use std::path::{Path, PathBuf};

use super::output::{self, Format};
use crate::economics::{
    Baseline, Business, Choice, DemandSpec, Evaluated, Offer, PriceTable, Shape,
    cheapest_that_fits, evaluate, offers, pareto, parse_slo, stated,
};
use crate::error::{Error, Result};
use crate::store::{Record, SCHEMA_VERSION};

/// What is asked beyond a price.
#[derive(clap::Args, Default, PartialEq)]
#[group(id = "money")]
pub(super) struct Args {
    /// A file of assumptions: demand, options, baseline, what changing costs (docs/money.md)
    #[arg(long, value_name = "TOML")]
    plan: Option<PathBuf>,
    /// Requests a time, e.g. `10M/day`, `50/s`
    #[arg(long, value_name = "RATE")]
    demand: Option<String>,
    /// How they are spread over a week
    #[arg(long, value_enum, requires = "demand")]
    shape: Option<Shape>,
    /// A file of 168 numbers, an hour each, instead of a shape
    #[arg(long, value_name = "CSV", requires = "demand")]
    profile: Option<PathBuf>,
    /// The busiest second of an hour over the hour's mean
    #[arg(long, value_name = "TIMES", requires = "demand")]
    peak: Option<f64>,
    /// Growth a month, e.g. `0.02`
    #[arg(long, value_name = "SHARE", requires = "demand", allow_negative_numbers = true)]
    growth: Option<f64>,
    /// Replicas come and go with the demand
    #[arg(long)]
    autoscale: bool,
    /// Replicas at any time
    #[arg(long, value_name = "N")]
    at_least: Option<u32>,
    /// Replicas that may fail while the rest keep up
    #[arg(long, value_name = "N")]
    redundant: Option<u32>,
    /// Share of its capacity that a replica is planned for; by the capacity's basis when left out
    #[arg(long, value_name = "SHARE")]
    utilization: Option<f64>,
    /// What changes are held against: a variant's or an option's name
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Latency that must be kept to, e.g. `p99<50ms`
    #[arg(long, value_name = "BOUND")]
    slo: Option<String>,
    /// Target: a month's cost at most
    #[arg(long, value_name = "USD")]
    max_usd_month: Option<f64>,
    /// Target: times as fast as the baseline
    #[arg(long, value_name = "TIMES")]
    min_speedup: Option<f64>,
    /// Target: share of right answers
    #[arg(long, value_name = "SHARE")]
    min_accuracy: Option<f64>,
    /// Target: at most so much less than the baseline's, e.g. `0.02`
    #[arg(long, value_name = "SHARE")]
    max_drop: Option<f64>,
    /// Target: share of the baseline's cost saved, e.g. `70%`
    #[arg(long, value_name = "SHARE")]
    min_saving: Option<String>,
    /// Rows at most, the cheapest first
    #[arg(long, value_name = "N")]
    top: Option<usize>,
}

impl Args {
    /// Whether anything of it was asked for: a target without a demand is refused, not ignored.
    pub(super) fn is_asked(&self) -> bool {
        *self != Self::default()
    }

    /// The file of assumptions with what the command line says on top.
    fn business(&self) -> Result<(Business, PathBuf)> {
        let here = PathBuf::from(".");
        let (mut business, base) = match &self.plan {
            None => (Business::default(), here),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| Error::io(path, "read the assumptions", &e))?;
                let base = path.parent().unwrap_or(Path::new(".")).to_owned();
                (Business::parse(&path.display().to_string(), &text)?, base)
            }
        };
        if let Some(rate) = &self.demand {
            // Relative to where the command is given, not to the file.
            let here = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let profile = self.profile.as_ref().map(here);
            business.demand = Some(DemandSpec {
                rate: rate.clone(),
                shape: self.shape.unwrap_or_default(),
                profile,
                peak_to_mean: self.peak.unwrap_or(1.0),
                growth_per_month: self.growth.unwrap_or(0.0),
                payload_bytes: business.demand.as_ref().map_or(0.0, |d| d.payload_bytes),
            });
        }
        let fleet = &mut business.fleet;
        fleet.autoscaled |= self.autoscale;
        fleet.at_least = self.at_least.unwrap_or(fleet.at_least);
        fleet.redundant = self.redundant.unwrap_or(fleet.redundant);
        fleet.utilization = self.utilization.or(fleet.utilization);
        if let Some(name) = &self.baseline {
            business.baseline = Some(Baseline { of: Some(name.clone()), ..Baseline::default() });
        }
        let targets = &mut business.targets;
        targets.max_usd_per_month = self.max_usd_month.or(targets.max_usd_per_month);
        targets.min_speedup = self.min_speedup.or(targets.min_speedup);
        targets.min_accuracy = self.min_accuracy.or(targets.min_accuracy);
        targets.max_drop = self.max_drop.or(targets.max_drop);
        if let Some(text) = &self.min_saving {
            targets.min_saving = Some(share(text)?);
        }
        business.check("the command line")?;
        Ok((business, base))
    }
}

/// `70%` or `0.7`.
fn share(text: &str) -> Result<f64> {
    let (number, per) = match text.trim().strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text.trim(), 1.0),
    };
    number.trim().parse::<f64>().map(|n| n / per).map_err(|_| {
        Error::input(format!("--min-saving {text}"), "is no share").remedy("write 70% or 0.7")
    })
}

/// Prints what each way to serve costs for the demand.
pub(super) fn execute(
    args: &Args,
    records: &[Record],
    table: &PriceTable,
    choice: &Choice,
    format: Format,
) -> Result<()> {
    let (business, base) = args.business()?;
    let Some(spec) = &business.demand else {
        return Err(Error::input("cost", "is asked for a fleet without a demand")
            .remedy("give --demand, e.g. --demand 10M/day, or [demand] in the file of --plan"));
    };
    let demand = spec.demand(&base)?;
    let slo = args.slo.as_deref().map(parse_slo).transpose()?;
    let mut found = if records.is_empty() {
        crate::economics::Offers::default()
    } else {
        offers(records, table, choice, slo.as_ref())?
    };
    found.all.extend(business.option.iter().map(|o| stated(o, demand.per_month())));
    if found.all.is_empty() {
        return Err(Error::input("cost", "has nothing to price")
            .remedy("name a run, or state an [[option]] in the file of --plan"));
    }
    let mut rows = evaluate(&found.all, &business, &demand)?;
    rows.sort_by(|a, b| a.usd_per_month.total_cmp(&b.usd_per_month));
    if let Some(slo) = &slo
        && rows.iter().all(|row| !row.offer.excluded.is_empty())
    {
        return Err(none_fits(&rows, &slo.percentile, slo.ms));
    }
    let front = pareto(&rows);
    let chosen = cheapest_that_fits(&rows);
    let advice = advice(&rows, chosen);
    let shown: Vec<usize> = (0..rows.len()).take(args.top.unwrap_or(usize::MAX)).collect();
    let text = match format {
        Format::Json => output::json(&serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "demand": demand,
            "requests_per_month": demand.per_month(),
            "business": business,
            "rows": shown.iter().map(|at| json(&rows[*at], front.contains(at), Some(*at) == chosen)).collect::<Vec<_>>(),
            "advice": advice,
            "notes": found.notes,
        }))?,
        Format::Csv => output::csv(&HEADER, shown.iter().map(|at| cells(&rows[*at])))?,
        Format::Md => output::markdown(&HEADER, shown.iter().map(|at| cells(&rows[*at]))),
        Format::Table => report(&rows, &shown, &front, chosen),
    };
    output::figures(&text)?;
    if format == Format::Table {
        let requests = demand.per_month();
        let mut notes = vec![format!(
            "{requests:.4e} requests a month of 730 hours, {:.1} a second on average, {:.1} at the peak",
            demand.mean_per_s(),
            demand.peak_per_s()
        )];
        notes.extend(not_included(&business));
        notes.extend(found.notes);
        let text: String = notes.iter().map(|note| output::wrapped("· ", note)).collect();
        return output::figures(&(text + &output::wrapped("", &advice)));
    }
    Ok(())
}

/// Why no row can be chosen, and which was nearest.
fn none_fits(rows: &[Evaluated], percentile: &str, ms: f64) -> Error {
    let nearest = rows
        .iter()
        .filter_map(|row| Some((row, row.offer.latency_ms?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let message = match nearest {
        Some((row, is)) => format!(
            "no case can be chosen; nearest to {percentile} < {ms} ms is {} {} with {is:.1} ms{}",
            row.offer.name,
            row.offer.load.as_deref().unwrap_or_default(),
            row.offer.excluded.first().map_or(String::new(), |why| format!(" ({why})"))
        ),
        None => format!("no case has enough requests for its {percentile}"),
    };
    Error::input("--slo", message).remedy("measure smaller batches or lower rates, or ask for less")
}

/// What comes on top of machines and is not counted.
fn not_included(business: &Business) -> Vec<String> {
    let extras = &business.extras;
    let left: Vec<&str> = [
        (extras.load_balancer_usd_per_month.is_none(), "load balancer"),
        (extras.egress_usd_per_gb.is_none(), "egress"),
        (extras.storage_gb.is_none() || extras.storage_usd_per_gb_month.is_none(), "storage"),
    ]
    .into_iter()
    .filter_map(|(is_left, name)| is_left.then_some(name))
    .collect();
    if left.is_empty() { Vec::new() } else { vec![format!("not included: {}", left.join(", "))] }
}

/// The decision in words.
fn advice(rows: &[Evaluated], chosen: Option<usize>) -> String {
    let Some(row) = chosen.map(|at| &rows[at]) else {
        let missed: Vec<String> = rows
            .iter()
            .filter(|row| row.offer.excluded.is_empty())
            .map(|row| {
                let all = row.targets.iter().filter(|t| !t.met).map(|t| t.target);
                format!("{} misses {}", row.offer.name, all.collect::<Vec<_>>().join(", "))
            })
            .collect();
        return if missed.is_empty() {
            "nothing can be chosen: every row says why".to_owned()
        } else {
            format!("nothing meets all targets: {}", missed.join("; "))
        };
    };
    let mut text =
        format!("cheapest that fits: {}, ${:.2} a month", name(&row.offer), row.usd_per_month);
    if let Some(versus) = &row.versus {
        let returns = &versus.returns;
        let sign = if returns.saving_per_month < 0.0 { "costs" } else { "saves" };
        text.push_str(&format!(
            ", {sign} ${:.2} ({:.2} %)",
            returns.saving_per_month.abs(),
            returns.saving_share.abs() * 100.0
        ));
        match returns.payback_months {
            Some(0.0) => {}
            Some(months) => text.push_str(&format!(", pays back in {months:.2} months")),
            None => text.push_str(", never pays back"),
        }
        text.push_str(&format!("; net present value ${:.2}", returns.npv));
    }
    text
}

fn name(offer: &Offer) -> String {
    match (&offer.price, &offer.case_id) {
        (Some(price), Some(_)) => format!("{} on {}", offer.name, price.instance_type),
        _ => offer.name.clone(),
    }
}

/// A row as the machine contract has it.
fn json(row: &Evaluated, is_front: bool, is_chosen: bool) -> serde_json::Value {
    let (offer, price) = (&row.offer, row.offer.price.as_ref());
    serde_json::json!({
        "case_id": offer.case_id,
        "variant": offer.name,
        "backend": offer.backend,
        "load": offer.load,
        "provider": price.map(|p| &p.provider),
        "instance_type": price.map(|p| &p.instance_type),
        "region": price.map(|p| &p.region),
        "term": price.map(|p| &p.term),
        "usd_per_hour": price.map(|p| p.usd_per_hour),
        "price_date": price.map(|p| &p.date),
        "price_source": price.map(|p| &p.source),
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
        "usd_per_request": row.usd_per_request,
        "usd_per_1k": row.usd_per_1k,
        "usd_per_1m": row.usd_per_1m,
        "usd_per_1m_saturated": row.usd_per_1m_saturated,
        "usd_per_month": row.usd_per_month,
        "usd_per_month_low": row.usd_per_month_low,
        "usd_per_month_high": row.usd_per_month_high,
        "usd_three_years": row.usd_three_years,
        "versus_baseline": row.versus,
        "targets": row.targets,
        "excluded": offer.excluded,
        "pareto": is_front,
        "recommended": is_chosen,
        "provenance": price.map_or(offer.provenance.as_str(), |p| p.provenance.as_str()),
    })
}

const HEADER: [&str; 20] = [
    "variant",
    "load",
    "instance_type",
    "term",
    "usd_per_hour",
    "capacity_per_s",
    "capacity_basis",
    "utilization",
    "replicas",
    "latency_ms",
    "quality",
    "usd_per_1k",
    "usd_per_1m",
    "usd_per_1m_saturated",
    "usd_per_month",
    "usd_three_years",
    "saving_share",
    "payback_months",
    "targets",
    "excluded",
];

fn cells(row: &Evaluated) -> [String; 20] {
    let (offer, price) = (&row.offer, row.offer.price.as_ref());
    let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let returns = row.versus.as_ref().map(|v| &v.returns);
    [
        offer.name.clone(),
        text(offer.load.as_ref()),
        text(price.map(|p| &p.instance_type)),
        text(price.map(|p| &p.term)),
        number(price.map(|p| p.usd_per_hour)),
        number(offer.capacity.map(|c| c.per_s)),
        offer.capacity.map(|c| c.basis.name().to_owned()).unwrap_or_default(),
        number(row.utilization),
        row.replicas.map(|n| n.to_string()).unwrap_or_default(),
        number(offer.latency_ms),
        number(offer.quality),
        row.usd_per_1k.to_string(),
        row.usd_per_1m.to_string(),
        number(row.usd_per_1m_saturated),
        row.usd_per_month.to_string(),
        row.usd_three_years.to_string(),
        number(returns.map(|r| r.saving_share)),
        number(returns.and_then(|r| r.payback_months)),
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

fn report(rows: &[Evaluated], shown: &[usize], front: &[usize], chosen: Option<usize>) -> String {
    let columns =
        ["variant", "price of", "req/s", "n", "$/1M", "$/month", "saving", "ms", "quality", ""];
    let cells = shown.iter().map(|at| {
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
        vec![
            match &row.offer.load {
                Some(load) => format!("{} {load}", row.offer.name),
                None => row.offer.name.clone(),
            },
            price.map(|p| format!("{} {}", p.instance_type, p.term)).unwrap_or_default(),
            capacity.unwrap_or_default(),
            row.replicas.map(|n| n.to_string()).unwrap_or_default(),
            format!("{:.4}", row.usd_per_1m),
            format!("{:.2}", row.usd_per_month),
            saving.unwrap_or_default(),
            row.offer.latency_ms.map(|ms| format!("{ms:.1}")).unwrap_or_default(),
            row.offer.quality.map(|q| format!("{q:.3}")).unwrap_or_default(),
            mark,
        ]
    });
    output::ruled(&columns.map(String::from), &cells.collect::<Vec<_>>())
}
