//! Recipes on real models: sizes, quality, warnings, bad inputs, and the cards of what was made.

use std::path::Path;

use npyz::Order;

use super::npz_file::{array, npz};
use super::onnx_file::{Node, model, relu};
use super::sandbox::{Ran, Sandbox};

/// Runs `compress` and gives what it printed as JSON.
fn compressed(sandbox: &Sandbox, args: &[&str]) -> (Ran, Vec<serde_json::Value>) {
    let ran = sandbox.run(&[&["compress"], args, &["--format", "json"]].concat());
    let json = serde_json::from_str(&ran.stdout).unwrap_or_default();
    (ran, json)
}

/// A figure over all samples, of the last stage.
fn figure(made: &serde_json::Value, metric: &str) -> f64 {
    let stages = made["card"]["stages"].as_array().unwrap();
    let quality = stages.last().unwrap()["quality"].as_array().unwrap();
    let found = quality.iter().find(|f| f["metric"] == metric && f["segment"] == "all");
    found.unwrap_or_else(|| panic!("no {metric} in {quality:?}"))["value"].as_f64().unwrap()
}

fn ratio(made: &serde_json::Value) -> f64 {
    made["card"]["size_bytes"].as_f64().unwrap() / made["model_size_bytes"].as_f64().unwrap()
}

fn warned(made: &serde_json::Value, code: &str) -> bool {
    let warnings = made["card"]["warnings"].as_array().unwrap();
    warnings.iter().any(|w| w.as_str().unwrap().starts_with(&format!("{code}: ")))
}

/// Sizes against the model's, and agreement with it, that each recipe must keep on digits.
const DIGITS: [(&str, f64, f64); 9] = [
    ("fp16", 0.56, 0.995),
    ("int8-dynamic-conv", 0.36, 0.98),
    ("int8-static", 0.36, 0.98),
    ("int8-static-percentile-99.99", 0.36, 0.98),
    ("int8-static-entropy", 0.36, 0.95),
    ("int8-static-symmetric-reduce-range", 0.36, 0.97),
    ("int8-static-per-tensor", 0.36, 0.97),
    ("int4-channel", 0.24, 0.9),
    ("int8-dynamic-conv+fp16", 0.40, 0.98),
];

#[test]
fn every_recipe_makes_digits_smaller_and_leaves_it_a_model() {
    let sandbox = Sandbox::new();
    let names: Vec<&str> = DIGITS.iter().map(|(name, ..)| *name).collect();
    let (ran, made) = compressed(&sandbox, &["digits", "--recipe", &names.join(",")]);
    ran.assert_fine();
    assert_eq!(made.len(), DIGITS.len());
    for (made, (name, size, agreement)) in made.iter().zip(DIGITS) {
        assert!(ratio(made) < size, "{name}: {} of the model's size", ratio(made));
        let agreed = figure(made, "agreement");
        assert!(agreed >= agreement, "{name}: agreement {agreed}");
        assert!(Path::new(&sandbox.path(made["path"].as_str().unwrap())).is_file());
    }
    // What is there is not made again, and making it again elsewhere gives the same bytes.
    let (_, again) = compressed(&sandbox, &["digits", "--recipe", "int8-static"]);
    assert_eq!(again[0]["was_there"], true);
    let other = ["digits", "--recipe", "int8-static,fp16", "-o", "other"];
    let (_, anew) = compressed(&sandbox, &other);
    assert_eq!(anew[0]["was_there"], false);
    assert_eq!(anew[0]["card"]["sha256"], made[2]["card"]["sha256"]);
    assert_eq!(anew[1]["card"]["sha256"], made[0]["card"]["sha256"]);
}

#[test]
fn fewer_bits_fall_off_a_cliff_and_the_warning_says_so() {
    let sandbox = Sandbox::new();
    let recipes = "int8-channel,int4-channel,int3-channel,int2-channel";
    let (ran, made) = compressed(&sandbox, &["digits", "--recipe", recipes]);
    ran.assert_fine();
    let agreement: Vec<f64> = made.iter().map(|m| figure(m, "agreement")).collect();
    assert!(agreement[0] > 0.99 && agreement[3] < 0.8, "{agreement:?}");
    assert!(!warned(&made[0], "cliff"));
    assert!(warned(&made[3], "cliff"), "{:?}", made[3]["card"]["warnings"]);
}

#[test]
fn a_search_keeps_what_must_stay_in_float() {
    let sandbox = Sandbox::new();
    let recipe = "mixed-int2-channel-agreement-0.95";
    let (ran, made) = compressed(&sandbox, &["digits", "--recipe", recipe]);
    ran.assert_fine();
    assert!(figure(&made[0], "agreement") >= 0.95);
    let stage = &made[0]["card"]["stages"][0];
    let (changed, kept) = (stage["changed"].as_u64().unwrap(), stage["kept"].as_array().unwrap());
    assert!(changed > 0 && !kept.is_empty(), "{stage}");
    assert_eq!(changed + kept.len() as u64, 10, "nine convolutions and the head");
    // The worst first, and the worst are those that were kept.
    let sensitivities = stage["sensitivities"].as_array().unwrap();
    assert_eq!(sensitivities[0][0], kept[0][0]);
    assert!(sensitivities[0][1].as_f64() <= sensitivities[9][1].as_f64());
}

#[test]
fn a_stage_that_breaks_the_budget_stops_the_chain_or_is_left_out() {
    let sandbox = Sandbox::new();
    let args = ["digits", "--recipe", "fp16+int2-channel", "--budget", "agreement=0.97"];
    let (ran, made) = compressed(&sandbox, &args);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let fates = |made: &serde_json::Value| -> Vec<String> {
        let stages = made["card"]["stages"].as_array().unwrap();
        stages.iter().map(|s| s["fate"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(fates(&made[0]), ["kept", "stopped"]);
    assert_eq!(made[0]["card"]["applied"], "fp16");
    let chain = ["digits", "--recipe", "int2-channel+fp16", "--budget", "agreement=0.97"];
    let (ran, made) = compressed(&sandbox, &chain);
    assert_eq!(ran.code, Some(2));
    assert_eq!(fates(&made[0]), ["stopped", "not-tried"]);
    assert!(made[0]["path"].is_null(), "nothing was kept, so nothing was written");
    let (ran, made) = compressed(&sandbox, &[&chain[..], &["--on-break", "back-off"]].concat());
    assert_eq!(ran.code, Some(2));
    assert_eq!(fates(&made[0]), ["backed-off", "kept"]);
    assert_eq!(made[0]["card"]["applied"], "fp16");
}

#[test]
fn an_encoder_survives_static_products_and_not_every_operator() {
    let sandbox = Sandbox::new();
    let recipes = "int8-static,int8-static-every-op,int8-dynamic-embeddings,int4-b32+fp16";
    let (ran, made) = compressed(&sandbox, &["sentiment", "--recipe", recipes]);
    ran.assert_fine();
    assert!(figure(&made[0], "cosine") >= 0.95, "{}", figure(&made[0], "cosine"));
    assert!(figure(&made[1], "cosine") < 0.9, "{}", figure(&made[1], "cosine"));
    assert!(warned(&made[1], "cliff"));
    assert!(figure(&made[2], "cosine") >= 0.98 && ratio(&made[2]) < 0.26);
    assert!(figure(&made[3], "cosine") >= 0.95 && ratio(&made[3]) < 0.34);
    // Most of the room goes to a table that the recipe leaves alone.
    assert!(warned(&made[0], "size") && !warned(&made[2], "size"));
    // Two sentences of the test are, but for their spelling, among those set aside.
    assert!(warned(&made[0], "calibration-overlap"));
}

#[test]
fn a_workload_makes_its_variants_and_says_what_nobody_approved() {
    let sandbox = Sandbox::new();
    let run = |extra: &[&str]| {
        let args = ["run", "digits", "--duration", "0.1", "--batch", "8", "--concurrency", "1"];
        sandbox.run(&[&args[..], &["--attempts", "1", "--pairs", "0"], extra].concat())
    };
    let dry = sandbox.run(&["run", "digits", "--dry-run"]);
    dry.assert_fine();
    assert!(dry.stdout.contains("int8-static") && !sandbox.path("variants").exists());
    let ran = run(&[]);
    ran.assert_fine();
    assert!(ran.stdout.contains("not approved") && ran.stdout.contains("int8-static"));
    let records = sandbox.records();
    let one = records.iter().find(|r| r["case"]["variant"] == "int8-static").unwrap();
    assert_eq!(one["case"]["recipe"], "int8-static");
    assert_eq!(one["lineage"]["approval"], "pending");
    assert!(one["versus_baseline"]["size_ratio"].as_f64().unwrap() < 0.4);
    let approve = ["variants", "approve", "int8-static", "--by", "somebody", "--note", "tried"];
    sandbox.run(&approve).assert_fine();
    sandbox.run(&["variants", "reject", "int8-dynamic-conv", "--by", "somebody"]).assert_fine();
    let list = sandbox.run(&["variants", "list", "--format", "json"]).assert_fine().json();
    let approvals: Vec<&str> =
        list.as_array().unwrap().iter().map(|v| v["approval"].as_str().unwrap()).collect();
    assert_eq!(approvals, ["rejected", "approved"]);
    let shown = sandbox.run(&["variants", "show", "int8-static"]);
    assert!(shown.assert_fine().stdout.contains("approved by somebody: tried"));
    std::fs::remove_dir_all(sandbox.path("reports")).unwrap();
    let ran = run(&[]);
    assert!(ran.stdout.contains("REJECTED") && !ran.stdout.contains("not approved"));
    // A file that is not the one of its card is not measured.
    let path = sandbox.path("variants/digits/digits.int8-static.onnx");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    run(&[]).assert_error(&["digits.int8-static.onnx", "its card says"]);
    sandbox.run(&approve).assert_error(&["its card says"]);
    let alone = ["run", "variants/digits/digits.int8-static.onnx", "--duration", "0.1"];
    sandbox.run(&alone).assert_error(&["its card says"]);
    let list = sandbox.run(&["variants", "list"]);
    assert!(list.stdout.contains("BROKEN") && list.stderr.contains("its card says"));
}

#[test]
fn few_samples_and_made_up_ones_are_warned_about() {
    let sandbox = Sandbox::new();
    let few = ["digits", "--recipe", "int8-static-percentile-99", "--samples", "8"];
    let (ran, made) = compressed(&sandbox, &few);
    ran.assert_fine();
    assert!(warned(&made[0], "calibration-small"), "{:?}", made[0]["card"]["warnings"]);
    assert!(warned(&made[0], "clipped"), "a percentile cuts what was seen");
    assert_eq!(made[0]["card"]["calibration"]["samples"], 8);
    let weight: Vec<f32> = (0..16_u8).map(|i| f32::from(i) - 7.5).collect();
    sandbox.write("m.onnx", product(&weight));
    let (ran, made) = compressed(&sandbox, &["m.onnx", "--recipe", "int8-static"]);
    ran.assert_fine();
    assert!(warned(&made[0], "calibration-generated"));
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// `y = x · w` with `w` of `[4, 4]`.
fn product(weight: &[f32]) -> Vec<u8> {
    model(&[("MatMul", &["x", "w"], &["y"])], &[("w", &[4, 4], &floats(weight))], 17)
}

#[test]
fn weights_that_are_none_are_named() {
    let sandbox = Sandbox::new();
    let mut broken = [0.5; 16];
    broken[6] = f32::NAN;
    for (name, weight, says) in
        [("nan.onnx", broken, "NaN at element 6"), ("zero.onnx", [0.0; 16], "is all zeros")]
    {
        sandbox.write(name, product(&weight));
        let ran = sandbox.run(&["compress", name, "--recipe", "int8-dynamic"]);
        ran.assert_error(&[name, "`MatMul_y`", "weight `w`", says]);
    }
}

#[test]
fn a_recipe_that_has_nothing_to_do_or_was_done_already_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let ran = sandbox.run(&["compress", "relu.onnx", "--recipe", "int4-b32"]);
    ran.assert_error(&["relu.onnx", "no node that `int4-b32` could change", "MatMul"]);
    let weight: Vec<f32> = (0..16_u8).map(|i| f32::from(i) - 7.5).collect();
    sandbox.write("m.onnx", product(&weight));
    sandbox.run(&["compress", "m.onnx", "--recipe", "int8-dynamic", "-o", "out"]).assert_fine();
    let made = "out/m.int8-dynamic.onnx";
    let ran = sandbox.run(&["compress", made, "--recipe", "int8-static"]);
    ran.assert_error(&[made, "quantised already", "DynamicQuantizeLinear"]);
    let ran = sandbox.run(&["compress", "m.onnx", "--recipe", "int8-dynamic+int4-b32"]);
    ran.assert_error(&["recipe `int8-dynamic+int4-b32`", "both", "`int4-b32`", "quantise"]);
    let ran = sandbox.run(&["compress", "m.onnx", "--recipe", "fp16+bf16"]);
    ran.assert_error(&["recipe `fp16+bf16`", "16 bits"]);
    let ran = sandbox.run(&["compress", "m.onnx", "--recipe", "int7-fast"]);
    ran.assert_error(&["recipe `int7-fast`", "docs/recipes.md"]);
    let ran = sandbox.run(&["compress", "m.onnx", "--recipe", "bf16"]);
    ran.assert_error(&["recipe `bf16`", "cannot be run here"]);
}

#[test]
fn calibration_data_that_do_not_fit_are_refused() {
    let sandbox = Sandbox::new();
    let weight: Vec<f32> = (0..16_u8).map(|i| f32::from(i) - 7.5).collect();
    sandbox.write("m.onnx", product(&weight));
    let compress = |data: &str| {
        sandbox.run(&["compress", "m.onnx", "--recipe", "int8-static", "--data", data])
    };
    let npz = |name: &str, called: &str, shape: &[u64], values: &[f32]| {
        sandbox.write(name, npz(&[array(called, shape, Order::C, values)]));
    };
    npz("shape.npz", "x", &[8, 5], &[0.5; 40]);
    compress("shape.npz").assert_error(&["input `x`", "[1, 5]", "[2, 4]"]);
    npz("name.npz", "z", &[8, 4], &[0.5; 32]);
    compress("name.npz").assert_error(&["`x`", "missing"]);
    compress("none.npz").assert_error(&["none.npz"]);
    let mut values = [0.5; 32];
    values[13] = f32::NAN;
    npz("nan.npz", "x", &[8, 4], &values);
    compress("nan.npz").assert_error(&["sample 3", "nan.npz", "NaN in `x`"]);
    npz("same.npz", "x", &[8, 4], &[0.0; 32]);
    let args = ["m.onnx", "--recipe", "int8-static", "--data", "same.npz"];
    let (ran, made) = compressed(&sandbox, &args);
    ran.assert_fine();
    assert!(warned(&made[0], "calibration-constant"), "{:?}", made[0]["card"]["warnings"]);
}

#[test]
fn what_stays_in_float_is_named_with_its_reason() {
    let sandbox = Sandbox::new();
    let weight: Vec<f32> = (0..16_u8).map(|i| f32::from(i) - 7.5).collect();
    let (bytes, square) = (floats(&weight), floats(&weight[..4]));
    let nodes: &[Node<'_>] = &[("MatMul", &["x", "w"], &["h"]), ("MatMul", &["v", "h"], &["y"])];
    let weights: &[(&str, &[u64], &[u8])] = &[("w", &[4, 4], &bytes), ("v", &[2, 2], &square)];
    sandbox.write("both.onnx", model(nodes, weights, 17));
    let (ran, made) = compressed(&sandbox, &["both.onnx", "--recipe", "int8-dynamic"]);
    ran.assert_fine();
    let stage = &made[0]["card"]["stages"][0];
    assert_eq!((&stage["changed"], &stage["kept"][0][0]), (&1.into(), &"MatMul_y".into()));
    assert_eq!(stage["kept"][0][1], "its constant is on the left");
    sandbox.write("left.onnx", model(&[("MatMul", &["v", "x"], &["y"])], &weights[1..], 17));
    let ran = sandbox.run(&["compress", "left.onnx", "--recipe", "int4-b32"]);
    ran.assert_error(&["no node that `int4-b32` could change", "constant is on the left"]);
    // Half precision has no number this small.
    sandbox.write("tiny.onnx", product(&[1e-44; 16]));
    let ran = sandbox.run(&["compress", "tiny.onnx", "--recipe", "fp16"]);
    ran.assert_error(&["no node that `fp16` could change", "stays below"]);
}

#[test]
fn an_approved_variant_of_another_model_is_not_overwritten() {
    let sandbox = Sandbox::new();
    let weight: Vec<f32> = (0..16_u8).map(|i| f32::from(i) - 7.5).collect();
    sandbox.write("m.onnx", product(&weight));
    let again = || compressed(&sandbox, &["m.onnx", "--recipe", "int8-dynamic"]);
    again().0.assert_fine();
    let turned: Vec<f32> = weight.iter().rev().copied().collect();
    sandbox.write("m.onnx", product(&turned));
    let (ran, made) = again();
    ran.assert_fine();
    assert!(warned(&made[0], "replaced"), "{:?}", made[0]["card"]["warnings"]);
    sandbox.run(&["variants", "approve", "int8-dynamic", "--by", "somebody"]).assert_fine();
    sandbox.write("m.onnx", product(&weight));
    let (ran, _) = again();
    ran.assert_error(&["m.int8-dynamic.onnx", "is approved", "--out"]);
    // Nor is one of the same model that would get other bytes.
    let calibrated = |samples: &str| {
        sandbox.run(&["compress", "m.onnx", "--recipe", "int8-static", "--samples", samples])
    };
    calibrated("8").assert_fine();
    sandbox.run(&["variants", "approve", "int8-static", "--by", "somebody"]).assert_fine();
    let bytes = std::fs::read(sandbox.path("variants/m/m.int8-static.onnx")).unwrap();
    calibrated("2").assert_error(&["m.int8-static.onnx", "is approved", "other bytes"]);
    assert_eq!(bytes, std::fs::read(sandbox.path("variants/m/m.int8-static.onnx")).unwrap());
}
