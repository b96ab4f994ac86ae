//! `prices show` and `prices diff`: a type's prices side by side, and two tables'.

use std::collections::BTreeMap;

use super::output::{self, Format};
use crate::economics::{Catalogue, PriceTable, Quote, Term};
use crate::error::{Error, Result};
use crate::units::today;

/// Days since a price was read; `None` where nobody knows the day.
pub(super) fn age_in_days(date: &str) -> Option<i32> {
    let day: jiff::civil::Date = date.parse().ok()?;
    Some((today() - day).get_days())
}

/// How old the oldest of some prices is, in words.
pub(super) fn age<'a>(dates: impl Iterator<Item = &'a str>) -> Option<String> {
    let oldest = dates.filter_map(|date| Some((age_in_days(date)?, date))).max()?;
    let (days, date) = oldest;
    Some(match days {
        0 => format!("prices are of today, {date}"),
        1 => format!("prices are of {date} or later: a day old"),
        _ => format!("prices are of {date} or later: up to {days} days old"),
    })
}

/// All that is known of some types.
pub(super) fn show(names: &[String], table: &PriceTable, format: Format) -> Result<()> {
    let catalogue = Catalogue::of(table);
    let header = [
        "provider",
        "instance_type",
        "vcpus",
        "memory_gib",
        "microarchitecture",
        "accelerator",
        "region",
        "term",
        "usd_per_hour",
        "of_on_demand",
        "date",
        "age_days",
        "source",
        "basis",
    ];
    let mut rows: Vec<[String; 14]> = Vec::new();
    for name in names {
        let kind = catalogue.kind(name).ok_or_else(|| {
            let like: Vec<&str> = catalogue
                .kinds
                .iter()
                .map(|kind| kind.name)
                .filter(|known| known.contains(name.as_str()) || name.contains(known))
                .take(8)
                .collect();
            let remedy = match like.as_slice() {
                [] => "`infermark prices list` shows the types that have prices".to_owned(),
                like => format!("did you mean {}?", like.join(", ")),
            };
            Error::input(format!("instance type `{name}`"), "has no known price").remedy(remedy)
        })?;
        let machine = kind.instance;
        for quote in &kind.quotes {
            let by_hour = kind.price(&quote.region, Term::OnDemand);
            let accelerator = machine.and_then(|m| {
                Some(format!("{} × {}", m.accelerators.max(1), m.accelerator.as_ref()?))
            });
            rows.push([
                quote.provider.clone(),
                quote.instance_type.clone(),
                machine.map_or_else(String::new, |m| m.vcpus.to_string()),
                machine.and_then(|m| m.memory_gib).map_or_else(String::new, |g| g.to_string()),
                machine.map_or_else(String::new, |m| m.microarchitectures.join("|")),
                accelerator.unwrap_or_default(),
                quote.region.clone(),
                quote.term.to_string(),
                quote.usd_per_hour.to_string(),
                by_hour.map_or_else(String::new, |usd| format!("{:.3}", quote.usd_per_hour / usd)),
                quote.date.clone(),
                age_in_days(&quote.date).map_or_else(String::new, |days| days.to_string()),
                quote.source.clone(),
                quote.basis.to_string(),
            ]);
        }
    }
    let text = match format {
        Format::Json => output::json(&serde_json::json!({
            "schema_version": crate::store::SCHEMA_VERSION,
            "prices": rows.iter().map(|row| {
                object(&header, row)
            }).collect::<Vec<_>>(),
        }))?,
        Format::Csv => output::csv(&header, rows)?,
        Format::Md => output::markdown(&header, rows),
        Format::Table => {
            let columns = ["price of", "region", "term", "$/h", "of on-demand", "date", "days old"];
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| [1, 6, 7, 8, 9, 10, 11].map(|at| row[at].clone()).to_vec())
                .collect();
            let mut text = output::ruled(&columns.map(String::from), &cells);
            let mut told: Vec<&str> = Vec::new();
            for row in &rows {
                if told.contains(&row[1].as_str()) {
                    continue;
                }
                told.push(&row[1]);
                let facts = [("vCPUs", &row[2]), ("GiB", &row[3]), ("", &row[4]), ("", &row[5])];
                let facts: Vec<String> = facts
                    .iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(unit, value)| format!("{value} {unit}").trim().to_owned())
                    .collect();
                let note = format!("{} {}: {}; {}", row[0], row[1], facts.join(", "), row[12]);
                text.push_str(&output::wrapped("· ", &note));
            }
            text.push_str(&output::wrapped(
                "· ",
                "a commitment is worth it where a machine runs for more than that share of the hours",
            ));
            text
        }
    };
    output::figures(&text)
}

/// A row with numbers as numbers, and `null` for what is not known.
fn object(header: &[&str], row: &[String]) -> serde_json::Map<String, serde_json::Value> {
    let numbers = [
        "vcpus",
        "memory_gib",
        "usd_per_hour",
        "of_on_demand",
        "age_days",
        "before",
        "after",
        "percent",
    ];
    let value = |key: &str, cell: &String| match cell.as_str() {
        "" => serde_json::Value::Null,
        _ if numbers.contains(&key) => cell.parse::<f64>().map_or(cell.clone().into(), Into::into),
        text => text.into(),
    };
    header.iter().zip(row).map(|(key, cell)| ((*key).to_owned(), value(key, cell))).collect()
}

/// What differs between two tables.
pub(super) fn diff(before: &PriceTable, after: &PriceTable, format: Format) -> Result<()> {
    let (old, new) = (keyed(before), keyed(after));
    let header =
        ["change", "provider", "instance_type", "region", "term", "before", "after", "percent"];
    let mut rows: Vec<[String; 8]> = Vec::new();
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut same = 0;
    for key in keys {
        let (provider, kind, region, term) = *key;
        let (a, b) = (old.get(key), new.get(key));
        let (change, percent) = match (a, b) {
            (Some(a), Some(b)) if (a.usd_per_hour - b.usd_per_hour).abs() < 1e-12 => {
                same += 1;
                continue;
            }
            (Some(a), Some(b)) => {
                let percent = (b.usd_per_hour / a.usd_per_hour - 1.0) * 100.0;
                (if percent > 0.0 { "dearer" } else { "cheaper" }, format!("{percent:+.1}"))
            }
            (Some(_), None) => ("gone", String::new()),
            _ => ("new", String::new()),
        };
        let price = |q: Option<&&Quote>| q.map_or_else(String::new, |q| q.usd_per_hour.to_string());
        rows.push([
            change.to_owned(),
            provider.to_owned(),
            kind.to_owned(),
            region.to_owned(),
            term.to_string(),
            price(a),
            price(b),
            percent,
        ]);
    }
    let count = |what: &str| rows.iter().filter(|row| row[0] == what).count();
    let summary = format!(
        "{} dearer, {} cheaper, {} new, {} gone, {same} the same",
        count("dearer"),
        count("cheaper"),
        count("new"),
        count("gone")
    );
    let text = match format {
        Format::Json => output::json(&serde_json::json!({
            "schema_version": crate::store::SCHEMA_VERSION,
            "dearer": count("dearer"), "cheaper": count("cheaper"), "new": count("new"),
            "gone": count("gone"), "same": same,
            "changes": rows.iter().map(|row| {
                object(&header, row)
            }).collect::<Vec<_>>(),
        }))?,
        Format::Csv => output::csv(&header, rows)?,
        Format::Md => output::markdown(&header, rows),
        Format::Table => {
            let cells: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
            let columns = ["", "of", "type", "region", "term", "$/h before", "after", "%"];
            let table = if cells.is_empty() {
                String::new()
            } else {
                output::ruled(&columns.map(String::from), &cells)
            };
            table + &summary + "\n"
        }
    };
    output::figures(&text)?;
    if matches!(format, Format::Csv | Format::Md) {
        output::say(&summary);
    }
    Ok(())
}

fn keyed(table: &PriceTable) -> BTreeMap<(&str, &str, &str, Term), &Quote> {
    let all = table.quotes.iter();
    all.map(|q| ((q.provider.as_str(), q.instance_type.as_str(), q.region.as_str(), q.term), q))
        .collect()
}
