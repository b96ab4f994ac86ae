//! Types and shapes of quantised operators.

use super::context::{Context, Fact, same};
use crate::graph::dim::Dim;
use crate::graph::op::{NBits, QuantizeAttributes};
use crate::variant::DType;

pub(super) fn quantize(
    c: &Context<'_>,
    attributes: &QuantizeAttributes,
) -> Result<Vec<Fact>, String> {
    // The zero point's type is the output's; one of a type that is not known stays unknown.
    let dtype = match (attributes.output_dtype, c.has(2)) {
        (Some(dtype), _) => Some(dtype),
        (None, true) => c.dtype(2)?,
        (None, false) => Some(DType::U8),
    };
    Ok(vec![Fact { dtype, dims: c.owned_dims(0)? }])
}

pub(super) fn dynamic_quantize(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    let scalar = |dtype| Fact { dtype: Some(dtype), dims: Some(Vec::new()) };
    let quantised = Fact { dtype: Some(DType::U8), dims: c.owned_dims(0)? };
    Ok(vec![quantised, scalar(DType::F32), scalar(DType::U8)])
}

pub(super) fn matmul_nbits(c: &Context<'_>, bits: &NBits) -> Result<Vec<Fact>, String> {
    let dims = match c.dims(0)? {
        None => None,
        Some(dims) => {
            let (last, outer) = dims.split_last().ok_or("its input has no axes")?;
            same(last, &Dim::Fixed(bits.k), "the axis that is summed over")?;
            Some([outer, &[Dim::Fixed(bits.n)]].concat())
        }
    };
    Ok(vec![Fact { dtype: c.dtype(0)?, dims }])
}
