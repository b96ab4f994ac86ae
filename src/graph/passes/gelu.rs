//! ½·x·(1 + erf(x/√2)) and ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) → `Gelu` (Hendrycks and Gimpel,
//! arXiv 1606.08415).

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use super::pattern::{View, everywhere, is_about, same_rank};
use crate::graph::Op;
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::{Binary, Unary};

pub(super) fn apply(graph: &mut Graph) -> usize {
    everywhere(graph, |graph, at| {
        let Some((x, tanh)) = matched(graph, at) else { return false };
        let node = &mut graph.nodes[at];
        (node.op, node.inputs) = (Op::Gelu { tanh }, vec![Some(x)]);
        true
    })
}

/// x, and whether it is the approximation, when the node is the product of ½, x and the gate.
fn matched(graph: &Graph, at: usize) -> Option<(ValueId, bool)> {
    let node = &graph.nodes[at];
    if node.op != Op::Binary(Binary::Mul) {
        return None;
    }
    let view = View::of(graph);
    let (gate, x, tanh) = find_gate(&view, node.output(0)?, 3)?;
    let mut factors = Factors { constant: 1.0, values: Vec::new() };
    factors.collect(&view, node.output(0)?, &[x, gate], 3);
    factors.values.sort();
    let mut wanted = vec![x, gate];
    wanted.sort();
    let fits = factors.values == wanted && is_about(factors.constant, 0.5, graph.value(x).dtype);
    (fits && same_rank(graph, x, node.output(0)?)).then_some((x, tanh))
}

/// The factor 1 + erf(x/√2) or its like, somewhere in a product of products; and its x.
fn find_gate(view: &View<'_>, product: ValueId, depth: usize) -> Option<(ValueId, ValueId, bool)> {
    let (a, b) = view.operands(product, Binary::Mul)?;
    [a, b].into_iter().find_map(|factor| {
        if let Some((x, tanh)) = gated(view, factor) {
            return Some((factor, x, tanh));
        }
        (depth > 1).then(|| find_gate(view, factor, depth - 1)).flatten()
    })
}

/// x, when `id` is 1 + erf(x/√2) or 1 + tanh(…).
fn gated(view: &View<'_>, id: ValueId) -> Option<(ValueId, bool)> {
    let (inner, one) = view.with_number(id, Binary::Add)?;
    if !is_about(one, 1.0, None) {
        return None;
    }
    let node: &Node = view.maker(inner)?;
    let argument = node.input(0)?;
    let held = view.graph.value(id).dtype;
    match node.op {
        Op::Unary(Unary::Erf) => {
            if let Some((x, divisor)) = view.with_number(argument, Binary::Div) {
                return is_about(divisor, SQRT_2, held).then_some((x, false));
            }
            let (x, factor) = view.with_number(argument, Binary::Mul)?;
            is_about(factor, FRAC_1_SQRT_2, held).then_some((x, false))
        }
        Op::Unary(Unary::Tanh) => {
            let (sum, factor) = view.with_number(argument, Binary::Mul)?;
            // √(2/π)
            if !is_about(factor, FRAC_2_SQRT_PI * FRAC_1_SQRT_2, held) {
                return None;
            }
            let (a, b) = view.operands(sum, Binary::Add)?;
            let cubed = |x: ValueId, cube: ValueId| {
                let mut factors = Factors { constant: 1.0, values: Vec::new() };
                factors.collect(view, cube, &[x], 3);
                factors.values == [x, x, x] && is_about(factors.constant, 0.044_715, held)
            };
            if cubed(a, b) { Some((a, true)) } else { cubed(b, a).then_some((b, true)) }
        }
        _ => None,
    }
}

/// The factors of a product of products.
struct Factors {
    constant: f64,
    values: Vec<ValueId>,
}

impl Factors {
    /// Takes `id` apart as far as it is a product, but not what is in `whole`.
    fn collect(&mut self, view: &View<'_>, id: ValueId, whole: &[ValueId], depth: usize) {
        if let Some(number) = view.graph.number(Some(id)) {
            self.constant *= number;
        } else if whole.contains(&id) || depth == 0 {
            self.values.push(id);
        } else if let Some((a, b)) = view.operands(id, Binary::Mul) {
            self.collect(view, a, whole, depth - 1);
            self.collect(view, b, whole, depth - 1);
        } else if let Some((base, 3.0)) = view.with_number(id, Binary::Pow) {
            self.values.extend([base; 3]);
        } else {
            self.values.push(id);
        }
    }
}
