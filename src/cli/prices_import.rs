//! `prices import` and `prices update`: lists of other people's, from a file or the web.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{output, prices};
use crate::artifact::{Cache, fresh, pages};
use crate::economics::{
    About, AwsOffer, AzureRetail, Currencies, Ec2Instances, Gcosts, GcpBilling, Imported,
    OwnColumns, PriceSource, PriceTable, SkyPilot, azure_sizes,
};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::units::today;

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
    /// gcosts' `pricing.yml` of Google's machines
    Gcosts,
    /// `ec2instances.info`'s `instances.json`
    Ec2instances,
    /// Our own columns (docs/prices.md), in any currency that --rate is given for
    Csv,
}

/// Lists that are fetched from where their owners keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Online {
    /// Azure's Retail Prices API, a region's virtual machines
    Azure,
    /// AWS's price list of a region
    Aws,
    /// `SkyPilot`'s catalogue of a cloud
    Skypilot,
    /// gcosts' list of Google's machines
    Gcosts,
    /// Google's Cloud Billing Catalog; needs --key
    Gcp,
}

#[derive(clap::Args)]
pub(super) struct Import {
    /// The list, as its owner has it: a file, an address, or `-` for standard input
    file: String,
    /// What kind of list it is
    #[arg(long, value_enum)]
    from: From,
    /// Whose prices they are, where the list does not say: aws, gcp, azure, …
    #[arg(long)]
    provider: Option<String>,
    /// When the list was made, YYYY-MM-DD, where it does not say
    #[arg(long, default_value = "unknown")]
    date: String,
    /// Azure's list of sizes, whose prices have no vCPUs: what `az vm list-skus -o json` prints
    #[arg(long, value_name = "JSON")]
    sizes: Option<PathBuf>,
    /// What a unit of another currency is in USD, and the day: `EUR=1.08@2026-11-20`
    #[arg(long, value_name = "CODE=USD@DAY")]
    rate: Vec<String>,
    /// The file to write
    #[arg(long, short, value_name = "CSV")]
    out: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct Update {
    /// Whose list
    #[arg(value_enum)]
    source: Online,
    /// The region, by the provider's own name; aws: us-east-1 and azure: eastus when left out
    #[arg(long)]
    region: Option<String>,
    /// Whose catalogue of `SkyPilot`'s; aws when left out
    #[arg(long)]
    provider: Option<String>,
    /// The key that Google's catalogue asks for; `$INFERMARK_GCP_KEY` when left out
    #[arg(long)]
    key: Option<String>,
    /// Azure's list of sizes, whose prices have no vCPUs
    #[arg(long, value_name = "JSON")]
    sizes: Option<PathBuf>,
    /// Another address that the list is at, e.g. a mirror's
    #[arg(long)]
    url: Option<String>,
    /// The file to write; SOURCE.csv when left out
    #[arg(long, short, value_name = "CSV")]
    out: Option<PathBuf>,
}

impl From {
    fn source(self, sizes: Option<&Path>, rates: Currencies) -> Result<Box<dyn PriceSource>> {
        Ok(match self {
            Self::Skypilot => Box::new(SkyPilot),
            Self::AwsOffer => Box::new(AwsOffer),
            Self::AzureRetail => {
                let machines = match sizes {
                    None => Vec::new(),
                    Some(path) => {
                        let text = std::fs::read_to_string(path)
                            .map_err(|e| Error::io(path, "read the sizes", &e))?;
                        azure_sizes(&path.display().to_string(), &text)?
                    }
                };
                Box::new(AzureRetail { machines })
            }
            Self::GcpBilling => {
                Box::new(GcpBilling { machines: PriceTable::built_in()?.instances })
            }
            Self::Gcosts => Box::new(Gcosts),
            Self::Ec2instances => Box::new(Ec2Instances),
            Self::Csv => Box::new(OwnColumns { rates }),
        })
    }

    /// Whose prices such a list has; `None` where it may be anybody's.
    fn provider(self) -> Option<&'static str> {
        match self {
            Self::Skypilot => None,
            Self::AwsOffer | Self::Ec2instances => Some("aws"),
            Self::AzureRetail => Some("azure"),
            Self::GcpBilling | Self::Gcosts => Some("gcp"),
            // Every row says it.
            Self::Csv => Some("own"),
        }
    }
}

/// Reads a list and writes what it holds.
pub(super) fn import(args: &Import, cache: &Cache) -> Result<()> {
    let remedy = "write the day as YYYY-MM-DD, e.g. --date 2026-07-30";
    match args.date.parse::<jiff::civil::Date>() {
        Ok(day) if day > today() => {
            let message = format!("{} is in the future", args.date);
            return Err(Error::input("--date", message).remedy(remedy));
        }
        Err(_) if args.date != "unknown" => {
            let message = format!("`{}` is no day", args.date);
            return Err(Error::input("--date", message).remedy(remedy));
        }
        _ => {}
    }
    let provider = args.provider.as_deref().or(args.from.provider()).ok_or_else(|| {
        Error::input("--provider", "is not given, and the list does not say")
            .remedy("name the cloud: --provider aws")
    })?;
    if args.sizes.is_some() && args.from != From::AzureRetail {
        return Err(Error::input("--sizes", "belongs to --from azure-retail")
            .remedy("leave it out: other lists say what their machines are"));
    }
    for (given, flag) in [
        (!args.rate.is_empty() && args.from != From::Csv, "--rate"),
        (args.provider.is_some() && args.from == From::Csv, "--provider"),
        (args.date != "unknown" && args.from == From::Csv, "--date"),
        (args.date != "unknown" && args.from == From::AwsOffer, "--date"),
    ] {
        if given {
            return Err(Error::input(flag, "says nothing to a list of this kind").remedy(
                "leave it out: lists in our own columns say provider and date in every row, AWS's its date, and only \
                 ours may be in other currencies",
            ));
        }
    }
    let rates = prices::rates(&args.rate)?;
    let list = args.from.source(args.sizes.as_deref(), rates)?;
    let is_url = args.file.starts_with("https://") || args.file.starts_with("http://");
    let path = if is_url { fresh(&args.file, cache)?.path } else { PathBuf::from(&args.file) };
    let source = if is_url {
        args.file.split('?').next().unwrap_or(&args.file).to_owned()
    } else if args.file == "-" {
        "standard input".to_owned()
    } else {
        path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    };
    let about = About {
        source: format!("{}: {source}", list.name()),
        provider: provider.to_owned(),
        date: args.date.clone(),
    };
    let found = if args.file == "-" {
        read(list.as_ref(), &mut std::io::stdin().lock(), &about)?
    } else {
        let mut file = open(&path)?;
        read(list.as_ref(), &mut file, &about)?
    };
    write(&found, &args.file, &args.out)
}

fn open(path: &Path) -> Result<std::io::BufReader<std::fs::File>> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, "read the prices", &e))?;
    Ok(std::io::BufReader::with_capacity(1 << 20, file))
}

fn read(list: &dyn PriceSource, input: &mut dyn Read, about: &About) -> Result<Imported> {
    let mut found = Imported::default();
    list.read(input, about, &mut found)?;
    Ok(found)
}

fn write(found: &Imported, name: &str, out: &Path) -> Result<()> {
    if found.quotes.is_empty() {
        let why: Vec<String> =
            found.left_out.iter().map(|(why, n)| format!("{n} × {why}")).collect();
        let message = format!("holds no price in {} rows: {}", found.rows, why.join(", "));
        return Err(
            Error::input(name, message).remedy("is it a list of the kind that is asked for?")
        );
    }
    let fail = |e: std::io::Error| Error::io(out, "write the prices", &e);
    // Beside its place first: a disk that fills up leaves what was there before.
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable by whoever the user's umask lets read, like any file they make.
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let file = tempfile::Builder::new().permissions(all).tempfile_in(folder).map_err(fail)?;
    found.write_csv(std::io::BufWriter::new(&file)).map_err(fail)?;
    file.persist(out).map_err(|e| fail(e.error))?;
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

impl Update {
    fn region(&self, own: &str) -> Result<String> {
        let region = self.region.clone().unwrap_or_else(|| own.to_owned());
        let is_name =
            !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if is_name {
            return Ok(region);
        }
        Err(Error::input("--region", format!("`{region}` is no region's name"))
            .remedy("name it as its provider does: us-east-1, westeurope"))
    }

    /// What kind of list it is, whose, and where its owner keeps it.
    fn list(&self, settings: &Settings) -> Result<(From, String, String)> {
        let url = |own: String| self.url.clone().unwrap_or(own);
        Ok(match self.source {
            Online::Azure => {
                let region = self.region("eastus")?;
                // Version and names as Microsoft documents them; values are told apart by case.
                let filter =
                    format!("serviceName eq 'Virtual Machines' and armRegionName eq '{region}'");
                let base = url("https://prices.azure.com/api/retail/prices".to_owned());
                let filter = filter.replace(' ', "%20").replace('\'', "%27");
                let url = format!(
                    "{base}?api-version=2023-01-01-preview&currencyCode=%27USD%27&$filter={filter}"
                );
                (From::AzureRetail, "azure".to_owned(), url)
            }
            Online::Aws => {
                let region = self.region("us-east-1")?;
                let own = format!(
                    "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/{region}/index.csv"
                );
                (From::AwsOffer, "aws".to_owned(), url(own))
            }
            Online::Skypilot => {
                let cloud = self.provider.as_deref().unwrap_or("aws");
                if !cloud.chars().all(|c| c.is_ascii_alphanumeric()) || cloud.is_empty() {
                    return Err(Error::input(
                        "--provider",
                        format!("`{cloud}` is no cloud's name"),
                    )
                    .remedy("name it as the catalogue's folder does: aws, gcp, lambda"));
                }
                let own = format!(
                    "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/v8/{cloud}/vms.csv"
                );
                (From::Skypilot, cloud.to_owned(), url(own))
            }
            Online::Gcosts => {
                let own = "https://raw.githubusercontent.com/Cyclenerd/google-cloud-pricing-cost-calculator/master/pricing.yml";
                (From::Gcosts, "gcp".to_owned(), url(own.to_owned()))
            }
            Online::Gcp => {
                let key = self.key.as_ref().or(settings.gcp_key.as_ref());
                let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
                    Error::input("--key", "is not given, and Google's catalogue asks for one")
                        .remedy("make one in Google's console, or use `prices update gcosts`")
                })?;
                // The service's number is Compute Engine's.
                let base =
                    url("https://cloudbilling.googleapis.com/v1/services/6F81-5844-456A/skus"
                        .to_owned());
                (From::GcpBilling, "gcp".to_owned(), format!("{base}{}key={key}", joint(&base)))
            }
        })
    }
}

/// What stands before an address's next parameter.
fn joint(base: &str) -> char {
    if base.contains('?') { '&' } else { '?' }
}

/// Where a page says that the next one is; an error where it is no whole page.
fn next_page(from: From, first: &str, text: &str) -> std::result::Result<Option<String>, String> {
    let page: serde_json::Value =
        serde_json::from_str(text).map_err(|e| format!("is no whole page: {e}"))?;
    let (list, key) = match from {
        From::GcpBilling => ("skus", "nextPageToken"),
        _ => ("Items", "NextPageLink"),
    };
    if !page[list].is_array() {
        return Err(format!("is no page of prices: it has no `{list}`"));
    }
    let next = page[key].as_str().filter(|next| !next.is_empty());
    Ok(next.map(|next| match from {
        From::GcpBilling => format!("{first}&pageToken={next}"),
        _ => next.to_owned(),
    }))
}

/// Fetches a list anew, if it changed, and writes what it holds.
pub(super) fn update(args: &Update, settings: &Settings) -> Result<()> {
    let cache = &settings.cache;
    let (of, by) = (args.source, [Online::Azure, Online::Aws]);
    for (given, flag) in [
        (args.region.is_some() && !by.contains(&of), "--region"),
        (args.provider.is_some() && of != Online::Skypilot, "--provider"),
        (args.sizes.is_some() && of != Online::Azure, "--sizes"),
        (args.key.is_some() && of != Online::Gcp, "--key"),
    ] {
        if given {
            return Err(Error::input(flag, "says nothing to this source").remedy(
                "leave it out; `infermark prices update --help` says what belongs to what",
            ));
        }
    }
    if args
        .url
        .as_ref()
        .is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://"))
    {
        return Err(Error::input("--url", "is no address of the web")
            .remedy("it begins with https://; a file is read by `prices import`"));
    }
    let (from, provider, url) = args.list(settings)?;
    let list = from.source(args.sizes.as_deref(), Currencies::new())?;
    let bare = url.split('?').next().unwrap_or(&url).to_owned();
    // The list is as its owner has it today; AWS's says its own day.
    let about =
        About { source: format!("{}: {bare}", list.name()), provider, date: today().to_string() };
    let name = clap::ValueEnum::to_possible_value(&args.source);
    let own = || PathBuf::from(format!("{}.csv", name.as_ref().map_or("prices", |n| n.get_name())));
    let out = args.out.clone().unwrap_or_else(own);
    let found = if matches!(from, From::AzureRetail | From::GcpBilling) {
        let next = |text: &str| next_page(from, &url, text);
        let mut items = 0;
        let all = pages(&url, cache, next, |number, text| {
            let key = if from == From::GcpBilling { "\"skuId\"" } else { "\"currencyCode\"" };
            items += text.matches(key).count();
            output::say(&format!("  page {number}: {items} items so far"));
        })?;
        let changed = all.iter().filter(|page| page.changed).count();
        output::say(&format!("{} pages, {changed} of them new or changed", all.len()));
        let mut joined: Box<dyn Read> = Box::new(std::io::empty());
        for page in &all {
            joined = Box::new(joined.chain(open(&page.path)?));
        }
        read(list.as_ref(), joined.as_mut(), &about)?
    } else {
        let file = fresh(&url, cache)?;
        if !file.changed {
            output::say("unchanged since the last time");
        }
        read(list.as_ref(), &mut open(&file.path)?, &about)?
    };
    write(&found, &bare, &out)?;
    output::say(&format!("use them with --prices {}", out.display()));
    Ok(())
}
