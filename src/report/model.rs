//! What a report says, computed once: which columns, which cells, which footnotes.

use std::collections::BTreeSet;

use super::compare::Comparison;
use super::{numerics, serving};
use crate::economics::{self, Choice, Costs, PriceTable, Term};
use crate::quality::{ALL, Metric, QualityFigure};
use crate::stats::Interval;
use crate::store::Record;
use crate::units::Bytes;

/// What a report says, whatever its layout.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportModel {
    /// One line: the model and what all rows have in common.
    pub title: String,
    /// Names of the columns, units included.
    pub columns: Vec<String>,
    /// One row a record.
    pub rows: Vec<Vec<String>>,
    /// Variants beside the baseline, where there are several.
    pub comparison: Option<Comparison>,
    /// Facts of the run, each a label and a value.
    pub facts: Vec<(&'static str, String)>,
    /// What a reader must know about single rows.
    pub notes: Vec<String>,
    /// The records themselves, for layouts that show everything.
    pub records: Vec<Record>,
    /// What they cost; empty where no price is known.
    pub costs: Costs,
}

/// A figure that is not there.
pub(super) const NONE: &str = "–";

impl ReportModel {
    /// Computes the report of `records`, priced by `prices`.
    ///
    /// Parameters that all records share go into the title; the others become columns.
    pub fn of(records: &[Record], prices: &PriceTable) -> Self {
        let shared: Vec<Parameter> =
            PARAMETERS.into_iter().filter(|p| p.values(records).len() <= 1).collect();
        let varying: Vec<Parameter> =
            PARAMETERS.into_iter().filter(|p| p.values(records).len() > 1).collect();
        let mut title = records.first().map(|r| r.case.model.clone()).unwrap_or_default();
        for value in shared.iter().filter_map(|p| Some((p.long)(records.first()?))) {
            title = format!("{title} · {value}");
        }
        let is_mock = records.iter().any(|r| r.provenance == "mock");
        if is_mock {
            title.push_str(" · figures of the scripted mock engine");
        }
        let mut unpriced = None;
        let costs = if is_mock {
            Costs::default()
        } else {
            economics::costs(records, prices, &Choice::default(), &[Term::OnDemand]).unwrap_or_else(
                |error| {
                    unpriced = Some(error);
                    Costs::default()
                },
            )
        };
        let judged = records.iter().find_map(|r| r.verdict.judged_by.clone());
        let metric =
            judged.or_else(|| records.iter().find_map(|r| Some(r.deciding()?.metric.clone())));
        let mut columns: Vec<String> = varying.iter().map(|p| p.name.to_owned()).collect();
        columns
            .extend(["batch", "load", "p50 ms", "p95 ms", "p99 ms", "samples/s"].map(String::from));
        let bound = serving::bound(records);
        columns.extend(bound.clone());
        columns.extend(metric.as_ref().map(ToString::to_string));
        if !costs.rows.is_empty() {
            columns.push("$/1M".to_owned());
        }
        columns.push("verdict".to_owned());
        let rows: Vec<Vec<String>> = records
            .iter()
            .map(|r| row(r, &varying, bound.is_some(), metric.is_some(), &costs))
            .collect();
        let mut notes = notes(records, &rows);
        notes.extend(quality_notes(records));
        notes.extend(numerics::notes(records));
        notes.extend(
            costs.notes.iter().map(|note| format!("$/1M on a machine that is always busy: {note}")),
        );
        if let (Some(error), true) =
            (unpriced, records.iter().any(|r| r.throughput_per_s.is_some()))
        {
            let remedy = error.remedy_text().map_or_else(String::new, |r| format!("; {r}"));
            notes.push(format!("no price: {}{remedy} to `infermark cost`", error.message()));
        }
        Self {
            title,
            columns,
            facts: facts(records),
            notes,
            comparison: Comparison::of(records),
            rows,
            records: records.to_vec(),
            costs,
        }
    }
}

/// A parameter of a case that is shown only when it differs between rows.
#[derive(Clone, Copy)]
struct Parameter {
    name: &'static str,
    /// In a column.
    of: fn(&Record) -> String,
    /// In the title.
    long: fn(&Record) -> String,
}

const PARAMETERS: [Parameter; 3] = [
    Parameter { name: "variant", of: |r| r.case.variant.clone(), long: |r| r.case.variant.clone() },
    Parameter { name: "backend", of: Record::engine, long: Record::engine },
    Parameter {
        name: "sess×thr",
        of: |r| format!("{}×{}", r.case.sessions, r.threads_used),
        long: |r| {
            let sessions = if r.case.sessions == 1 { "session" } else { "sessions" };
            let threads = if r.threads_used == 1 { "thread" } else { "threads" };
            format!("{} {sessions} × {} {threads}", r.case.sessions, r.threads_used)
        },
    },
];

impl Parameter {
    fn values(&self, records: &[Record]) -> BTreeSet<String> {
        records.iter().map(|r| (self.of)(r)).collect()
    }
}

fn row(
    record: &Record,
    varying: &[Parameter],
    has_bound: bool,
    has_quality: bool,
    costs: &Costs,
) -> Vec<String> {
    let mut cells: Vec<String> = varying.iter().map(|p| (p.of)(record)).collect();
    cells.push(record.case.batching.sizes());
    cells.push(record.case.scenario.to_string());
    let latency = |name: &str| record.latency_ms.get(name).copied().flatten();
    cells.push(latency("p50").map_or_else(|| NONE.to_owned(), |i| with_half_width(&i)));
    for name in ["p95", "p99"] {
        cells.push(latency(name).map_or_else(|| NONE.to_owned(), |i| tail(&i)));
    }
    cells.push(record.throughput_per_s.as_ref().map_or_else(
        || NONE.to_owned(),
        |t| with_half_width(&Interval { value: t.value, low: t.low, high: t.high }),
    ));
    if has_bound {
        cells.push(serving::keeps(record));
    }
    if has_quality {
        // Beside a column of variants there is no room for the interval: the notes have it.
        let is_one = varying.iter().all(|p| p.name != "variant");
        cells.push(quality(record, is_one));
    }
    if !costs.rows.is_empty() {
        cells.push(cost(record, costs));
    }
    cells.push(verdict(record));
    cells
}

/// `4.81 ±0.3%`: the half-width of the interval relative to the value.
fn with_half_width(interval: &Interval) -> String {
    let value = number(interval.value);
    match (interval.low, interval.high) {
        (Some(low), Some(high)) if interval.value > 0.0 => {
            let percent = 50.0 * (high - low) / interval.value;
            if percent < 100.0 { format!("{value} ±{percent:.1}%") } else { format!("~{value}") }
        }
        _ => format!("~{value}"),
    }
}

fn tail(interval: &Interval) -> String {
    let value = number(interval.value);
    if interval.high.is_some() { value } else { format!("~{value}") }
}

/// Three digits behind the point, as shares are shown; powers of ten where that says nothing.
fn share(value: f64) -> String {
    match value.abs() {
        v if v >= f64::MAX => "no number".to_owned(),
        0.0 => "0.000".to_owned(),
        v if !(1e-3..1e6).contains(&v) => format!("{value:.2e}"),
        _ => format!("{value:.3}"),
    }
}

/// Three significant digits, or all digits before the point.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        v if v >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

fn quality(record: &Record, with_interval: bool) -> String {
    let Some(figure) = record.deciding() else { return NONE.to_owned() };
    let half = match (figure.low, figure.high) {
        (Some(low), Some(high)) if with_interval => format!(" ±{:.3}", (high - low) / 2.0),
        _ => String::new(),
    };
    let failed = if record.verdict.meets_quality == Some(false) { " FAILS" } else { "" };
    format!("{}{half}{failed}", share(figure.value))
}

/// USD for a million samples on a machine that is always busy.
fn cost(record: &Record, costs: &Costs) -> String {
    let row = costs.rows.iter().find(|row| row.case_id == record.case.id);
    row.map_or_else(|| NONE.to_owned(), |row| number(row.usd_per_1m))
}

pub(super) fn verdict(record: &Record) -> String {
    match (&record.failure, record.verdict.valid) {
        (Some(_), _) => "FAILED",
        (None, true) => "VALID",
        (None, false) => "INVALID",
    }
    .to_owned()
}

fn facts(records: &[Record]) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let measured: Vec<&Record> = records.iter().filter(|r| r.failure.is_none()).collect();
    let Some(first) = measured.first() else { return facts };
    let effective = &first.effective_cpus;
    facts.push(("hardware", first.hardware_class.clone()));
    facts.push(("cpus", format!("{} effective ({})", effective.count, effective.reason)));
    facts.push(("isa", first.isa.join(" ")));
    if let Some(runtime) = &first.runtime_version {
        facts.push(("runtime", runtime.clone()));
    }
    let mut backends = BTreeSet::new();
    for record in measured.iter().filter(|r| backends.insert(r.case.backend.clone())) {
        for share in &record.node_share {
            let percent = 100.0 * share.share;
            let text = format!(
                "{}: {} on {} ({percent:.0} %)",
                record.case.backend, share.nodes, share.provider
            );
            facts.push(("nodes", text));
        }
    }
    let peak = measured.iter().filter_map(|r| r.memory_bytes.peak_rss).max();
    let peak = peak.map_or_else(|| "unknown".to_owned(), |b: Bytes| b.to_string());
    facts.push((
        "memory",
        format!(
            "file {}, weights {}, peak RSS {peak}",
            first.size_bytes, first.memory_bytes.weights
        ),
    ));
    let timings: Vec<_> = measured.iter().filter_map(|r| r.timing_ms).collect();
    let middle = |of: fn(&crate::store::TimingMs) -> f64| {
        let values: Vec<f64> = timings.iter().map(of).collect();
        crate::stats::median(&values).map_or_else(|| NONE.to_owned(), number)
    };
    facts.push((
        "start",
        format!(
            "load {} ms, compile {} ms, first inference {} ms (medians over the rows)",
            middle(|t| t.load),
            middle(|t| t.compile),
            middle(|t| t.first),
        ),
    ));
    let energies: Vec<_> = measured.iter().filter_map(|r| r.energy.as_ref()).collect();
    let joules = |e: &&&crate::store::EnergyRecord| e.joules_per_inference;
    let least = energies.iter().min_by(|a, b| joules(a).total_cmp(&joules(b)));
    let most = energies.iter().max_by(|a, b| joules(a).total_cmp(&joules(b)));
    if let (Some(least), Some(most)) = (least, most) {
        let (low, high) = (number(least.joules_per_inference), number(most.joules_per_inference));
        let range = if low == high { low } else { format!("{low} to {high}") };
        facts.push(("energy", format!("{range} J a sample ({})", most.source)));
    }
    let padded = measured.iter().filter_map(|r| r.load.as_ref()?.padding_share).fold(0.0, f64::max);
    if padded > 0.0 {
        facts.push(("padding", format!("up to {:.0} % of a batch's values", 100.0 * padded)));
    }
    facts
}

/// What is known of each variant's quality besides the figure that decides: the other figures, and
/// the worst class and segment.
fn quality_notes(records: &[Record]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut notes = Vec::new();
    for record in records.iter().filter(|r| !r.quality.is_empty()) {
        if !seen.insert(record.case.variant.clone()) {
            continue;
        }
        let range = |q: &QualityFigure| match (q.low, q.high) {
            (Some(low), Some(high)) => {
                format!("{} [{}, {}]", share(q.value), share(low), share(high))
            }
            _ => share(q.value),
        };
        let of_whole = |q: &&QualityFigure| q.segment == ALL;
        let overall: Vec<String> = record
            .quality
            .iter()
            .filter(|q| of_whole(q) || matches!(q.metric, Metric::Own(_)))
            .map(|q| match q.segment.as_str() {
                ALL => format!("{} {}", q.metric, range(q)),
                part => format!("{} of {part} {}", q.metric, range(q)),
            })
            .collect();
        let samples = record.quality.iter().filter(of_whole).map(|q| q.samples).max().unwrap_or(0);
        notes.push(format!(
            "quality of {} on {samples} samples, with 95 % intervals: {}",
            record.case.variant,
            overall.join(", ")
        ));
        for kind in ["class:", "segment:"] {
            let is_part =
                |q: &&QualityFigure| q.metric == Metric::Accuracy && q.segment.starts_with(kind);
            let parts = record.quality.iter().filter(is_part);
            let worst = parts.min_by(|a, b| a.value.total_cmp(&b.value));
            if let Some(worst) = worst {
                notes.push(format!(
                    "worst {} of {}: {} {} {} on {} samples",
                    kind.trim_end_matches(':'),
                    record.case.variant,
                    worst.segment.trim_start_matches(kind),
                    worst.metric,
                    range(worst),
                    worst.samples,
                ));
            }
        }
    }
    notes
}

fn notes(records: &[Record], rows: &[Vec<String>]) -> Vec<String> {
    let mut notes = Vec::new();
    for record in records {
        let at = format!(
            "{} {} {}×{} batch {} {}",
            record.case.variant,
            record.case.backend,
            record.case.sessions,
            record.threads_used,
            record.case.batching.sizes(),
            record.case.scenario
        );
        if usize::from(record.case.sessions) * record.threads_used > record.effective_cpus.count {
            notes.push(format!("{at}: more threads than effective CPUs"));
        }
        if let Some(error) = &record.failure {
            notes.push(format!("FAILED {at}: {error}"));
        } else {
            for reason in &record.verdict.reasons {
                notes.push(format!("INVALID {at}: {reason}"));
            }
        }
        if let Some(note) = serving::note(record) {
            notes.push(format!("{at}: {note}"));
        }
        let elsewhere: usize = record
            .node_share
            .iter()
            .filter(|s| record.case.device.as_ref().is_some_and(|d| *d != s.provider))
            .map(|s| s.nodes)
            .sum();
        if elsewhere > 0 {
            notes.push(format!("{at}: {elsewhere} nodes ran on another provider than asked for"));
        }
        if let Some(why) = record.versus_baseline.as_ref().and_then(|v| v.failure.as_ref()) {
            notes.push(format!("{at}: not compared in pairs: {why}"));
        }
        if record.process > 0 {
            notes.push(format!(
                "{at}: process {} of the case; earlier ones are in the records",
                record.process + 1
            ));
        }
        if record.verdict.meets_quality == Some(false) {
            notes.push(format!("FAILS its quality gate: {at}"));
        }
    }
    let decided: BTreeSet<(&str, &str)> = records
        .iter()
        .filter_map(|r| Some((r.case.variant.as_str(), r.lineage.approval.as_deref()?)))
        .collect();
    for (variant, approval) in decided {
        match approval {
            "approved" => {}
            "rejected" => notes.push(format!("REJECTED: somebody said that {variant} may not be used")),
            _ => notes.push(format!(
                "not approved: nobody has said that {variant} may be used (infermark variants approve)"
            )),
        }
    }
    if records.iter().any(|r| r.failure.is_none()) {
        notes.push("measured; ± is half the 95 % interval within one process, fresh processes differ by more"
                .to_owned());
    }
    let answered = records.iter().filter(|r| r.failure.is_none() && !r.latency_ms.is_empty());
    let mut shown = answered.flat_map(|r| ["p50", "p95", "p99"].map(|p| r.latency_ms.get(p)));
    if shown.any(|p| p.is_none_or(Option::is_none)) {
        notes.push(format!(
            "{NONE} too few requests for this percentile, or it falls among those never answered"
        ));
    }
    if rows.iter().flatten().any(|cell| cell == "?") {
        notes.push(
            "? too few requests to say with 99 % confidence that the bound is met".to_owned(),
        );
    }
    if rows.iter().flatten().any(|cell| cell.starts_with('~')) {
        notes.push("~ too few independent batches for a useful interval".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [1234.5, 207.3, 48.12, 4.807, 0.0421, 0.000_12].map(number);
        assert_eq!(shown, ["1234", "207", "48.1", "4.81", "0.042", "0.00012"]);
    }

    #[test]
    fn an_open_interval_is_marked() {
        assert_eq!(with_half_width(&Interval::new(4.0, 3.9, 4.1)), "4.00 ±2.5%");
        assert_eq!(tail(&Interval { value: 9.0, low: None, high: None }), "~9.00");
    }
}
