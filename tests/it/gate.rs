//! Gates: programs that speak the worker protocol and take a known time, and a real model against itself.

use std::path::Path;

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
    // For limits, which measure as `run` does: short, and once.
    let text = "name = \"relu\"\n[model]\nsource = \"relu.onnx\"\n[data.generated]\nsamples = 16\n\
                [load]\nduration_s = 0.5\nwarmup_s = 0.05\nattempts = 1\n";
    sandbox.write("w.toml", text);
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
    assert!(p50["high"].as_f64().unwrap() < 0.0 && p50["rounds"].as_u64() >= Some(8), "{p50}");
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

#[test]
fn limits_need_no_baseline() {
    let sandbox = sandbox();
    let gate = |more: &[&str]| {
        let args = ["gate", "w.toml", "--batch", "1", "--threads", "1"];
        sandbox.run(&[&args[..], more].concat())
    };
    let ran = gate(&["--limits", "peak_rss <= 5 GB", "size <= 1 MB", "--junit", "j.xml"]);
    assert!(ran.assert_fine().stdout.contains("PASS: limits of relu"), "{}", ran.stdout);
    let ran = gate(&["--limits", "size <= 1 kB, size <= 0.01 kB", "--format", "json"]);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let verdicts: Vec<&str> =
        json["limits"].as_array().unwrap().iter().map(|l| l["verdict"].as_str().unwrap()).collect();
    assert!(verdicts.contains(&"pass") && verdicts.contains(&"regression"), "{json}");
    // Of the run that was just measured, with nothing measured again.
    let before = sandbox.runs().len();
    let ran = sandbox.run(&["gate", "latest", "--limits", "accuracy >= 0.9", "--strict"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("data gives no such"), "{}", ran.stdout);
    // One row a case, however often it was measured.
    assert_eq!(ran.stdout.matches("NO BASELINE").count(), 2, "{}", ran.stdout);
    assert_eq!(sandbox.runs().len(), before);
    gate(&["--limits", "p99 < 5 ms"]).assert_error(&["p99 < 5 ms", "<= nor >="]);
    gate(&["--limits"]).assert_error(&["names none", "[gate] limits"]);
}

#[test]
fn a_store_keeps_the_baseline_and_the_history() {
    let sandbox = sandbox();
    let spin = |us: u32| format!("command:python3 spin.py {us}");
    // There is no baseline yet: the candidate becomes the first.
    let stored = ["--store", "store", "--format", "json"];
    let first = [&stored[..], &["--keep-baseline", "--strict"]].concat();
    let ran = gate(&sandbox, "stored", "as-given", &first);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("keeps no baseline"), "{}", ran.stdout);
    assert!(sandbox.path("store/baseline/relu/model.onnx").is_file());
    // What was kept is measured beside the candidate.
    let ran = gate(&sandbox, "stored", "as-given", &[&stored[..], &["--budget", "3s"]].concat());
    let json = ran.assert_fine().json();
    assert!(json["pairs"][0]["pairs"].as_u64() >= Some(1), "{json}");
    std::fs::write(sandbox.path("store/baseline/relu/model.onnx"), "other").unwrap();
    gate(&sandbox, "stored", "as-given", &stored).assert_error(&["is not the model that was kept"]);
    gate(&sandbox, "stored", "as-given", &[]).assert_error(&["names no store"]);
    gate(&sandbox, "as-given", &spin(1), &["--store", "s", "--keep-baseline"])
        .assert_error(&["the candidate is a program"]);

    // Programs leave a history, beside one and the same baseline.
    for us in [200, 200, 300] {
        let more = ["--store", "series", "--pairs", "pairs.jsonl", "--budget", "20s"];
        let ran = gate(&sandbox, &spin(200), &spin(us), &more);
        assert_eq!(ran.code, Some(if us == 200 { 0 } else { 2 }), "{}{}", ran.stdout, ran.stderr);
    }
    let text = std::fs::read_to_string(sandbox.path("pairs.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 3);
    let ran = sandbox.run(&["gate", "history", "series", "--format", "json"]);
    let json = ran.assert_fine().json();
    assert_eq!((&json[0]["sessions"], json.as_array().unwrap().len()), (&3.into(), 1), "{json}");
    assert!(json[0]["latest"].as_f64().unwrap() > 0.3, "{json}");
    sandbox.run(&["gate", "history", "store/baseline"]).assert_error(&["holds no sessions"]);

    // The last session measured both in turns: it decides again, without measuring.
    let records = |budget: &str| {
        sandbox.run(&[
            "gate",
            "--records",
            "series",
            "pairs.jsonl",
            "--p50",
            budget,
            "--format",
            "json",
        ])
    };
    let ran = records("0.05");
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(records("9").assert_fine().stdout.contains("measured in turns"), "{}", ran.stdout);
    // A session of another machine is no baseline for this one.
    let elsewhere = text
        .lines()
        .next()
        .unwrap()
        .replace("\"hardware_class\":\"", "\"hardware_class\":\"other-");
    sandbox.write("elsewhere.jsonl", elsewhere + "\n");
    let ran = sandbox.run(&["gate", "--records", "elsewhere.jsonl", "series", "--strict"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the hardware class differs"), "{}", ran.stdout);
    sandbox.write("broken.jsonl", &text[..text.len() / 2]);
    sandbox.run(&["gate", "--records", "broken.jsonl", "series"]).assert_error(&["broken.jsonl:"]);
}

#[test]
fn a_slow_down_that_is_accepted_passes_and_is_marked() {
    let sandbox = sandbox();
    let accepted = |bound: &str, until: &str| {
        let text = format!(
            "[[accepted]]\ncase = \"ort:cpu fixed 1\"\nmetric = \"p50\"\nbound = {bound}\nreason = \"a check of the \
             input\"\nuntil = \"{until}\"\n"
        );
        sandbox.write("accepted.toml", text);
    };
    let (old, new) = ("command:python3 spin.py 200", "command:python3 spin.py 300");
    let more = ["--accepted", "accepted.toml"];
    accepted("1.0", "2999-01-31");
    let ran = gate(&sandbox, old, new, &more);
    assert!(
        ran.assert_fine().stdout.contains("accepted up to 100.0 % until 2999-01-31: a check"),
        "{}",
        ran.stdout
    );
    accepted("1.0", "2020-01-31");
    let ran = gate(&sandbox, old, new, &more);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("no longer accepted"), "{}", ran.stdout);
    accepted("0", "2999-01-31");
    gate(&sandbox, old, new, &more).assert_error(&["accepted.toml", "bound 0"]);
    gate(&sandbox, old, new, &["--usd-per-hour=0"]).assert_error(&["--usd-per-hour 0"]);
    gate(&sandbox, old, new, &["--junit", "none/j.xml"]).assert_error(&["its folder is not there"]);
    gate(&sandbox, old, new, &["--format", "json", "--annotate"])
        .assert_error(&["--json gate.json"]);
    gate(&sandbox, old, "spin.py", &[]).assert_error(&["program:spin.py"]);
}

#[test]
fn quality_size_and_cost_decide_with_budgets_of_their_own() {
    let sandbox = Sandbox::new();
    let gate_of = |budgets: &str| {
        let workload =
            sandbox.workload_of("digits", |text| format!("{text}\n[gate]\np50 = 9.0\n{budgets}\n"));
        let args = ["gate", &workload, "--baseline", "fp32", "--candidate", "int8-dynamic-conv"];
        let more = ["--batch", "1", "--usd-per-hour", "0.2", "--format", "json", "--budget", "20s"];
        sandbox.run(&[&args[..], &more[..]].concat())
    };
    let found = |ran: &Ran, metric: &str| {
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let cases = json["cases"].as_array().unwrap().clone();
        cases
            .into_iter()
            .find(|c| c["metric"] == metric)
            .unwrap_or_else(|| panic!("{metric}: {json}"))
    };
    let ran = gate_of("quality = 0.01\nsize = 0.1\ncost = 9.0\nthroughput = 0.98");
    let quality = found(&ran, "quality");
    assert_eq!(quality["verdict"], "pass", "{quality}");
    assert!(quality["note"].as_str().unwrap().contains("accuracy on"), "{quality}");
    assert_eq!(found(&ran, "size")["verdict"], "improvement", "{}", ran.stdout);
    assert!(
        found(&ran, "cost")["effect"].is_number()
            && found(&ran, "throughput")["effect"].is_number()
    );
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let usd = &json["pairs"][0]["usd_per_million"];
    assert!(usd[0].as_f64().unwrap() > 0.0 && usd[1].as_f64().unwrap() > 0.0, "{usd}");
}

#[test]
fn instructions_are_counted_or_what_is_missing_is_said() {
    let sandbox = sandbox();
    sandbox.write("copy.onnx", relu(&[-1, 4]));
    let ran = gate(&sandbox, "as-given", "copy.onnx", &["--instructions", "--format", "json"]);
    if std::process::Command::new("valgrind").arg("--version").output().is_err() {
        ran.assert_error(&["valgrind", "--instructions"]);
        return;
    }
    // A node that does next to nothing: the harness's own instructions are most of it, and differ a little.
    assert!(matches!(ran.code, Some(0 | 2)), "{}{}", ran.stdout, ran.stderr);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let cases = json["cases"].as_array().unwrap();
    let counted = cases.iter().find(|c| c["metric"] == "instructions").unwrap();
    let note = counted["note"].as_str().unwrap();
    assert!(note.contains("valgrind-") && !note.contains("avx512"), "{note}");
    assert!(counted["effect"].as_f64().unwrap().abs() < 0.2, "{counted}");
}

/// The script of the action's step `Gate`.
fn action_script() -> String {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).unwrap();
    let (_, script) = text.rsplit_once("run: |\n").unwrap();
    script
        .lines()
        .map(|line| line.strip_prefix("        ").unwrap_or(line))
        .fold(String::new(), |script, line| script + line + "\n")
}

#[test]
fn the_action_gates_and_checks_limits_and_ends_with_the_worst_of_both() {
    let sandbox = sandbox();
    let folder = assert_cmd::cargo::cargo_bin!("infermark").parent().unwrap().to_owned();
    let script = format!("PATH=\"$BIN:$PATH\"\n{}", action_script());
    let act = |candidate: &str, limits: &str| {
        sandbox.write("output", "");
        sandbox.write("summary", "");
        let mut bash = sandbox.through("bash");
        bash.args(["-e", "-o", "pipefail", "-c", &script]);
        bash.env("BIN", &folder);
        for (name, value) in [
            ("WORKLOAD", "w.toml"),
            ("BASELINE", "command:python3 spin.py 200"),
            ("CANDIDATE", candidate),
            ("LIMITS", limits),
            ("STORE", ""),
            ("KEEP_BASELINE", "false"),
            ("BUDGET", "60s"),
            ("STRICT", "false"),
            ("INSTRUCTIONS", "false"),
            ("RESULTS", "results"),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STEP_SUMMARY", "summary"),
        ] {
            bash.env(name, value);
        }
        let ran = Ran::from(bash.output().unwrap());
        let read = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
        (ran.code, read("output"), read("summary"), format!("{}{}", ran.stdout, ran.stderr))
    };
    let (code, output, summary, said) = act("command:python3 spin.py 300", "size <= 1 MB\n");
    assert_eq!((code, output.as_str()), (Some(2), "exit-code=2\n"), "{said}");
    assert!(
        summary.contains("### REGRESSION") && summary.contains("### PASS: limits"),
        "{summary}"
    );
    assert!(
        sandbox.path("results/gate.xml").is_file() && sandbox.path("results/limits.json").is_file()
    );
    let (code, output, _, said) = act("", "size <= 0.001 kB\n");
    assert_eq!((code, output.as_str()), (Some(2), "exit-code=2\n"), "{said}");
    let (code, _, summary, said) = act("", "size < 1 MB");
    assert_eq!((code, summary.as_str()), (Some(1), ""), "{said}");
}
