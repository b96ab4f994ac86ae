//! One binary: what a user sees, on the real program.

mod architecture;
mod bad_inputs;
mod docs;
mod harness;
mod interruption;
mod onnx_file;
mod onnxruntime;
mod sandbox;
