//! Records and stated options as ways to serve.

use super::business::Stated;
use super::choose::{Choice, Priced, choose};
use super::evaluate::{Capacity, Offer, PriceOf};
use super::fleet::Basis;
use super::price::PriceTable;
use crate::error::{Error, Result};
use crate::store::Record;

/// A latency that must be kept to.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// e.g. `p99`.
    pub percentile: String,
    /// In ms.
    pub ms: f64,
}

/// `p99<50ms`.
///
/// Errors say what forms there are.
pub fn parse_slo(text: &str) -> Result<Slo> {
    let refuse = || {
        Error::input(format!("--slo {text}"), "is no bound of a latency")
            .remedy("write a percentile and milliseconds: p99<50ms")
    };
    let (percentile, bound) = text.split_once('<').ok_or_else(refuse)?;
    let bound = bound.trim_start_matches('=').trim();
    let ms: f64 = bound.strip_suffix("ms").unwrap_or(bound).trim().parse().map_err(|_| refuse())?;
    let percentile = percentile.trim().to_owned();
    let share: f64 =
        percentile.strip_prefix('p').and_then(|p| p.parse().ok()).ok_or_else(refuse)?;
    if !(ms.is_finite() && ms > 0.0 && share > 0.0 && share < 100.0) {
        return Err(refuse());
    }
    Ok(Slo { percentile, ms })
}

/// Ways to serve, and what was left out and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offers {
    /// Every one, those that cannot be chosen too.
    pub all: Vec<Offer>,
    /// How prices came about, and what could not be priced.
    pub notes: Vec<String>,
}

/// Every record at every price, each with why it cannot be chosen, if so.
///
/// Capacity is what a closed or offline load was answered (`saturated`), or the rate of an open load that met `slo`
/// (`slo`). An error where nothing can be priced.
pub fn offers(
    records: &[Record],
    table: &PriceTable,
    choice: &Choice,
    slo: Option<&Slo>,
) -> Result<Offers> {
    let mut offers = Offers::default();
    let mut first_error = None;
    for record in records {
        let name = format!("case {}", record.case.id);
        if record.provenance == "mock" && choice.usd_per_hour.is_none() {
            let error = Error::input(&name, "holds figures of the scripted mock engine")
                .remedy("price a run on a real engine, or give --usd-per-hour");
            first_error.get_or_insert(error);
            continue;
        }
        let is_open = record.case.scenario.kind() == "open";
        if is_open && slo.is_none() {
            let note =
                "not priced: open loads, whose rate says what a machine can serve only with --slo";
            push(&mut offers.notes, note.to_owned());
            continue;
        }
        let Some(capacity) = record.throughput_per_s.as_ref().filter(|t| t.value > 0.0) else {
            push(&mut offers.notes, format!("not priced: {name} has no throughput"));
            continue;
        };
        match choose(record, table, choice) {
            Err(error) => {
                push(&mut offers.notes, format!("not priced: {error}"));
                first_error.get_or_insert(error);
            }
            Ok(all) => {
                for priced in all {
                    push(&mut offers.notes, priced.note.clone());
                    offers.all.push(measured(
                        record,
                        &priced,
                        (capacity.value, capacity.low, capacity.high),
                        slo,
                    ));
                }
            }
        }
    }
    match first_error {
        Some(error) if offers.all.is_empty() => Err(error),
        _ => Ok(offers),
    }
}

fn push(notes: &mut Vec<String>, note: String) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

fn measured(
    record: &Record,
    priced: &Priced,
    (per_s, low, high): (f64, Option<f64>, Option<f64>),
    slo: Option<&Slo>,
) -> Offer {
    let is_open = record.case.scenario.kind() == "open";
    let percentile = slo.map_or("p99", |slo| slo.percentile.as_str());
    let latency = |of: &str| Some(record.latency_ms.get(of)?.as_ref()?.value);
    // Without a bound the median is what a client would call the latency.
    let (is, ms) = match latency(percentile) {
        Some(ms) if slo.is_some() => (percentile.to_owned(), Some(ms)),
        _ if slo.is_some() => (percentile.to_owned(), None),
        _ => ("p50".to_owned(), latency("p50")),
    };
    let mut excluded = Vec::new();
    if record.engine() != record.case.backend {
        excluded.push("a software adapter says nothing of a GPU".to_owned());
    }
    if !record.verdict.valid {
        excluded.push(format!("INVALID: {}", record.verdict.reasons.join("; ")));
    }
    if record.verdict.meets_quality == Some(false) {
        excluded.push("fails its quality gate".to_owned());
    }
    if let Some(slo) = slo {
        match ms {
            None => excluded.push(format!("too few requests for its {}", slo.percentile)),
            Some(ms) if ms > slo.ms => {
                excluded.push(format!("{} is {ms:.1} ms, above {} ms", slo.percentile, slo.ms));
            }
            Some(_) => {}
        }
    }
    let memory = priced.instance.as_ref().and_then(|i| i.memory_gib);
    if let (Some(gib), Some(peak)) = (memory, record.memory_bytes.peak_rss)
        && peak.0 as f64 > gib * f64::from(1 << 30)
    {
        let needed = peak.0 as f64 / f64::from(1 << 30);
        excluded.push(format!("needs {needed:.1} GiB of memory, and the machine has {gib}"));
    }
    // An open load's rate is what came; the interval is of what was answered, which is the same.
    let basis = if is_open { Basis::Slo } else { Basis::Saturated };
    Offer {
        name: record.case.variant.clone(),
        case_id: Some(record.case.id.clone()),
        backend: Some(record.case.backend.clone()),
        load: Some(format!("{} {}", record.case.batching, record.case.scenario)),
        price: Some(PriceOf {
            provider: priced.quote.provider.clone(),
            instance_type: priced.quote.instance_type.clone(),
            region: priced.quote.region.clone(),
            term: priced.quote.term.to_string(),
            usd_per_hour: priced.usd_per_hour,
            date: priced.quote.date.clone(),
            source: priced.quote.source.clone(),
            provenance: priced.provenance.to_owned(),
        }),
        capacity: Some(Capacity { per_s, low, high, basis }),
        bill: None,
        latency_ms: ms,
        latency_is: Some(is),
        quality: record.deciding().map(|figure| figure.value),
        excluded,
        provenance: record.provenance.clone(),
    }
}

/// A stated option; `requests_per_month` makes a price by the request a bill.
pub fn stated(option: &Stated, requests_per_month: f64) -> Offer {
    let price = option.usd_per_hour.map(|usd_per_hour| PriceOf {
        provider: String::new(),
        instance_type: option.name.clone(),
        region: String::new(),
        term: "stated".to_owned(),
        usd_per_hour,
        date: "unknown".to_owned(),
        source: "stated".to_owned(),
        provenance: "stated".to_owned(),
    });
    let capacity = option.capacity_per_s.map(|per_s| Capacity {
        per_s,
        low: None,
        high: None,
        basis: Basis::Assumed,
    });
    Offer {
        name: option.name.clone(),
        price,
        capacity,
        bill: option.bill(requests_per_month),
        latency_ms: option.latency_ms,
        quality: option.accuracy,
        provenance: "stated".to_owned(),
        ..Offer::default()
    }
}
