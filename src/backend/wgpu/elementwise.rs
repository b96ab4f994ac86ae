//! Operators that give each element from the elements at the same place.

use super::chain::{Expr, literal};
use super::kernels::Elem;
use super::lower::{Lower, Lowered, held};
use crate::graph::op::{Binary, Unary, Variadic};
use crate::graph::{Node, Op, ValueId};
use crate::variant::DType;

/// Whether an operator can be part of a chain.
pub(super) fn is_elementwise(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::Variadic(_)
            | Op::Elu { .. }
            | Op::Celu { .. }
            | Op::Selu { .. }
            | Op::LeakyRelu { .. }
            | Op::ThresholdedRelu { .. }
            | Op::HardSigmoid { .. }
            | Op::Gelu { .. }
            | Op::Clip
            | Op::Mod { .. }
            | Op::Where
            | Op::Cast { .. }
            | Op::CastLike
    )
}

/// WGSL for a function of x; `None` where it has another type of its own.
fn unary(kind: Unary, x: &str) -> Option<String> {
    Some(match kind {
        Unary::Abs => format!("abs({x})"),
        // By the tangent: what some drivers have for these two is right to 1e-4 only.
        Unary::Acos => format!("atan2(sqrt((1.0 - {x}) * (1.0 + {x})), {x})"),
        Unary::Acosh => format!("acosh({x})"),
        Unary::Asin => format!("atan2({x}, sqrt((1.0 - {x}) * (1.0 + {x})))"),
        Unary::Asinh => format!("asinh({x})"),
        Unary::Atan => format!("atan({x})"),
        Unary::Atanh => format!("atanh({x})"),
        Unary::Ceil => format!("ceil({x})"),
        Unary::Cos => format!("cos({x})"),
        Unary::Cosh => format!("cosh({x})"),
        Unary::Erf => format!("erf({x})"),
        Unary::Exp => format!("exp({x})"),
        Unary::Floor => format!("floor({x})"),
        Unary::HardSwish => format!("hard_swish({x})"),
        Unary::Log => format!("log({x})"),
        Unary::Mish => format!("({x} * bounded_tanh(softplus({x})))"),
        Unary::Neg => format!("(-{x})"),
        Unary::Reciprocal => format!("(1.0 / {x})"),
        Unary::Relu => format!("max({x}, 0.0)"),
        Unary::Round => format!("round_even({x})"),
        Unary::Sigmoid => format!("sigmoid({x})"),
        Unary::Sign => format!("sign({x})"),
        Unary::Sin => format!("sin({x})"),
        Unary::Sinh => format!("sinh({x})"),
        Unary::Softplus => format!("softplus({x})"),
        Unary::Softsign => format!("({x} / (1.0 + abs({x})))"),
        Unary::Sqrt => format!("sqrt({x})"),
        Unary::Tan => format!("tan({x})"),
        Unary::Tanh => format!("bounded_tanh({x})"),
        Unary::IsNaN | Unary::Not => return None,
    })
}

/// WGSL for x, computed in `from`, as `to` is computed in.
pub(super) fn cast(x: &str, from: Elem, to: Elem) -> String {
    match (from, to) {
        (a, b) if a == b || (a.is_float() && b.is_float()) => x.to_owned(),
        (Elem::F32 | Elem::F16, Elem::U32) => format!("select(0u, 1u, {x} != 0.0)"),
        (Elem::I32, Elem::U32) => format!("select(0u, 1u, {x} != 0i)"),
        (_, Elem::F32 | Elem::F16) => format!("f32({x})"),
        (_, Elem::I32) => format!("i32({x})"),
        (Elem::U32, Elem::U32) => x.to_owned(),
    }
}

impl Lower<'_> {
    /// Lowers an operator of single elements.
    pub(super) fn elementwise(&mut self, node: &Node) -> Lowered {
        let id = Self::output_id(node)?;
        let (elem, dims) = (self.elem(id)?, self.dims(id)?);
        let ids: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let parts = self.operands(&ids, &dims)?;
        let texts: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
        let (x, of) = (texts.first().copied().ok_or("of nothing")?, parts[0].elem);
        let floats = |what: &str| -> Lowered {
            if of.is_float() { Ok(()) } else { Err(format!("{what} of whole numbers")) }
        };
        let number = |value: f32| literal(f64::from(value), Elem::F32).ok_or("of infinity");
        let value = match &node.op {
            Op::Unary(Unary::Not) => format!("(1u - {x})"),
            // A comparison of NaN with itself may be optimised away; its bits may not.
            Op::Unary(Unary::IsNaN) => {
                floats("")?;
                format!("select(0u, 1u, (bitcast<u32>({x}) & 0x7fffffffu) > 0x7f800000u)")
            }
            Op::Unary(kind @ (Unary::Abs | Unary::Neg | Unary::Sign)) if of == Elem::I32 => {
                unary(*kind, x).unwrap_or_default()
            }
            Op::Unary(Unary::Relu) if of == Elem::I32 => format!("max({x}, 0i)"),
            Op::Unary(kind) => {
                floats(kind.name())?;
                unary(*kind, x).ok_or("of no known form")?
            }
            Op::Binary(kind) => {
                let y = *texts.get(1).ok_or("without input 1")?;
                self.two(node, *kind, (x, y), of)?
            }
            Op::Variadic(kind) => many(*kind, &texts, of),
            Op::Elu { alpha } => {
                let alpha = number(*alpha)?;
                format!("select({x}, {alpha} * (exp({x}) - 1.0), {x} < 0.0)")
            }
            Op::Celu { alpha } => {
                let alpha = number(*alpha)?;
                format!("(max({x}, 0.0) + min({alpha} * (exp({x} / {alpha}) - 1.0), 0.0))")
            }
            Op::Selu { alpha, gamma } => {
                let (alpha, gamma) = (number(*alpha)?, number(*gamma)?);
                format!("({gamma} * select({x}, {alpha} * (exp({x}) - 1.0), {x} < 0.0))")
            }
            Op::LeakyRelu { alpha } => format!("select({x}, {} * {x}, {x} < 0.0)", number(*alpha)?),
            Op::ThresholdedRelu { alpha } => format!("select(0.0, {x}, {x} > {})", number(*alpha)?),
            Op::HardSigmoid { alpha, beta } => {
                format!("clamp({} * {x} + {}, 0.0, 1.0)", number(*alpha)?, number(*beta)?)
            }
            Op::Gelu { tanh: false } => format!("gelu({x})"),
            Op::Gelu { tanh: true } => format!("gelu_tanh({x})"),
            Op::Clip => {
                // Either bound may be left out.
                let mut value = x.to_owned();
                let mut bounds = texts[1..].iter();
                for (index, function) in [(1, "max"), (2, "min")] {
                    if node.input(index).is_some() {
                        let bound = bounds.next().ok_or("without its bound")?;
                        value = format!("{function}({value}, {bound})");
                    }
                }
                value
            }
            Op::Mod { fmod } => {
                let y = *texts.get(1).ok_or("without input 1")?;
                match (of.is_float(), fmod) {
                    (true, true) => format!("({x} - {y} * trunc({x} / {y}))"),
                    (true, false) => format!("({x} - {y} * floor({x} / {y}))"),
                    // WGSL's remainder has the sign of x, as fmod; Mod's own has that of y.
                    (false, true) => format!("({x} % {y})"),
                    (false, false) => format!("((({x} % {y}) + {y}) % {y})"),
                }
            }
            Op::Where => {
                let [condition, yes, no] = texts[..] else {
                    return Err("without its three inputs".to_owned());
                };
                format!("select({no}, {yes}, {condition} != 0u)")
            }
            Op::Cast { .. } | Op::CastLike => self.cast(node, &parts[0], elem)?,
            _ => return Err("which is no function of single elements".to_owned()),
        };
        let used: Vec<&Expr> = match node.op {
            Op::CastLike => vec![&parts[0]],
            _ => parts.iter().collect(),
        };
        let expr = Expr::of(&used, value, elem, dims);
        self.finish(node, expr)
    }

    /// Conversions that lose nothing but what ONNX says they lose.
    fn cast(&self, node: &Node, x: &Expr, to: Elem) -> Lowered<String> {
        let given = self.graph.value(Self::output_id(node)?).dtype.ok_or("of no known type")?;
        if matches!(given, DType::I8 | DType::U8 | DType::I16 | DType::U16) {
            return Err(format!("to {given}, which is held in 32 bits and would not wrap"));
        }
        held(given, self.gpu)?;
        // WGSL converts floats towards zero, as ONNX does.
        Ok(cast(&x.value, x.elem, to))
    }

    fn two(&self, node: &Node, kind: Binary, (x, y): (&str, &str), of: Elem) -> Lowered<String> {
        let narrow = |index: usize| {
            let dtype = node.input(index).and_then(|id| self.graph.value(id).dtype);
            matches!(dtype, Some(DType::I8 | DType::U8 | DType::I16 | DType::U16))
        };
        let truth = |condition: String| format!("select(0u, 1u, {condition})");
        Ok(match kind {
            Binary::Equal => truth(format!("{x} == {y}")),
            Binary::Greater => truth(format!("{x} > {y}")),
            Binary::GreaterOrEqual => truth(format!("{x} >= {y}")),
            Binary::Less => truth(format!("{x} < {y}")),
            Binary::LessOrEqual => truth(format!("{x} <= {y}")),
            Binary::And => format!("({x} & {y})"),
            Binary::Or => format!("({x} | {y})"),
            Binary::Xor => format!("({x} ^ {y})"),
            _ if narrow(0) => {
                return Err("of numbers that are held in 32 bits and would not wrap".to_owned());
            }
            Binary::Add => format!("({x} + {y})"),
            Binary::Sub => format!("({x} - {y})"),
            Binary::Mul => format!("({x} * {y})"),
            Binary::Div => format!("({x} / {y})"),
            Binary::PRelu => format!("select({x}, {x} * {y}, {x} < {})", zero(of)),
            Binary::Pow if of.is_float() => {
                let exponent = node.input(1).and_then(|id| self.graph.value(id).dtype);
                if exponent.is_some_and(DType::is_float) {
                    format!("power({x}, {y})")
                } else {
                    format!("power({x}, f32({y}))")
                }
            }
            Binary::Pow => return Err("of whole numbers".to_owned()),
        })
    }
}

fn zero(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 | Elem::F16 => "0.0",
        Elem::I32 => "0i",
        Elem::U32 => "0u",
    }
}

fn many(kind: Variadic, texts: &[&str], of: Elem) -> String {
    let mut value = texts.first().copied().unwrap_or_default().to_owned();
    for next in &texts[1..] {
        value = match kind {
            Variadic::Max => format!("max({value}, {next})"),
            Variadic::Min => format!("min({value}, {next})"),
            Variadic::Mean | Variadic::Sum => format!("({value} + {next})"),
        };
    }
    match kind {
        Variadic::Mean if of.is_float() => format!("({value} / {}.0)", texts.len()),
        _ => value,
    }
}
