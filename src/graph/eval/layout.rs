//! Elements moved about, whatever their type.

use bytes::Bytes;

use crate::graph::Weight;
use crate::graph::dim::count;
use crate::graph::ir::{Graph, Node};
use crate::graph::shape::{axis_of, places_along};
use crate::variant::DType;

/// Distances between neighbours along every axis.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // A tensor of no elements may have other axes of any size.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// A tensor of `shape` of the elements of `weight` at `places`; `None` for packed types, and when the
/// numbers do not agree.
pub(in crate::graph) fn picked(
    weight: &Weight,
    shape: &[usize],
    places: &[usize],
) -> Option<Weight> {
    if weight.dtype().is_packed() {
        return None;
    }
    let size = weight.dtype().size();
    let mut bytes = Vec::with_capacity(places.len() * size);
    for at in places {
        bytes.extend_from_slice(weight.bytes().get(at * size..(at + 1) * size)?);
    }
    Weight::new(weight.dtype(), shape.to_vec(), Bytes::from(bytes))
}

/// Every place of a tensor of `shape` in order, each axis moving by its entry of `steps`.
pub(super) fn walk(shape: &[usize], steps: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (size, step) in shape.iter().zip(steps) {
        places = places.iter().flat_map(|at| (0..*size).map(move |i| at + i * step)).collect();
    }
    places
}

pub(in crate::graph) fn transposed(shape: &[usize], perm: &[usize]) -> Option<Vec<usize>> {
    let strides = strides(shape);
    let order: Vec<usize> =
        if perm.is_empty() { (0..shape.len()).rev().collect() } else { perm.to_vec() };
    let sizes: Option<Vec<usize>> = order.iter().map(|axis| shape.get(*axis).copied()).collect();
    let steps: Option<Vec<usize>> = order.iter().map(|axis| strides.get(*axis).copied()).collect();
    Some(walk(&sizes?, &steps?))
}

/// Places of `from` as they are repeated to fill `to`.
pub(super) fn expanded(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let extra = to.len().checked_sub(from.len())?;
    let strides = strides(from);
    let mut steps = vec![0; extra];
    for (axis, size) in from.iter().enumerate() {
        match (*size, to[extra + axis]) {
            (1, _) => steps.push(0),
            (a, b) if a == b => steps.push(strides[axis]),
            _ => return None,
        }
    }
    Some(walk(to, &steps))
}

pub(super) fn sliced(graph: &Graph, node: &Node, shape: &[usize]) -> Option<Vec<usize>> {
    let strides = strides(shape);
    let mut places = vec![0];
    for (axis, size) in shape.iter().enumerate() {
        let along = places_along(graph, node, axis, shape.len(), *size)?;
        let step = strides[axis];
        places = places.iter().flat_map(|at| along.iter().map(move |i| at + i * step)).collect();
    }
    Some(places)
}

pub(super) fn gathered(shape: &[usize], axis: i64, indices: &Weight) -> Option<Vec<usize>> {
    let axis = axis_of(axis, shape.len()).ok()?;
    let n = i64::try_from(shape[axis]).ok()?;
    let counted =
        |i: i64| usize::try_from(if i < 0 { i + n } else { i }).ok().filter(|i| *i < shape[axis]);
    let indices: Option<Vec<usize>> = indices.to_i64()?.into_iter().map(counted).collect();
    let indices = indices?;
    let (inner, outer) = (count(&shape[axis + 1..])?, count(&shape[..axis])?);
    let block = inner * shape[axis];
    let places = (0..outer).flat_map(|o| {
        indices.iter().flat_map(move |i| (0..inner).map(move |at| o * block + i * inner + at))
    });
    Some(places.collect())
}

pub(super) fn joined(
    parts: &[&Weight],
    axis: i64,
    dtype: DType,
    shape: Vec<usize>,
) -> Option<Weight> {
    if dtype.is_packed() || parts.iter().any(|p| p.dtype() != dtype) {
        return None;
    }
    let axis = axis_of(axis, shape.len()).ok()?;
    let outer = count(&shape[..axis])?;
    let row = |part: &Weight| count(part.shape().get(axis..)?)?.checked_mul(dtype.size());
    let mut bytes = Vec::new();
    for at in 0..outer {
        for part in parts {
            let row = row(part)?;
            bytes.extend_from_slice(part.bytes().get(at * row..(at + 1) * row)?);
        }
    }
    Weight::new(dtype, shape, Bytes::from(bytes))
}

/// `shape` full of the only element of `value`.
pub(super) fn filled(value: &Weight, shape: &[usize]) -> Option<Weight> {
    let n = count(shape)?;
    Weight::new(value.dtype(), shape.to_vec(), Bytes::from(value.bytes().repeat(n)))
        .filter(|_| !value.dtype().is_packed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_move_as_numpy_moves_them() {
        assert_eq!(transposed(&[2, 3], &[1, 0]).unwrap(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(transposed(&[2, 3], &[]).unwrap(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(expanded(&[2, 1], &[2, 2, 2]).unwrap(), [0, 0, 1, 1, 0, 0, 1, 1]);
        let indices = Weight::ints(&[-1, 0]);
        assert_eq!(gathered(&[2, 3], 1, &indices).unwrap(), [2, 0, 5, 3]);
        let a = Weight::ints(&[1, 2]).reshaped(vec![2, 1]).unwrap();
        let b = Weight::ints(&[3, 4, 5, 6]).reshaped(vec![2, 2]).unwrap();
        let both = joined(&[&a, &b], 1, DType::I64, vec![2, 3]).unwrap();
        assert_eq!(both.to_i64().unwrap(), [1, 3, 4, 2, 5, 6]);
    }
}
