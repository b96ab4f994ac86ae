//! A way to serve at a price: what a plan chooses among.

use serde::Serialize;

use super::carbon::Running;
use super::choose::{Priced, on_cpu};
use super::pay::{Hourly, Paying};
use super::price::Instance;
use super::way::{Capacity, Way};

const GIB: f64 = 1_073_741_824.0;

/// A way to serve at a price.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Offer {
    /// What it is called: a variant, or an option's name.
    pub name: String,
    /// The case it was measured by.
    pub case_id: Option<String>,
    /// The hardware it was measured on.
    pub hardware_class: Option<String>,
    /// Runs that measured it.
    pub runs: usize,
    /// Engine and device.
    pub backend: Option<String>,
    /// Batch size and load, in words.
    pub load: Option<String>,
    /// Machine, region and term in words, and where the price was read; `None` for a bill.
    pub price: Option<PriceOf>,
    /// Requests a second of a machine, with its interval.
    pub capacity: Option<Capacity>,
    /// The bill of a month, where it does not depend on a fleet.
    pub bill: Option<f64>,
    /// Whether that bill grows with the requests.
    pub is_by_request: bool,
    /// Latency of a request, in ms.
    pub latency_ms: Option<f64>,
    /// Which percentile that is, e.g. `p99`.
    pub latency_is: Option<String>,
    /// Share of right answers, or whatever decides quality.
    pub quality: Option<f64>,
    /// Whether less of that is better: an error, not an accuracy.
    pub fewer_is_better: bool,
    /// Mean latency in ms, or what stands for it.
    pub mean_ms: Option<f64>,
    /// Name of the workload's model.
    pub model: Option<String>,
    /// Why it cannot be chosen; empty where it can.
    pub excluded: Vec<String>,
    /// `measured`, or `stated`.
    pub provenance: String,
}

/// What a machine costs, and who says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PriceOf {
    /// Who rents it out.
    pub provider: String,
    /// Its type.
    pub instance_type: String,
    /// Where it stands.
    pub region: String,
    /// How it is paid for.
    pub paying: Paying,
    /// USD an hour of the whole machine by that way to pay, before a discount.
    pub usd_per_hour: f64,
    /// Its other prices.
    pub hourly: Hourly,
    /// When it was read.
    pub date: String,
    /// Where it was read.
    pub source: String,
    /// `list price`, `pro-rata`, `assumed`, `given` or `stated`.
    pub provenance: String,
    /// What the machine is; `None` where it is only a price.
    pub machine: Option<Machine>,
    /// Watts of a machine of one's own, its building included.
    pub own_watts: Option<f64>,
}

/// What a machine is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory_gib: Option<f64>,
    /// What its CPUs may be.
    pub microarchitectures: Vec<String>,
    /// Its accelerator and how many it has.
    pub accelerator: Option<(String, u32)>,
    /// How many times what was measured it holds.
    pub times: f64,
}

impl Offer {
    /// Quality the way round in which more is better.
    pub fn goodness(&self) -> Option<f64> {
        self.quality.map(|quality| if self.fewer_is_better { -quality } else { quality })
    }
}

impl PriceOf {
    /// What runs where, for an estimate of its energy.
    pub fn running(&self, machines: f64, busy: f64) -> Option<Running<'_>> {
        let machine = self.machine.as_ref()?;
        Some(Running {
            provider: &self.provider,
            region: &self.region,
            microarchitectures: &machine.microarchitectures,
            vcpus: machine.vcpus,
            accelerator: machine.accelerator.as_ref().map(|(name, n)| (name.as_str(), *n)),
            machines,
            busy,
        })
    }
}

/// How many times what was measured fits a machine, or why it does not fit at all.
///
/// Each copy needs the memory that the measured process took at most; a GPU must hold the weights, at least.
pub(super) fn fit(way: &Way<'_>, priced: &Priced<'_>) -> Result<f64, String> {
    let Some(instance) = priced.instance else { return Ok(priced.times) };
    if let Some(record) = way.record.filter(|r| !on_cpu(r)) {
        // Every session has its own; what it computes with comes on top and is not known.
        let weights = record.memory_bytes.weights.0 as f64 * f64::from(record.case.sessions) / 1e9;
        if let Some(has) = instance.accelerator_memory_gb.filter(|has| weights > *has) {
            return Err(format!("its weights take {weights:.1} GB, and the accelerator has {has}"));
        }
    }
    let (Some(has), Some(peak)) = (instance.memory_gib, way.memory) else {
        return Ok(priced.times);
    };
    let needs = peak as f64 / GIB;
    let copies = (has / needs).floor();
    if copies < 1.0 {
        return Err(format!("needs {needs:.1} GiB of memory, and the machine has {has}"));
    }
    // Fewer copies than its CPUs would serve: memory is what binds it.
    Ok(if priced.times.floor() > copies { copies } else { priced.times })
}

/// A way at a price, by a way to pay; `hourly` are the machine's prices in the quote's region.
pub(super) fn offer(way: &Way<'_>, priced: &Priced<'_>, hourly: &Hourly, paying: Paying) -> Offer {
    let quote = priced.quote;
    let mut excluded = way.excluded.clone();
    let times = fit(way, priced).unwrap_or_else(|why| {
        excluded.push(why);
        priced.times
    });
    let machine = priced.instance.map(|instance: &Instance| Machine {
        vcpus: instance.vcpus,
        memory_gib: instance.memory_gib,
        microarchitectures: instance.microarchitectures.clone(),
        accelerator: instance.accelerator.clone().map(|name| (name, instance.accelerators)),
        times,
    });
    let price = PriceOf {
        provider: quote.provider.clone(),
        instance_type: quote.instance_type.clone(),
        region: quote.region.clone(),
        paying,
        usd_per_hour: hourly.of(paying).unwrap_or(quote.usd_per_hour),
        hourly: *hourly,
        date: quote.date.clone(),
        source: quote.source.clone(),
        provenance: priced.provenance.to_owned(),
        machine,
        own_watts: None,
    };
    Offer { price: Some(price), excluded, ..unpriced(way, times) }
}

/// A stated option, by a way to pay.
pub(super) fn stated_offer(way: &Way<'_>, hourly: &Hourly, paying: Paying) -> Offer {
    let owned = way.stated.and_then(|s| s.owned.as_ref());
    let price = hourly.of(paying).map(|usd_per_hour| PriceOf {
        provider: String::new(),
        instance_type: way.name.clone(),
        region: String::new(),
        paying,
        usd_per_hour,
        hourly: *hourly,
        date: "unknown".to_owned(),
        source: "stated".to_owned(),
        provenance: "stated".to_owned(),
        machine: None,
        own_watts: owned.map(|o| o.watts * o.pue),
    });
    Offer { price, ..unpriced(way, 1.0) }
}

fn unpriced(way: &Way<'_>, times: f64) -> Offer {
    Offer {
        name: way.name.clone(),
        case_id: way.record.map(|r| r.case.id.clone()),
        hardware_class: way.record.map(|r| r.hardware_class.clone()),
        runs: way.runs,
        backend: way.record.map(|r| r.case.backend.clone()),
        load: way.load.clone(),
        price: None,
        capacity: way.capacity.map(|c| c.times(times)),
        bill: way.bill,
        is_by_request: way.stated.is_some_and(|s| s.usd_per_1k.is_some()),
        latency_ms: way.latency_ms,
        latency_is: way.latency_is.clone(),
        quality: way.quality,
        fewer_is_better: way.fewer_is_better,
        mean_ms: way.mean_ms,
        model: way.record.map(|r| r.case.model.clone()),
        excluded: way.excluded.clone(),
        provenance: way.record.map_or("stated".to_owned(), |r| r.provenance.clone()),
    }
}
