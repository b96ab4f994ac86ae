//! Where every figure comes from, and how to get it again.

use super::{Cell, Sheet, SheetRow};
use crate::store::Record;

/// A row a record: hashes, versions, seeds.
pub(super) fn of(records: &[Record]) -> Sheet {
    let columns = [
        "case",
        "run",
        "measured at",
        "variant sha256",
        "data sha256",
        "workload sha256",
        "runtime",
        "runtime sha256",
        "infermark",
        "seed",
        "hardware",
        "provenance",
    ];
    let row = |record: &Record| {
        let seed = record.load.as_ref().map(|load| load.seed.to_string());
        let cells = [
            record.case.id.clone(),
            record.run_id.clone(),
            record.started_at.clone(),
            record.sha256.variant.clone(),
            record.sha256.data.clone(),
            record.sha256.workload.clone(),
            record.runtime_version.clone().unwrap_or_default(),
            record.sha256.runtime.clone().unwrap_or_default(),
            record.tool_version.clone(),
            seed.unwrap_or_default(),
            record.hardware_class.clone(),
            record.provenance.clone(),
        ];
        let is_marked = !record.verdict.valid;
        SheetRow { cells: cells.map(|text| Cell { text, sort: None }).to_vec(), is_marked }
    };
    Sheet {
        title: "Provenance".to_owned(),
        columns: columns.map(String::from).to_vec(),
        rows: records.iter().map(row).collect(),
    }
}

/// Commands that measure and price the same again.
pub(super) fn commands(records: &[Record], runs: &[String]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for record in records {
        if seen.insert(&record.run_id) {
            commands.push(format!("infermark run {}/workload.toml", record.run_id));
        }
    }
    commands.push(format!("infermark cost {}", runs.join(" ")));
    commands.push(format!("infermark report {}", runs.join(" ")));
    commands
}
