//! What is to be measured: the workload file, its model and data, and the plan of cases.

use crate::artifact::{Cache, sha256_bytes};
use crate::error::Result;

mod data_spec;
mod dataset;
mod encode;
mod file;
mod files_data;
mod generate;
mod model;
mod npz;
mod plan;
mod resolve;
mod resolve_data;
mod rows;
mod table;
mod tokenize;

pub use data_spec::{
    DataSpec, FilesSpec, GeneratedSpec, NpzSpec, TableFormat, TableSource, TableSpec, TokenizerSpec,
};
pub use dataset::{About, Dataset};
pub use file::{
    BackendSpec, LoadSpec, ModelSpec, QualitySpec, ScorerSpec, Threads, VariantSpec, Workload,
};
pub use generate::one_batch;
pub use model::{ModelFile, fetch_model};
pub use npz::read_arrays;
pub use plan::{Case, Excluded, Plan};
pub use resolve::{Resolved, resolve};
pub use resolve_data::DataFacts;
pub use table::Split;

/// The workloads that are part of the program, and the files they name, by file name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("magika.toml", include_str!("../../workloads/magika.toml")),
    ("sentiment.toml", include_str!("../../workloads/sentiment.toml")),
    ("sentiment-head.json", include_str!("../../workloads/sentiment-head.json")),
];

/// The workloads that `infermark` runs when it is given none, in order.
pub const QUICKSTART: [&str; 2] = ["magika", "sentiment"];

/// Writes the built-in workloads and the files they name into the cache; returns their folder.
pub fn unpack(cache: &Cache) -> Result<std::path::PathBuf> {
    let all: Vec<&str> = BUILT_IN.iter().flat_map(|(name, text)| [*name, *text]).collect();
    let all = all.join("\n");
    let folder = format!("embedded/{}", &sha256_bytes(all.as_bytes())[..12]);
    for (name, text) in BUILT_IN {
        let relative = format!("{folder}/{name}");
        if std::fs::read_to_string(cache.path(&relative)).is_ok_and(|there| there == *text) {
            continue;
        }
        cache.store(&relative, text.as_bytes())?;
    }
    Ok(cache.path(&folder))
}
