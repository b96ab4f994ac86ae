//! Fleets, returns and targets by the command line: examples of the field, right and wrong as published.

use super::sandbox::Sandbox;

/// Rows of `cost --plan` for a file of assumptions.
pub(crate) fn rows(plan: &str, more: &[&str]) -> serde_json::Value {
    let sandbox = Sandbox::new();
    sandbox.write("money.toml", plan);
    let args = [&["cost", "--plan", "money.toml", "--format", "json"], more].concat();
    sandbox.run(&args).assert_fine().json()
}

pub(crate) fn row<'a>(json: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    json["rows"].as_array().unwrap().iter().find(|row| row["variant"] == name).unwrap()
}

#[track_caller]
pub(crate) fn near(value: &serde_json::Value, wanted: f64, within: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - wanted).abs() <= within, "{value}, not {wanted}");
}

pub(crate) fn returns<'a>(json: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    &row(json, name)["versus_baseline"]["returns"]
}

#[test]
fn bills_that_were_published_right() {
    // $150 a day for a million requests, then $30.
    let json = rows(
        "[demand]\nrate = \"1M/day\"\n[[option]]\nname = \"before\"\nusd_per_day = 150.0\n\
         [[option]]\nname = \"after\"\nusd_per_day = 30.0\n[baseline]\nof = \"before\"\n",
        &[],
    );
    near(&row(&json, "before")["usd_per_request"], 0.00015, 1e-12);
    near(&row(&json, "after")["usd_per_request"], 0.00003, 1e-12);
    near(&returns(&json, "after")["saving_share"], 0.80, 1e-9);

    // $8,000 a month becomes $1,800 at three points less, inside a limit of $2,000 and 90 %.
    let json = rows(
        "[demand]\nrate = \"1M/day\"\n[[option]]\nname = \"int8\"\nusd_per_month = 1800.0\n\
         accuracy = 0.91\nlatency_ms = 30.0\n[baseline]\nusd_per_month = 8000.0\nlatency_ms = 120.0\n\
         accuracy = 0.94\n",
        &[
            "--max-usd-month",
            "2000",
            "--min-speedup",
            "4",
            "--min-accuracy",
            "0.90",
            "--max-drop",
            "0.03",
            "--min-saving",
            "70%",
        ],
    );
    let int8 = row(&json, "int8");
    near(&returns(&json, "int8")["saving_share"], 0.775, 1e-9);
    near(&int8["versus_baseline"]["quality_change"], -0.03, 1e-9);
    assert_eq!(int8["targets"].as_array().unwrap().len(), 5);
    assert!(int8["targets"].as_array().unwrap().iter().all(|t| t["met"] == true), "{int8}");
    assert_eq!(int8["recommended"], true);

    for (before, after, change) in [(1.20, 0.07, 0.9417), (0.12, 0.02, 0.8333)] {
        let json = rows(
            &format!(
                "[demand]\nrate = \"100k/day\"\n[[option]]\nname = \"a\"\nusd_per_1k = {before}\n\
                 [[option]]\nname = \"b\"\nusd_per_1k = {after}\n[baseline]\nof = \"a\"\n"
            ),
            &[],
        );
        near(&returns(&json, "b")["saving_share"], change, 5e-5);
    }
    let json = rows(
        "[demand]\nrate = \"1M/day\"\n[[option]]\nname = \"b\"\nusd_per_month = 3200.0\n\
         [baseline]\nusd_per_month = 18000.0\n",
        &[],
    );
    near(&returns(&json, "b")["saving_share"], 0.8222, 5e-5);
}

#[test]
fn the_price_of_an_hour_says_nothing_of_a_request() {
    // Published as −88.89 %, which is the machines' prices; requests fall by 93.06 %.
    let json = rows(
        "[demand]\nrate = \"50/s\"\n\
         [[option]]\nname = \"p3.2xlarge\"\nusd_per_hour = 3.06\ncapacity_per_s = 50.0\nlatency_ms = 150.0\n\
         [[option]]\nname = \"c5.2xlarge\"\nusd_per_hour = 0.34\ncapacity_per_s = 80.0\n\
         [baseline]\nof = \"p3.2xlarge\"\n[change]\nhours = 40.0\nusd_per_hour = 100.0\n",
        &[],
    );
    let (gpu, cpu) = (row(&json, "p3.2xlarge"), row(&json, "c5.2xlarge"));
    near(&gpu["usd_per_1m_saturated"], 17.00, 0.005);
    near(&cpu["usd_per_1m_saturated"], 1.18, 0.005);
    let share = 1.0
        - cpu["usd_per_1m_saturated"].as_f64().unwrap()
            / gpu["usd_per_1m_saturated"].as_f64().unwrap();
    assert!((share - 0.9306).abs() < 5e-5, "{share}");
    // A replica of either serves the demand: what is saved is the difference of two machines.
    assert_eq!((&gpu["replicas"], &cpu["replicas"]), (&1.into(), &1.into()));
    near(&returns(&json, "c5.2xlarge")["saving_per_month"], 1985.60, 0.005);
    // Published as a week.
    near(&returns(&json, "c5.2xlarge")["payback_months"], 2.01, 0.005);
    // 50 a second of 150 ms each.
    near(&gpu["in_flight"], 7.5, 1e-9);
}

#[test]
fn three_times_the_requests_at_the_same_price_are_three_times_as_cheap() {
    let json = rows(
        "[demand]\nrate = \"300/s\"\n\
         [[option]]\nname = \"a\"\nusd_per_hour = 1.0\ncapacity_per_s = 10.0\n\
         [[option]]\nname = \"b\"\nusd_per_hour = 1.0\ncapacity_per_s = 30.0\n[baseline]\nof = \"a\"\n",
        &[],
    );
    near(&row(&json, "b")["versus_baseline"]["cheaper"], 3.0, 1e-9);
    assert_eq!(
        (&row(&json, "a")["replicas"], &row(&json, "b")["replicas"]),
        (&30.into(), &10.into())
    );
}

#[test]
fn small_savings_do_not_pay_a_week_of_work_back_soon() {
    let json = rows(
        "[demand]\nrate = \"100k/day\"\n[[option]]\nname = \"a\"\nusd_per_1k = 0.30\n\
         [[option]]\nname = \"b\"\nusd_per_1k = 0.20\n[baseline]\nof = \"a\"\n\
         [change]\nhours = 40.0\nusd_per_hour = 100.0\nmonths = 12\n",
        &[],
    );
    near(&returns(&json, "b")["payback_months"], 13.2, 0.06);
    assert!(returns(&json, "b")["npv"].as_f64().unwrap() < 0.0);
}

#[test]
fn a_faster_model_does_not_shrink_what_is_one_machine_already() {
    // Four machines of $2,233.80 a month; four times as fast needs one, and one costs more than $2,000.
    let json = rows(
        "[demand]\nrate = \"180/s\"\n\
         [[option]]\nname = \"fp32\"\nusd_per_hour = 3.06\ncapacity_per_s = 50.0\n\
         [[option]]\nname = \"int8\"\nusd_per_hour = 3.06\ncapacity_per_s = 200.0\n[baseline]\nof = \"fp32\"\n",
        &["--max-usd-month", "2000"],
    );
    near(&row(&json, "int8")["usd_per_month"], 2233.80, 0.005);
    assert_eq!(row(&json, "int8")["targets"][0]["met"], false);
    assert!(json["advice"].as_str().unwrap().contains("misses max_usd_per_month"), "{json}");
    // A script can tell.
    let sandbox = Sandbox::new();
    let option = "[[option]]\nname = \"a\"\nusd_per_month = 2233.8\n";
    sandbox.write("money.toml", format!("[demand]\nrate = \"1/s\"\n{option}"));
    let args = ["cost", "--plan", "money.toml", "--strict", "--max-usd-month"];
    assert_eq!(sandbox.run(&[&args[..], &["2000"]].concat()).code, Some(2));
    assert_eq!(sandbox.run(&[&args[..], &["3000"]].concat()).code, Some(0));
}

#[test]
fn bad_assumptions_are_told_apart() {
    let sandbox = Sandbox::new();
    let option = "[[option]]\nname = \"a\"\nusd_per_hour = 1.0\ncapacity_per_s = 10.0\n";
    for (plan, more, says) in [
        (format!("[demand]\nrate = \"0/s\"\n{option}"), &[][..], "not above 0"),
        (
            format!("[demand]\nrate = \"1/s\"\n{}", option.replace("10.0", "0.0")),
            &[],
            "capacity_per_s",
        ),
        (
            format!("[demand]\nrate = \"1/s\"\n{}", option.replace("1.0", "-1.0")),
            &[],
            "usd_per_hour",
        ),
        (option.to_owned(), &[], "--demand"),
        (format!("[demand]\nrate = \"1/s\"\n{option}[baseline]\nof = \"b\"\n"), &[], "`b`"),
        (format!("[demand]\nrate = \"1/s\"\n{option}"), &["--slo", "fast"], "p99<50ms"),
        (format!("[demand]\nrate = \"1/s\"\nprofile = \"none.csv\"\n{option}"), &[], "none.csv"),
        (format!("[demand]\nrate = \"1/s\"\n{option}"), &["--min-saving", "much"], "--min-saving"),
        (format!("[demand]\nrate = \"1/s\"\n{option}"), &["--utilization", "1.5"], "utilization"),
    ] {
        sandbox.write("money.toml", plan);
        let args = [&["cost", "--plan", "money.toml"], more].concat();
        sandbox.run(&args).assert_error(&[says]);
    }
    // A target without a demand is not ignored.
    sandbox.write("money.toml", option);
    let args = ["cost", "--plan", "money.toml", "--max-usd-month", "2000"];
    sandbox.run(&args).assert_error(&["--demand"]);
    sandbox.run(&["cost", "--plan", "missing.toml"]).assert_error(&["missing.toml"]);
}

#[test]
fn measured_rows_are_planned_for_a_demand() {
    let sandbox = Sandbox::new();
    sandbox.write("relu.onnx", super::onnx_file::relu(&[-1, 4]));
    let args = ["run", "relu.onnx", "--concurrency", "1", "--duration", "0.5", "--attempts", "1"];
    sandbox.run(&args).assert_fine();
    let record = sandbox.records()[0].clone();
    let capacity = record["throughput_per_s"]["value"].as_f64().unwrap();
    let mut args = vec!["cost", "latest", "--usd-per-hour", "0.5", "--demand", "10M/day"];
    args.extend(["--shape", "office", "--autoscale", "--redundant", "1", "--format", "json"]);
    let json = sandbox.run(&args).assert_fine().json();
    let without = ["cost", "latest", "--usd-per-hour", "0.5", "--max-usd-month", "2000"];
    sandbox.run(&without).assert_error(&["--demand"]);
    let row = &json["rows"][0];
    // A saturated capacity is planned for at 60 %: DESIGN's formula by hand.
    let demand: Vec<f64> =
        json["demand"]["per_s"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let wanted: Vec<f64> = demand
        .iter()
        .map(|rate| (rate / (capacity * 0.6)).ceil().max((rate / capacity).ceil() + 1.0).max(1.0))
        .collect();
    let kept: f64 = (0..168).map(|h| wanted[h].max(wanted[(h + 167) % 168])).sum();
    near(&row["usd_per_month"], kept * 0.5 * 730.0 / 168.0, 1e-6);
    assert_eq!(
        (&row["capacity_basis"], &row["provenance"]),
        (&"saturated".into(), &"given".into())
    );
    // Nothing keeps to a microsecond; the nearest is named.
    let mut args = vec!["cost", "latest", "--usd-per-hour", "0.5", "--demand", "10M/day"];
    args.extend(["--slo", "p99<0.000001ms"]);
    sandbox.run(&args).assert_error(&["nearest", "as-given"]);
}
