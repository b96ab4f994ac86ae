//! `infermark gate --records A B`: a decision on what was measured before.

use std::path::Path;

use super::Args;
use super::compared;
use crate::cli::{output, runs};
use crate::error::{Error, Result};
use crate::gate::{Accepted, FALSE_ALARMS, Identity, Pair, Session, Verdict, from_records};
use crate::report::gate::{CaseReport, GateReport};
use crate::settings::Settings;
use crate::store::{Record, RunDir};
use crate::units::today;

/// Pairs of a run from which on half of them confirm.
const HALVES: usize = 16;

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<GateReport> {
    let [a, b] = args.records.as_slice() else {
        return Err(Error::internal("--records", "takes two"));
    };
    let budgets = compared::budgets(args, compared::spec(args, settings)?.as_ref())?;
    let (old, new) = (sessions(a, settings)?, sessions(b, settings)?);
    let all = from_records(&old, &new, budgets);
    let mut report = GateReport {
        workload: all.first().map(|f| f.session.workload.clone()).unwrap_or_default(),
        baseline: a.clone(),
        candidate: b.clone(),
        hardware_class: all.first().map(|f| f.session.hardware_class.clone()).unwrap_or_default(),
        false_alarms: Some(
            all.iter().map(|f| f.alpha * f.gate.budgets.comparisons() as f64).sum::<f64>().min(1.0),
        ),
        ..GateReport::default()
    };
    if report.false_alarms > Some(FALSE_ALARMS) {
        output::say("WARNING: so many comparisons of records alarm by chance more often than 1 %");
    }
    let accepted = args.accepted.as_deref().map(Accepted::read).transpose()?;
    for mut found in all {
        if let Some(accepted) = &accepted {
            let (id, label) = (&found.session.case_id, &found.session.case);
            report.notes.extend(accepted.apply(id, label, &mut found.found, today()));
        }
        report.notes.push(format!("{}: {}", found.session.case, found.basis));
        report.cases.push(CaseReport {
            case_id: found.session.case_id.clone(),
            label: found.session.case.clone(),
            gate: found.gate,
            found: found.found,
            ..CaseReport::default()
        });
    }
    Ok(report)
}

/// Sessions of a gate, from a store or a file; or the pairs of a run.
pub(super) fn sessions(name: &str, settings: &Settings) -> Result<Vec<Session>> {
    if let Ok(run) = RunDir::find(&settings.reports, name) {
        return of_run(&run);
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(Error::input(name, "is neither a store, a file of sessions nor a run").remedy(
            "give what `infermark gate … --store DIR` or `--pairs FILE` wrote, or a run of `infermark runs list`",
        ));
    }
    Session::read_all(path)
}

/// What a run's pairs say: its baseline is the probe, each variant a candidate.
fn of_run(run: &RunDir) -> Result<Vec<Session>> {
    let records = runs::last_records(run)?;
    let of = |record: &Record| {
        let versus = record.versus_baseline.as_ref().filter(|v| !v.pairs.is_empty())?;
        let baseline = records
            .iter()
            .find(|other| other.case.variant == versus.baseline && other.is_beside(record))?;
        let pair = |speedup: &f64| Pair { p50: -speedup, ..Pair::default() };
        let mut pairs: Vec<Pair> = versus.pairs.iter().map(pair).collect();
        Some(Session {
            schema_version: Session::SCHEMA_VERSION,
            at: record.started_at.clone(),
            tool_version: record.tool_version.clone(),
            workload: record.case.model.clone(),
            case_id: baseline.case.id.clone(),
            case: words(record),
            hardware_class: record.hardware_class.clone(),
            isa: record.isa.clone(),
            baseline: identity(baseline),
            candidate: identity(record),
            verdict: Verdict::NoBaseline,
            found: Vec::new(),
            exact: Vec::new(),
            // The later half confirms what the first one suspects, if there are enough.
            fresh: if pairs.len() >= HALVES {
                pairs.split_off(pairs.len() / 2)
            } else {
                Vec::new()
            },
            pairs,
            instructions: None,
        })
    };
    let all: Vec<Session> = records.iter().filter_map(of).collect();
    if all.is_empty() {
        return Err(Error::input(run.path().display(), "has no pairs that a gate could decide on")
            .remedy(
                "figures of two runs are two moments of a machine: `infermark gate WORKLOAD --baseline … --candidate …` \
                 measures both in turns",
            ));
    }
    Ok(all)
}

fn identity(record: &Record) -> Identity {
    let p50 = record.latency_ms.get("p50").copied().flatten();
    Identity {
        name: record.case.variant.clone(),
        sha256: record.sha256.variant.clone(),
        program: format!("infermark {}", record.tool_version),
        runtime: record.runtime_version.clone().unwrap_or_default(),
        p50_ms: p50.map(|p| p.value).unwrap_or_default(),
    }
}

/// The case without its variant, which is what two runs have in common.
fn words(record: &Record) -> String {
    let case = &record.case;
    format!(
        "{} {} {} {} × {} threads, {}",
        case.backend, case.batching, case.scenario, case.sessions, case.threads, case.variant
    )
}
