//! Shapes of operators that pick elements.

use super::context::{Context, Fact, axis_of};
use crate::graph::dim::{self, Dim};
use crate::variant::DType;

/// One axis of a slice: from, to, step, as the file states them.
struct Cut {
    start: i64,
    end: i64,
    step: i64,
}

impl Cut {
    /// The places it picks of `n`.
    fn places(&self, n: usize) -> Option<Vec<usize>> {
        let count = self.count(n)?;
        let size = i64::try_from(n).ok()?;
        let first = if self.step > 0 {
            clamp(self.start, size, 0, size)
        } else {
            clamp(self.start, size, 0, size - 1)
        };
        let at = |i: usize| first.checked_add(self.step.checked_mul(i64::try_from(i).ok()?)?);
        (0..count).map(|i| usize::try_from(at(i)?).ok()).collect()
    }

    /// How many it picks of `n`.
    fn count(&self, n: usize) -> Option<usize> {
        let n = i64::try_from(n).ok()?;
        let (from, to) = if self.step > 0 {
            (clamp(self.start, n, 0, n), clamp(self.end, n, 0, n))
        } else {
            (clamp(self.start, n, 0, n - 1), clamp(self.end, n, -1, n - 1))
        };
        let span = if self.step > 0 { to - from } else { from - to };
        let step = i64::try_from(self.step.unsigned_abs()).ok()?;
        usize::try_from(span.max(0))
            .ok()
            .map(|span| span.div_ceil(usize::try_from(step).unwrap_or(1)))
    }

    /// Whether it picks everything, whatever the size.
    fn is_all(&self) -> bool {
        self.start == 0 && self.step == 1 && self.end >= i64::from(i32::MAX)
    }
}

/// A place that may count from the end, held between `low` and `high`.
fn clamp(place: i64, n: i64, low: i64, high: i64) -> i64 {
    let counted = if place < 0 { place.saturating_add(n) } else { place };
    counted.max(low).min(high)
}

/// What a slice does along one axis.
enum Along {
    Nothing,
    Cut(Cut),
}

/// What a slice does along `axis`, where it is known.
fn cut(c: &Context<'_>, axis: usize, rank: usize) -> Option<Along> {
    let starts = c.ints(1);
    let axes = if c.has(3) { c.ints(3)? } else { (0..i64::try_from(c.length(1)?).ok()?).collect() };
    let Some(at) = axes.iter().position(|a| axis_of(*a, rank) == Ok(axis)) else {
        return Some(Along::Nothing);
    };
    let step = if c.has(4) { *c.ints(4)?.get(at)? } else { 1 };
    let (start, end) = (*starts?.get(at)?, *c.ints(2)?.get(at)?);
    (step != 0).then_some(Along::Cut(Cut { start, end, step }))
}

/// The places that a slice picks along `axis`, of `rank` axes and `n` elements there.
pub(super) fn places(c: &Context<'_>, axis: usize, rank: usize, n: usize) -> Option<Vec<usize>> {
    match cut(c, axis, rank)? {
        Along::Nothing => Some((0..n).collect()),
        Along::Cut(cut) => cut.places(n),
    }
}

pub(super) fn slice(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let Some(dims) = c.dims(0)? else { return Ok(vec![Fact { dtype, dims: None }]) };
    let along = |(axis, size): (usize, &Dim)| match (cut(c, axis, dims.len()), size) {
        (Some(Along::Nothing), size) => size.clone(),
        (Some(Along::Cut(cut)), Dim::Fixed(n)) => cut.count(*n).map_or(Dim::Unknown, Dim::Fixed),
        (Some(Along::Cut(cut)), size) if cut.is_all() => size.clone(),
        _ => Dim::Unknown,
    };
    Ok(vec![Fact { dtype, dims: Some(dims.iter().enumerate().map(along).collect()) }])
}

pub(super) fn gather(c: &Context<'_>, axis: i64) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let (Some(data), Some(indices)) = (c.dims(0)?, c.dims(1)?) else {
        return Ok(vec![Fact { dtype, dims: None }]);
    };
    let axis = axis_of(axis, data.len())?;
    let dims = [&data[..axis], indices, &data[axis + 1..]].concat();
    Ok(vec![Fact { dtype, dims: Some(dims) }])
}

pub(super) fn gather_nd(c: &Context<'_>, batch_dims: usize) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let (Some(data), Some(indices)) = (c.dims(0)?, c.dims(1)?) else {
        return Ok(vec![Fact { dtype, dims: None }]);
    };
    let Some((last, outer)) = indices.split_last() else {
        return Err("its indices have no axis".to_owned());
    };
    let dims = match last.fixed() {
        None => None,
        Some(deep) => {
            let from = batch_dims.checked_add(deep).filter(|from| *from <= data.len());
            let from = from.ok_or_else(|| format!("{deep} indices into {}", dim::show(data)))?;
            Some([outer, &data[from..]].concat())
        }
    };
    Ok(vec![Fact { dtype, dims }])
}

pub(super) fn range(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let size = || -> Option<Dim> {
        let number = |index: usize| {
            let whole = c.ints(index).and_then(|all| all.first().map(|n| *n as f64));
            whole.or_else(|| c.graph.number(c.node.input(index)))
        };
        if let (Some(start), Some(limit), Some(step)) = (number(0), number(1), number(2)) {
            let count = ((limit - start) / step).ceil().max(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, ≥ 0"
            )]
            return (count < 2e15).then_some(Dim::Fixed(count as usize));
        }
        // From 0 in steps of 1: as many as the limit says.
        (c.ints(0)? == [0] && c.ints(2)? == [1]).then_some(())?;
        c.elements(1)?.first()?.dim()
    };
    Ok(vec![Fact { dtype, dims: Some(vec![size().unwrap_or(Dim::Unknown)]) }])
}

pub(super) fn one_hot(c: &Context<'_>, axis: i64) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(2)?;
    let Some(indices) = c.dims(0)? else { return Ok(vec![Fact { dtype, dims: None }]) };
    let axis = axis_of(axis, indices.len() + 1)?;
    let known = c.ints(1).and_then(|d| d.first().copied());
    let known = known.or_else(|| {
        #[expect(clippy::cast_possible_truncation, reason = "a depth given as a float")]
        c.graph.number(c.node.input(1)).map(|d| d as i64)
    });
    let depth = known.and_then(|d| usize::try_from(d).ok()).map_or(Dim::Unknown, Dim::Fixed);
    let mut dims = indices.to_vec();
    dims.insert(axis, depth);
    Ok(vec![Fact { dtype, dims: Some(dims) }])
}

pub(super) fn non_zero(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    // A scalar is treated as a list of one.
    let dims = c.dims(0)?.map(|d| vec![Dim::Fixed(d.len().max(1)), Dim::Unknown]);
    Ok(vec![Fact { dtype: Some(DType::I64), dims }])
}

pub(super) fn top_k(c: &Context<'_>, axis: i64) -> Result<Vec<Fact>, String> {
    let dims = match c.dims(0)? {
        None => None,
        Some(dims) => {
            let mut dims = dims.to_vec();
            let axis = axis_of(axis, dims.len())?;
            let k = c.elements(1).and_then(|k| k.first()?.dim());
            dims[axis] = k.unwrap_or(Dim::Unknown);
            Some(dims)
        }
    };
    let indices = Fact { dtype: Some(DType::I64), dims: dims.clone() };
    Ok(vec![Fact { dtype: c.dtype(0)?, dims }, indices])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_pick_what_python_picks() {
        let places = |start, end, step, n| Cut { start, end, step }.places(n).unwrap();
        assert_eq!(places(0, i64::MAX, 1, 3), [0, 1, 2]);
        assert_eq!(places(-2, i64::MAX, 1, 5), [3, 4]);
        assert_eq!(places(-1, i64::MIN, -1, 3), [2, 1, 0]);
        assert_eq!(places(4, 0, -2, 6), [4, 2]);
        assert_eq!(places(3, 1, 1, 5), Vec::<usize>::new());
        assert_eq!(places(1, 100, 2, 6), [1, 3, 5]);
        assert_eq!(places(0, 1, 1, 0), Vec::<usize>::new());
    }
}
