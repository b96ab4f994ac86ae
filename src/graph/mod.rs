//! What a model file says about itself.
//!
//! Today this reads the outline of an ONNX file: signature, opsets, weights. The IR that recipes
//! and further backends share grows here.

pub mod onnx;

pub use onnx::{Dim, Outline, ValueSpec};
