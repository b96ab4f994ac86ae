//! What a model file says about itself.
//!
//! Today this reads and saves whole ONNX files, and tells their outline: signature, opsets,
//! weights. The IR that recipes
//! and further backends share grows here.

pub mod onnx;

pub use onnx::{Dim, Model, Outline, ValueSpec};
