//! Which price belongs to a measurement.
//!
//! A measurement belongs to the hardware it was made on. A machine that is no instance type of the
//! table is priced by the nearest microarchitecture, pro rata by virtual CPU, and says so.

use super::price::{Instance, PriceTable, Quote, Term};
use crate::error::{Error, Result};
use crate::hardware::{UNKNOWN, distance};
use crate::store::Record;

/// What the user asks to be priced by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// Instance types, e.g. `c7i.xlarge`; empty for the machine's own or the nearest.
    pub instances: Vec<String>,
    /// The whole machine's price, instead of any table's.
    pub usd_per_hour: Option<f64>,
    /// A region's own name; the first of each type when left out.
    pub region: Option<String>,
    /// How it is paid for.
    pub term: Term,
}

/// A price for the CPUs that were measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Priced {
    /// The quote; its price is for the whole machine.
    pub quote: Quote,
    /// The machine; `None` for a price that the user gave.
    pub instance: Option<Instance>,
    /// Price an hour of what was measured.
    pub usd_per_hour: f64,
    /// `list price`: the measured machine's own. `pro-rata`: by virtual CPU, of a machine with the
    /// same or the nearest microarchitecture. `assumed`: of a machine that measures otherwise.
    /// `given`: by the user.
    pub provenance: &'static str,
    /// What a reader must know about it.
    pub note: String,
}

/// The prices for a record, one for each instance type asked for.
///
/// An error when the table knows no price for it, never a price of 0.
pub fn choose(record: &Record, table: &PriceTable, choice: &Choice) -> Result<Vec<Priced>> {
    if let Some(usd_per_hour) = choice.usd_per_hour {
        if !(1e-6..=1e6).contains(&usd_per_hour) {
            return Err(Error::input("--usd-per-hour", format!("is {usd_per_hour}"))
                .remedy("give what the measured CPUs cost an hour, above 0"));
        }
        return Ok(vec![given(usd_per_hour)]);
    }
    if !choice.instances.is_empty() {
        return choice.instances.iter().map(|name| named(record, table, choice, name)).collect();
    }
    let own = record.machine.as_ref().and_then(|m| m.instance_type.as_ref());
    if let Some(own) = own.filter(|own| table.instances.iter().any(|i| i.instance_type == **own)) {
        return Ok(vec![named(record, table, choice, own)?]);
    }
    Ok(vec![nearest(record, table, choice)?])
}

fn given(usd_per_hour: f64) -> Priced {
    Priced {
        quote: Quote {
            provider: "own".to_owned(),
            instance_type: "as given".to_owned(),
            region: UNKNOWN.to_owned(),
            term: Term::OnDemand,
            currency: "USD".to_owned(),
            usd_per_hour,
            date: UNKNOWN.to_owned(),
            source: "--usd-per-hour".to_owned(),
            basis: "given".to_owned(),
        },
        instance: None,
        usd_per_hour,
        provenance: "given",
        note: format!("priced at {usd_per_hour} $ an hour for the measured CPUs, as given"),
    }
}

/// The instance type called `name`.
fn named(record: &Record, table: &PriceTable, choice: &Choice, name: &str) -> Result<Priced> {
    let all: Vec<&Quote> = table.quotes.iter().filter(|q| q.instance_type == name).collect();
    if all.is_empty() {
        return Err(Error::input(format!("instance type `{name}`"), "has no known price").remedy(
            "`infermark prices list` shows those that have; or give --usd-per-hour or --prices",
        ));
    }
    // The machine's own region where it is known and priced.
    let own_region = record.machine.as_ref().and_then(|m| m.region.clone());
    let own_region =
        own_region.filter(|_| own_type(record) == Some(name) && choice.region.is_none());
    let here = Choice { region: own_region.clone(), ..choice.clone() };
    let here = own_region.and_then(|_| quote_of(&all, &here));
    let quote = here.or_else(|| quote_of(&all, choice)).ok_or_else(|| {
        let known: Vec<String> = all.iter().map(|q| format!("{} {}", q.region, q.term)).collect();
        let region = choice.region.as_deref().unwrap_or("its first region");
        let message = format!("has no known price for {} in {region}", choice.term);
        Error::input(format!("instance type `{name}`"), message)
            .remedy(format!("known are {}; or give --usd-per-hour", known.join(", ")))
    })?;
    let instance = table.instance(quote).ok_or_else(|| {
        Error::input(format!("instance type `{name}`"), "has a price, but unknown vCPUs")
            .remedy("give `vcpus` in the price file")
    })?;
    if !on_cpu(record) {
        return on_accelerator(record, quote, instance);
    }
    let microarchitecture = microarchitecture(record);
    let same =
        instance.microarchitectures.iter().any(|m| m.eq_ignore_ascii_case(microarchitecture));
    let own = own_type(record) == Some(name);
    let whole = record.effective_cpus.count == instance.vcpus as usize;
    let provenance = match (own && whole, own || same) {
        (true, _) => "list price",
        (false, true) => "pro-rata",
        (false, false) => "assumed",
    };
    let mut priced = share(record, quote, instance, provenance);
    if provenance == "assumed" {
        priced.note = format!(
            "ASSUMED: measured on {microarchitecture}, priced as {name} ({}), which was not measured; {}",
            theirs(instance),
            priced.note
        );
    }
    Ok(priced)
}

/// A case that ran on a GPU: the whole machine is paid for, whatever of its CPUs was used.
fn on_accelerator(record: &Record, quote: &Quote, instance: &Instance) -> Result<Priced> {
    let device = &record.case.backend;
    let Some(accelerator) = &instance.accelerator else {
        return Err(Error::input(
            format!("instance type `{}`", instance.instance_type),
            format!("has no accelerator, and the case ran on {device}"),
        )
        .remedy("name a type with the accelerator that was measured, or give --usd-per-hour"));
    };
    let own = own_type(record) == Some(instance.instance_type.as_str());
    let (provenance, lead) = if own {
        ("list price", String::new())
    } else {
        ("assumed", format!("ASSUMED: ran on {device}, priced as if that were one {accelerator}; "))
    };
    let note = format!("{lead}all of {}", words(quote));
    let (quote, instance) = (quote.clone(), Some(instance.clone()));
    Ok(Priced { usd_per_hour: quote.usd_per_hour, quote, instance, provenance, note })
}

/// Whether a case ran on the CPU. OpenVINO is asked for the CPU only.
fn on_cpu(record: &Record) -> bool {
    [":cpu", ":openvino"].iter().any(|cpu| record.case.backend.ends_with(cpu))
}

fn own_type(record: &Record) -> Option<&str> {
    record.machine.as_ref().and_then(|m| m.instance_type.as_deref())
}

fn theirs(instance: &Instance) -> String {
    match instance.microarchitectures.join(" or ") {
        names if names.is_empty() => "a microarchitecture that is not known".to_owned(),
        names => names,
    }
}

/// The cheapest vCPU among the types without accelerator whose microarchitecture is nearest.
fn nearest(record: &Record, table: &PriceTable, choice: &Choice) -> Result<Priced> {
    let own = microarchitecture(record);
    let remedy = "give --instance, or what the machine costs with --usd-per-hour";
    if record.machine.is_none() {
        let message = "was measured before records said what their machine is";
        return Err(Error::input(format!("case {}", record.case.id), message).remedy(remedy));
    }
    if !on_cpu(record) {
        let message =
            format!("ran on {}, and no price is known for that device", record.case.backend);
        return Err(Error::input(format!("case {}", record.case.id), message).remedy(remedy));
    }
    let mut candidates = Vec::new();
    for instance in table.instances.iter().filter(|i| i.accelerator.is_none()) {
        let near = instance.microarchitectures.iter().filter_map(|m| distance(own, m)).min();
        let quotes: Vec<&Quote> = table
            .quotes
            .iter()
            .filter(|q| {
                q.provider == instance.provider && q.instance_type == instance.instance_type
            })
            .collect();
        if let (Some(near), Some(quote)) = (near, quote_of(&quotes, choice)) {
            let each = quote.usd_per_hour / f64::from(instance.vcpus);
            // A type that may run on several generations is a worse match than one that can't; so
            // is one whose vCPU is half a core where the machine's CPU is a whole one.
            let match_ = (near, instance.microarchitectures.len(), threads(record, instance));
            candidates.push((match_, each, quote, instance));
        }
    }
    let best = candidates
        .into_iter()
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.3.vcpus.cmp(&b.3.vcpus)));
    let ((near, _, threads), _, quote, instance) = best.ok_or_else(|| {
        let region = choice.region.as_deref().unwrap_or("any region");
        let message =
            format!("no instance type near {own} has a known {} price in {region}", choice.term);
        Error::input(format!("the machine ({})", record.hardware_class), message).remedy(remedy)
    })?;
    let mut priced = share(record, quote, instance, "pro-rata");
    let theirs = theirs(instance);
    let how = if near == 0 {
        format!("same microarchitecture, {theirs}")
    } else {
        format!("nearest microarchitecture, {theirs} for {own}")
    };
    let threads = match threads {
        0 => "",
        1 => "; its vCPUs may be half cores",
        _ => "; its vCPUs are other parts of a core than this machine's CPUs",
    };
    priced.note = format!("NOT this machine's own price: {how}{threads}; {}", priced.note);
    Ok(priced)
}

/// How well an instance's vCPUs match the machine's CPUs: 0 the same part of a core, 1 unknown,
/// 2 another part.
fn threads(record: &Record, instance: &Instance) -> u8 {
    let own = record.machine.as_ref().and_then(|m| m.threads_per_core);
    match (own, instance.threads_per_core) {
        (Some(own), Some(theirs)) => {
            if own == theirs as usize {
                0
            } else {
                2
            }
        }
        _ => 1,
    }
}

fn microarchitecture(record: &Record) -> &str {
    record.machine.as_ref().map_or(UNKNOWN, |m| m.microarchitecture.as_str())
}

/// The quote of one type for the term, in the region asked for or the first one.
fn quote_of<'a>(quotes: &[&'a Quote], choice: &Choice) -> Option<&'a Quote> {
    let region = match &choice.region {
        Some(region) => region,
        None => &quotes.first()?.region,
    };
    quotes.iter().find(|q| q.region == *region && q.term == choice.term).copied()
}

/// The price of the CPUs that were measured, of a machine with perhaps more or fewer. A machine
/// with an accelerator is paid for whole.
fn share(record: &Record, quote: &Quote, instance: &Instance, provenance: &'static str) -> Priced {
    let measured = record.effective_cpus.time();
    let vcpus = f64::from(instance.vcpus);
    let (usd_per_hour, part) = match &instance.accelerator {
        Some(accelerator) => (quote.usd_per_hour, format!("all, with an idle {accelerator},")),
        None if (measured - vcpus).abs() < 1e-9 => {
            (quote.usd_per_hour, format!("all {vcpus} vCPUs"))
        }
        None => (
            quote.usd_per_hour * measured / vcpus,
            format!("{measured} of {vcpus} vCPUs, pro rata,"),
        ),
    };
    let note = format!("{part} of {}", words(quote));
    Priced {
        quote: quote.clone(),
        instance: Some(instance.clone()),
        usd_per_hour,
        provenance,
        note,
    }
}

/// A quote with its source and date.
fn words(quote: &Quote) -> String {
    format!(
        "{} {} ({} {}, {} $/h, {}, {})",
        quote.provider,
        quote.instance_type,
        quote.region,
        quote.term,
        quote.usd_per_hour,
        quote.source,
        quote.date
    )
}
