//! One stage on one graph, with what it needs to see measured once.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::Execute;
use super::fixed::{self, Calibrated};
use super::half;
use super::left;
use super::range::Seen;
use super::rewrite::name_apart;
use super::{blocks, channel, dynamic, prepare};
use crate::error::{Error, Result};
use crate::graph::{Graph, check, infer};
use crate::variant::{Stage, Tensors};

/// Samples whose values decide which nodes overflow.
const HALF_SAMPLES: usize = 32;

/// What stages share: samples, and what was seen of them on the graph that is being worked on.
pub(super) struct Work<'a> {
    pub(super) calibration: &'a [Tensors],
    told: &'a mut dyn FnMut(&str),
    calibrated: Option<Calibrated>,
    observed: Option<BTreeMap<String, Seen>>,
    /// Nodes that the last stage left in float although nobody asked it to, and why.
    pub(super) kept: Vec<(String, String)>,
}

impl<'a> Work<'a> {
    pub(super) fn new(calibration: &'a [Tensors], told: &'a mut dyn FnMut(&str)) -> Self {
        Self { calibration, told, calibrated: None, observed: None, kept: Vec::new() }
    }

    pub(super) fn say(&mut self, what: &str) {
        (self.told)(what);
    }

    /// Forgets what was seen: the next graph is another one.
    pub(super) fn forget(&mut self) {
        (self.calibrated, self.observed) = (None, None);
        self.kept.clear();
    }

    /// What calibration saw last, where the stage calibrated.
    pub(super) fn calibrated(&self) -> Option<&Calibrated> {
        self.calibrated.as_ref()
    }

    /// Names of the nodes that a stage would change.
    pub(super) fn nodes(graph: &Graph, stage: &Stage) -> Result<Vec<String>> {
        let none = BTreeSet::new();
        match stage {
            // Ranges do not matter for which nodes are changed.
            Stage::Int8Static(p) => Ok(fixed::names(graph, p)),
            Stage::Half(_) => Ok(graph.nodes.iter().map(|n| n.name.clone()).collect()),
            Stage::Int8Dynamic(p) => dynamic::apply(&mut graph.clone(), *p, &none),
            Stage::Blocks(p) => blocks::apply(&mut graph.clone(), *p, &none),
            Stage::Channel(p) => channel::apply(&mut graph.clone(), *p, &none),
            Stage::Mixed(p) => Self::nodes(graph, &p.base),
        }
    }

    /// The graph after a stage, and the names of the nodes that changed; those in `keep` did not.
    ///
    /// A stage that finds nothing to do is an error.
    pub(super) fn apply(
        &mut self,
        graph: &Graph,
        stage: &Stage,
        keep: &BTreeSet<String>,
        execute: &mut dyn Execute,
    ) -> Result<(Graph, Vec<String>)> {
        if stage.quantises() {
            prepare::not_quantised(graph, stage)?;
        }
        let mut made = graph.clone();
        let mut kept = Vec::new();
        let changed = match stage {
            Stage::Half(half) => {
                let seen = match &mut self.observed {
                    Some(seen) => seen,
                    unknown => {
                        let few = &self.calibration[..self.calibration.len().min(HALF_SAMPLES)];
                        unknown.insert(half::observed(graph, few, execute)?)
                    }
                };
                let halved = half::apply(&mut made, *half, seen, keep)?;
                kept = halved.kept;
                halved.changed
            }
            Stage::Int8Dynamic(p) => dynamic::apply(&mut made, *p, keep)?,
            Stage::Int8Static(p) => {
                let calibrated = match &mut self.calibrated {
                    Some(calibrated) => calibrated,
                    unknown => {
                        unknown.insert(fixed::calibrate(graph, p, self.calibration, execute)?)
                    }
                };
                fixed::apply(&mut made, p, &calibrated.ranges, keep)?
            }
            Stage::Blocks(p) => blocks::apply(&mut made, *p, keep)?,
            Stage::Channel(p) => channel::apply(&mut made, *p, keep)?,
            Stage::Mixed(_) => return Err(Error::internal("mixed", "is a search, not a rewrite")),
        };
        kept.extend(
            left::out(graph, stage, &changed).into_iter().filter(|(n, _)| !keep.contains(n)),
        );
        if changed.is_empty() {
            let why = left::sentence(&kept);
            return Err(Error::input(
                &graph.subject,
                format!("has no node that `{stage}` could change{why}"),
            )
            .remedy(what_matches(stage)));
        }
        self.kept = kept;
        let known = graph.nodes.iter().map(|n| n.name.clone()).collect();
        name_apart(&mut made, &known);
        check(&made)
            .and_then(|()| infer(&mut made))
            .map_err(|e| Error::internal(format!("{stage} on {}", graph.subject), e.message()))?;
        Ok((made, changed))
    }
}

fn what_matches(stage: &Stage) -> &'static str {
    match stage {
        Stage::Half(_) => "it takes nodes that compute with f32",
        Stage::Int8Dynamic(p) if !p.conv => {
            "it takes MatMul and Gemm with a constant weight of two axes; with -conv also Conv"
        }
        Stage::Blocks(_) => "it takes MatMul and Gemm with a constant weight of two axes",
        _ => "it takes MatMul, Gemm and Conv with constant weights",
    }
}
