//! `infermark prices`: what is known of prices, with source and date each.

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{self, Format};
use super::prices_import::{self, Import, Update};
use super::prices_show;
use crate::economics::{Currencies, PriceTable, Term};
use crate::error::{Error, Result};
use crate::settings::Settings;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List prices with their sources and dates
    List {
        /// Only this provider, e.g. `aws`
        #[arg(long)]
        provider: Option<String>,
        /// Only instance types whose name contains this
        #[arg(long)]
        instance: Option<String>,
        /// Only this region, by the provider's own name
        #[arg(long)]
        region: Option<String>,
        /// Only this term: on-demand, spot, 1y, 3y
        #[arg(long)]
        term: Option<Term>,
        /// Also the prices of this file
        #[arg(long, value_name = "CSV")]
        prices: Option<PathBuf>,
        /// How they are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show all that is known of some types: every region and way to pay, and when a commitment is worth it
    Show {
        /// Instance types, e.g. `c7i.xlarge`
        #[arg(required = true)]
        instance: Vec<String>,
        /// Also the prices of this file
        #[arg(long, value_name = "CSV")]
        prices: Option<PathBuf>,
        /// How they are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Compare two files of prices: what is new, gone, dearer and cheaper
    Diff {
        /// The earlier one, or `built-in`
        before: PathBuf,
        /// The later one, or `built-in`
        after: PathBuf,
        /// How they are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Read a provider's own price list into a file that `--prices` takes
    Import(Import),
    /// Fetch a provider's own price list into a file that `--prices` takes
    Update(Update),
}

/// One file's prices, or ours.
fn alone(path: &PathBuf) -> Result<PriceTable> {
    if path.as_os_str() == "built-in" {
        return PriceTable::built_in();
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the prices", &e))?;
    let mut table = PriceTable::default();
    table.add(&path.display().to_string(), &text)?;
    Ok(table)
}

/// Our table, with the user's own prices on top.
pub(super) fn table(own: Option<&PathBuf>) -> Result<PriceTable> {
    table_with(own, &Currencies::new())
}

/// The same, for prices in other currencies, too.
pub(super) fn table_with(own: Option<&PathBuf>, currencies: &Currencies) -> Result<PriceTable> {
    let mut table = PriceTable::built_in()?;
    if let Some(path) = own {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the prices", &e))?;
        table.add_with(&path.display().to_string(), &text, currencies)?;
    }
    Ok(table)
}

pub(super) fn execute(command: &Command, settings: &Settings) -> Result<()> {
    let (provider, instance, region, term, prices, format) = match command {
        Command::List { provider, instance, region, term, prices, format } => {
            (provider, instance, region, term, prices, format)
        }
        Command::Show { instance, prices, format } => {
            return prices_show::show(instance, &table(prices.as_ref())?, *format);
        }
        Command::Diff { before, after, format } => {
            return prices_show::diff(&alone(before)?, &alone(after)?, *format);
        }
        Command::Import(args) => return prices_import::import(args, &settings.cache),
        Command::Update(args) => return prices_import::update(args, settings),
    };
    if region.as_ref().is_some_and(|region| region.trim().is_empty()) {
        return Err(Error::input("--region", "is empty").remedy("name a region, or leave it out"));
    }
    let mut table = table(prices.as_ref())?;
    let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
    table.quotes.retain(|q| {
        fits(provider, &q.provider)
            && fits(region, &q.region)
            && instance.as_ref().is_none_or(|part| q.instance_type.contains(part.as_str()))
            && term.is_none_or(|term| term == q.term)
    });
    if table.quotes.is_empty() {
        return Err(Error::input("prices list", "no price fits")
            .remedy("leave a filter out; `infermark prices list` shows all"));
    }
    let header = [
        "provider",
        "instance_type",
        "vcpus",
        "region",
        "term",
        "usd_per_hour",
        "date",
        "source",
        "basis",
    ];
    let rows = table.quotes.iter().map(|q| {
        [
            q.provider.clone(),
            q.instance_type.clone(),
            table.instance(q).map_or_else(String::new, |i| i.vcpus.to_string()),
            q.region.clone(),
            q.term.to_string(),
            q.usd_per_hour.to_string(),
            q.date.clone(),
            q.source.clone(),
            q.basis.to_string(),
        ]
    });
    let text = match format {
        Format::Json => output::json(&serde_json::json!({
            "prices": table.quotes,
            "instances": table.instances,
        }))?,
        Format::Csv => output::csv(&header, rows)?,
        Format::Md => output::markdown(&header, rows),
        Format::Table => {
            let columns = ["price of", "vCPUs", "region", "term", "$/h", "date", "basis"];
            let rows: Vec<Vec<String>> = rows
                .map(|[provider, instance, vcpus, region, term, price, date, _, basis]| {
                    let basis = basis.split(':').next().unwrap_or("").to_owned();
                    vec![format!("{provider} {instance}"), vcpus, region, term, price, date, basis]
                })
                .collect();
            output::ruled(&columns.map(String::from), &rows)
        }
    };
    output::figures(&text)?;
    if *format == Format::Table {
        output::say("each price's source and derivation: --format csv, json or md");
    }
    Ok(())
}
