//! `infermark gate WORKLOAD --limits`: what must hold whatever there was before.

use super::{Args, compared};
use crate::cli::{run, runs};
use crate::error::{Error, Result};
use crate::gate::Limit;
use crate::report::gate::{CaseReport, GateReport};
use crate::settings::Settings;
use crate::store::{Record, RunDir};

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<GateReport> {
    let spec = compared::spec(args, settings)?;
    let given = args.limits.iter().flatten().flat_map(|text| text.split(','));
    let mut texts: Vec<String> = given.map(|text| text.trim().to_owned()).collect();
    if texts.is_empty() {
        texts = spec.map(|spec| spec.limits).unwrap_or_default();
    }
    if texts.is_empty() {
        return Err(Error::input("--limits", "names none, and the workload has no [gate] limits")
            .remedy("give some: --limits 'p99 <= 50 ms' 'accuracy >= 0.90'"));
    }
    let limits: Vec<Limit> = texts.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let (name, records, not_run) = records(args, settings)?;
    let mut report = GateReport {
        workload: name,
        hardware_class: records.first().map(|r| r.hardware_class.clone()).unwrap_or_default(),
        ..GateReport::default()
    };
    for record in &records {
        report.cases.push(CaseReport {
            case_id: record.case.id.clone(),
            label: label(record),
            limits: limits.iter().map(|limit| limit.check(record)).collect(),
            ..CaseReport::default()
        });
    }
    for (case, reason) in not_run {
        report.notes.push(format!("not measured: {case}: {reason}"));
        report.cases.push(CaseReport {
            case_id: String::new(),
            label: case,
            limits: limits.iter().map(|limit| limit.unmeasured(&reason)).collect(),
            ..CaseReport::default()
        });
    }
    Ok(report)
}

/// A workload's name, what was measured of it, and what could not be.
type Measured = (String, Vec<Record>, Vec<(String, String)>);

/// What a run holds, or a workload gives that is measured now.
fn records(args: &Args, settings: &Settings) -> Result<Measured> {
    let target = compared::target(args)?;
    let name = target.to_string_lossy();
    if let Ok(run) = RunDir::find(&settings.reports, &name) {
        let records = runs::last_records(&run)?;
        let model = records.first().map(|r| r.case.model.clone()).unwrap_or_default();
        return Ok((model, records, Vec::new()));
    }
    let of_run = run::Args {
        target: Some(target.to_owned()),
        backend: args.backend.clone(),
        batch: args.batch.clone(),
        threads: args.threads.clone(),
        seed: args.seed,
        budget: args.budget.clone(),
        runtime: args.runtime,
        ..run::Args::default()
    };
    let outcome = run::measured(&of_run, settings)?;
    let model = outcome.records.first().map(|r| r.case.model.clone()).unwrap_or_default();
    Ok((model, runs::last_of_each(outcome.records), outcome.not_run))
}

fn label(record: &Record) -> String {
    let case = &record.case;
    format!(
        "{} {} {} {} {} × {} threads",
        case.variant, case.backend, case.batching, case.scenario, case.sessions, case.threads
    )
}
