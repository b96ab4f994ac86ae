//! What is measured is kept: killed workers, hung workers, Ctrl-C, full disks, dead parents.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::onnx_file;
use super::sandbox::{Ran, Sandbox, records};

/// Three cases of a real model, each with this window.
fn real_workload(sandbox: &Sandbox, seconds: f64) -> String {
    sandbox.write("relu.onnx", onnx_file::relu(&[-1, 4]));
    let text = format!(
        "name = \"relu\"\n[model]\nsource = \"relu.onnx\"\n[data.generated]\n\
         [backends]\nthreads = [1]\n[load]\nduration_s = {seconds}\nwarmup_s = 0.05\nattempts = 1\n\
         scenarios = [\"single\"]\nbatching = [{{ fixed = 1 }}, {{ fixed = 2 }}, {{ fixed = 4 }}]\n"
    );
    sandbox.write("real.toml", text).to_str().unwrap().to_owned()
}

fn start(sandbox: &Sandbox, args: &[&str]) -> Child {
    sandbox.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(mut child: Child) -> Ran {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ran { code: child.wait().unwrap().code(), stdout, stderr }
}

/// Waits until `found` gives something; the bound is generous, a test that needs it fails.
fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = found() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited a minute for nothing");
}

/// The one child of process `parent` that runs `infermark worker`.
fn worker_of(parent: u32) -> Option<u32> {
    std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let after_name = stat.rsplit_once(')')?.1;
        let ppid: u32 = after_name.split_whitespace().nth(1)?.parse().ok()?;
        let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (ppid == parent && command.contains("worker")).then_some(pid)
    })
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn record_count(run: &Path) -> usize {
    records(run).len()
}

#[test]
fn a_killed_worker_is_an_outcome_and_resume_measures_it_again() {
    let sandbox = Sandbox::new();
    let workload = real_workload(&sandbox, 1.5);
    let child = start(&sandbox, &["run", &workload]);
    // The first case is on the disk and the second one is live.
    wait_for(|| sandbox.runs().first().filter(|run| record_count(run) == 1).cloned());
    let worker = wait_for(|| worker_of(child.id()));
    signal(worker, Signal::KILL);
    let ran = end(child);
    ran.assert_error(&["was killed (signal 9", "--resume"]);
    assert!(ran.stdout.contains("FAILED"), "{}", ran.stdout);
    let records = sandbox.records();
    assert_eq!(records.len(), 3, "the other cases were measured");
    let failed: Vec<bool> = records.iter().map(|r| !r["failure"].is_null()).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!(records[1]["verdict"]["valid"], false);
    assert_eq!(records[1]["throughput_per_s"], serde_json::Value::Null);

    let ran = sandbox.run(&["run", &workload, "--resume", "latest"]);
    assert_eq!(ran.assert_fine().stderr.matches("in the run already").count(), 2);
    let all = sandbox.records();
    assert_eq!(all.len(), 4);
    assert_eq!(all[3]["case"]["id"], records[1]["case"]["id"]);
}

#[test]
fn ctrl_c_keeps_what_is_measured_and_resume_goes_on() {
    let sandbox = Sandbox::new();
    let workload = real_workload(&sandbox, 1.5);
    let child = start(&sandbox, &["run", &workload]);
    wait_for(|| sandbox.runs().first().filter(|run| record_count(run) == 1).cloned());
    let worker = wait_for(|| worker_of(child.id()));
    signal(child.id(), Signal::INT);
    let ran = end(child);
    ran.assert_error(&["interrupted", "1 finished cases are kept", "--resume"]);
    assert!(ran.stdout.contains("VALID"), "what was measured is shown: {}", ran.stdout);
    assert!(!Path::new(&format!("/proc/{worker}")).exists(), "the worker is gone");
    let ran = sandbox.run(&["run", &workload, "--resume", "latest"]);
    ran.assert_fine();
    assert_eq!(sandbox.records().len(), 3);
}

#[test]
fn a_killed_parent_takes_its_worker_along() {
    let sandbox = Sandbox::new();
    let workload = real_workload(&sandbox, 30.0);
    let mut child = start(&sandbox, &["run", &workload]);
    let worker = wait_for(|| worker_of(child.id()));
    signal(child.id(), Signal::KILL);
    child.wait().unwrap();
    wait_for(|| (!Path::new(&format!("/proc/{worker}")).exists()).then_some(()));
}

#[test]
fn a_hung_worker_is_stopped() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000,hang_at=50", "timeout_s = 0.5");
    let ran = sandbox.run(&["run", workload.to_str().unwrap()]);
    ran.assert_error(&["was silent for", "load.timeout_s"]);
    assert_eq!(sandbox.records().len(), 2);
}

#[test]
fn a_crashed_worker_is_an_outcome() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000,die_at=50", "scenarios = [\"single\"]");
    let ran = sandbox.run(&["run", workload.to_str().unwrap()]);
    ran.assert_error(&["died of signal 6"]);
}

#[test]
fn one_failed_request_makes_a_case_invalid_and_keeps_its_observations() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000,fail_at=50", "scenarios = [\"single\"]");
    let ran = sandbox.run(&["run", workload.to_str().unwrap(), "--strict"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let record = sandbox.records()[0].clone();
    let reason = record["verdict"]["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("errors: 1 requests ended in an error"), "{reason}");
    assert!(reason.contains("scripted failure at batch 50"), "{reason}");
    assert!(record["latency_ms"]["p50"]["value"].is_number());
    let path = sandbox.runs()[0].join(record["observations"]["path"].as_str().unwrap());
    let observations = infermark::store::read_observations(&path).unwrap();
    let failed = observations.iter().filter(|o| o.outcome == infermark::load::Outcome::Error);
    assert_eq!(failed.count(), 1);
}

#[test]
fn a_run_interrupted_before_its_first_record_can_be_resumed() {
    let sandbox = Sandbox::new();
    let workload = real_workload(&sandbox, 1.0);
    let child = start(&sandbox, &["run", &workload]);
    wait_for(|| worker_of(child.id()));
    signal(child.id(), Signal::TERM);
    let ran = end(child);
    ran.assert_error(&["interrupted", "0 finished cases", "--resume"]);
    sandbox.run(&["run", &workload, "--resume", "latest"]).assert_fine();
    assert_eq!(sandbox.records().len(), 3);
}

#[test]
fn a_run_never_mixes_two_workloads() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "");
    let path = workload.to_str().unwrap();
    sandbox.run(&["run", path]).assert_fine();
    let ran = sandbox.run(&["run", path, "--resume", "latest", "--duration", "2"]);
    ran.assert_error(&["--resume", "another model", "new run"]);
    sandbox.run(&["run", "relu.onnx", "--resume", "latest"]).assert_error(&["another model"]);
    // The same path with other bytes is another model; patience and attempts are no conditions.
    let text = std::fs::read_to_string(&workload).unwrap();
    std::fs::write(&workload, format!("{text}timeout_s = 77.0\n")).unwrap();
    sandbox.run(&["run", path, "--resume", "latest", "--attempts", "2"]).assert_fine();
    sandbox.write("relu.onnx", onnx_file::relu(&[-1, 5]));
    sandbox.run(&["run", path, "--resume", "latest"]).assert_error(&["another model"]);
    assert_eq!(sandbox.records().len(), 2);
}

#[test]
fn a_full_disk_keeps_finished_cases() {
    let sandbox = Sandbox::new();
    // A disk that holds the first cases and not all of them, in a mount of the test's own.
    let batches: Vec<String> = (1..=8).map(|n| format!("{{ fixed = {n} }}")).collect();
    let loads = format!("batching = [{}]", batches.join(", "));
    let workload = sandbox
        .mock_workload("latency_us=1000", &format!("scenarios = [\"single\"]\n{loads}"))
        .to_str()
        .unwrap()
        .to_owned();
    std::fs::create_dir(sandbox.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=64k none small && \"$0\" \"$@\"; code=$?; \
                  mkdir kept; cp small/*/records.jsonl kept/; exit $code";
    let program = sandbox.command(&[]).get_program().to_owned();
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(program)
        .args(["run", &workload])
        .current_dir(sandbox.path(""))
        .env("INFERMARK_REPORTS", sandbox.path("small"))
        .env("XDG_CACHE_HOME", super::sandbox::cache())
        .output()
        .unwrap();
    let ran = Ran::from(output);
    ran.assert_error(&["small", "No space left", "--resume"]);
    let kept = std::fs::read_to_string(sandbox.path("kept/records.jsonl")).unwrap();
    assert!(!kept.is_empty(), "some case was finished before: {}", ran.stderr);
    assert!(kept.ends_with('\n'));
    for line in kept.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["failure"].is_null());
    }
}

#[test]
fn a_record_cut_short_by_a_crash_is_left_out() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "");
    sandbox.run(&["run", workload.to_str().unwrap()]).assert_fine();
    let path = sandbox.runs()[0].join("records.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 100]).unwrap();
    let shown = sandbox.run(&["runs", "show", "latest", "--format", "json"]);
    assert_eq!(shown.assert_fine().json()["records"].as_array().unwrap().len(), 1);
    let ran = sandbox.run(&["run", workload.to_str().unwrap(), "--resume", "latest"]);
    assert_eq!(ran.assert_fine().stderr.matches("in the run already").count(), 1);
    let shown = sandbox.run(&["runs", "show", "latest", "--format", "json"]);
    assert_eq!(shown.assert_fine().json()["records"].as_array().unwrap().len(), 2);
}

#[test]
fn a_model_that_is_removed_meanwhile_costs_the_cases_that_need_it() {
    let sandbox = Sandbox::new();
    let workload = real_workload(&sandbox, 0.5);
    let child = start(&sandbox, &["run", &workload]);
    let run = wait_for(|| sandbox.runs().into_iter().find(|run| record_count(run) > 0));
    let model = sandbox.path("relu.onnx");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::remove_file(&model).unwrap();
    let ran = end(child);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("relu.onnx") && !ran.stderr.contains("panicked"), "{}", ran.stderr);
    let failed = records(&run).iter().filter(|r| !r["failure"].is_null()).count();
    assert!((1..=2).contains(&failed), "{failed} of three");
    std::fs::write(&model, bytes).unwrap();
    sandbox.run(&["run", &workload, "--resume", "latest"]).assert_fine();
    let ids: std::collections::BTreeSet<String> = records(&run)
        .iter()
        .filter(|r| r["failure"].is_null())
        .map(|r| r["case"]["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 3, "every case is measured in the end");
}
