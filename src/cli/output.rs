//! Printing: figures to standard output, everything else to standard error.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::economics::PriceTable;
use crate::error::{Error, Result};
use crate::report::{self, Csv, Markdown, Report, ReportModel, Table};
pub(super) use crate::report::{csv_rows as csv, markdown_table as markdown, ruled, wrapped};
use crate::store::{Record, SCHEMA_VERSION};

/// How figures are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For the terminal, at most 100 columns
    #[default]
    Table,
    /// One JSON object
    Json,
    /// One row a record
    Csv,
    /// Markdown
    Md,
}

/// What `run` and `runs show` print as JSON.
#[derive(Serialize)]
struct RunJson<'a> {
    schema_version: u32,
    run_dir: String,
    records: &'a [Record],
    not_run: Vec<NotRun<'a>>,
}

#[derive(Serialize)]
struct NotRun<'a> {
    case: &'a str,
    reason: &'a str,
}

/// Prints records in the format asked for.
pub(super) fn records(
    format: Format,
    run_dir: &std::path::Path,
    records: &[Record],
    not_run: &[(String, String)],
) -> Result<()> {
    let report = || Ok::<_, Error>(ReportModel::of(records, &PriceTable::built_in()?));
    let text = match format {
        Format::Json => {
            let not_run = not_run.iter().map(|(case, reason)| NotRun { case, reason }).collect();
            let run_dir = run_dir.display().to_string();
            json(&RunJson { schema_version: SCHEMA_VERSION, run_dir, records, not_run })?
        }
        Format::Table => Table.render(&report()?)?,
        Format::Csv => Csv.render(&report()?)?,
        Format::Md => Markdown.render(&report()?)?,
    };
    figures(&text)
}

/// Prints where the time goes, for people: in JSON and CSV the records say it.
pub(super) fn profile(format: Format, records: &[Record]) -> Result<()> {
    match format {
        Format::Table => figures(&report::profile(records, false)),
        Format::Md => figures(&report::profile(records, true)),
        Format::Json | Format::Csv => Ok(()),
    }
}

/// A value as one indented JSON object and a newline.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::internal("json", e))?;
    Ok(text + "\n")
}

/// Prints text to standard output. A reader that has seen enough (`| head`) is no error.
pub(super) fn figures(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::environment("standard output", e)
                .remedy("the records are stored; `infermark runs show latest` prints them again"))
        }
        _ => Ok(()),
    }
}

/// Says something to standard error.
pub(super) fn say(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says what went wrong.
pub(super) fn error(error: &Error) {
    say(&format!("error: {error}"));
}
