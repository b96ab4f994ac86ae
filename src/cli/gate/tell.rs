//! What a gate found, in every form that was asked for, and how it ends.

use std::path::PathBuf;

use super::Args;
use crate::cli::Ended;
use crate::cli::output::{self, Format};
use crate::error::{Error, Result};
use crate::gate::Verdict;
use crate::report::gate::GateReport;

/// Refuses what could not be told at the end: after minutes of measuring it would be lost.
pub(super) fn check(args: &Args) -> Result<()> {
    if let Some(price) = args.usd_per_hour.filter(|price| !(price.is_finite() && *price > 0.0)) {
        return Err(Error::input(format!("--usd-per-hour {price}"), "is no price")
            .remedy("give what the machine costs an hour, above 0"));
    }
    if args.annotate && matches!(args.format, Format::Json | Format::Csv) {
        return Err(Error::input(
            "--annotate",
            "writes lines between those of --format json or csv",
        )
        .remedy("write the JSON to a file: --json gate.json --annotate"));
    }
    let files = [&args.json, &args.junit, &args.markdown, &args.bmf, &args.pairs];
    for file in files.into_iter().flatten() {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(Error::input(file.display(), "cannot be written: its folder is not there")
                .remedy(format!("make {} first", folder.display())));
        }
    }
    Ok(())
}

/// Prints and writes what was found, and says how it ends.
pub(super) fn tell(args: &Args, report: &GateReport) -> Result<Ended> {
    let write = |path: &Option<PathBuf>, text: String| match path {
        None => Ok(()),
        Some(path) => std::fs::write(path, text).map_err(|e| Error::io(path, "write", &e)),
    };
    let text = match args.format {
        Format::Json => output::json(&report.json())?,
        Format::Md => report.markdown(),
        Format::Csv if report.baseline.is_empty() => {
            output::csv(&GateReport::LIMITS, report.limit_rows())?
        }
        Format::Csv => output::csv(&GateReport::HEADER, report.rows())?,
        Format::Table => report.table(),
    };
    output::figures(&text)?;
    write(&args.junit, report.junit())?;
    write(&args.markdown, report.markdown())?;
    write(&args.bmf, report.bmf()?)?;
    write(&args.json, output::json(&report.json())?)?;
    if let Some(folder) = &args.action_benchmark {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", &e))?;
        for (name, text) in ["smaller.json", "bigger.json"].iter().zip(report.action_benchmark()?) {
            // The action refuses an empty list.
            match text {
                Some(text) => write(&Some(folder.join(name)), text)?,
                None => {
                    output::say(&format!("{name}: nothing of the kind was measured; not written"));
                }
            }
        }
    }
    if args.annotate {
        output::figures(&report.annotations())?;
    }
    Ok(match report.verdict() {
        Verdict::Pass | Verdict::Improvement => Ended::Fine,
        Verdict::Regression => Ended::Negative,
        Verdict::TooNoisy | Verdict::NoBaseline => {
            if !args.strict {
                output::say("WARNING: undecided, which passes: --strict makes it exit code 3");
            }
            if args.strict { Ended::Undecided } else { Ended::Fine }
        }
    })
}
