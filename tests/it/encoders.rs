//! Encoders in Hugging Face's form: the graph answers as transformers does.
//!
//! tests/fixtures/encoders/make.py made the folders and the answers.

use std::path::{Path, PathBuf};

use infermark::graph::passes::{self, Pass};
use infermark::graph::{Graph, read_encoder};
use infermark::variant::Tensors;

use super::conformance::{compare, runner};
use super::sandbox::Sandbox;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders").join(name)
}

fn read(name: &str) -> Graph {
    let folder = fixture(name);
    let file = |name: &str| Ok(Some(folder.join(name)).filter(|path| path.is_file()));
    read_encoder(name, &file).unwrap_or_else(|e| panic!("{e}"))
}

/// The folder, and passes that must find something to fuse in it.
const FOLDERS: &[(&str, &[(Pass, usize)])] = &[
    ("bert-mean", &[(Pass::FuseGelu, 2), (Pass::FuseAttention, 2), (Pass::FuseBias, 12)]),
    ("bert-classifier-f16", &[(Pass::FuseAttention, 2), (Pass::FuseBias, 14)]),
    ("roberta-cls", &[(Pass::FuseGelu, 2), (Pass::FuseAttention, 2), (Pass::FuseBias, 12)]),
    ("roberta-classifier", &[(Pass::FuseAttention, 2), (Pass::FuseBias, 14)]),
    ("distilbert-max", &[(Pass::FuseAttention, 2), (Pass::FuseActivation, 2)]),
    ("distilbert-classifier", &[(Pass::FuseAttention, 2), (Pass::FuseBias, 14)]),
];

#[test]
fn answers_are_those_of_transformers() {
    let mut runner = runner();
    let backend = "ort:cpu".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("model.onnx");
    for (name, fused) in FOLDERS {
        let mut graph = read(name);
        let stored = Tensors::read(&fixture(name).join("inputs.safetensors")).unwrap();
        let named = graph.inputs.iter().map(|id| graph.value(*id).name.clone());
        let inputs = Tensors(named.map(|n| (n.clone(), stored.get(&n).unwrap().clone())).collect());
        let expected = Tensors::read(&fixture(name).join("outputs.safetensors")).unwrap();
        let mut check = |what: &str, graph: &Graph| {
            graph.write(&saved).unwrap();
            let outputs =
                runner.run(&saved, &backend, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
            compare(&outputs, &expected).unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
        };
        check("as it is read", &graph);
        let steps = passes::run(&mut graph, &Pass::ALL, usize::MAX).unwrap();
        check("after all passes", &graph);
        for (pass, count) in *fused {
            let found: usize = steps.iter().filter(|s| s.pass == *pass).map(|s| s.changes).sum();
            assert_eq!(found, *count, "{name}: {pass}");
        }
    }
}

#[test]
fn a_folder_is_run_like_a_file() {
    let sandbox = Sandbox::new();
    let folder = fixture("bert-mean");
    let folder = folder.to_str().unwrap();
    let args = ["run", folder, "--duration", "0.1", "--concurrency", "1", "--dim", "sequence=8"];
    let ran = sandbox.run(&[&args[..], &["--save-workload", "kept.toml"]].concat());
    assert!(
        ran.assert_fine().stderr.contains("model made of 1_Pooling/config.json, config.json"),
        "{}",
        ran.stderr
    );
    let record = &sandbox.records()[0];
    assert_eq!(record["case"]["model"], "bert-mean");
    assert!(record["lineage"]["made_by"].as_str().unwrap().contains("model.safetensors"));
    // Pinned by the folder's files, it is run again, and is refused when one of them changes.
    sandbox.run(&["run", "kept.toml", "--dry-run"]).assert_fine();
    let text = std::fs::read_to_string(sandbox.path("kept.toml")).unwrap();
    let other = text.replace("bert-mean", "distilbert-max");
    sandbox.write("other.toml", other);
    sandbox
        .run(&["run", "other.toml", "--dry-run"])
        .assert_error(&["distilbert-max", "was expected"]);
}

#[test]
fn folders_that_are_none_say_what_is_missing() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    sandbox.run(&["run", "folder"]).assert_error(&["folder", "config.json"]);
    sandbox.write("folder/config.json", r#"{"model_type": "llama"}"#);
    sandbox.run(&["model", "inspect", "folder"]).assert_error(&["`llama`"]);
    let copy = |name: &str| {
        let text = std::fs::read(fixture("bert-mean").join(name)).unwrap();
        sandbox.write(&format!("folder/{name}"), text);
    };
    copy("config.json");
    sandbox.run(&["model", "inspect", "folder"]).assert_error(&["model.safetensors"]);
    copy("model.safetensors");
    sandbox.run(&["model", "inspect", "folder"]).assert_fine();
    // Weights that belong to another config.
    let text = std::fs::read_to_string(sandbox.path("folder/config.json")).unwrap();
    sandbox.write("folder/config.json", text.replace("\"hidden_size\": 8", "\"hidden_size\": 16"));
    sandbox.run(&["model", "inspect", "folder"]).assert_error(&["word_embeddings"]);
    // Weights that are cut short.
    copy("config.json");
    let bytes = std::fs::read(sandbox.path("folder/model.safetensors")).unwrap();
    sandbox.write("folder/model.safetensors", &bytes[..bytes.len() / 2]);
    sandbox.run(&["model", "inspect", "folder"]).assert_error(&["model.safetensors"]);
}
