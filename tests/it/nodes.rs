//! ONNX's own node tests on an engine of ours.

use std::collections::BTreeMap;

use infermark::graph::{Graph, Weight};
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
        let Some(right) = right.as_ref().and_then(Weight::to_tensor) else {
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
///
/// With `fixed` all inputs but the first are constants of the model: what real models have for weights, axes and
/// sizes.
fn judge(
    backend: &BackendId,
    (levels, fixed): (&[Optimization], bool),
    name: &str,
    case: &mut Case,
    runner: &mut infermark::measure::Runner,
    file: &std::path::Path,
) -> String {
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
    for (at, (id, weight)) in graph.inputs.clone().into_iter().zip(&case.inputs).enumerate() {
        let name = graph.value(id).name.clone();
        match weight {
            Some(weight) if weight.dtype().is_packed() || (fixed && at > 0) => {
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
    for level in levels {
        let given = std::slice::from_ref(&inputs);
        match runner.run_all(file, backend, *level, given, false) {
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

/// All of them: what passed by operator, and why the rest did not. What gives wrong answers fails the test.
///
/// With `may_fix` a case that is refused is tried again with its parameters as constants, and counted apart.
pub(crate) fn run(backend: &str, levels: &[Optimization], may_fix: bool) -> String {
    let backend: BackendId = backend.parse().unwrap();
    let mut runner = runner();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.onnx");
    let mut passed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut rest: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut with_constants = 0;
    for (name, case) in &mut cases() {
        let mut verdict = judge(&backend, (levels, false), name, case, &mut runner, &file);
        if may_fix && !verdict.is_empty() && !verdict.contains("WRONG") && case.inputs.len() > 1 {
            let again = judge(&backend, (levels, true), name, case, &mut runner, &file);
            if again.is_empty() || again.contains("WRONG") {
                with_constants += usize::from(again.is_empty());
                verdict = again;
            }
        }
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
    let constants = match with_constants {
        0 => String::new(),
        n => format!(", {n} of them with their parameters as constants only"),
    };
    let text =
        format!("{total} of 1288 passed{constants}\n\n{}\n\n{}", rows.join("\n"), why.join("\n"));
    text
}

/// Two sessions that serve digits at once: right answers, and memory that stays; the record.
pub(crate) fn two_sessions(target: &str, backend: &str) -> serde_json::Value {
    let sandbox = Sandbox::new();
    let mut args = vec!["run", target, "--backend", backend, "--batch", "1", "--concurrency", "4"];
    args.extend(["--sessions", "2", "--threads", "1", "--duration", "5", "--format", "json"]);
    sandbox.run(&args).assert_fine();
    let record = sandbox.records().swap_remove(0);
    assert_eq!(record["load"]["outputs_differing"], 0);
    assert!(record["load"]["outputs_checked"].as_u64().unwrap() > 0);
    let change = record["telemetry"]["rss_change"].as_f64().unwrap();
    // The worker keeps an observation a request; a tensor that is not freed would double it at once.
    assert!(change.abs() < 0.25, "memory changed by {change}");
    record
}
