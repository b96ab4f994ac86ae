//! What an inference has to do: arithmetic, bytes moved, parameters, node by node.
//!
//! Counted from the graph and not measured. A multiplication and an addition are two operations, so
//! that a product of m×k and k×n has 2·m·k·n; every other function of a number counts as one, and what
//! is made of several as the constants below say. Bytes are those of inputs and outputs in their
//! stored types, weights included, each once: what an engine without fusion would have to move.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dim::{self, Dim};
use super::ir::{Graph, Node, ValueId};
use super::{Op, shape};
use crate::error::Result;
use crate::variant::DType;

/// Maximum, difference, exponential, sum, quotient.
const SOFTMAX: u64 = 5;
/// Mean, difference, square, variance, root and quotient, scale, shift.
const NORMALISATION: u64 = 8;
/// Scale and shift with numbers that are known before.
const SCALE_AND_SHIFT: u64 = 2;
/// Quotient by the scale, rounding, shift and bounds.
const QUANTISE: u64 = 4;
/// ½·x·(1 + erf(x/√2)).
const GELU: u64 = 5;

/// Operators that take their time in like ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Kind {
    Gemm,
    Conv,
    DepthwiseConv,
    Attention,
    Recurrent,
    Elementwise,
    Normalisation,
    Softmax,
    Reduction,
    Pooling,
    Gather,
    Layout,
    Quantise,
    /// Moves nothing: shapes, and other views of the same elements.
    Free,
    /// Not known here; its arithmetic is not counted.
    Unknown,
}

/// What one node, or several, have to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Operations on numbers.
    pub flops: u64,
    /// Bytes of inputs, weights included.
    pub bytes_read: u64,
    /// Bytes of outputs.
    pub bytes_written: u64,
    /// Elements of weights.
    pub params: u64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.flops = self.flops.saturating_add(other.flops);
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
        self.bytes_written = self.bytes_written.saturating_add(other.bytes_written);
        self.params = self.params.saturating_add(other.params);
    }
}

/// Nodes of one operator and element type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The operator, as ONNX calls it.
    pub op: String,
    /// How it takes its time.
    pub kind: Kind,
    /// What is computed with; `null` where it is not known.
    pub dtype: Option<DType>,
    /// Nodes.
    pub count: usize,
    /// What they have to do together.
    #[serde(flatten)]
    pub work: Work,
}

/// What the whole graph has to do; rows with most arithmetic first.
///
/// An error names the first size that is not known: bind the inputs' sizes before.
pub fn of(graph: &Graph) -> Result<Vec<Row>> {
    let mut rows: BTreeMap<(String, Kind, Option<String>), Row> = BTreeMap::new();
    for node in &graph.nodes {
        let (kind, work) = (kind(graph, node), of_node(graph, node)?);
        let dtype = computed_in(graph, node);
        let op = node.op.name().to_owned();
        let key = (op.clone(), kind, dtype.map(|t| t.to_string()));
        let row =
            rows.entry(key).or_insert(Row { op, kind, dtype, count: 0, work: Work::default() });
        row.count += 1;
        row.work += work;
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.work.flops, row.work.bytes_read)));
    Ok(rows)
}

/// What all rows have to do together.
pub fn total(rows: &[Row]) -> Work {
    let mut total = Work::default();
    for row in rows {
        total += row.work;
    }
    total
}

/// The element type that a node computes with: of quantised products, their first factor's.
fn computed_in(graph: &Graph, node: &Node) -> Option<DType> {
    let first = node.inputs.iter().flatten().next().or(node.outputs.iter().flatten().next());
    graph.value(*first?).dtype
}

/// What one node has to do; an error names a size that is not known.
pub fn of_node(graph: &Graph, node: &Node) -> Result<Work> {
    let kind = kind(graph, node);
    let mut work = Work { flops: flops(graph, node)?, ..Work::default() };
    let outputs = node.outputs.iter().flatten().copied();
    for id in outputs.clone() {
        work.bytes_written = work.bytes_written.saturating_add(bytes(graph, node, id)?);
    }
    let mut seen: Vec<ValueId> = Vec::new();
    for (at, id) in node.inputs.iter().enumerate() {
        let Some(id) = id.filter(|id| !seen.contains(id)) else { continue };
        seen.push(id);
        if let Some(weight) = graph.constant(Some(id)) {
            work.params = work.params.saturating_add(weight.len() as u64);
        }
        // Of what is picked from, only what is picked is read.
        let picked = at == 0 && matches!(kind, Kind::Gather);
        let read = if picked { work.bytes_written } else { bytes(graph, node, id)? };
        work.bytes_read = work.bytes_read.saturating_add(read);
    }
    if kind == Kind::Free {
        (work.bytes_read, work.bytes_written) = (0, 0);
    }
    Ok(work)
}

fn sizes(graph: &Graph, node: &Node, id: ValueId) -> Result<Vec<usize>> {
    let dims = graph.dims(Some(id));
    dims.and_then(dim::fixed).ok_or_else(|| {
        let shown = dims.map_or("unknown shape".to_owned(), dim::show);
        let name = &graph.value(id).name;
        let free = graph.free_dims();
        let remedy = if free.is_empty() {
            "its size depends on the inputs' elements; nothing can be counted before it runs"
                .to_owned()
        } else {
            format!("bind {} (--dim NAME=SIZE)", free.join(", "))
        };
        graph
            .refuse_node(node, format!("`{name}` is {shown}: what it costs is not known"))
            .remedy(remedy)
    })
}

fn elements(graph: &Graph, node: &Node, id: Option<ValueId>) -> Result<u64> {
    let Some(id) = id else { return Ok(0) };
    Ok(sizes(graph, node, id)?.iter().fold(1_u64, |n, d| n.saturating_mul(*d as u64)))
}

fn bytes(graph: &Graph, node: &Node, id: ValueId) -> Result<u64> {
    let n = elements(graph, node, Some(id))?;
    Ok(match graph.value(id).dtype {
        Some(dtype) if dtype.is_packed() => n.div_ceil(2),
        Some(dtype) => n.saturating_mul(dtype.size() as u64),
        None => 0,
    })
}

/// How a node takes its time.
pub fn kind(graph: &Graph, node: &Node) -> Kind {
    match &node.op {
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
        | Op::CumSum { .. } => Kind::Elementwise,
        Op::Identity
        | Op::Shape { .. }
        | Op::Size
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze => Kind::Free,
        Op::Transpose { .. }
        | Op::Expand
        | Op::Tile
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Pad { .. }
        | Op::ConstantOfShape { .. }
        | Op::Range
        | Op::Trilu { .. }
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::Resize(_) => Kind::Layout,
        Op::Slice
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherND { .. }
        | Op::OneHot { .. }
        | Op::NonZero
        | Op::TopK { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterND { .. } => Kind::Gather,
        Op::Reduce { .. } | Op::ArgMax { .. } | Op::ArgMin { .. } => Kind::Reduction,
        Op::Softmax { .. } | Op::LogSoftmax { .. } => Kind::Softmax,
        Op::MatMul
        | Op::Gemm { .. }
        | Op::Linear { .. }
        | Op::Einsum { .. }
        | Op::MatMulInteger
        | Op::QLinearMatMul
        | Op::MatMulNBits(_) => Kind::Gemm,
        Op::Conv { conv, .. } | Op::ConvInteger(conv) | Op::QLinearConv(conv) => {
            let channels = graph.dims(node.input(0)).and_then(|d| d.get(1)?.fixed());
            if conv.group > 1 && channels == Some(conv.group) {
                Kind::DepthwiseConv
            } else {
                Kind::Conv
            }
        }
        Op::ConvTranspose(_) => Kind::Conv,
        Op::MaxPool { .. } | Op::AveragePool { .. } | Op::GlobalAveragePool | Op::GlobalMaxPool => {
            Kind::Pooling
        }
        Op::BatchNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::RMSNormalization { .. }
        | Op::GroupNormalization { .. }
        | Op::LRN(_)
        | Op::LpNormalization { .. } => Kind::Normalisation,
        Op::Attention { .. } => Kind::Attention,
        Op::LSTM(_) | Op::GRU { .. } => Kind::Recurrent,
        Op::QuantizeLinear(_) | Op::DequantizeLinear { .. } | Op::DynamicQuantizeLinear => {
            Kind::Quantise
        }
        Op::If { .. } | Op::Unsupported(_) => Kind::Unknown,
    }
}

#[expect(clippy::too_many_lines, reason = "one line an operator, and every operator")]
#[expect(clippy::match_same_arms, reason = "arms are grouped by what is counted, and why")]
fn flops(graph: &Graph, node: &Node) -> Result<u64> {
    let output = || elements(graph, node, node.output(0));
    let input = || elements(graph, node, node.input(0));
    // Size `at` of the axes of input `index`, counted from the end.
    let size = |index: usize, at: usize| -> Result<u64> {
        let Some(id) = node.input(index) else { return Ok(1) };
        let sizes = sizes(graph, node, id)?;
        Ok(sizes.iter().rev().nth(at).copied().unwrap_or(1) as u64)
    };
    let product = |n: u64, per: u64| n.saturating_mul(per).saturating_mul(2);
    let activated = |activation: &Option<super::op::Activation>| u64::from(activation.is_some());
    // What a weight `[m, c/group, …]` does for one output element.
    let window = |index: usize| -> Result<u64> {
        let Some(id) = node.input(index) else { return Ok(0) };
        let sizes = sizes(graph, node, id)?;
        Ok(sizes.iter().skip(1).fold(1_u64, |n, d| n.saturating_mul(*d as u64)))
    };
    Ok(match &node.op {
        Op::MatMul | Op::MatMulInteger | Op::QLinearMatMul => product(output()?, size(0, 0)?),
        Op::Linear { activation } => {
            let extra = u64::from(node.input(2).is_some()) + activated(activation);
            product(output()?, size(0, 0)?).saturating_add(output()?.saturating_mul(extra))
        }
        Op::Gemm { trans_a, activation, .. } => {
            let inner = size(0, usize::from(*trans_a))?;
            let extra = u64::from(node.input(2).is_some()) + activated(activation);
            product(output()?, inner).saturating_add(output()?.saturating_mul(extra))
        }
        Op::MatMulNBits(bits) => product(output()?, bits.k as u64),
        Op::Einsum { equation } => {
            let mut terms = Vec::new();
            for id in node.inputs.iter().flatten() {
                terms.push(sizes(graph, node, *id)?);
            }
            let all = shape::einsum_elements(equation, &terms);
            if node.inputs.len() > 1 { all.saturating_mul(2) } else { all }
        }
        Op::Conv { activation, .. } => {
            let extra = u64::from(node.input(2).is_some()) + activated(activation);
            product(output()?, window(1)?).saturating_add(output()?.saturating_mul(extra))
        }
        Op::ConvInteger(_) => product(output()?, window(1)?),
        Op::QLinearConv(_) => product(output()?, window(3)?),
        // Every input element meets every element of its channel's weights.
        Op::ConvTranspose(_) => product(input()?, window(1)?),
        Op::MaxPool { pool, .. } | Op::AveragePool { pool, .. } => {
            let window =
                pool.window.kernel_shape.iter().fold(1_u64, |n, d| n.saturating_mul(*d as u64));
            output()?.saturating_mul(window)
        }
        Op::Attention { .. } => {
            let scores = product(elements(graph, node, node.input(0))?, size(1, 1)?);
            let queries = elements(graph, node, node.input(0))? / size(0, 0)?.max(1);
            let count = queries.saturating_mul(size(1, 1)?);
            let mixed = product(count, size(2, 0)?);
            scores.saturating_add(mixed).saturating_add(count.saturating_mul(SOFTMAX + 2))
        }
        Op::LSTM(recurrent) => gates(node, graph, recurrent, 4)?,
        Op::GRU { recurrent, .. } => gates(node, graph, recurrent, 3)?,
        Op::Softmax { .. } | Op::LogSoftmax { .. } => output()?.saturating_mul(SOFTMAX),
        Op::LayerNormalization { .. }
        | Op::RMSNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::GroupNormalization { .. }
        | Op::LpNormalization { .. } => output()?.saturating_mul(NORMALISATION),
        Op::LRN(lrn) => {
            output()?.saturating_mul((lrn.size as u64).saturating_mul(2).saturating_add(4))
        }
        Op::BatchNormalization { .. } => output()?.saturating_mul(SCALE_AND_SHIFT),
        Op::Gelu { .. } => output()?.saturating_mul(GELU),
        Op::QuantizeLinear(_) | Op::DynamicQuantizeLinear => output()?.saturating_mul(QUANTISE),
        Op::DequantizeLinear { .. } => output()?.saturating_mul(SCALE_AND_SHIFT),
        Op::Reduce { .. }
        | Op::ArgMax { .. }
        | Op::ArgMin { .. }
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool => input()?,
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Elu { .. }
        | Op::Celu { .. }
        | Op::Selu { .. }
        | Op::LeakyRelu { .. }
        | Op::ThresholdedRelu { .. }
        | Op::HardSigmoid { .. }
        | Op::Clip
        | Op::Mod { .. }
        | Op::Where
        | Op::CumSum { .. } => output()?,
        Op::Variadic(_) => output()?.saturating_mul(node.inputs.len().saturating_sub(1) as u64),
        Op::Resize(_) => output()?,
        // These move elements, and compute nothing.
        Op::Cast { .. }
        | Op::CastLike
        | Op::Identity
        | Op::Shape { .. }
        | Op::Size
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Transpose { .. }
        | Op::Expand
        | Op::Tile
        | Op::Concat { .. }
        | Op::Split { .. }
        | Op::Slice
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherND { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterND { .. }
        | Op::ConstantOfShape { .. }
        | Op::Range
        | Op::OneHot { .. }
        | Op::Trilu { .. }
        | Op::NonZero
        | Op::TopK { .. }
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::If { .. }
        | Op::Unsupported(_) => 0,
    })
}

/// Products of `gates` gates with input and state, for every step and direction.
fn gates(node: &Node, graph: &Graph, recurrent: &super::op::Recurrent, gates: u64) -> Result<u64> {
    let Some(input) = node.input(0) else { return Ok(0) };
    let sizes = sizes(graph, node, input)?;
    let [a, b, width] = sizes[..] else { return Ok(0) };
    let (rows, hidden) = ((a as u64).saturating_mul(b as u64), recurrent.hidden_size as u64);
    let each =
        (width as u64).saturating_add(hidden).saturating_mul(hidden).saturating_mul(2 * gates);
    Ok(rows.saturating_mul(each).saturating_mul(recurrent.direction.count() as u64))
}

/// Bytes of a value, where its size is known.
pub(super) fn bytes_of(graph: &Graph, id: ValueId) -> Option<u64> {
    let value = graph.value(id);
    let sizes: Vec<usize> = value.dims.as_deref()?.iter().map(Dim::fixed).collect::<Option<_>>()?;
    let n = sizes.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
    Some(value.dtype?.bytes_of(n)? as u64)
}
