//! `infermark gate history DIR`: where a series of gates changed its level.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::Ended;
use crate::cli::output::{self, Format};
use crate::error::{Error, Result};
use crate::gate::{Metric, Session};
use crate::stats;

/// Probability of a change where there is none, a series and split.
const ALPHA: f64 = 0.01;
/// Sessions of a series that are looked at, the latest ones: the test takes the square of them.
const WINDOW: usize = 500;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// What `infermark gate … --store DIR` wrote: the folder, or a file of it
    store: PathBuf,
    /// Which metric
    #[arg(long, default_value = "p50")]
    metric: String,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Series {
    workload: String,
    case: String,
    case_id: String,
    hardware_class: String,
    /// The baseline that all of them were measured beside.
    baseline: String,
    sessions: usize,
    from: String,
    to: String,
    /// Candidate / baseline − 1 of the last session (points of quality).
    latest: f64,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    at: String,
    candidate: String,
    /// Median before it and after it, candidate / baseline − 1.
    before: f64,
    after: f64,
    /// What that is as a change of the candidate.
    step: f64,
    p_value: f64,
}

pub(in crate::cli) fn execute(args: &Args) -> Result<Ended> {
    let metric = Metric::named(&args.metric).ok_or_else(|| {
        let names: Vec<&str> = Metric::ALL.iter().map(|m| m.name()).collect();
        Error::input(format!("--metric {}", args.metric), "is no metric")
            .remedy(format!("name one of {}", names.join(", ")))
    })?;
    let sessions = Session::read_all(&args.store)?;
    let groups = Session::by_probe(&sessions);
    let all: Vec<Series> = groups.values().filter_map(|group| series(group, metric)).collect();
    if all.is_empty() {
        return Err(Error::input(
            args.store.display(),
            format!("knows no {} of any session", metric.name()),
        )
        .remedy("p50 is always known; others where they had a budget"));
    }
    let text = match args.format {
        Format::Json => output::json(&all)?,
        Format::Csv => output::csv(&HEADER, rows(&all, metric))?,
        Format::Md => output::markdown(&HEADER, rows(&all, metric)),
        Format::Table => table(&all, metric),
    };
    output::figures(&text)?;
    Ok(Ended::Fine)
}

const HEADER: [&str; 7] = ["case", "session", "candidate", "before", "after", "step", "p_value"];

fn series(group: &[&Session], metric: Metric) -> Option<Series> {
    let known: Vec<(&Session, f64)> =
        group.iter().filter_map(|s| Some((*s, s.middle(metric)?))).collect();
    // Counts of another ISA or counter are another series' business.
    let counted = |s: &Session| s.instructions.as_ref().map(|i| (i.isa.clone(), i.counter.clone()));
    let as_last = known.last().map(|(session, _)| counted(session));
    let is_counted = metric == Metric::Instructions;
    let known: Vec<(&Session, f64)> = known
        .into_iter()
        .filter(|(session, _)| !is_counted || Some(counted(session)) == as_last)
        .collect();
    let known = &known[known.len().saturating_sub(WINDOW)..];
    let (first, (last, latest)) = (known.first()?.0, known.last()?);
    let values: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
    let share = |log: f64| if metric.is_points() { log } else { log.exp_m1() };
    let changes = stats::change_points(&values, ALPHA).into_iter().map(|change| Change {
        at: known[change.at].0.at.clone(),
        candidate: known[change.at].0.candidate.name.clone(),
        before: share(change.before),
        after: share(change.after),
        step: share(change.after - change.before),
        p_value: change.p_value,
    });
    Some(Series {
        workload: last.workload.clone(),
        case: last.case.clone(),
        case_id: last.case_id.clone(),
        hardware_class: last.hardware_class.clone(),
        baseline: last.baseline.name.clone(),
        sessions: known.len(),
        from: first.at.clone(),
        to: last.at.clone(),
        latest: share(*latest),
        changes: changes.collect(),
    })
}

fn rows(all: &[Series], metric: Metric) -> Vec<[String; 7]> {
    let row = |series: &Series, change: &Change| {
        [
            format!("{} {}", series.workload, series.case),
            change.at.clone(),
            change.candidate.clone(),
            shown(change.before, metric),
            shown(change.after, metric),
            shown(change.step, metric),
            format!("{:.3}", change.p_value),
        ]
    };
    all.iter().flat_map(|s| s.changes.iter().map(|c| row(s, c)).collect::<Vec<_>>()).collect()
}

fn shown(share: f64, metric: Metric) -> String {
    if metric.is_points() { format!("{share:+.4}") } else { format!("{:+.2} %", share * 100.0) }
}

fn table(all: &[Series], metric: Metric) -> String {
    let mut text = String::new();
    for series in all {
        text.push_str(&format!(
            "{} {}\n{} sessions beside {} on {}, {} to {}; the last one is at {}\n",
            series.workload,
            series.case,
            series.sessions,
            series.baseline,
            series.hardware_class,
            series.from,
            series.to,
            shown(series.latest, metric)
        ));
        if series.changes.is_empty() {
            text.push_str("no change of level\n\n");
            continue;
        }
        let rows: Vec<Vec<String>> = rows(std::slice::from_ref(series), metric)
            .into_iter()
            .map(|row| row[1..].to_vec())
            .collect();
        text.push_str(&output::ruled(&HEADER[1..], &rows));
        text.push('\n');
    }
    text
}
