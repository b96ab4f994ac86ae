//! Price lists from the web, from a real server that fails as servers do; and lists too large for memory.

use std::io::Write;
use std::process::Stdio;

use super::sandbox::{Ran, Sandbox};
use super::web_server::{Response, Server};

/// Runs with a cache of the test's own.
fn prices(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let mut command = sandbox.command(&[&["prices"], args].concat());
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    command.output().unwrap().into()
}

fn item(machine: &str, price: f64) -> String {
    format!(
        "{{\"currencyCode\":\"USD\",\"retailPrice\":{price},\"armRegionName\":\"eastus\",\"armSkuName\":\"{machine}\",\
         \"serviceName\":\"Virtual Machines\",\"unitOfMeasure\":\"1 Hour\",\"type\":\"Consumption\",\
         \"productName\":\"Virtual Machines Series\",\"meterName\":\"M\",\"skuName\":\"M\"}}"
    )
}

fn page(items: &[String], next: Option<&str>) -> String {
    let next = next.map_or("null".to_owned(), |url| format!("\"{url}\""));
    format!(
        "{{\"BillingCurrency\":\"USD\",\"Items\":[{}],\"NextPageLink\":{next},\"Count\":1}}",
        items.join(",")
    )
}

/// Three pages; `bad(page, requests before)` answers instead where it does.
fn azure(bad: impl Fn(usize, usize) -> Option<Response> + Send + 'static) -> Server {
    Server::start(move |request, before, base| {
        let number = match &request.path {
            path if path.contains("skip=2") => 3,
            path if path.contains("skip=1") => 2,
            _ => 1,
        };
        if let Some(response) = bad(number, before) {
            return response;
        }
        let tag = format!("\"page-{number}\"");
        if request.headers.get("if-none-match") == Some(&tag) {
            return Response::of(304, "");
        }
        let items = [item(&format!("Standard_D{number}"), number as f64)];
        let next = (number < 3).then(|| format!("{base}/prices?skip={number}"));
        Response::of(200, page(&items, next.as_deref())).with("ETag", &tag)
    })
}

#[test]
fn pages_are_fetched_whole_whatever_the_server_does() {
    let sandbox = Sandbox::new();
    let whole = page(&[item("Standard_D2", 2.0)], None);
    let server = azure(move |number, before| match (number, before) {
        // The middle of a page is where it breaks off first, then the server is busy, then a proxy cuts the text.
        (2, 0) => Some(Response::of(200, whole.clone()).cut(whole.len() / 2)),
        (2, 1) => Some(Response::of(503, "")),
        (2, 2) => Some(Response::of(429, "").with("Retry-After", "0")),
        (2, 3) => Some(Response::of(200, &whole.as_bytes()[..40])),
        _ => None,
    });
    let url = format!("{}/prices", server.base);
    let update = ["update", "azure", "--region", "eastus", "--url", &url, "-o", "azure.csv"];
    let ran = prices(&sandbox, &update);
    ran.assert_fine();
    assert!(ran.stderr.contains("3 pages, 3 of them"), "{}", ran.stderr);
    let list = std::fs::read_to_string(sandbox.path("azure.csv")).unwrap();
    let found: Vec<&str> = list.lines().skip(1).filter_map(|l| l.split(',').nth(1)).collect();
    assert_eq!(found, ["Standard_D1", "Standard_D2", "Standard_D3"]);
    let first = &server.requests()[0].path;
    assert!(first.contains("armRegionName%20eq%20%27eastus%27"), "{first}");
    // Nothing changed: every page is asked for, and none fetched.
    let before = server.requests().len();
    let ran = prices(&sandbox, &update);
    assert!(ran.assert_fine().stderr.contains("3 pages, 0 of them"), "{}", ran.stderr);
    let asked = server.requests().split_off(before);
    assert!(asked.iter().all(|r| r.headers.contains_key("if-none-match")) && asked.len() == 3);
    assert!(std::fs::read_to_string(sandbox.path("azure.csv")).unwrap() == list);
    prices(&sandbox, &[&["--offline"], &update[..]].concat()).assert_error(&["--offline"]);
}

#[test]
fn pages_that_do_not_come_are_an_error_and_what_came_is_kept() {
    let sandbox = Sandbox::new();
    let server = azure(|number, before| (number == 3 && before < 5).then(|| Response::of(500, "")));
    let url = format!("{}/prices", server.base);
    let update = ["update", "azure", "--url", &url, "-o", "azure.csv"];
    prices(&sandbox, &update).assert_error(&["page 3", "5 tries", "500"]);
    assert!(!sandbox.path("azure.csv").exists());
    let ran = prices(&sandbox, &update);
    assert!(ran.assert_fine().stderr.contains("3 pages, 1 of them"), "{}", ran.stderr);

    let elsewhere = Server::start(|_, _, _| {
        Response::of(200, page(&[item("a", 1.0)], Some("http://127.0.0.2:9/next")))
    });
    let url = format!("{}/prices", elsewhere.base);
    prices(&sandbox, &["update", "azure", "--url", &url])
        .assert_error(&["page 2", "another server"]);
    let round = Server::start(|_, _, base| {
        Response::of(200, page(&[item("a", 1.0)], Some(&format!("{base}/again"))))
    });
    let url = format!("{}/prices", round.base);
    prices(&sandbox, &["update", "azure", "--url", &url]).assert_error(&["go round"]);
    let none = Server::start(|_, _, _| Response::of(404, ""));
    let url = format!("{}/prices", none.base);
    prices(&sandbox, &["update", "azure", "--url", &url]).assert_error(&["404"]);
    prices(&sandbox, &["update", "azure", "--region", "a b"]).assert_error(&["`a b`"]);
    prices(&sandbox, &["update", "gcp"]).assert_error(&["--key"]);
}

#[test]
fn a_catalogue_with_a_key_is_read_by_its_tokens() {
    let sandbox = Sandbox::new();
    // n2-standard-4 is 4 cores and 16 GiB, of two SKUs on two pages.
    let sku = |what: &str, nanos: u32| {
        format!(
            "{{\"skuId\":\"x\",\"description\":\"N2 Instance {what} running in Americas\",\"category\":{{\"usageType\":\
             \"OnDemand\"}},\"serviceRegions\":[\"us-central1\"],\"pricingInfo\":[{{\"pricingExpression\":{{\"usageUnit\":\
             \"h\",\"tieredRates\":[{{\"startUsageAmount\":0,\"unitPrice\":{{\"currencyCode\":\"USD\",\"units\":\"0\",\
             \"nanos\":{nanos}}}}}]}}}}]}}"
        )
    };
    let server = Server::start(move |request, _, _| {
        if !request.path.contains("key=secret") {
            return Response::of(403, "");
        }
        let last = request.path.contains("pageToken=two");
        let (sku, token) =
            if last { (sku("Ram", 4_237_000), "") } else { (sku("Core", 31_611_000), "two") };
        Response::of(200, format!("{{\"skus\":[{sku}],\"nextPageToken\":\"{token}\"}}"))
    });
    let url = format!("{}/skus", server.base);
    let ran =
        prices(&sandbox, &["update", "gcp", "--url", &url, "--key", "secret", "-o", "gcp.csv"]);
    assert!(!ran.assert_fine().stderr.contains("secret"), "{}", ran.stderr);
    let args = ["show", "n2-standard-4", "--prices", "gcp.csv", "--format", "csv"];
    let shown = prices(&sandbox, &args).assert_fine().stdout.clone();
    let row = shown.lines().find(|l| l.contains("us-central1,on-demand")).unwrap();
    let price: f64 = row.split(',').nth(8).unwrap().parse().unwrap();
    assert!((price - (4.0 * 0.031_611 + 16.0 * 0.004_237)).abs() < 1e-12, "{row}");
    let ran = prices(&sandbox, &["update", "gcp", "--url", &url, "--key", "wrong"]);
    ran.assert_error(&["403"]);
    assert!(!ran.stderr.contains("wrong"), "{}", ran.stderr);
}

const SKYPILOT: &str = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n\
    z9.xlarge,,,4.0,8.0,,0.4,0.1,us-east-1,use1-az1,x86_64\n";

#[test]
fn a_file_is_resumed_and_fetched_again_only_when_it_changed() {
    let sandbox = Sandbox::new();
    let server = Server::start(|request, before, _| {
        let tag = "\"v1\"";
        if request.headers.get("if-none-match").map(String::as_str) == Some(tag) {
            return Response::of(304, "");
        }
        let from: usize = request
            .headers
            .get("range")
            .and_then(|r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().ok())
            .unwrap_or(0);
        let all = SKYPILOT.as_bytes();
        let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
        let response = Response::of(206, &all[from..]).with("ETag", tag);
        let response = response.with("Content-Range", &range);
        if before == 0 { response.cut(all.len() / 2) } else { response }
    });
    let url = format!("{}/vms.csv", server.base);
    let update = ["update", "skypilot", "--provider", "aws", "--url", &url, "-o", "aws.csv"];
    prices(&sandbox, &update).assert_fine();
    assert_eq!(server.requests().len(), 2, "one broke off, the next went on");
    let ran = prices(&sandbox, &update);
    assert!(ran.assert_fine().stderr.contains("unchanged"), "{}", ran.stderr);
    assert_eq!(server.requests().len(), 3);
    // An address is as good as a file.
    let import = ["import", &url, "--from", "skypilot", "--provider", "aws", "-o", "b.csv"];
    prices(&sandbox, &import).assert_fine();
    let json = prices(&sandbox, &["diff", "aws.csv", "b.csv", "--format", "json"]);
    let json = json.assert_fine().json();
    assert_eq!((&json["same"], &json["changes"]), (&2.into(), &serde_json::json!([])));
}

#[test]
fn two_tables_differ_by_what_changed() {
    let sandbox = Sandbox::new();
    let header = "provider,instance_type,region,term,currency,usd_per_hour,date,source\n";
    let row =
        |kind: &str, usd: f64| format!("me,{kind},here,on-demand,USD,{usd},2026-01-02,books\n");
    sandbox.write("a.csv", [header, &row("x", 1.0), &row("y", 2.0), &row("z", 3.0)].concat());
    sandbox.write("b.csv", [header, &row("x", 1.0), &row("y", 1.5), &row("w", 9.0)].concat());
    let json = prices(&sandbox, &["diff", "a.csv", "b.csv", "--format", "json"]);
    let json = json.assert_fine().json();
    assert_eq!((&json["cheaper"], &json["new"], &json["gone"]), (&1.into(), &1.into(), &1.into()));
    let y = json["changes"].as_array().unwrap().iter().find(|c| c["instance_type"] == "y").unwrap();
    assert_eq!((&y["change"], &y["percent"]), (&"cheaper".into(), &(-25.0).into()));
    let ran = prices(&sandbox, &["diff", "a.csv", "built-in"]);
    assert!(ran.assert_fine().stdout.contains("3 gone"), "{}", ran.stdout);
    prices(&sandbox, &["show", "c7i.huge"]).assert_error(&["c7i.huge"]);
    let ran = prices(&sandbox, &["show", "n2-standard-4"]);
    assert!(ran.assert_fine().stdout.contains("1y"), "{}", ran.stdout);
}

#[test]
fn prices_of_another_currency_need_its_rate() {
    let sandbox = Sandbox::new();
    let header = "provider,instance_type,region,term,currency,usd_per_hour,date,source,vcpus\n";
    sandbox.write("e.csv", format!("{header}me,x,here,on-demand,EUR,2,2026-01-02,books,4\n"));
    let import = ["import", "e.csv", "--from", "csv", "-o", "usd.csv"];
    prices(&sandbox, &import).assert_error(&["EUR", "--rate"]);
    let with = |rate: &str| prices(&sandbox, &[&import[..], &["--rate", rate]].concat());
    with("EUR=1.25@2999-01-01").assert_error(&["has not come"]);
    with("EUR=-1@2026-11-20").assert_error(&["above 0"]);
    with("EUR=1.25@2026-11-20").assert_fine();
    let list = std::fs::read_to_string(sandbox.path("usd.csv")).unwrap();
    assert!(
        list.contains(",USD,2.5,") && list.contains("2 EUR at 1.25 USD of 2026-11-20"),
        "{list}"
    );
}

/// A list far larger than the memory that the program may have.
#[test]
fn an_offer_of_any_size_is_read_in_little_memory() {
    let sandbox = Sandbox::new();
    let script = "ulimit -v 300000; exec \"$0\" prices import - --from aws-offer -o aws.csv";
    let mut command = sandbox.through("sh");
    let program = assert_cmd::cargo::cargo_bin!("infermark");
    command.args(["-c", script, program.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    let write = std::thread::spawn(move || -> std::io::Result<u64> {
        let mut written = 0;
        let mut put = |text: &str| {
            written += text.len() as u64;
            input.write_all(text.as_bytes())
        };
        put(
            "\"FormatVersion\",\"v1.0\"\n\"Disclaimer\",\"x\"\n\"Publication Date\",\"2026-01-02T03:04:05Z\"\n",
        )?;
        put("\"Version\",\"1\"\n\"OfferCode\",\"AmazonEC2\"\n")?;
        put(
            "\"SKU\",\"TermType\",\"Unit\",\"PricePerUnit\",\"Currency\",\"LeaseContractLength\",\"PurchaseOption\",",
        )?;
        put(
            "\"OfferingClass\",\"Location Type\",\"Instance Type\",\"vCPU\",\"Memory\",\"Tenancy\",\"Operating System\",",
        )?;
        put("\"Pre Installed S/W\",\"CapacityStatus\",\"Region Code\",\"PriceDescription\"\n")?;
        let filler = "x".repeat(300);
        for row in 0..1_000_000_u32 {
            // One of a thousand rows is a price of ours.
            let (system, kind) =
                if row % 1000 == 0 { ("Linux", row / 1000) } else { ("Windows", 0) };
            put(&format!(
                "\"S{row}\",\"OnDemand\",\"Hrs\",\"0.25\",\"USD\",\"\",\"\",\"\",\"AWS Region\",\"m{kind}.large\",\"2\",\"8 GiB\",\
                 \"Shared\",\"{system}\",\"NA\",\"Used\",\"us-east-1\",\"{filler}\"\n"
            ))?;
        }
        input.flush()?;
        Ok(written)
    });
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let written = write.join().unwrap().unwrap();
    assert!(written > 400_000_000, "{written}: more than the memory there is");
    assert!(stderr.contains("1000 prices of 1000 machines from 1000000 rows"), "{stderr}");
}

#[test]
fn a_list_that_was_cut_off_or_says_what_cannot_be_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("cut.csv", &SKYPILOT[..SKYPILOT.len() - 30]);
    let import = ["import", "cut.csv", "--from", "skypilot", "--provider", "aws", "-o", "a.csv"];
    prices(&sandbox, &import).assert_error(&["line 2", "cut off?"]);
    assert!(!sandbox.path("a.csv").exists());
    prices(&sandbox, &[&import[..], &["--rate", "EUR=1.1@2026-01-01"]].concat())
        .assert_error(&["--rate"]);
    for stray in
        [&["gcosts", "--region", "mars"][..], &["aws", "--key", "k"], &["azure", "--url", "x"]]
    {
        prices(&sandbox, &[&["update"], stray].concat()).assert_error(&[stray[1]]);
    }
}
