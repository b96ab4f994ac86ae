//! What is to be measured: the workload file, its model and data, and the plan of cases.

use crate::artifact::{Cache, sha256_bytes};
use crate::error::Result;

mod arrays;
mod calibration;
mod data_spec;
mod dataset;
mod encode;
mod file;
mod files_data;
mod gate_spec;
mod generate;
mod load_spec;
mod model;
mod npz;
mod plan;
mod resolve;
mod resolve_data;
mod rows;
mod table;
mod tokenize;

pub use arrays::build_arrays;
pub use calibration::{
    Calibration, CalibrationSpec, calibration, has_calibration, hash_of_samples,
};
pub use data_spec::{
    ArraysSpec, DataSpec, FilesSpec, GeneratedSpec, NpzSpec, TableFormat, TableSource, TableSpec,
    TokenizerSpec,
};
pub use dataset::{About, Dataset};
pub use file::{
    BackendSpec, DeploymentSpec, ModelSpec, QualitySpec, ScorerSpec, Threads, VariantSpec, Workload,
};
pub use gate_spec::GateSpec;
pub use generate::one_batch;
pub use load_spec::{LoadSpec, Slo, SloPercentile};
pub use model::{ModelFile, fetch_model};
pub use npz::{npy, read_arrays};
pub use plan::{Case, Excluded, Plan};
pub use resolve::{ArtifactFacts, Resolved, artifact_facts, carded_facts, resolve};
pub use resolve_data::DataFacts;
pub use table::Split;

/// The workloads that are part of the program, and the files they name, by file name.
pub const BUILT_IN: &[(&str, &[u8])] = &[
    ("magika.toml", include_bytes!("../../workloads/magika.toml")),
    ("sentiment.toml", include_bytes!("../../workloads/sentiment.toml")),
    ("sentiment-head.json", include_bytes!("../../workloads/sentiment-head.json")),
    ("digits.toml", include_bytes!("../../workloads/digits.toml")),
    ("digits.onnx", include_bytes!("../../workloads/digits.onnx")),
];

/// The workloads that `infermark` runs when it is given none, in order.
pub const QUICKSTART: [&str; 2] = ["magika", "sentiment"];

/// Writes the built-in workloads and the files they name into the cache; returns their folder.
pub fn unpack(cache: &Cache) -> Result<std::path::PathBuf> {
    let mut all = Vec::new();
    for (name, bytes) in BUILT_IN {
        all.extend_from_slice(name.as_bytes());
        all.push(b'\n');
        all.extend_from_slice(bytes);
    }
    let folder = format!("embedded/{}", &sha256_bytes(&all)[..12]);
    for (name, bytes) in BUILT_IN {
        let relative = format!("{folder}/{name}");
        if std::fs::read(cache.path(&relative)).is_ok_and(|there| there == *bytes) {
            continue;
        }
        cache.store(&relative, bytes)?;
    }
    Ok(cache.path(&folder))
}
