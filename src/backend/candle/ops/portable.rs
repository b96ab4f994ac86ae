//! The operators that models spend their time on, in candle's own tensor operations only: for devices whose
//! memory our kernels cannot see. Every other operator is computed on the host there, its tensors copied.

use candle_core::{D, DType as Held, Result, Tensor};

use super::product::product;
use crate::backend::candle::step::{Kernel, Lowered, Site, axis_of, one};
use crate::graph::Op;
use crate::graph::op::{Activation, Binary, Unary};

/// The kernel of a node on a device that is not the CPU; `None` where the host computes it.
pub(in crate::backend::candle) fn lowered(site: &Site<'_>) -> Option<Kernel> {
    let is_float = site.dtype(0).is_ok_and(crate::variant::DType::is_float);
    if !is_float {
        return None;
    }
    let kernel: Lowered = match &site.node.op {
        Op::Unary(kind) => {
            let f = unary(*kind)?;
            one(move |inputs| f(inputs.at(0)?))
        }
        Op::Binary(Binary::Add) => one(|i| i.at(0)?.broadcast_add(i.at(1)?)),
        Op::Binary(Binary::Sub) => one(|i| i.at(0)?.broadcast_sub(i.at(1)?)),
        Op::Binary(Binary::Mul) => one(|i| i.at(0)?.broadcast_mul(i.at(1)?)),
        Op::Binary(Binary::Div) => one(|i| i.at(0)?.broadcast_div(i.at(1)?)),
        Op::Gelu { tanh } => {
            let activation = Activation::Gelu { tanh: *tanh };
            one(move |inputs| activated(inputs.at(0)?, activation))
        }
        Op::Softmax { axis } => {
            let axis = *axis;
            one(move |inputs| softmax(inputs.at(0)?, axis))
        }
        Op::LayerNormalization { axis, epsilon } if site.node.output(1).is_none() => {
            let (axis, epsilon) = (*axis, f64::from(*epsilon));
            one(move |inputs| {
                let x = inputs.at(0)?;
                let normal = normalised(x, axis, epsilon)?;
                let scaled = match inputs.maybe(1) {
                    Some(scale) => normal.broadcast_mul(scale)?,
                    None => normal,
                };
                match inputs.maybe(2) {
                    Some(shift) => scaled.broadcast_add(shift),
                    None => Ok(scaled),
                }
            })
        }
        Op::MatMul => one(|inputs| product(inputs.at(0)?, inputs.at(1)?)),
        Op::Linear { activation } => {
            let activation = *activation;
            one(move |inputs| {
                let out = product(inputs.at(0)?, inputs.at(1)?)?;
                followed(out, None, inputs.maybe(2), activation)
            })
        }
        Op::Attention { scale } => {
            let scale = f64::from(*scale);
            one(move |inputs| {
                let scores = product(inputs.at(0)?, &inputs.at(1)?.t()?)?.affine(scale, 0.0)?;
                let scores = match inputs.maybe(3) {
                    Some(mask) => scores.broadcast_add(&mask.to_dtype(scores.dtype())?)?,
                    None => scores,
                };
                product(&softmax(&scores, -1)?, inputs.at(2)?)
            })
        }
        _ => return None,
    };
    kernel.ok()
}

fn unary(kind: Unary) -> Option<fn(&Tensor) -> Result<Tensor>> {
    Some(match kind {
        Unary::Abs => |x| x.abs(),
        Unary::Cos => |x| x.cos(),
        Unary::Erf => |x| x.erf(),
        Unary::Exp => |x| x.exp(),
        Unary::Log => |x| x.log(),
        Unary::Neg => |x| x.neg(),
        Unary::Reciprocal => |x| x.recip(),
        Unary::Relu => |x| x.relu(),
        Unary::Sigmoid => |x| activated(x, Activation::Sigmoid),
        Unary::Sin => |x| x.sin(),
        Unary::Sqrt => |x| x.sqrt(),
        Unary::Tanh => |x| x.tanh(),
        _ => return None,
    })
}

/// Softmax along an axis.
pub(super) fn softmax(x: &Tensor, axis: i64) -> Result<Tensor> {
    let axis = axis_of(axis, x.rank())?;
    let shifted = x.broadcast_sub(&x.max_keepdim(axis)?)?.exp()?;
    shifted.broadcast_div(&shifted.sum_keepdim(axis)?)
}

/// Less its mean, by its deviation, from an axis on; sums in f32.
fn normalised(x: &Tensor, axis: i64, epsilon: f64) -> Result<Tensor> {
    let axis = axis_of(axis, x.rank())?;
    let flat = x.flatten_from(axis)?.to_dtype(Held::F32)?;
    let centred = flat.broadcast_sub(&flat.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.to_dtype(x.dtype())?.reshape(x.shape())
}

/// What follows a product: factors, a bias, an activation.
pub(in crate::backend::candle) fn followed(
    out: Tensor,
    scale: Option<&Tensor>,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let out = match scale {
        Some(scale) => out.broadcast_mul(scale)?,
        None => out,
    };
    let out = match bias {
        Some(bias) => out.broadcast_add(&bias.to_dtype(out.dtype())?)?,
        None => out,
    };
    match activation {
        Some(activation) => activated(&out, activation),
        None => Ok(out),
    }
}

fn activated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Relu => x.relu(),
        Activation::Sigmoid => (x.neg()?.exp()? + 1.0)?.recip(),
        Activation::Tanh => x.tanh(),
        Activation::HardSwish => x * x.affine(1.0 / 6.0, 0.5)?.clamp(0.0, 1.0)?,
        Activation::Gelu { tanh: true } => x.gelu(),
        Activation::Gelu { tanh: false } => x.gelu_erf(),
        // Whatever alpha: the larger of x and alpha · x is another function where alpha is above 1.
        Activation::LeakyRelu { alpha } => {
            x.relu()? + x.minimum(&x.zeros_like()?)?.affine(f64::from(alpha), 0.0)?
        }
        Activation::Clip { min, max } => x.clamp(min, max),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::backend::candle::cells;
    use crate::backend::candle::lower;
    use crate::backend::candle::step::Inputs;
    use crate::graph::{Dim, Graph, infer};
    use crate::variant::DType;

    /// The host's kernel and the portable one, on the same inputs, must give the same.
    fn alike(op: Op, shapes: &[&[usize]]) {
        let mut graph = Graph::new("g");
        let ids: Vec<_> = shapes
            .iter()
            .map(|s| graph.add_input("x", DType::F32, s.iter().map(|n| Dim::Fixed(*n)).collect()))
            .collect();
        let name = op.name().to_owned();
        let y = graph.push("y", op, &ids);
        graph.outputs.push(y);
        infer(&mut graph).unwrap();
        let device = Device::Cpu;
        let site = Site { graph: &graph, node: &graph.nodes[0], device: &device, threads: 1 };
        let tensors: Vec<Tensor> = shapes
            .iter()
            .enumerate()
            .map(|(at, shape)| {
                let n = shape.iter().product::<usize>();
                let values = (0..n).map(|i| ((i * 29 + at * 7) % 41) as f32 / 20.0 - 0.9);
                Tensor::from_vec(values.collect::<Vec<f32>>(), *shape, &device).unwrap()
            })
            .collect();
        let given: Vec<Option<&Tensor>> = tensors.iter().map(Some).collect();
        let of = |kernel: Kernel| {
            let out = kernel(&Inputs(&given)).unwrap().remove(0);
            (out.dims().to_vec(), cells::singles(&out).unwrap())
        };
        let (shape, ours) = of(lowered(&site).unwrap_or_else(|| panic!("{name}")));
        let (right_shape, right) = of(lower::on_host(&site).unwrap());
        assert_eq!(shape, right_shape, "{name}");
        let near = |a: &f32, b: &f32| (a - b).abs() < 1e-5 || a.is_nan() && b.is_nan();
        assert!(
            ours.iter().zip(&right).all(|(a, b)| near(a, b)),
            "{name}: {ours:?}, not {right:?}"
        );
    }

    #[test]
    fn portable_kernels_give_what_the_others_give() {
        for kind in Unary::ALL {
            if unary(*kind).is_some() {
                alike(Op::Unary(*kind), &[&[3, 5]]);
            }
        }
        for kind in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
            alike(Op::Binary(kind), &[&[2, 3, 4], &[3, 1]]);
        }
        for tanh in [true, false] {
            alike(Op::Gelu { tanh }, &[&[7]]);
        }
        alike(Op::Softmax { axis: 1 }, &[&[2, 3, 4]]);
        alike(Op::LayerNormalization { axis: -1, epsilon: 1e-5 }, &[&[2, 3, 8], &[8], &[8]]);
        alike(Op::MatMul, &[&[2, 3, 4], &[4, 5]]);
        for activation in [
            None,
            Some(Activation::Relu),
            Some(Activation::HardSwish),
            Some(Activation::LeakyRelu { alpha: 0.1 }),
            Some(Activation::LeakyRelu { alpha: 1.5 }),
            Some(Activation::Clip { min: -0.5, max: 0.5 }),
            Some(Activation::Gelu { tanh: false }),
        ] {
            alike(Op::Linear { activation }, &[&[3, 4], &[4, 5], &[5]]);
        }
        let attention = Op::Attention { scale: 0.5 };
        alike(attention, &[&[2, 3, 4, 8], &[2, 3, 5, 8], &[2, 3, 5, 6], &[2, 1, 1, 5]]);
    }
}
