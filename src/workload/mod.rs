//! What is to be measured: the workload file, its model and data, and the plan of cases.

mod dataset;
mod encode;
mod file;
mod files_data;
mod generate;
mod plan;
mod resolve;

pub use dataset::Dataset;
pub use file::{
    BackendSpec, DataSpec, FilesSpec, GeneratedSpec, LoadSpec, ModelSpec, NpzSpec, QualitySpec,
    Threads, Workload,
};
pub use plan::{Case, Excluded, Plan};
pub use resolve::{DataFacts, Resolved, resolve};

/// The workload that `infermark` runs when it is given none.
pub const QUICKSTART: &str = include_str!("../../workloads/magika.toml");
