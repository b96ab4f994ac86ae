//! Quantised operators of ONNX's own domain.

use super::{Lower, Reason, products};
use crate::graph::Op;
use crate::graph::op::QuantizeAttributes;
use crate::variant::DType;

pub(super) fn read(node: &mut Lower<'_>, name: &str) -> Result<Option<Op>, Reason> {
    let a = &node.attributes;
    Ok(Some(match name {
        "QuantizeLinear" => {
            // Only floats of a byte saturate, and no graph holds them.
            a.ignore(&["saturate"]);
            if a.int_or("precision", 0)? != 0 {
                return Err("it asks for a precision of its own".to_owned());
            }
            let output_dtype = match a.int_or("output_dtype", 0)? {
                0 => None,
                code => {
                    let dtype = i32::try_from(code).ok().and_then(DType::from_onnx);
                    Some(dtype.ok_or_else(|| format!("it gives element type {code}"))?)
                }
            };
            Op::QuantizeLinear(QuantizeAttributes {
                axis: a.int_or("axis", 1)?,
                block_size: a.size_or("block_size", 0)?,
                output_dtype,
            })
        }
        "DequantizeLinear" => {
            if a.int_or("output_dtype", 0)? != 0 {
                return Err("it gives another type than its scale's".to_owned());
            }
            Op::DequantizeLinear {
                axis: a.int_or("axis", 1)?,
                block_size: a.size_or("block_size", 0)?,
            }
        }
        "DynamicQuantizeLinear" => Op::DynamicQuantizeLinear,
        "MatMulInteger" => Op::MatMulInteger,
        "ConvInteger" => Op::ConvInteger(products::conv(node)?),
        "QLinearMatMul" => Op::QLinearMatMul,
        "QLinearConv" => Op::QLinearConv(products::conv(node)?),
        _ => return Ok(None),
    }))
}
