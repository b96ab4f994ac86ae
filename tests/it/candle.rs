//! The candle backend on ONNX's own node tests, and beside ONNX Runtime on real models.

use std::collections::BTreeMap;

use infermark::graph::Graph;
use infermark::variant::{BackendId, DType, Difference, Optimization, Tensors};

use super::conformance::{self, Case, cases, operator, retyped, runner};
use super::sandbox::Sandbox;

/// Largest max|a−b| / max|b| that counts as equal, by what is computed with.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2e-3,
        DType::BF16 => 2e-2,
        _ => 2e-5,
    }
}

fn compare(ours: &Tensors, names: &[String], case: &Case) -> Result<(), String> {
    for (name, right) in names.iter().zip(&case.outputs) {
        let Some(right) = right.as_ref().and_then(infermark::graph::Weight::to_tensor) else {
            return Err("no dense tensor".to_owned());
        };
        let Some(got) = ours.get(name) else { return Err(format!("gave no `{name}`")) };
        if got.shape() != right.shape() || got.dtype() != right.dtype() {
            let (a, b) = (got.shape(), right.shape());
            return Err(format!("WRONG: {}{a:?}, not {}{b:?}", got.dtype(), right.dtype()));
        }
        let difference = Difference::between(got, &right).ok_or("WRONG: cannot be compared")?;
        if difference.max_rel_error > tolerance(right.dtype()) {
            return Err(format!("WRONG by {:.1e}", difference.max_rel_error));
        }
    }
    Ok(())
}

/// What became of a case: an empty text, or why it did not pass.
fn judge(
    name: &str,
    case: &mut Case,
    runner: &mut infermark::measure::Runner,
    file: &std::path::Path,
) -> String {
    let backend: BackendId = "candle:cpu".parse().unwrap();
    let graph = match Graph::parse(name, case.model.clone()) {
        Ok(graph) => graph,
        Err(error) => return format!("not read: {}", error.message()),
    };
    retyped(&graph, &mut case.inputs, &graph.inputs);
    retyped(&graph, &mut case.outputs, &graph.outputs);
    if let Some((_, raw)) = graph.unsupported().next() {
        return format!("not known: {} ({})", raw.op_type(), raw.reason());
    }
    let mut graph = graph;
    let mut inputs = Tensors::default();
    for (id, weight) in graph.inputs.clone().into_iter().zip(&case.inputs) {
        let name = graph.value(id).name.clone();
        match weight {
            Some(weight) if weight.dtype().is_packed() => {
                graph.fix_input(&name, weight.clone()).unwrap();
            }
            Some(weight) => inputs.0.push((name, weight.to_tensor().unwrap())),
            None => return "inputs are no dense tensors".to_owned(),
        }
    }
    if case.outputs.iter().flatten().any(|w| w.dtype().is_packed()) {
        return "no session gives packed elements".to_owned();
    }
    graph.write(file).unwrap();
    let names: Vec<String> = graph.outputs.iter().map(|id| graph.value(*id).name.clone()).collect();
    for level in [Optimization::None, Optimization::All] {
        let given = std::slice::from_ref(&inputs);
        match runner.run_all(file, &backend, level, given, false) {
            Ok(outputs) => {
                if let Err(wrong) = compare(&outputs[0], &names, case) {
                    // What the test expects may be wrong itself: then both engines say so.
                    let ort = runner.run(file, &"ort:cpu".parse().unwrap(), &inputs);
                    return match ort.map(|right| conformance::compare(&outputs[0], &right)) {
                        Ok(Ok(())) => "as ONNX Runtime, and not as the test expects".to_owned(),
                        _ => wrong,
                    };
                }
            }
            Err(error) => {
                let message = error.message();
                let from = message.find(": ").map_or(0, |at| at + 2);
                return message[from..].chars().take(110).collect();
            }
        }
    }
    String::new()
}

#[test]
fn node_tests_run_on_candle() {
    let mut runner = runner();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.onnx");
    let mut passed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut rest: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, case) in &mut cases() {
        let verdict = judge(name, case, &mut runner, &file);
        let row = passed.entry(operator(&case.model)).or_default();
        row.1 += 1;
        if verdict.is_empty() {
            row.0 += 1;
        } else {
            rest.entry(verdict).or_default().push(name.clone());
        }
    }
    let wrong: Vec<_> = rest.keys().filter(|why| why.contains("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:?}: {rest:?}");
    let total: usize = passed.values().map(|(n, _)| n).sum();
    let rows: Vec<String> = passed.iter().map(|(op, (n, of))| format!("{op} {n}/{of}")).collect();
    let why: Vec<String> =
        rest.iter().map(|(reason, names)| format!("{reason}\n    {}", names.join(" "))).collect();
    let text = format!("{total} of 1288 passed\n\n{}\n\n{}", rows.join("\n"), why.join("\n"));
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
    assert_eq!(record["runtime_version"], "candle 0.11.1");
    assert_eq!(record["node_share"][0]["provider"], "cpu");
}

#[test]
fn two_sessions_of_candle_answer_alike_and_hold_their_memory() {
    let sandbox = Sandbox::new();
    let args = [
        "run",
        "digits",
        "--backend",
        "candle:cpu",
        "--batch",
        "1",
        "--concurrency",
        "4",
        "--sessions",
        "2",
        "--threads",
        "1",
        "--duration",
        "5",
        "--format",
        "json",
    ];
    sandbox.run(&args).assert_fine();
    let record = &sandbox.records()[0];
    assert_eq!(record["load"]["outputs_differing"], 0);
    assert!(record["load"]["outputs_checked"].as_u64().unwrap() > 0);
    let change = record["telemetry"]["rss_change"].as_f64().unwrap();
    assert!(change.abs() < 0.05, "memory changed by {change}");
}
