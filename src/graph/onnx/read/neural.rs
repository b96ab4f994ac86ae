//! Normalisation, attention and recurrent networks.

use super::{Lower, Reason};
use crate::graph::Op;
use crate::graph::op::{Direction, LrnAttributes, Recurrent};

pub(super) fn read(node: &mut Lower<'_>, name: &str) -> Result<Option<Op>, Reason> {
    let a = &node.attributes;
    Ok(Some(match name {
        "BatchNormalization" => {
            a.ignore(&["momentum"]);
            if !a.flag("spatial", true)? || a.flag("training_mode", false)? {
                return Err("it normalises each place on its own, or trains".to_owned());
            }
            if node.outputs.iter().skip(1).any(Option::is_some) {
                return Err("its running statistics are asked for".to_owned());
            }
            let epsilon = a.float_or("epsilon", 1e-5)?;
            node.outputs.truncate(1);
            Op::BatchNormalization { epsilon }
        }
        "InstanceNormalization" => {
            Op::InstanceNormalization { epsilon: a.float_or("epsilon", 1e-5)? }
        }
        "LayerNormalization" | "RMSNormalization" => {
            if a.int_or("stash_type", 1)? != 1 {
                return Err("its statistics are not kept in f32".to_owned());
            }
            let (axis, epsilon) = (a.int_or("axis", -1)?, a.float_or("epsilon", 1e-5)?);
            match name {
                "LayerNormalization" => Op::LayerNormalization { axis, epsilon },
                _ => Op::RMSNormalization { axis, epsilon },
            }
        }
        "GroupNormalization" => {
            if node.since < 21 {
                return Err("before opset 21 it scales groups and not channels".to_owned());
            }
            if a.int_or("stash_type", 1)? != 1 {
                return Err("its statistics are not kept in f32".to_owned());
            }
            let epsilon = a.float_or("epsilon", 1e-5)?;
            Op::GroupNormalization { num_groups: a.size("num_groups")?, epsilon }
        }
        "LRN" => Op::LRN(LrnAttributes {
            alpha: a.float_or("alpha", 1e-4)?,
            beta: a.float_or("beta", 0.75)?,
            bias: a.float_or("bias", 1.0)?,
            size: a.size("size")?,
        }),
        "LpNormalization" => {
            Op::LpNormalization { axis: a.int_or("axis", -1)?, p: a.int_or("p", 2)? }
        }
        "Attention" => attention(node)?,
        "LSTM" => {
            if a.flag("input_forget", false)? {
                return Err("its input and forget gates are coupled".to_owned());
            }
            Op::LSTM(Box::new(recurrent(node)?))
        }
        "GRU" => Op::GRU {
            linear_before_reset: a.flag("linear_before_reset", false)?,
            recurrent: Box::new(recurrent(node)?),
        },
        _ => return Ok(None),
    }))
}

/// The plain form, heads as an axis of their own, without a cache.
fn attention(node: &mut Lower<'_>) -> Result<Op, Reason> {
    let a = &node.attributes;
    a.ignore(&["qk_matmul_output_mode"]);
    if a.flag("is_causal", false)? || a.float_or("softcap", 0.0)? > 0.0 {
        return Err("it is causal, or caps its scores".to_owned());
    }
    let query = node.input(0)?;
    let rank =
        |index: usize| node.graph.dims(node.inputs.get(index).copied().flatten()).map(<[_]>::len);
    if (0..3).any(|index| rank(index) != Some(4)) {
        return Err("heads are not an axis of their own".to_owned());
    }
    let heads =
        |at: usize| node.graph.dims(node.inputs.get(at).copied().flatten()).map(|d| d[1].clone());
    if heads(0) != heads(1) {
        return Err("queries and keys differ in heads".to_owned());
    }
    if node.inputs.iter().skip(4).chain(node.outputs.iter().skip(1)).any(Option::is_some) {
        return Err("it keeps a cache, or its scores are asked for".to_owned());
    }
    let mask = node.inputs.get(3).copied().flatten();
    if mask.is_some_and(|mask| node.graph.value(mask).dtype.is_none_or(|t| !t.is_float())) {
        return Err("its mask is not one of floats".to_owned());
    }
    let width = node.graph.dims(Some(query)).and_then(|d| d[3].fixed());
    let scale = match (a.float("scale")?, width) {
        (Some(scale), _) => scale,
        (None, Some(width)) => 1.0 / (width as f32).sqrt(),
        (None, None) => return Err("its scale depends on a size that is not known".to_owned()),
    };
    Ok(Op::Attention { scale })
}

fn recurrent(node: &Lower<'_>) -> Result<Recurrent, Reason> {
    let a = &node.attributes;
    Ok(Recurrent {
        hidden_size: a.size("hidden_size")?,
        direction: match a.text_or("direction", "forward")?.as_str() {
            "forward" => Direction::Forward,
            "reverse" => Direction::Reverse,
            "bidirectional" => Direction::Bidirectional,
            other => return Err(format!("direction is `{other}`")),
        },
        activations: a.texts("activations")?,
        activation_alpha: a.floats("activation_alpha")?.unwrap_or_default(),
        activation_beta: a.floats("activation_beta")?.unwrap_or_default(),
        clip: a.float("clip")?,
        batch_first: a.flag("layout", false)?,
    })
}
