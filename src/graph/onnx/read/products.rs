//! Products, convolutions and pooling.

use super::{Lower, Reason};
use crate::graph::Op;
use crate::graph::op::{ConvAttributes, ConvTransposeAttributes, Pads, PoolAttributes, Window};

pub(super) fn read(node: &mut Lower<'_>, name: &str) -> Result<Option<Op>, Reason> {
    let a = &node.attributes;
    Ok(Some(match name {
        "MatMul" => Op::MatMul,
        "Gemm" => Op::Gemm {
            alpha: a.float_or("alpha", 1.0)?,
            beta: a.float_or("beta", 1.0)?,
            trans_a: a.flag("transA", false)?,
            trans_b: a.flag("transB", false)?,
            activation: None,
        },
        "Einsum" => Op::Einsum { equation: a.text_or("equation", "")? },
        "Conv" => Op::Conv { conv: conv(node)?, activation: None },
        "ConvTranspose" => Op::ConvTranspose(Box::new(ConvTransposeAttributes {
            conv: conv(node)?,
            output_padding: a.sizes("output_padding")?,
            output_shape: a.sizes("output_shape")?,
        })),
        "MaxPool" => {
            Op::MaxPool { pool: pool(node)?, storage_order: a.int_or("storage_order", 0)? }
        }
        "AveragePool" => Op::AveragePool {
            pool: pool(node)?,
            count_include_pad: a.flag("count_include_pad", false)?,
        },
        "GlobalAveragePool" => Op::GlobalAveragePool,
        "GlobalMaxPool" => Op::GlobalMaxPool,
        _ => return Ok(None),
    }))
}

pub(super) fn conv(node: &Lower<'_>) -> Result<ConvAttributes, Reason> {
    Ok(ConvAttributes { window: window(node)?, group: node.attributes.size_or("group", 1)?.max(1) })
}

fn pool(node: &Lower<'_>) -> Result<PoolAttributes, Reason> {
    Ok(PoolAttributes {
        window: window(node)?,
        ceil_mode: node.attributes.flag("ceil_mode", false)?,
    })
}

fn window(node: &Lower<'_>) -> Result<Window, Reason> {
    let a = &node.attributes;
    let pads = a.sizes("pads")?;
    let pads = match a.text_or("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => Pads::Explicit(pads),
        "SAME_UPPER" => Pads::SameUpper,
        "SAME_LOWER" => Pads::SameLower,
        "VALID" => Pads::Valid,
        other => return Err(format!("auto_pad is `{other}`")),
    };
    let window = Window {
        kernel_shape: a.sizes("kernel_shape")?,
        strides: a.sizes("strides")?,
        dilations: a.sizes("dilations")?,
        pads,
    };
    let steps = window.strides.iter().chain(&window.dilations).chain(&window.kernel_shape);
    if steps.into_iter().any(|n| *n == 0) {
        return Err("a stride, dilation or size of the window is 0".to_owned());
    }
    Ok(window)
}
