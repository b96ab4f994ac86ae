//! `infermark cost`: what measured cases cost, without touching a device.

use std::path::PathBuf;

use super::output::{self, Format};
use super::{money, prices, runs};
use crate::economics::{Choice, CostRow, Term, costs};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::store::{RunDir, SCHEMA_VERSION};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Runs: `latest`, ids, or paths of runs' folders; may be left out with --plan
    #[arg(required_unless_present = "plan")]
    runs: Vec<String>,
    /// Price by these instance types, e.g. `c7i.xlarge,c8a.xlarge`
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    instance: Vec<String>,
    /// What the measured CPUs cost an hour, instead of a table's price
    #[arg(long, value_name = "USD", conflicts_with_all = ["instance", "region", "term", "prices"], allow_negative_numbers = true)]
    usd_per_hour: Option<f64>,
    /// Region, by the provider's own name; the first one of each type when left out
    #[arg(long)]
    region: Option<String>,
    /// How it is paid for: on-demand, spot, 1y, 3y
    #[arg(long, default_value_t)]
    term: Term,
    /// A file of your own prices, which win over ours
    #[arg(long, value_name = "CSV")]
    prices: Option<PathBuf>,
    #[command(flatten)]
    money: money::Args,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<()> {
    let mut records = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in &args.runs {
        let run = RunDir::find(&settings.reports, name)?;
        if !seen.insert(run.path().canonicalize().unwrap_or_else(|_| run.path().to_owned())) {
            continue; // The same run by another name.
        }
        records.extend(runs::last_records(&run)?);
    }
    let choice = Choice {
        instances: args.instance.clone(),
        usd_per_hour: args.usd_per_hour,
        region: args.region.clone(),
        term: args.term,
    };
    if args.money.is_asked() {
        let table = prices::table(args.prices.as_ref())?;
        return money::execute(&args.money, &records, &table, &choice, args.format);
    }
    let costs = costs(&records, &prices::table(args.prices.as_ref())?, &choice)?;
    let reasons = records.iter().flat_map(|r| {
        r.verdict.reasons.iter().map(|reason| format!("INVALID case {}: {reason}", r.case.id))
    });
    let notes: Vec<String> = costs.notes.iter().cloned().chain(reasons).collect();
    let text = match args.format {
        Format::Json => output::json(&serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "rows": costs.rows,
            "notes": notes,
        }))?,
        Format::Csv => output::csv(&HEADER, costs.rows.iter().map(cells))?,
        Format::Md => output::markdown(&HEADER, costs.rows.iter().map(cells)),
        Format::Table => table(&costs.rows),
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
        return output::figures(&text);
    }
    for note in &notes {
        output::say(note);
    }
    Ok(())
}

const HEADER: [&str; 24] = [
    "case_id",
    "model",
    "variant",
    "backend",
    "load",
    "provider",
    "instance_type",
    "region",
    "term",
    "usd_per_hour",
    "price_date",
    "price_source",
    "capacity_per_s",
    "capacity_basis",
    "utilization",
    "replicas",
    "fits_memory",
    "usd_per_1k",
    "usd_per_1m",
    "usd_per_1m_low",
    "usd_per_1m_high",
    "usd_per_month",
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

fn cells(row: &CostRow) -> [String; 24] {
    let optional = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    [
        row.case_id.clone(),
        row.model.clone(),
        row.variant.clone(),
        row.backend.clone(),
        row.load.clone(),
        row.provider.clone(),
        row.instance_type.clone(),
        row.region.clone(),
        row.term.to_string(),
        row.usd_per_hour.to_string(),
        row.price_date.clone(),
        row.price_source.clone(),
        row.capacity_per_s.to_string(),
        row.capacity_basis.clone(),
        row.utilization.to_string(),
        row.replicas.to_string(),
        row.fits_memory.map(|fits| fits.to_string()).unwrap_or_default(),
        row.usd_per_1k.to_string(),
        row.usd_per_1m.to_string(),
        optional(row.usd_per_1m_low),
        optional(row.usd_per_1m_high),
        row.usd_per_month.to_string(),
        verdict(row).to_owned(),
        row.provenance.clone(),
    ]
}

fn table(rows: &[CostRow]) -> String {
    let columns = ["variant", "load", "price of", "samples/s", "$/1k", "$/1M", "basis", "verdict"];
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
            money(row.usd_per_1k),
            format!("{}{range}", money(row.usd_per_1m)),
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
