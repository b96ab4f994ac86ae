//! The cost of a sample on a machine that is always busy.

use serde::Serialize;

use super::HOURS_A_MONTH;
use super::catalogue::Catalogue;
use super::choose::{Choice, Priced, choose};
use super::price::{PriceTable, Term};
use super::way::merge;
use crate::error::{Error, Result};
use crate::store::Record;

/// What one case costs at one price.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostRow {
    /// The case.
    pub case_id: String,
    /// The hardware that it was measured on.
    pub hardware_class: String,
    /// Runs that measured it.
    pub runs: usize,
    /// Name of the workload's model.
    pub model: String,
    /// Name of the variant.
    pub variant: String,
    /// Engine and device.
    pub backend: String,
    /// Batch size and load, in words.
    pub load: String,
    /// Who rents the machine out.
    pub provider: String,
    /// Its type.
    pub instance_type: String,
    /// Where it stands.
    pub region: String,
    /// How it is paid for.
    pub term: Term,
    /// Price of the CPUs that were measured.
    pub usd_per_hour: f64,
    /// Price of the whole machine.
    pub instance_usd_per_hour: f64,
    /// Virtual CPUs of the whole machine; `null` for a price that was given.
    pub vcpus: Option<u32>,
    /// CPUs that were measured.
    pub measured_cpus: usize,
    /// When the price was read.
    pub price_date: String,
    /// Where it was read.
    pub price_source: String,
    /// Samples a second.
    pub capacity_per_s: f64,
    /// Always `saturated`: the machine never waits for a request.
    pub capacity_basis: String,
    /// Share of the time in which the machine is busy; 1 when saturated.
    pub utilization: f64,
    /// Machines.
    pub replicas: u32,
    /// Whether the worker's peak memory fits; `null` where the machine's is unknown.
    pub fits_memory: Option<bool>,
    /// USD for 1,000 samples.
    pub usd_per_1k: f64,
    /// USD for 1,000,000 samples.
    pub usd_per_1m: f64,
    /// With the upper end of the capacity's interval.
    pub usd_per_1m_low: Option<f64>,
    /// With the lower end of the capacity's interval.
    pub usd_per_1m_high: Option<f64>,
    /// USD for 730 hours of the measured CPUs.
    pub usd_per_month: f64,
    /// Whether the measurement can be believed.
    pub valid: bool,
    /// Whether the variant meets its quality gate; `null` without one.
    pub meets_quality: Option<bool>,
    /// Of the price: `list price`, `pro-rata`, `assumed` or `given`. Capacity is measured.
    pub provenance: String,
}

/// Costs, and what a reader must know about them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Costs {
    /// One a case and price.
    pub rows: Vec<CostRow>,
    /// How they came about, each once.
    pub notes: Vec<String>,
}

/// Prices every record that has a capacity and a price; the notes name the others. Of open loads alone there is
/// nothing to price.
///
/// cost of a sample = price an hour / (capacity · 3600). An error when nothing can be priced.
pub fn costs(
    records: &[Record],
    table: &PriceTable,
    choice: &Choice,
    terms: &[Term],
) -> Result<Costs> {
    let catalogue = Catalogue::of(table);
    if choice.given.is_none() {
        catalogue.check(&choice.place)?;
    }
    let mut costs = Costs::default();
    let mut first_error = None;
    for merged in merge(records) {
        let record = merged.last;
        if record.case.scenario.kind() == "open" {
            // What is answered is what came, however much more the machine could do.
            costs.note(
                "not priced: open loads, which do not show what a machine can serve".to_owned(),
            );
            continue;
        }
        let Some(capacity) = merged.throughput() else {
            let note = format!("not priced: case {} has no throughput", record.case.id);
            costs.notes.push(note);
            continue;
        };
        if merged.all.len() > 1 {
            let (id, runs) = (&record.case.id, merged.all.len());
            costs.note(format!(
                "case {id}: the median of {runs} runs, and the widest of their intervals"
            ));
        }
        let priced = if record.provenance == "mock" {
            Err(Error::input(
                format!("case {}", record.case.id),
                "holds figures of the scripted mock engine, which nobody can rent",
            )
            .remedy("price a run on a real engine"))
        } else {
            let all = terms.iter().map(|term| choose(record, &catalogue, choice, *term));
            all.collect::<Result<Vec<_>>>().map(|all| all.concat())
        };
        match priced {
            Ok(all) => {
                for priced in all {
                    costs.note(priced.note(record));
                    let runs = merged.all.len();
                    costs.rows.push(CostRow { runs, ..row(record, &priced, &capacity) });
                }
                costs.remarks(record);
            }
            Err(error) => {
                let (id, backend) = (&record.case.id, &record.case.backend);
                costs.note(format!("not priced: case {id} on {backend}: {}", error.message()));
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if costs.rows.is_empty() => Err(error),
        _ if costs.rows.is_empty()
            && records.iter().any(|r| r.case.scenario.kind() == "open" && r.failure.is_none()) =>
        {
            Ok(costs)
        }
        _ if costs.rows.is_empty() => {
            Err(Error::input("the run", "holds no case with a throughput")
                .remedy("measure again with `infermark run … --resume` and its id"))
        }
        _ => Ok(costs),
    }
}

impl Costs {
    /// Each once.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What the rows of a record need to be read with.
    fn remarks(&mut self, record: &Record) {
        let (id, case) = (&record.case.id, &record.case);
        let busy = usize::from(case.sessions) * record.threads_used;
        let measured = record.effective_cpus.count;
        if busy < measured {
            self.note(format!(
                "case {id} keeps {busy} of {measured} CPUs busy at most; the others are paid for idle"
            ));
        }
        let clients = case.scenario.outstanding(case.batching).map(|n| n as usize);
        let full = case.batching.size() as usize * usize::from(case.sessions);
        if clients.is_some_and(|n| n < full) {
            self.note(format!(
                "case {id}: fewer clients than fill its batches, so that it waits for its delay: not all that \
                 the machine can serve"
            ));
        }
        let of_case = self.rows.iter().filter(|row| row.case_id == *id);
        let tight: Vec<String> = of_case
            .filter(|row| row.fits_memory == Some(false))
            .map(|row| format!("case {id} needs more memory than {} has", row.instance_type))
            .collect();
        for note in tight {
            self.note(note);
        }
    }
}

fn row(record: &Record, priced: &Priced, capacity: &crate::store::Throughput) -> CostRow {
    let per_sample = |rate: f64| priced.usd_per_hour / (rate * 3600.0);
    let memory = priced.instance.as_ref().and_then(|i| i.memory_gib);
    let needed = record.memory_bytes.peak_rss;
    let gib = f64::from(1 << 30);
    let bound = |rate: Option<f64>| rate.filter(|r| *r > 0.0).map(|r| 1e6 * per_sample(r));
    CostRow {
        case_id: record.case.id.clone(),
        hardware_class: record.hardware_class.clone(),
        runs: 1,
        model: record.case.model.clone(),
        variant: record.case.variant.clone(),
        backend: record.case.backend.clone(),
        load: format!(
            "batch {}, {}{}",
            record.case.batching.sizes(),
            record.case.scenario,
            if record.engine() == record.case.backend { "" } else { ", SOFTWARE" }
        ),
        provider: priced.quote.provider.clone(),
        instance_type: priced.quote.instance_type.clone(),
        region: priced.quote.region.clone(),
        term: priced.quote.term,
        usd_per_hour: priced.usd_per_hour,
        instance_usd_per_hour: priced.quote.usd_per_hour,
        vcpus: priced.instance.as_ref().map(|i| i.vcpus),
        measured_cpus: record.effective_cpus.count,
        price_date: priced.quote.date.clone(),
        price_source: priced.quote.source.clone(),
        capacity_per_s: capacity.value,
        capacity_basis: "saturated".to_owned(),
        utilization: 1.0,
        replicas: 1,
        fits_memory: memory.zip(needed).map(|(has, needs)| needs.0 as f64 <= has * gib),
        usd_per_1k: 1e3 * per_sample(capacity.value),
        usd_per_1m: 1e6 * per_sample(capacity.value),
        usd_per_1m_low: bound(capacity.high),
        usd_per_1m_high: bound(capacity.low),
        usd_per_month: priced.usd_per_hour * HOURS_A_MONTH,
        valid: record.verdict.valid,
        meets_quality: record.verdict.meets_quality,
        provenance: priced.provenance.to_owned(),
    }
}
