//! Recipes as data: what is done to a model, parsed from and printed as one short name.
//!
//! A name is safe in file names, make and shells: letters, digits, `-`, `.` and, between the stages of
//! a chain, `+`. What a name leaves out has one fixed meaning, on every machine.

use serde::{Deserialize, Serialize};

/// How a variant is derived from its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Recipe {
    /// The model's own bytes, untouched.
    AsGiven,
    /// A file made elsewhere; its lineage says by whom.
    External,
    /// Stages, one after the other.
    Stages(Vec<Stage>),
}

/// One step from a graph to a smaller one.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `fp16`, `bf16`: floats of 16 bits, but for nodes whose values would overflow.
    Half(HalfType),
    /// `int8-dynamic`: weights of 8 bits; activations become 8 bits at run time.
    Int8Dynamic(Int8Dynamic),
    /// `int8-static`: weights and activations of 8 bits, ranges calibrated on data.
    Int8Static(Int8Static),
    /// `int4-b32`: weights of 4 or 8 bits, a scale for each block (`MatMulNBits`).
    Blocks(Blocks),
    /// `int4-channel`: weights of 2 to 8 bits, a scale for each output channel; nothing else.
    Channel(Channel),
    /// `mixed-…`: another stage, its worst nodes kept in float until the answers are near enough.
    Mixed(Mixed),
}

/// The 16-bit float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfType {
    /// IEEE half precision: 5 bits of exponent.
    Fp16,
    /// The upper half of a single: 8 bits of exponent.
    Bf16,
}

/// What shares one scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Granularity {
    /// Each output channel has its own.
    #[default]
    PerChannel,
    /// The whole weight.
    PerTensor,
}

/// Parameters of `int8-dynamic`.
#[expect(clippy::struct_excessive_bools, reason = "options that a name has or has not")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Int8Dynamic {
    /// `-per-tensor` when it is that.
    pub granularity: Granularity,
    /// `-asymmetric`: weights with a zero point (u8).
    pub asymmetric: bool,
    /// `-reduce-range`: weights of 7 bits, for CPUs whose 8-bit products saturate (AVX2, AVX-512
    /// without VNNI).
    pub reduce_range: bool,
    /// `-embeddings`: tables that are gathered from, too.
    pub embeddings: bool,
    /// `-conv`: convolutions too (`ConvInteger`).
    pub conv: bool,
}

/// Parameters of `int8-static`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Int8Static {
    /// How activations' ranges follow from what was seen.
    pub range: RangeRule,
    /// `-per-tensor` when it is that.
    pub granularity: Granularity,
    /// `-symmetric`: activations without a zero point (i8).
    pub symmetric: bool,
    /// `-reduce-range`: weights of 7 bits.
    pub reduce_range: bool,
    /// Which nodes.
    pub scope: Scope,
}

/// How the range of an activation follows from the values seen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum RangeRule {
    /// `-minmax`: the smallest and the largest.
    #[default]
    MinMax,
    /// `-percentile-99.9`: cut so that this share of values, in per cent, lies within.
    Percentile(f64),
    /// `-entropy`: the cut whose quantised distribution loses least information.
    Entropy,
}

/// Which nodes are made static.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// `MatMul`, `Gemm` and `Conv` with constant weights.
    #[default]
    Weighted,
    /// `-all-matmuls`: products of two activations too.
    AllMatMuls,
    /// `-every-op`: every operator on floats that ONNX Runtime has an 8-bit form of.
    EveryOp,
}

/// Parameters of `int4-b32` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// 4 or 8.
    pub bits: u8,
    /// Weights that share a scale, along the summed axis: a power of two from 16 to 256.
    pub block: usize,
    /// `-asymmetric`: a zero point for each block.
    pub asymmetric: bool,
    /// `-acc1`: what the products are computed in: 4 int8 (the default), 1 f32.
    pub accuracy_level: u8,
}

/// Parameters of `int4-channel` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// 2 to 8.
    pub bits: u8,
}

/// Parameters of `mixed`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// What is done to all nodes but those that are kept.
    pub base: Box<Stage>,
    /// What must hold on the validation samples.
    pub budget: Budget,
}

/// How near the answers must stay to the model's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// What is compared.
    pub metric: BudgetMetric,
    /// Its least value.
    pub at_least: f64,
}

/// What a [`Budget`] compares; no labels are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetMetric {
    /// Mean cosine of the output with the model's own.
    Cosine,
    /// Share of samples decided as by the model itself.
    Agreement,
}

impl Blocks {
    /// Symmetric, computed in int8.
    pub fn new(bits: u8, block: usize) -> Self {
        Self { bits, block, asymmetric: false, accuracy_level: 4 }
    }
}

impl Default for Mixed {
    fn default() -> Self {
        let base = Box::new(Stage::Int8Static(Int8Static::default()));
        Self { base, budget: Budget { metric: BudgetMetric::Cosine, at_least: 0.99 } }
    }
}

impl Stage {
    /// Whether it makes weights or activations whole numbers.
    pub fn quantises(&self) -> bool {
        !matches!(self, Self::Half(_))
    }

    /// Whether it must see data: calibration, or a search for the nodes to keep.
    pub fn needs_data(&self) -> bool {
        matches!(self, Self::Int8Static(_) | Self::Mixed(_))
    }

    /// Every parameter by name, those that the short name leaves out too.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let granularity = |g: &Granularity| match g {
            Granularity::PerChannel => "per-channel",
            Granularity::PerTensor => "per-tensor",
        };
        let yes = |b: bool| b.to_string();
        match self {
            Self::Half(half) => vec![("type", half.to_string())],
            Self::Int8Dynamic(p) => vec![
                ("weights", if p.asymmetric { "u8" } else { "i8" }.to_owned()),
                ("activations", "u8 at run time".to_owned()),
                ("weight_symmetric", yes(!p.asymmetric)),
                ("granularity", granularity(&p.granularity).to_owned()),
                ("reduce_range", yes(p.reduce_range)),
                ("embeddings", yes(p.embeddings)),
                ("conv", yes(p.conv)),
            ],
            Self::Int8Static(p) => vec![
                ("weights", "i8".to_owned()),
                ("activations", if p.symmetric { "i8" } else { "u8" }.to_owned()),
                ("weight_symmetric", yes(true)),
                ("activation_symmetric", yes(p.symmetric)),
                ("granularity", granularity(&p.granularity).to_owned()),
                ("reduce_range", yes(p.reduce_range)),
                ("range", p.range.to_string()),
                ("scope", p.scope.to_string()),
            ],
            Self::Blocks(p) => vec![
                ("bits", p.bits.to_string()),
                ("block_size", p.block.to_string()),
                ("weight_symmetric", yes(!p.asymmetric)),
                ("accuracy_level", p.accuracy_level.to_string()),
            ],
            Self::Channel(p) => vec![
                ("bits", p.bits.to_string()),
                ("weight_symmetric", yes(true)),
                ("granularity", "per-channel".to_owned()),
            ],
            Self::Mixed(p) => {
                let mut all = p.base.parameters();
                all.push(("base", p.base.to_string()));
                all.push(("budget", p.budget.to_string()));
                all
            }
        }
    }
}

impl Recipe {
    /// Whether any stage must see data.
    pub fn needs_data(&self) -> bool {
        matches!(self, Self::Stages(stages) if stages.iter().any(Stage::needs_data))
    }
}
