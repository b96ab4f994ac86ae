//! Operators by family, and the one list of which has a kernel.

mod attention;
mod index;
mod integers;
mod layout;
mod order;
mod product;
mod rows;
pub(super) mod ways;
mod whole;
mod window;

pub(super) use self::integers::product as integer_product;
use super::elementwise::is_elementwise;
use super::lower::{Lower, Lowered};
use crate::graph::{Node, Op};

/// An axis that may count from the end.
fn axis_of(axis: i64, rank: usize) -> Lowered<usize> {
    let counted = if axis < 0 { axis + i64::try_from(rank).unwrap_or(i64::MAX) } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|at| *at < rank)
        .ok_or_else(|| format!("along axis {axis} of {rank}"))
}

/// Lowers one node.
pub(super) fn lower(to: &mut Lower<'_>, node: &Node) -> Lowered {
    match &node.op {
        op if is_elementwise(op) => to.elementwise(node),
        Op::Identity => layout::same(to, node),

        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => {
            layout::reshape(to, node)
        }
        Op::Transpose { perm } => layout::transpose(to, node, perm),
        Op::Expand => layout::expand(to, node),
        Op::Tile => layout::tile(to, node),
        Op::Concat { axis } => layout::concat(to, node, *axis),
        Op::Split { axis, .. } => layout::split(to, node, *axis),
        Op::Slice => layout::slice(to, node),
        Op::Pad { mode } => layout::pad(to, node, *mode),
        Op::Gather { axis } => layout::gather(to, node, *axis),
        Op::GatherElements { axis } => index::gather_elements(to, node, *axis),
        Op::GatherND { batch_dims } => index::gather_nd(to, node, *batch_dims),
        Op::ScatterElements { axis, reduction } => {
            index::scatter(to, node, Some(*axis), *reduction)
        }
        Op::ScatterND { reduction } => index::scatter(to, node, None, *reduction),
        Op::OneHot { axis } => index::one_hot(to, node, *axis),
        Op::Trilu { upper } => index::trilu(to, node, *upper),
        Op::CumSum { exclusive, reverse } => order::cumulate(to, node, *exclusive, *reverse),
        Op::TopK { axis, largest, .. } => order::top(to, node, *axis, *largest),
        Op::ArgMax { axis, select_last_index, .. } => {
            order::arg(to, node, *axis, true, *select_last_index)
        }
        Op::ArgMin { axis, select_last_index, .. } => {
            order::arg(to, node, *axis, false, *select_last_index)
        }
        Op::ConstantOfShape { value } => layout::filled(to, node, value),
        Op::DepthToSpace { blocksize, column_row_depth } => {
            layout::depth_to_space(to, node, *blocksize, *column_row_depth)
        }
        Op::SpaceToDepth { blocksize } => layout::space_to_depth(to, node, *blocksize),

        Op::Reduce { kind, noop_with_empty_axes, .. } => {
            rows::reduce(to, node, *kind, *noop_with_empty_axes)
        }
        Op::Softmax { axis } => rows::softmax(to, node, *axis, false),
        Op::LogSoftmax { axis } => rows::softmax(to, node, *axis, true),
        Op::LpNormalization { axis, p } => rows::lp(to, node, *axis, *p),
        Op::BatchNormalization { epsilon } => rows::batch_norm(to, node, *epsilon),
        Op::InstanceNormalization { epsilon } => rows::grouped(to, node, None, *epsilon),
        Op::GroupNormalization { num_groups, epsilon } => {
            rows::grouped(to, node, Some(*num_groups), *epsilon)
        }
        Op::LayerNormalization { axis, epsilon } => rows::layer(to, node, *axis, *epsilon, true),
        Op::RMSNormalization { axis, epsilon } => rows::layer(to, node, *axis, *epsilon, false),

        Op::MatMul => product::matmul(to, node, None),
        Op::Linear { activation } => product::matmul(to, node, *activation),
        Op::Gemm { alpha, beta, trans_a, trans_b, activation } => {
            product::gemm(to, node, (*alpha, *beta), (*trans_a, *trans_b), *activation)
        }
        Op::Conv { conv, activation } => window::conv(to, node, conv, *activation),
        Op::MaxPool { pool, .. } => window::pool(to, node, pool, None),
        Op::AveragePool { pool, count_include_pad } => {
            window::pool(to, node, pool, Some(*count_include_pad))
        }
        Op::GlobalAveragePool => rows::global(to, node, true),
        Op::GlobalMaxPool => rows::global(to, node, false),
        Op::Attention { scale } => attention::attention(to, node, *scale),

        Op::QuantizeLinear(attributes) => integers::quantize(to, node, attributes),
        Op::DequantizeLinear { axis, block_size } => {
            integers::dequantize(to, node, *axis, *block_size)
        }
        Op::DynamicQuantizeLinear => integers::dynamic_quantize(to, node),
        Op::MatMulInteger => whole::matmul_integer(to, node),
        Op::QLinearMatMul => whole::qlinear_matmul(to, node),
        Op::QLinearConv(conv) => whole::qlinear_conv(to, node, conv),
        Op::MatMulNBits(bits) => whole::n_bits(to, node, bits),
        Op::ConvInteger(conv) => window::conv_integer(to, node, conv),

        Op::If { .. } => Err("whose condition is not a constant".to_owned()),
        Op::Unsupported(raw) => Err(raw.reason().to_owned()),
        _ => Err("has no kernel yet".to_owned()),
    }
}
