//! `infermark prices`: what is known of prices, with source and date each.

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{self, Format};
use super::prices_import::{self, Import, Update};
use super::prices_show;
use crate::economics::{Currencies, PriceTable, Term, check_currencies, parse_currency};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::units::today;

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
        /// What a unit of another currency is in USD, and the day: `EUR=1.08@2026-11-20`
        #[arg(long, value_name = "CODE=USD@DAY")]
        rate: Vec<String>,
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
        /// What a unit of another currency is in USD, and the day: `EUR=1.08@2026-11-20`
        #[arg(long, value_name = "CODE=USD@DAY")]
        rate: Vec<String>,
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
        /// What a unit of another currency is in USD, and the day: `EUR=1.08@2026-11-20`
        #[arg(long, value_name = "CODE=USD@DAY")]
        rate: Vec<String>,
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
fn alone(path: &PathBuf, rates: &Currencies) -> Result<PriceTable> {
    if path.as_os_str() == "built-in" {
        return PriceTable::built_in();
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the prices", &e))?;
    let mut table = PriceTable::default();
    table.add_with(&path.display().to_string(), &text, rates)?;
    Ok(table)
}

/// Rates as they are given, checked.
pub(super) fn rates(texts: &[String]) -> Result<Currencies> {
    let mut rates = Currencies::new();
    for text in texts {
        let (code, rate) = parse_currency(text)?;
        rates.insert(code, rate);
    }
    check_currencies(&rates, today())?;
    Ok(rates)
}

/// Our table, with the user's own prices on top, in whatever currency has a rate.
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
        Command::List { provider, instance, region, term, prices, rate, format } => {
            (provider, instance, region, term, (prices, rate), format)
        }
        Command::Show { instance, prices, rate, format } => {
            let table = table_with(prices.as_ref(), &rates(rate)?)?;
            return prices_show::show(instance, &table, *format);
        }
        Command::Diff { before, after, rate, format } => {
            let rates = rates(rate)?;
            return prices_show::diff(&alone(before, &rates)?, &alone(after, &rates)?, *format);
        }
        Command::Import(args) => return prices_import::import(args, &settings.cache),
        Command::Update(args) => return prices_import::update(args, settings),
    };
    if region.as_ref().is_some_and(|region| region.trim().is_empty()) {
        return Err(Error::input("--region", "is empty").remedy("name a region, or leave it out"));
    }
    let mut table = table_with(prices.0.as_ref(), &rates(prices.1)?)?;
    let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
    let all = table.quotes.len();
    table.quotes.retain(|q| {
        fits(provider, &q.provider)
            && fits(region, &q.region)
            && instance.as_ref().is_none_or(|part| q.instance_type.contains(part.as_str()))
            && term.is_none_or(|term| term == q.term)
    });
    if table.quotes.len() < all {
        let is_left: std::collections::HashSet<(&str, &str)> =
            table.quotes.iter().map(|q| (q.provider.as_str(), q.instance_type.as_str())).collect();
        let is_left = |i: &crate::economics::Instance| {
            is_left.contains(&(i.provider.as_str(), i.instance_type.as_str()))
        };
        table.instances.retain(is_left);
    }
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
            "schema_version": crate::store::SCHEMA_VERSION,
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
