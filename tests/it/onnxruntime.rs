//! The real ONNX Runtime on real models.

use super::onnx_file::{external, relu};
use super::sandbox::Sandbox;

const MAGIKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/workloads/magika.toml");

#[test]
fn magika_is_as_good_as_it_should_be() {
    let sandbox = Sandbox::new();
    let args = ["run", MAGIKA, "--duration", "0.5", "--format", "json"];
    let ran = sandbox.run(&args);
    let records = ran.assert_fine().json()["records"].clone();
    let records = records.as_array().unwrap();
    assert_eq!(records.len(), 5);
    for record in records {
        let accuracy = &record["quality"][0];
        // Python's onnxruntime gives 0.951 on the same inputs (docs/measurements/magika.md).
        assert!((0.94..0.96).contains(&accuracy["value"].as_f64().unwrap()), "{accuracy}");
        assert!(accuracy["samples"].as_u64().unwrap() >= 1000);
        assert!(accuracy["low"].as_f64().unwrap() < accuracy["value"].as_f64().unwrap());
        assert_eq!(record["verdict"]["meets_quality"], true);
        assert_eq!(record["node_share"][0]["provider"], "CPUExecutionProvider");
        assert_eq!(record["node_share"][0]["share"], 1.0);
        assert!(record["ops"].as_array().unwrap().iter().any(|op| op["kind"] == "Conv"));
        assert_eq!(record["size_bytes"], 3_163_737);
        assert!(record["memory_bytes"]["weights"].as_u64().unwrap() > 3_000_000);
        assert!(record["memory_bytes"]["peak_rss"].as_u64().unwrap() > 20_000_000);
        assert_eq!(record["load"]["outputs_differing"], 0);
        for timing in ["load", "compile", "first"] {
            assert!(record["timing_ms"][timing].as_f64().unwrap() > 0.0, "{timing}");
        }
        assert!(record["runtime_version"].as_str().unwrap().starts_with("onnxruntime 1."));
        assert_eq!(record["threads_used"], record["effective_cpus"]["count"]);
    }
}

#[test]
fn the_data_set_is_large_and_varied_enough() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["run", MAGIKA, "--dry-run"]);
    let line = ran.assert_fine().stderr.lines().find(|l| l.contains("labelled samples")).unwrap();
    let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] >= 1000 && numbers[1] >= 25, "{line}");
}

#[test]
fn a_model_alone_is_enough_and_its_workload_can_be_kept() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4, -1]));
    let args = ["run", "relu.onnx", "--duration", "0.2", "--batch", "1,2", "--dim", "free2=5"];
    let ran = sandbox.run(&[&args[..], &["--save-workload", "kept.toml"]].concat());
    assert!(ran.assert_fine().stderr.contains("dimension `free2` is 5"), "{}", ran.stderr);
    assert!(ran.stderr.contains("generated samples; quality cannot be measured"));
    let ids = |ran: &super::sandbox::Ran| -> Vec<String> {
        let json = ran.assert_fine().json();
        let cases = json["cases"].as_array().unwrap().iter();
        cases.map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    };
    let dry = ["--dry-run", "--format", "json"];
    let direct = ids(&sandbox.run(&[&args[..], &dry].concat()));
    let kept = ids(&sandbox.run(&[&["run", "kept.toml"][..], &dry].concat()));
    assert_eq!(direct, kept, "the kept workload asks for the same cases");
    // A run begun with the one goes on with the other, and the kept file can be edited.
    sandbox.run(&["run", "kept.toml", "--resume", "latest"]).assert_fine();
    sandbox.run(&["run", "kept.toml", "--dry-run", "--dim", "free2=7"]).assert_fine();
}

#[test]
fn a_model_with_a_fixed_batch_is_run_in_that_batch_only() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[2, 4]));
    let args = [
        "run",
        "relu.onnx",
        "--batch",
        "1,2",
        "--concurrency",
        "1",
        "--duration",
        "0.2",
        "--attempts",
        "1",
    ];
    let ran = sandbox.run(&args);
    assert!(ran.assert_fine().stderr.contains("exactly 2"), "{}", ran.stderr);
    assert_eq!(sandbox.records().len(), 1);
}

#[test]
fn sessions_share_the_effective_cpus() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let args = [
        "run",
        "relu.onnx",
        "--sessions",
        "1,2",
        "--concurrency",
        "4",
        "--duration",
        "0.3",
        "--attempts",
        "1",
    ];
    sandbox.run(&args).assert_fine();
    let records = sandbox.records();
    let effective = records[0]["effective_cpus"]["count"].as_u64().unwrap();
    assert_eq!(records[0]["threads_used"], effective);
    assert_eq!(records[1]["threads_used"], (effective / 2).max(1));
    let run = &sandbox.runs()[0];
    let path = run.join(records[1]["observations"]["path"].as_str().unwrap());
    let observations = infermark::store::read_observations(&path).unwrap();
    for session in 0..2 {
        assert!(observations.iter().any(|o| o.session == session), "session {session} served");
    }
}

#[test]
fn threads_follow_the_affinity() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let program = sandbox.command(&[]).get_program().to_owned();
    let output = sandbox
        .through("taskset")
        .args(["-c", "0"])
        .arg(program)
        .args(["run", "relu.onnx", "--concurrency", "1", "--duration", "0.2", "--format", "json"])
        .output()
        .unwrap();
    let ran = super::sandbox::Ran::from(output);
    let record = ran.assert_fine().json()["records"][0].clone();
    assert_eq!(record["effective_cpus"]["count"], 1);
    assert_eq!(record["threads_used"], 1);
}

#[test]
fn threads_follow_a_quota() {
    let controller = std::path::Path::new("/sys/fs/cgroup/cpu");
    let group = controller.join(format!("infermark-test-{}", std::process::id()));
    if std::fs::create_dir(&group).is_err() || !group.join("cpu.cfs_quota_us").exists() {
        // Only root, and only where cgroup v1 is mounted, can make one; captured files are tested
        // everywhere (machines.rs).
        eprintln!("NOT TRIED: no cgroup can be made in {}", controller.display());
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let program = sandbox.command(&[]).get_program().to_owned();
    for (quota, says) in [("100000", "1.00 CPUs"), ("150000", "1.50 CPUs")] {
        std::fs::write(group.join("cpu.cfs_quota_us"), quota).unwrap();
        let script = "echo $$ > \"$0/cgroup.procs\"; exec \"$1\" run relu.onnx --concurrency 1 \
                      --duration 0.2 --attempts 1 --format json";
        let output =
            sandbox.through("sh").args(["-c", script]).arg(&group).arg(&program).output().unwrap();
        let ran = super::sandbox::Ran::from(output);
        let record = ran.assert_fine().json()["records"][0].clone();
        assert_eq!(record["effective_cpus"]["count"], 1, "{record}");
        let reason = record["effective_cpus"]["reason"].as_str().unwrap();
        assert!(reason.contains("quota") && reason.contains(says), "{reason}");
        assert_eq!(record["threads_used"], 1);
    }
    std::fs::remove_dir(&group).unwrap();
}

#[test]
fn nothing_is_reported_to_anyone() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let args = ["run", "relu.onnx", "--concurrency", "1", "--duration", "2", "--attempts", "1"];
    // One run fetches the library, the next one has a cache of its own to look at.
    let first = sandbox.run(&args);
    let line = first.assert_fine().stderr.lines().find(|l| l.contains("ONNX Runtime: ")).unwrap();
    let library = line.trim().trim_start_matches("ONNX Runtime: ").split(" (").next().unwrap();
    let output = sandbox
        .command(&args)
        .env("XDG_CACHE_HOME", sandbox.path("cache"))
        .env("ORT_DYLIB_PATH", library)
        .output()
        .unwrap();
    super::sandbox::Ran::from(output).assert_fine();
    let folders: Vec<_> = std::fs::read_dir(sandbox.path("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(folders, ["infermark"], "ONNX Runtime's telemetry keeps files in the cache folder");
}

#[test]
fn weights_beside_the_model_are_part_of_it() {
    let sandbox = Sandbox::new();
    sandbox.write("ext.onnx", external("ext.bin"));
    let args = ["run", "ext.onnx", "--concurrency", "1", "--duration", "0.2", "--attempts", "1"];
    sandbox.run(&args).assert_error(&["ext.bin", "is missing"]);
    let id = |weights: [f32; 4]| {
        let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        sandbox.write("ext.bin", bytes);
        let dry = sandbox.run(&["run", "ext.onnx", "--dry-run", "--format", "json"]);
        dry.assert_fine().json()["cases"][0]["id"].clone()
    };
    let first = id([1.0, 2.0, 3.0, 4.0]);
    assert_ne!(first, id([1.0, 2.0, 3.0, 5.0]), "other weights are another variant");
    sandbox.run(&args).assert_fine();
    let model = std::fs::metadata(sandbox.path("ext.onnx")).unwrap().len();
    assert_eq!(sandbox.records()[0]["size_bytes"], model + 16);
    sandbox.write("out.onnx", external("../ext.bin"));
    sandbox.run(&["run", "out.onnx"]).assert_error(&["../ext.bin", "own folder"]);
}

#[test]
fn a_kept_workload_overwrites_nothing() {
    let sandbox = Sandbox::new();
    let model = relu(&[-1, 4]);
    sandbox.write("relu.onnx", &model);
    let ran = sandbox.run(&["run", "relu.onnx", "--dry-run", "--save-workload", "relu.onnx"]);
    ran.assert_error(&["relu.onnx", "not overwritten"]);
    assert_eq!(std::fs::read(sandbox.path("relu.onnx")).unwrap(), model);
}
