//! Products with integer weights, as recipes and other tools write them, recognised before lowering.
//!
//! Three forms: `MatMulNBits`; `MatMulInteger` between `DynamicQuantizeLinear` and the scales; and
//! `MatMul`, `Gemm` or `Linear` of a `DequantizeLinear`. What follows, a bias and an activation, comes
//! along.

use std::collections::{HashMap, HashSet};

use super::{Integers, unpacked};
use crate::graph::op::{Activation, Binary, NBits, Unary};
use crate::graph::{Graph, Node, Op, ValueId, Weight};
use crate::variant::DType;

/// A product with integer weights.
pub(in crate::backend) struct Product {
    /// What is multiplied, before the model quantises it.
    pub(in crate::backend) x: ValueId,
    pub(in crate::backend) weights: Integers,
    /// The constant that they are made of.
    pub(in crate::backend) of: ValueId,
    pub(in crate::backend) bias: Option<ValueId>,
    pub(in crate::backend) activation: Option<Activation>,
    /// What the model itself does to x, which is left out.
    pub(in crate::backend) activations: Activations,
}

/// How a model quantises the other factor of a product with integer weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::backend) enum Activations {
    /// Not at all.
    Kept,
    /// To unsigned 8 bits over the range that each tensor then has.
    Dynamic,
    /// To a type of whole numbers by a scale and a zero point.
    Static { scale: f64, zero: f64, dtype: DType },
}

impl Activations {
    /// As records say it.
    pub(in crate::backend) fn name(self) -> String {
        match self {
            Self::Kept => "nothing".to_owned(),
            Self::Dynamic => "dynamic uint8".to_owned(),
            Self::Static { dtype, .. } => format!("static {dtype}"),
        }
    }

    /// The least and the largest number that is kept.
    pub(in crate::backend) fn bounds(self) -> Option<(f32, f32)> {
        let Self::Static { scale, zero, dtype } = self else { return None };
        let (low, high) = range(dtype)?;
        #[expect(clippy::cast_possible_truncation, reason = "x is f32")]
        let real = |q: f64| ((q - zero) * scale) as f32;
        Some((real(low), real(high)))
    }
}

/// The least and the largest number of a type that activations are quantised to.
fn range(dtype: DType) -> Option<(f64, f64)> {
    Some(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65_535.0),
        DType::I16 => (-32_768.0, 32_767.0),
        _ => return None,
    })
}

/// Who makes a value, and who reads it.
struct Edges<'a> {
    graph: &'a Graph,
    makers: HashMap<ValueId, usize>,
    readers: HashMap<ValueId, Vec<usize>>,
}

impl<'a> Edges<'a> {
    fn new(graph: &'a Graph) -> Self {
        let (mut makers, mut readers) = (HashMap::new(), HashMap::<_, Vec<usize>>::new());
        for (at, node) in graph.nodes.iter().enumerate() {
            makers.extend(node.outputs.iter().flatten().map(|id| (*id, at)));
            for id in node.reads() {
                readers.entry(id).or_default().push(at);
            }
        }
        Self { graph, makers, readers }
    }

    fn maker(&self, id: Option<ValueId>) -> Option<&'a Node> {
        self.makers.get(&id?).map(|at| &self.graph.nodes[*at])
    }

    /// The only node that reads a node's first output, unless the model gives it out too.
    fn reader(&self, at: usize) -> Option<usize> {
        let id = self.graph.nodes[at].output(0)?;
        match self.readers.get(&id).map(Vec::as_slice) {
            Some([only]) if !self.graph.outputs.contains(&id) => Some(*only),
            _ => None,
        }
    }

    /// What node `at` reads besides `id`.
    fn other(&self, at: usize, id: ValueId) -> Option<ValueId> {
        match self.graph.nodes[at].inputs[..] {
            [Some(a), Some(b)] if a == id => Some(b),
            [Some(a), Some(b)] if b == id => Some(a),
            _ => None,
        }
    }
}

/// All products with integer weights, by the node whose output they give; and by node, why such a
/// product is none of them.
pub(in crate::backend) fn find(graph: &Graph) -> (HashMap<usize, Product>, HashMap<usize, String>) {
    let edges = Edges::new(graph);
    let (mut found, mut refused) = (HashMap::new(), HashMap::new());
    for (at, node) in graph.nodes.iter().enumerate() {
        let product = match &node.op {
            Op::MatMulNBits(bits) => n_bits(graph, node, bits).map(|p| (at, p)),
            Op::MatMulInteger => match integer(&edges, at) {
                Some(found) => found,
                None => continue,
            },
            Op::MatMul | Op::Linear { .. } | Op::Gemm { .. } => match dequantised(&edges, node) {
                Some(product) => product.map(|p| (at, p)),
                None => continue,
            },
            _ => continue,
        };
        match product {
            Ok((last, mut product)) => {
                let last = followed(&edges, last, &mut product);
                found.insert(last, product);
            }
            Err(reason) => {
                refused.insert(at, reason);
            }
        }
    }
    (found, refused)
}

/// Products of weights in blocks; nothing is asked of the other factor.
fn n_bits(graph: &Graph, node: &Node, bits: &NBits) -> Result<Product, String> {
    let weights = unpacked(graph, node, bits)?.narrow()?;
    let x = node.input(0).ok_or("without its first input")?;
    let of = node.input(1).ok_or("without its weights")?;
    let bias = node.input(5);
    Ok(Product { x, weights, of, bias, activation: None, activations: Activations::Kept })
}

/// `Mul(Cast(MatMulInteger(q, w)), Mul(scale, w_scale))` with q of a `DynamicQuantizeLinear`; the node
/// that gives the product.
fn integer(edges: &Edges<'_>, at: usize) -> Option<Result<(usize, Product), String>> {
    let node = &edges.graph.nodes[at];
    let dynamic = edges.maker(node.input(0)).filter(|n| n.op == Op::DynamicQuantizeLinear)?;
    let whole = node.input(0) == dynamic.output(0) && node.input(2) == dynamic.output(2);
    (whole && node.input(2).is_some()).then_some(())?;
    let cast = edges.reader(at)?;
    matches!(edges.graph.nodes[cast].op, Op::Cast { to: DType::F32 }).then_some(())?;
    let scaled = edges.reader(cast)?;
    (edges.graph.nodes[scaled].op == Op::Binary(Binary::Mul)).then_some(())?;
    let factor = edges.other(scaled, edges.graph.nodes[cast].output(0)?)?;
    let product = edges.maker(Some(factor))?;
    (product.op == Op::Binary(Binary::Mul)).then_some(())?;
    let scale = match product.inputs[..] {
        [a, b] if a == dynamic.output(1) => b,
        [a, b] if b == dynamic.output(1) => a,
        _ => return None,
    };
    let (weight, scale) = (edges.graph.constant(node.input(1))?, edges.graph.constant(scale)?);
    let zero = known(edges.graph, node.input(3))?;
    let (x, of) = (dynamic.input(0)?, node.input(1)?);
    // Factors of the rows would go along another axis, and more axes than x has would stay in the product.
    let axes = edges.graph.dims(Some(x))?.len();
    let is_row = (scale.len() == 1 || scale.shape().last() == Some(&scale.len()))
        && scale.shape().len() <= axes;
    let weights = if is_row {
        integers(weight, scale, zero, false, 0)
    } else {
        Err("with factors that are no vector of the columns".to_owned())
    };
    let (bias, activation, activations) = (None, None, Activations::Dynamic);
    Some(weights.map(|weights| (scaled, Product { x, weights, of, bias, activation, activations })))
}

/// A constant that may be left out; `None` where it is there and no constant.
#[expect(clippy::option_option, reason = "left out and not known are two things")]
fn known(graph: &Graph, id: Option<ValueId>) -> Option<Option<&Weight>> {
    match id {
        Some(_) => graph.constant(id).map(Some),
        None => Some(None),
    }
}

/// A product whose right factor is a `DequantizeLinear` of a constant.
fn dequantised(edges: &Edges<'_>, node: &Node) -> Option<Result<Product, String>> {
    let right = edges.maker(node.input(1))?;
    let Op::DequantizeLinear { axis, block_size } = right.op else { return None };
    let (turned, bias, activation) = match &node.op {
        Op::MatMul => (false, None, None),
        Op::Linear { activation } => (false, node.input(2), *activation),
        #[expect(clippy::float_cmp, reason = "1 is stored as 1")]
        Op::Gemm { alpha, beta, trans_a: false, trans_b, activation }
            if *alpha == 1.0 && *beta == 1.0 =>
        {
            (*trans_b, node.input(2), *activation)
        }
        _ => return None,
    };
    let weight = edges.graph.constant(right.input(0))?;
    let scale = edges.graph.constant(right.input(1))?;
    let zero = known(edges.graph, right.input(2))?;
    let [_, _] = weight.shape() else { return None };
    let along = if axis < 0 { axis + 2 } else { axis };
    let columns = i64::from(!turned);
    if scale.len() > 1 && (along == columns) == (block_size > 0) {
        return Some(Err("with a scale for every row".to_owned()));
    }
    // A bias that is not a vector of the columns is no part of an epilogue.
    let n = weight.shape()[usize::from(!turned)];
    let is_vector = |id: ValueId| {
        edges.graph.dims(Some(id)).and_then(|d| d.last()?.fixed()) == Some(n)
            && edges.graph.dims(Some(id)).is_some_and(|d| d.len() == 1)
    };
    if bias.is_some_and(|id| !is_vector(id)) {
        return None;
    }
    let left = edges.maker(node.input(0)).filter(|n| matches!(n.op, Op::DequantizeLinear { .. }));
    let quantised = left.and_then(|left| {
        let quantise = edges.maker(left.input(0))?;
        let is_pair = matches!(quantise.op, Op::QuantizeLinear(_))
            && [1, 2].iter().all(|i| same(edges.graph, left.input(*i), quantise.input(*i)));
        is_pair.then_some(quantise)
    });
    let known = quantised.and_then(|quantise| Some((quantise, of_static(edges.graph, quantise)?)));
    if let Some((_, Activations::Static { dtype: DType::I16 | DType::U16, .. })) = known {
        return Some(Err("whose other factor has 16 bits".to_owned()));
    }
    let (x, activations) = match known {
        Some((quantise, activations)) => (quantise.input(0)?, activations),
        None => (node.input(0)?, Activations::Kept),
    };
    let weights = integers(weight, scale, zero, turned, block_size);
    let of = right.input(0)?;
    Some(weights.map(|weights| Product { x, weights, of, bias, activation, activations }))
}

/// What a `QuantizeLinear` of one constant scale does.
fn of_static(graph: &Graph, quantise: &Node) -> Option<Activations> {
    let scale = graph.constant(quantise.input(1))?.single()?;
    let zero = match known(graph, quantise.input(2))? {
        Some(zero) => zero.single()?,
        None => 0.0,
    };
    let dtype = graph.value(quantise.output(0)?).dtype?;
    range(dtype).filter(|_| scale > 0.0)?;
    Some(Activations::Static { scale, zero, dtype })
}

/// Whether two inputs are the same value, or constants that are alike.
fn same(graph: &Graph, a: Option<ValueId>, b: Option<ValueId>) -> bool {
    a == b || graph.constant(a).is_some_and(|a| graph.constant(b) == Some(a))
}

/// Weights `[k, n]`, or `[n, k]` where they are turned, less their zero points.
fn integers(
    weight: &Weight,
    scale: &Weight,
    zero: Option<&Weight>,
    turned: bool,
    block_size: usize,
) -> Result<Integers, String> {
    let &[rows, columns] = weight.shape() else {
        return Err("whose weights have not two axes".to_owned());
    };
    if rows == 0 || columns == 0 {
        return Err("of no weights".to_owned());
    }
    let (k, n) = if turned { (columns, rows) } else { (rows, columns) };
    let block = if block_size == 0 { k } else { block_size };
    let blocks = k.div_ceil(block);
    let all = weight.to_i64().ok_or("whose weights are no whole numbers")?;
    let zeros = match zero {
        Some(zero) => zero.to_i64().ok_or("whose zero points are no whole numbers")?,
        None => vec![0],
    };
    let given = scale.to_f32();
    for (count, what) in [(given.len(), "scales"), (zeros.len(), "zero points")] {
        if count != 1 && count != n * blocks {
            return Err(format!("with {count} {what} for {n} columns"));
        }
    }
    // Blocks of a turned weight follow each other in a row, of one that is not in a column.
    let shared =
        |row: usize, block: usize| if turned { row * blocks + block } else { block * n + row };
    let (mut values, mut offsets) = (Vec::with_capacity(n * k), Vec::with_capacity(n));
    for row in 0..n {
        let less_zero = |at: usize| {
            let value = all[if turned { row * k + at } else { at * n + row }];
            value - if zeros.len() == 1 { zeros[0] } else { zeros[shared(row, at / block)] }
        };
        let low = (0..k).map(less_zero).min().unwrap_or(0);
        let high = (0..k).map(less_zero).max().unwrap_or(0);
        let offset = (low + 128).min(0) + (high - 127).max(0);
        let narrow = |at: usize| i8::try_from(less_zero(at) - offset);
        let narrow = (0..k).map(narrow).collect::<Result<Vec<_>, _>>();
        let too_wide = |_| format!("whose weights do not fit 8 bits: {low} to {high}");
        values.extend(narrow.map_err(too_wide)?);
        offsets.push(i16::try_from(offset).unwrap_or(0));
    }
    if offsets.iter().all(|offset| *offset == 0) {
        offsets.clear();
    }
    let of = |row: usize, block: usize| {
        if given.len() == 1 { given[0] } else { given[shared(row, block)] }
    };
    let scales = (0..n).flat_map(|row| (0..blocks).map(move |b| (row, b))).map(|(r, b)| of(r, b));
    Ok(Integers { n, k, values, scales: scales.collect(), block, offsets })
}

/// Takes in a bias and an activation that follow; the node whose output is given then.
fn followed(edges: &Edges<'_>, mut last: usize, product: &mut Product) -> usize {
    if product.activation.is_some() {
        return last;
    }
    let output = |at: usize| edges.graph.nodes[at].output(0);
    if product.bias.is_none()
        && let Some(next) = edges.reader(last)
        && edges.graph.nodes[next].op == Op::Binary(Binary::Add)
        && let Some(bias) = output(last).and_then(|id| edges.other(next, id))
        && edges.graph.constant(Some(bias)).is_some_and(|w| w.shape() == [product.weights.n])
    {
        product.bias = Some(bias);
        last = next;
    }
    if let Some(next) = edges.reader(last) {
        product.activation = match edges.graph.nodes[next].op {
            Op::Gelu { tanh } => Some(Activation::Gelu { tanh }),
            Op::Unary(Unary::Relu) => Some(Activation::Relu),
            Op::Unary(Unary::Tanh) => Some(Activation::Tanh),
            Op::Unary(Unary::Sigmoid) => Some(Activation::Sigmoid),
            _ => return last,
        };
        last = next;
    }
    last
}

/// Which nodes something needs, when recognised products read nothing but their factor and bias.
pub(in crate::backend) fn live(graph: &Graph, products: &HashMap<usize, Product>) -> Vec<bool> {
    let mut needed: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut live = vec![false; graph.nodes.len()];
    for (at, node) in graph.nodes.iter().enumerate().rev() {
        if !node.outputs.iter().flatten().any(|id| needed.contains(id)) {
            continue;
        }
        live[at] = true;
        match products.get(&at) {
            Some(product) => {
                needed.insert(product.x);
                needed.extend(product.bias);
            }
            None => needed.extend(node.reads()),
        }
    }
    live
}
