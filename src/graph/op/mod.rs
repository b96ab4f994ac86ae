//! The operators that the graph knows: a closed set, named as in ONNX.
//!
//! Inputs, outputs and attributes are those of the newest form of each operator up to opset 23;
//! what older opsets say otherwise is brought into this form by the loader. Whoever must treat every
//! operator (shapes, cost, the saver, engines) matches exhaustively, so that the compiler lists what
//! a new one needs: docs/adding-an-op.md.

mod attributes;
mod kinds;

pub use attributes::{
    ConvAttributes, ConvTransposeAttributes, Direction, LrnAttributes, NBits, PadMode, Pads,
    PoolAttributes, QuantizeAttributes, Recurrent, ResizeAttributes, ScatterReduction, Window,
};
pub use kinds::{Activation, Binary, Reduction, Unary, Variadic};

use super::Weight;
use super::onnx::{Branch, RawNode};
use crate::variant::DType;

/// The domain of ONNX Runtime's own operators.
pub const MICROSOFT: &str = "com.microsoft";

/// An operator with its attributes.
///
/// Unless said otherwise the names of attributes are ONNX's and so is their meaning; axes may be
/// negative and count from the end.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "operators and attributes are ONNX's of that name")]
pub enum Op {
    // Element by element.
    Unary(Unary),
    Binary(Binary),
    Variadic(Variadic),
    Elu {
        alpha: f32,
    },
    Celu {
        alpha: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    ThresholdedRelu {
        alpha: f32,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    Gelu {
        tanh: bool,
    },
    /// Inputs: data, and optionally least and largest value.
    Clip,
    Mod {
        fmod: bool,
    },
    Where,
    Cast {
        to: DType,
    },
    CastLike,
    Identity,

    // Shapes and places.
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Size,
    Reshape {
        allowzero: bool,
    },
    Flatten {
        axis: i64,
    },
    /// Inputs: data, and optionally axes.
    Squeeze,
    /// Inputs: data, axes.
    Unsqueeze,
    /// An empty list reverses the axes.
    Transpose {
        perm: Vec<usize>,
    },
    Expand,
    Tile,
    Concat {
        axis: i64,
    },
    Split {
        axis: i64,
        num_outputs: Option<usize>,
    },
    Slice,
    Pad {
        mode: PadMode,
    },
    Gather {
        axis: i64,
    },
    GatherElements {
        axis: i64,
    },
    GatherND {
        batch_dims: usize,
    },
    ScatterElements {
        axis: i64,
        reduction: ScatterReduction,
    },
    ScatterND {
        reduction: ScatterReduction,
    },
    ConstantOfShape {
        value: Weight,
    },
    Range,
    OneHot {
        axis: i64,
    },
    Trilu {
        upper: bool,
    },
    CumSum {
        exclusive: bool,
        reverse: bool,
    },
    NonZero,
    TopK {
        axis: i64,
        largest: bool,
        sorted: bool,
    },
    DepthToSpace {
        blocksize: usize,
        column_row_depth: bool,
    },
    SpaceToDepth {
        blocksize: usize,
    },
    Resize(Box<ResizeAttributes>),

    // Over axes.
    Reduce {
        kind: Reduction,
        keepdims: bool,
        noop_with_empty_axes: bool,
    },
    ArgMax {
        axis: i64,
        keepdims: bool,
        select_last_index: bool,
    },
    ArgMin {
        axis: i64,
        keepdims: bool,
        select_last_index: bool,
    },
    Softmax {
        axis: i64,
    },
    LogSoftmax {
        axis: i64,
    },

    // Products.
    MatMul,
    Gemm {
        alpha: f32,
        beta: f32,
        trans_a: bool,
        trans_b: bool,
        activation: Option<Activation>,
    },
    /// Ours, made by a pass: `activation(x · w + bias)` with inputs x, w and optionally bias, a
    /// vector along the last axis. Saved as `MatMul`, `Add` and the activation.
    Linear {
        activation: Option<Activation>,
    },
    Einsum {
        equation: String,
    },
    Conv {
        conv: ConvAttributes,
        activation: Option<Activation>,
    },
    ConvTranspose(Box<ConvTransposeAttributes>),
    MaxPool {
        pool: PoolAttributes,
        storage_order: i64,
    },
    AveragePool {
        pool: PoolAttributes,
        count_include_pad: bool,
    },
    GlobalAveragePool,
    GlobalMaxPool,

    // Normalisation.
    /// For inference: inputs x, scale, bias, mean and variance, one output.
    BatchNormalization {
        epsilon: f32,
    },
    InstanceNormalization {
        epsilon: f32,
    },
    /// Output 1 and 2, mean and inverse deviation, are rarely asked for.
    LayerNormalization {
        axis: i64,
        epsilon: f32,
    },
    RMSNormalization {
        axis: i64,
        epsilon: f32,
    },
    GroupNormalization {
        num_groups: usize,
        epsilon: f32,
    },
    LRN(LrnAttributes),
    LpNormalization {
        axis: i64,
        p: i64,
    },

    /// Softmax(scale · q·kᵀ + mask) · v: inputs q `[b, h, s, d]`, k `[b, h, t, d]`, v `[b, h, t, e]`
    /// and optionally a mask that is broadcast to `[b, h, s, t]`. Saved in its parts.
    Attention {
        scale: f32,
    },
    LSTM(Box<Recurrent>),
    GRU {
        recurrent: Box<Recurrent>,
        linear_before_reset: bool,
    },

    // Quantised.
    QuantizeLinear(QuantizeAttributes),
    DequantizeLinear {
        axis: i64,
        block_size: usize,
    },
    DynamicQuantizeLinear,
    MatMulInteger,
    ConvInteger(ConvAttributes),
    QLinearMatMul,
    QLinearConv(ConvAttributes),
    /// Of the domain com.microsoft.
    MatMulNBits(NBits),

    /// One of two graphs; folded by a pass when the condition is constant.
    If {
        then_branch: Box<Branch>,
        else_branch: Box<Branch>,
    },
    /// What is not known: kept as it is, reported by name.
    Unsupported(Box<RawNode>),
}

impl Op {
    /// ONNX's name; of our own operators, ours.
    pub fn name(&self) -> &str {
        match self {
            Self::Unary(kind) => kind.name(),
            Self::Binary(kind) => kind.name(),
            Self::Variadic(kind) => kind.name(),
            Self::Elu { .. } => "Elu",
            Self::Celu { .. } => "Celu",
            Self::Selu { .. } => "Selu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::ThresholdedRelu { .. } => "ThresholdedRelu",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::Gelu { .. } => "Gelu",
            Self::Clip => "Clip",
            Self::Mod { .. } => "Mod",
            Self::Where => "Where",
            Self::Cast { .. } => "Cast",
            Self::CastLike => "CastLike",
            Self::Identity => "Identity",
            Self::Shape { .. } => "Shape",
            Self::Size => "Size",
            Self::Reshape { .. } => "Reshape",
            Self::Flatten { .. } => "Flatten",
            Self::Squeeze => "Squeeze",
            Self::Unsqueeze => "Unsqueeze",
            Self::Transpose { .. } => "Transpose",
            Self::Expand => "Expand",
            Self::Tile => "Tile",
            Self::Concat { .. } => "Concat",
            Self::Split { .. } => "Split",
            Self::Slice => "Slice",
            Self::Pad { .. } => "Pad",
            Self::Gather { .. } => "Gather",
            Self::GatherElements { .. } => "GatherElements",
            Self::GatherND { .. } => "GatherND",
            Self::ScatterElements { .. } => "ScatterElements",
            Self::ScatterND { .. } => "ScatterND",
            Self::ConstantOfShape { .. } => "ConstantOfShape",
            Self::Range => "Range",
            Self::OneHot { .. } => "OneHot",
            Self::Trilu { .. } => "Trilu",
            Self::CumSum { .. } => "CumSum",
            Self::NonZero => "NonZero",
            Self::TopK { .. } => "TopK",
            Self::DepthToSpace { .. } => "DepthToSpace",
            Self::SpaceToDepth { .. } => "SpaceToDepth",
            Self::Resize(_) => "Resize",
            Self::Reduce { kind, .. } => kind.name(),
            Self::ArgMax { .. } => "ArgMax",
            Self::ArgMin { .. } => "ArgMin",
            Self::Softmax { .. } => "Softmax",
            Self::LogSoftmax { .. } => "LogSoftmax",
            Self::MatMul => "MatMul",
            Self::Gemm { .. } => "Gemm",
            Self::Linear { .. } => "Linear",
            Self::Einsum { .. } => "Einsum",
            Self::Conv { .. } => "Conv",
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::MaxPool { .. } => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::GlobalMaxPool => "GlobalMaxPool",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::InstanceNormalization { .. } => "InstanceNormalization",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::RMSNormalization { .. } => "RMSNormalization",
            Self::GroupNormalization { .. } => "GroupNormalization",
            Self::LRN(_) => "LRN",
            Self::LpNormalization { .. } => "LpNormalization",
            Self::Attention { .. } => "Attention",
            Self::LSTM(_) => "LSTM",
            Self::GRU { .. } => "GRU",
            Self::QuantizeLinear(_) => "QuantizeLinear",
            Self::DequantizeLinear { .. } => "DequantizeLinear",
            Self::DynamicQuantizeLinear => "DynamicQuantizeLinear",
            Self::MatMulInteger => "MatMulInteger",
            Self::ConvInteger(_) => "ConvInteger",
            Self::QLinearMatMul => "QLinearMatMul",
            Self::QLinearConv(_) => "QLinearConv",
            Self::MatMulNBits(_) => "MatMulNBits",
            Self::If { .. } => "If",
            Self::Unsupported(raw) => raw.op_type(),
        }
    }

    /// The domain it belongs to; ONNX's own is empty.
    pub fn domain(&self) -> &str {
        match self {
            Self::MatMulNBits(_) => MICROSOFT,
            Self::Unsupported(raw) => raw.domain(),
            _ => "",
        }
    }
}
