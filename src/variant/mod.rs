//! The nouns everyone shares: variants, recipes, lineage, tensors, element types, backend names.

mod backend_id;
mod batch;
mod card;
mod difference;
mod dtype;
mod recipe;
mod recipe_name;
mod shape_policy;
mod stored;
mod tensor;

pub use backend_id::{BackendId, Engine};
pub use batch::Padding;
pub use card::{
    Approval, Card, CardFigure, CardStage, Decision, SampleFacts, StageParameters, cards,
};
pub use difference::Difference;
pub use dtype::DType;
pub use recipe::{
    Blocks, Budget, BudgetMetric, Channel, Granularity, HalfType, Int8Dynamic, Int8Static, Mixed,
    RangeRule, Recipe, Scope, Stage,
};
pub use shape_policy::ShapePolicy;
pub use stored::from_safetensors;
pub use tensor::{Tensor, TensorData, Tensors};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// One deployable artifact: the bytes that a backend loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Name within the workload, e.g. `fp32`.
    pub name: String,
    /// How it was derived.
    pub recipe: Recipe,
    /// Where the bytes are.
    pub path: PathBuf,
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Size of the file on disk.
    pub size: Bytes,
    /// Bytes of the weights in their stored types, as the file states them.
    pub weights: Bytes,
    /// Where it comes from.
    pub lineage: Lineage,
}

/// Where a variant comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// Name of the variant it was derived from; `None` for the model itself.
    pub parent: Option<String>,
    /// The tool or person that made it, where it was not this program.
    pub made_by: Option<String>,
    /// What making it cost, once, in USD.
    pub upfront_cost_usd: Option<f64>,
    /// Whether somebody approved these bytes; `None` for what has no card.
    #[serde(default)]
    pub approval: Option<Approval>,
}

/// How hard the engine works on the graph before it runs it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Optimization {
    /// The graph as it is.
    None,
    /// Rewrites that do not change results.
    Basic,
    /// Node fusions too.
    Extended,
    /// Everything, memory layout included.
    #[default]
    All,
}
