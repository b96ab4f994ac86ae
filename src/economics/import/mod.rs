//! Price lists in their owners' own shapes, read row by row into quotes with a source and a date.

mod aws_offer;
mod azure_retail;
mod ec2instances;
mod gcosts;
mod gcp_billing;
mod own;
mod skypilot;

pub use aws_offer::AwsOffer;
pub use azure_retail::{AzureRetail, azure_sizes};
pub use ec2instances::Ec2Instances;
pub use gcosts::Gcosts;
pub use gcp_billing::GcpBilling;
pub use own::OwnColumns;
pub use skypilot::SkyPilot;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use super::price::{Instance, Quote, Term};
use crate::error::{Error, Result};

/// A price list of somebody's.
pub trait PriceSource {
    /// What it is called, e.g. `skypilot`.
    fn name(&self) -> &'static str;
    /// Reads a list whole, row by row, and hands over what it holds.
    ///
    /// Errors name the line and the column that does not fit. A row that is no price for a plain Linux machine is
    /// left out, and counted by why.
    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()>;
}

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its file or address, as quotes name it.
    pub source: String,
    /// Whose prices they are, where the list does not say: `aws`, `gcp`, …
    pub provider: String,
    /// When it was made, `YYYY-MM-DD` or `unknown`.
    pub date: String,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// Prices.
    pub quotes: Vec<Quote>,
    /// The machines that they are for, as far as the list says.
    pub instances: Vec<Instance>,
    /// Rows that the list has.
    pub rows: u64,
    /// Rows that were left out, by why.
    pub left_out: BTreeMap<&'static str, u64>,
}

impl Imported {
    fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    /// Adds a price above 0.
    fn quote(
        &mut self,
        about: &About,
        (instance_type, region): (&str, &str),
        (term, usd_per_hour): (Term, f64),
        basis: impl Into<Cow<'static, str>>,
    ) {
        self.quotes.push(Quote {
            provider: about.provider.clone(),
            instance_type: instance_type.to_owned(),
            region: region.to_owned(),
            term,
            currency: "USD",
            usd_per_hour,
            date: about.date.clone(),
            source: about.source.clone(),
            basis: basis.into(),
        });
    }

    /// As a file that `--prices` takes, row by row: a large list is not held twice. Machines stand in the rows of
    /// their prices.
    pub fn write_csv(&self, to: impl std::io::Write) -> std::io::Result<()> {
        let known: BTreeMap<(&str, &str), &Instance> = self
            .instances
            .iter()
            .map(|i| ((i.provider.as_str(), i.instance_type.as_str()), i))
            .collect();
        let mut out = csv::Writer::from_writer(to);
        out.write_record([
            "provider",
            "instance_type",
            "region",
            "term",
            "currency",
            "usd_per_hour",
            "date",
            "source",
            "basis",
            "vcpus",
            "memory_gib",
            "microarchitecture",
            "accelerator",
            "accelerators",
            "accelerator_memory_gb",
        ])?;
        for quote in &self.quotes {
            let instance = known.get(&(quote.provider.as_str(), quote.instance_type.as_str()));
            let count = instance.filter(|i| i.accelerators > 0).map(|i| i.accelerators.to_string());
            let of_each = instance.and_then(|i| i.accelerator_memory_gb).map(|gb| gb.to_string());
            let memory = instance.and_then(|i| i.memory_gib).map(|gib| gib.to_string());
            out.write_record([
                &quote.provider,
                &quote.instance_type,
                &quote.region,
                &quote.term.to_string(),
                quote.currency,
                &quote.usd_per_hour.to_string(),
                &quote.date,
                &quote.source,
                &quote.basis,
                &instance.map(|i| i.vcpus.to_string()).unwrap_or_default(),
                &memory.unwrap_or_default(),
                &instance.map(|i| i.microarchitectures.join("|")).unwrap_or_default(),
                instance.and_then(|i| i.accelerator.as_deref()).unwrap_or_default(),
                &count.unwrap_or_default(),
                &of_each.unwrap_or_default(),
            ])?;
        }
        out.flush()
    }
}

/// Columns of a list by name, wherever they stand.
struct Columns<'a> {
    name: &'a str,
    header: csv::StringRecord,
}

impl<'a> Columns<'a> {
    fn new(name: &'a str, header: csv::StringRecord) -> Self {
        Self { name, header }
    }

    /// Where a column is.
    fn at(&self, column: &str) -> Result<usize> {
        self.maybe(column).ok_or_else(|| {
            let has: Vec<&str> = self.header.iter().take(12).collect();
            let message = format!("has no column `{column}`; it begins {}", has.join(", "));
            Error::input(self.name, message).remedy("is it a list of the kind that --from names?")
        })
    }

    /// Where a column is, if it is.
    fn maybe(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|name| name.trim() == column)
    }
}

/// The middle one; of an even number the mean of both.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
