//! The candle backend on ONNX's own node tests, and beside ONNX Runtime on real models.

use infermark::graph::op::{ConvAttributes, NBits, Pads, QuantizeAttributes, Window};
use infermark::graph::{Dim, Graph, Numbers, Op, ValueId, Weight, infer};
use infermark::variant::{DType, Difference, Optimization, Tensor, TensorData, Tensors};

use super::conformance::runner;
use super::nodes;
use super::onnx_file::{Node, model};
use super::sandbox::Sandbox;

#[test]
fn node_tests_run_on_candle() {
    let text = nodes::run("candle:cpu", &[Optimization::None, Optimization::All], false);
    insta::assert_snapshot!("candle_node_tests", text);
}

/// Makes recipes of digits; the files.
fn made(sandbox: &Sandbox, recipes: &str) -> Vec<String> {
    sandbox.run(&["compress", "digits", "--recipe", recipes, "-o", "out"]).assert_fine();
    let entries = std::fs::read_dir(sandbox.path("out")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let models = paths.filter(|path| path.extension().is_some_and(|e| e == "onnx"));
    models.map(|path| path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn variants_of_digits_answer_on_candle_as_on_onnx_runtime() {
    let sandbox = Sandbox::new();
    let recipes = "fp16,int8-dynamic,int8-dynamic-conv,int8-static,int8-channel,int4-channel";
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/digits.onnx");
    let args = ["verify", digits, "--backends", "candle", "--tolerance", "1", "--format", "json"];
    for row in sandbox.run(&args).assert_fine().json().as_array().unwrap() {
        assert!(row["max_abs_error"].as_f64().unwrap() < 1e-4, "{row}");
    }
    let files = made(&sandbox, recipes);
    assert_eq!(files.len(), 6);
    for file in files {
        let args =
            ["verify", &file, "--backends", "candle", "--tolerance", "1", "--format", "json"];
        for row in sandbox.run(&args).assert_fine().json().as_array().unwrap() {
            let cosine = row["cosine"].as_f64().unwrap();
            assert!(cosine > 0.99, "{file}: {row}");
        }
    }
}

#[test]
fn a_record_says_what_candle_computes_integers_with() {
    let sandbox = Sandbox::new();
    let model = &made(&sandbox, "int4-b32")[0];
    let args = ["run", model, "--backend", "candle:cpu", "--batch", "1", "--duration", "0.3"];
    let run = sandbox.run(&args);
    run.assert_fine();
    assert!(run.stdout.contains("int8, symmetric"), "{}", run.stdout);
    let record = &sandbox.records()[0];
    let numerics = record["numerics"].as_array().unwrap();
    let packed = numerics.iter().find(|n| n["activation_quant"].is_string()).unwrap();
    assert_eq!((&packed["products"], &packed["emulated"]), (&1.into(), &false.into()));
    let lock = include_str!("../../Cargo.lock");
    let version = lock.split("name = \"candle-core\"\nversion = \"").nth(1).unwrap();
    let version = version.split('"').next().unwrap();
    assert_eq!(record["runtime_version"], format!("candle {version}"));
    assert_eq!(record["node_share"][0]["provider"], "cpu");
}

#[test]
fn two_sessions_of_candle_answer_alike_and_hold_their_memory() {
    nodes::two_sessions("digits", "candle:cpu");
}

/// What a graph of few nodes gives on both engines for the same generated input `x`.
fn alike(name: &str, x: &[usize], build: impl FnOnce(&mut Graph, ValueId) -> ValueId) {
    let mut graph = Graph::new(name);
    let dims = x.iter().map(|n| Dim::Fixed(*n)).collect();
    let input = graph.add_input("x", DType::F32, dims);
    let output = build(&mut graph, input);
    graph.outputs.push(output);
    infer(&mut graph).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.onnx");
    graph.write(&file).unwrap();
    let values: Vec<f32> =
        (0..x.iter().product()).map(|i: usize| ((i * 31 % 67) as f32 - 33.0) / 11.0).collect();
    let tensor = Tensor::new(x.to_vec(), TensorData::F32(values)).unwrap();
    let inputs = Tensors(vec![("x".to_owned(), tensor)]);
    let mut runner = runner();
    let mut on = |backend: &str| runner.run(&file, &backend.parse().unwrap(), &inputs).unwrap();
    let (ours, right) = (on("candle:cpu"), on("ort:cpu"));
    let difference = Difference::between(&ours.0[0].1, &right.0[0].1);
    let difference = difference.unwrap_or_else(|| panic!("{name}: {ours:?}, not {right:?}"));
    assert!(difference.cosine > 0.999 && difference.max_rel_error < 0.05, "{name}: {difference:?}");
}

fn constant(graph: &mut Graph, dtype: DType, shape: &[usize], values: &[f64]) -> ValueId {
    let numbers = Numbers::Floats(values.to_vec());
    let weight = Weight::from_numbers(dtype, shape.to_vec(), &numbers).unwrap();
    graph.add_constant("w", weight)
}

/// Of every kind of number, whatever the type holds.
fn spread(n: usize, low: i32, high: i32) -> Vec<f64> {
    let span = usize::try_from(high - low + 1).unwrap();
    (0..n).map(|i| f64::from(low) + (i * 37 % span) as f64).collect()
}

#[test]
fn quantisation_that_is_left_out_still_cuts_off() {
    // Tools leave a Relu to the quantisation behind it.
    alike("saturation", &[4, 16], |g, x| {
        let scale = constant(g, DType::F32, &[], &[0.01]);
        let zero = constant(g, DType::U8, &[], &[0.0]);
        let attributes = QuantizeAttributes { axis: 1, block_size: 0, output_dtype: None };
        let q = g.push("q", Op::QuantizeLinear(attributes), &[x, scale, zero]);
        let dq = Op::DequantizeLinear { axis: 1, block_size: 0 };
        let back = g.push("back", dq.clone(), &[q, scale, zero]);
        let w = constant(g, DType::I8, &[16, 8], &spread(128, -127, 127));
        let scales = constant(g, DType::F32, &[8], &spread(8, 1, 8));
        let weights = g.push("weights", dq, &[w, scales]);
        g.push("y", Op::MatMul, &[back, weights])
    });
}

#[test]
fn weights_that_leave_no_8_bits_are_multiplied_as_floats() {
    alike("asymmetric", &[3, 32], |g, x| {
        let bits = NBits { k: 32, n: 4, bits: 8, block_size: 32, accuracy_level: 0 };
        let w = constant(g, DType::U8, &[4, 1, 32], &spread(128, 0, 255));
        let scales = constant(g, DType::F32, &[4], &[0.1, 0.2, 0.3, 0.4]);
        let zeros = constant(g, DType::U8, &[4], &[100.0, 0.0, 255.0, 128.0]);
        g.push("y", Op::MatMulNBits(bits), &[x, w, scales, zeros])
    });
}

#[test]
fn windows_wider_than_what_they_slide_over() {
    let window = |kernel: usize, dilation: usize, pad: usize| ConvAttributes {
        window: Window {
            kernel_shape: vec![kernel],
            strides: vec![1],
            dilations: vec![dilation],
            pads: Pads::Explicit(vec![pad, pad]),
        },
        group: 1,
    };
    for (length, kernel, dilation, pad) in [(5, 3, 8, 8), (1, 5, 1, 2), (7, 2, 3, 0)] {
        alike("conv", &[2, 3, length], |g, x| {
            let w = constant(g, DType::F32, &[4, 3, kernel], &spread(12 * kernel, -6, 6));
            let conv = window(kernel, dilation, pad);
            g.push("y", Op::Conv { conv, activation: None }, &[x, w])
        });
    }
}

#[test]
fn a_number_a_row_is_no_bias_of_the_columns() {
    alike("gemm", &[3, 8], |g, x| {
        let w = constant(g, DType::F32, &[8, 3], &spread(24, -6, 6));
        let c = constant(g, DType::F32, &[3, 1], &[10.0, 20.0, 30.0]);
        let gemm =
            Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: false, activation: None };
        g.push("y", gemm, &[x, w, c])
    });
}

#[test]
fn a_slice_backwards_from_before_the_beginning() {
    alike("slice", &[5], |g, x| {
        let bounds = [-10, -100, 0, -1].map(|n| g.add_constant("n", Weight::ints(&[n])));
        g.push("y", Op::Slice, &[x, bounds[0], bounds[1], bounds[2], bounds[3]])
    });
}

#[test]
fn what_stands_behind_a_gap_is_none() {
    let sandbox = Sandbox::new();
    let nodes: [Node<'_>; 4] = [
        ("Relu", &["x"], &["a"]),
        ("NonSense", &["a"], &["b"]),
        ("Tanh", &["b"], &["c"]),
        ("Relu", &["c"], &["y"]),
    ];
    sandbox.write("odd.onnx", model(&nodes, &[], 17));
    let args = ["model", "coverage", "odd.onnx", "--backend", "candle:cpu", "--format", "json"];
    let json = sandbox.run(&args).assert_fine().json();
    assert_eq!((&json["nodes"], &json["supported_nodes"]), (&4.into(), &3.into()), "{json}");
}

/// Of a recognised product of integer weights between two factors that cancel each other.
fn product_of_small_numbers(k: usize, size: f64) {
    alike("small", &[4, k], |g, x| {
        let small = constant(g, DType::F32, &[], &[size]);
        let x = g.push("small", Op::Binary(infermark::graph::op::Binary::Mul), &[x, small]);
        let w = constant(g, DType::I8, &[k, 16], &spread(k * 16, -127, 127));
        let scale = constant(g, DType::F32, &[], &[0.01]);
        let dq = Op::DequantizeLinear { axis: 1, block_size: 0 };
        let w = g.push("dq", dq, &[w, scale]);
        let y = g.push("mm", Op::MatMul, &[x, w]);
        let large = constant(g, DType::F32, &[], &[1.0 / size]);
        g.push("y", Op::Binary(infermark::graph::op::Binary::Mul), &[y, large])
    });
}

#[test]
fn numbers_of_any_size_are_quantised() {
    // Rows of 32 have no tiles: their kernels hold scales in 16 bits.
    for k in [32, 256] {
        for size in [1e-7, 1e-4, 1.0, 1e7] {
            product_of_small_numbers(k, size);
        }
    }
}

#[test]
fn a_scale_with_more_axes_than_the_product_is_no_scale_of_columns() {
    alike("axes", &[3, 16], |g, x| {
        let q = g.push("q", Op::DynamicQuantizeLinear, &[x]);
        let quantise = g.nodes.last_mut().unwrap();
        quantise.outputs.truncate(1);
        let scale = g.add_value("q_scale", None, None);
        let zero = g.add_value("q_zero", None, None);
        g.nodes.last_mut().unwrap().outputs.extend([Some(scale), Some(zero)]);
        let w = constant(g, DType::I8, &[16, 8], &spread(128, -127, 127));
        let y = g.push("mm", Op::MatMulInteger, &[q, w, zero]);
        let y = g.push("cast", Op::Cast { to: DType::F32 }, &[y]);
        let wide = constant(g, DType::F32, &[1, 1, 8], &[0.01; 8]);
        let scales =
            g.push("scales", Op::Binary(infermark::graph::op::Binary::Mul), &[scale, wide]);
        g.push("y", Op::Binary(infermark::graph::op::Binary::Mul), &[y, scales])
    });
}

#[test]
fn a_workload_without_onnx_runtime_makes_its_recipes_on_candle() {
    let sandbox = Sandbox::new();
    // ONNX Runtime has no kernels for bf16.
    let file = sandbox.workload_of("digits", |text| {
        let text = text.replace("[[variant]]\nrecipe = \"int8-dynamic-conv\"\n", "");
        text.replace("recipe = \"int8-static\"", "recipe = \"bf16\"")
    });
    let mut args = vec!["run", &file, "--backend", "candle:cpu", "--batch", "1", "--pairs", "0"];
    args.extend(["--concurrency", "1", "--duration", "0.3", "--attempts", "1"]);
    let run = sandbox.run(&args);
    assert!(!run.assert_fine().stderr.contains("ONNX Runtime"), "{}", run.stderr);
    let records = sandbox.records();
    let kept = &records[1]["versus_baseline"]["quality_kept"];
    assert_eq!(records[1]["case"]["recipe"], "bf16");
    assert!(kept.as_f64().unwrap() > 0.99, "{kept}");
}

#[test]
fn weights_turned_after_they_became_numbers_are_marked() {
    let mut graph = Graph::new("turned");
    let x = graph.add_input("x", DType::F32, vec![Dim::Fixed(2), Dim::Fixed(64)]);
    let w = constant(&mut graph, DType::I8, &[8, 64], &spread(512, -127, 127));
    let scale = constant(&mut graph, DType::F32, &[], &[0.01]);
    let w = graph.push("dq", Op::DequantizeLinear { axis: 1, block_size: 0 }, &[w, scale]);
    let w = graph.push("turned", Op::Transpose { perm: vec![1, 0] }, &[w]);
    let y = graph.push("y", Op::MatMul, &[x, w]);
    graph.outputs.push(y);
    infer(&mut graph).unwrap();
    let sandbox = Sandbox::new();
    graph.write(&sandbox.path("turned.onnx")).unwrap();
    let args =
        ["run", "turned.onnx", "--backend", "candle:cpu", "--batch", "2", "--duration", "0.2"];
    sandbox.run(&args).assert_fine();
    let numerics = &sandbox.records()[0]["numerics"];
    assert_eq!(numerics[0]["emulated"], true, "{numerics}");
}
