//! Attributes that several operators share or that would crowd the enum.

use crate::variant::DType;

/// How a sliding window is padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pads {
    /// Begin of every axis, then end of every axis; empty means none.
    Explicit(Vec<usize>),
    /// So that the output is ⌈input/stride⌉; the odd element goes to the end.
    SameUpper,
    /// As [`Pads::SameUpper`], the odd element goes to the beginning.
    SameLower,
    /// None.
    Valid,
}

/// A sliding window; empty lists mean one for every axis (no padding, stride and dilation 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Sizes of the window; empty for convolutions that leave it to the weight.
    pub kernel_shape: Vec<usize>,
    /// Steps.
    pub strides: Vec<usize>,
    /// Distances between elements of the window.
    pub dilations: Vec<usize>,
    /// Padding.
    pub pads: Pads,
}

/// A convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvAttributes {
    /// The window.
    pub window: Window,
    /// Groups of channels.
    pub group: usize,
}

/// A transposed convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTransposeAttributes {
    /// The convolution that it transposes.
    pub conv: ConvAttributes,
    /// Elements added to the end of every axis.
    pub output_padding: Vec<usize>,
    /// The output's spatial sizes, where padding is to follow from them.
    pub output_shape: Vec<usize>,
}

/// A pooling window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAttributes {
    /// The window.
    pub window: Window,
    /// Whether a window that overhangs the end counts.
    pub ceil_mode: bool,
}

/// `LSTM` and `GRU`.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    /// Width of the state.
    pub hidden_size: usize,
    /// Which way through the sequence.
    pub direction: Direction,
    /// Functions of the gates, three a direction of an LSTM and two of a GRU; empty for the
    /// default.
    pub activations: Vec<String>,
    /// Parameters of functions that have them.
    pub activation_alpha: Vec<f32>,
    /// Parameters of functions that have them.
    pub activation_beta: Vec<f32>,
    /// Bound on the gates' inputs.
    pub clip: Option<f32>,
    /// Whether the batch is axis 0 and not axis 1.
    pub batch_first: bool,
}

/// Which way through a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Direction {
    Forward,
    Reverse,
    Bidirectional,
}

impl Direction {
    /// Directions at once.
    pub fn count(self) -> usize {
        if self == Self::Bidirectional { 2 } else { 1 }
    }
}

/// `Resize`; the names are ONNX's.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are ONNX's")]
pub struct ResizeAttributes {
    pub mode: String,
    pub coordinate_transformation_mode: String,
    pub nearest_mode: String,
    pub cubic_coeff_a: f32,
    pub exclude_outside: bool,
    pub extrapolation_value: f32,
    pub antialias: bool,
    pub axes: Vec<i64>,
    pub keep_aspect_ratio_policy: String,
}

/// `LRN`; the names are ONNX's.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names are ONNX's")]
pub struct LrnAttributes {
    pub alpha: f32,
    pub beta: f32,
    pub bias: f32,
    pub size: usize,
}

/// `MatMulNBits` of the domain com.microsoft: weights `[n, k/block_size, block_size·bits/8]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NBits {
    /// Rows of the weight as it is multiplied: the input's last axis.
    pub k: usize,
    /// Columns: the output's last axis.
    pub n: usize,
    /// Bits a weight.
    pub bits: usize,
    /// Weights that share a scale.
    pub block_size: usize,
    /// What the product may be computed in: 0 unset, 1 f32, 2 f16, 3 bf16, 4 int8.
    pub accuracy_level: i64,
}

/// `QuantizeLinear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizeAttributes {
    /// The axis that scales go along.
    pub axis: i64,
    /// Elements that share a scale along the axis; 0 for one scale an index.
    pub block_size: usize,
    /// The type of the output; that of the zero point, or u8, where `None`.
    pub output_dtype: Option<DType>,
}

/// How scattered values meet what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are ONNX's")]
pub enum ScatterReduction {
    None,
    Add,
    Mul,
    Max,
    Min,
}

/// How values beyond an edge are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are ONNX's")]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}
