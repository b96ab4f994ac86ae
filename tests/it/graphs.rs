//! Models that are none, and what the `model` and `verify` commands say of good ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use infermark::graph::passes::{self, Pass};
use infermark::graph::{Graph, Outline};
use infermark::workload::one_batch;

use super::conformance::{compare, runner};
use super::onnx_file::{Node, external, model, relu};
use super::passes::{MAGIKA, PARAPHRASE};
use super::sandbox::Sandbox;

/// Every command that reads the graph, and the one that only measures.
const COMMANDS: [&[&str]; 5] = [
    &["model", "inspect"],
    &["model", "coverage"],
    &["model", "dump"],
    &["verify"],
    &["run", "--duration", "0.1", "--batch", "2"],
];

#[track_caller]
fn refused(bytes: &[u8], names: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("bad.onnx", bytes);
    for command in COMMANDS {
        sandbox.run(&[command, &["bad.onnx"]].concat()).assert_error(names);
    }
}

#[test]
fn a_cycle_is_named_by_a_node_on_it() {
    let nodes: [Node<'_>; 4] = [
        ("Relu", &["x"], &["a"]),
        ("Add", &["a", "c"], &["b"]),
        ("Relu", &["b"], &["c"]),
        ("Relu", &["c"], &["y"]),
    ];
    refused(&model(&nodes, &[], 17), &["bad.onnx", "cycle", "_"]);
    let sandbox = Sandbox::new();
    sandbox.write("bad.onnx", model(&nodes, &[], 17));
    let said = sandbox.run(&["model", "inspect", "bad.onnx"]).stderr;
    assert!(said.contains("`Add_b`") || said.contains("`Relu_c`"), "{said}");
}

#[test]
fn an_edge_from_nowhere_is_named_with_its_node() {
    refused(&model(&[("Add", &["x", "ghost"], &["y"])], &[], 17), &["`Add_y`", "`ghost`"]);
}

#[test]
fn a_value_that_is_made_twice_is_named() {
    let nodes: [Node<'_>; 3] =
        [("Relu", &["x"], &["a"]), ("Exp", &["x"], &["a"]), ("Relu", &["a"], &["y"])];
    refused(&model(&nodes, &[], 17), &["`Exp_a`", "`a`"]);
}

#[test]
fn a_weight_of_the_wrong_size_is_named_with_both_sizes() {
    let add: [Node<'_>; 1] = [("Add", &["x", "w"], &["y"])];
    refused(&model(&add, &[("w", &[4], &[0; 12])], 17), &["`w`", "16 B", "12 B"]);
    // Three gigabytes in a file of one kilobyte: nothing of the kind is set aside.
    refused(&model(&add, &[("w", &[30_000, 25_000], &[0; 900])], 17), &["`w`", "3.00 GB", "900 B"]);
    refused(
        &model(&add, &[("w", &[u64::MAX / 2; 3], &[0; 8])], 17),
        &["`w`", "more than a computer"],
    );
}

#[test]
fn an_opset_from_the_future_or_the_distant_past_is_named() {
    let add: [Node<'_>; 1] = [("Add", &["x", "x"], &["y"])];
    let sandbox = Sandbox::new();
    for opset in [3, 99] {
        sandbox.write("bad.onnx", model(&add, &[], opset));
        for command in [&["model", "inspect"][..], &["verify"]] {
            let said = sandbox.run(&[command, &["bad.onnx"]].concat());
            said.assert_error(&[&format!("opset {opset}"), "7 to 23"]);
        }
    }
}

#[test]
fn shapes_that_do_not_go_together_are_named_with_their_node() {
    let nodes: [Node<'_>; 2] = [("MatMul", &["x", "w"], &["a"]), ("Relu", &["a"], &["y"])];
    refused(&model(&nodes, &[("w", &[3, 4], &[0; 48])], 17), &["`MatMul_a`", "4 and 3"]);
}

#[test]
fn weights_beside_the_model_are_read_and_missed() {
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", external("m.bin"));
    sandbox.run(&["model", "inspect", "m.onnx"]).assert_error(&["m.bin", "missing"]);
    sandbox.write("m.bin", [0; 10]);
    sandbox.run(&["model", "inspect", "m.onnx"]).assert_error(&["`w`", "m.bin"]);
    sandbox.write("m.bin", [0; 16]);
    let json =
        sandbox.run(&["model", "inspect", "m.onnx", "--format", "json"]).assert_fine().json();
    assert_eq!((&json["params"], &json["weights_bytes"]), (&4.into(), &16.into()));
    sandbox.write("up.onnx", external("../m.bin"));
    sandbox.run(&["model", "inspect", "up.onnx"]).assert_error(&["../m.bin"]);
}

#[test]
fn an_unknown_operator_is_covered_by_name_and_kept() {
    let sandbox = Sandbox::new();
    let nodes: [Node<'_>; 3] =
        [("Relu", &["x"], &["a"]), ("NonSense", &["a"], &["b"]), ("Det", &["b"], &["y"])];
    sandbox.write("odd.onnx", model(&nodes, &[], 17));
    let ours =
        sandbox.run(&["model", "coverage", "odd.onnx", "--format", "json"]).assert_fine().json();
    assert_eq!((&ours["nodes"], &ours["supported_nodes"]), (&3.into(), &1.into()));
    let missing: Vec<_> =
        ours["missing"].as_array().unwrap().iter().map(|m| m["op"].as_str().unwrap()).collect();
    assert_eq!(missing, ["Det", "NonSense"]);
    // ONNX Runtime has Det; what the unknown operator gives is taken for f32.
    let args = ["model", "coverage", "odd.onnx", "--backend", "ort:cpu", "--format", "json"];
    let ort = sandbox.run(&args).assert_fine().json();
    assert_eq!(ort["missing"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&ort["missing"][0]["op"], &ort["missing"][0]["count"]),
        (&"NonSense".into(), &1.into())
    );
    let dump = sandbox.run(&["model", "dump", "odd.onnx"]);
    assert!(
        dump.assert_fine()
            .stdout
            .contains("NonSense [kept as it is: opset 17 has no such operator]")
    );
    let args = ["model", "coverage", "odd.onnx", "--backend", "candle:cpu", "--format", "json"];
    let candle = sandbox.run(&args).assert_fine().json();
    let missing: Vec<_> =
        candle["missing"].as_array().unwrap().iter().map(|m| m["op"].as_str().unwrap()).collect();
    assert_eq!(missing, ["Det", "NonSense"]);
    sandbox
        .run(&["run", "odd.onnx", "--backend", "candle:cpu", "--batch", "2", "--duration", "0.1"])
        .assert_error(&["candle cannot run", "NonSense", "model coverage"]);
}

#[test]
fn inspect_says_what_a_model_is() {
    let sandbox = Sandbox::new();
    let json = sandbox.run(&["model", "inspect", MAGIKA, "--format", "json"]).assert_fine().json();
    assert_eq!(
        (&json["nodes"], &json["opset"], &json["unsupported_nodes"]),
        (&95.into(), &15.into(), &0.into())
    );
    // Counted by hand: one dense layer of 2048×257×64, one convolution of 512 channels over 512
    // places with 256×5 weights, one dense layer of 512×214.
    let by_hand = 2_u64 * (2048 * 257 * 64 + 512 * 508 * 256 * 5 + 512 * 214);
    let flops = json["work"]["flops"].as_u64().unwrap();
    assert!((by_hand..by_hand * 102 / 100).contains(&flops), "{flops}, {by_hand} by hand");
    let text = sandbox.run(&["model", "inspect", MAGIKA]).assert_fine().stdout.clone();
    assert!(
        text.contains("`target_label` f32[unk__215, 214]") && text.contains("batch")
            || text.contains("unk__214 = 1"),
        "{text}"
    );
    sandbox
        .run(&["model", "inspect", MAGIKA, "--dim", "sequence=8"])
        .assert_error(&["`sequence`", "unk__214"]);
    for format in ["csv", "md"] {
        sandbox.run(&["model", "inspect", MAGIKA, "--format", format]).assert_fine();
    }
}

#[test]
fn dump_stops_where_it_is_told_to() {
    let sandbox = Sandbox::new();
    let dump = |after: &str| {
        let args = [
            "model",
            "dump",
            PARAPHRASE,
            "--dim",
            "batch_size=1",
            "--dim",
            "sequence_length=8",
            "--after-pass",
            after,
        ];
        sandbox.run(&args).assert_fine().stdout.clone()
    };
    let count =
        |text: &str, op: &str| text.lines().filter(|l| l.contains(&format!("= {op}"))).count();
    let (before, after) = (dump("0"), dump("9"));
    assert_eq!((count(&before, "Erf"), count(&before, "Attention")), (3, 0));
    assert_eq!(
        (count(&after, "Erf"), count(&after, "Attention"), count(&after, "Linear")),
        (0, 3, 18)
    );
    sandbox
        .run(&["model", "dump", PARAPHRASE, "--after-pass", "99"])
        .assert_error(&["--after-pass 99"]);
    sandbox.run(&["model", "dump", PARAPHRASE, "--passes", "fold,nonsense"]);
}

#[test]
fn verify_finds_equal_what_is_and_says_what_is_not() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let ran = sandbox.run(&["verify", "relu.onnx", "--format", "json"]);
    let rows = ran.assert_fine().json();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    for row in rows.as_array().unwrap() {
        assert_eq!(
            (&row["ok"], &row["max_abs_error"], &row["output"]),
            (&true.into(), &0.0.into(), &"y".into())
        );
    }
    // The scripted engine answers with what has nothing to do with the inputs: a mismatch is exit code 2.
    let ran = sandbox.run(&[
        "verify",
        "relu.onnx",
        "--backends",
        "mock:latency_us=1",
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.json().as_array().unwrap().iter().any(|row| row["ok"] == false));
    sandbox.run(&["verify", "relu.onnx", "--data", "none.npz"]).assert_error(&["none.npz"]);
    sandbox.run(&["verify", "relu.onnx", "--dim", "nope=3"]).assert_error(&["`nope`", "free0"]);
    sandbox.run(&["verify", "relu.onnx", "--tolerance", "-1"]).assert_error(&["--tolerance"]);
}

/// Small models of forms that are easily read wrong; the name says which.
fn odd_models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut models: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    models.sort();
    models
}

#[test]
fn odd_forms_answer_the_same_saved_and_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.onnx");
    let mut runner = runner();
    let backend = "ort:cpu".parse().unwrap();
    let models = odd_models();
    assert!(models.len() >= 20);
    for path in models.iter().filter(|path| !path.ends_with("rs_noin.onnx")) {
        let name = path.file_name().unwrap().display();
        let inputs = one_batch(&Outline::read(path).unwrap(), 3, 4, &BTreeMap::new(), 3).unwrap();
        let expected =
            runner.run(path, &backend, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        let graph = Graph::read(path).unwrap();
        let mut rewritten = graph.clone();
        passes::run(&mut rewritten, &Pass::ALL, usize::MAX).unwrap();
        let mut bound = graph.clone();
        bound.bind_shapes(inputs.0.iter().map(|(n, t)| (n.as_str(), t.shape()))).unwrap();
        passes::run(&mut bound, &Pass::ALL, usize::MAX).unwrap();
        for (what, graph) in [("saved", &graph), ("rewritten", &rewritten), ("bound", &bound)] {
            graph.write(&saved).unwrap();
            let outputs = runner.run(&saved, &backend, &inputs);
            let outputs = outputs.unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
            compare(&outputs, &expected).unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
        }
    }
}

#[test]
fn an_old_resize_without_inputs_is_kept_and_no_panic() {
    let path = odd_models().into_iter().find(|path| path.ends_with("rs_noin.onnx")).unwrap();
    let graph = Graph::read(&path).unwrap();
    assert_eq!(graph.unsupported().count(), 1);
}
