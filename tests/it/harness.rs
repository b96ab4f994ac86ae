//! The harness itself, on a scripted engine with a virtual clock: every figure is exact.

use super::sandbox::Sandbox;

const LOADS: &str = "scenarios = [\"single\", { closed = { concurrency = 4 } }]\n\
                     batching = [{ fixed = 1 }, { fixed = 4 }]";

#[test]
fn figures_are_exact_on_a_virtual_clock() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=2000", LOADS);
    let ran = sandbox.run(&["run", workload.to_str().unwrap(), "--format", "json"]);
    let records = ran.assert_fine().json()["records"].clone();
    let row = |i: usize| {
        let r = &records[i];
        let throughput = r["throughput_per_s"]["value"].as_f64().unwrap();
        (r["latency_ms"]["p50"]["value"].as_f64().unwrap(), throughput.round())
    };
    // One client: 2 ms each. Four clients on one session: each waits for the three before it.
    assert_eq!(row(0), (2.0, 500.0));
    assert_eq!(row(1), (8.0, 500.0));
    // Batches of four take 2 ms too: all four clients are served at once.
    assert_eq!(row(2), (2.0, 2000.0));
    assert_eq!(row(3), (2.0, 2000.0));
    for record in records.as_array().unwrap() {
        assert_eq!(record["verdict"]["valid"], true, "{record}");
        assert_eq!(record["provenance"], "mock", "nothing scripted passes for measured");
        assert_eq!(record["load"]["outputs_differing"], 0);
        assert!(record["load"]["outputs_checked"].as_u64().unwrap() >= 4);
    }
}

#[test]
fn the_table_is_what_a_reader_expects() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=2000", LOADS);
    let ran = sandbox.run(&["run", workload.to_str().unwrap()]);
    let of_this_machine = ["hardware", "cpus", "isa", "memory", "runtime"];
    let shown: Vec<&str> = ran
        .assert_fine()
        .stdout
        .lines()
        .filter(|line| !of_this_machine.iter().any(|label| line.starts_with(label)))
        .filter(|line| !line.starts_with("      "))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{}", ran.stdout);
}

#[test]
fn raw_observations_give_the_same_figures_again() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=2000", "");
    sandbox.run(&["run", workload.to_str().unwrap()]).assert_fine();
    let run = &sandbox.runs()[0];
    for record in sandbox.records() {
        let path = run.join(record["observations"]["path"].as_str().unwrap());
        let observations = infermark::store::read_observations(&path).unwrap();
        assert_eq!(observations.len() as u64, record["load"]["requests"].as_u64().unwrap());
        let mut latencies: Vec<f64> =
            observations.iter().map(|o| o.latency().as_millis_f64()).collect();
        latencies.sort_by(f64::total_cmp);
        let p95 = infermark::stats::order_statistic(&latencies, 0.95).unwrap();
        assert!((p95 - record["latency_ms"]["p95"]["value"].as_f64().unwrap()).abs() < 1e-9);
        let sha256 = infermark::artifact::sha256_file(&path).unwrap();
        assert_eq!(record["observations"]["sha256"], sha256);
    }
}

#[test]
fn a_drifting_engine_is_invalid_and_strict_says_so() {
    let sandbox = Sandbox::new();
    let workload =
        sandbox.mock_workload("latency_us=1000,drift_ns=1000", "scenarios = [\"single\"]");
    let ran = sandbox.run(&["run", workload.to_str().unwrap(), "--strict"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stdout.contains("INVALID"), "{}", ran.stdout);
    let reason = sandbox.records()[0]["verdict"]["reasons"][0].clone();
    assert!(
        reason.as_str().unwrap().starts_with("trend: the time in the session drifted by +"),
        "{reason}"
    );
}

#[test]
fn a_disturbed_case_is_measured_again_and_every_attempt_is_kept() {
    let sandbox = Sandbox::new();
    let workload =
        sandbox.mock_workload("latency_us=1000,drift_ns=1000", "scenarios = [\"single\"]");
    let text = std::fs::read_to_string(&workload).unwrap().replace("attempts = 1", "attempts = 3");
    std::fs::write(&workload, text).unwrap();
    let ran = sandbox.run(&["run", workload.to_str().unwrap()]);
    assert!(ran.assert_fine().stderr.contains("measuring again"), "{}", ran.stderr);
    let processes: Vec<u64> =
        sandbox.records().iter().map(|r| r["process"].as_u64().unwrap()).collect();
    assert_eq!(processes, [0, 1, 2]);
}

#[test]
fn outputs_that_change_under_load_are_noticed() {
    let sandbox = Sandbox::new();
    let workload =
        sandbox.mock_workload("latency_us=1000,corrupt_from=500", "scenarios = [\"single\"]");
    let ran = sandbox.run(&["run", workload.to_str().unwrap()]);
    assert!(ran.assert_fine().stdout.contains("outputs: "), "{}", ran.stdout);
}

#[test]
fn a_plan_is_listed_before_it_runs_and_nothing_is_dropped_silently() {
    let sandbox = Sandbox::new();
    let load = "scenarios = [\"single\", { closed = { concurrency = 2 } }]\n\
                batching = [{ fixed = 1 }, { fixed = 4 }]";
    let workload = sandbox.mock_workload("latency_us=1000", load);
    let path = workload.to_str().unwrap();
    let ran = sandbox.run(&["run", path, "--dry-run", "--format", "json"]);
    let plan = ran.assert_fine().json();
    assert_eq!(plan["cases"].as_array().unwrap().len(), 3);
    assert!(plan["excluded"][0]["reason"].as_str().unwrap().contains("never fill a batch of 4"));
    assert!(sandbox.runs().is_empty(), "a dry run leaves nothing behind");
    // The same request has the same ids on every machine and in every run.
    let again = sandbox.run(&["run", path, "--dry-run", "--format", "json"]).json();
    assert_eq!(plan["cases"], again["cases"]);
}

#[test]
fn a_run_is_listed_and_shown_again() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "scenarios = [\"single\"]");
    let first = sandbox.run(&["run", workload.to_str().unwrap()]);
    let shown = sandbox.run(&["runs", "show", "latest"]);
    assert_eq!(first.assert_fine().stdout, shown.assert_fine().stdout);
    let list = sandbox.run(&["runs", "list", "--format", "json"]).json();
    assert_eq!(list["runs"][0]["valid"], 1);
    let id = list["runs"][0]["run_id"].as_str().unwrap();
    for format in ["csv", "md", "json"] {
        let ran = sandbox.run(&["runs", "show", id, "--format", format]);
        assert!(ran.assert_fine().stdout.contains("relu"), "{format}: {}", ran.stdout);
    }
    let csv = sandbox.run(&["runs", "show", id, "--format", "csv"]).stdout;
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let headers = rows.headers().unwrap().clone();
    let row = rows.records().next().unwrap().unwrap();
    let at = headers.iter().position(|h| h == "p50_ms").unwrap();
    assert_eq!(&row[at], "1");
}

#[test]
fn a_budget_shortens_the_windows() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", super::onnx_file::relu(&[-1, 4]));
    let ran = sandbox.run(&["run", "relu.onnx", "--budget", "6s", "--attempts", "1"]);
    ran.assert_fine();
    let windows: Vec<f64> =
        sandbox.records().iter().map(|r| r["load"]["window_s"].as_f64().unwrap()).collect();
    assert_eq!(windows.len(), 2);
    assert!(windows.iter().all(|w| *w >= 0.2) && windows.iter().sum::<f64>() < 6.0, "{windows:?}");
    let ran = sandbox.run(&["run", "relu.onnx", "--budget", "1s"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("the time budget was used up"), "{}", ran.stderr);
}

#[test]
fn a_window_begins_when_the_load_is_steady() {
    let sandbox = Sandbox::new();
    let load = "scenarios = [{ closed = { concurrency = 16 } }]";
    let workload = sandbox.mock_workload("latency_us=500000", load);
    let ran = sandbox.run(&["run", workload.to_str().unwrap(), "--format", "json"]);
    let record = ran.assert_fine().json()["records"][0].clone();
    // Sixteen clients, half a second each: whoever meets the full queue waits eight seconds.
    assert_eq!(record["latency_ms"]["p50"]["value"], 8000.0);
    assert_eq!(record["verdict"]["valid"], true, "{}", record["verdict"]);
}

#[test]
fn live_workers_take_turns_and_their_ratio_is_exact() {
    use infermark::load::{Batching, Scenario};
    use infermark::measure::{
        BurstPlan, Command, PrepareSpec, Worker, WorkerCommand, alternate, log_ratio_of_medians,
    };
    use infermark::units::{Bytes, Nanos};
    use infermark::variant::{Lineage, Optimization, Recipe, Variant};

    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "");
    // In a cache of its own: the only data set there is this one.
    let mut dry = sandbox.command(&["run", workload.to_str().unwrap(), "--dry-run"]);
    let ran = dry.env("XDG_CACHE_HOME", sandbox.path("cache")).output().unwrap();
    super::sandbox::Ran::from(ran).assert_fine();
    let data = std::fs::read_dir(sandbox.path("cache/infermark/data")).unwrap();
    let data = data.map(|e| e.unwrap().path()).next();
    let command = WorkerCommand {
        program: assert_cmd::cargo::cargo_bin!("infermark").to_owned(),
        args: vec!["worker".into()],
        cpus: None,
    };
    let patience = Nanos::from_secs(30);
    let mut workers: Vec<Worker> = ["mock:latency_us=1000", "mock:latency_us=1100"]
        .into_iter()
        .map(|backend| {
            let mut worker =
                Worker::start(&command, backend, 1, std::sync::Arc::default()).unwrap();
            let spec = PrepareSpec {
                variant: Variant {
                    name: "relu".into(),
                    recipe: Recipe::AsGiven,
                    path: sandbox.path("relu.onnx"),
                    sha256: String::new(),
                    size: Bytes(0),
                    weights: Bytes(0),
                    lineage: Lineage::default(),
                },
                backend: backend.parse().unwrap(),
                options: infermark::backend::PrepareOptions {
                    threads: 1,
                    optimization: Optimization::All,
                    spinning: false,
                    library: None,
                    weights: Bytes(0),
                    tuning: infermark::backend::Tuning::default(),
                },
                sessions: 1,
                batching: Batching::Fixed(2),
                scenario: Scenario::Single,
                queue: None,
                drain: Nanos(0),
                buckets: Vec::new(),
                data: data.clone().unwrap(),
                seed: 1,
            };
            worker.ask(&Command::Prepare(Box::new(spec)), patience).unwrap();
            worker.ask(&Command::Warm { duration: Nanos(0) }, patience).unwrap();
            worker
        })
        .collect();
    let plan = BurstPlan { rounds: 9, batches: 3, batch_size: 2, samples: 5, seed: 7, patience };
    let bursts = alternate(&mut workers, plan).unwrap();
    assert!(bursts.iter().all(|b| b.len() == 9 && b.iter().all(|burst| burst.len() == 6)));
    // Both ran the same samples in the same rounds.
    let samples =
        |worker: usize| -> Vec<u32> { bursts[worker].iter().flatten().map(|o| o.sample).collect() };
    assert_eq!(samples(0), samples(1));
    // Of eight issued the first batch of two is not counted.
    assert_eq!(samples(0)[..7], [2, 3, 4, 0, 1, 2, 0]);
    let ratio = log_ratio_of_medians(&bursts[0], &bursts[1]).unwrap().exp();
    assert!((ratio - 1.1).abs() < 1e-12, "{ratio}");
    for worker in workers {
        worker.quit().unwrap();
    }
}

#[test]
fn strangers_in_the_reports_folder_disturb_nobody() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "scenarios = [\"single\"]");
    sandbox.run(&["run", workload.to_str().unwrap()]).assert_fine();
    sandbox.write("reports/NOTES.txt", "mine");
    std::fs::create_dir(sandbox.path("reports/broken")).unwrap();
    sandbox.write("reports/broken/records.jsonl", "no record\n");
    let list = sandbox.run(&["runs", "list", "--format", "json"]);
    assert_eq!(list.assert_fine().json()["runs"].as_array().unwrap().len(), 1);
    assert!(list.stderr.contains("warning: ") && list.stderr.contains("broken"));
    sandbox.run(&["runs", "show", "latest"]).assert_fine();
}
