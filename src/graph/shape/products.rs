//! Shapes of matrix products.

use super::context::{Context, Fact, broadcast, same};
use crate::graph::dim::{self, Dim};

/// The product of inputs `a` and `b`, by the rules of `numpy.matmul`.
pub(super) fn matmul(c: &Context<'_>, a: usize, b: usize) -> Result<Option<Vec<Dim>>, String> {
    let (Some(a), Some(b)) = (c.dims(a)?, c.dims(b)?) else { return Ok(None) };
    if a.is_empty() || b.is_empty() {
        return Err("a factor has no axes".to_owned());
    }
    let rows = |dims: &[Dim]| (dims.len() > 1).then(|| dims[dims.len() - 2].clone());
    let inner =
        |dims: &[Dim]| if dims.len() > 1 { dims[dims.len() - 2].clone() } else { dims[0].clone() };
    same(&a[a.len() - 1], &inner(b), "the axis that is summed over")
        .map_err(|reason| format!("{reason}, in {} · {}", dim::show(a), dim::show(b)))?;
    let batch = |dims: &[Dim]| dims[..dims.len().saturating_sub(2)].to_vec();
    let mut dims = broadcast(&[Some(&batch(a)), Some(&batch(b))])?.unwrap_or_default();
    dims.extend(rows(a));
    if b.len() > 1 {
        dims.push(b[b.len() - 1].clone());
    }
    Ok(Some(dims))
}

pub(super) fn gemm(c: &Context<'_>, trans_a: bool, trans_b: bool) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let dims = match (c.dims(0)?, c.dims(1)?) {
        (Some([a0, a1]), Some([b0, b1])) => {
            let (m, k) = if trans_a { (a1, a0) } else { (a0, a1) };
            let (k2, n) = if trans_b { (b1, b0) } else { (b0, b1) };
            same(k, k2, "the axis that is summed over")?;
            let dims = vec![m.clone(), n.clone()];
            if c.has(2) {
                broadcast(&[Some(&dims), c.dims(2)?])?;
            }
            dims
        }
        (Some(a), _) if a.len() != 2 => return Err("its first factor is no matrix".to_owned()),
        (_, Some(b)) if b.len() != 2 => return Err("its second factor is no matrix".to_owned()),
        _ => vec![Dim::Unknown, Dim::Unknown],
    };
    Ok(vec![Fact { dtype, dims: Some(dims) }])
}
