//! Quality of the two sides of a gate, on the same samples.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::Worker;
use super::judge;
use super::pairs::Side;
use super::protocol::{Command, Event};
use crate::error::{Error, Result};
use crate::quality::{ALL, Metric, Outputs, QualityFigure};
use crate::units::Nanos;
use crate::workload::{QualitySpec, Resolved};

/// The deciding figure of both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct SidesQuality {
    /// Which figure.
    pub metric: Metric,
    /// Samples it is on.
    pub samples: usize,
    /// The baseline's.
    pub baseline: f64,
    /// The candidate's.
    pub candidate: f64,
    /// Ends of the 95 % interval of the difference, over samples of the same kind.
    pub ends: Option<(f64, f64)>,
    /// Whether less of it is better.
    pub fewer_is_better: bool,
}

/// Runs every sample through both sides, in batches of the case, and judges them: nothing is timed.
///
/// A program of the user's must answer `outputs` (docs/worker-protocol.md).
pub fn quality_of_sides(
    resolved: &Resolved,
    a: &Side,
    b: &Side,
    patience: Nanos,
    interrupted: &Arc<AtomicBool>,
) -> Result<SidesQuality> {
    let before = outputs(resolved, a, patience, interrupted)?;
    let now = outputs(resolved, b, patience, interrupted)?;
    let old = judge::figures(resolved, &before, None, interrupted)?;
    let new = judge::figures(resolved, &now, Some(&before), interrupted)?;
    let spec = resolved.workload.quality.as_ref();
    let decides = |figure: &&QualityFigure| {
        figure.segment == ALL && spec.is_none_or(|spec| spec.metric == figure.metric)
    };
    let figure = new.iter().find(decides).ok_or_else(|| {
        Error::input("gate.quality", "the workload's data gives no figure of quality")
            .remedy("label the data (docs/workloads.md), or leave the budget out")
    })?;
    let baseline = match figure.metric {
        // Against itself.
        Metric::MaxAbsError => 0.0,
        Metric::Agreement | Metric::Cosine => 1.0,
        _ => {
            let same =
                |other: &&QualityFigure| other.metric == figure.metric && other.segment == ALL;
            let figure = old.iter().find(same);
            figure.ok_or_else(|| Error::internal("gate", "the baseline lacks the figure"))?.value
        }
    };
    Ok(SidesQuality {
        samples: figure.samples,
        baseline,
        candidate: figure.value,
        ends: figure.delta_low.zip(figure.delta_high),
        fewer_is_better: spec
            .map_or(figure.metric == Metric::MaxAbsError, QualitySpec::fewer_is_better),
        metric: figure.metric.clone(),
    })
}

fn outputs(
    resolved: &Resolved,
    side: &Side,
    patience: Nanos,
    interrupted: &Arc<AtomicBool>,
) -> Result<Outputs> {
    let threads = side.spec.options.threads;
    let mut worker = Worker::start(&side.program, &side.name, threads, Arc::clone(interrupted))?;
    let prepare = Command::Prepare(Box::new(side.spec.clone()));
    match worker.ask(&prepare, patience)?.0 {
        Event::Prepared { .. } => {}
        other => return Err(worker.unexpected(&other)),
    }
    let output = resolved.workload.quality.as_ref().and_then(|q| q.output.as_deref());
    let size = side.spec.batching.size();
    let all = judge::outputs(&mut worker, output, resolved.data.samples, size, patience)?;
    worker.quit()?;
    Ok(all)
}
