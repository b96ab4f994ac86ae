//! Small whole-number tensors, element by element: what shapes are computed with.

use super::context::Context;
use crate::graph::Op;
use crate::graph::dim::Dim;
use crate::graph::ir::{Graph, ValueId};
use crate::graph::op::{Binary, Reduction, Unary, Variadic};
use crate::variant::DType;

/// Tensors with more elements are data, and no shapes.
const MOST: usize = 256;

/// One element of a small tensor of whole numbers or booleans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A known number; booleans are 0 and 1.
    Int(i64),
    /// The size of a free dimension, 0 or above.
    Size(String),
    /// Anything.
    Unknown,
}

impl Element {
    /// The number, where it is known.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Size(_) | Self::Unknown => None,
        }
    }

    /// As a size; a negative number is none.
    pub(super) fn dim(&self) -> Option<Dim> {
        match self {
            Self::Int(n) => usize::try_from(*n).ok().map(Dim::Fixed),
            Self::Size(name) => Some(Dim::Named(name.clone())),
            Self::Unknown => Some(Dim::Unknown),
        }
    }
}

impl From<&Dim> for Element {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Fixed(size) => i64::try_from(*size).map_or(Self::Unknown, Self::Int),
            Dim::Named(name) => Self::Size(name.clone()),
            Dim::Unknown => Self::Unknown,
        }
    }
}

impl Graph {
    /// The elements of a small tensor of whole numbers, as far as they are known.
    pub(in crate::graph) fn elements(&self, id: ValueId) -> Option<Vec<Element>> {
        let value = self.value(id);
        if let Some(weight) = &value.constant {
            let small = !weight.dtype().is_float() && weight.len() <= MOST;
            return Some(
                weight.to_i64().filter(|_| small)?.into_iter().map(Element::Int).collect(),
            );
        }
        value.elements.clone()
    }
}

/// The elements of each output, where they are known; the list may be shorter than the outputs.
pub(super) fn of(c: &Context<'_>) -> Vec<Option<Vec<Element>>> {
    let Some(first) = c.node.output(0) else { return Vec::new() };
    let value = c.graph.value(first);
    let is_whole = value.dtype.is_none_or(|t| matches!(t, DType::I64 | DType::I32 | DType::Bool));
    if !is_whole {
        return Vec::new();
    }
    if let Op::Split { .. } = c.node.op {
        return split(c).unwrap_or_default();
    }
    let count = value.dims.as_deref().and_then(crate::graph::dim::fixed);
    let count = count.and_then(|dims| crate::graph::dim::count(&dims)).filter(|n| *n <= MOST);
    let Some(count) = count else { return Vec::new() };
    let mut elements = one(c, count).filter(|e| e.len() == count);
    if value.dtype == Some(DType::I32) {
        // What does not fit wraps, as every engine computes it; nothing is said about it here.
        for element in elements.iter_mut().flatten() {
            if element.int().is_some_and(|n| i32::try_from(n).is_err()) {
                *element = Element::Unknown;
            }
        }
    }
    vec![elements.filter(|e| e.iter().any(|e| *e != Element::Unknown))]
}

#[expect(clippy::too_many_lines, reason = "one arm an operator")]
fn one(c: &Context<'_>, count: usize) -> Option<Vec<Element>> {
    let input = |index: usize| c.elements(index);
    match &c.node.op {
        Op::Shape { start, end } => {
            let dims = c.dims(0).ok()??;
            let (from, to) = super::layout::shape_range(dims.len(), *start, *end);
            Some(dims[from..to].iter().map(Element::from).collect())
        }
        Op::Size => {
            let dims = crate::graph::dim::fixed(c.dims(0).ok()??)?;
            let n = dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
            Some(vec![Element::Int(i64::try_from(n).ok()?)])
        }
        Op::Identity | Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => {
            input(0)
        }
        // A bool that was a number is not that number any more.
        Op::Cast { to } if *to != DType::Bool => input(0),
        Op::Gather { .. } if c.dims(0).ok()??.len() == 1 => {
            let (data, indices) = (input(0)?, c.ints(1)?);
            let n = i64::try_from(data.len()).ok()?;
            let at = |i: i64| usize::try_from(if i < 0 { i + n } else { i }).ok();
            indices.into_iter().map(|i| data.get(at(i)?).cloned()).collect()
        }
        Op::Slice if c.dims(0).ok()??.len() == 1 => {
            let data = input(0)?;
            let places = super::indexing::places(c, 0, 1, data.len())?;
            Some(places.into_iter().filter_map(|at| data.get(at).cloned()).collect())
        }
        Op::Concat { .. } if c.dims(0).ok()??.len() == 1 => {
            let parts: Option<Vec<_>> = (0..c.node.inputs.len())
                .map(|i| {
                    let unknown = || Some(vec![Element::Unknown; c.length(i)?]);
                    input(i).or_else(unknown)
                })
                .collect();
            Some(parts?.concat())
        }
        Op::Unary(Unary::Neg) => Some(map(&input(0)?, i64::checked_neg)),
        Op::Unary(Unary::Not) => Some(map(&input(0)?, |n| Some(i64::from(n == 0)))),
        Op::Binary(kind) => pairs(&input(0)?, &input(1)?, |a, b| binary(*kind, a, b)),
        Op::Mod { fmod: false } => pairs(&input(0)?, &input(1)?, |a, b| match (a, b) {
            (Element::Int(a), Element::Int(b)) if *b != 0 => {
                // The sign is the divisor's, as in Python.
                a.checked_rem(*b).map_or(Element::Unknown, |r| {
                    Element::Int(if r != 0 && (r < 0) != (*b < 0) { r + b } else { r })
                })
            }
            _ => Element::Unknown,
        }),
        Op::Variadic(kind @ (Variadic::Max | Variadic::Min | Variadic::Sum)) => {
            let mut all = (0..c.node.inputs.len()).map(input);
            let first = all.next()??;
            all.try_fold(first, |total, next| {
                pairs(&total, &next?, |a, b| match (a, b, kind) {
                    (Element::Int(a), Element::Int(b), Variadic::Max) => Element::Int(*a.max(b)),
                    (Element::Int(a), Element::Int(b), Variadic::Min) => Element::Int(*a.min(b)),
                    (Element::Int(a), Element::Int(b), _) => {
                        a.checked_add(*b).map_or(Element::Unknown, Element::Int)
                    }
                    _ => Element::Unknown,
                })
            })
        }
        Op::Where => {
            let (when, yes, no) = (input(0)?, input(1)?, input(2)?);
            let pick = |list: &[Element], at: usize| match list {
                [only] => Some(only.clone()),
                list => list.get(at).cloned(),
            };
            (0..count)
                .map(|at| match pick(&when, at)? {
                    Element::Int(0) => pick(&no, at),
                    Element::Int(_) => pick(&yes, at),
                    _ => Some(Element::Unknown),
                })
                .collect()
        }
        Op::ConstantOfShape { value } => {
            let only = *value.to_i64()?.first()?;
            Some(vec![Element::Int(only); count])
        }
        Op::Expand => match &input(0)?[..] {
            [only] => Some(vec![only.clone(); count]),
            all => (all.len() == count).then(|| all.to_vec()),
        },
        // Only these give the element of a list of one.
        Op::Reduce {
            kind: kind @ (Reduction::Prod | Reduction::Sum | Reduction::Max | Reduction::Min),
            ..
        } if count == 1 => {
            let all: Option<Vec<i64>> = input(0)?.iter().map(Element::int).collect();
            let mut all = all?.into_iter();
            let first = all.next()?;
            let total = all.try_fold(first, |total, n| match kind {
                Reduction::Prod => total.checked_mul(n),
                Reduction::Sum => total.checked_add(n),
                Reduction::Max => Some(total.max(n)),
                Reduction::Min => Some(total.min(n)),
                _ => None,
            });
            Some(vec![Element::Int(total?)])
        }
        Op::Range => {
            let (start, step) = (c.ints(0)?, c.ints(2)?);
            let (start, step) = (*start.first()?, *step.first()?);
            let at = |i: usize| start.checked_add(step.checked_mul(i64::try_from(i).ok()?)?);
            (0..count).map(|i| at(i).map(Element::Int)).collect()
        }
        _ => None,
    }
}

fn map(list: &[Element], f: impl Fn(i64) -> Option<i64>) -> Vec<Element> {
    let apply = |e: &Element| e.int().and_then(&f).map_or(Element::Unknown, Element::Int);
    list.iter().map(apply).collect()
}

/// Lists of one length, or one of them a single element.
fn pairs(
    a: &[Element],
    b: &[Element],
    f: impl Fn(&Element, &Element) -> Element,
) -> Option<Vec<Element>> {
    match (a, b) {
        ([a], _) => Some(b.iter().map(|b| f(a, b)).collect()),
        (_, [b]) => Some(a.iter().map(|a| f(a, b)).collect()),
        _ => (a.len() == b.len()).then(|| a.iter().zip(b).map(|(a, b)| f(a, b)).collect()),
    }
}

fn binary(kind: Binary, a: &Element, b: &Element) -> Element {
    let truth =
        |known: Option<bool>| known.map_or(Element::Unknown, |b| Element::Int(i64::from(b)));
    let number = |known: Option<i64>| known.map_or(Element::Unknown, Element::Int);
    if let (Some(x), Some(y)) = (a.int(), b.int()) {
        return match kind {
            Binary::Add => number(x.checked_add(y)),
            Binary::Sub => number(x.checked_sub(y)),
            Binary::Mul => number(x.checked_mul(y)),
            // Whole numbers are cut towards zero.
            Binary::Div => number(x.checked_div(y)),
            Binary::Equal => truth(Some(x == y)),
            Binary::Greater => truth(Some(x > y)),
            Binary::GreaterOrEqual => truth(Some(x >= y)),
            Binary::Less => truth(Some(x < y)),
            Binary::LessOrEqual => truth(Some(x <= y)),
            Binary::And => truth(Some(x != 0 && y != 0)),
            Binary::Or => truth(Some(x != 0 || y != 0)),
            Binary::Xor => truth(Some((x != 0) != (y != 0))),
            Binary::Pow | Binary::PRelu => Element::Unknown,
        };
    }
    match (kind, a, b) {
        (Binary::Add | Binary::Sub, other, Element::Int(0))
        | (Binary::Add, Element::Int(0), other)
        | (Binary::Mul | Binary::Div, other, Element::Int(1))
        | (Binary::Mul, Element::Int(1), other) => other.clone(),
        // A size is never negative.
        (Binary::Equal, Element::Size(_), Element::Int(n))
        | (Binary::Equal, Element::Int(n), Element::Size(_))
            if *n < 0 =>
        {
            Element::Int(0)
        }
        (Binary::Equal, Element::Size(a), Element::Size(b)) if a == b => Element::Int(1),
        _ => Element::Unknown,
    }
}

fn split(c: &Context<'_>) -> Option<Vec<Option<Vec<Element>>>> {
    let mut rest = c.elements(0)?;
    if c.dims(0).ok()??.len() != 1 {
        return None;
    }
    let mut parts = Vec::new();
    for output in &c.node.outputs {
        let size = output.and_then(|id| match c.graph.dims(Some(id))? {
            [only] => only.fixed(),
            _ => None,
        })?;
        let after = rest.split_off(size.min(rest.len()));
        parts.push(Some(std::mem::replace(&mut rest, after)));
    }
    Some(parts)
}
