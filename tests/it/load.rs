//! Open and offline loads, dynamic batches, bounds, pairs and quotas, as a user runs them.

use std::path::Path;

use serde_json::Value;

use super::onnx_file::relu;
use super::sandbox::{Ran, Sandbox};

/// Runs a workload on the mock, whose time is virtual: figures are exact.
fn records(sandbox: &Sandbox, device: &str, load: &str) -> Vec<Value> {
    let workload = sandbox.mock_workload(device, load);
    sandbox.run(&["run", workload.to_str().unwrap()]).assert_fine();
    sandbox.records()
}

fn reasons(record: &Value) -> String {
    record["verdict"]["reasons"].to_string()
}

#[test]
fn an_open_load_is_answered_at_the_rate_that_it_comes() {
    let sandbox = Sandbox::new();
    let load = "scenarios = [{ open = { rate = 400.0 } }, \
                { open = { rate = 400.0, arrivals = \"constant\" } }]\nslo = { ms = 20.0 }";
    let records = records(&sandbox, "latency_us=1000", load);
    let [poisson, constant] = &records[..] else { panic!("two cases: {records:?}") };
    for record in [poisson, constant] {
        assert_eq!(record["verdict"]["valid"], true, "{}", reasons(record));
        let offered = record["load"]["offered_per_s"].as_f64().unwrap();
        let served = record["throughput_per_s"]["value"].as_f64().unwrap();
        assert!((offered / 400.0 - 1.0).abs() < 0.15, "{offered}");
        assert!((served / offered - 1.0).abs() < 0.02, "{served} of {offered}");
        assert_eq!(record["load"]["service_ms"]["p99"], 1.0);
        assert_eq!(record["load"]["lag_ms"]["p99"], 0.0, "the mock sleeps exactly");
    }
    // Evenly spaced requests never meet each other; Poisson's do, and their wait is latency.
    assert_eq!(constant["latency_ms"]["p99"]["value"], 1.0);
    assert_eq!(constant["latency_ms"]["max"]["value"], 1.0);
    let slowest = poisson["latency_ms"]["max"]["value"].as_f64().unwrap();
    let waiting = poisson["load"]["waiting_ms"]["p99"].as_f64().unwrap();
    assert!(slowest > 1.5 && waiting > 0.5, "{slowest} {waiting}");
    assert_eq!(poisson["load"]["slo"]["over"], 0);
    assert_eq!(poisson["load"]["slo"]["met"], Value::Null, "some 400 requests are too few for p99");
}

#[test]
fn more_than_can_be_served_is_saturated_and_a_bounded_queue_rejects() {
    let sandbox = Sandbox::new();
    let load = "scenarios = [{ open = { rate = 2000.0 } }]\ndrain_s = 0.2\nslo = { ms = 5.0 }";
    let flooded = &records(&sandbox, "latency_us=1000", load)[0];
    assert!(reasons(flooded).contains("saturated: "), "{}", reasons(flooded));
    assert!(flooded["load"]["unfinished"].as_u64().unwrap() > 500);
    assert_eq!(flooded["load"]["slo"]["met"], false);
    let sandbox = Sandbox::new();
    let load = "scenarios = [{ open = { rate = 2000.0 } }]\nqueue = 3\nslo = { percentile = \"p90\", ms = 5.0 }";
    let bounded = &records(&sandbox, "latency_us=1000", load)[0];
    assert_eq!(bounded["verdict"]["valid"], true, "{}", reasons(bounded));
    let (rejected, requests) = (&bounded["load"]["rejected"], &bounded["load"]["requests"]);
    let share = rejected.as_f64().unwrap() / requests.as_f64().unwrap();
    assert!((0.4..0.6).contains(&share), "half of them are too many: {share}");
    // At most three wait before it: nobody that is served takes longer than four services.
    assert!(bounded["latency_ms"]["max"]["value"].as_f64().unwrap() <= 4.0);
    assert_eq!(bounded["latency_ms"]["p90"], Value::Null, "it falls among the rejected");
    assert_eq!(bounded["load"]["slo"]["met"], false, "and they are over any bound");
}

#[test]
fn a_dynamic_batcher_fills_its_batches_as_requests_come() {
    let sandbox = Sandbox::new();
    let load = "scenarios = [{ open = { rate = 4000.0 } }, { open = { rate = 50.0 } }]\n\
                batching = [{ dynamic = { max_batch = 8, max_delay_ms = 2.0 } }]";
    let records = records(&sandbox, "latency_us=1000", load);
    let mean = |record: &Value| {
        let sizes = record["load"]["batch_sizes"].as_object().unwrap();
        let count = |n: &Value| n.as_f64().unwrap();
        let batches: f64 = sizes.values().map(count).sum();
        sizes.iter().map(|(size, n)| size.parse::<f64>().unwrap() * count(n)).sum::<f64>() / batches
    };
    let [busy, quiet] = &records[..] else { panic!("two cases") };
    assert!(mean(busy) > 4.0, "{}", busy["load"]["batch_sizes"]);
    assert!(mean(quiet) < 1.4, "{}", quiet["load"]["batch_sizes"]);
    // One that comes alone waits for its delay and then runs.
    let p50 = quiet["latency_ms"]["p50"]["value"].as_f64().unwrap();
    assert!((2.9..=3.1).contains(&p50), "{p50}");
    assert_eq!(busy["verdict"]["valid"], true, "{}", reasons(busy));
}

#[test]
fn an_offline_load_is_as_long_as_its_last_answer() {
    let sandbox = Sandbox::new();
    let load = "scenarios = [\"offline\"]\nbatching = [{ fixed = 4 }]\nwarmup_s = 0.1";
    let workload = sandbox.mock_workload("latency_us=1000", "");
    let text = std::fs::read_to_string(&workload).unwrap().replace("warmup_s = 0.01\n", "");
    std::fs::write(&workload, format!("{text}{load}\n")).unwrap();
    sandbox.run(&["run", workload.to_str().unwrap()]).assert_fine();
    let record = &sandbox.records()[0];
    assert_eq!(record["verdict"]["valid"], true, "{}", reasons(record));
    assert!((record["throughput_per_s"]["value"].as_f64().unwrap() - 4000.0).abs() < 1.0);
    let window = record["load"]["window_s"].as_f64().unwrap();
    assert!((record["latency_ms"]["max"]["value"].as_f64().unwrap() / 1e3 - window).abs() < 1e-9);
}

#[test]
fn a_trace_is_replayed_and_a_bad_one_is_named_before_anything_runs() {
    let sandbox = Sandbox::new();
    let times: Vec<String> = (0..40).map(|i| (f64::from(i) * 0.02).to_string()).collect();
    sandbox.write("day.csv", format!("arrival_s\n{}\n", times.join("\n")));
    let load = "scenarios = [{ open = { arrivals = { trace = { file = \"day.csv\" } } } }]";
    let record = &records(&sandbox, "latency_us=1000", load)[0];
    // The first tenth of a second is the ramp.
    assert_eq!(record["load"]["requests"], 35);
    assert_eq!(record["latency_ms"]["max"]["value"], 1.0);
    sandbox.write("day.csv", "0.5\n0.4\n");
    let ran = sandbox.run(&["run", "mock.toml"]);
    ran.assert_error(&["day.csv line 2", "earlier", "one arrival a line"]);
    let none = sandbox.mock_workload("latency_us=1000", "scenarios = [{ open = {} }]");
    sandbox.run(&["run", none.to_str().unwrap()]).assert_error(&["needs a rate"]);
}

#[test]
fn real_sessions_serve_an_open_load_in_buckets() {
    let sandbox = Sandbox::new();
    let workload = sandbox.workload_of("sentiment", |text| {
        let load = "[load]\nbatching = [{ dynamic = { max_batch = 4, max_delay_ms = 2.0 } }]\n\
                    scenarios = [{ open = { rate = 40.0 } }]\nsessions = [2]\nduration_s = 2.0\n\
                    buckets = [32, 64, 128]\nattempts = 1\n";
        let (front, rest) = text.split_once("[load]").unwrap();
        let rest = rest.split_once("\n[").map_or("", |(_, rest)| rest);
        format!("{front}{load}\n[{rest}")
    });
    let ran = sandbox.run(&["run", &workload]);
    ran.assert_fine();
    let record = &sandbox.records()[0];
    let load = &record["load"];
    assert!(load["requests"].as_u64().unwrap() > 40, "{load}");
    assert_eq!((&load["rejected"], &load["outputs_differing"]), (&0.into(), &0.into()));
    let tenths = load["padding_tenths"].as_array().unwrap();
    let batches: u64 = tenths.iter().map(|n| n.as_u64().unwrap()).sum();
    assert!(batches > 10 && load["padding_share"].as_f64().unwrap() > 0.0, "{load}");
    assert!(ran.stdout.contains("requests/s came"), "{}", ran.stdout);
    assert!(record["telemetry"]["samples"].as_u64().unwrap() >= 10, "{}", record["telemetry"]);
}

#[test]
fn variants_are_compared_in_pairs_of_fresh_processes() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    sandbox.write("other.onnx", relu(&[-1, 4]));
    let load = "scenarios = [\"single\"]\n[[variant]]\nname = \"other\"\npath = \"other.onnx\"";
    let all = records(&sandbox, "latency_us=1000", load);
    let versus = &all[1]["versus_baseline"];
    assert_eq!(versus["basis"], "alternating_bursts");
    assert_eq!(versus["pairs"].as_array().unwrap().len(), 6);
    // On the mock both take the same time to the nanosecond.
    for key in ["speedup", "speedup_low", "speedup_high"] {
        assert_eq!(versus[key], 1.0, "{versus}");
    }
    for file in versus["observations"].as_array().unwrap() {
        let path = sandbox.runs()[0].join(file["path"].as_str().unwrap());
        assert!(!infermark::store::read_observations(&path).unwrap().is_empty());
    }
    let shown = sandbox.run(&["runs", "show", "latest"]);
    assert!(shown.assert_fine().stdout.contains("1.00× [1.00, 1.00]"), "{}", shown.stdout);
    // Without pairs a ratio of separate processes says that it is one.
    let sandbox = Sandbox::new();
    sandbox.write("other.onnx", relu(&[-1, 4]));
    let all = records(&sandbox, "latency_us=1000", &format!("pairs = 0\n{load}"));
    assert_eq!(all[1]["versus_baseline"]["basis"], "separate_processes");
    let few = sandbox.mock_workload("latency_us=1000", "pairs = 3");
    sandbox.run(&["run", few.to_str().unwrap()]).assert_error(&["load.pairs", "6 to 64"]);
}

/// Whether control groups with a quota can be made below cgroup v1's root, as root can.
fn quotas_can_be_made() -> bool {
    let group =
        Path::new("/sys/fs/cgroup/cpu").join(format!("infermark-try-{}", std::process::id()));
    let made = std::fs::create_dir(&group).is_ok() && group.join("cpu.cfs_quota_us").exists();
    let _ = std::fs::remove_dir(&group);
    made
}

#[test]
fn a_deployment_runs_in_its_quota_or_is_an_error() {
    let sandbox = Sandbox::new();
    let workload = sandbox.workload_of("digits", |text| {
        let text = text.replace("threads = [\"auto\"]", "threads = [\"auto\", 2]");
        let text =
            text.replace("duration_s = 2.0", "duration_s = 1.0\nattempts = 1\nwarmup_s = 0.3");
        let text = text.replace("[{ fixed = 1 }, { fixed = 8 }]", "[{ fixed = 8 }]");
        let text = text.replace("\"single\", { closed = { concurrency = 16 } }", "\"single\"");
        let (front, rest) = text.split_once("[[variant]]").unwrap();
        let rest = rest.split_once("[backends]").unwrap().1;
        // Little enough to be held back by, whatever other tests leave of the machine.
        format!("{front}[deployment]\ncpus = 0.3\n\n[backends]{rest}")
    });
    let ran = sandbox.run(&["run", &workload]);
    if ran.code == Some(1) && !quotas_can_be_made() {
        ran.assert_error(&["[deployment] cpus", "docker run --cpus"]);
        eprintln!("NOT TRIED: no cgroup can be made here");
        return;
    }
    ran.assert_fine();
    let records = sandbox.records();
    let [own, both] = &records[..] else { panic!("two cases: {}", ran.stderr) };
    assert_eq!(own["effective_cpus"]["count"], 1);
    assert!(own["effective_cpus"]["reason"].as_str().unwrap().contains("[deployment] gives 0.30"));
    assert_eq!((&own["threads_used"], &both["threads_used"]), (&1.into(), &2.into()));
    // Two spinning threads on less than a CPU's worth of time are held back, and that is the result.
    let throttled = |r: &Value| r["telemetry"]["throttled_share"].as_f64().unwrap();
    assert!(throttled(both) > 0.02, "{}", both["telemetry"]);
    for record in &records {
        assert!(!reasons(record).contains("throttled"), "{}", reasons(record));
    }
    // No group is left behind.
    let left = std::fs::read_dir("/sys/fs/cgroup/cpu").unwrap().flatten();
    let own = format!("infermark-{}", std::process::id());
    assert!(left.into_iter().all(|e| !e.file_name().to_string_lossy().starts_with(&own)));
}

#[test]
fn a_quota_that_nobody_asked_for_makes_a_run_invalid() {
    let group =
        Path::new("/sys/fs/cgroup/cpu").join(format!("infermark-held-{}", std::process::id()));
    if std::fs::create_dir(&group).is_err() || !group.join("cpu.cfs_quota_us").exists() {
        eprintln!("NOT TRIED: no cgroup can be made here");
        return;
    }
    std::fs::write(group.join("cpu.cfs_quota_us"), "30000").unwrap();
    let sandbox = Sandbox::new();
    let program = sandbox.command(&[]).get_program().to_owned();
    let script = "echo $$ > \"$0/cgroup.procs\"; exec \"$1\" run digits --concurrency 1 --batch 8 --threads 2 \
                  --duration 1 --attempts 1 --pairs 0 --format json";
    let output = sandbox.through("sh").args(["-c", script]).arg(&group).arg(&program).output();
    let ran = Ran::from(output.unwrap());
    let record = ran.assert_fine().json()["records"][0].clone();
    assert!(reasons(&record).contains("throttled: "), "{}", record["telemetry"]);
    std::fs::remove_dir(&group).unwrap();
}
