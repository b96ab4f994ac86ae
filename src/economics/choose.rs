//! Which price belongs to a measurement.
//!
//! A measurement belongs to the hardware it was made on. A machine that is no instance type of the
//! table is priced by the nearest microarchitecture, pro rata by virtual CPU, and says so.

use super::catalogue::{Catalogue, Kind};
use super::price::{Instance, Quote, Term};
use super::region::Place;
use crate::error::{Error, Result};
use crate::hardware::{UNKNOWN, distance};
use crate::store::Record;

/// What the user asks to be priced by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// Instance types, e.g. `c7i.xlarge`; empty for the machine's own or the nearest.
    pub instances: Vec<String>,
    /// The whole machine's price, instead of any table's.
    pub given: Option<Quote>,
    /// Where the machine stands.
    pub place: Place,
    /// Price every type that was not measured, too, as if it measured alike.
    pub assume: bool,
}

/// A price for the CPUs that were measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Priced<'a> {
    /// The quote; its price is for the whole machine.
    pub quote: &'a Quote,
    /// The machine; `None` for a price that the user gave.
    pub instance: Option<&'a Instance>,
    /// Price an hour of what was measured.
    pub usd_per_hour: f64,
    /// How many times the CPUs that were measured the machine has; 1 where it is paid for whole.
    pub times: f64,
    /// `list price`: the measured machine's own. `pro-rata`: by virtual CPU, of a machine with the
    /// same or the nearest microarchitecture. `assumed`: of a machine that measures otherwise.
    /// `given`: by the user.
    pub provenance: &'static str,
    why: Why,
}

/// Why this price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Given,
    Named,
    Assumed,
    /// How many generations away it is, and whether its vCPUs are the same part of a core: 0 yes, 1 unknown, 2 no.
    Nearest(usize, u8),
    OwnAccelerator,
    AnyAccelerator,
}

impl Choice {
    /// The price that the user says the measured CPUs have.
    ///
    /// An error for what no machine costs.
    pub fn give(&mut self, usd_per_hour: f64) -> Result<()> {
        if !(1e-6..=1e6).contains(&usd_per_hour) {
            return Err(Error::input("--usd-per-hour", format!("is {usd_per_hour}"))
                .remedy("give what the measured CPUs cost an hour, above 0"));
        }
        self.given = Some(Quote {
            provider: "own".to_owned(),
            instance_type: "as given".to_owned(),
            region: UNKNOWN.to_owned(),
            term: Term::OnDemand,
            currency: "USD",
            usd_per_hour,
            date: UNKNOWN.to_owned(),
            source: "--usd-per-hour".to_owned(),
            basis: "given".into(),
        });
        Ok(())
    }
}

impl Priced<'_> {
    /// What a reader must know about it.
    pub fn note(&self, record: &Record) -> String {
        let quote = self.quote;
        let all = || match (self.instance, &self.instance.and_then(|i| i.accelerator.clone())) {
            (_, Some(accelerator)) => {
                format!("all, with an idle {accelerator}, of {}", words(quote))
            }
            (Some(instance), None) if (self.times - 1.0).abs() < 1e-9 => {
                format!("all {} vCPUs of {}", instance.vcpus, words(quote))
            }
            (Some(instance), None) => format!(
                "{} of {} vCPUs, pro rata, of {}",
                record.effective_cpus.time(),
                instance.vcpus,
                words(quote)
            ),
            (None, None) => words(quote),
        };
        let own = microarchitecture(record);
        let theirs = self.instance.map(theirs).unwrap_or_default();
        match self.why {
            Why::Given => format!(
                "priced at {} $ an hour for the measured CPUs, as given",
                quote.usd_per_hour
            ),
            Why::Named => all(),
            Why::Assumed => format!(
                "ASSUMED: measured on {own}, priced as {} ({theirs}), which was not measured; {}",
                quote.instance_type,
                all()
            ),
            Why::Nearest(near, threads) => {
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
                format!("NOT this machine's own price: {how}{threads}; {}", all())
            }
            Why::OwnAccelerator => format!("all of {}", words(quote)),
            Why::AnyAccelerator => format!(
                "ASSUMED: ran on {}, priced as if that were one {}; all of {}",
                record.case.backend,
                self.instance.and_then(|i| i.accelerator.as_deref()).unwrap_or(UNKNOWN),
                words(quote)
            ),
        }
    }
}

/// The prices for a record: one for each instance type asked for, or the machine's own or nearest one, and, where
/// that is asked for, all others as assumed ones behind it.
///
/// An error when the table knows no price for it, never a price of 0.
pub fn choose<'a>(
    record: &Record,
    catalogue: &Catalogue<'a>,
    choice: &'a Choice,
    term: Term,
) -> Result<Vec<Priced<'a>>> {
    if let Some(quote) = &choice.given {
        let usd_per_hour = quote.usd_per_hour;
        let (provenance, why) = ("given", Why::Given);
        return Ok(vec![Priced {
            quote,
            instance: None,
            usd_per_hour,
            times: 1.0,
            provenance,
            why,
        }]);
    }
    if !choice.instances.is_empty() {
        let all =
            choice.instances.iter().map(|name| named(record, catalogue, (choice, term), name));
        return all.collect();
    }
    let own =
        own_type(record).filter(|own| catalogue.kind(own).is_some_and(|k| k.instance.is_some()));
    let first = match own {
        Some(own) => named(record, catalogue, (choice, term), own),
        None => nearest(record, catalogue, (choice, term)),
    };
    if !choice.assume {
        return Ok(vec![first?]);
    }
    let mut all: Vec<Priced<'a>> = first.into_iter().collect();
    let taken = all.first().map(|p| p.quote.instance_type.as_str());
    for kind in catalogue.kinds.iter().filter(|kind| Some(kind.name) != taken) {
        let fits = kind.instance.is_some_and(|i| i.accelerator.is_none() == on_cpu(record));
        if let (true, Some(quote), Some(instance)) =
            (fits, kind.quote(&choice.place, term), kind.instance)
        {
            all.push(of_type(record, quote, instance));
        }
    }
    if all.is_empty() {
        let message = format!("no type has a known {} price in {}", term, choice.place.words());
        return Err(Error::input(format!("case {}", record.case.id), message)
            .remedy("`infermark prices list` shows what there is; or give --usd-per-hour"));
    }
    Ok(all)
}

/// The instance type called `name`.
fn named<'a>(
    record: &Record,
    catalogue: &Catalogue<'a>,
    (choice, term): (&Choice, Term),
    name: &str,
) -> Result<Priced<'a>> {
    let kind = catalogue.kind(name).ok_or_else(|| {
        Error::input(format!("instance type `{name}`"), "has no known price").remedy(
            "`infermark prices list` shows those that have; or give --usd-per-hour or --prices",
        )
    })?;
    let providers = catalogue.providers(name);
    if providers.len() > 1 {
        let message = format!("is priced by {}", providers.join(" and "));
        return Err(Error::input(format!("instance type `{name}`"), message)
            .remedy(format!("name one: --instance {}/{name}", providers[0])));
    }
    // The machine's own region where it is known and priced.
    let own_region = record.machine.as_ref().and_then(|m| m.region.clone());
    let here = own_region
        .filter(|_| own_type(record) == Some(name) && choice.place == Place::First)
        .and_then(|region| kind.quote(&Place::Region(region), term));
    let quote = here.or_else(|| kind.quote(&choice.place, term)).ok_or_else(|| {
        let known: Vec<String> =
            kind.quotes.iter().map(|q| format!("{} {}", q.region, q.term)).collect();
        let message = format!("has no known price for {} in {}", term, choice.place.words());
        Error::input(format!("instance type `{name}`"), message)
            .remedy(format!("known are {}; or give --usd-per-hour", known.join(", ")))
    })?;
    let instance = kind.instance.ok_or_else(|| {
        Error::input(format!("instance type `{name}`"), "has a price, but unknown vCPUs")
            .remedy("give `vcpus` in the price file")
    })?;
    if !on_cpu(record) && instance.accelerator.is_none() {
        let device = &record.case.backend;
        let message = format!("has no accelerator, and the case ran on {device}");
        return Err(Error::input(format!("instance type `{name}`"), message)
            .remedy("name a type with the accelerator that was measured, or give --usd-per-hour"));
    }
    Ok(of_type(record, quote, instance))
}

/// A type's price for a record, whose provenance says how near it is.
///
/// A case that ran on a GPU pays for the whole machine, whatever of its CPUs was used.
fn of_type<'a>(record: &Record, quote: &'a Quote, instance: &'a Instance) -> Priced<'a> {
    let own = own_type(record) == Some(quote.instance_type.as_str());
    if !on_cpu(record) {
        let (provenance, why) = if own {
            ("list price", Why::OwnAccelerator)
        } else {
            ("assumed", Why::AnyAccelerator)
        };
        let usd_per_hour = quote.usd_per_hour;
        return Priced {
            quote,
            instance: Some(instance),
            usd_per_hour,
            times: 1.0,
            provenance,
            why,
        };
    }
    let microarchitecture = microarchitecture(record);
    let same =
        instance.microarchitectures.iter().any(|m| m.eq_ignore_ascii_case(microarchitecture));
    let whole = record.effective_cpus.count == instance.vcpus as usize;
    match (own && whole, own || same) {
        (true, _) => share(record, quote, instance, "list price", Why::Named),
        (false, true) => share(record, quote, instance, "pro-rata", Why::Named),
        (false, false) => share(record, quote, instance, "assumed", Why::Assumed),
    }
}

/// Whether a case ran on the CPU. OpenVINO is asked for the CPU only.
pub(super) fn on_cpu(record: &Record) -> bool {
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
fn nearest<'a>(
    record: &Record,
    catalogue: &Catalogue<'a>,
    (choice, term): (&Choice, Term),
) -> Result<Priced<'a>> {
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
    let candidates = catalogue.kinds.iter().filter_map(|kind: &Kind<'a>| {
        let instance = kind.instance.filter(|i| i.accelerator.is_none())?;
        let near = instance.microarchitectures.iter().filter_map(|m| distance(own, m)).min()?;
        let quote = kind.quote(&choice.place, term)?;
        let each = quote.usd_per_hour / f64::from(instance.vcpus);
        // A type that may run on several generations is a worse match than one that can't; so
        // is one whose vCPU is half a core where the machine's CPU is a whole one.
        let match_ = (near, instance.microarchitectures.len(), threads(record, instance));
        Some((match_, each, quote, instance))
    });
    let best = candidates
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.3.vcpus.cmp(&b.3.vcpus)));
    let ((near, _, threads), _, quote, instance) = best.ok_or_else(|| {
        let place = match &choice.place {
            Place::First => "any region".to_owned(),
            place => place.words(),
        };
        let message = format!("no instance type near {own} has a known {term} price in {place}");
        Error::input(format!("the machine ({})", record.hardware_class), message).remedy(remedy)
    })?;
    Ok(share(record, quote, instance, "pro-rata", Why::Nearest(near, threads)))
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

/// The price of the CPUs that were measured, of a machine with perhaps more or fewer. A machine
/// with an accelerator is paid for whole.
fn share<'a>(
    record: &Record,
    quote: &'a Quote,
    instance: &'a Instance,
    provenance: &'static str,
    why: Why,
) -> Priced<'a> {
    let times = match instance.accelerator {
        Some(_) => 1.0,
        None => f64::from(instance.vcpus) / record.effective_cpus.time(),
    };
    let usd_per_hour = quote.usd_per_hour / times;
    Priced { quote, instance: Some(instance), usd_per_hour, times, provenance, why }
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
