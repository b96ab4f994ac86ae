//! One case of a gate: what is exact, what is measured in turns, and what is kept of it.

use super::Args;
use super::measure::{self, Told};
use super::reference::Reference;
use crate::cli::output;
use crate::error::{Error, Result};
use crate::gate::{CaseGate, Exact, Identity, Instructions, Metric, Session};
use crate::measure::{
    Arena, PairPlan, Side, WorkerCommand, count_instructions, quality_of_sides, timestamp,
};
use crate::report::gate::CaseReport;
use crate::units::{Nanos, RealClock};
use crate::workload::{Case, Plan, Resolved};

/// Rounds of a pair of processes, a burst of either side each.
const ROUNDS: u32 = 20;
/// Length of a burst.
const BURST: Nanos = Nanos::from_millis(10);
/// How long each process warms up.
const WARMUP: Nanos = Nanos::from_millis(200);

/// What is compared in a case.
pub(super) struct Sides<'a> {
    pub(super) arena: &'a Arena<'a>,
    pub(super) resolved: &'a Resolved,
    pub(super) plan: &'a Plan,
    pub(super) case: &'a Case,
    /// What serves variants and models.
    pub(super) own: &'a WorkerCommand,
    /// The baseline as it was named, and what that is.
    pub(super) old: (&'a str, &'a Reference),
    pub(super) new: (&'a str, &'a Reference),
}

/// A case at its end.
pub(super) struct Done {
    pub(super) report: CaseReport,
    pub(super) session: Session,
}

/// Measures and decides a case, beginning with a `gate` that has only its budgets.
pub(super) fn decide(
    sides: &Sides<'_>,
    mut gate: CaseGate,
    args: &Args,
    (clock, until): (&RealClock, Option<Nanos>),
) -> Result<Done> {
    let (resolved, arena) = (sides.resolved, sides.arena);
    let side =
        |name, reference: &Reference| reference.side(name, arena, resolved, sides.case, sides.own);
    let (a, b) = (side("baseline", sides.old.1), side("candidate", sides.new.1));
    let load = &resolved.workload.load;
    let patience = Nanos::from(std::time::Duration::from_secs_f64(load.timeout_s));
    gate.exact.push(sizes(&a, &b));
    if gate.budgets.of(Metric::Quality).is_some() {
        output::say("  quality of both on the same samples");
        gate.exact.extend(quality(sides, (&a, &b), patience));
    }
    let mut told = Told::default();
    let mut instructions = None;
    if args.instructions {
        output::say("  counting instructions by callgrind");
        let counted = counted((&a, &b), patience, arena)?;
        gate.exact.push(Exact {
            metric: Metric::Instructions,
            baseline: counted.baseline,
            candidate: counted.candidate,
            less_is_worse: false,
            // Counts of another ISA or counter have another unit.
            unit: format!("instructions a batch ({}, {})", counted.counter, counted.isa.join(" ")),
            ends: None,
        });
        instructions = Some(counted);
    } else {
        let plan = PairPlan {
            first: 0,
            pairs: 1,
            rounds: ROUNDS,
            burst: BURST,
            warmup: WARMUP,
            samples: resolved.data.samples,
            seed: load.seed,
            patience,
        };
        told = measure::decide(&mut gate, (&a, &b), plan, arena, (clock, until))?;
    }
    let label = sides.case.label("");
    let case_id = sides.old.1.case_id(resolved, sides.plan, sides.case)?;
    let mut report = CaseReport::new(&case_id, label.trim(), gate);
    report.usd_per_million = usd(args, &report.gate, a.spec.batching.size());
    let medians = measure::medians(&report.gate);
    let identity = |at: usize, (name, reference): (&str, &Reference), side: &Side| {
        Ok::<_, Error>(Identity {
            name: name.to_owned(),
            sha256: side.spec.variant.sha256.clone(),
            program: reference.program(sides.case.backend.engine)?,
            runtime: told.runtimes[at].clone(),
            p50_ms: medians[at],
        })
    };
    let session = Session {
        schema_version: Session::SCHEMA_VERSION,
        at: timestamp(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        workload: resolved.workload.name.clone(),
        case_id: report.case_id.clone(),
        case: report.label.clone(),
        hardware_class: arena.host.hardware_class.clone(),
        isa: arena.host.cpu.isa.clone(),
        baseline: identity(0, sides.old, &a)?,
        candidate: identity(1, sides.new, &b)?,
        verdict: report.verdict(),
        found: report.found.clone(),
        exact: report.gate.exact.clone(),
        pairs: report.gate.pairs.clone(),
        fresh: report.gate.fresh.clone(),
        instructions,
    };
    Ok(Done { report, session })
}

/// Sizes of both files, which may be one.
fn sizes(a: &Side, b: &Side) -> Exact {
    Exact {
        metric: Metric::Size,
        baseline: a.spec.variant.size.0 as f64,
        candidate: b.spec.variant.size.0 as f64,
        less_is_worse: false,
        unit: "bytes".to_owned(),
        ends: None,
    }
}

/// Quality of both; `None`, and why is said, where a side cannot be judged: the verdict is NO BASELINE then.
fn quality(sides: &Sides<'_>, (a, b): (&Side, &Side), patience: Nanos) -> Option<Exact> {
    let found = quality_of_sides(sides.resolved, a, b, patience, sides.arena.interrupted);
    let found = found.inspect_err(|error| output::say(&format!("  quality: {error}"))).ok()?;
    Some(Exact {
        metric: Metric::Quality,
        baseline: found.baseline,
        candidate: found.candidate,
        less_is_worse: !found.fewer_is_better,
        unit: format!("{} on {} samples", found.metric, found.samples),
        ends: found.ends,
    })
}

fn counted((a, b): (&Side, &Side), patience: Nanos, arena: &Arena<'_>) -> Result<Instructions> {
    let counted = count_instructions([a, b], patience, arena.interrupted)?;
    let [baseline, candidate] = counted.per_batch;
    Ok(Instructions { baseline, candidate, isa: counted.isa, counter: counted.counter })
}

/// What a million inferences cost on a machine of this price that is always busy: before and now, in USD.
fn usd(args: &Args, gate: &CaseGate, batch: u32) -> Option<[f64; 2]> {
    let price = args.usd_per_hour?;
    let cost = |ms: Vec<f64>| {
        let mean_ms = ms.iter().sum::<f64>() / ms.len().max(1) as f64;
        price * mean_ms / 3.6e6 / f64::from(batch.max(1)) * 1e6
    };
    let all = |of: fn(&crate::gate::Pair) -> &Vec<f64>| {
        gate.pairs.iter().flat_map(|pair| of(pair).iter().copied()).collect::<Vec<f64>>()
    };
    let both = [all(|p| &p.baseline_ms), all(|p| &p.candidate_ms)];
    (!both[0].is_empty()).then(|| both.map(cost))
}
