//! What activations are on real data.

use std::collections::BTreeMap;

use super::range::Seen;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::variant::{DType, Tensors};

/// Samples that are run at once: what they give is held in memory until it is looked at.
const CHUNK: usize = 8;

/// Runs graphs on samples. The recipes know no engine; whoever calls them has one.
pub trait Execute {
    /// Makes a graph the one that is run.
    fn load(&mut self, graph: &Graph, purpose: Purpose) -> Result<()>;
    /// What the loaded graph gives for each sample.
    fn run(&mut self, samples: &[Tensors]) -> Result<Vec<Tensors>>;
}

/// What a graph is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see its inner values: every node as it stands.
    Probe,
    /// To see how good its answers are: as it will be served.
    Judge,
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Smallest and largest of what is finite.
    Extent,
    /// Smallest and largest; a value that is not finite is an error.
    Range,
    /// The distribution too.
    Histogram,
}

/// What each of `wanted` was on the samples; constants and values that are no floats are left out.
///
/// A value that is no finite number is an error that names it and the sample.
pub(super) fn observe(
    graph: &Graph,
    wanted: &[ValueId],
    samples: &[Tensors],
    look: Look,
    execute: &mut dyn Execute,
) -> Result<BTreeMap<ValueId, Seen>> {
    let mut probe = graph.clone();
    let is_float = |id: &ValueId| graph.value(*id).dtype.is_none_or(DType::is_float);
    let made = |id: &ValueId| is_float(id) && graph.constant(Some(*id)).is_none();
    let mut wanted: Vec<ValueId> = wanted.iter().copied().filter(|id| made(id)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (inputs, inner): (Vec<ValueId>, Vec<ValueId>) =
        wanted.iter().copied().partition(|id| graph.inputs.contains(id));
    let mut seen: BTreeMap<ValueId, Seen> =
        wanted.iter().map(|id| (*id, Seen::default())).collect();
    if seen.is_empty() {
        return Ok(seen);
    }
    let name = |id: ValueId| graph.value(id).name.as_str();
    let passes: &[bool] = if look == Look::Histogram { &[false, true] } else { &[false] };
    if !inner.is_empty() {
        probe.outputs.clone_from(&inner);
        execute.load(&probe, Purpose::Probe)?;
    }
    let count = samples.len();
    let last_quarter = samples.len() * 3 / 4;
    for sorts in passes {
        for (chunk, samples) in samples.chunks(CHUNK).enumerate() {
            let given = if inner.is_empty() {
                vec![Tensors::default(); samples.len()]
            } else {
                execute.run(samples)?
            };
            for (at, (sample, given)) in samples.iter().zip(&given).enumerate() {
                for id in inputs.iter().chain(&inner) {
                    let from = if graph.inputs.contains(id) { sample } else { given };
                    let tensor = from.get(name(*id)).ok_or_else(|| {
                        Error::internal("calibration", format!("`{}` was not given", name(*id)))
                    })?;
                    let values = tensor.to_f32();
                    let entry = seen.entry(*id).or_default();
                    if !sorts && chunk * CHUNK + at == last_quarter {
                        entry.early = (entry.low, entry.high);
                    }
                    if *sorts {
                        entry.sort_in(&values);
                    } else if look == Look::Extent {
                        entry.widen_finite(&values);
                    } else if !entry.widen(&values) {
                        return Err(not_finite(name(*id), chunk * CHUNK + at, count));
                    }
                }
            }
        }
    }
    Ok(seen)
}

fn not_finite(name: &str, sample: usize, of: usize) -> Error {
    Error::input(
        format!("sample {sample} of the {of} drawn for calibration"),
        format!("makes `{name}` infinite or no number"),
    )
    .remedy("look for NaN in that sample and in the model's weights; leave the sample out")
}
