//! Our own columns, from anywhere: checked, and turned into USD where rates are given.

use std::io::Read;

use super::{About, Imported, PriceSource};
use crate::economics::currency::Currencies;
use crate::economics::price::PriceTable;
use crate::error::{Error, Result};

/// The importer.
#[derive(Debug, Clone, Default)]
pub struct OwnColumns {
    /// Rates of other currencies.
    pub rates: Currencies,
}

impl PriceSource for OwnColumns {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|e| {
            Error::input(&about.source, format!("cannot be read: {e}"))
                .remedy("give a CSV file in UTF-8")
        })?;
        let mut table = PriceTable::default();
        table.add_with(&about.source, &text, &self.rates)?;
        into.rows += table.quotes.len() as u64;
        into.quotes.append(&mut table.quotes);
        into.instances.append(&mut table.instances);
        Ok(())
    }
}
