//! Ways to pay, currencies, carbon, bands and several runs at once, by the command line.

use super::plans::{near, returns, row, rows};
use super::sandbox::Sandbox;

/// Hours of a week in which there is demand, as a profile.
fn busy_hours(count: usize) -> String {
    (0..168).map(|hour| if hour < count { "1\n" } else { "0\n" }).collect()
}

#[test]
fn a_commitment_of_37_percent_pays_above_63_percent_of_the_hours() {
    let sandbox = Sandbox::new();
    let plan = "[demand]\nrate = \"1/s\"\nprofile = \"p.csv\"\n[fleet]\nat_least = 0\nlag_hours = 0\nautoscaled = true\n\
                [[option]]\nname = \"a\"\ncapacity_per_s = 10.0\nusd_per_hour = 1.0\nusd_per_hour_1y = 0.63\n";
    sandbox.write("money.toml", plan);
    let args = ["cost", "--plan", "money.toml", "--format", "json", "--term"];
    let cost = |hours: usize, term: &str| {
        sandbox.write("p.csv", busy_hours(hours));
        sandbox.run(&[&args[..], &[term]].concat()).assert_fine().json()
    };
    // 105 of 168 hours are 62.5 %, 107 are 63.7 %.
    for (hours, committed) in [(105, 0), (107, 1)] {
        let json = cost(hours, "on-demand,1y,blended");
        let of = |term: &str| {
            json["rows"].as_array().unwrap().iter().find(|r| r["term"] == term).unwrap().clone()
        };
        near(&of("blended")["break_even_share"], 0.63, 1e-12);
        assert_eq!(of("blended")["mix"]["committed"], committed, "{hours}");
        let hourly = of("stated")["usd_per_month"].as_f64().unwrap();
        near(&of("stated")["usd_per_month"], hours as f64 / 168.0 * 730.0, 1e-9);
        // What is committed is paid for in the hours in which it idles, too.
        near(&of("1y")["usd_per_month"], 0.63 * 730.0, 1e-9);
        near(&of("blended")["usd_per_month"], hourly.min(0.63 * 730.0), 1e-9);
    }
    sandbox.run(&[&args[..], &["3y"]].concat()).assert_error(&["option `a`", "usd_per_hour_3y"]);
    let ran = sandbox.run(&[&args[..], &["5y"]].concat());
    assert!(ran.code != Some(0) && ran.stderr.contains("`5y` is none of"), "{}", ran.stderr);
}

#[test]
fn spot_costs_its_interruptions_and_owned_machines_their_life() {
    let json = rows(
        "[demand]\nrate = \"35/s\"\n[spot]\ninterruptions_per_month = 0.1\nhours_lost = 0.5\nusd_each = 2.0\nfloor = 1\n\
         [[option]]\nname = \"cloud\"\ncapacity_per_s = 10.0\nusd_per_hour = 1.0\nusd_per_hour_spot = 0.3\n\
         [[option]]\nname = \"rack\"\ncapacity_per_s = 10.0\n[option.owned]\ncapital_usd = 36000.0\nlife_months = 36.0\n\
         watts = 500.0\npue = 1.2\nusd_per_kwh = 0.1\nhosting_usd_per_month = 100.0\n",
        &["--term", "spot"],
    );
    let rate = -(0.9_f64.ln()) / 730.0;
    let spot = 0.3 * (1.0 + rate * 0.5) + rate * 2.0;
    // Four machines, one of which is never on spot.
    near(&row(&json, "cloud")["usd_per_month"], (3.0 * spot + 1.0) * 730.0, 1e-9);
    assert_eq!(row(&json, "cloud")["term"], "spot");
    let month = 36_000.0 / 36.0 + 0.5 * 1.2 * 730.0 * 0.1 + 100.0;
    near(&row(&json, "rack")["usd_per_month"], 4.0 * month, 1e-6);
    assert_eq!(row(&json, "rack")["term"], "owned");
    near(&row(&json, "rack")["carbon"]["kwh_per_month"], 4.0 * 0.5 * 1.2 * 730.0, 1e-9);
    assert_eq!(row(&json, "rack")["carbon"]["provenance"], "estimate");
}

#[test]
fn amounts_are_shown_in_the_currency_that_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "money.toml",
        "[demand]\nrate = \"5/s\"\n[[option]]\nname = \"a\"\ncapacity_per_s = 10.0\nusd_per_hour = 1.25\n",
    );
    let args = ["cost", "--plan", "money.toml", "--discount", "10%"];
    let cost = |more: &[&str]| sandbox.run(&[&args[..], more].concat());
    cost(&["--currency", "EUR"]).assert_error(&["EUR", "--rate"]);
    cost(&["--currency", "EUR", "--rate", "EUR=1.25"]).assert_error(&["EUR=1.08@2026-11-20"]);
    let euros = ["--currency", "EUR", "--rate", "EUR=1.25@2026-11-20"];
    let csv = cost(&[&euros[..], &["--format", "csv"]].concat()).assert_fine().stdout.clone();
    let mut lines = csv.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cells: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cell = |name: &str| cells[head.iter().position(|h| *h == name).unwrap()];
    assert_eq!(cell("BillingCurrency"), "EUR");
    let number = |name: &str| cell(name).parse::<f64>().unwrap();
    for (name, wanted) in [
        ("ListUnitPrice", 1.0),
        ("ContractedUnitPrice", 0.9),
        ("PricingQuantity", 730.0),
        ("ListCost", 730.0),
        ("ContractedCost", 657.0),
        ("EffectiveCost", 657.0),
    ] {
        assert!((number(name) - wanted).abs() < 1e-9, "{name}: {}", number(name));
    }
    assert_eq!(cell("PricingCategory"), "Standard");
    let table = cost(&euros).assert_fine().stdout.clone();
    assert!(table.contains("EUR/month") && table.contains("2026-11-20"), "{table}");
    // JSON stays in USD and says what it was shown in.
    let json = cost(&[&euros[..], &["--format", "json"]].concat()).assert_fine().json();
    near(&json["rows"][0]["usd_per_month"], 821.25, 1e-9);
    assert_eq!(json["currency"]["code"], "EUR");
}

#[test]
fn latency_and_quality_are_worth_what_the_user_says() {
    let json = rows(
        "[demand]\nrate = \"1M/month\"\n[value]\nusd_per_1m_per_ms = 2.0\nusd_per_wrong_answer = 0.01\n\
         [[option]]\nname = \"b\"\nusd_per_month = 500.0\nlatency_ms = 40.0\naccuracy = 0.90\n\
         [baseline]\nusd_per_month = 1000.0\nlatency_ms = 90.0\naccuracy = 0.92\n",
        &[],
    );
    let versus = &row(&json, "b")["versus_baseline"];
    near(&versus["latency_value_per_month"], 100.0, 1e-9);
    near(&versus["quality_loss_per_month"], 200.0, 1e-6);
    near(&returns(&json, "b")["saving_per_month"], 500.0 + 100.0 - 200.0, 1e-6);
    // The bill's share is of the bill.
    near(&returns(&json, "b")["saving_share"], 0.5, 1e-12);
}

#[test]
fn demand_grows_into_more_machines_and_larger_bills_by_the_request() {
    let json = rows(
        "[demand]\nrate = \"95/s\"\ngrowth_per_month = 0.1\n\
         [[option]]\nname = \"fleet\"\ncapacity_per_s = 10.0\nusd_per_hour = 1.0\n\
         [[option]]\nname = \"api\"\nusd_per_1k = 0.01\n[[option]]\nname = \"flat\"\nusd_per_month = 100.0\n",
        &[],
    );
    let fleet: f64 = (0..36).map(|m| (9.5 * 1.1_f64.powi(m)).ceil() * 730.0).sum();
    near(&row(&json, "fleet")["usd_three_years"], fleet, 1e-6);
    let month = row(&json, "api")["usd_per_month"].as_f64().unwrap();
    let all: f64 = (0..36).map(|m| month * 1.1_f64.powi(m)).sum();
    near(&row(&json, "api")["usd_three_years"], all, 1e-6 * all);
    near(&row(&json, "flat")["usd_three_years"], 3600.0, 1e-9);
}

#[test]
fn draws_make_a_band_that_is_the_same_for_the_same_seed() {
    let plan = "[demand]\nrate = \"10M/day\"\n[[option]]\nname = \"a\"\ncapacity_per_s = 1.0\nusd_per_hour = 1.0\n\
                [[option]]\nname = \"b\"\ncapacity_per_s = 4.0\nusd_per_hour = 1.0\n[baseline]\nof = \"a\"\n\
                [change]\nother_usd = 1000.0\n";
    let draw = |seed: &str| rows(plan, &["--draws", "500", "--seed", seed]);
    let (one, same, other) = (draw("7"), draw("7"), draw("8"));
    assert_eq!(row(&one, "b")["band"], row(&same, "b")["band"]);
    assert_ne!(row(&one, "b")["band"], row(&other, "b")["band"]);
    let band = &row(&one, "b")["band"];
    let at = |key: &str| band["usd_per_month"][key].as_f64().unwrap();
    let month = row(&one, "b")["usd_per_month"].as_f64().unwrap();
    assert!(at("p5") < at("p50") && at("p50") < at("p95"), "{band}");
    // Prices may move by 10 % and demand by 20 %, likeliest in the middle.
    assert!((at("p50") / month - 1.0).abs() < 0.02, "{band} {month}");
    assert!(at("p5") > 0.7 * month && at("p95") < 1.32 * month, "{band} {month}");
    assert_eq!(band["pays"], 1.0);
    assert_eq!(row(&one, "a")["band"]["saving_per_month"]["p95"], 0.0);
    // Low and high: prices 10 % either way, a stated capacity having no interval.
    near(&row(&one, "b")["usd_per_month_low"], 0.9 * month, 1e-6);
    near(&row(&one, "b")["usd_per_month_high"], 1.1 * month, 1e-6);
}

const PRICES: &str =
    "provider,instance_type,region,term,currency,usd_per_hour,date,source,vcpus,memory_gib\n";

/// A small real model, measured twice, each in a run of its own.
fn measured_twice(sandbox: &Sandbox) {
    sandbox.write("relu.onnx", super::onnx_file::relu(&[-1, 4]));
    let args = ["run", "relu.onnx", "--concurrency", "1", "--duration", "0.3", "--attempts", "1"];
    for _ in 0..2 {
        sandbox.run(&args).assert_fine();
    }
}

#[test]
fn runs_are_merged_and_whole_machines_are_rented() {
    let sandbox = Sandbox::new();
    measured_twice(&sandbox);
    let runs: Vec<String> = sandbox.runs().iter().map(|p| p.to_str().unwrap().to_owned()).collect();
    let record = |run: &String| {
        let json = sandbox.run(&["runs", "show", run, "--format", "json"]).assert_fine().json();
        json["records"][0].clone()
    };
    let records: Vec<serde_json::Value> = runs.iter().map(record).collect();
    let cpus = records[0]["effective_cpus"]["count"].as_f64().unwrap();
    // A busy machine may make a run INVALID: only valid ones count, if there are any.
    let valid: Vec<&serde_json::Value> =
        records.iter().filter(|r| r["verdict"]["valid"] == true).collect();
    let counted = if valid.is_empty() { records.iter().collect() } else { valid };
    let (big, tiny) = (cpus * 4.0, cpus);
    sandbox.write(
        "own.csv",
        format!(
            "{PRICES}me,big,here,on-demand,USD,1.0,2026-01-02,books,{big},64\n\
             me,big,there-eu,on-demand,USD,0.8,2026-01-02,books,{big},64\n\
             me,tiny,here,on-demand,USD,0.1,2026-01-02,books,{tiny},0.001\n"
        ),
    );
    let cost = |more: &[&str]| {
        let mut args = vec!["cost"];
        args.extend(runs.iter().map(String::as_str));
        args.extend(["--prices", "own.csv", "--demand", "1/s", "--format", "json"]);
        args.extend(more);
        sandbox.run(&args)
    };
    let json = cost(&["--instance", "big,tiny"]).assert_fine().json();
    let all = json["rows"].as_array().unwrap();
    assert_eq!(all.len(), 2, "two runs of one case are one way to serve: {json}");
    let of = |kind: &str| all.iter().find(|r| r["instance_type"] == kind).unwrap();
    assert_eq!(of("big")["runs"], counted.len());
    // The median of two is their mean; the machine has four times the CPUs, and is rented whole.
    let all_of = counted.iter().map(|r| r["throughput_per_s"]["value"].as_f64().unwrap());
    let mean = all_of.sum::<f64>() / counted.len() as f64;
    near(&of("big")["capacity_per_s"], 4.0 * mean, 1e-6 * mean);
    near(&of("big")["usd_per_month"], 730.0, 1e-9);
    // What does not fit its memory is not recommended, however cheap.
    assert!(of("tiny")["excluded"].to_string().contains("GiB of memory"), "{json}");
    let can_be = of("big")["excluded"].as_array().unwrap().is_empty();
    let chosen = |kind: &str| of(kind)["recommended"] == true;
    assert_eq!((chosen("big"), chosen("tiny")), (can_be, false));
    assert!(!can_be || json["binding"].to_string().contains("of memory"), "{json}");
    cost(&["--instance", "big", "--region", ""]).assert_error(&["--region", "empty"]);
    cost(&["--instance", "big", "--region", "nowhere"]).assert_error(&["nowhere", "known are"]);
    let json = cost(&["--instance", "big", "--region", "eu"]);
    json.assert_error(&["Europe"]);
    let json = cost(&["--instance", "big", "--region", "there-eu"]).assert_fine().json();
    near(&json["rows"][0]["usd_per_hour"], 0.8, 1e-12);
}

#[test]
fn what_was_not_measured_is_assumed_only_when_asked_for() {
    let sandbox = Sandbox::new();
    measured_twice(&sandbox);
    let args = ["cost", "latest", "--demand", "1M/day", "--region", "eu", "--format", "json"];
    let plain = sandbox.run(&args).assert_fine().json();
    assert!(plain["rows"].as_array().unwrap().iter().all(|r| r["provenance"] != "assumed"));
    let more = [&args[..], &["--assume", "--top", "5"]].concat();
    let json = sandbox.run(&more).assert_fine().json();
    let all = json["rows"].as_array().unwrap();
    assert_eq!(all.len(), 5, "{json}");
    assert!(json["plans"].as_u64().unwrap() > 40);
    // What was measured comes first and is recommended, whatever an assumed machine would cost.
    assert_ne!(all[0]["provenance"], "assumed");
    // A busy machine may make a run INVALID, which nothing recommends.
    let can_be = all[0]["excluded"].as_array().unwrap().is_empty();
    assert_eq!(all[0]["recommended"], can_be);
    assert!(all[1..].iter().all(|r| r["provenance"] == "assumed" || r["provenance"] == "pro-rata"));
    for row in all {
        let region = row["region"].as_str().unwrap();
        assert!(region.contains("eu"), "{region}");
        assert!(row["carbon"].is_null() || row["carbon"]["provenance"] == "estimate");
    }
    let table = sandbox.run(&["cost", "latest", "--demand", "1M/day", "--assume", "--top", "3"]);
    let table = table.assert_fine().stdout.clone();
    assert!(table.contains("plans are shown"), "{table}");
    assert!(!can_be || table.contains("bound by the fleet"), "{table}");
}

#[test]
fn a_saving_is_what_bills_differ_by_in_every_month() {
    // A flat bill does not grow with demand, a fleet does: what is saved at first is lost at last.
    let json = rows(
        "[demand]\nrate = \"1M/day\"\ngrowth_per_month = 0.1\n[change]\nother_usd = 1000.0\n\
         [[option]]\nname = \"fleet\"\ncapacity_per_s = 12.0\nusd_per_hour = 2.0\n\
         [baseline]\nusd_per_month = 8000.0\n",
        &[],
    );
    let fleet = row(&json, "fleet");
    let all = 36.0 * 8000.0 - fleet["usd_three_years"].as_f64().unwrap();
    near(&returns(&json, "fleet")["npv"], all - 1000.0, 1e-6 * all.abs());
    assert!(all < 0.0 && returns(&json, "fleet")["saving_per_month"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_break_even_is_a_volume_and_not_a_share_of_todays() {
    // One machine of either serves little demand: the change pays at any volume, whatever today's is.
    let machines = "[[option]]\nname = \"old\"\nusd_per_hour = 3.06\ncapacity_per_s = 50.0\n\
                    [[option]]\nname = \"new\"\nusd_per_hour = 0.34\ncapacity_per_s = 80.0\n\
                    [baseline]\nof = \"old\"\n[change]\nother_usd = 4000.0\n";
    for rate in ["50/s", "1/s"] {
        let json = rows(&format!("[demand]\nrate = \"{rate}\"\n{machines}"), &[]);
        near(&row(&json, "new")["versus_baseline"]["break_even_requests"], 0.0, 0.0);
    }
    // Against a price by the request a machine pays from a volume on, the same one from wherever it is asked.
    let api = "[[option]]\nname = \"api\"\nusd_per_1k = 0.1\n[[option]]\nname = \"own\"\nusd_per_hour = 1.0\n\
               capacity_per_s = 1000.0\n[baseline]\nof = \"api\"\n[change]\nother_usd = 3600.0\n";
    for rate in ["20M/month", "200M/month"] {
        let json = rows(&format!("[demand]\nrate = \"{rate}\"\n{api}"), &[]);
        // 730 for the machine and 100 of the change a month, at 0.0001 a request.
        near(&row(&json, "own")["versus_baseline"]["break_even_requests"], 8.3e6, 1.0);
    }
}

#[test]
fn flags_win_over_the_file_one_by_one_and_none_is_ignored() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "money.toml",
        "[demand]\nrate = \"50/s\"\nshape = \"office\"\npeak_to_mean = 2.0\n\
         [[option]]\nname = \"slow\"\nusd_per_hour = 1.0\ncapacity_per_s = 10.0\nlatency_ms = 900.0\n",
    );
    let cost = |more: &[&str]| {
        let args = ["cost", "--plan", "money.toml", "--format", "json"];
        sandbox.run(&[&args[..], more].concat())
    };
    let json = |more: &[&str]| cost(more).assert_fine().json();
    let month = |json: &serde_json::Value| json["rows"][0]["usd_per_month"].as_f64().unwrap();
    let plain = month(&json(&[]));
    assert!((month(&json(&["--demand", "50/s"])) - plain).abs() < 1e-9, "the file's shape stays");
    assert!(month(&json(&["--shape", "flat"])) < plain);
    assert!(month(&json(&["--peak", "3"])) > plain);
    cost(&["--slo", "p99<50ms"]).assert_error(&["nearest", "900.0 ms"]);
    cost(&["--slo", "p98<50ms"]).assert_error(&["p98", "p99.9"]);
    cost(&["--min-accuracy", "much"]).assert_error(&["--min-accuracy"]);
    cost(&["--instance", "c7a.xlarge"]).assert_error(&["no run is named"]);
    cost(&["--growth", "3"]).assert_error(&["growth_per_month"]);
    cost(&["--demand", "1e15/s"]).assert_error(&["trillion"]);
    let many = ["--demand", "1e12/s", "--term", "blended"];
    cost(&many).assert_error(&["more machines than can be counted"]);
}

#[test]
fn the_question_of_the_field_is_answered_without_a_demand() {
    let sandbox = Sandbox::new();
    measured_twice(&sandbox);
    let mut args = vec!["cost", "latest", "--slo", "p99<5000ms", "--region", "eu", "--top", "5"];
    let table = sandbox.run(&args);
    // A busy machine may make the run INVALID, which no bound is met by.
    if table.code == Some(0) {
        assert!(table.stdout.contains("NO --demand: planned for 1M/day"), "{}", table.stdout);
    } else {
        table.assert_error(&["no case can be chosen"]);
    }
    args.extend(["--max-usd-month", "2000"]);
    sandbox.run(&args).assert_error(&["--demand"]);
    // What the baseline names is found, however dear it is.
    let args = ["cost", "latest", "--demand", "1M/day", "--instance", "c7a.xlarge,c7a.4xlarge"];
    let more = ["--baseline", "as-given@c7a.4xlarge", "--top", "1", "--format", "json"];
    let json = sandbox.run(&[&args[..], &more].concat()).assert_fine().json();
    assert!(
        json["rows"][0]["versus_baseline"]["returns"]["saving_share"].as_f64() > Some(0.0),
        "{json}"
    );
    sandbox.write(
        "clash.toml",
        "[[option]]\nname = \"as-given\"\nusd_per_month = 5.0\n[demand]\nrate = \"1/s\"\n",
    );
    sandbox.run(&["cost", "latest", "--plan", "clash.toml"]).assert_error(&["option `as-given`"]);
}
