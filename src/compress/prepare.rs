//! What every recipe starts from: a graph without detours, with weights that can be compressed.

use super::target::Target;
use crate::error::{Error, Result};
use crate::graph::passes::{self, Pass};
use crate::graph::{Graph, Op};
use crate::variant::Stage;

/// Passes that bring weights into the open: constants computed, transposed weights transposed, batch
/// norms in the convolutions before them. Nothing is fused that ONNX has no operator for.
const PASSES: [Pass; 4] = [Pass::Fold, Pass::Canonicalise, Pass::FuseConvBatchNorm, Pass::Dead];

/// The graph that recipes work on.
pub(super) fn prepared(parent: &Graph) -> Result<Graph> {
    let mut graph = parent.clone();
    passes::run(&mut graph, &PASSES, usize::MAX)?;
    sound_weights(&graph)?;
    // What a recipe is for is a small file, and small models have as much of these as of weights.
    graph.leave_out_inner_types();
    Ok(graph)
}

/// Whether every weight that may be compressed is one: finite numbers, not all of them 0.
fn sound_weights(graph: &Graph) -> Result<()> {
    for node in &graph.nodes {
        let Some(target) = Target::of(graph, node) else { continue };
        let Some(weight) = graph.constant(Some(target.weight)) else { continue };
        let values = weight.to_f32();
        let name = &graph.value(target.weight).name;
        let bad = |what: String| {
            Error::input(
                &graph.subject,
                format!("node `{}` ({}): weight `{name}` {what}", node.name, node.op.name()),
            )
            .remedy("check how the model was trained and exported; such a weight is no model's")
        };
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(bad(format!("holds {} at element {at}", values[at])));
        }
        if values.iter().all(|v| *v == 0.0) {
            return Err(bad("is all zeros".to_owned()));
        }
    }
    Ok(())
}

/// Refuses to quantise what is quantised.
pub(super) fn not_quantised(graph: &Graph, stage: &Stage) -> Result<()> {
    let is_quantised = |op: &Op| {
        matches!(
            op,
            Op::QuantizeLinear(_)
                | Op::DequantizeLinear { .. }
                | Op::DynamicQuantizeLinear
                | Op::MatMulInteger
                | Op::ConvInteger(_)
                | Op::QLinearMatMul
                | Op::QLinearConv(_)
                | Op::MatMulNBits(_)
        )
    };
    let mut quantised = graph.nodes.iter().filter(|node| is_quantised(&node.op));
    let Some(first) = quantised.next() else { return Ok(()) };
    let more = quantised.count();
    Err(Error::input(
        &graph.subject,
        format!(
            "is quantised already: node `{}` ({}) and {more} more; `{stage}` would quantise it again",
            first.name,
            first.op.name()
        ),
    )
    .remedy("give the model in fp32; of a chain let one stage quantise"))
}
