//! Numbers computed from constants.

use super::layout::{expanded, strides, walk};
use crate::graph::Op;
use crate::graph::op::{Binary, Reduction, Unary, Variadic};
use crate::graph::shape::axis_of;
use crate::graph::{Numbers, Weight};
use crate::variant::DType;

/// Elements brought into `dtype`.
pub(super) fn cast(weight: &Weight, dtype: DType, shape: Vec<usize>) -> Option<Weight> {
    // Whole numbers that do not fit are undefined in ONNX; whatever the engine does, it does itself.
    let fits = match (weight.numbers(), dtype) {
        (_, DType::Bool) => true,
        (Numbers::Ints(values), dtype) if dtype.is_integer() => {
            let cast = Weight::from_numbers(dtype, shape.clone(), &Numbers::Ints(values.clone()))?;
            cast.numbers() == Numbers::Ints(values)
        }
        (Numbers::Floats(values), dtype) if dtype.is_integer() => {
            // Cut towards zero; beyond the type's range the result is the engine's own.
            let cast =
                Weight::from_numbers(dtype, shape.clone(), &Numbers::Floats(values.clone()))?;
            let back = cast.to_f64();
            values.iter().zip(back).all(|(v, b)| (v.trunc() - b).abs() < 0.5)
        }
        _ => true,
    };
    fits.then(|| Weight::from_numbers(dtype, shape, &weight.numbers())).flatten()
}

/// One output of `shape`, from constants.
pub(super) fn compute(
    op: &Op,
    inputs: &[&Weight],
    dtype: DType,
    shape: Vec<usize>,
) -> Option<Weight> {
    // What engines make of NaN in comparisons is their own.
    let has_nan =
        |w: &&Weight| matches!(w.numbers(), Numbers::Floats(v) if v.iter().any(|x| x.is_nan()));
    if inputs.iter().any(has_nan) {
        return None;
    }
    // Each input as if it had the output's shape.
    let spread = |index: usize| -> Option<Numbers> {
        let weight = inputs.get(index)?;
        Some(pick(&weight.numbers(), &expanded(weight.shape(), &shape)?))
    };
    let numbers = match op {
        Op::Unary(kind) => unary(*kind, spread(0)?)?,
        Op::Binary(kind) => binary(*kind, spread(0)?, spread(1)?)?,
        Op::Variadic(kind) => {
            let first = spread(0)?;
            let total = (1..inputs.len()).try_fold(first, |total, index| {
                match (total, spread(index)?) {
                    (Numbers::Floats(a), Numbers::Floats(b)) => {
                        Some(Numbers::Floats(zip(&a, &b, |a, b| fold_floats(*kind, a, b))))
                    }
                    (Numbers::Ints(a), Numbers::Ints(b)) if *kind != Variadic::Mean => {
                        Some(Numbers::Ints(zip(&a, &b, |a, b| match kind {
                            Variadic::Max => a.max(b),
                            Variadic::Min => a.min(b),
                            Variadic::Sum | Variadic::Mean => a + b,
                        })))
                    }
                    _ => None,
                }
            })?;
            match (kind, total) {
                (Variadic::Mean, Numbers::Floats(v)) => {
                    Numbers::Floats(v.into_iter().map(|x| x / inputs.len() as f64).collect())
                }
                (_, total) => total,
            }
        }
        Op::Where => {
            let Numbers::Ints(when) = spread(0)? else { return None };
            match (spread(1)?, spread(2)?) {
                (Numbers::Floats(a), Numbers::Floats(b)) => Numbers::Floats(choose(&when, &a, &b)),
                (Numbers::Ints(a), Numbers::Ints(b)) => Numbers::Ints(choose(&when, &a, &b)),
                _ => return None,
            }
        }
        Op::Clip => match spread(0)? {
            Numbers::Floats(v) => {
                let bound = |index: usize| inputs.get(index).and_then(|w| w.single());
                let (low, high) = (bound(1)?, bound(2)?);
                Numbers::Floats(v.into_iter().map(|x| x.max(low).min(high)).collect())
            }
            Numbers::Ints(_) => return None,
        },
        Op::Range => {
            let n = shape.first().copied()?;
            match (inputs.first()?.numbers(), inputs.get(2)?.numbers()) {
                (Numbers::Ints(start), Numbers::Ints(step)) => {
                    let (start, step) = (*start.first()?, *step.first()?);
                    Numbers::Ints((0..n as i128).map(|i| start + i * step).collect())
                }
                (Numbers::Floats(start), Numbers::Floats(step)) => {
                    let (start, step) = (*start.first()?, *step.first()?);
                    Numbers::Floats((0..n).map(|i| start + i as f64 * step).collect())
                }
                _ => return None,
            }
        }
        Op::Reduce { kind, .. } => reduce(*kind, inputs, &shape)?,
        _ => return None,
    };
    Weight::from_numbers(dtype, shape, &numbers)
}

fn pick(numbers: &Numbers, places: &[usize]) -> Numbers {
    match numbers {
        Numbers::Floats(v) => Numbers::Floats(places.iter().map(|at| v[*at]).collect()),
        Numbers::Ints(v) => Numbers::Ints(places.iter().map(|at| v[*at]).collect()),
    }
}

fn zip<T: Copy, U>(a: &[T], b: &[T], f: impl Fn(T, T) -> U) -> Vec<U> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}

fn choose<T: Copy>(when: &[i128], a: &[T], b: &[T]) -> Vec<T> {
    when.iter()
        .zip(a.iter().zip(b))
        .map(|(when, (a, b))| if *when == 0 { *b } else { *a })
        .collect()
}

fn fold_floats(kind: Variadic, a: f64, b: f64) -> f64 {
    match kind {
        Variadic::Max => a.max(b),
        Variadic::Min => a.min(b),
        Variadic::Sum | Variadic::Mean => a + b,
    }
}

fn unary(kind: Unary, input: Numbers) -> Option<Numbers> {
    let values = match input {
        Numbers::Ints(v) => {
            return match kind {
                Unary::Abs => Some(Numbers::Ints(v.into_iter().map(i128::abs).collect())),
                Unary::Neg => Some(Numbers::Ints(v.into_iter().map(|x| -x).collect())),
                Unary::Not => {
                    Some(Numbers::Ints(v.into_iter().map(|x| i128::from(x == 0)).collect()))
                }
                _ => None,
            };
        }
        Numbers::Floats(v) => v,
    };
    let f: fn(f64) -> f64 = match kind {
        Unary::Abs => f64::abs,
        Unary::Ceil => f64::ceil,
        Unary::Cos => f64::cos,
        Unary::Exp => f64::exp,
        Unary::Floor => f64::floor,
        Unary::Log => f64::ln,
        Unary::Neg => |x| -x,
        Unary::Reciprocal => |x| 1.0 / x,
        Unary::Relu => |x| x.max(0.0),
        Unary::Sigmoid => |x| 1.0 / (1.0 + (-x).exp()),
        Unary::Sin => f64::sin,
        Unary::Sqrt => f64::sqrt,
        Unary::Tanh => f64::tanh,
        _ => return None,
    };
    Some(Numbers::Floats(values.into_iter().map(f).collect()))
}

fn binary(kind: Binary, a: Numbers, b: Numbers) -> Option<Numbers> {
    let truth = |v: Vec<bool>| Some(Numbers::Ints(v.into_iter().map(i128::from).collect()));
    match (a, b) {
        (Numbers::Floats(a), Numbers::Floats(b)) => match kind {
            Binary::Add => Some(Numbers::Floats(zip(&a, &b, |a, b| a + b))),
            Binary::Sub => Some(Numbers::Floats(zip(&a, &b, |a, b| a - b))),
            Binary::Mul => Some(Numbers::Floats(zip(&a, &b, |a, b| a * b))),
            Binary::Div => Some(Numbers::Floats(zip(&a, &b, |a, b| a / b))),
            Binary::Pow => Some(Numbers::Floats(zip(&a, &b, f64::powf))),
            Binary::Greater => truth(zip(&a, &b, |a, b| a > b)),
            Binary::GreaterOrEqual => truth(zip(&a, &b, |a, b| a >= b)),
            Binary::Less => truth(zip(&a, &b, |a, b| a < b)),
            Binary::LessOrEqual => truth(zip(&a, &b, |a, b| a <= b)),
            _ => None,
        },
        (Numbers::Ints(a), Numbers::Ints(b)) => match kind {
            Binary::Add => Some(Numbers::Ints(zip(&a, &b, |a, b| a + b))),
            Binary::Sub => Some(Numbers::Ints(zip(&a, &b, |a, b| a - b))),
            Binary::Mul => Some(Numbers::Ints(zip(&a, &b, i128::wrapping_mul))),
            Binary::Div if !b.contains(&0) => Some(Numbers::Ints(zip(&a, &b, |a, b| a / b))),
            Binary::Equal => truth(zip(&a, &b, |a, b| a == b)),
            Binary::Greater => truth(zip(&a, &b, |a, b| a > b)),
            Binary::GreaterOrEqual => truth(zip(&a, &b, |a, b| a >= b)),
            Binary::Less => truth(zip(&a, &b, |a, b| a < b)),
            Binary::LessOrEqual => truth(zip(&a, &b, |a, b| a <= b)),
            Binary::And => truth(zip(&a, &b, |a, b| a != 0 && b != 0)),
            Binary::Or => truth(zip(&a, &b, |a, b| a != 0 || b != 0)),
            Binary::Xor => truth(zip(&a, &b, |a, b| (a != 0) != (b != 0))),
            _ => None,
        },
        _ => None,
    }
}

fn reduce(kind: Reduction, inputs: &[&Weight], shape: &[usize]) -> Option<Numbers> {
    let weight = inputs.first()?;
    let rank = weight.shape().len();
    let stated =
        inputs.get(1).map(|axes| Weight::to_i64(axes)).unwrap_or_default().unwrap_or_default();
    let axes: Vec<usize> = if stated.is_empty() {
        (0..rank).collect()
    } else {
        stated.iter().map(|a| axis_of(*a, rank).ok()).collect::<Option<_>>()?
    };
    let all = strides(weight.shape());
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for (axis, entry) in weight.shape().iter().copied().zip(all).enumerate() {
        if axes.contains(&axis) { gone.push(entry) } else { kept.push(entry) }
    }
    let split =
        |list: &[(usize, usize)]| -> (Vec<usize>, Vec<usize>) { list.iter().copied().unzip() };
    let ((sizes, steps), (inner_sizes, inner_steps)) = (split(&kept), split(&gone));
    let (outer, inner) = (walk(&sizes, &steps), walk(&inner_sizes, &inner_steps));
    if Some(outer.len()) != crate::graph::dim::count(shape) || inner.is_empty() {
        return None;
    }
    Some(match weight.numbers() {
        Numbers::Floats(v) => {
            let each = |from: &usize| {
                let values = inner.iter().map(|at| v[from + at]);
                let n = inner.len() as f64;
                Some(match kind {
                    Reduction::Sum => values.sum(),
                    Reduction::Mean => values.sum::<f64>() / n,
                    Reduction::Prod => values.product(),
                    Reduction::Max => values.fold(f64::NEG_INFINITY, f64::max),
                    Reduction::Min => values.fold(f64::INFINITY, f64::min),
                    _ => return None,
                })
            };
            Numbers::Floats(outer.iter().map(each).collect::<Option<_>>()?)
        }
        Numbers::Ints(v) => {
            let each = |from: &usize| {
                let mut values = inner.iter().map(|at| v[from + at]);
                match kind {
                    Reduction::Sum => Some(values.sum()),
                    Reduction::Prod => values.try_fold(1_i128, i128::checked_mul),
                    Reduction::Max => values.max(),
                    Reduction::Min => values.min(),
                    _ => None,
                }
            };
            Numbers::Ints(outer.iter().map(each).collect::<Option<_>>()?)
        }
    })
}
