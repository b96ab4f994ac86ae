//! What a user should know of a compressed model before trusting it, each with its evidence.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::range::Seen;
use crate::graph::{Graph, Node};
use crate::quality::{ALL, Metric, QualityFigure};
use crate::units::{Bytes, hex};
use crate::variant::{DType, Stage, TensorData, Tensors};
use sha2::{Digest, Sha256};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable name: `calibration-small`, `calibration-overlap`, `calibration-unlike`, `clipped`,
    /// `cliff`, `size`.
    pub code: String,
    /// The sentence, with its figures.
    pub text: String,
}

impl Warning {
    /// A warning under a stable name.
    pub fn new(code: &str, text: String) -> Self {
        Self { code: code.to_owned(), text }
    }
}

/// Fewer calibration samples than this are called few.
const FEW_SAMPLES: usize = 32;
/// A range that still grew by more than this over the last quarter of the samples has not settled.
const UNSETTLED: f32 = 0.05;
/// A share of values above this that a range cuts is worth a word.
const CLIPPED: f64 = 0.01;
/// Agreement with the model below this, its interval included, is a cliff.
const CLIFF_AGREEMENT: f64 = 0.95;
/// An accuracy that falls by more than this, its interval included, is a cliff.
const CLIFF_ACCURACY: f64 = -0.02;
/// A cosine below this is a cliff where nothing else can be judged.
const CLIFF_COSINE: f64 = 0.9;
/// Times the size that the bits a weight promise.
const OVERSIZE: f64 = 1.25;
/// A weight that takes this share of a file is worth naming.
const LARGE: f64 = 0.1;

/// Whether the samples were enough for the ranges to settle.
pub(super) fn small(samples: usize, seen: &BTreeMap<String, Seen>) -> Option<Warning> {
    let unsettled = seen.values().filter(|s| s.growth() > UNSETTLED).count();
    let few = samples < FEW_SAMPLES;
    if !few && unsettled * 10 <= seen.len() {
        return None;
    }
    let text = format!(
        "{samples} calibration samples: the ranges of {unsettled} of {} activations still grew by \
         more than {:.0} % over the last quarter of them; give more",
        seen.len(),
        UNSETTLED * 100.0
    );
    Some(Warning::new("calibration-small", text))
}

/// Whether calibration has seen what the test asks.
pub fn overlap(calibration: &[Tensors], test: &[Tensors]) -> Option<Warning> {
    let digest = |sample: &Tensors| {
        let mut hasher = Sha256::new();
        sample.feed(&mut hasher);
        hex(&hasher.finalize())
    };
    let known: HashSet<String> = calibration.iter().map(digest).collect();
    let both = test.iter().filter(|sample| known.contains(&digest(sample))).count();
    (both > 0).then(|| {
        let text = format!(
            "{both} of {} test samples are among those of calibration: quality on them is flattered",
            test.len()
        );
        Warning::new("calibration-overlap", text)
    })
}

/// Whether calibration samples are like those of the test: in length, and in what they consist of.
pub fn unlike(calibration: &[Tensors], test: &[Tensors]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let lengths = |samples: &[Tensors]| {
        let mut all: Vec<usize> =
            samples.iter().filter_map(|s| s.0.first()?.1.shape().get(1).copied()).collect();
        all.sort_unstable();
        all
    };
    let (ours, theirs) = (lengths(calibration), lengths(test));
    let middle = |all: &[usize]| all.get(all.len() / 2).copied().unwrap_or(0);
    let (mine, other) = (middle(&ours), middle(&theirs));
    if mine > 0 && other > 0 && (mine > other * 3 / 2 || other > mine * 3 / 2) {
        let text = format!(
            "calibration samples have a median length of {mine}, those of the test of {other}"
        );
        warnings.push(Warning::new("calibration-unlike", text));
    }
    for (name, _) in test.first().iter().flat_map(|s| &s.0) {
        let ids = |samples: &[Tensors]| -> Vec<i64> {
            samples
                .iter()
                .filter_map(|s| s.get(name))
                .flat_map(|tensor| match tensor.data() {
                    TensorData::I64(v) => v.clone(),
                    TensorData::I32(v) => v.iter().map(|x| i64::from(*x)).collect(),
                    _ => Vec::new(),
                })
                .collect()
        };
        let known: BTreeSet<i64> = ids(calibration).into_iter().collect();
        let asked = ids(test);
        let new = asked.iter().filter(|id| !known.contains(id)).count();
        if !asked.is_empty() && new * 2 > asked.len() {
            let text = format!(
                "{new} of {} values of `{name}` in the test never occur in calibration",
                asked.len()
            );
            warnings.push(Warning::new("calibration-unlike", text));
        }
    }
    warnings
}

/// Activations that the calibrated ranges cut on the validation samples.
pub(super) fn clipped(shares: &BTreeMap<String, f64>) -> Option<Warning> {
    let cut = shares.iter().filter(|(_, share)| **share > CLIPPED);
    let worst = cut.clone().max_by(|a, b| a.1.total_cmp(b.1))?;
    let text = format!(
        "{} of {} activations lose more than {:.0} % of their values to the calibrated range on the \
         validation samples, `{}` {:.1} %",
        cut.count(),
        shares.len(),
        CLIPPED * 100.0,
        worst.0,
        worst.1 * 100.0
    );
    Some(Warning::new("clipped", text))
}

/// Whether the answers fell off.
pub(super) fn cliff(stage: &Stage, figures: &[QualityFigure]) -> Option<Warning> {
    let find = |metric: Metric| figures.iter().find(|f| f.metric == metric && f.segment == ALL);
    let n = |f: &QualityFigure| f.samples;
    if let Some(f) = find(Metric::Accuracy)
        && let (Some(delta), Some(low), Some(high)) = (f.delta, f.delta_low, f.delta_high)
        && high < CLIFF_ACCURACY
    {
        let text = format!(
            "{stage} falls off a cliff: accuracy {:.3}, {:+.1} points [{:+.1}, {:+.1}] against the \
             model's on {} validation samples",
            f.value,
            delta * 100.0,
            low * 100.0,
            high * 100.0,
            n(f)
        );
        return Some(Warning::new("cliff", text));
    }
    let agreement = find(Metric::Agreement);
    if let Some(f) = agreement
        && let Some(high) = f.high
        && high < CLIFF_AGREEMENT
    {
        let text = format!(
            "{stage} falls off a cliff: {:.1} % of {} validation samples are decided as by the model",
            f.value * 100.0,
            n(f)
        );
        return Some(Warning::new("cliff", text));
    }
    let f = find(Metric::Cosine).filter(|f| f.value < CLIFF_COSINE)?;
    let text = format!(
        "{stage} falls off a cliff: answers have a mean cosine of {:.3} with the model's on {} \
         validation samples",
        f.value,
        n(f)
    );
    Some(Warning::new("cliff", text))
}

/// Bits that a stage spends on a weight, its share of scales included.
fn bits(stage: &Stage) -> f64 {
    match stage {
        Stage::Half(_) => 16.0,
        Stage::Int8Dynamic(_) | Stage::Int8Static(_) => 8.0,
        Stage::Blocks(p) => {
            let zero = if p.asymmetric { p.bits } else { 0 };
            f64::from(p.bits) + f64::from(32 + u32::from(zero)) / p.block as f64
        }
        Stage::Channel(p) => {
            if p.bits <= 4 {
                4.0
            } else {
                8.0
            }
        }
        Stage::Mixed(p) => bits(&p.base),
    }
}

/// Whether a file is much larger than its bits a weight promise, and what takes the room.
pub(super) fn size(graph: &Graph, stage: &Stage, bytes: Bytes, parameters: u64) -> Option<Warning> {
    let bits = bits(stage);
    let theory = parameters as f64 * bits / 8.0;
    if theory <= 0.0 || bytes.0 as f64 <= theory * OVERSIZE {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size, above 0")]
    let whole = theory as u64;
    let used: BTreeSet<_> = graph.nodes.iter().flat_map(Node::reads).collect();
    let largest = used
        .into_iter()
        .filter_map(|id| Some((id, graph.constant(Some(id))?)))
        .filter(|(_, weight)| {
            weight.dtype().is_float() && weight.dtype().size() as f64 * 8.0 > bits
        })
        .max_by_key(|(_, weight)| weight.bytes().len())
        .filter(|(_, weight)| weight.bytes().len() as f64 > bytes.0 as f64 * LARGE)?;
    let reader = graph.nodes.iter().find(|n| n.reads().any(|id| id == largest.0))?;
    let text = format!(
        "{stage}: {bytes}, where {bits} bits a weight would be {}: {} of it are `{}`, left in {} for {}{}",
        Bytes(whole),
        Bytes(largest.1.bytes().len() as u64),
        graph.value(largest.0).name,
        largest.1.dtype(),
        reader.op.name(),
        if largest.1.dtype() == DType::F32 { "; a stage +fp16 halves it" } else { "" },
    );
    Some(Warning::new("size", text))
}
