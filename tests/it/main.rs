//! One binary: what a user sees, on the real program.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do; clippy only knows functions marked #[test]"
)]

mod architecture;
mod artifacts;
mod bad_inputs;
mod candle;
mod conformance;
mod docs;
mod encoders;
mod fuzz;
mod gate;
mod graphs;
mod harness;
mod interruption;
mod load;
mod machines;
mod money;
mod nodes;
mod npz_file;
mod onnx_file;
mod onnxruntime;
mod passes;
mod plans;
mod price_lists;
mod quality;
mod recipes;
mod sandbox;
mod ways_to_pay;
mod web_server;
mod wgpu;
