//! From an operator to its kernel: every operator, one line each.

use super::ops::{
    attention, binary, conv, indexing, layout, norm, pool, portable, product, quantise, recurrent,
    reduce, resize, unary,
};
use super::step::{Kernel, Lowered, Site, one};
use crate::graph::Op;

/// The kernel of a node with what runs it, or why there is none.
pub(super) fn lower(site: &Site<'_>) -> Result<(Kernel, Runs), String> {
    if site.device.is_cpu() {
        return Ok((on_host(site)?, Runs::Device));
    }
    match portable::lowered(site) {
        Some(kernel) => Ok((kernel, Runs::Device)),
        None => Ok((on_host(site)?, Runs::Host)),
    }
}

/// What runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// The device that was asked for.
    Device,
    /// The host, with copies to and from the device.
    Host,
}

/// The kernel of a node for tensors that the host can see.
#[expect(clippy::too_many_lines, reason = "one line an operator, and every operator")]
pub(super) fn on_host(site: &Site<'_>) -> Lowered {
    match &site.node.op {
        Op::Unary(kind) => unary::unary(site, *kind),
        Op::Binary(kind) => binary::binary(site, *kind),
        Op::Variadic(kind) => binary::variadic(site, *kind),
        Op::Elu { alpha } => {
            let alpha = f64::from(*alpha);
            unary::floats(site.dtype(0)?, move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        Op::Celu { alpha } => {
            let alpha = f64::from(*alpha);
            unary::floats(site.dtype(0)?, move |x| {
                if x.is_nan() { x } else { x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0) }
            })
        }
        Op::Selu { alpha, gamma } => {
            let (alpha, gamma) = (f64::from(*alpha), f64::from(*gamma));
            unary::floats(site.dtype(0)?, move |x| {
                gamma * if x < 0.0 { alpha * x.exp_m1() } else { x }
            })
        }
        Op::LeakyRelu { alpha } => {
            let alpha = f64::from(*alpha);
            unary::floats(site.dtype(0)?, move |x| if x < 0.0 { alpha * x } else { x })
        }
        Op::ThresholdedRelu { alpha } => {
            let alpha = f64::from(*alpha);
            unary::floats(site.dtype(0)?, move |x| if x > alpha { x } else { 0.0 })
        }
        Op::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (f64::from(*alpha), f64::from(*beta));
            unary::floats(site.dtype(0)?, move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        Op::Gelu { tanh } => unary::gelu(site, *tanh),
        Op::Clip => unary::clip(site),
        Op::Mod { fmod } => binary::modulo(site, *fmod),
        Op::Where => binary::choose(site),
        Op::Cast { to } => unary::cast(*to),
        Op::CastLike => unary::cast(site.gives()?),
        Op::Identity => one(|inputs| Ok(inputs.at(0)?.clone())),

        Op::Shape { start, end } => layout::shape(*start, *end),
        Op::Size => layout::count(),
        Op::Reshape { allowzero } => layout::reshape(*allowzero),
        Op::Flatten { axis } => layout::flatten(*axis),
        Op::Squeeze => layout::squeeze(),
        Op::Unsqueeze => layout::unsqueeze(),
        Op::Transpose { perm } => layout::transpose(perm),
        Op::Expand => layout::expand(),
        Op::Tile => layout::tile(),
        Op::Concat { axis } => layout::concat(*axis),
        Op::Split { axis, num_outputs } => layout::split(site, *axis, *num_outputs),
        Op::Slice => layout::slice(),
        Op::Pad { mode } => layout::pad(site, *mode),
        Op::Gather { axis } => indexing::gather(*axis),
        Op::GatherElements { axis } => indexing::gather_elements(*axis),
        Op::GatherND { batch_dims } => indexing::gather_nd(*batch_dims),
        Op::ScatterElements { axis, reduction } => {
            indexing::scatter_elements(site, *axis, *reduction)
        }
        Op::ScatterND { reduction } => indexing::scatter_nd(site, *reduction),
        Op::ConstantOfShape { value } => layout::filled(site, value),
        Op::Range => layout::range(site),
        Op::OneHot { axis } => indexing::one_hot(site, *axis),
        Op::Trilu { upper } => indexing::trilu(site, *upper),
        Op::CumSum { exclusive, reverse } => reduce::cumulated(site, *exclusive, *reverse),
        Op::NonZero => indexing::non_zero(),
        Op::TopK { axis, largest, .. } => indexing::top_k(site, *axis, *largest),
        Op::DepthToSpace { blocksize, column_row_depth } => {
            layout::blocks(*blocksize, *column_row_depth, true)
        }
        Op::SpaceToDepth { blocksize } => layout::blocks(*blocksize, false, false),
        Op::Resize(attributes) => resize::resize(site, attributes),

        Op::Reduce { kind, keepdims, noop_with_empty_axes } => {
            reduce::reduce(site, *kind, *keepdims, *noop_with_empty_axes)
        }
        Op::ArgMax { axis, keepdims, select_last_index } => {
            reduce::arg(*axis, *keepdims, *select_last_index, true)
        }
        Op::ArgMin { axis, keepdims, select_last_index } => {
            reduce::arg(*axis, *keepdims, *select_last_index, false)
        }
        Op::Softmax { axis } => norm::softmax(site, *axis, false),
        Op::LogSoftmax { axis } => norm::softmax(site, *axis, true),

        Op::MatMul => product::matmul(site),
        Op::Gemm { alpha, beta, trans_a, trans_b, activation } => {
            product::gemm(site, (*alpha, *beta), (*trans_a, *trans_b), *activation)
        }
        Op::Linear { activation } => product::linear(site, *activation),
        Op::Einsum { equation } => product::einsum(site, equation),
        Op::Conv { conv, activation } => conv::conv(site, conv, *activation),
        Op::ConvTranspose(attributes) => conv::transposed(site, attributes),
        Op::MaxPool { pool, storage_order } => pool::max(site, pool, *storage_order),
        Op::AveragePool { pool, count_include_pad } => {
            pool::average(site, pool, *count_include_pad)
        }
        Op::GlobalAveragePool => pool::global(site, true),
        Op::GlobalMaxPool => pool::global(site, false),

        Op::BatchNormalization { epsilon } => norm::batch(site, *epsilon),
        Op::InstanceNormalization { epsilon } => norm::groups(site, None, *epsilon),
        Op::LayerNormalization { axis, epsilon } => norm::layer(site, *axis, *epsilon),
        Op::RMSNormalization { axis, epsilon } => norm::rms(site, *axis, *epsilon),
        Op::GroupNormalization { num_groups, epsilon } => {
            norm::groups(site, Some(*num_groups), *epsilon)
        }
        Op::LRN(lrn) => norm::local(site, *lrn),
        Op::LpNormalization { axis, p } => norm::lp(site, *axis, *p),

        Op::Attention { scale } => attention::attention(site, *scale),
        Op::LSTM(recurrent) => recurrent::lstm(site, recurrent),
        Op::GRU { recurrent, linear_before_reset } => {
            recurrent::gru(site, recurrent, *linear_before_reset)
        }

        Op::QuantizeLinear(attributes) => quantise::quantize(site, attributes),
        Op::DequantizeLinear { axis, block_size } => quantise::dequantize(site, *axis, *block_size),
        Op::DynamicQuantizeLinear => quantise::dynamic(site),
        Op::MatMulInteger => quantise::matmul_integer(site),
        Op::ConvInteger(conv) => quantise::conv_integer(site, conv),
        Op::QLinearMatMul => quantise::qlinear_matmul(site),
        Op::QLinearConv(conv) => quantise::qlinear_conv(site, conv),
        Op::MatMulNBits(bits) => super::packed::n_bits(site, bits),

        Op::If { .. } => Err("whose condition is not a constant".to_owned()),
        Op::Unsupported(raw) => Err(raw.reason().to_owned()),
    }
}
