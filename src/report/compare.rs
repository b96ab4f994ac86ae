//! Variants beside the baseline: speed-up, size, quality kept.

use super::model::{NONE, number, verdict};
use crate::quality::{Metric, QualityFigure};
use crate::store::{Record, Versus};

/// Variants beside the baseline, case by case.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What they are compared with, and how far to trust it.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// One a record of another variant.
    pub rows: Vec<Vec<String>>,
}

impl Comparison {
    /// Of the records that were compared; `None` when none was.
    pub(super) fn of(records: &[Record]) -> Option<Self> {
        let baseline = records.iter().find_map(|r| r.baseline.clone())?;
        // What was measured before the baseline was is compared all the same.
        let beside = |record: &Record| -> Option<Versus> {
            if record.case.variant == baseline {
                return None;
            }
            let other = records
                .iter()
                .find(|r| r.case.variant == baseline && r.is_beside(record) && r.failure.is_none());
            let kept = record.versus_baseline.clone();
            kept.or_else(|| other.map(|other| record.versus(other)))
        };
        let compared: Vec<(&Record, Versus)> =
            records.iter().filter_map(|r| Some((r, beside(r)?))).collect();
        if compared.is_empty() {
            return None;
        }
        let decides = compared.iter().find_map(|(r, _)| Some(r.deciding()?.metric.clone()));
        // The largest error stands in the notes: there is no room for everything.
        let against = [Metric::Agreement, Metric::Cosine];
        let decides = decides.filter(|metric| !metric.is_against_parent());
        let shown: Vec<&Metric> = against
            .iter()
            .filter(|metric| compared.iter().any(|(r, _)| r.figure(metric).is_some()))
            .collect();
        let mut columns: Vec<String> =
            ["variant", "load", "speed-up", "size"].map(String::from).to_vec();
        if decides.is_some() {
            columns.extend(["kept", "difference"].map(String::from));
        }
        columns.extend(shown.iter().map(|metric| match metric {
            Metric::Agreement => "agree".to_owned(),
            other => other.to_string(),
        }));
        columns.push("verdict".to_owned());
        let rows = compared
            .iter()
            .map(|(record, versus)| {
                let ratio = |of: Option<f64>, unit: &str| {
                    of.map_or_else(|| NONE.to_owned(), |v| format!("{v:.2}{unit}"))
                };
                let speedup =
                    if let (Some(low), Some(high)) = (versus.speedup_low, versus.speedup_high) {
                        format!("{} [{low:.2}, {high:.2}]", ratio(versus.speedup, "×"))
                    } else {
                        let unpaired = if versus.speedup.is_some() { "~" } else { "" };
                        format!("{unpaired}{}", ratio(versus.speedup, "×"))
                    };
                let mut cells = vec![
                    record.case.variant.clone(),
                    format!("{} × {}", record.case.batching.sizes(), record.case.scenario),
                    speedup,
                    ratio(versus.size_ratio, "×"),
                ];
                if let Some(metric) = &decides {
                    let kept = versus.quality_kept;
                    cells.push(
                        kept.map_or_else(|| NONE.to_owned(), |k| format!("{:.1}%", 100.0 * k)),
                    );
                    let difference = record.figure(metric).and_then(difference);
                    cells.push(difference.unwrap_or_else(|| NONE.to_owned()));
                }
                cells.extend(shown.iter().map(|metric| {
                    record.figure(metric).map_or_else(|| NONE.to_owned(), |q| number(q.value))
                }));
                let fails = record.verdict.meets_quality == Some(false);
                cells.push(format!("{}{}", verdict(record), if fails { " FAILS" } else { "" }));
                cells
            })
            .collect();
        let title = format!(
            "compared with {baseline} (load: batch × scenario). Speed-up is that of full batches, one at a \
             time, with its 95 % interval over pairs of fresh processes that take turns (and so are held back \
             less by a quota than under load); with ~ it is a ratio of medians of separate processes, which differ by 20 % and more on shared machines. \
             {}The difference is paired, sample by sample, with the model itself.",
            decides.as_ref().map_or_else(String::new, |m| format!("Kept is {m}. "))
        );
        Some(Self { title, columns, rows })
    }
}

/// `-0.012 ±0.006`: to the parent, with its paired interval.
fn difference(figure: &QualityFigure) -> Option<String> {
    let delta = figure.delta?;
    Some(match (figure.delta_low, figure.delta_high) {
        (Some(low), Some(high)) => format!("{delta:+.3} ±{:.3}", (high - low) / 2.0),
        _ => format!("{delta:+.3}"),
    })
}
