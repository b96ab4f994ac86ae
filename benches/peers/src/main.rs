//! Infermark's candle backend beside other ways to run an encoder.
//!
//! Both sides are live workers that take turns in short bursts of the same real inputs, over fresh process
//! pairs. `cargo run --release -- [--pairs N] [--rounds N] [--threads 1,2] [--batch 1,8] [--only PEER]`, from
//! this folder; Infermark's own binary must have been built. With `--kernels` it prints what candle's kernels
//! reach instead, and with `--features avx512` candle's peers get the kernels that Infermark asks for.

mod kernels;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use infermark::artifact::find_library;
use infermark::backend::PrepareOptions;
use infermark::load::Batching;
use infermark::measure::{self, PairPlan, PrepareSpec, Side, WorkerCommand};
use infermark::settings::Settings;
use infermark::units::Nanos;
use infermark::variant::Optimization;
use infermark::workload::{self, Split, Workload};
use infermark::{error::Result, hardware, stats};

/// What Infermark's candle backend is held against.
const PARTNERS: [&str; 5] =
    ["infermark candle:cpu", "infermark ort:cpu", "candle-transformers", "candle-onnx", "tract"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "worker") {
        return match worker::serve(&args[at + 1]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    if args.iter().any(|a| a == "--kernels") {
        return match kernels::print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    match compare(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The message alone: candle's errors carry a backtrace.
fn failed(error: &anyhow::Error) -> ExitCode {
    let text = format!("{error:#}");
    eprintln!("error: {}", text.lines().next().unwrap_or_default());
    ExitCode::FAILURE
}

/// The numbers of an option, or what they are without it.
fn numbers(args: &[String], flag: &str, default: &[u32]) -> Vec<u32> {
    let given = args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1));
    match given {
        Some(text) => text.split(',').filter_map(|n| n.parse().ok()).collect(),
        None => default.to_vec(),
    }
}

fn compare(args: &[String]) -> Result<()> {
    let (pairs, rounds) = (numbers(args, "--pairs", &[6])[0], numbers(args, "--rounds", &[20])[0]);
    let wanted = args.iter().position(|a| a == "--only").and_then(|at| args.get(at + 1));
    let settings = Settings::from_environment();
    let base = workload::unpack(&settings.cache)?;
    let workload = Workload::read(&base.join("sentiment.toml"))?;
    let resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
    let library = find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?;
    let program =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/infermark"));
    let own = WorkerCommand { program, args: vec!["worker".into()], cpus: None };
    println!("{}, {} products of candle's peers\n", hardware::detect().hardware_class, products());
    println!("| against | threads | batch | their p50 by ours | 95 % interval |");
    println!("| --- | --- | --- | --- | --- |");
    for name in PARTNERS.into_iter().filter(|name| wanted.is_none_or(|w| w == name)) {
        for threads in numbers(args, "--threads", &[1, 2]) {
            for batch in numbers(args, "--batch", &[1, 8]) {
                let spec = |backend: &str| -> Result<PrepareSpec> {
                    let library = (library.path.clone(), library.sha256.clone());
                    let options = PrepareOptions {
                        threads: threads as usize,
                        optimization: Optimization::All,
                        spinning: true,
                        library: (backend == "ort:cpu").then_some(library),
                        weights: resolved.outline.weights,
                        tuning: infermark::backend::Tuning::default(),
                    };
                    let (model, data) = (resolved.variants[0].clone(), resolved.data.path.clone());
                    Ok(PrepareSpec {
                        batching: Batching::Fixed(batch),
                        ..PrepareSpec::alone(model, backend.parse()?, options, data)
                    })
                };
                let (backend, program) = match name.strip_prefix("infermark ") {
                    Some(backend) => (backend, own.clone()),
                    None => ("candle:cpu", partner(name)),
                };
                let side =
                    |name: &str, program, spec| Side { name: name.to_owned(), program, spec };
                let b = side(name, program, spec(backend)?);
                let a = side("infermark", own.clone(), spec("candle:cpu")?);
                let plan = PairPlan {
                    first: 0,
                    pairs,
                    rounds,
                    burst: Nanos::from_millis(20),
                    warmup: Nanos::from_millis(1500),
                    samples: resolved.data.samples,
                    seed: 1,
                    patience: Nanos::from_secs(120),
                };
                let mut found = Vec::new();
                let flag = Arc::new(AtomicBool::new(false));
                let run = measure::compare(&a, &b, plan, &flag, &mut |_, bursts| {
                    found.push(bursts.log_ratio()?);
                    Ok(())
                });
                match (run, stats::hodges_lehmann(&found, stats::CONFIDENCE)) {
                    (Ok(()), Some(hl)) => println!(
                        "| {name} | {threads} | {batch} | {:.2} | {:.2} – {:.2} |",
                        hl.estimate.exp(),
                        hl.low.exp(),
                        hl.high.exp()
                    ),
                    (Err(error), _) => {
                        println!("| {name} | {threads} | {batch} | FAILED: {error} | |")
                    }
                    (Ok(()), None) => {
                        println!("| {name} | {threads} | {batch} | no pairs | |")
                    }
                }
            }
        }
    }
    Ok(())
}

fn products() -> &'static str {
    if cfg!(feature = "avx512") { "AVX-512" } else { "as shipped, AVX2" }
}

fn partner(name: &str) -> WorkerCommand {
    let itself = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("infermark-peers"));
    WorkerCommand { program: itself, args: vec!["worker".into(), name.into()], cpus: None }
}
