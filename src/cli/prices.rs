//! `infermark prices`: what is known of prices, with source and date each.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::output::{self, Format};
use crate::economics::{
    About, AwsOffer, AzureRetail, GcpBilling, Imported, PriceSource, PriceTable, SkyPilot, Term,
};
use crate::error::{Error, Result};
use crate::units::wall_clock;

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
    /// Read a provider's own price list into a file that `--prices` takes
    Import {
        /// The list, as its owner has it; `-` reads standard input
        file: PathBuf,
        /// What kind of list it is
        #[arg(long, value_enum)]
        from: From,
        /// Whose prices they are, where the list does not say: aws, gcp, azure, …
        #[arg(long)]
        provider: Option<String>,
        /// When the list was made, YYYY-MM-DD, where it does not say
        #[arg(long, default_value = "unknown")]
        date: String,
        /// The file to write
        #[arg(long, short, value_name = "CSV")]
        out: PathBuf,
    },
}

/// Kinds of price lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum From {
    /// `SkyPilot`'s catalogue of a cloud, `vms.csv`
    Skypilot,
    /// AWS's price list of a region, `index.csv`
    AwsOffer,
    /// Azure's Retail Prices API: its pages, one after the other
    AzureRetail,
    /// Google's Cloud Billing Catalog: its pages, one after the other
    GcpBilling,
}

impl From {
    fn source(self) -> Result<Box<dyn PriceSource>> {
        Ok(match self {
            Self::Skypilot => Box::new(SkyPilot),
            Self::AwsOffer => Box::new(AwsOffer),
            Self::AzureRetail => Box::new(AzureRetail),
            Self::GcpBilling => {
                Box::new(GcpBilling { machines: PriceTable::built_in()?.instances })
            }
        })
    }

    /// Whose prices such a list has; `None` where it may be anybody's.
    fn provider(self) -> Option<&'static str> {
        match self {
            Self::Skypilot => None,
            Self::AwsOffer => Some("aws"),
            Self::AzureRetail => Some("azure"),
            Self::GcpBilling => Some("gcp"),
        }
    }
}

/// Reads a list and writes what it holds.
fn import(file: &Path, from: From, provider: Option<&str>, date: &str, out: &Path) -> Result<()> {
    let remedy = "write the day as YYYY-MM-DD, e.g. --date 2026-07-30";
    if date != "unknown" && date.parse::<jiff::civil::Date>().is_err() {
        return Err(Error::input("--date", format!("`{date}` is no day")).remedy(remedy));
    }
    let today =
        jiff::Timestamp::try_from(wall_clock()).map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).date());
    if let (Ok(day), Ok(today)) = (date.parse::<jiff::civil::Date>(), today)
        && day > today
    {
        return Err(Error::input("--date", format!("{date} is in the future")).remedy(remedy));
    }
    let provider = provider.or(from.provider()).ok_or_else(|| {
        Error::input("--provider", "is not given, and the list does not say")
            .remedy("name the cloud: --provider aws")
    })?;
    let list = from.source()?;
    let source = file.file_name().map_or("standard input".into(), |n| n.to_string_lossy());
    let about = About {
        source: format!("{}: {source}", list.name()),
        provider: provider.to_owned(),
        date: date.to_owned(),
    };
    let mut input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let opened =
            std::fs::File::open(file).map_err(|e| Error::io(file, "read the prices", &e))?;
        Box::new(std::io::BufReader::with_capacity(1 << 20, opened))
    };
    let mut found = Imported::default();
    list.read(input.as_mut(), &about, &mut found)?;
    if found.quotes.is_empty() {
        let why: Vec<String> =
            found.left_out.iter().map(|(why, n)| format!("{n} × {why}")).collect();
        let message = format!("holds no price in {} rows: {}", found.rows, why.join(", "));
        return Err(Error::input(file.display(), message)
            .remedy("is it a list of the kind that --from names?"));
    }
    std::fs::write(out, found.to_csv()?).map_err(|e| Error::io(out, "write the prices", &e))?;
    output::say(&format!(
        "{} prices of {} machines from {} rows: {}",
        found.quotes.len(),
        found.instances.len(),
        found.rows,
        out.display()
    ));
    for (why, count) in &found.left_out {
        output::say(&format!("  left out: {count} × {why}"));
    }
    Ok(())
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
    let (provider, instance, region, term, prices, format) = match command {
        Command::List { provider, instance, region, term, prices, format } => {
            (provider, instance, region, term, prices, format)
        }
        Command::Import { file, from, provider, date, out } => {
            return import(file, *from, provider.as_deref(), date, out);
        }
    };
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
