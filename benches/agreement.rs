//! Does Infermark measure what a bare loop measures?
//!
//! Infermark's worker and a bare loop around ONNX Runtime (one in Rust in this file, one in
//! Python in `bare_loop.py`) are live together and take turns in short bursts of the same inputs,
//! 1 thread, over fresh process pairs. Run with
//! `cargo bench --bench agreement -- [--python PYTHON] [--pairs N] [--rounds N]`, PYTHON having
//! onnxruntime and numpy.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use infermark::artifact::{Library, find_library};
use infermark::backend::PrepareOptions;
use infermark::measure::{self, Command, Event, PairPlan, PrepareSpec, Side, WorkerCommand};
use infermark::settings::Settings;
use infermark::units::Nanos;
use infermark::variant::Optimization;
use infermark::workload::{self, Resolved, Split, Workload};
use infermark::{error::Result, hardware, stats};

const PATIENCE: Nanos = Nanos::from_secs(120);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value =
        |flag: &str| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1)).cloned();
    if args.iter().any(|a| a == "bare-loop") {
        bare_loop();
        return ExitCode::SUCCESS;
    }
    let number =
        |flag: &str, default| value(flag).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (pairs, rounds) = (number("--pairs", 12), number("--rounds", 40));
    match compare(pairs, rounds, value("--python")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(pairs: u32, rounds: u32, python: Option<String>) -> Result<()> {
    let settings = Settings::from_environment();
    let workload = Workload::read(&workload::unpack(&settings.cache)?.join("magika.toml"))?;
    let resolved = workload::resolve(workload, Split::Test, Path::new("."), &settings.cache)?;
    let library = find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?;
    let own = WorkerCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_infermark")),
        args: vec!["worker".into()],
        cpus: None,
    };
    let itself = std::env::current_exe().expect("a running program has a path");
    let bare = WorkerCommand { program: itself, args: vec!["bare-loop".into()], cpus: None };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bare_loop.py");
    let mut partners =
        vec![("infermark itself (A/A)", own.clone()), ("a bare loop in Rust (`ort`)", bare)];
    if let Some(python) = python {
        let command =
            WorkerCommand { program: python.into(), args: vec![script.into()], cpus: None };
        partners.push(("a bare loop in Python (`onnxruntime`)", command));
    }
    let host = hardware::detect();
    println!("{}, ONNX Runtime library {}\n", host.hardware_class, library.sha256);
    println!("| against | p50 ratio | 95 % interval | process pairs | bursts each |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, partner) in partners {
        let differences = differences(&own, &partner, &resolved, &library, (pairs, rounds))?;
        let hl = stats::hodges_lehmann(&differences, stats::CONFIDENCE).expect("pairs were run");
        println!(
            "| {name} | {:.4} | {:.4} – {:.4} | {pairs} | {rounds} |",
            hl.estimate.exp(),
            hl.low.exp(),
            hl.high.exp(),
        );
    }
    Ok(())
}

/// Of each pair of fresh processes the median log ratio of Infermark's latency to the partner's.
fn differences(
    own: &WorkerCommand,
    partner: &WorkerCommand,
    resolved: &Resolved,
    library: &Library,
    (pairs, rounds): (u32, u32),
) -> Result<Vec<f64>> {
    let spec = PrepareSpec::alone(
        resolved.variants[0].clone(),
        "ort:cpu".parse()?,
        PrepareOptions {
            threads: 1,
            optimization: Optimization::All,
            spinning: true,
            library: Some((library.path.clone(), library.sha256.clone())),
            weights: resolved.outline.weights,
            tuning: infermark::backend::Tuning::default(),
        },
        resolved.data.path.clone(),
    );
    let side = |name: &str, program: &WorkerCommand| Side {
        name: name.to_owned(),
        program: program.clone(),
        spec: spec.clone(),
    };
    let plan = PairPlan {
        first: 0,
        pairs,
        rounds,
        burst: Nanos::from_millis(10),
        warmup: Nanos::from_millis(200),
        samples: resolved.data.samples,
        seed: 1,
        patience: PATIENCE,
    };
    let mut found = Vec::new();
    let (a, b) = (side("the partner", partner), side("infermark", own));
    let flag = Arc::new(AtomicBool::new(false));
    measure::compare(&a, &b, plan, &flag, &mut |_, bursts| {
        found.push(bursts.log_ratio()?);
        Ok(())
    })?;
    Ok(found)
}

/// ONNX Runtime in a plain loop: the least that can be written with `ort`.
#[expect(clippy::disallowed_methods, reason = "the partner must not use Infermark's clock")]
fn bare_loop() {
    use ort::session::{Session, builder::GraphOptimizationLevel};
    use ort::value::TensorRef;
    use std::time::Instant;

    let mut session: Option<Session> = None;
    let mut rows: Vec<Vec<i32>> = Vec::new();
    let origin = Instant::now();
    let now = || u64::try_from(origin.elapsed().as_nanos()).expect("less than 500 years");
    let run = |session: &mut Session, row: &[i32]| {
        let shape = [1_usize, row.len()];
        let input = TensorRef::from_array_view((shape, row)).expect("a tensor");
        let outputs = session.run(ort::inputs!["bytes" => input]).expect("an inference");
        let (_, scores) = outputs[0].try_extract_tensor::<f32>().expect("scores");
        std::hint::black_box(scores.to_vec());
    };
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        let command: Command = serde_json::from_str(&line).expect("a command");
        let event = match command {
            Command::Prepare(spec) => {
                let (library, sha256) = spec.options.library.clone().expect("a library");
                let environment =
                    ort::init_from(&library).expect("a library").build().expect("an environment");
                session = Some(
                    Session::builder(&environment)
                        .and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::All)?))
                        .and_then(|b| Ok(b.with_intra_threads(spec.options.threads)?))
                        .and_then(|mut b| b.commit_from_file(&spec.variant.path))
                        .expect("a session"),
                );
                let data = workload::Dataset::read(&spec.data).expect("the data");
                rows = data
                    .samples()
                    .iter()
                    .map(|sample| match sample.0[0].1.data() {
                        infermark::variant::TensorData::I32(row) => row.clone(),
                        other => panic!("i32 inputs, not {}", other.dtype()),
                    })
                    .collect();
                let runtime = infermark::backend::RuntimeInfo {
                    name: "bare".to_owned(),
                    version: String::new(),
                    path: Some(library),
                    sha256: Some(sha256),
                };
                Event::Prepared {
                    facts: infermark::backend::PreparedFacts {
                        device: "bare".to_owned(),
                        runtime,
                        threads: spec.options.threads,
                        shapes: infermark::variant::ShapePolicy::Dynamic,
                        load: Nanos(0),
                        compile: Nanos(0),
                        weights: spec.options.weights,
                        numerics: Vec::new(),
                    },
                }
            }
            Command::Warm { .. } => {
                let session = session.as_mut().expect("prepared");
                (0..20).for_each(|i| run(session, &rows[i]));
                Event::Warmed { first: Nanos(0), batches: 20, peak_rss: None, tuning: Nanos(0) }
            }
            Command::Burst(burst) => {
                let session = session.as_mut().expect("prepared");
                let mut timed = Vec::new();
                for (batch, sample) in burst.samples.iter().enumerate() {
                    let start = now();
                    run(session, &rows[*sample as usize]);
                    timed.push([
                        start,
                        start,
                        start,
                        now(),
                        batch as u64,
                        0,
                        u64::from(*sample),
                        0,
                    ]);
                }
                let rows = Event::Observations { rows: timed };
                writeln!(out, "{}", serde_json::to_string(&rows).expect("json")).expect("a reader");
                Event::BurstDone
            }
            _ => Event::Bye,
        };
        writeln!(out, "{}", serde_json::to_string(&event).expect("json")).expect("a reader");
        if event == Event::Bye {
            return;
        }
    }
}
