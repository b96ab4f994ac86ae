//! `infermark runs`: what was measured before.

use clap::Subcommand;

use super::output::{self, Format};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::store::{Record, RunDir, SCHEMA_VERSION, list_runs};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the runs in the reports folder, oldest first
    List {
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show a run's table again
    Show {
        /// `latest`, an id, or the path of a run's folder
        run: String,
        /// And where the time went, as `run --profile` prints it
        #[arg(long)]
        profile: bool,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(super) fn execute(command: &Command, settings: &Settings) -> Result<()> {
    match command {
        Command::List { format } => list(*format, settings),
        Command::Show { run, profile, format } => {
            let run = RunDir::find(&settings.reports, run)?;
            let records = last_records(&run)?;
            output::records(*format, run.path(), &records, &[])?;
            if *profile { output::profile(*format, &records) } else { Ok(()) }
        }
    }
}

/// The records of a run; of a case that was measured again, the last one counts.
pub(super) fn last_records(run: &RunDir) -> Result<Vec<Record>> {
    let records = last_of_each(run.records()?);
    if records.is_empty() {
        return Err(Error::input(run.path().display(), "holds no records")
            .remedy("measure with `infermark run … --resume` and its id"));
    }
    Ok(records)
}

/// Of a case that was measured again, the last record.
pub(super) fn last_of_each(mut records: Vec<Record>) -> Vec<Record> {
    let mut seen = std::collections::HashSet::new();
    records.reverse();
    records.retain(|r| seen.insert(r.case.id.clone()));
    records.reverse();
    records
}

fn list(format: Format, settings: &Settings) -> Result<()> {
    let (runs, broken) = list_runs(&settings.reports)?;
    for error in &broken {
        output::say(&format!("warning: {error}"));
    }
    if format == Format::Json {
        #[derive(serde::Serialize)]
        struct List {
            schema_version: u32,
            runs: Vec<crate::store::RunInfo>,
        }
        return output::figures(&output::json(&List { schema_version: SCHEMA_VERSION, runs })?);
    }
    let (separator, header) = match format {
        Format::Csv => (",", "run_id,started_at,model,records,valid,hardware\n"),
        Format::Md => (
            " | ",
            "run_id | started_at | model | records | valid | hardware\n--- | --- | --- | --- | --- | ---\n",
        ),
        _ => ("  ", ""),
    };
    let mut text = header.to_owned();
    if runs.is_empty() {
        output::say(&format!("no runs in {}", settings.reports.display()));
    }
    for run in runs {
        let fields = [
            run.run_id,
            run.started_at,
            run.model,
            run.records.to_string(),
            run.valid.to_string(),
            run.hardware.join(" "),
        ];
        let line = match format {
            Format::Table => format!(
                "{}  {}  {} records, {} valid\n    {}",
                fields[0], fields[1], fields[3], fields[4], fields[5]
            ),
            _ => fields.join(separator),
        };
        text.push_str(&line);
        text.push('\n');
    }
    output::figures(&text)
}
