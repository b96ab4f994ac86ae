//! Prices and costs, from stored records: no device is touched.

use super::onnx_file::relu;
use super::sandbox::Sandbox;

/// A run of a small real model, measured once for all that is asked of it here.
fn measured(sandbox: &Sandbox) {
    sandbox.write("relu.onnx", relu(&[-1, 4]));
    let args = ["run", "relu.onnx", "--concurrency", "1", "--duration", "0.3", "--attempts", "1"];
    sandbox.run(&args).assert_fine();
}

#[test]
fn a_sample_costs_the_price_of_its_time() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    let record = sandbox.records()[0].clone();
    let capacity = record["throughput_per_s"]["value"].as_f64().unwrap();
    let args = ["cost", "latest", "--usd-per-hour", "3.6", "--format", "json"];
    let json = sandbox.run(&args).assert_fine().json();
    let row = &json["rows"][0];
    let expected = 3.6 / 3600.0 / capacity * 1e6;
    let shown = row["usd_per_1m"].as_f64().unwrap();
    assert!((shown / expected - 1.0).abs() < 1e-9, "{shown} {expected}");
    assert!((row["usd_per_1k"].as_f64().unwrap() * 1000.0 / shown - 1.0).abs() < 1e-9);
    assert_eq!(row["case_id"], record["case"]["id"]);
    assert_eq!(
        (&row["provenance"], &row["capacity_basis"]),
        (&"given".into(), &"saturated".into())
    );
    assert_eq!(row["usd_per_month"], 3.6 * 730.0);
}

#[test]
fn an_instance_type_is_priced_by_the_cpus_that_were_measured() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    let cpus = sandbox.records()[0]["effective_cpus"]["count"].as_f64().unwrap();
    let args = ["cost", "latest", "--instance", "c7a.xlarge", "--format", "json"];
    let json = sandbox.run(&args).assert_fine().json();
    let row = &json["rows"][0];
    let whole = row["instance_usd_per_hour"].as_f64().unwrap();
    let share = row["usd_per_hour"].as_f64().unwrap();
    assert!((share - whole * cpus / 4.0).abs() < 1e-12, "{row}");
    assert_eq!(row["price_date"], "2026-07-20");
    assert!(!row["price_source"].as_str().unwrap().is_empty());
    // Three kinds of provenance are possible; none of them is silent.
    let provenance = row["provenance"].as_str().unwrap();
    assert!(["pro-rata", "assumed"].contains(&provenance), "{provenance}");
    assert!(!json["notes"].as_array().unwrap().is_empty());
    for term in ["spot", "on-demand"] {
        let args = [
            "cost",
            "latest",
            "--instance",
            "c7a.xlarge",
            "--term",
            term,
            "--region",
            "eu-central-1",
        ];
        sandbox.run(&args).assert_fine();
    }
}

#[test]
fn an_unknown_price_is_an_error_and_never_zero() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    let cost = |args: &[&str]| sandbox.run(&[&["cost", "latest"][..], args].concat());
    cost(&["--usd-per-hour", "-1"]).assert_error(&["--usd-per-hour", "-1"]);
    cost(&["--usd-per-hour", "0"]).assert_error(&["--usd-per-hour", "0"]);
    cost(&["--instance", "c99.huge"]).assert_error(&["c99.huge", "no known price"]);
    cost(&["--instance", "c7a.xlarge", "--term", "3y"]).assert_error(&["c7a.xlarge", "3y"]);
    cost(&["--instance", "c7a.xlarge", "--region", "mars"]).assert_error(&["mars", "eu-central-1"]);
    let header = "provider,instance_type,region,term,currency,usd_per_hour,date,source,vcpus\n";
    for (price, says) in [("-0.2", "price -0.2"), ("", "no price"), ("free", "`free`")] {
        let row = format!("own,rack,here,on-demand,USD,{price},2026-01-01,books,4\n");
        sandbox.write("own.csv", format!("{header}{row}"));
        let ran = cost(&["--prices", "own.csv", "--instance", "rack"]);
        ran.assert_error(&["own.csv: line 2", says]);
    }
    sandbox
        .write("own.csv", format!("{header}own,rack,here,on-demand,USD,0.2,2026-01-01,books,4\n"));
    cost(&["--prices", "own.csv", "--instance", "rack"]).assert_fine();
    sandbox.run(&["cost", "no-such-run"]).assert_error(&["no-such-run"]);
}

#[test]
fn what_ran_on_a_gpu_is_not_priced_as_if_it_had_not() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    let file = sandbox.runs()[0].join("records.jsonl");
    let cpu = sandbox.records()[0].clone();
    let mut gpu = cpu.clone();
    gpu["case"]["backend"] = "ort:cuda".into();
    gpu["case"]["id"] = "another".into();
    std::fs::write(&file, format!("{gpu}\n")).unwrap();
    sandbox.run(&["cost", "latest"]).assert_error(&["ort:cuda", "--usd-per-hour"]);
    let cost =
        |args: &[&str]| sandbox.run(&[&["cost", "latest", "--format", "json"], args].concat());
    cost(&["--instance", "c8a.xlarge"]).assert_error(&["c8a.xlarge", "no accelerator"]);
    let row = cost(&["--instance", "g5.xlarge"]).assert_fine().json()["rows"][0].clone();
    assert_eq!(row["usd_per_hour"], row["instance_usd_per_hour"], "a GPU is not shared by vCPU");
    assert_eq!(row["provenance"], "assumed");
    // One case without a price does not take the others' along.
    std::fs::write(&file, format!("{gpu}\n{cpu}\n")).unwrap();
    let both = cost(&["--usd-per-hour", "1"]).assert_fine().json();
    assert_eq!(both["rows"].as_array().unwrap().len(), 2);
    let json = cost(&["--instance", "c8a.xlarge"]).assert_fine().json();
    assert_eq!(json["rows"].as_array().unwrap().len(), 1);
    assert!(json["notes"].to_string().contains("not priced: case another"), "{}", json["notes"]);
}

#[test]
fn nobody_rents_the_scripted_engine() {
    let sandbox = Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "scenarios = [\"single\"]");
    let ran = sandbox.run(&["run", workload.to_str().unwrap()]);
    assert!(!ran.assert_fine().stdout.contains("$/1M"), "{}", ran.stdout);
    sandbox.run(&["cost", "latest", "--usd-per-hour", "1"]).assert_error(&["mock"]);
}

#[test]
fn a_run_on_unknown_hardware_shows_that_it_has_no_price() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    let file = sandbox.runs()[0].join("records.jsonl");
    let mut record = sandbox.records()[0].clone();
    record["machine"]["microarchitecture"] = "unknown".into();
    record["machine"]["instance_type"] = serde_json::Value::Null;
    std::fs::write(&file, format!("{record}\n")).unwrap();
    sandbox.run(&["cost", "latest"]).assert_error(&["unknown", "--usd-per-hour"]);
    let shown = sandbox.run(&["runs", "show", "latest"]);
    let text = &shown.assert_fine().stdout;
    assert!(text.contains("no price") && !text.contains("$/1M"), "{text}");
}

#[test]
fn prices_are_listed_with_source_and_date() {
    let sandbox = Sandbox::new();
    let csv = sandbox.run(&["prices", "list", "--format", "csv"]).assert_fine().stdout.clone();
    let mut types: Vec<&str> = csv.lines().skip(1).filter_map(|l| l.split(',').nth(1)).collect();
    types.sort_unstable();
    types.dedup();
    assert!(types.len() >= 60, "{}", types.len());
    for provider in ["aws", "gcp", "azure"] {
        let ran = sandbox.run(&["prices", "list", "--provider", provider, "--format", "json"]);
        let prices = ran.assert_fine().json()["prices"].as_array().unwrap().clone();
        assert!(prices.len() > 20, "{provider}");
        assert!(prices.iter().all(|p| !p["source"].as_str().unwrap().is_empty()));
    }
    sandbox.run(&["prices", "list", "--region", "mars"]).assert_error(&["no price fits"]);
}

#[test]
fn a_providers_own_list_is_read_and_used() {
    let sandbox = Sandbox::new();
    measured(&sandbox);
    let header = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n";
    let zones = [0.05, 0.07, 0.06].iter().enumerate();
    let rows: Vec<String> = zones
        .map(|(zone, spot)| {
            format!("z9.xlarge,,,4.0,8.0,,0.4,{spot},us-east-1,use1-az{zone},x86_64\n")
        })
        .collect();
    let rows = rows.concat();
    sandbox.write("vms.csv", format!("{header}{rows}"));
    let import = ["prices", "import", "vms.csv", "--from", "skypilot", "-o", "own.csv"];
    sandbox.run(&import).assert_error(&["--provider"]);
    let dated = |date: &str| {
        let more = ["--provider", "aws", "--date", date];
        sandbox.run(&[&import[..], &more].concat())
    };
    dated("2999-01-01").assert_error(&["2999-01-01", "future"]);
    dated("2026-07-30").assert_fine();
    let mut args = vec!["cost", "latest", "--prices", "own.csv", "--instance", "z9.xlarge"];
    args.extend(["--term", "spot", "--format", "json"]);
    let json = sandbox.run(&args).assert_fine().json();
    let row = &json["rows"][0];
    assert_eq!(
        (&row["instance_usd_per_hour"], &row["price_date"]),
        (&0.06.into(), &"2026-07-30".into())
    );
    sandbox
        .write("broken.csv", format!("{header}z9.xlarge,,,4.0,8.0,,dear,,us-east-1,use1-az1,x\n"));
    let broken = [
        "prices",
        "import",
        "broken.csv",
        "--from",
        "skypilot",
        "--provider",
        "aws",
        "-o",
        "x.csv",
    ];
    sandbox.run(&broken).assert_error(&["line 2", "`dear`"]);
    sandbox
        .run(&["prices", "import", "none.csv", "--from", "aws-offer", "-o", "x.csv"])
        .assert_error(&["none.csv"]);
}
