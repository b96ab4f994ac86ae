//! Elements picked and placed by index.

use candle_core::{Result, Tensor, bail};

use super::layout::{bounded, size};
use crate::backend::candle::cells::{self, Cells};
use crate::backend::candle::step::{Inputs, Lowered, Site, axis_of, one, strides, walk};
use crate::graph::op::ScatterReduction;
use crate::variant::DType;

/// An index that may count from the end of `n`.
fn place(index: i64, n: usize) -> Result<usize> {
    let counted = if index < 0 { index + i64::try_from(n).unwrap_or(0) } else { index };
    match usize::try_from(counted) {
        Ok(at) if at < n => Ok(at),
        _ => bail!("index {index} is none of {n}"),
    }
}

/// The elements of a tensor at `places` of its C order, as one of `shape`.
pub(super) fn picked(x: &Tensor, places: &[usize], shape: &[usize]) -> Result<Tensor> {
    let mut at = Vec::with_capacity(places.len());
    for place in places {
        match u32::try_from(*place) {
            Ok(place) => at.push(place),
            Err(_) => bail!("a tensor of more than 2³² elements cannot be picked from"),
        }
    }
    let places = Tensor::from_vec(at, places.len(), x.device())?;
    x.flatten_all()?.index_select(&places, 0)?.reshape(shape)
}

/// `Gather`: whole slices along an axis.
pub(in crate::backend::candle) fn gather(axis: i64) -> Lowered {
    one(move |inputs| {
        let (x, indices) = (inputs.at(0)?, inputs.at(1)?);
        let axis = axis_of(axis, x.rank())?;
        let n = x.dims()[axis];
        let mut places = Vec::with_capacity(indices.elem_count());
        for index in cells::ints(indices)? {
            places.push(u32::try_from(place(index, n)?).unwrap_or(u32::MAX));
        }
        let count = places.len();
        let places = Tensor::from_vec(places, count, x.device())?;
        let shape = [&x.dims()[..axis], indices.dims(), &x.dims()[axis + 1..]].concat();
        x.contiguous()?.index_select(&places, axis)?.reshape(shape)
    })
}

/// Places in a tensor of `shape` of the elements that `indices`, of shape `of`, name along `axis`.
fn along(indices: &[i64], of: &[usize], shape: &[usize], axis: usize) -> Result<Vec<usize>> {
    let others = |s: &[usize]| [&s[..axis], &s[axis + 1..]].concat();
    let fits = of.len() == shape.len()
        && others(of).iter().zip(others(shape)).all(|(index, size)| *index <= size);
    if !fits {
        bail!("indices {of:?} do not fit {shape:?}")
    }
    let mut steps = strides(shape);
    let step = std::mem::replace(&mut steps[axis], 0);
    let bases = walk(of, &steps).into_iter().zip(indices);
    bases.map(|(base, index)| Ok(base + place(*index, shape[axis])? * step)).collect()
}

/// `GatherElements`.
pub(in crate::backend::candle) fn gather_elements(axis: i64) -> Lowered {
    one(move |inputs| {
        let (x, indices) = (inputs.at(0)?, inputs.at(1)?);
        let axis = axis_of(axis, x.rank())?;
        let places = along(&cells::ints(indices)?, indices.dims(), x.dims(), axis)?;
        picked(x, &places, indices.dims())
    })
}

/// Places of slices of a tensor of `shape` that rows of `indices` name; elements of each slice.
fn slices(
    indices: &[i64],
    of: &[usize],
    shape: &[usize],
    batch_dims: usize,
) -> Result<(Vec<usize>, usize)> {
    let depth = of.last().copied().unwrap_or(0);
    if of.is_empty() || batch_dims + depth > shape.len() || batch_dims >= of.len() {
        bail!("indices {of:?} do not fit {shape:?}")
    }
    let own = strides(shape);
    let inner: usize = shape.get(batch_dims + depth..).unwrap_or_default().iter().product();
    let rows: usize = of[..of.len().saturating_sub(1)].iter().product();
    let batches: usize = shape[..batch_dims].iter().product();
    let each = rows.checked_div(batches).unwrap_or(0);
    let block = shape[batch_dims..].iter().product::<usize>();
    let mut starts = Vec::with_capacity(rows);
    for (row, index) in indices.chunks(depth.max(1)).enumerate().take(rows) {
        let mut at = row.checked_div(each).unwrap_or(0) * block;
        for (axis, i) in index.iter().enumerate() {
            at += place(*i, shape[batch_dims + axis])? * own[batch_dims + axis];
        }
        starts.push(at);
    }
    Ok((starts, inner))
}

/// `GatherND`.
pub(in crate::backend::candle) fn gather_nd(batch_dims: usize) -> Lowered {
    one(move |inputs| {
        let (x, indices) = (inputs.at(0)?, inputs.at(1)?);
        let of = indices.dims();
        let (starts, inner) = slices(&cells::ints(indices)?, of, x.dims(), batch_dims)?;
        let depth = of.last().copied().unwrap_or(0);
        let rest = &x.dims()[batch_dims + depth..];
        let shape = [&of[..of.len() - 1], rest].concat();
        let places: Vec<usize> = starts.iter().flat_map(|s| *s..*s + inner).collect();
        picked(x, &places, &shape)
    })
}

/// Puts `updates` at `places` of `data`.
fn scattered(data: Cells, places: &[usize], updates: Cells, how: ScatterReduction) -> Cells {
    macro_rules! put {
        ($data:expr, $updates:expr, $add:expr, $mul:expr) => {{
            let mut data = $data;
            for (at, new) in places.iter().zip($updates) {
                let slot = &mut data[*at];
                *slot = match how {
                    ScatterReduction::None => new,
                    ScatterReduction::Add => $add(*slot, new),
                    ScatterReduction::Mul => $mul(*slot, new),
                    ScatterReduction::Max => {
                        if new > *slot {
                            new
                        } else {
                            *slot
                        }
                    }
                    ScatterReduction::Min => {
                        if new < *slot {
                            new
                        } else {
                            *slot
                        }
                    }
                };
            }
            data
        }};
    }
    match (data, updates) {
        (Cells::Ints(data), Cells::Ints(new)) => {
            Cells::Ints(put!(data, new, i64::wrapping_add, i64::wrapping_mul))
        }
        (data, new) => Cells::Floats(put!(
            data.into_floats(),
            new.into_floats(),
            |a: f64, b: f64| a + b,
            |a: f64, b: f64| a * b
        )),
    }
}

/// `ScatterElements`.
pub(in crate::backend::candle) fn scatter_elements(
    site: &Site<'_>,
    axis: i64,
    how: ScatterReduction,
) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let (x, indices, updates) = (inputs.at(0)?, inputs.at(1)?, inputs.at(2)?);
        let axis = axis_of(axis, x.rank())?;
        let places = along(&cells::ints(indices)?, indices.dims(), x.dims(), axis)?;
        if places.len() != updates.elem_count() {
            bail!("{} updates for {} places", updates.elem_count(), places.len())
        }
        let out = scattered(Cells::of(x)?, &places, Cells::of(updates)?, how);
        out.tensor(dtype, x.dims(), x.device())
    })
}

/// `ScatterND`.
pub(in crate::backend::candle) fn scatter_nd(site: &Site<'_>, how: ScatterReduction) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let (x, indices, updates) = (inputs.at(0)?, inputs.at(1)?, inputs.at(2)?);
        let (starts, inner) = slices(&cells::ints(indices)?, indices.dims(), x.dims(), 0)?;
        let places: Vec<usize> = starts.iter().flat_map(|s| *s..*s + inner).collect();
        if places.len() != updates.elem_count() {
            bail!("{} updates for {} places", updates.elem_count(), places.len())
        }
        let out = scattered(Cells::of(x)?, &places, Cells::of(updates)?, how);
        out.tensor(dtype, x.dims(), x.device())
    })
}

/// `OneHot`: values `[off, on]`; an index out of range is off everywhere.
pub(in crate::backend::candle) fn one_hot(site: &Site<'_>, axis: i64) -> Lowered {
    let gives = site.gives()?;
    one(move |inputs: &Inputs<'_>| {
        let (indices, values) = (inputs.at(0)?, inputs.at(2)?);
        let depth = size(inputs.ints(1)?.first().copied().unwrap_or(0))?;
        let axis = axis_of(axis, indices.rank() + 1)?;
        if values.elem_count() != 2 {
            bail!("{} values, not off and on", values.elem_count())
        }
        let dims = indices.dims();
        let shape = [&dims[..axis], &[depth], &dims[axis..]].concat();
        bounded(&shape)?;
        let inner: usize = dims[axis..].iter().product();
        let signed = i64::try_from(depth).unwrap_or(0);
        let mut hot = vec![0_usize; shape.iter().product()];
        for (at, index) in cells::ints(indices)?.into_iter().enumerate() {
            let counted = if index < 0 { index + signed } else { index };
            if let Ok(i) = usize::try_from(counted)
                && i < depth
            {
                hot[(at / inner.max(1) * depth + i) * inner + at % inner.max(1)] = 1;
            }
        }
        let out = match Cells::of(values)? {
            Cells::Floats(v) => Cells::Floats(hot.iter().map(|h| v[*h]).collect()),
            Cells::Ints(v) => Cells::Ints(hot.iter().map(|h| v[*h]).collect()),
        };
        out.tensor(gives, &shape, indices.device())
    })
}

/// `NonZero`: one column an element that is not 0.
pub(in crate::backend::candle) fn non_zero() -> Lowered {
    one(|inputs| {
        let x = inputs.at(0)?;
        let rank = x.rank().max(1);
        let own = strides(x.dims());
        let found: Vec<usize> = match Cells::of(x)? {
            Cells::Floats(v) => (0..v.len()).filter(|i| v[*i] != 0.0).collect(),
            Cells::Ints(v) => (0..v.len()).filter(|i| v[*i] != 0).collect(),
        };
        let mut out = Vec::with_capacity(found.len() * rank);
        for axis in 0..rank {
            let (step, n) = (own.get(axis).copied().unwrap_or(1), x.dims().get(axis).copied());
            let along =
                |at: &usize| i64::try_from(at / step.max(1) % n.unwrap_or(1).max(1)).unwrap_or(0);
            out.extend(found.iter().map(along));
        }
        Tensor::from_vec(out, (rank, found.len()), x.device())
    })
}

/// `Trilu`: 0 below (or above) a diagonal.
pub(in crate::backend::candle) fn trilu(site: &Site<'_>, upper: bool) -> Lowered {
    let dtype = site.dtype(0)?;
    one(move |inputs| {
        let x = inputs.at(0)?;
        let k = inputs.maybe_ints(1)?.and_then(|v| v.first().copied()).unwrap_or(0);
        let [.., rows, columns] = x.dims() else { bail!("has no rows and columns") };
        let keeps = |at: usize| {
            let (row, column) = (at / columns % rows, at % columns);
            let off = i64::try_from(column).unwrap_or(0) - i64::try_from(row).unwrap_or(0);
            if upper { off >= k } else { off <= k }
        };
        let out = match Cells::of(x)? {
            Cells::Floats(v) => Cells::Floats(
                v.iter().enumerate().map(|(i, v)| if keeps(i) { *v } else { 0.0 }).collect(),
            ),
            Cells::Ints(v) => Cells::Ints(
                v.iter().enumerate().map(|(i, v)| if keeps(i) { *v } else { 0 }).collect(),
            ),
        };
        out.tensor(dtype, x.dims(), x.device())
    })
}

/// `TopK`: values and their places; of equal values the first ones.
pub(in crate::backend::candle) fn top_k(site: &Site<'_>, axis: i64, largest: bool) -> Lowered {
    let dtype = site.dtype(0)?;
    Ok(Box::new(move |inputs| {
        let x = inputs.at(0)?;
        let axis = axis_of(axis, x.rank())?;
        let k = size(inputs.ints(1)?.first().copied().unwrap_or(0))?;
        let (n, inner) = (x.dims()[axis], x.dims()[axis + 1..].iter().product::<usize>());
        if k > n {
            bail!("asks for {k} of {n}")
        }
        let outer: usize = x.dims()[..axis].iter().product();
        let cells = Cells::of(x)?;
        let before = |a: usize, b: usize| {
            let order = match &cells {
                Cells::Floats(v) => v[a].total_cmp(&v[b]),
                Cells::Ints(v) => v[a].cmp(&v[b]),
            };
            (if largest { order.reverse() } else { order }).then(a.cmp(&b))
        };
        let (mut places, mut indices) = (vec![0; outer * k * inner], vec![0; outer * k * inner]);
        for o in 0..outer {
            for i in 0..inner {
                let mut all: Vec<usize> = (0..n).map(|a| (o * n + a) * inner + i).collect();
                all.sort_by(|a, b| before(*a, *b));
                for (rank, at) in all.into_iter().take(k).enumerate() {
                    places[(o * k + rank) * inner + i] = at;
                    indices[(o * k + rank) * inner + i] =
                        i64::try_from(at / inner % n).unwrap_or(0);
                }
            }
        }
        let mut shape = x.dims().to_vec();
        shape[axis] = k;
        let values = match &cells {
            Cells::Floats(v) => Cells::Floats(places.iter().map(|p| v[*p]).collect()),
            Cells::Ints(v) => Cells::Ints(places.iter().map(|p| v[*p]).collect()),
        };
        let indices = Cells::Ints(indices).tensor(DType::I64, &shape, x.device())?;
        Ok(vec![values.tensor(dtype, &shape, x.device())?, indices])
    }))
}
