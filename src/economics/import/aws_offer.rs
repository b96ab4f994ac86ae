//! AWS's price list of a region, `offers/v1.0/aws/AmazonEC2/current/REGION/index.csv`: five lines about the list, a
//! header, and several gigabytes of rows, of which a thousandth are what a plain Linux machine costs.

use std::io::Read;

use super::{About, Columns, Imported, PriceSource};
use crate::economics::price::{Instance, Term};
use crate::error::{Error, Result};
use crate::units::today;

/// Lines before the header.
const PREAMBLE: usize = 5;

/// The importer.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsOffer;

/// Where the columns are that decide.
struct At {
    term: usize,
    unit: usize,
    price: usize,
    currency: usize,
    length: usize,
    purchase: usize,
    class: usize,
    kind: usize,
    region: usize,
    location_type: usize,
    system: usize,
    tenancy: usize,
    software: usize,
    capacity: usize,
    vcpus: usize,
    memory: usize,
}

impl At {
    fn find(columns: &Columns<'_>) -> Result<Self> {
        Ok(Self {
            term: columns.at("TermType")?,
            unit: columns.at("Unit")?,
            price: columns.at("PricePerUnit")?,
            currency: columns.at("Currency")?,
            length: columns.at("LeaseContractLength")?,
            purchase: columns.at("PurchaseOption")?,
            class: columns.at("OfferingClass")?,
            kind: columns.at("Instance Type")?,
            region: columns.at("Region Code")?,
            location_type: columns.at("Location Type")?,
            system: columns.at("Operating System")?,
            tenancy: columns.at("Tenancy")?,
            software: columns.at("Pre Installed S/W")?,
            capacity: columns.at("CapacityStatus")?,
            vcpus: columns.at("vCPU")?,
            memory: columns.at("Memory")?,
        })
    }

    /// How a row is paid for; why it is none of ours otherwise.
    fn term(&self, text: &impl Fn(usize) -> String) -> std::result::Result<Term, &'static str> {
        if text(self.kind).is_empty() {
            return Err("is no instance");
        }
        for (column, wanted, why) in [
            (self.location_type, "AWS Region", "is not in a region proper"),
            (self.system, "Linux", "is not plain Linux"),
            (self.tenancy, "Shared", "is not on shared machines"),
            (self.software, "NA", "has software of its own"),
            (self.capacity, "Used", "is of a capacity reservation"),
            (self.unit, "Hrs", "is not by the hour"),
        ] {
            if text(column) != wanted {
                return Err(why);
            }
        }
        match (text(self.term).as_str(), text(self.length).as_str()) {
            ("OnDemand", _) => Ok(Term::OnDemand),
            ("Reserved", length) => {
                if text(self.purchase) != "No Upfront" || text(self.class) != "standard" {
                    return Err("is paid upfront, or convertible");
                }
                match length {
                    "1yr" => Ok(Term::OneYear),
                    "3yr" => Ok(Term::ThreeYears),
                    _ => Err("is of an unknown term"),
                }
            }
            _ => Err("is of an unknown term"),
        }
    }
}

impl PriceSource for AwsOffer {
    fn name(&self) -> &'static str {
        "aws-offer"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
        let wrong = |line: u64, what: String| {
            Error::input(format!("{}: line {line}", about.source), what)
                .remedy("fetch the list again; it is AWS's index.csv of a region")
        };
        let mut row = csv::StringRecord::new();
        let mut about = about.clone();
        for line in 1..=PREAMBLE as u64 {
            if !reader.read_record(&mut row).map_err(|e| wrong(line, e.to_string()))? {
                return Err(wrong(line, "ends before its header".to_owned()));
            }
            // The list's own date wins: `2025-09-12T22:53:08Z`.
            if row.get(0) == Some("Publication Date")
                && let Some(text) = row.get(1)
            {
                let day = text.get(..10).and_then(|day| day.parse::<jiff::civil::Date>().ok());
                let day = day.filter(|day| *day <= today()).ok_or_else(|| {
                    wrong(line, format!("has date `{text}`, which is none or has not come"))
                })?;
                about.date = day.to_string();
            }
        }
        if !reader.read_record(&mut row).map_err(|e| wrong(6, e.to_string()))? {
            return Err(wrong(6, "ends before its header".to_owned()));
        }
        let columns = Columns::new(&about.source, row.clone());
        let at = At::find(&columns)?;
        let mut known = std::collections::HashSet::new();
        let mut prices = std::collections::HashMap::new();
        loop {
            let line = reader.position().line();
            if !reader.read_record(&mut row).map_err(|e| wrong(line, e.to_string()))? {
                return Ok(());
            }
            into.rows += 1;
            if row.len() != columns.header.len() {
                let message =
                    format!("has {} columns of {}: cut off?", row.len(), columns.header.len());
                return Err(wrong(line, message));
            }
            let text = |column: usize| row.get(column).unwrap_or_default().trim().to_owned();
            let term = match at.term(&text) {
                Ok(term) => term,
                Err(why) => {
                    into.leave_out(why);
                    continue;
                }
            };
            let (price, currency) = (text(at.price), text(at.currency));
            let price: f64 = match price.parse() {
                Ok(price) if f64::is_finite(price) && price >= 0.0 => price,
                _ => return Err(wrong(line, format!("has price `{price}`"))),
            };
            if currency != "USD" {
                return Err(wrong(line, format!("is in {currency}, not in USD")));
            }
            if price <= 0.0 {
                // Rows of 0 are what a capacity block or a reservation has paid for already.
                into.leave_out("costs nothing by itself");
                continue;
            }
            let (kind, region) = (text(at.kind), text(at.region));
            if region.is_empty() {
                return Err(wrong(line, format!("names no region of {kind}")));
            }
            match prices.insert((kind.clone(), region.clone(), term), price) {
                Some(other) if (other - price).abs() > 1e-12 => {
                    let message =
                        format!("has {price} for {kind} {term}, and {other} stands above");
                    return Err(wrong(line, message));
                }
                Some(_) => {
                    into.leave_out("stands there twice");
                    continue;
                }
                None => {}
            }
            if known.insert(kind.clone())
                && let Ok(vcpus) = text(at.vcpus).parse::<u32>()
            {
                let memory = text(at.memory).replace(',', "");
                let memory_gib = memory.strip_suffix("GiB").and_then(|gib| gib.trim().parse().ok());
                into.instances.push(Instance {
                    provider: about.provider.clone(),
                    instance_type: kind.clone(),
                    vcpus,
                    memory_gib,
                    ..Instance::default()
                });
            }
            into.quote(&about, (&kind, &region), (term, price), "read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\"SKU\",\"TermType\",\"Unit\",\"PricePerUnit\",\"Currency\",\"LeaseContractLength\",\"PurchaseOption\",\"OfferingClass\",\"Location Type\",\"Instance Type\",\"vCPU\",\"Memory\",\"Tenancy\",\"Operating System\",\"CapacityStatus\",\"Pre Installed S/W\",\"Region Code\"\n";
    const PREAMBLE: &str = "\"FormatVersion\",\"v1.0\"\n\"Disclaimer\",\"For information, only\"\n\"Publication Date\",\"2026-09-12T22:53:08Z\"\n\"Version\",\"1\"\n\"OfferCode\",\"AmazonEC2\"\n";

    fn row(tenancy: &str, system: &str, software: &str, capacity: &str, price: &str) -> String {
        format!(
            "\"S\",\"OnDemand\",\"Hrs\",\"{price}\",\"USD\",,,,\"AWS Region\",\"c5.xlarge\",\"4\",\"8 GiB\",\"{tenancy}\",\"{system}\",\"{capacity}\",\"{software}\",\"us-east-1\"\n"
        )
    }

    fn import(rows: &str) -> Result<Imported> {
        let text = format!("{PREAMBLE}{HEADER}{rows}");
        let about = About {
            source: "index.csv".to_owned(),
            provider: "aws".to_owned(),
            date: "unknown".to_owned(),
        };
        let mut into = Imported::default();
        AwsOffer.read(&mut text.as_bytes(), &about, &mut into)?;
        Ok(into)
    }

    #[test]
    fn of_a_type_s_many_prices_one_is_the_plain_machine_s() {
        // Reading the last row instead gives 0.18 for what costs 0.17.
        let rows = [
            row("Shared", "Linux", "NA", "Used", "0.1700000000"),
            row("Dedicated", "Linux", "NA", "Used", "0.1800000000"),
            row("Shared", "Windows", "NA", "Used", "0.3540000000"),
            row("Shared", "Linux", "SQL Std", "Used", "0.6500000000"),
            row("Shared", "Linux", "NA", "UnusedCapacityReservation", "0.1700000000"),
            row("Shared", "Linux", "NA", "Used", "0.0000000000"),
            "\"S\",\"Reserved\",\"Quantity\",\"2750\",\"USD\",\"3yr\",\"Partial Upfront\",\"standard\",\"AWS Region\",\"c5.xlarge\",\"4\",\"8 GiB\",\"Shared\",\"Linux\",\"Used\",\"NA\",\"us-east-1\"\n".to_owned(),
            "\"S\",\"Reserved\",\"Hrs\",\"0.0720\",\"USD\",\"3yr\",\"No Upfront\",\"standard\",\"AWS Region\",\"c5.xlarge\",\"4\",\"8 GiB\",\"Shared\",\"Linux\",\"Used\",\"NA\",\"us-east-1\"\n".to_owned(),
            "\"S\",\"OnDemand\",\"GB-Mo\",\"0.08\",\"USD\",,,,\"AWS Region\",,,,,,,,\"us-east-1\"\n".to_owned(),
        ];
        let found = import(&rows.concat()).unwrap();
        let seen: Vec<(Term, f64)> =
            found.quotes.iter().map(|q| (q.term, q.usd_per_hour)).collect();
        assert_eq!(seen, [(Term::OnDemand, 0.17), (Term::ThreeYears, 0.072)]);
        assert_eq!((found.quotes[0].date.as_str(), found.rows), ("2026-09-12", 9));
        let machine = &found.instances[0];
        assert_eq!((machine.vcpus, machine.memory_gib), (4, Some(8.0)));
        assert_eq!(found.left_out.values().sum::<u64>(), 7);
    }

    #[test]
    fn what_does_not_fit_names_its_line() {
        let error = import(&row("Shared", "Linux", "NA", "Used", "much")).unwrap_err().to_string();
        assert!(error.contains("line 7") && error.contains("`much`"), "{error}");
        let about =
            About { source: "x.csv".to_owned(), provider: "aws".to_owned(), date: String::new() };
        let mut short = "a,b\n".as_bytes();
        let error = AwsOffer.read(&mut short, &about, &mut Imported::default()).unwrap_err();
        assert!(error.to_string().contains("ends before its header"), "{error}");
    }
}
