//! The currency that amounts are printed in.

use serde::Serialize;

use crate::economics::{Currencies, Rate};
use crate::error::{Error, Result};

/// A currency, and what it is in USD.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Shown {
    code: String,
    /// USD for one unit.
    usd: f64,
    /// The day of the rate; `null` for USD.
    date: Option<String>,
}

impl Shown {
    /// The currency of that code. An error where its rate is not given.
    pub(super) fn of(code: &str, currencies: &Currencies) -> Result<Self> {
        if code == "USD" {
            return Ok(Self { code: code.to_owned(), usd: 1.0, date: None });
        }
        let Some(Rate { usd, date }) = currencies.get(code) else {
            return Err(Error::input(format!("--currency {code}"), "has no rate").remedy(format!(
                "say what one {code} is in USD, and the day: --rate {code}=1.08@2026-11-20"
            )));
        };
        Ok(Self { code: code.to_owned(), usd: *usd, date: Some(date.clone()) })
    }

    /// Its code.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// USD in it.
    pub(super) fn amount(&self, usd: f64) -> f64 {
        usd / self.usd
    }

    /// `$/1M`, `EUR/1M`.
    pub(super) fn unit(&self, per: &str) -> String {
        format!("{}/{per}", if self.code == "USD" { "$" } else { &self.code })
    }

    /// `$12.30`, `EUR 12.30`.
    pub(super) fn words(&self, usd: f64) -> String {
        let amount = self.amount(usd);
        if self.code == "USD" {
            format!("${amount:.2}")
        } else {
            format!("{} {amount:.2}", self.code)
        }
    }

    /// What it was reckoned by; `None` for USD.
    pub(super) fn note(&self) -> Option<String> {
        let date = self.date.as_ref()?;
        Some(format!("amounts in {}: one is {} USD, as given for {date}", self.code, self.usd))
    }
}
