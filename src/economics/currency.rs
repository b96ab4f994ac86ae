//! Other currencies: a rate and its day, given by the user; amounts are kept in USD throughout.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a unit of a currency is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// USD for one unit.
    pub usd: f64,
    /// The day of the rate, `YYYY-MM-DD`.
    pub date: String,
}

/// Rates by the currency's code, e.g. `EUR`.
pub type Currencies = BTreeMap<String, Rate>;

/// `EUR=1.08@2026-11-20`: a euro is 1.08 USD on that day.
///
/// Errors say the form.
pub fn parse_currency(text: &str) -> Result<(String, Rate)> {
    let refuse = || {
        Error::input(format!("--rate {text}"), "is no rate of exchange")
            .remedy("write what one unit is in USD, and the day: EUR=1.08@2026-11-20")
    };
    let (code, rest) = text.split_once('=').ok_or_else(refuse)?;
    let (usd, date) = rest.split_once('@').ok_or_else(refuse)?;
    let rate =
        Rate { usd: usd.trim().parse().map_err(|_| refuse())?, date: date.trim().to_owned() };
    Ok((code.trim().to_owned(), rate))
}

/// Errors name what cannot be: a code that is none, a rate of 0 or below, a day that is none or has not come.
pub fn check_currencies(currencies: &Currencies, today: jiff::civil::Date) -> Result<()> {
    for (code, rate) in currencies {
        let refuse = |why: &str| {
            Err(Error::input(format!("the rate of {code}"), why)
                .remedy("write what one unit is in USD, and the day: EUR=1.08@2026-11-20"))
        };
        if code.len() != 3 || !code.chars().all(|c| c.is_ascii_uppercase()) {
            return refuse("is of no currency: a code has three letters");
        }
        if code == "USD" && (rate.usd - 1.0).abs() > 1e-12 {
            return refuse("is not 1");
        }
        if !(rate.usd.is_finite() && rate.usd > 0.0) {
            return refuse("must be above 0");
        }
        match rate.date.parse::<jiff::civil::Date>() {
            Err(_) => return refuse("has no day"),
            Ok(day) if day > today => return refuse("is of a day that has not come"),
            Ok(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_day() {
        let today = jiff::civil::date(2026, 11, 28);
        let check = |text: &str| {
            let (code, rate) = parse_currency(text)?;
            check_currencies(&BTreeMap::from([(code, rate)]), today)
        };
        assert!(check("EUR=1.08@2026-11-20").is_ok() && check("USD=1@2026-11-20").is_ok());
        for wrong in [
            "EUR",
            "EUR=1.08",
            "EUR=0@2026-11-20",
            "EUR=-1@2026-11-20",
            "EUR=1@2027-01-01",
            "euro=1@2026-11-20",
            "EUR=NaN@2026-11-20",
            "USD=2@2026-11-20",
            "EUR=1@soon",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
