//! What every recipe starts from: a graph without detours, with weights that can be compressed.

use super::rewrite::constant_of;
use super::target::Target;
use crate::error::{Error, Result};
use crate::graph::passes::{self, Pass};
use crate::graph::{Graph, Op, Weight};
use crate::variant::{DType, Stage};

/// Passes that bring weights into the open: constants computed, transposed weights transposed, batch
/// norms in the convolutions before them. Nothing is fused that ONNX has no operator for.
const PASSES: [Pass; 4] = [Pass::Fold, Pass::Canonicalise, Pass::FuseConvBatchNorm, Pass::Dead];

/// The graph that recipes work on.
pub(super) fn prepared(parent: &Graph) -> Result<Graph> {
    let mut graph = parent.clone();
    passes::run(&mut graph, &PASSES, usize::MAX)?;
    fold_beta(&mut graph);
    sound_weights(&graph)?;
    // What a recipe is for is a small file, and small models have as much of these as of weights.
    graph.leave_out_inner_types();
    Ok(graph)
}

/// Multiplies a Gemm's beta into a constant that it adds: recipes take that sum apart.
fn fold_beta(graph: &mut Graph) {
    for at in 0..graph.nodes.len() {
        let node = &graph.nodes[at];
        let Op::Gemm { beta, .. } = node.op else { continue };
        let Some((id, bias)) = node.input(2).and_then(|id| Some((id, graph.constant(Some(id))?)))
        else {
            continue;
        };
        if (beta - 1.0).abs() <= 0.0 || bias.dtype() != DType::F32 {
            continue;
        }
        let scaled: Vec<f32> = bias.to_f32().iter().map(|v| v * beta).collect();
        let Some(scaled) = Weight::floats(bias.shape().to_vec(), &scaled) else { continue };
        let scaled = constant_of(graph, id, "beta", scaled);
        let node = &mut graph.nodes[at];
        node.inputs[2] = Some(scaled);
        if let Op::Gemm { beta, .. } = &mut node.op {
            *beta = 1.0;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Dim;

    #[test]
    fn a_constant_bias_takes_its_beta() {
        let mut graph = Graph::new("g");
        let x = graph.add_input("x", DType::F32, vec![Dim::Fixed(1), Dim::Fixed(2)]);
        let weight = Weight::floats(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let weight = graph.add_constant("w", weight);
        let bias = graph.add_constant("b", Weight::floats(vec![2], &[1.0, -2.0]).unwrap());
        let op =
            Op::Gemm { alpha: 1.0, beta: 0.5, trans_a: false, trans_b: false, activation: None };
        let y = graph.push("y", op, &[x, weight, bias]);
        graph.outputs.push(y);
        assert_eq!(Target::of(&graph, &graph.nodes[0]), None);
        fold_beta(&mut graph);
        let target = Target::of(&graph, &graph.nodes[0]).unwrap();
        assert_eq!(graph.constant(target.bias).unwrap().to_f32(), [0.5, -1.0]);
        assert_eq!(graph.constant(Some(bias)).unwrap().to_f32(), [1.0, -2.0], "others may read it");
    }
}
