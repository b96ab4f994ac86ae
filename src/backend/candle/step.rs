//! One operator as it is executed: what a lowering rule sees, and what it makes.

use candle_core::{Device, Result, Tensor, bail};

use super::cells;
use crate::graph::{Graph, Node, Weight};
use crate::variant::DType;

/// Computes a node's outputs from its inputs.
pub(super) type Kernel = Box<dyn Fn(&Inputs<'_>) -> Result<Vec<Tensor>> + Send + Sync>;

/// Why an operator cannot run as the model has it.
pub(super) type Lowered = std::result::Result<Kernel, String>;

/// A kernel that gives one output.
pub(super) fn one(f: impl Fn(&Inputs<'_>) -> Result<Tensor> + Send + Sync + 'static) -> Lowered {
    Ok(Box::new(move |inputs| Ok(vec![f(inputs)?])))
}

/// What a node is given.
pub(super) struct Inputs<'a>(pub(super) &'a [Option<&'a Tensor>]);

impl<'a> Inputs<'a> {
    /// Input `index`, where it is there.
    pub(super) fn maybe(&self, index: usize) -> Option<&'a Tensor> {
        self.0.get(index).copied().flatten()
    }

    /// Input `index`.
    pub(super) fn at(&self, index: usize) -> Result<&'a Tensor> {
        match self.maybe(index) {
            Some(tensor) => Ok(tensor),
            None => bail!("input {index} is missing"),
        }
    }

    /// The whole numbers of input `index`.
    pub(super) fn ints(&self, index: usize) -> Result<Vec<i64>> {
        cells::ints(self.at(index)?)
    }

    /// The whole numbers of input `index`, where it is there.
    pub(super) fn maybe_ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        self.maybe(index).map(cells::ints).transpose()
    }

    /// The only number of input `index`, where it is there.
    pub(super) fn number(&self, index: usize) -> Result<Option<f64>> {
        Ok(self.maybe(index).map(cells::floats).transpose()?.and_then(|v| v.first().copied()))
    }

    /// All that are there.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a Tensor> + '_ {
        self.0.iter().copied().flatten()
    }
}

/// A node where it stands.
pub(super) struct Site<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) device: &'a Device,
    pub(super) threads: usize,
}

impl Site<'_> {
    /// The type of input `index`.
    pub(super) fn dtype(&self, index: usize) -> std::result::Result<DType, String> {
        self.node
            .input(index)
            .and_then(|id| self.graph.value(id).dtype)
            .ok_or_else(|| format!("the type of input {index} is not known"))
    }

    /// The type of the first output.
    pub(super) fn gives(&self) -> std::result::Result<DType, String> {
        self.node
            .output(0)
            .and_then(|id| self.graph.value(id).dtype)
            .ok_or_else(|| "the type of its output is not known".to_owned())
    }

    /// The elements of input `index`, where it is a constant.
    pub(super) fn constant(&self, index: usize) -> Option<&Weight> {
        self.graph.constant(self.node.input(index))
    }
}

/// An axis that may count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let counted = if axis < 0 { axis + i64::try_from(rank).unwrap_or(i64::MAX) } else { axis };
    match usize::try_from(counted) {
        Ok(at) if at < rank => Ok(at),
        _ => bail!("axis {axis} is none of {rank}"),
    }
}

/// Distances between neighbours along every axis of a dense tensor.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// The place of every element of `shape`, in C order, where a step along axis `a` is `steps[a]` far.
pub(super) fn walk(shape: &[usize], steps: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (size, step) in shape.iter().zip(steps) {
        places = places.iter().flat_map(|at| (0..*size).map(move |i| at + i * step)).collect();
    }
    places
}
