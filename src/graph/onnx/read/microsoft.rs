//! Operators of ONNX Runtime's own domain, com.microsoft: what its tools write. Fused ones are taken
//! apart; ours are fused again by passes where an engine takes them.

use super::{Lower, Reason};
use crate::graph::Op;
use crate::graph::op::{Binary, NBits};

pub(super) fn read(node: &mut Lower<'_>) -> Result<Op, Reason> {
    match node.proto.op_type.as_str() {
        "MatMulNBits" => {
            if node.inputs.iter().skip(4).any(Option::is_some) {
                return Err("it reorders its weights, or adds a bias".to_owned());
            }
            let a = &node.attributes;
            let (k, n, bits) = (a.size("K")?, a.size("N")?, a.size_or("bits", 4)?);
            let (block_size, accuracy_level) =
                (a.size("block_size")?, a.int_or("accuracy_level", 0)?);
            if !matches!(bits, 2 | 4 | 8) {
                return Err(format!("its weights have {bits} bits"));
            }
            Ok(Op::MatMulNBits(NBits { k, n, bits, block_size, accuracy_level }))
        }
        "Gelu" => Ok(Op::Gelu { tanh: false }),
        "BiasGelu" => biased_gelu(node, false),
        "FastGelu" => biased_gelu(node, true),
        "SkipLayerNormalization" => skip_layer_normalization(node),
        _ => Err("the graph has no such operator".to_owned()),
    }
}

fn biased_gelu(node: &mut Lower<'_>, tanh: bool) -> Result<Op, Reason> {
    if node.has(1) {
        let inputs = [node.input(0)?, node.input(1)?];
        let sum = node.first("biased", Op::Binary(Binary::Add), &inputs);
        node.inputs = vec![Some(sum)];
    }
    Ok(Op::Gelu { tanh })
}

/// Inputs: x, skip, gamma, and optionally beta and bias; outputs: result, two that are never given,
/// and the sum.
fn skip_layer_normalization(node: &mut Lower<'_>) -> Result<Op, Reason> {
    let epsilon = node.attributes.float_or("epsilon", 1e-12)?;
    if node.output(1).is_some() || node.output(2).is_some() {
        return Err("its statistics are asked for".to_owned());
    }
    let (input, skip, gamma) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (beta, bias) =
        (node.inputs.get(3).copied().flatten(), node.inputs.get(4).copied().flatten());
    let mut sum = node.first("sum", Op::Binary(Binary::Add), &[input, skip]);
    if let Some(bias) = bias {
        sum = node.first("biased", Op::Binary(Binary::Add), &[sum, bias]);
    }
    if let (Some(given), Some(last)) = (node.output(3), node.before.last_mut()) {
        last.outputs = vec![Some(given)];
        sum = given;
    }
    node.inputs = vec![Some(sum), Some(gamma), beta];
    node.outputs.truncate(1);
    Ok(Op::LayerNormalization { axis: -1, epsilon })
}
