//! Element types and shapes of every value, from those of the inputs.
//!
//! Named sizes stay named as far as they can be followed; after [`Graph::bind`] everything that does
//! not depend on data is fixed. Small whole-number tensors are followed element by element, because
//! shapes are computed with them ([`elements`]).

mod attention;
mod context;
mod einsum;
mod elements;
mod indexing;
mod layout;
mod products;
mod quantised;
mod window;

pub use elements::Element;

pub(super) use self::context::axis_of;
use self::context::{Context, Fact, broadcast};
pub(super) use self::einsum::elements as einsum_elements;
use super::ir::{Graph, Node};
use super::{Op, dim};
use crate::error::Result;
use crate::variant::DType;

/// Infers all values of the graph, node by node.
///
/// An error names the node whose inputs do not fit it or each other.
pub fn infer(graph: &mut Graph) -> Result<()> {
    let nodes = std::mem::take(&mut graph.nodes);
    let result = nodes.iter().try_for_each(|node| infer_node(graph, node));
    graph.nodes = nodes;
    result
}

/// Infers what one node gives; its inputs must be inferred already.
pub(super) fn infer_node(graph: &mut Graph, node: &Node) -> Result<()> {
    let facts = {
        let context = Context { graph, node };
        rule(&context).map_err(|reason| graph.refuse_node(node, reason))?
    };
    for (output, fact) in node.outputs.iter().zip(facts) {
        let Some(id) = *output else { continue };
        let value = graph.value(id);
        let clash = value.dims.iter().zip(&fact.dims).any(|(old, new)| {
            old.len() != new.len() || old.iter().zip(new).any(|(a, b)| a.contradicts(b))
        });
        if clash {
            let (old, new) =
                (value.dims.clone().unwrap_or_default(), fact.dims.unwrap_or_default());
            let message = format!(
                "gives `{}` of shape {}, which was {} before",
                value.name,
                dim::show(&new),
                dim::show(&old)
            );
            return Err(graph.refuse_node(node, message));
        }
        let value = graph.value_mut(id);
        value.dtype = fact.dtype.or(value.dtype);
        value.dims = match (fact.dims, value.dims.take()) {
            (Some(new), Some(old)) => {
                Some(new.iter().zip(&old).map(|(a, b)| a.or_better(b)).collect())
            }
            (new, old) => new.or(old),
        };
    }
    let elements = elements::of(&Context { graph, node });
    for (output, elements) in node.outputs.iter().zip(elements) {
        if let Some(id) = *output {
            graph.value_mut(id).elements = elements;
        }
    }
    Ok(())
}

/// Shapes against each other, by the rules of NumPy; `None` where they can't go together.
pub(super) fn broadcast_of(shapes: &[&[super::Dim]]) -> Option<Vec<super::Dim>> {
    let shapes: Vec<_> = shapes.iter().copied().map(Some).collect();
    broadcast(&shapes).ok().flatten()
}

/// The places that a `Slice` picks along `axis`, of `rank` axes and `size` elements there.
pub(super) fn places_along(
    graph: &Graph,
    node: &Node,
    axis: usize,
    rank: usize,
    size: usize,
) -> Option<Vec<usize>> {
    indexing::places(&Context { graph, node }, axis, rank, size)
}

/// What each output is; the list may be shorter than the outputs.
#[expect(clippy::match_same_arms, reason = "arms are grouped by the kind of operator")]
fn rule(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    let one = |dtype, dims| Ok(vec![Fact { dtype, dims }]);
    let like = |index: usize| Ok(vec![c.fact(index)?]);
    match &c.node.op {
        Op::Unary(super::op::Unary::IsNaN) => one(Some(DType::Bool), c.owned_dims(0)?),
        Op::Unary(_)
        | Op::Elu { .. }
        | Op::Celu { .. }
        | Op::Selu { .. }
        | Op::LeakyRelu { .. }
        | Op::ThresholdedRelu { .. }
        | Op::HardSigmoid { .. }
        | Op::Gelu { .. }
        | Op::Clip
        | Op::Identity
        | Op::Trilu { .. }
        | Op::CumSum { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::LRN(_)
        | Op::LpNormalization { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterND { .. } => like(0),
        Op::BatchNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::GroupNormalization { .. } => layout::per_channel(c),
        Op::LayerNormalization { axis, .. } => layout::layer_normalization(c, *axis),
        Op::RMSNormalization { .. } => like(0),
        Op::Binary(kind) => {
            let dims = broadcast(&[c.dims(0)?, c.dims(1)?])?;
            one(if kind.is_comparison() { Some(DType::Bool) } else { c.dtype(0)? }, dims)
        }
        Op::Mod { .. } => one(c.dtype(0)?, broadcast(&[c.dims(0)?, c.dims(1)?])?),
        Op::Variadic(_) => {
            let all: Result<Vec<_>, _> = (0..c.node.inputs.len()).map(|i| c.dims(i)).collect();
            one(c.dtype(0)?, broadcast(&all?)?)
        }
        Op::Where => one(c.dtype(1)?, broadcast(&[c.dims(0)?, c.dims(1)?, c.dims(2)?])?),
        Op::Cast { to } => one(Some(*to), c.owned_dims(0)?),
        Op::CastLike => one(c.dtype(1)?, c.owned_dims(0)?),
        Op::Shape { start, end } => layout::shape(c, *start, *end),
        Op::Size => one(Some(DType::I64), Some(Vec::new())),
        Op::Reshape { allowzero } => layout::reshape(c, *allowzero),
        Op::Flatten { axis } => layout::flatten(c, *axis),
        Op::Squeeze => layout::squeeze(c),
        Op::Unsqueeze => layout::unsqueeze(c),
        Op::Transpose { perm } => layout::transpose(c, perm),
        Op::Expand => layout::expand(c),
        Op::Tile => layout::tile(c),
        Op::Concat { axis } => layout::concat(c, *axis),
        Op::Split { axis, num_outputs } => layout::split(c, *axis, *num_outputs),
        Op::DepthToSpace { blocksize, .. } => layout::depth_to_space(c, *blocksize),
        Op::SpaceToDepth { blocksize } => layout::space_to_depth(c, *blocksize),
        Op::Pad { .. } => layout::pad(c),
        Op::Resize(attributes) => layout::resize(c, attributes),
        Op::Slice => indexing::slice(c),
        Op::Gather { axis } => indexing::gather(c, *axis),
        Op::GatherElements { .. } => one(c.dtype(0)?, c.owned_dims(1)?),
        Op::GatherND { batch_dims } => indexing::gather_nd(c, *batch_dims),
        Op::ConstantOfShape { value } => layout::constant_of_shape(c, value),
        Op::Range => indexing::range(c),
        Op::OneHot { axis } => indexing::one_hot(c, *axis),
        Op::NonZero => indexing::non_zero(c),
        Op::TopK { axis, .. } => indexing::top_k(c, *axis),
        Op::Reduce { keepdims, noop_with_empty_axes, .. } => {
            layout::reduce(c, *keepdims, *noop_with_empty_axes)
        }
        Op::ArgMax { axis, keepdims, .. } | Op::ArgMin { axis, keepdims, .. } => {
            layout::arg(c, *axis, *keepdims)
        }
        Op::MatMul | Op::Linear { .. } => one(c.dtype(0)?, products::matmul(c, 0, 1)?),
        Op::Gemm { trans_a, trans_b, .. } => products::gemm(c, *trans_a, *trans_b),
        Op::Einsum { equation } => einsum::einsum(c, equation),
        Op::Conv { conv, .. } => one(c.dtype(0)?, window::conv(c, conv, 0, 1)?),
        Op::ConvTranspose(attributes) => window::conv_transpose(c, attributes),
        Op::MaxPool { pool, .. } => {
            let dims = window::pool(c, pool)?;
            let index = Fact { dtype: Some(DType::I64), dims: dims.clone() };
            Ok(vec![Fact { dtype: c.dtype(0)?, dims }, index])
        }
        Op::AveragePool { pool, .. } => one(c.dtype(0)?, window::pool(c, pool)?),
        Op::GlobalAveragePool | Op::GlobalMaxPool => window::global_pool(c),
        Op::Attention { .. } => attention::attention(c),
        Op::LSTM(recurrent) => attention::recurrent(c, recurrent, 3),
        Op::GRU { recurrent, .. } => attention::recurrent(c, recurrent, 2),
        Op::QuantizeLinear(attributes) => quantised::quantize(c, attributes),
        Op::DequantizeLinear { .. } => one(c.dtype(1)?, c.owned_dims(0)?),
        Op::DynamicQuantizeLinear => quantised::dynamic_quantize(c),
        Op::MatMulInteger => one(Some(DType::I32), products::matmul(c, 0, 1)?),
        Op::ConvInteger(conv) => one(Some(DType::I32), window::conv(c, conv, 0, 1)?),
        Op::QLinearMatMul => one(c.dtype(7)?, products::matmul(c, 0, 3)?),
        Op::QLinearConv(conv) => one(c.dtype(7)?, window::conv(c, conv, 0, 3)?),
        Op::MatMulNBits(bits) => quantised::matmul_nbits(c, bits),
        Op::If { .. } | Op::Unsupported(_) => Ok(Vec::new()),
    }
}
