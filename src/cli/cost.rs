//! `infermark cost`: what measured cases cost, without touching a device.

use std::path::PathBuf;

use super::Ended;
use super::output::{self, Format};
use super::prices_show::age;
use super::shown::Shown;
use super::{money, prices, runs};
use crate::economics::{Choice, CostRow, Paying, Place, Term, costs};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::store::{RunDir, SCHEMA_VERSION};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Runs: `latest`, ids, or paths of runs' folders; may be left out with --plan
    #[arg(required_unless_present = "plan")]
    runs: Vec<String>,
    /// Only cases of this model, by its workload's name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Price by these instance types, e.g. `c7i.xlarge,c8a.xlarge`
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    instance: Vec<String>,
    /// What the measured CPUs cost an hour, instead of a table's price
    #[arg(long, value_name = "USD", conflicts_with_all = ["instance", "region", "term", "prices"], allow_negative_numbers = true)]
    usd_per_hour: Option<f64>,
    /// Region, by the provider's own name, or eu, us, asia for the cheapest there; the first one of each type when left
    /// out
    #[arg(long)]
    region: Option<String>,
    /// Ways to pay: on-demand, spot, 1y, 3y, and with a demand blended; several by commas
    #[arg(long, value_delimiter = ',', default_value = "on-demand")]
    term: Vec<Paying>,
    /// Also every type that was not measured, as if it measured alike by vCPU: marked as assumed, behind what was measured
    #[arg(long, conflicts_with_all = ["instance", "usd_per_hour"])]
    assume: bool,
    /// What a unit of another currency is in USD, and the day: `EUR=1.08@2026-11-20`
    #[arg(long, value_name = "CODE=USD@DAY")]
    rate: Vec<String>,
    /// Print amounts in this currency, whose --rate is given
    #[arg(long, value_name = "CODE", default_value = "USD")]
    currency: String,
    /// A file of your own prices, which win over ours
    #[arg(long, value_name = "CSV")]
    prices: Option<PathBuf>,
    #[command(flatten)]
    money: money::Args,
    /// Exit with code 2 when no plan meets all targets
    #[arg(long)]
    strict: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    let mut records = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in &args.runs {
        let run = RunDir::find(&settings.reports, name)?;
        if !seen.insert(run.path().canonicalize().unwrap_or_else(|_| run.path().to_owned())) {
            continue; // The same run by another name.
        }
        records.extend(runs::last_records(&run)?);
    }
    if let Some(model) = &args.model {
        let known: std::collections::BTreeSet<String> =
            records.iter().map(|r| r.case.model.clone()).collect();
        records.retain(|r| r.case.model == *model);
        if records.is_empty() {
            let known: Vec<String> = known.into_iter().collect();
            return Err(Error::input(format!("--model {model}"), "is in none of the runs")
                .remedy(format!("name one of {}", known.join(", "))));
        }
    }
    let for_runs = !args.instance.is_empty()
        || args.usd_per_hour.is_some()
        || args.region.is_some()
        || args.assume
        || args.prices.is_some();
    if records.is_empty() && args.runs.is_empty() && for_runs {
        return Err(Error::input(
            "--instance, --usd-per-hour, --region, --assume, --prices",
            "price what was measured, and no run is named",
        )
        .remedy("name a run, e.g. latest, or state prices in the file of --plan"));
    }
    let mut choice = Choice {
        instances: args.instance.clone(),
        place: args.region.as_deref().map_or(Ok(Place::First), Place::parse)?,
        assume: args.assume,
        ..Choice::default()
    };
    if let Some(usd_per_hour) = args.usd_per_hour {
        choice.give(usd_per_hour)?;
    }
    let currencies = prices::rates(&args.rate)?;
    if args.money.is_asked() {
        let mut business = args.money.business()?;
        business.1.rate.extend(currencies);
        let table = prices::table_with(args.prices.as_ref(), &business.1.rate)?;
        let shown = Shown::of(&args.currency, &business.1.rate)?;
        let asked =
            money::Asking { records: &records, table: &table, choice: &choice, paying: &args.term };
        let meets = money::execute(&args.money, business, &asked, &shown, args.format)?;
        return Ok(if args.strict && !meets { Ended::Negative } else { Ended::Fine });
    }
    if args.term.contains(&Paying::Blended) {
        return Err(Error::input("--term blended", "mixes ways to pay by the hours of a demand")
            .remedy("give --demand, e.g. --demand 10M/day"));
    }
    let terms: Vec<Term> = args.term.iter().map(|paying| paying.term()).collect();
    let table_of_prices = prices::table_with(args.prices.as_ref(), &currencies)?;
    let shown = Shown::of(&args.currency, &currencies)?;
    let costs = costs(&records, &table_of_prices, &choice, &terms)?;
    let reasons = records.iter().flat_map(|r| {
        r.verdict.reasons.iter().map(|reason| format!("INVALID case {}: {reason}", r.case.id))
    });
    let dates = costs.rows.iter().map(|row| row.price_date.as_str());
    let more = age(dates).into_iter().chain(shown.note());
    let notes: Vec<String> = costs.notes.iter().cloned().chain(reasons).chain(more).collect();
    let text = match args.format {
        Format::Json => output::json(&serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "currency": shown,
            "rows": costs.rows,
            "notes": notes,
        }))?,
        Format::Csv => output::csv(&HEADER, costs.rows.iter().map(|row| cells(row, &shown)))?,
        Format::Md => output::markdown(&HEADER, costs.rows.iter().map(|row| cells(row, &shown))),
        Format::Table => table(&costs.rows, &shown),
    };
    if costs.rows.is_empty() {
        return Err(Error::input(
            "the run",
            "holds open loads only, which do not show what a machine can serve",
        )
        .remedy("measure a closed or offline load beside them: infermark run … --concurrency 16"));
    }
    output::figures(&text)?;
    if args.format == Format::Table {
        let mut notes = notes;
        notes.push(
            "on a machine that is always busy (saturated); real demand leaves it idle for part of \
             the time"
                .to_owned(),
        );
        let text: String = notes.iter().map(|note| output::wrapped("· ", note)).collect();
        return output::figures(&text).map(|()| Ended::Fine);
    }
    for note in &notes {
        output::say(note);
    }
    Ok(Ended::Fine)
}

/// FOCUS's names (`FinOps` Open Cost and Usage Specification 1.2) where it has one; amounts are in `BillingCurrency`.
const HEADER: [&str; 27] = [
    "case_id",
    "hardware_class",
    "model",
    "variant",
    "backend",
    "load",
    "ProviderName",
    "instance_type",
    "RegionId",
    "term",
    "PricingCategory",
    "BillingCurrency",
    "cost_per_hour",
    "price_date",
    "price_source",
    "capacity_per_s",
    "capacity_basis",
    "utilization",
    "replicas",
    "fits_memory",
    "cost_per_1k",
    "cost_per_1m",
    "cost_per_1m_low",
    "cost_per_1m_high",
    "cost_per_month",
    "verdict",
    "provenance",
];

fn verdict(row: &CostRow) -> &'static str {
    match (row.valid, row.meets_quality) {
        (false, Some(false)) => "INVALID, FAILS quality",
        (false, _) => "INVALID",
        (true, Some(false)) => "FAILS quality",
        (true, _) => "VALID",
    }
}

fn category(term: Term) -> &'static str {
    let paying = Paying::ASKED.into_iter().find(|p| p.term() == term).unwrap_or_default();
    paying.pricing_category()
}

fn cells(row: &CostRow, shown: &Shown) -> [String; 27] {
    let money = |usd: f64| shown.amount(usd).to_string();
    let optional = |usd: Option<f64>| usd.map(money).unwrap_or_default();
    [
        row.case_id.clone(),
        row.hardware_class.clone(),
        row.model.clone(),
        row.variant.clone(),
        row.backend.clone(),
        row.load.clone(),
        row.provider.clone(),
        row.instance_type.clone(),
        row.region.clone(),
        row.term.to_string(),
        category(row.term).to_owned(),
        shown.code().to_owned(),
        money(row.usd_per_hour),
        row.price_date.clone(),
        row.price_source.clone(),
        row.capacity_per_s.to_string(),
        row.capacity_basis.clone(),
        row.utilization.to_string(),
        row.replicas.to_string(),
        row.fits_memory.map(|fits| fits.to_string()).unwrap_or_default(),
        money(row.usd_per_1k),
        money(row.usd_per_1m),
        optional(row.usd_per_1m_low),
        optional(row.usd_per_1m_high),
        money(row.usd_per_month),
        verdict(row).to_owned(),
        row.provenance.clone(),
    ]
}

fn table(rows: &[CostRow], shown: &Shown) -> String {
    let (per_1k, per_1m) = (shown.unit("1k"), shown.unit("1M"));
    let columns =
        ["variant", "load", "price of", "samples/s", &per_1k, &per_1m, "basis", "verdict"];
    let several = rows.iter().any(|row| row.model != rows[0].model);
    let cells = rows.iter().map(|row| {
        let variant =
            if several { format!("{} {}", row.model, row.variant) } else { row.variant.clone() };
        let range = match (row.usd_per_1m_low, row.usd_per_1m_high) {
            (Some(low), Some(high)) if row.usd_per_1m > 0.0 => {
                format!(" ±{:.1}%", 50.0 * (high - low) / row.usd_per_1m)
            }
            _ => String::new(),
        };
        vec![
            variant,
            row.load.clone(),
            format!("{} {}", row.instance_type, row.term),
            format!("{:.0}", row.capacity_per_s),
            money(shown.amount(row.usd_per_1k)),
            format!("{}{range}", money(shown.amount(row.usd_per_1m))),
            row.provenance.clone(),
            verdict(row).to_owned(),
        ]
    });
    output::ruled(&columns.map(String::from), &cells.collect::<Vec<_>>())
}

/// Three digits that count, however small the price: never 0 for what costs something.
fn money(usd: f64) -> String {
    match usd {
        u if u >= 0.001 => format!("{u:.4}"),
        u => format!("{u:.2e}"),
    }
}
