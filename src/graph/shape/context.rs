//! What a rule sees of a node, and rules that many share.

use super::Element;
use crate::graph::dim::{self, Dim};
use crate::graph::ir::{Graph, Node};
use crate::variant::DType;

/// Lists that are longer are no lists of axes.
const MOST_AXES: usize = 256;

/// A node in its graph.
pub(super) struct Context<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
}

/// What is known about an output.
pub(super) struct Fact {
    pub(super) dtype: Option<DType>,
    pub(super) dims: Option<Vec<Dim>>,
}

impl<'a> Context<'a> {
    fn value(&self, index: usize) -> Result<&'a crate::graph::ir::Value, String> {
        let id = self.node.input(index).ok_or_else(|| format!("input {index} is missing"))?;
        Ok(self.graph.value(id))
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.node.input(index).is_some()
    }

    pub(super) fn dtype(&self, index: usize) -> Result<Option<DType>, String> {
        Ok(self.value(index)?.dtype)
    }

    pub(super) fn dims(&self, index: usize) -> Result<Option<&'a [Dim]>, String> {
        Ok(self.value(index)?.dims.as_deref())
    }

    pub(super) fn owned_dims(&self, index: usize) -> Result<Option<Vec<Dim>>, String> {
        Ok(self.dims(index)?.map(<[Dim]>::to_vec))
    }

    /// An output like input `index`.
    pub(super) fn fact(&self, index: usize) -> Result<Fact, String> {
        Ok(Fact { dtype: self.dtype(index)?, dims: self.owned_dims(index)? })
    }

    /// The elements of input `index`, where they are known and few.
    pub(super) fn elements(&self, index: usize) -> Option<Vec<Element>> {
        self.graph.elements(self.node.input(index)?)
    }

    /// The whole numbers of input `index`, where all of them are known.
    pub(super) fn ints(&self, index: usize) -> Option<Vec<i64>> {
        self.elements(index)?.iter().map(Element::int).collect()
    }

    /// How many elements the list of axes or sizes in input `index` has. A file may claim any number;
    /// one that no shape has is as good as unknown.
    pub(super) fn length(&self, index: usize) -> Option<usize> {
        match self.dims(index).ok()?? {
            [only] => only.fixed().filter(|n| *n <= MOST_AXES),
            _ => None,
        }
    }
}

/// `axis` counted from the front, of `rank` axes.
pub(in crate::graph) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + i64::try_from(rank).unwrap_or(i64::MAX) } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|at| *at < rank)
        .ok_or_else(|| format!("axis {axis} is none of {rank}"))
}

/// Several shapes against each other, by the rules of NumPy; `None` where a rank is not known.
pub(super) fn broadcast(shapes: &[Option<&[Dim]>]) -> Result<Option<Vec<Dim>>, String> {
    let Some(shapes) = shapes.iter().copied().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![Dim::Fixed(1); rank];
    for shape in &shapes {
        for (at, size) in shape.iter().enumerate() {
            let slot = &mut out[rank - shape.len() + at];
            *slot = meet(slot, size).ok_or_else(|| {
                let all: Vec<String> = shapes.iter().map(|s| dim::show(s)).collect();
                format!("shapes {} do not go together", all.join(" and "))
            })?;
        }
    }
    Ok(Some(out))
}

/// One axis against another; `None` where they can't go together.
fn meet(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a, b) {
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Some(other.clone()),
        (Dim::Fixed(a), Dim::Fixed(b)) => (a == b).then_some(Dim::Fixed(*a)),
        // The free one is 1 or the same.
        (Dim::Fixed(n), _) | (_, Dim::Fixed(n)) => Some(Dim::Fixed(*n)),
        (Dim::Named(a), Dim::Named(b)) if a == b => Some(Dim::Named(a.clone())),
        _ => Some(Dim::Unknown),
    }
}

/// What is known of a size that must be the same in two places.
pub(super) fn same(a: &Dim, b: &Dim, what: &str) -> Result<Dim, String> {
    if a.contradicts(b) {
        return Err(format!("{what} is {a} and {b}"));
    }
    Ok(a.or_better(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_broadcast_as_numpy_does() {
        let named = |n: &str| Dim::Named(n.to_owned());
        let a = [named("n"), Dim::Fixed(1), Dim::Fixed(4)];
        let b = [Dim::Fixed(3), Dim::Fixed(4)];
        let both = broadcast(&[Some(&a), Some(&b)]).unwrap().unwrap();
        assert_eq!(both, [named("n"), Dim::Fixed(3), Dim::Fixed(4)]);
        assert!(broadcast(&[Some(&[Dim::Fixed(2)]), Some(&[Dim::Fixed(3)])]).is_err());
        assert_eq!(broadcast(&[None, Some(&b)]).unwrap(), None);
        let differing = broadcast(&[Some(&[named("n")]), Some(&[named("m")])]).unwrap().unwrap();
        assert_eq!(differing, [Dim::Unknown]);
    }

    #[test]
    fn axes_count_from_the_end_too() {
        assert_eq!(axis_of(-1, 3), Ok(2));
        assert!(axis_of(3, 3).is_err() && axis_of(-4, 3).is_err() && axis_of(0, 0).is_err());
    }
}
