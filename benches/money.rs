//! What pricing takes: a catalogue of a million rows, an offer of gigabytes, and a grid of a thousand cases by a thousand
//! types over the hours of a week. Generated lists, the real program; `--gigabytes N` sizes the offer.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use infermark::units::{Clock, RealClock};

/// Until the program has ended: seconds, and the most memory that it held, in MB.
fn watch(mut child: Child) -> (f64, f64) {
    let clock = RealClock::start();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    loop {
        // The high-water mark only grows: the last reading before the end is the peak but for some milliseconds.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|m| m.split_whitespace().next()?.parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) * 1024.0 / 1e6);
        if let Some(code) = child.try_wait().expect("a child can be waited for") {
            assert!(code.success(), "the program failed");
            return (clock.now().as_secs_f64(), peak);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_infermark"));
    command.args(args).current_dir(folder).stderr(Stdio::null()).stdout(Stdio::null());
    command.env("INFERMARK_REPORTS", folder.join("reports"));
    command
}

fn skypilot(folder: &Path) -> (f64, f64) {
    let mut text = String::from(
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n",
    );
    for row in 0..1_000_000 {
        let (kind, region, zone) = (row / 300, row / 3 % 100, row % 3);
        writeln!(
            text,
            "m{kind}.xlarge,,,4.0,16.0,,0.{:03},0.0{zone}1,region-{region},r{region}-az{zone},x86_64",
            100 + kind % 900
        )
        .expect("a string takes all");
    }
    std::fs::write(folder.join("vms.csv"), text).expect("a list");
    let args =
        ["prices", "import", "vms.csv", "--from", "skypilot", "--provider", "aws", "-o", "own.csv"];
    watch(program(folder, &args).spawn().expect("the program starts"))
}

fn offer(folder: &Path, gigabytes: u64) -> (f64, f64) {
    let args = ["prices", "import", "-", "--from", "aws-offer", "-o", "aws.csv"];
    let mut child =
        program(folder, &args).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut input = BufWriter::with_capacity(1 << 20, child.stdin.take().expect("a pipe"));
    let write = std::thread::spawn(move || -> std::io::Result<()> {
        input.write_all(
            b"\"FormatVersion\",\"v1.0\"\n\"Disclaimer\",\"x\"\n\"Publication Date\",\"2026-01-02T03:04:05Z\"\n\
              \"Version\",\"1\"\n\"OfferCode\",\"AmazonEC2\"\n\"SKU\",\"TermType\",\"Unit\",\"PricePerUnit\",\"Currency\",\
              \"LeaseContractLength\",\"PurchaseOption\",\"OfferingClass\",\"Location Type\",\"Instance Type\",\"vCPU\",\
              \"Memory\",\"Tenancy\",\"Operating System\",\"Pre Installed S/W\",\"CapacityStatus\",\"Region Code\",\
              \"PriceDescription\"\n",
        )?;
        let filler = "x".repeat(900);
        let (mut written, mut row) = (0, 0_u64);
        while written < gigabytes * 1_000_000_000 {
            // One of a thousand is a price of ours, of 2,000 types: as many as AWS has.
            let (system, kind) = if row.is_multiple_of(1000) {
                ("Linux", row / 1000 % 2000)
            } else {
                ("Windows", 0)
            };
            let line = format!(
                "\"S{row}\",\"OnDemand\",\"Hrs\",\"0.25\",\"USD\",\"\",\"\",\"\",\"AWS Region\",\"m{kind}.large\",\"2\",\
                 \"8 GiB\",\"Shared\",\"{system}\",\"NA\",\"Used\",\"r{}\",\"{filler}\"\n",
                row / 2_000_000
            );
            written += line.len() as u64;
            row += 1;
            input.write_all(line.as_bytes())?;
        }
        input.flush()
    });
    let watched = watch(child);
    write.join().expect("the writer ends").expect("the pipe takes all");
    watched
}

/// A run of a thousand cases that differ in what they serve, and a thousand types.
fn grid(folder: &Path) -> (f64, f64) {
    let run = folder.join("reports/20260101T000000-grid-0000");
    std::fs::create_dir_all(&run).expect("a folder");
    let record: serde_json::Value =
        serde_json::from_str(include_str!("record.json")).expect("a record");
    let mut lines = String::new();
    for at in 0..1000_u32 {
        let mut record = record.clone();
        record["case"]["id"] = format!("case{at:04}").into();
        record["case"]["variant"] = format!("variant{at}").into();
        record["provenance"] = "measured".into();
        let rate = 50.0 + f64::from(at);
        record["throughput_per_s"] = serde_json::json!({"value": rate, "low": 0.95 * rate, "high": 1.05 * rate, "unit": "samples"});
        writeln!(lines, "{record}").expect("a string takes all");
    }
    std::fs::write(run.join("records.jsonl"), lines).expect("records");
    let about = serde_json::json!({
        "schema_version": 1, "started_at": "2026-01-01T00:00:00Z", "model": "grid", "conditions": "x",
    });
    std::fs::write(run.join("run.json"), about.to_string()).expect("a run");
    let mut prices = String::from(
        "provider,instance_type,region,term,currency,usd_per_hour,date,source,vcpus,memory_gib,microarchitecture\n",
    );
    for at in 0..1000_u32 {
        writeln!(
            prices,
            "me,t{at},here,on-demand,USD,{},2026-01-02,generated,{},64,Zen4",
            0.1 + f64::from(at % 97) * 0.01,
            2 << (at % 5)
        )
        .expect("a string takes all");
    }
    std::fs::write(folder.join("grid.csv"), prices).expect("prices");
    // 168 hours that all differ: no two of a week's need the same fleet.
    let hours: Vec<String> = (0..168).map(|hour| (100 + hour * 7 % 168).to_string()).collect();
    let profile = hours.join("\n");
    std::fs::write(folder.join("week.csv"), profile).expect("a profile");
    let run = run.to_str().expect("a path");
    let args = [
        "cost",
        run,
        "--prices",
        "grid.csv",
        "--assume",
        "--region",
        "here",
        "--demand",
        "20k/s",
        "--profile",
        "week.csv",
        "--autoscale",
        "--top",
        "20",
    ];
    watch(program(folder, &args).spawn().expect("the program starts"))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = args.iter().position(|a| a == "--gigabytes").and_then(|at| args.get(at + 1));
    let gigabytes = value.map_or(4, |n| n.parse().expect("--gigabytes takes a whole number"));
    let folder = tempfile::tempdir().expect("a folder");
    println!("| what | s | peak MB |\n|---|---|---|");
    for (what, (seconds, peak)) in [
        ("SkyPilot, 1,000,000 rows", skypilot(folder.path())),
        (&*format!("AWS offer, {gigabytes} GB through a pipe"), offer(folder.path(), gigabytes)),
        ("1,000 cases × 1,000 types × 168 hours, --top 20", grid(folder.path())),
    ] {
        println!("| {what} | {seconds:.2} | {peak:.0} |");
    }
}
