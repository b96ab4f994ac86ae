//! A price table by type of machine: what a grid of cases and types looks up without searching.

use std::collections::HashMap;

use super::price::{Instance, PriceTable, Quote, Term};
use super::region::Place;
use crate::error::{Error, Result};

/// A type of machine with all its prices.
#[derive(Debug, Clone)]
pub struct Kind<'a> {
    /// Who rents it out.
    pub provider: &'a str,
    /// e.g. `c7i.xlarge`.
    pub name: &'a str,
    /// What it is; `None` where no table says.
    pub instance: Option<&'a Instance>,
    /// In the order of the table.
    pub quotes: Vec<&'a Quote>,
}

/// All types of a table.
#[derive(Debug, Clone)]
pub struct Catalogue<'a> {
    /// In the order of the table's quotes.
    pub kinds: Vec<Kind<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Kind<'a> {
    /// The quote for a way to pay at a place.
    pub fn quote(&self, place: &Place, term: Term) -> Option<&'a Quote> {
        let mut of_term = self.quotes.iter().copied().filter(|q| q.term == term);
        match place {
            Place::First => {
                let first = &self.quotes.first()?.region;
                of_term.find(|q| q.region == *first)
            }
            Place::Region(name) => of_term.find(|q| q.region == *name),
            Place::Part(part) => of_term
                .filter(|q| part.has(&q.region))
                .min_by(|a, b| a.usd_per_hour.total_cmp(&b.usd_per_hour)),
        }
    }

    /// The price for a way to pay in a region.
    pub fn price(&self, region: &str, term: Term) -> Option<f64> {
        let quote = self.quotes.iter().find(|q| q.region == region && q.term == term)?;
        Some(quote.usd_per_hour)
    }
}

impl<'a> Catalogue<'a> {
    /// Sorts a table by type.
    pub fn of(table: &'a PriceTable) -> Self {
        let machines: HashMap<(&str, &str), &Instance> = table
            .instances
            .iter()
            .map(|i| ((i.provider.as_str(), i.instance_type.as_str()), i))
            .collect();
        let mut catalogue = Self { kinds: Vec::new(), by_name: HashMap::new() };
        for quote in &table.quotes {
            let (provider, name) = (quote.provider.as_str(), quote.instance_type.as_str());
            let Catalogue { kinds, by_name } = &mut catalogue;
            let places = by_name.entry(name).or_default();
            let found = places.iter().copied().find(|at| kinds[*at].provider == provider);
            let at = found.unwrap_or_else(|| {
                let instance = machines.get(&(provider, name)).copied();
                kinds.push(Kind { provider, name, instance, quotes: Vec::new() });
                places.push(kinds.len() - 1);
                kinds.len() - 1
            });
            kinds[at].quotes.push(quote);
        }
        catalogue
    }

    /// The type of that name, or of `PROVIDER/NAME` where several providers have it: of a bare name the first.
    pub fn kind(&self, name: &str) -> Option<&Kind<'a>> {
        let bare = || Some(&self.kinds[*self.by_name.get(name)?.first()?]);
        bare().or_else(|| {
            let (provider, name) = name.split_once('/')?;
            self.kind_of(provider, name)
        })
    }

    /// A provider's type.
    pub fn kind_of(&self, provider: &str, name: &str) -> Option<&Kind<'a>> {
        let places = self.by_name.get(name)?;
        let at = places.iter().find(|at| self.kinds[**at].provider == provider)?;
        Some(&self.kinds[*at])
    }

    /// Providers that have a type of that name.
    pub fn providers(&self, name: &str) -> Vec<&'a str> {
        let places = self.by_name.get(name);
        places.into_iter().flatten().map(|at| self.kinds[*at].provider).collect()
    }

    /// Whether any price is for the place at all.
    ///
    /// An error that names some of the regions that there are.
    pub fn check(&self, place: &Place) -> Result<()> {
        let quotes = || self.kinds.iter().flat_map(|kind| &kind.quotes);
        let is_there = match place {
            Place::First => true,
            Place::Region(name) => quotes().any(|q| q.region == *name),
            Place::Part(part) => quotes().any(|q| part.has(&q.region)),
        };
        if is_there {
            return Ok(());
        }
        let mut known: Vec<&str> = quotes().map(|q| q.region.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        known.truncate(12);
        Err(Error::input("--region", format!("no price is known for {}", place.words()))
            .remedy(format!("known are {}; or eu, us, asia", known.join(", "))))
    }
}
