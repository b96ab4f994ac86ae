//! Operators that work element by element.

use super::{Lower, Reason};
use crate::graph::op::{Binary, Unary, Variadic};
use crate::graph::{Op, Weight};
use crate::variant::DType;

pub(super) fn read(node: &mut Lower<'_>, name: &str) -> Result<Option<Op>, Reason> {
    if let Some(kind) = Unary::from_name(name) {
        return Ok(Some(Op::Unary(kind)));
    }
    if let Some(kind) = Binary::from_name(name) {
        return Ok(Some(Op::Binary(kind)));
    }
    if let Some(kind) = Variadic::from_name(name) {
        return Ok(Some(Op::Variadic(kind)));
    }
    let a = &node.attributes;
    Ok(Some(match name {
        "Elu" => Op::Elu { alpha: a.float_or("alpha", 1.0)? },
        "Celu" => Op::Celu { alpha: a.float_or("alpha", 1.0)? },
        "Selu" => Op::Selu {
            // The defaults are the schema's, to the last bit of a float.
            alpha: a.float_or("alpha", 1.673_263_2)?,
            gamma: a.float_or("gamma", 1.050_701)?,
        },
        "LeakyRelu" => Op::LeakyRelu { alpha: a.float_or("alpha", 0.01)? },
        "ThresholdedRelu" => Op::ThresholdedRelu { alpha: a.float_or("alpha", 1.0)? },
        "HardSigmoid" => {
            Op::HardSigmoid { alpha: a.float_or("alpha", 0.2)?, beta: a.float_or("beta", 0.5)? }
        }
        "Gelu" => match a.text_or("approximate", "none")?.as_str() {
            "none" => Op::Gelu { tanh: false },
            "tanh" => Op::Gelu { tanh: true },
            other => return Err(format!("approximate is `{other}`")),
        },
        "Clip" => clip(node)?,
        "Mod" => Op::Mod { fmod: a.flag("fmod", false)? },
        "Where" => Op::Where,
        "Cast" => {
            let code = a.int_or("to", 0)?;
            // Only floats of a byte saturate, and no graph holds them.
            a.ignore(&["saturate"]);
            let to = i32::try_from(code).ok().and_then(DType::from_onnx);
            Op::Cast { to: to.ok_or_else(|| format!("casts to element type {code}"))? }
        }
        "CastLike" => {
            a.ignore(&["saturate"]);
            Op::CastLike
        }
        "Identity" => Op::Identity,
        "Dropout" => dropout(node)?,
        _ => return Ok(None),
    }))
}

/// Before opset 11 the bounds are attributes.
fn clip(node: &mut Lower<'_>) -> Result<Op, Reason> {
    if node.since < 11 {
        let (min, max) = (node.attributes.float("min")?, node.attributes.float("max")?);
        let dtype = node.graph.value(node.input(0)?).dtype.unwrap_or(DType::F32);
        if let Some(min) = min {
            node.set_input(1, "min", Weight::scalar(dtype, f64::from(min)));
        }
        if let Some(max) = max {
            node.set_input(2, "max", Weight::scalar(dtype, f64::from(max)));
        }
    }
    Ok(Op::Clip)
}

/// Dropping nothing, as at inference, hands the input on.
fn dropout(node: &mut Lower<'_>) -> Result<Op, Reason> {
    node.attributes.ignore(&["ratio", "seed"]);
    let training = node.inputs.get(2).copied().flatten();
    if training.is_some() && node.graph.number(training) != Some(0.0) {
        return Err("it may be asked to train".to_owned());
    }
    if let Some(mask) = node.output(1) {
        // Everything is kept. Before opset 12 the mask of inference is not defined, and ONNX Runtime
        // gives zeros; before opset 10 it was of the data's type.
        let data = node.input(0)?;
        let dtype = if node.since < 10 { node.graph.value(data).dtype } else { Some(DType::Bool) };
        let kept = if node.since < 12 { 0.0 } else { 1.0 };
        let one = Weight::scalar(dtype.unwrap_or(DType::F32), kept).reshaped(vec![1]);
        let value = one.ok_or("its mask is no number")?;
        let shape = node.first("shape", Op::Shape { start: 0, end: None }, &[data]);
        node.first("mask", Op::ConstantOfShape { value }, &[shape]);
        if let Some(last) = node.before.last_mut() {
            last.outputs = vec![Some(mask)];
        }
    }
    node.inputs.truncate(1);
    node.outputs.truncate(1);
    Ok(Op::Identity)
}
