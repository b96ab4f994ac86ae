//! The wgpu backend on Mesa's software Vulkan: node tests, and beside ONNX Runtime on real models.

use infermark::variant::Optimization;

use super::nodes;
use super::passes::{MAGIKA, PARAPHRASE, fetched, minilm};
use super::sandbox::Sandbox;

/// Whether there is said to be no adapter: tests of wgpu are then not run, and say so.
#[expect(
    clippy::disallowed_methods,
    reason = "the test's own switch; the program does not read it"
)]
fn no_adapter() -> bool {
    let told = std::env::var_os("INFERMARK_NO_ADAPTER").is_some();
    if told {
        eprintln!("NOT RUN: INFERMARK_NO_ADAPTER is set, so nothing of wgpu was tested");
    }
    told
}

#[test]
fn node_tests_run_on_wgpu() {
    if no_adapter() {
        return;
    }
    let text = nodes::run("wgpu:default", &[Optimization::All], true);
    insta::assert_snapshot!("wgpu_node_tests", text);
}

/// Holds a file on wgpu to ONNX Runtime: least cosine and largest relative error of any output.
fn held(sandbox: &Sandbox, file: &str, tolerance: f64, more: &[&str]) {
    let mut args =
        vec!["verify", file, "--backends", "wgpu", "--tolerance", "1", "--format", "json"];
    args.extend(more);
    let rows = sandbox.run(&args).assert_fine().json();
    for row in rows.as_array().unwrap() {
        let (cosine, error) = (&row["cosine"], &row["max_rel_error"]);
        assert!(cosine.as_f64().unwrap() > 0.99, "{file}: {row}");
        assert!(error.as_f64().unwrap() <= tolerance, "{file}: {row}");
    }
}

#[test]
fn models_answer_on_wgpu_as_on_onnx_runtime() {
    if no_adapter() {
        return;
    }
    let sandbox = Sandbox::new();
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/digits.onnx");
    held(&sandbox, digits, 1e-5, &[]);
    held(&sandbox, fetched(MAGIKA).to_str().unwrap(), 1e-5, &[]);
    held(&sandbox, fetched(PARAPHRASE).to_str().unwrap(), 1e-5, &[]);
    held(&sandbox, minilm().to_str().unwrap(), 1e-5, &[]);
}

#[test]
fn variants_of_digits_answer_on_wgpu_as_on_onnx_runtime() {
    if no_adapter() {
        return;
    }
    let sandbox = Sandbox::new();
    let recipes =
        "fp16,int8-dynamic,int8-dynamic-conv,int8-static,int8-channel,int4-channel,int4-b32";
    sandbox.run(&["compress", "digits", "--recipe", recipes, "-o", "out"]).assert_fine();
    for recipe in recipes.split(',') {
        let file = sandbox.path(&format!("out/digits.{recipe}.onnx"));
        // ONNX Runtime makes activations of `int4-b32` 8 bits; halves are rounded elsewhere, and a step
        // of a quantisation that falls on the other side is one whole step.
        let tolerance = match recipe {
            "fp16" => 2e-3,
            "int4-b32" | "int8-static" => 2e-2,
            _ => 1e-5,
        };
        held(&sandbox, file.to_str().unwrap(), tolerance, &[]);
    }
}

#[test]
fn two_sessions_of_wgpu_answer_alike_and_hold_their_memory() {
    if no_adapter() {
        return;
    }
    // The file alone: of the workload's test set a software adapter makes minutes.
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/digits.onnx");
    let record = nodes::two_sessions(digits, "wgpu");
    let device = record["node_share"][0]["provider"].as_str().unwrap();
    assert!(device.contains("SOFTWARE"), "{device}");
}

#[test]
fn an_adapter_that_is_not_there_is_told_with_those_that_are() {
    if no_adapter() {
        return;
    }
    let sandbox = Sandbox::new();
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/digits.onnx");
    let run = sandbox.run(&["model", "coverage", digits, "--backend", "wgpu:vulkan:9"]);
    let text = format!("{}{}", run.stdout, run.stderr);
    assert!(text.contains("no such adapter") && text.contains("0: "), "{text}");
}
