//! Gates: programs that speak the worker protocol and take a known time, and a real model against itself.

use super::onnx_file::relu;
use super::sandbox::{Ran, Sandbox};

/// A worker that spins for as many microseconds a batch as its argument says, and loads nothing.
const SPINNER: &str = include_str!("../../benches/gate/spin.py");


fn gate(sandbox: &Sandbox, baseline: &str, candidate: &str, more: &[&str]) -> Ran {
    let args = ["gate", "relu.onnx", "--baseline", baseline, "--candidate", candidate];
    sandbox.run(&[&args[..], more].concat())
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    sandbox.write("spin.py", SPINNER);
    sandbox
}

#[test]
fn a_program_that_became_slower_is_a_regression_and_every_form_says_so() {
    let sandbox = sandbox();
    let (old, new) = ("command:python3 spin.py 200", "command:python3 spin.py 300");
    let files = ["--junit", "j.xml", "--markdown", "m.md", "--bmf", "b.json", "--annotate"];
    let ran = gate(&sandbox, old, new, &files);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("REGRESSION") && ran.stdout.contains("::error"), "{}", ran.stdout);
    assert!(ran.stderr.contains("to confirm it"), "{}", ran.stderr);
    let read = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
    assert!(read("j.xml").contains("failures=\"1\""), "{}", read("j.xml"));
    assert!(read("m.md").starts_with("### REGRESSION"), "{}", read("m.md"));
    let bmf: serde_json::Value = serde_json::from_str(&read("b.json")).unwrap();
    let measures = bmf.as_object().unwrap().values().next().unwrap().clone();
    assert!(measures["latency"]["value"].as_f64().unwrap() > 250_000.0, "{bmf}");
    assert!(measures["change-p50"]["value"].as_f64().unwrap() > 25.0, "{bmf}");

    let ran = gate(&sandbox, new, old, &["--format", "json"]);
    let json = ran.assert_fine().json();
    assert_eq!(json["verdict"], "improvement", "{json}");
    let p50 = &json["cases"][0];
    assert_eq!(p50["metric"], "p50");
    assert!(p50["high"].as_f64().unwrap() < 0.0 && p50["pairs"].as_u64() >= Some(8), "{p50}");
    assert!(json["false_alarm_rate"].as_f64().unwrap() <= 0.01, "{json}");
}

#[test]
fn what_is_not_decided_in_its_time_passes_loudly_or_not_at_all() {
    let sandbox = sandbox();
    let same = "command:python3 spin.py 200";
    let ran = gate(&sandbox, same, same, &["--budget", "1s"]);
    assert!(ran.assert_fine().stderr.contains("WARNING: undecided"), "{}", ran.stderr);
    assert!(ran.stdout.contains("TOO NOISY"), "{}", ran.stdout);
    let ran = gate(&sandbox, same, same, &["--budget", "1s", "--strict"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_model_against_itself_is_no_regression() {
    let sandbox = sandbox();
    sandbox.write("copy.onnx", relu(&[-1, 4]));
    let ran = gate(&sandbox, "as-given", "copy.onnx", &["--format", "json", "--budget", "40s"]);
    let json = ran.assert_fine().json();
    assert_ne!(json["verdict"], "regression", "{json}");
    let pairs = json["pairs"][0]["pairs"].as_u64().unwrap();
    assert!((1..=32).contains(&pairs), "{json}");
    // Metrics without a budget inform.
    let load = json["cases"].as_array().unwrap().iter().find(|c| c["metric"] == "load").unwrap();
    assert!(load["verdict"].is_null() && load["effect"].is_number(), "{load}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let sandbox = sandbox();
    gate(&sandbox, "fp64", "as-given", &[]).assert_error(&["--baseline fp64", "as-given"]);
    gate(&sandbox, "as-given", "program:none", &[]).assert_error(&["program:none"]);
    gate(&sandbox, "as-given", "command: ", &[]).assert_error(&["names no program"]);
    gate(&sandbox, "as-given", "as-given", &["--p50", "0"]).assert_error(&["gate.p50"]);
    gate(&sandbox, "as-given", "command:no-such-program-here", &[])
        .assert_error(&["no-such-program-here"]);
}
