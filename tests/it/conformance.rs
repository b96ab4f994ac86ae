//! ONNX's own test models: single operators and real topologies, out of a pinned package.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use infermark::artifact::{Cache, Package, find_library};
use infermark::graph::passes::{self, Pass};
use infermark::graph::{Dim, Graph, Model, ValueId, Weight, infer, onnx};
use infermark::measure::{Runner, WorkerCommand};
use infermark::units::Nanos;
use infermark::variant::{DType, Difference, Tensors};

use super::sandbox::cache;

/// The package's files for which `wanted` says yes.
pub(crate) fn members(wanted: impl Fn(&str) -> bool) -> Vec<(String, bytes::Bytes)> {
    let package: Package = "onnx==1.17.0".parse().unwrap();
    let cache = Cache::at(cache().join("infermark"));
    let data = |path: &str| path.starts_with("onnx/backend/test/data/") && wanted(path);
    let members = package.members(&cache, data).unwrap();
    members.into_iter().map(|m| (m.path, m.bytes.into())).collect()
}

/// Runs models on the real ONNX Runtime, in a process of their own.
pub(crate) fn runner() -> Runner {
    let cache = Cache::at(cache().join("infermark"));
    let library = find_library(None, None, &cache).unwrap();
    let program = WorkerCommand {
        program: assert_cmd::cargo::cargo_bin!("infermark").to_owned(),
        args: vec!["worker".into()],
        cpus: None,
    };
    Runner::new(program, Some(&library), 1, Nanos::from_secs(60), Arc::default()).unwrap()
}

/// Largest difference that counts as none: max|a−b| / max|b|.
pub(crate) const TOLERANCE: f64 = 1e-5;

/// Whether all of `outputs` are those of `expected`; if not, the first one that isn't.
pub(crate) fn compare(outputs: &Tensors, expected: &Tensors) -> Result<(), String> {
    for (name, right) in &expected.0 {
        let Some(ours) = outputs.get(name) else { return Err(format!("no output `{name}`")) };
        let Some(difference) = Difference::between(ours, right) else {
            let (a, b) = (ours.shape(), right.shape());
            return Err(format!("`{name}` is {}{a:?}, not {}{b:?}", ours.dtype(), right.dtype()));
        };
        if difference.max_rel_error > TOLERANCE {
            return Err(format!("`{name}` differs by {:.1e}", difference.max_rel_error));
        }
    }
    Ok(())
}

#[test]
fn every_test_model_is_read_and_saved_unchanged() {
    let is_model = |path: &str| Path::new(path).extension().is_some_and(|e| e == "onnx");
    let models = members(is_model);
    let of = |part: &str| models.iter().filter(|(path, _)| path.contains(part)).count();
    assert_eq!((of("/data/node/"), of("/data/light/")), (1288, 9));
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.onnx");
    for (path, bytes) in &models {
        let model = Model::parse(path, bytes.clone());
        model.unwrap_or_else(|e| panic!("{e}")).write(&saved).unwrap();
        let first = std::fs::read(&saved).unwrap();
        // Python writes zeros and empty texts that are no more than the default; saved once, a
        // model has one form. (docs/measurements/graph.md compares with Python's own reading.)
        Model::parse(path, first.clone().into()).unwrap().write(&saved).unwrap();
        assert!(std::fs::read(&saved).unwrap() == first, "{path}");
    }
}

/// A node test: a model, inputs, and the outputs it should give.
pub(crate) struct Case {
    pub(crate) model: bytes::Bytes,
    pub(crate) inputs: Vec<Option<Weight>>,
    pub(crate) outputs: Vec<Option<Weight>>,
}

pub(crate) fn cases() -> BTreeMap<String, Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut files = members(|path| path.contains("/data/node/"));
    let number = |path: &str| -> usize {
        let digits: String = path.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    files.sort_by_key(|(path, _)| number(path.rsplit('/').next().unwrap()));
    for (path, bytes) in files {
        let mut parts = path.strip_prefix("onnx/backend/test/data/node/").unwrap().split('/');
        let name = parts.next().unwrap().trim_start_matches("test_").to_owned();
        let case = cases.entry(name).or_insert_with(|| Case {
            model: bytes::Bytes::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        });
        let weight = || onnx::tensor_file(&path, bytes.clone()).ok().flatten().map(|(_, w)| w);
        match parts.next_back().unwrap() {
            "model.onnx" => case.model = bytes,
            file if file.starts_with("input") => case.inputs.push(weight()),
            file if file.starts_with("output") => case.outputs.push(weight()),
            other => panic!("{other}"),
        }
    }
    cases
}

/// What became of a case: an empty text, or why it did not pass.
fn judge(name: &str, case: &mut Case, runner: &mut Runner, folder: &Path) -> String {
    let graph = match Graph::parse(name, case.model.clone()) {
        Ok(graph) => graph,
        Err(error) => return format!("not read: {}", error.message()),
    };
    retyped(&graph, &mut case.inputs, &graph.inputs);
    retyped(&graph, &mut case.outputs, &graph.outputs);
    let mut unknown: Vec<String> = graph
        .unsupported()
        .map(|(_, raw)| format!("{} ({})", raw.op_type(), raw.reason()))
        .collect();
    unknown.sort();
    unknown.dedup();
    let original = folder.join("original.onnx");
    let saved = folder.join("saved.onnx");
    std::fs::write(&original, &case.model).unwrap();
    if let Err(error) = graph.write(&saved) {
        return format!("not saved: {}", error.message());
    }
    let again = Graph::read(&saved).unwrap_or_else(|e| panic!("{name}: what was saved: {e}"));
    assert_eq!(again.nodes.len(), graph.nodes.len(), "{name}");
    if let Err(wrong) = shapes(graph.clone(), case) {
        return format!("shapes: {wrong}");
    }
    let kept = |answers: &str| match (unknown.is_empty(), answers) {
        (true, answers) => answers.to_owned(),
        (false, "") => format!("kept as it is: {}", unknown.join(", ")),
        (false, answers) => format!("kept as it is: {}; {answers}", unknown.join(", ")),
    };
    let backend = "ort:cpu".parse().unwrap();
    let mut graph = graph;
    let mut inputs = Tensors::default();
    let mut is_packed = false;
    for (id, weight) in graph.inputs.clone().into_iter().zip(&case.inputs) {
        let name = graph.value(id).name.clone();
        match weight {
            // No session takes packed elements; as a weight they are tried all the same.
            Some(weight) if weight.dtype().is_packed() => {
                graph.fix_input(&name, weight.clone()).unwrap();
                is_packed = true;
            }
            Some(weight) => inputs.0.push((name, weight.to_tensor().unwrap())),
            None => return kept("inputs are no dense tensors"),
        }
    }
    if case.outputs.iter().flatten().any(|w| w.dtype().is_packed()) {
        return kept("no session gives packed elements");
    }
    let expected = if is_packed {
        graph.write(&saved).unwrap();
        let names = graph.outputs.iter().map(|id| graph.value(*id).name.clone());
        names
            .zip(&case.outputs)
            .map(|(n, w)| Some((n, w.as_ref()?.to_tensor()?)))
            .collect::<Option<_>>()
            .map(Tensors)
            .unwrap()
    } else {
        match runner.run(&original, &backend, &inputs) {
            Ok(outputs) => outputs,
            Err(error) => return kept(&format!("ONNX Runtime: {}", short(error.message()))),
        }
    };
    let mut answers = |what: &str, inputs: &Tensors| match runner.run(&saved, &backend, inputs) {
        Ok(outputs) => {
            compare(&outputs, &expected).map_err(|wrong| format!("WRONG {what}: {wrong}"))
        }
        Err(error) => Err(format!("WRONG {what}: {}", short(error.message()))),
    };
    let mut all = || -> Result<(), String> {
        answers("saved", &inputs)?;
        // After all passes, and with its inputs as constants, which passes compute with.
        let mut rewritten = graph.clone();
        passes::run(&mut rewritten, &Pass::ALL, usize::MAX).map_err(|e| format!("WRONG: {e}"))?;
        rewritten.write(&saved).map_err(|e| format!("WRONG: {e}"))?;
        answers("after passes", &inputs)?;
        let mut fixed = graph.clone();
        for (id, weight) in
            graph.inputs.iter().zip(case.inputs.iter().flatten().filter(|w| !w.dtype().is_packed()))
        {
            fixed
                .fix_input(&graph.value(*id).name, weight.clone())
                .map_err(|e| format!("WRONG: {e}"))?;
        }
        passes::run(&mut fixed, &Pass::ALL, usize::MAX).map_err(|e| format!("WRONG: {e}"))?;
        fixed.write(&saved).map_err(|e| format!("WRONG: {e}"))?;
        answers("as constants", &Tensors::default())
    };
    match all() {
        Ok(()) => kept(""),
        Err(wrong) => wrong,
    }
}

/// The tests hold bf16 as the bits of u16.
pub(crate) fn retyped(graph: &Graph, weights: &mut [Option<Weight>], ids: &[ValueId]) {
    for (id, weight) in ids.iter().zip(weights) {
        if let (Some(DType::BF16), Some(bits)) = (graph.value(*id).dtype, &weight)
            && bits.dtype() == DType::U16
        {
            *weight = Weight::new(DType::BF16, bits.shape().to_vec(), bits.bytes().clone());
        }
    }
}

/// The part of ONNX Runtime's message that tells, without this build's own paths.
fn short(message: &str) -> String {
    let from = [
        "Could not find",
        "Type Error",
        "Status Message",
        "is opset",
        "Opset",
        "opset",
        "is of",
        "is not",
    ]
    .iter()
    .filter_map(|word| message.find(word))
    .min()
    .unwrap_or(0);
    message[from..].chars().take(120).collect()
}

/// Whether what is inferred is what is expected; sizes that depend on data may stay unknown.
fn shapes(mut graph: Graph, case: &Case) -> Result<(), String> {
    let inputs: Vec<String> = graph.inputs.iter().map(|id| graph.value(*id).name.clone()).collect();
    for (name, weight) in inputs.iter().zip(&case.inputs) {
        // Shapes are computed with small inputs.
        if let Some(weight) = weight.as_ref().filter(|w| w.len() <= 64) {
            graph.fix_input(name, weight.clone()).map_err(|e| e.message().to_owned())?;
        }
    }
    infer(&mut graph).map_err(|e| e.message().to_owned())?;
    // What is computed with floats, or chosen by an `If`, is known once it is folded.
    let mut folded = graph.clone();
    passes::run(&mut folded, &[Pass::Fold], usize::MAX).map_err(|e| e.message().to_owned())?;
    for (id, after) in graph.outputs.clone().into_iter().zip(folded.outputs.clone()) {
        let is_open = graph.value(id).dims.iter().flatten().any(|d| d.fixed().is_none());
        if is_open || graph.value(id).dims.is_none() {
            graph = folded;
            assert_eq!(id, after);
            break;
        }
    }
    let known = graph.unsupported().next().is_none();
    for (id, right) in graph.outputs.iter().zip(&case.outputs) {
        let (value, Some(right)) = (graph.value(*id), right) else { continue };
        let dims = value.dims.clone().unwrap_or_default();
        let fits = dims.len() == right.shape().len()
            && dims.iter().zip(right.shape()).all(|(d, n)| d.fixed().is_none_or(|d| d == *n));
        let shown: Vec<String> = dims.iter().map(Dim::to_string).collect();
        if known && (value.dims.is_none() || value.dtype != Some(right.dtype())) {
            return Err(format!("`{}` is not inferred", value.name));
        }
        if value.dims.is_some() && !fits {
            return Err(format!("[{}] inferred, {:?} expected", shown.join(", "), right.shape()));
        }
        if known
            && !DEPENDS_ON_DATA.contains(&graph.subject.as_str())
            && dims.iter().any(|d| d.fixed().is_none())
        {
            return Err(format!("[{}] inferred, {:?} expected", shown.join(", "), right.shape()));
        }
    }
    Ok(())
}

/// Cases whose outputs' sizes depend on the elements of their inputs.
const DEPENDS_ON_DATA: &[&str] = &["nonzero_example"];

#[test]
fn node_tests_are_read_inferred_and_saved() {
    let mut cases = cases();
    assert_eq!(cases.len(), 1288);
    let mut runner = runner();
    let folder = tempfile::tempdir().unwrap();
    let mut passed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut rest = String::new();
    for (name, case) in &mut cases {
        let verdict = judge(name, case, &mut runner, folder.path());
        let op = operator(&case.model);
        let row = passed.entry(op).or_default();
        row.1 += 1;
        if verdict.is_empty() {
            row.0 += 1;
        } else {
            rest.push_str(&format!("{name}: {verdict}\n"));
        }
    }
    let total: usize = passed.values().map(|(n, _)| n).sum();
    let rows: Vec<String> = passed.iter().map(|(op, (n, of))| format!("{op} {n}/{of}")).collect();
    let rows = rows.join("\n");
    insta::assert_snapshot!("node_tests", format!("{total} of 1288 passed\n\n{rows}\n\n{rest}"));
}

/// The operator that a test is about; of tests of several nodes, `(several)`.
pub(crate) fn operator(model: &bytes::Bytes) -> String {
    let graph = Graph::parse("model", model.clone());
    match graph.as_ref().map(|g| &g.nodes[..]) {
        Ok([only]) => only.op.name().to_owned(),
        Ok(_) => "(several)".to_owned(),
        Err(_) => "(not read)".to_owned(),
    }
}
