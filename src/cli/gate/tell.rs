//! What a gate found, in every form that was asked for, and how it ends.

use std::path::PathBuf;

use super::Args;
use crate::cli::Ended;
use crate::cli::output::{self, Format};
use crate::error::{Error, Result};
use crate::gate::Verdict;
use crate::report::gate::GateReport;

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
        let [smaller, bigger] = report.action_benchmark()?;
        write(&Some(folder.join("smaller.json")), smaller)?;
        write(&Some(folder.join("bigger.json")), bigger)?;
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
