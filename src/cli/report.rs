//! `infermark report`: what runs say, as one page and its parts.

use std::path::{Path, PathBuf};

use super::output;
use super::runs;
use super::{Ended, prices};
use crate::error::{Error, Result};
use crate::measure::timestamp;
use crate::report::page::{Author, Page, redacted};
use crate::report::{Csv, Markdown, Report, ReportModel};
use crate::settings::Settings;
use crate::store::RunDir;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Runs: `latest`, ids, or paths of runs' folders; several are one report
    #[arg(required = true)]
    runs: Vec<String>,
    /// Folder to write to, instead of the first run's
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// For whom it is
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// A picture for its head: PNG, JPEG or SVG
    #[arg(long, value_name = "FILE")]
    logo: Option<PathBuf>,
    /// A text of your own, in paragraphs
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Leave out host ids and folders
    #[arg(long)]
    redact: bool,
    /// A file of your own prices, which win over ours
    #[arg(long, value_name = "CSV")]
    prices: Option<PathBuf>,
    /// Show it in the browser
    #[arg(long)]
    open: bool,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    let mut records = Vec::new();
    let mut first = None;
    for name in &args.runs {
        let run = RunDir::find(&settings.reports, name)?;
        records.extend(runs::last_records(&run)?);
        first.get_or_insert(run.path().to_owned());
    }
    if args.redact {
        records = redacted(&records);
    }
    let folder = args.output.clone().or(first).unwrap_or_default();
    let table = prices::table_with(args.prices.as_ref(), &std::collections::BTreeMap::default())?;
    let author = Author {
        client: args.client.clone(),
        notes: args.notes.as_deref().map(read).transpose()?,
        logo: args.logo.as_deref().map(picture).transpose()?,
        made_at: timestamp(),
    };
    let page = Page::of(&records, &table, &author, &args.runs)?;
    let index = folder.join("index.html");
    write(&index, &page.html()?)?;
    for chart in page.charts() {
        write(&folder.join("charts").join(format!("{}.svg", chart.name)), &chart.svg)?;
    }
    let model = ReportModel::of(&records, &table);
    write(&folder.join("report.md"), &Markdown.render(&model)?)?;
    write(&folder.join("records.csv"), &Csv.render(&model)?)?;
    output::figures(&format!("{}\n", index.display()))?;
    if args.open {
        open(&index)?;
    }
    Ok(Ended::Fine)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", &e))?;
    }
    std::fs::write(path, text).map_err(|e| Error::io(path, "write", &e))
}

/// A picture as a `data:` address, so that the page stays one file.
fn picture(path: &Path) -> Result<String> {
    let kind =
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("png") => "image/png",
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("svg") => "image/svg+xml",
            _ => {
                return Err(Error::input(path.display(), "is no picture that a page shows")
                    .remedy("give a PNG, JPEG or SVG"));
            }
        };
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", &e))?;
    // Percent-encoded: no encoder is needed, and it is as large as it is.
    let mut text = format!("data:{kind},");
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(text)
}

fn open(path: &Path) -> Result<()> {
    let tool = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let status = std::process::Command::new(tool).arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::environment("--open", format!("{tool} could not show it"))
            .remedy(format!("open {} in a browser", path.display()))),
    }
}
