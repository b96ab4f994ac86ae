//! Price tables: quotes, each with its source and date, and the machines they are for.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::currency::Currencies;
use crate::error::{Error, Result};
use crate::units::today;

/// Our own dated tables; `docs/prices.md` says how they were made.
const BUILT_IN: [(&str, &str); 5] = [
    ("prices/aws.csv", include_str!("../../prices/aws.csv")),
    ("prices/gcp.csv", include_str!("../../prices/gcp.csv")),
    ("prices/azure.csv", include_str!("../../prices/azure.csv")),
    ("prices/lambda.csv", include_str!("../../prices/lambda.csv")),
    ("prices/runpod.csv", include_str!("../../prices/runpod.csv")),
];
const INSTANCES: (&str, &str) =
    ("prices/instances.csv", include_str!("../../prices/instances.csv"));

/// How a machine is paid for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Term {
    /// By the hour, at any time.
    #[default]
    #[serde(rename = "on-demand")]
    OnDemand,
    /// By the hour, as long as nobody pays more: it can be taken away.
    #[serde(rename = "spot")]
    Spot,
    /// Committed for a year.
    #[serde(rename = "1y")]
    OneYear,
    /// Committed for three years.
    #[serde(rename = "3y")]
    ThreeYears,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::OneYear => "1y",
            Self::ThreeYears => "3y",
        })
    }
}

impl std::str::FromStr for Term {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::OnDemand, Self::Spot, Self::OneYear, Self::ThreeYears]
            .into_iter()
            .find(|term| term.to_string() == text)
            .ok_or_else(|| format!("`{text}` is none of on-demand, spot, 1y, 3y"))
    }
}

/// A type of machine that can be rented.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Instance {
    /// `aws`, `gcp`, `azure`, …
    pub provider: String,
    /// e.g. `c7i.xlarge`.
    pub instance_type: String,
    /// Virtual CPUs; a core on some types and a hardware thread on others.
    pub vcpus: u32,
    /// Virtual CPUs a core, where it is known.
    pub threads_per_core: Option<u32>,
    /// Memory; `None` where it was not read anywhere.
    pub memory_gib: Option<f64>,
    /// Microarchitectures it may run on: clouds mix generations within a type.
    pub microarchitectures: Vec<String>,
    /// Its accelerator, if it has any.
    pub accelerator: Option<String>,
    /// How many it has.
    pub accelerators: u32,
    /// Memory of each.
    pub accelerator_memory_gb: Option<f64>,
}

/// A price, with where and when it was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quote {
    /// `aws`, `gcp`, `azure`, …
    pub provider: String,
    /// e.g. `c7i.xlarge`.
    pub instance_type: String,
    /// The provider's own name for it.
    pub region: String,
    /// How it is paid for.
    pub term: Term,
    /// Always `USD`.
    pub currency: &'static str,
    /// Above 0.
    pub usd_per_hour: f64,
    /// Of the source's snapshot, `YYYY-MM-DD`, or `unknown`.
    pub date: String,
    /// Where it was read.
    pub source: String,
    /// `read`, or how it was derived.
    pub basis: Cow<'static, str>,
}

/// Quotes and the machines they are for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceTable {
    /// In the order of the files.
    pub quotes: Vec<Quote>,
    /// In the order of the files.
    pub instances: Vec<Instance>,
}

/// A row of a price file. A user's own file says what a machine is in the same row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    provider: String,
    instance_type: String,
    region: String,
    term: String,
    currency: String,
    usd_per_hour: String,
    date: String,
    source: String,
    #[serde(default)]
    basis: String,
    #[serde(default)]
    vcpus: Option<u32>,
    #[serde(default)]
    memory_gib: Option<f64>,
    #[serde(default)]
    microarchitecture: Option<String>,
    #[serde(default)]
    accelerator: Option<String>,
    #[serde(default)]
    accelerators: Option<u32>,
    #[serde(default)]
    accelerator_memory_gb: Option<f64>,
}

#[derive(Deserialize)]
struct InstanceRow {
    provider: String,
    instance_type: String,
    vcpus: u32,
    physical_cores: Option<u32>,
    memory_gib: Option<f64>,
    microarchitecture: String,
    accelerator: String,
    accelerators: Option<u32>,
    accelerator_memory_gb: Option<f64>,
}

/// What to do about a row that is no price.
const PRICE_REMEDY: &str =
    "docs/prices.md lists the columns; a price is a number above 0, in USD an hour";

impl PriceRow {
    /// As a quote in USD, and what it says of the machine.
    ///
    /// A price that is missing, negative, zero or no number, a currency without a rate, a day that has not come and an
    /// empty region are errors; `at` names the line.
    fn read(self, at: &str, currencies: &Currencies) -> Result<(Quote, Option<Instance>)> {
        let row = self;
        let wrong = |message: String| Error::input(at, message).remedy(PRICE_REMEDY);
        let of = format!("{} {}", row.provider, row.instance_type);
        let price = row.usd_per_hour.trim();
        if price.is_empty() {
            return Err(wrong(format!("has no price for {of}")));
        }
        let mut usd_per_hour: f64 = price
            .parse()
            .ok()
            .filter(|p: &f64| p.is_finite())
            .ok_or_else(|| wrong(format!("has price `{price}` for {of}")))?;
        if usd_per_hour <= 0.0 {
            return Err(wrong(format!("has price {usd_per_hour} for {of}")));
        }
        let mut basis = if row.basis.is_empty() { "read".to_owned() } else { row.basis };
        if row.currency != "USD" {
            let code = &row.currency;
            let Some(rate) = currencies.get(code) else {
                let remedy = format!("say what one {code} is: --rate {code}=1.08@2026-11-20");
                return Err(Error::input(at, format!("is in {code}, not in USD")).remedy(remedy));
            };
            usd_per_hour *= rate.usd;
            basis = format!("{basis}: {price} {code} at {} USD of {}", rate.usd, rate.date);
        }
        if row.source.trim().is_empty() {
            return Err(wrong(format!("names no source of the price for {of}")));
        }
        match row.date.parse::<jiff::civil::Date>() {
            Ok(day) if day > today() => {
                return Err(wrong(format!("has date {}, which has not come", row.date)));
            }
            Err(_) if row.date != "unknown" => {
                return Err(wrong(format!("has date `{}`; write YYYY-MM-DD or unknown", row.date)));
            }
            _ => {}
        }
        if row.region.trim().is_empty() {
            return Err(wrong(format!("names no region of the price for {of}")));
        }
        if row.memory_gib.is_some_and(|gib| gib <= 0.0 || !gib.is_finite()) {
            return Err(wrong(format!("has memory that {of} cannot have")));
        }
        let term = row.term.parse().map_err(|e: String| wrong(format!("has a term: {e}")))?;
        let machine = row.vcpus.filter(|n| *n > 0).map(|vcpus| Instance {
            provider: row.provider.clone(),
            instance_type: row.instance_type.clone(),
            vcpus,
            threads_per_core: None,
            memory_gib: row.memory_gib,
            microarchitectures: names(&row.microarchitecture.unwrap_or_default()),
            accelerator: row.accelerator.filter(|a| !a.trim().is_empty()),
            accelerators: row.accelerators.unwrap_or(0),
            accelerator_memory_gb: row.accelerator_memory_gb,
        });
        let quote = Quote {
            provider: row.provider,
            instance_type: row.instance_type,
            region: row.region,
            term,
            currency: "USD",
            usd_per_hour,
            date: row.date,
            source: row.source,
            basis: basis.into(),
        };
        Ok((quote, machine))
    }
}

impl PriceTable {
    /// The tables that are part of the program.
    pub fn built_in() -> Result<Self> {
        let mut table = Self::default();
        for row in csv::Reader::from_reader(INSTANCES.1.as_bytes()).deserialize() {
            let row: InstanceRow = row.map_err(|e| Error::internal(INSTANCES.0, e))?;
            table.instances.push(Instance {
                provider: row.provider,
                instance_type: row.instance_type,
                vcpus: row.vcpus,
                threads_per_core: row.physical_cores.filter(|c| *c > 0).map(|c| row.vcpus / c),
                memory_gib: row.memory_gib,
                microarchitectures: names(&row.microarchitecture),
                accelerator: Some(row.accelerator).filter(|a| !a.is_empty()),
                accelerators: row.accelerators.unwrap_or(0),
                accelerator_memory_gb: row.accelerator_memory_gb,
            });
        }
        for (name, text) in BUILT_IN {
            table.add(name, text)?;
        }
        Ok(table)
    }

    /// Adds the prices of a file with the same columns as ours, and `vcpus`, `memory_gib` and
    /// `microarchitecture` for machines of the user's own. A quote for the same machine, region
    /// and term replaces an earlier one.
    ///
    /// A price that is missing, negative, zero or no number is an error that names its line.
    pub fn add(&mut self, name: &str, text: &str) -> Result<()> {
        self.add_with(name, text, &Currencies::new())
    }

    /// The same, for a file that may have prices in other currencies: their rates turn them into USD, and `basis` says
    /// so. A currency without a rate is an error: amounts of two are never mixed.
    pub fn add_with(&mut self, name: &str, text: &str, currencies: &Currencies) -> Result<()> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let (mut fresh, mut machines) = (Vec::new(), BTreeMap::new());
        for (index, row) in reader.deserialize().enumerate() {
            let at = format!("{name}: line {}", index + 2);
            let row: PriceRow = row
                .map_err(|e| Error::input(&at, format!("is no price: {e}")).remedy(PRICE_REMEDY))?;
            let (quote, machine) = row.read(&at, currencies)?;
            if let Some(machine) = machine {
                machines.insert((machine.provider.clone(), machine.instance_type.clone()), machine);
            }
            fresh.push(quote);
        }
        let key =
            |q: &Quote| (q.provider.clone(), q.instance_type.clone(), q.region.clone(), q.term);
        let mut replaced = HashSet::new();
        if let Some(twice) = fresh.iter().find(|quote| !replaced.insert(key(quote))) {
            let Quote { provider, instance_type, region, term, .. } = twice;
            let message = format!("has two prices for {provider} {instance_type} {region} {term}");
            return Err(Error::input(name, message).remedy("keep the one that holds"));
        }
        if fresh.is_empty() {
            return Err(Error::input(name, "holds no prices").remedy(PRICE_REMEDY));
        }
        self.instances.retain(|old| {
            match machines.get_mut(&(old.provider.clone(), old.instance_type.clone())) {
                None => true,
                Some(fresh) => {
                    fresh.fill(old);
                    false
                }
            }
        });
        self.instances.extend(machines.into_values());
        // In the place of what it replaces: the first region of a type stays the first.
        let mut places: HashMap<_, usize> =
            self.quotes.iter().enumerate().map(|(at, quote)| (key(quote), at)).collect();
        for quote in fresh {
            match places.remove(&key(&quote)) {
                Some(at) => self.quotes[at] = quote,
                None => self.quotes.push(quote),
            }
        }
        Ok(())
    }

    /// The machine that a quote is for; searches: a `Catalogue` looks many up. `None` when no table says what it is.
    pub fn instance(&self, quote: &Quote) -> Option<&Instance> {
        self.instances
            .iter()
            .find(|i| i.provider == quote.provider && i.instance_type == quote.instance_type)
    }
}

impl Instance {
    /// Takes from what was known before what a list does not say: most have no microarchitecture.
    fn fill(&mut self, before: &Self) {
        self.threads_per_core = self.threads_per_core.or(before.threads_per_core);
        self.memory_gib = self.memory_gib.or(before.memory_gib);
        if self.microarchitectures.is_empty() {
            self.microarchitectures.clone_from(&before.microarchitectures);
        }
        if self.accelerator.is_none() {
            self.accelerator.clone_from(&before.accelerator);
        }
        if self.accelerator == before.accelerator {
            self.accelerators = self.accelerators.max(before.accelerators);
            self.accelerator_memory_gb =
                self.accelerator_memory_gb.or(before.accelerator_memory_gb);
        }
    }
}

/// `A|B`: one or the other.
fn names(text: &str) -> Vec<String> {
    text.split('|').map(str::trim).filter(|n| !n.is_empty()).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "provider,instance_type,region,term,currency,usd_per_hour,date,source,basis,vcpus\n";

    #[test]
    fn our_own_table_is_large_enough_and_whole() {
        let table = PriceTable::built_in().unwrap();
        let mut types: Vec<_> =
            table.quotes.iter().map(|q| (&q.provider, &q.instance_type)).collect();
        types.sort();
        types.dedup();
        assert!(types.len() >= 100, "{}", types.len());
        for provider in ["aws", "gcp", "azure"] {
            let count = types.iter().filter(|(p, _)| *p == provider).count();
            assert!(count >= 20, "{provider}: {count}");
        }
        for quote in &table.quotes {
            assert!(table.instance(quote).is_some(), "{quote:?}");
            assert!(!quote.source.is_empty() && !quote.date.is_empty(), "{quote:?}");
            // Nothing in the table is cheaper than a cent or dearer than 200 $ an hour.
            assert!((0.01..200.0).contains(&quote.usd_per_hour), "{quote:?}");
        }
        let dearer = |a: Term, b: Term| {
            table.quotes.iter().filter(|q| q.term == a).all(|q| {
                let other = table.quotes.iter().find(|o| {
                    (&o.provider, &o.instance_type, &o.region, o.term)
                        == (&q.provider, &q.instance_type, &q.region, b)
                });
                other.is_none_or(|o| o.usd_per_hour <= q.usd_per_hour)
            })
        };
        assert!(dearer(Term::OnDemand, Term::Spot) && dearer(Term::OneYear, Term::ThreeYears));
    }

    #[test]
    fn a_price_that_is_none_is_an_error_with_its_line() {
        let add = |row: &str| {
            let text =
                format!("{HEADER}me,big,here,on-demand,USD,1.5,2026-01-02,quote,,4\n{row}\n");
            PriceTable::default().add("my.csv", &text)
        };
        assert!(add("me,small,here,spot,USD,0.5,2026-01-02,quote,,2").is_ok());
        for (row, says) in [
            ("me,small,here,spot,USD,-0.5,2026-01-02,quote,,2", "price -0.5"),
            ("me,small,here,spot,USD,0,2026-01-02,quote,,2", "price 0"),
            ("me,small,here,spot,USD,,2026-01-02,quote,,2", "no price for me small"),
            ("me,small,here,spot,USD,cheap,2026-01-02,quote,,2", "`cheap`"),
            ("me,small,here,spot,USD,NaN,2026-01-02,quote,,2", "`NaN`"),
            ("me,small,here,spot,EUR,1,2026-01-02,quote,,2", "EUR"),
            ("me,small,here,monthly,USD,1,2026-01-02,quote,,2", "`monthly`"),
            ("me,small,here,spot,USD,1,last week,quote,,2", "last week"),
            ("me,small,here,spot,USD,1,2999-01-02,quote,,2", "2999-01-02"),
            ("me,small,,spot,USD,1,2026-01-02,quote,,2", "no region"),
            ("me,small,here,spot,USD,1,2026-01-02,,,2", "no source"),
            ("me,small,here", "is no price"),
        ] {
            let error = add(row).unwrap_err().to_string();
            assert!(error.contains("my.csv: line 3") && error.contains(says), "{row}: {error}");
        }
    }

    #[test]
    fn a_list_that_says_less_of_a_machine_takes_nothing_from_it() {
        let mut table = PriceTable::built_in().unwrap();
        let row = "aws,g4dn.xlarge,us-east-1,on-demand,USD,0.5,2026-11-01,a list,,4\n";
        table.add("my.csv", &format!("{HEADER}{row}")).unwrap();
        let quote = table.quotes.iter().find(|q| q.source == "a list").unwrap();
        let machine = table.instance(quote).unwrap();
        assert_eq!(machine.accelerator.as_deref(), Some("NVIDIA T4"));
        assert_eq!((machine.accelerators, machine.memory_gib), (1, Some(16.0)));
        assert!(!machine.microarchitectures.is_empty());
    }

    #[test]
    fn another_currency_needs_its_rate() {
        let rate = crate::economics::Rate { usd: 1.25, date: "2026-11-20".to_owned() };
        let rates = Currencies::from([("EUR".to_owned(), rate)]);
        let text = format!("{HEADER}me,big,here,on-demand,EUR,2,2026-01-02,quote,,4\n");
        let mut table = PriceTable::default();
        table.add_with("my.csv", &text, &rates).unwrap();
        let quote = &table.quotes[0];
        assert!((quote.usd_per_hour - 2.5).abs() < 1e-12);
        assert_eq!(quote.basis, "read: 2 EUR at 1.25 USD of 2026-11-20");
        let error = PriceTable::default().add_with("my.csv", &text.replace("EUR", "CHF"), &rates);
        assert!(error.unwrap_err().to_string().contains("CHF"));
    }

    #[test]
    fn a_users_price_replaces_ours() {
        let mut table = PriceTable::built_in().unwrap();
        let before = table.quotes.len();
        let row = "aws,c8a.xlarge,us-east-1,on-demand,USD,0.1,2026-11-01,contract,,\n";
        table.add("my.csv", &format!("{HEADER}{row}")).unwrap();
        assert_eq!(table.quotes.len(), before);
        let own = table.quotes.iter().find(|q| q.source == "contract").unwrap();
        assert_eq!(table.instance(own).unwrap().vcpus, 4);
        // It stands where ours stood: the first region stays the first.
        let catalogue = crate::economics::Catalogue::of(&table);
        let kind = catalogue.kind("c8a.xlarge").unwrap();
        let first = kind.quote(&crate::economics::Place::First, Term::OnDemand).unwrap();
        assert_eq!((first.source.as_str(), first.region.as_str()), ("contract", "us-east-1"));
    }
}
