//! Passes: rewrites that leave the outputs as they are, in a fixed order, until nothing changes.
//!
//! Fusions are offered: an engine names those that its kernels take. The saver takes apart what ONNX
//! has no operator for, so that a graph can be saved after any pass.

mod activation;
mod attention;
mod bias;
mod canonicalise;
mod conv;
mod dead;
mod fold;
mod gelu;
mod layer_norm;
mod pattern;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ir::Graph;
use super::{check, shape};
use crate::error::{Error, Result};

/// A rewrite of the whole graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// Computes what only depends on constants; opens an `If` whose condition is one.
    Fold,
    /// Brings what can be said in several ways into one; removes what does nothing.
    Canonicalise,
    /// Normalisation over the last axis, written out → `LayerNormalization`.
    FuseLayerNorm,
    /// Gelu, written out with the error function or tanh → `Gelu`.
    FuseGelu,
    /// Scores, mask, softmax and values → `Attention`.
    FuseAttention,
    /// `BatchNormalization`, or numbers a channel, → the weights of the `Conv` before it.
    FuseConvBatchNorm,
    /// `MatMul` and `Add` of a vector → `Linear`.
    FuseBias,
    /// What follows a `Conv`, `Gemm` or `Linear` → its activation.
    FuseActivation,
    /// Removes what nothing reads.
    Dead,
}

impl Pass {
    /// All passes in the order in which they run.
    pub const ALL: [Self; 9] = [
        Self::Fold,
        Self::Canonicalise,
        Self::FuseLayerNorm,
        Self::FuseGelu,
        Self::FuseAttention,
        Self::FuseConvBatchNorm,
        Self::FuseBias,
        Self::FuseActivation,
        Self::Dead,
    ];

    /// Its name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Canonicalise => "canonicalise",
            Self::FuseLayerNorm => "fuse-layer-norm",
            Self::FuseGelu => "fuse-gelu",
            Self::FuseAttention => "fuse-attention",
            Self::FuseConvBatchNorm => "fuse-conv-batch-norm",
            Self::FuseBias => "fuse-bias",
            Self::FuseActivation => "fuse-activation",
            Self::Dead => "dead",
        }
    }

    /// Rewrites the graph once; how many places changed.
    fn apply(self, graph: &mut Graph) -> Result<usize> {
        match self {
            Self::Fold => fold::apply(graph),
            Self::Canonicalise => Ok(canonicalise::apply(graph)),
            Self::FuseLayerNorm => Ok(layer_norm::apply(graph)),
            Self::FuseGelu => Ok(gelu::apply(graph)),
            Self::FuseAttention => Ok(attention::apply(graph)),
            Self::FuseConvBatchNorm => Ok(conv::apply(graph)),
            Self::FuseBias => Ok(bias::apply(graph)),
            Self::FuseActivation => Ok(activation::apply(graph)),
            Self::Dead => Ok(dead::apply(graph)),
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Pass {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|pass| pass.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|pass| pass.name()).collect();
            Error::input(format!("pass `{text}`"), "there is none")
                .remedy(format!("name one of {}", names.join(", ")))
        })
    }
}

/// One application of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which one.
    pub pass: Pass,
    /// In which round, from 1.
    pub round: usize,
    /// Places that changed.
    pub changes: usize,
    /// Nodes afterwards.
    pub nodes: usize,
}

/// Rounds after which passes end, whether or not anything would still change.
const MOST_ROUNDS: usize = 4;

/// Runs `passes` in the order given, round after round until nothing changes, at most four times;
/// not more than `most_steps` applications in all.
///
/// After each one the graph is checked and its shapes are inferred again: a pass that breaks either
/// is an error that names it.
pub fn run(graph: &mut Graph, passes: &[Pass], most_steps: usize) -> Result<Vec<Step>> {
    // What does not fit before the first pass is the model's, or that of the sizes bound to it.
    shape::infer(graph)?;
    let mut steps: Vec<Step> = Vec::new();
    for round in 1..=MOST_ROUNDS {
        let mut changed = false;
        for pass in passes {
            if steps.len() == most_steps {
                return Ok(steps);
            }
            let changes = pass.apply(graph)?;
            check::check(graph).and_then(|()| shape::infer(graph)).map_err(|e| {
                Error::internal(format!("pass {pass} on {}", graph.subject), e.message())
            })?;
            changed |= changes > 0;
            steps.push(Step { pass: *pass, round, changes, nodes: graph.nodes.len() });
        }
        if !changed {
            break;
        }
    }
    Ok(steps)
}
