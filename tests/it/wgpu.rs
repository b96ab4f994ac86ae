//! The wgpu backend on Mesa's software Vulkan: node tests, and beside ONNX Runtime on real models.

use std::collections::BTreeMap;
use std::path::Path;

use infermark::graph::op::{ConvAttributes, Pads, Window};
use infermark::graph::{Dim, Graph, Numbers, Op, Outline, Weight, infer};
use infermark::variant::{DType, Difference, Optimization, Tensor, TensorData, Tensors};
use infermark::workload::one_batch;

use super::conformance::runner;
use super::nodes;
use super::passes::{MAGIKA, PARAPHRASE, fetched, minilm};
use super::sandbox::{Ran, Sandbox};

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
    held(&sandbox, fetched(MAGIKA).to_str().unwrap(), 1e-5, &["--no-autotune"]);
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

/// A model's recipes on wgpu against the same files on ONNX Runtime, one sample of eight elements along free axes.
fn recipes_of(model: &Path, recipes: &str) {
    let sandbox = Sandbox::new();
    let args = ["compress", model.to_str().unwrap(), "--recipe", recipes, "-o", "out"];
    sandbox.run(&args).assert_fine();
    let stem = model.file_stem().unwrap().to_str().unwrap();
    let mut runner = runner();
    for recipe in recipes.split(',') {
        let file = sandbox.path(&format!("out/{stem}.{recipe}.onnx"));
        let outline = Outline::read(&file).unwrap();
        let inputs = one_batch(&outline, 1, 8, &BTreeMap::new(), 42).unwrap();
        let given = std::slice::from_ref(&inputs);
        let wgpu = "wgpu:default".parse().unwrap();
        let ours = runner.run_all(&file, &wgpu, Optimization::All, given, false).unwrap();
        let right = runner.run(&file, &"ort:cpu".parse().unwrap(), &inputs).unwrap();
        // Where a number falls on the other side of a quantisation's step the difference is one whole step, and
        // ONNX Runtime makes the other factor of `b32` weights 8 bits: those are held to the cosine.
        let tolerance = if recipe == "fp16" { 4e-3 } else { 0.1 };
        for (name, right) in &right.0 {
            let found = Difference::between(ours[0].get(name).unwrap(), right).unwrap();
            let holds = found.cosine > 0.99 && found.max_rel_error < tolerance;
            assert!(holds, "{stem} {recipe} {name}: {found:?}");
        }
    }
}

#[test]
fn variants_of_magika_answer_on_wgpu_as_on_onnx_runtime() {
    if no_adapter() {
        return;
    }
    recipes_of(&fetched(MAGIKA), "fp16,int8-dynamic,int8-static,int4-b32");
}

#[test]
fn variants_of_encoders_answer_on_wgpu_as_on_onnx_runtime() {
    if no_adapter() {
        return;
    }
    let recipes = "fp16,int8-dynamic,int8-static,int8-b32,int4-b32,int8-channel";
    recipes_of(&fetched(PARAPHRASE), recipes);
    recipes_of(&minilm(), recipes);
}

#[test]
fn kernels_are_measured_once_and_their_time_is_apart() {
    if no_adapter() {
        return;
    }
    let sandbox = Sandbox::new();
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/digits.onnx");
    let cache = sandbox.path("cache");
    let run = |more: &[&str]| {
        let mut args =
            vec!["run", digits, "--backend", "wgpu", "--batch", "2", "--duration", "0.5"];
        args.extend(["--concurrency", "1", "--attempts", "1", "--format", "json"]);
        args.extend(more);
        let mut command = sandbox.command(&args);
        command.env("XDG_CACHE_HOME", &cache);
        let ran = Ran::from(command.output().unwrap());
        ran.assert_fine().json()["records"][0].clone()
    };
    let tuned = |record: &serde_json::Value| record["timing_ms"]["tuning"].as_f64().unwrap() > 0.0;
    let first = run(&["--profile"]);
    assert!(tuned(&first), "{first}");
    // What was found is kept for the next process, with every candidate's time.
    let folder = cache.join("infermark/wgpu");
    let kept = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
    let kept = kept.filter(|p| p.extension().is_some_and(|e| e == "json")).collect::<Vec<_>>();
    let table: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&kept[0]).unwrap()).unwrap();
    assert!(table["adapter"].as_str().unwrap().contains("SOFTWARE"), "{table}");
    let classes = table["classes"].as_object().unwrap();
    let conv = classes.iter().find(|(class, _)| class.starts_with("conv")).unwrap().1;
    assert!(conv["ns"].as_object().unwrap().len() > 1, "{conv}");
    let again = run(&[]);
    assert_eq!((kept.len(), tuned(&again)), (1, false), "{again}");
    let untuned = run(&["--no-autotune"]);
    assert!(!tuned(&untuned), "{untuned}");
    assert_ne!(untuned["case"]["id"], again["case"]["id"]);
    // The profile: every row has its share of a ceiling that was measured.
    assert!(first["ceilings"]["f32_flops_per_s"].as_f64().unwrap() > 1e8, "{first}");
    let ops = first["ops"].as_array().unwrap();
    let conv = ops.iter().find(|op| op["kind"].as_str().unwrap().starts_with("Conv")).unwrap();
    for key in ["time_ns", "flops", "bytes", "ceiling_share"] {
        assert!(conv[key].as_f64().unwrap() > 0.0, "{key} of {conv}");
    }
    assert!(again["ceilings"].is_null());
    let shown = sandbox.run(&["runs", "show", "latest", "--profile"]);
    assert!(shown.assert_fine().stdout.contains("GFLOP/s"), "{}", shown.stdout);
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

/// A graph on wgpu against ONNX Runtime for generated inputs.
fn alike(graph: &mut Graph, length: usize) {
    infer(graph).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.onnx");
    graph.write(&file).unwrap();
    let outline = Outline::read(&file).unwrap();
    let inputs = one_batch(&outline, 2, length, &BTreeMap::new(), 42).unwrap();
    let mut runner = runner();
    let mut on = |backend: &str| runner.run(&file, &backend.parse().unwrap(), &inputs).unwrap();
    let (ours, right) = (on("wgpu:default"), on("ort:cpu"));
    for (name, right) in &right.0 {
        let ours = ours.get(name).unwrap();
        let found = Difference::between(ours, right);
        let found = found.unwrap_or_else(|| panic!("{name}: {ours:?}, not {right:?}"));
        assert!(found.max_rel_error < 1e-5, "{name}: {found:?}");
    }
}

fn numbers(shape: &[usize]) -> Weight {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| f64::from(u32::try_from(i * 37 % 101).unwrap()) / 50.0 - 1.0);
    let numbers = Numbers::Floats(values.collect());
    Weight::from_numbers(DType::F32, shape.to_vec(), &numbers).unwrap()
}

#[test]
fn the_same_numbers_in_another_shape_are_another_matrix() {
    if no_adapter() {
        return;
    }
    let mut graph = Graph::new("tied");
    let dims = |n| vec![Dim::Named("batch".to_owned()), Dim::Fixed(n)];
    let six = graph.add_input("six", DType::F32, dims(6));
    let ten = graph.add_input("ten", DType::F32, dims(10));
    let weight = graph.add_constant("weight", numbers(&[6, 10]));
    let shape = graph.add_constant("shape", Weight::ints(&[10, 6]));
    let turned = graph.push("turned", Op::Reshape { allowzero: false }, &[weight, shape]);
    let one = graph.push("one", Op::MatMul, &[six, weight]);
    let other = graph.push("other", Op::MatMul, &[ten, turned]);
    graph.outputs.extend([one, other]);
    alike(&mut graph, 4);
}

#[test]
fn a_model_may_need_more_than_a_few_elements() {
    if no_adapter() {
        return;
    }
    let mut graph = Graph::new("fcn");
    let free = |name: &str| Dim::Named(name.to_owned());
    let dims = vec![free("batch"), Dim::Fixed(4), free("h"), free("w")];
    let x = graph.add_input("x", DType::F32, dims);
    let w = graph.add_constant("w", numbers(&[64, 4, 7, 7]));
    let bias = graph.add_constant("bias", numbers(&[64]));
    let conv = ConvAttributes {
        window: Window {
            kernel_shape: vec![7, 7],
            strides: vec![1, 1],
            dilations: vec![1, 1],
            pads: Pads::Explicit(vec![0; 4]),
        },
        group: 1,
    };
    let a = graph.push("a", Op::Conv { conv, activation: None }, &[x, w, bias]);
    graph.outputs.push(a);
    alike(&mut graph, 20);
}

#[test]
fn what_does_not_fit_the_adapter_is_refused_with_its_size() {
    if no_adapter() {
        return;
    }
    let mut graph = Graph::new("large");
    let dims = vec![Dim::Named("batch".to_owned()), Dim::Fixed(16)];
    let x = graph.add_input("x", DType::F32, dims);
    let w = graph.add_constant("w", numbers(&[16, 1024]));
    let y = graph.push("y", Op::MatMul, &[x, w]);
    graph.outputs.push(y);
    infer(&mut graph).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.onnx");
    graph.write(&file).unwrap();
    // 40,000 rows of 1,024 numbers are 164 MB; Mesa's software adapter binds 134.
    let values = vec![0.0_f32; 40_000 * 16];
    let x = Tensor::new(vec![40_000, 16], TensorData::F32(values)).unwrap();
    let inputs = Tensors(vec![("x".to_owned(), x)]);
    let error = runner().run(&file, &"wgpu:default".parse().unwrap(), &inputs).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("163840000 bytes") && text.contains("smaller batches"), "{text}");
}
