//! What a demand costs: fleets, targets, returns and a recommendation, for `infermark cost`.

use std::path::{Path, PathBuf};

use super::output::{self, Format};
use super::plan_rows::{HEADER, cells, json, name, report};
use super::prices_show::age;
use super::shown::Shown;
use crate::economics::{
    Asked, Baseline, Basis, Business, Choice, Demand, DemandSpec, Evaluated, Offer, Paying,
    PriceTable, Shape, Shortlist, add_band, add_details, binding, cheapest_that_fits, evaluate,
    pareto, parse_rate, parse_slo, shortlist,
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
    #[arg(long, value_enum, conflicts_with = "profile")]
    shape: Option<Shape>,
    /// A file of 168 numbers, an hour each, instead of a shape
    #[arg(long, value_name = "CSV")]
    profile: Option<PathBuf>,
    /// The busiest second of an hour over the hour's mean
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true)]
    peak: Option<f64>,
    /// Growth a month, e.g. `0.02`
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
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
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    utilization: Option<f64>,
    /// Share off every price that was negotiated, e.g. `10%`
    #[arg(long, value_name = "SHARE")]
    discount: Option<String>,
    /// What changes are held against: a variant's or an option's name, on a machine's type if need be
    #[arg(long, value_name = "NAME[@TYPE]")]
    baseline: Option<String>,
    /// Latency that must be kept to, e.g. `p99<50ms`
    #[arg(long, value_name = "BOUND")]
    slo: Option<String>,
    /// Target: a month's cost at most
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    max_usd_month: Option<f64>,
    /// Target: times as fast as the baseline
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true)]
    min_speedup: Option<f64>,
    /// Target: share of right answers
    #[arg(long, value_name = "SHARE")]
    min_accuracy: Option<String>,
    /// Target: at most so much less than the baseline's, e.g. `0.02`
    #[arg(long, value_name = "SHARE")]
    max_drop: Option<String>,
    /// Target: share of the baseline's cost saved, e.g. `70%`
    #[arg(long, value_name = "SHARE")]
    min_saving: Option<String>,
    /// Rows at most, the cheapest first; what is recommended is always shown
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Draw capacity, prices and demand from their ranges so many times, for a band around each month
    #[arg(long, value_name = "N")]
    draws: Option<u32>,
    /// Seed of the draws
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What is priced, and how.
pub(super) struct Asking<'a> {
    pub records: &'a [Record],
    pub table: &'a PriceTable,
    pub choice: &'a Choice,
    pub paying: &'a [Paying],
}

impl Args {
    /// Whether anything of it was asked for: a target without a demand is refused, not ignored.
    pub(super) fn is_asked(&self) -> bool {
        *self != Self::default()
    }

    /// The file of assumptions with what the command line says on top.
    ///
    /// With the folder that its paths are relative to.
    pub(super) fn business(&self) -> Result<(PathBuf, Business)> {
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
        self.demand_over(&mut business)?;
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
        if let Some(text) = &self.min_accuracy {
            targets.min_accuracy = Some(share("--min-accuracy", text)?);
        }
        if let Some(text) = &self.max_drop {
            targets.max_drop = Some(share("--max-drop", text)?);
        }
        if let Some(text) = &self.min_saving {
            targets.min_saving = Some(share("--min-saving", text)?);
        }
        if let Some(text) = &self.discount {
            business.discount = share("--discount", text)?;
        }
        if self.draws.is_some() || self.seed.is_some() {
            let mut band = business.band.unwrap_or_default();
            band.draws = self.draws.unwrap_or(band.draws);
            band.seed = self.seed.unwrap_or(band.seed);
            business.band = Some(band);
        }
        business.check("the command line")?;
        Ok((base, business))
    }
}

impl Args {
    /// What the command line says of the demand, over what the file says.
    fn demand_over(&self, business: &mut Business) -> Result<()> {
        let over = self.shape.is_some()
            || self.profile.is_some()
            || self.peak.is_some()
            || self.growth.is_some();
        if self.demand.is_none() && !over {
            return Ok(());
        }
        let mut spec = match (&self.demand, business.demand.take()) {
            (Some(rate), Some(spec)) => DemandSpec { rate: rate.clone(), ..spec },
            (Some(rate), None) => DemandSpec {
                rate: rate.clone(),
                shape: Shape::default(),
                profile: None,
                peak_to_mean: 1.0,
                growth_per_month: 0.0,
                payload_bytes: 0.0,
            },
            (None, Some(spec)) => spec,
            (None, None) => {
                return Err(Error::input("--shape, --profile, --peak, --growth", "shape a demand")
                    .remedy(
                        "give --demand, e.g. --demand 10M/day, or [demand] in the file of --plan",
                    ));
            }
        };
        if let Some(shape) = self.shape {
            spec.shape = shape;
            spec.profile = None;
        }
        if let Some(path) = &self.profile {
            // Relative to where the command is given, not to the file.
            spec.profile = Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        spec.peak_to_mean = self.peak.unwrap_or(spec.peak_to_mean);
        spec.growth_per_month = self.growth.unwrap_or(spec.growth_per_month);
        business.demand = Some(spec);
        Ok(())
    }

    /// Whether a plan needs the user's own demand: money a month and machines mean nothing without.
    fn needs_demand(&self, business: &Business) -> bool {
        let targets = &business.targets;
        self.autoscale
            || self.at_least.is_some()
            || self.redundant.is_some()
            || self.draws.is_some()
            || targets.max_usd_per_month.is_some()
            || targets.min_saving.is_some()
            || !business.option.is_empty()
            || business.baseline.as_ref().is_some_and(|b| b.usd_per_month.is_some())
    }
}

/// What a recommendation is for where nobody says: said loudly.
const NO_DEMAND: &str = "1M/day";

/// `70%` or `0.7`.
fn share(flag: &str, text: &str) -> Result<f64> {
    let (number, per) = match text.trim().strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text.trim(), 1.0),
    };
    number.trim().parse::<f64>().map(|n| n / per).map_err(|_| {
        Error::input(format!("{flag} {text}"), "is no share").remedy("write 70% or 0.7")
    })
}

/// Prints what each way to serve costs for the demand; whether a plan meets all targets.
pub(super) fn execute(
    args: &Args,
    (base, business): (PathBuf, Business),
    asking: &Asking<'_>,
    shown: &Shown,
    format: Format,
) -> Result<bool> {
    let is_assumed = business.demand.is_none();
    let demand = match &business.demand {
        Some(spec) => spec.demand(&base)?,
        None if args.needs_demand(&business) => {
            return Err(Error::input("cost", "is asked for a fleet without a demand").remedy(
                "give --demand, e.g. --demand 10M/day, or [demand] in the file of --plan",
            ));
        }
        None => Demand::shaped(parse_rate(NO_DEMAND)?, Shape::Flat),
    };
    let slo = args.slo.as_deref().map(parse_slo).transpose()?;
    let asked = Asked::new(&business, &demand, asking.paying.to_vec())?;
    let Asking { records, table, choice, .. } = asking;
    let found = shortlist(records, table, choice, slo.as_ref(), &asked, args.top)?;
    if found.offers.is_empty() {
        return Err(Error::input("cost", "has nothing to price")
            .remedy("name a run, or state an [[option]] in the file of --plan"));
    }
    let (mut rows, base) = evaluate(&found.offers, &asked)?;
    rows.sort_by(|a, b| a.usd_per_month.total_cmp(&b.usd_per_month));
    if let Some(slo) = &slo
        && rows.iter().all(|row| !row.offer.excluded.is_empty())
    {
        return Err(none_fits(&rows, &slo.percentile, slo.ms));
    }
    let front = pareto(&rows);
    let chosen = cheapest_that_fits(&rows);
    let at = to_show(&rows, chosen, args.top);
    for at in &at {
        add_details(&mut rows[*at], base.as_ref(), &asked)?;
    }
    if business.band.is_some() {
        for at in &at {
            add_band(&mut rows[*at], base.as_ref(), &asked)?;
        }
    }
    let advice = advice(&rows, chosen, shown);
    let binds = chosen
        .map(|chosen| binding(&rows, chosen, &asked, &|usd| shown.words(usd)))
        .unwrap_or_default();
    let text = match format {
        Format::Json => output::json(&serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "demand": demand,
            "requests_per_month": demand.per_month(),
            "demand_assumed": is_assumed,
            "business": business,
            "currency": shown,
            "plans": found.looked_at,
            "rows": at.iter().map(|at| json(&rows[*at], front.contains(at), Some(*at) == chosen)).collect::<Vec<_>>(),
            "advice": advice,
            "binding": binds,
            "not_included": not_included(&business),
            "notes": found.notes,
        }))?,
        Format::Csv => output::csv(&HEADER, at.iter().map(|at| cells(&rows[*at], shown)))?,
        Format::Md => output::markdown(&HEADER, at.iter().map(|at| cells(&rows[*at], shown))),
        Format::Table => report(&rows, &at, &front, chosen, shown),
    };
    output::figures(&text)?;
    if format != Format::Table {
        return Ok(chosen.is_some());
    }
    let notes = notes_of(
        &Shows { rows: &rows, at: &at, base: base.as_ref(), is_assumed },
        &asked,
        slo.is_some(),
        shown,
        &found,
    );
    let text: String = notes.iter().map(|note| output::wrapped("· ", note)).collect();
    let binds: String = binds.iter().map(|why| output::wrapped("  bound by ", why)).collect();
    output::figures(&(text + &output::wrapped("", &advice) + &binds))?;
    Ok(chosen.is_some())
}

/// What is shown, for the notes below it.
struct Shows<'a> {
    rows: &'a [Evaluated],
    at: &'a [usize],
    base: Option<&'a Offer>,
    /// Whether nobody said what the demand is.
    is_assumed: bool,
}

/// What a reader of the table must know.
fn notes_of(
    &Shows { rows, at, base, is_assumed }: &Shows<'_>,
    asked: &Asked<'_>,
    has_slo: bool,
    shown: &Shown,
    found: &Shortlist,
) -> Vec<String> {
    let mut notes = vec![about(asked.demand)];
    if is_assumed {
        notes.insert(0, format!("NO --demand: planned for {NO_DEMAND}, every hour alike"));
    }
    if has_slo
        && at.iter().any(|at| rows[*at].offer.capacity.is_some_and(|c| c.basis == Basis::Saturated))
    {
        notes.push(
            "a closed load's latency has no queue of arrivals in it: an open load (`run --rate`) says what a demand meets"
                .to_owned(),
        );
    }
    if let Some(base) = base {
        let by = base.price.as_ref().map_or(String::new(), |p| format!(", {}", p.paying));
        notes.push(format!("against {}{by}", name(base)));
    }
    if at.len() < found.looked_at {
        notes.push(format!("{} of {} plans are shown", at.len(), found.looked_at));
    }
    let is_scaled = |at: &usize| {
        let machine = rows[*at].offer.price.as_ref().and_then(|p| p.machine.as_ref());
        machine.is_some_and(|m| (m.times - 1.0).abs() > 1e-9)
    };
    if at.iter().any(is_scaled) {
        notes.push(
            "machines are rented whole: one with more CPUs than were measured is taken to serve as many times as much"
                .to_owned(),
        );
    }
    notes.extend(shown.note());
    let dates = at.iter().filter_map(|at| rows[*at].offer.price.as_ref());
    notes.extend(age(dates.map(|price| price.date.as_str())));
    let left = not_included(asked.business);
    if !left.is_empty() {
        notes.push(format!("not included: {}", left.join(", ")));
    }
    notes.extend(found.notes.iter().cloned());
    notes
}

/// Which rows are shown: the first ones of what was measured, then of what is assumed; and the recommended one.
fn to_show(rows: &[Evaluated], chosen: Option<usize>, top: Option<usize>) -> Vec<usize> {
    let rank = |at: &usize| {
        (!rows[*at].offer.excluded.is_empty(), crate::economics::is_assumed(&rows[*at]))
    };
    let mut at: Vec<usize> = (0..rows.len()).collect();
    // Stable: by cost within each.
    at.sort_by_key(rank);
    let Some(top) = top else { return at };
    let is_past = chosen.is_some_and(|chosen| !at[..top.min(at.len())].contains(&chosen));
    at.truncate(top);
    at.extend(chosen.filter(|_| is_past));
    at
}

fn about(demand: &Demand) -> String {
    format!(
        "{:.4e} requests a month of 730 hours, {:.1} a second on average, {:.1} at the peak",
        demand.per_month(),
        demand.mean_per_s(),
        demand.peak_per_s()
    )
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
fn not_included(business: &Business) -> Vec<&'static str> {
    let extras = &business.extras;
    [
        (extras.load_balancer_usd_per_month.is_none(), "load balancer"),
        (extras.egress_usd_per_gb.is_none(), "egress"),
        (extras.storage_gb.is_none() || extras.storage_usd_per_gb_month.is_none(), "storage"),
        (
            business.baseline.is_some() && business.value == crate::economics::Value::default(),
            "the worth of latency and quality",
        ),
    ]
    .into_iter()
    .filter_map(|(is_left, name)| is_left.then_some(name))
    .collect()
}

/// The decision in words.
fn advice(rows: &[Evaluated], chosen: Option<usize>, shown: &Shown) -> String {
    let Some(row) = chosen.map(|at| &rows[at]) else {
        let mut missed: Vec<String> = rows
            .iter()
            .filter(|row| row.offer.excluded.is_empty())
            .map(|row| {
                let all = row.targets.iter().filter(|t| !t.met).map(|t| t.target);
                format!("{} misses {}", row.offer.name, all.collect::<Vec<_>>().join(", "))
            })
            .collect();
        missed.dedup();
        return if missed.is_empty() {
            "nothing can be chosen: every row says why".to_owned()
        } else {
            format!("nothing meets all targets: {}", missed.join("; "))
        };
    };
    let money = |usd: f64| shown.words(usd);
    let mut text =
        format!("cheapest that fits: {}, {} a month", name(&row.offer), money(row.usd_per_month));
    if let Some(versus) = &row.versus {
        let returns = &versus.returns;
        let sign = if returns.saving_per_month < 0.0 { "costs" } else { "saves" };
        text.push_str(&format!(
            ", {sign} {} ({:.2} %)",
            money(returns.saving_per_month.abs()),
            returns.saving_share.abs() * 100.0
        ));
        match returns.payback_months {
            Some(0.0) => {}
            Some(months) => text.push_str(&format!(", pays back in {months:.2} months")),
            None => text.push_str(", never pays back"),
        }
        text.push_str(&format!("; net present value {}", money(returns.npv)));
    }
    text
}
