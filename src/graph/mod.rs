//! The graph that recipes and engines share: load, understand, save.
//!
//! An ONNX file or a Hugging Face folder becomes a [`Graph`] of [`Op`]s; shapes are inferred, passes
//! simplify it, and it is saved as ONNX again. Opsets are known in `onnx` only.

mod bind;
mod check;
pub mod cost;
mod dim;
mod dump;
mod eval;
mod hf;
mod ir;
mod mapped;
pub mod onnx;
pub mod op;
pub mod passes;
pub mod schedule;
mod shape;
mod uses;
mod weight;

pub use check::check;
pub use dim::Dim;
pub use dump::dump;
pub use hf::{Folder, encoder_files, read_encoder};
pub use ir::{Graph, Node, Value, ValueId};
pub use onnx::{Model, Outline, ValueSpec};
pub use op::Op;
pub use shape::{Element, infer};
pub use weight::{Numbers, Weight};
