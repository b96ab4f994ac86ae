//! `infermark prices`: what is known of prices, with source and date each.

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{self, Format};
use crate::economics::{PriceTable, Term};
use crate::error::{Error, Result};

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
}

/// Our table, with the user's own prices on top.
pub(super) fn table(own: Option<&PathBuf>) -> Result<PriceTable> {
    let mut table = PriceTable::built_in()?;
    if let Some(path) = own {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the prices", &e))?;
        table.add(&path.display().to_string(), &text)?;
    }
    Ok(table)
}

pub(super) fn execute(command: &Command) -> Result<()> {
    let Command::List { provider, instance, region, term, prices, format } = command;
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
            q.basis.clone(),
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
