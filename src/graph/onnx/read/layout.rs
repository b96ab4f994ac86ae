//! Operators on shapes and places.

use super::{Lower, Reason};
use crate::graph::op::{PadMode, ResizeAttributes, ScatterReduction};
use crate::graph::{Op, Weight};
use crate::variant::DType;

pub(super) fn read(node: &mut Lower<'_>, name: &str) -> Result<Option<Op>, Reason> {
    let a = &node.attributes;
    Ok(Some(match name {
        "Shape" => Op::Shape { start: a.int_or("start", 0)?, end: a.int("end")? },
        "Size" => Op::Size,
        "Reshape" => Op::Reshape { allowzero: a.flag("allowzero", false)? },
        "Flatten" => Op::Flatten { axis: a.int_or("axis", 1)? },
        "Squeeze" => {
            axes(node, 13)?;
            Op::Squeeze
        }
        "Unsqueeze" => {
            axes(node, 13)?;
            Op::Unsqueeze
        }
        "Transpose" => Op::Transpose { perm: a.sizes("perm")? },
        "Expand" => Op::Expand,
        "Tile" => Op::Tile,
        "Concat" => Op::Concat { axis: a.int("axis")?.ok_or("attribute `axis` is missing")? },
        "Split" => split(node)?,
        "Slice" => slice(node)?,
        "Pad" => pad(node)?,
        "Gather" => Op::Gather { axis: a.int_or("axis", 0)? },
        "GatherElements" => Op::GatherElements { axis: a.int_or("axis", 0)? },
        "GatherND" => Op::GatherND { batch_dims: a.size_or("batch_dims", 0)? },
        // `Scatter` of opsets 9 and 10 was renamed.
        "ScatterElements" | "Scatter" => {
            Op::ScatterElements { axis: a.int_or("axis", 0)?, reduction: reduction(node)? }
        }
        "ScatterND" => Op::ScatterND { reduction: reduction(node)? },
        "ConstantOfShape" => {
            let zero = || Weight::scalar(DType::F32, 0.0);
            let value = a.tensor("value")?.unwrap_or_else(zero);
            let value = value.reshaped(vec![1]).ok_or("its value is not one element")?;
            Op::ConstantOfShape { value }
        }
        "Range" => Op::Range,
        "OneHot" => Op::OneHot { axis: a.int_or("axis", -1)? },
        "Trilu" => Op::Trilu { upper: a.flag("upper", true)? },
        "CumSum" => Op::CumSum {
            exclusive: a.flag("exclusive", false)?,
            reverse: a.flag("reverse", false)?,
        },
        "NonZero" => Op::NonZero,
        "TopK" => top_k(node)?,
        "DepthToSpace" => Op::DepthToSpace {
            blocksize: a.size("blocksize")?,
            column_row_depth: match a.text_or("mode", "DCR")?.as_str() {
                "DCR" => false,
                "CRD" => true,
                other => return Err(format!("mode is `{other}`")),
            },
        },
        "SpaceToDepth" => Op::SpaceToDepth { blocksize: a.size("blocksize")? },
        "Resize" | "Upsample" => resize(node)?,
        _ => return Ok(None),
    }))
}

/// Before opset `until` axes are an attribute, from then on input 1.
pub(super) fn axes(node: &mut Lower<'_>, until: i64) -> Result<(), Reason> {
    if node.since < until
        && let Some(axes) = node.attributes.ints("axes")?
    {
        node.set_input(1, "axes", Weight::ints(&axes));
    }
    Ok(())
}

fn split(node: &mut Lower<'_>) -> Result<Op, Reason> {
    let axis = node.attributes.int_or("axis", 0)?;
    if node.since < 13
        && let Some(sizes) = node.attributes.ints("split")?
    {
        node.set_input(1, "split", Weight::ints(&sizes));
    }
    let stated = node.attributes.size_or("num_outputs", node.outputs.len())?;
    Ok(Op::Split { axis, num_outputs: (!node.has(1)).then_some(stated) })
}

fn slice(node: &mut Lower<'_>) -> Result<Op, Reason> {
    if node.since < 10 {
        for (index, key) in [(1, "starts"), (2, "ends"), (3, "axes")] {
            if let Some(values) = node.attributes.ints(key)? {
                node.set_input(index, key, Weight::ints(&values));
            }
        }
    }
    Ok(Op::Slice)
}

fn pad(node: &mut Lower<'_>) -> Result<Op, Reason> {
    let mode = match node.attributes.text_or("mode", "constant")?.as_str() {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => PadMode::Wrap,
        other => return Err(format!("mode is `{other}`")),
    };
    if node.since < 11 {
        let pads = node.attributes.ints("pads")?.ok_or("attribute `pads` is missing")?;
        let value = node.attributes.float_or("value", 0.0)?;
        let dtype = node.graph.value(node.input(0)?).dtype.unwrap_or(DType::F32);
        node.set_input(1, "pads", Weight::ints(&pads));
        node.set_input(2, "value", Weight::scalar(dtype, f64::from(value)));
    }
    Ok(Op::Pad { mode })
}

fn reduction(node: &Lower<'_>) -> Result<ScatterReduction, Reason> {
    Ok(match node.attributes.text_or("reduction", "none")?.as_str() {
        "none" => ScatterReduction::None,
        "add" => ScatterReduction::Add,
        "mul" => ScatterReduction::Mul,
        "max" => ScatterReduction::Max,
        "min" => ScatterReduction::Min,
        other => return Err(format!("reduction is `{other}`")),
    })
}

fn top_k(node: &mut Lower<'_>) -> Result<Op, Reason> {
    let a = &node.attributes;
    let (axis, k) = (a.int_or("axis", -1)?, a.int("k")?);
    let (largest, sorted) = (a.flag("largest", true)?, a.flag("sorted", true)?);
    if node.since < 10 {
        node.set_input(1, "k", Weight::ints(&[k.ok_or("attribute `k` is missing")?]));
    }
    Ok(Op::TopK { axis, largest, sorted })
}

/// Before opset 11 nothing was said about rounding: ONNX Runtime rounds down where it enlarges and up
/// where it shrinks.
fn nearest_of_old(node: &Lower<'_>) -> Result<&'static str, Reason> {
    let scales = match node.attributes.floats("scales")? {
        Some(scales) => Some(scales.into_iter().map(f64::from).collect()),
        None => node.graph.constant(node.inputs.get(1).copied().flatten()).map(Weight::to_f64),
    };
    let mode = node.attributes.text_or("mode", "nearest")?;
    match scales {
        // `Upsample` only enlarges.
        _ if node.proto.op_type == "Upsample" => Ok("floor"),
        _ if mode != "nearest" => Ok("floor"),
        Some(scales) if scales.iter().all(|s| *s >= 1.0) => Ok("floor"),
        Some(scales) if scales.iter().all(|s| *s <= 1.0) => Ok("ceil"),
        Some(_) => Err("it enlarges one axis and shrinks another, in an old opset".to_owned()),
        None => Err("its scales are not known, in an old opset".to_owned()),
    }
}

fn resize(node: &mut Lower<'_>) -> Result<Op, Reason> {
    let a = &node.attributes;
    // Before opset 11: `asymmetric`, and scales as input 1.
    let old = node.since < 11;
    let transformation = if old { "asymmetric" } else { "half_pixel" };
    let nearest = if old { nearest_of_old(node)? } else { "round_prefer_floor" };
    let attributes = ResizeAttributes {
        mode: a.text_or("mode", "nearest")?,
        coordinate_transformation_mode: a
            .text_or("coordinate_transformation_mode", transformation)?,
        nearest_mode: a.text_or("nearest_mode", nearest)?,
        cubic_coeff_a: a.float_or("cubic_coeff_a", -0.75)?,
        exclude_outside: a.flag("exclude_outside", false)?,
        extrapolation_value: a.float_or("extrapolation_value", 0.0)?,
        antialias: a.flag("antialias", false)?,
        axes: a.ints("axes")?.unwrap_or_default(),
        keep_aspect_ratio_policy: a.text_or("keep_aspect_ratio_policy", "stretch")?,
    };
    if old {
        if let Some(scales) = a.floats("scales")? {
            let weight = Weight::floats(vec![scales.len()], &scales);
            node.set_input(1, "scales", weight.ok_or("its scales do not fit")?);
        }
        let data = node.input(0)?;
        let scales = node.input(1)?;
        node.inputs = vec![Some(data), None, Some(scales)];
    }
    Ok(Op::Resize(Box::new(attributes)))
}
