//! The load generator, and pairs, held against what they claim.
//!
//! `cargo bench --bench load -- --null` measures arrivals on a target that does nothing;
//! `-- --omission` a target that stalls; `-- --aa [--runs N]` one model against itself with another
//! process on one of the CPUs. docs/measurements/load.md has what they said.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use infermark::artifact::find_library;
use infermark::backend::PrepareOptions;
use infermark::error::Result;
use infermark::hardware::{self, process_use};
use infermark::load::{
    self, Arrivals, Batching, Dispatch, Engine, Open, Outcome, SampleOrder, Served, Setup, Source,
    Stop, Target,
};
use infermark::measure::{self, PairPlan, PrepareSpec, Side, WorkerCommand};
use infermark::settings::Settings;
use infermark::stats;
use infermark::units::{Clock, Nanos, RealClock};
use infermark::variant::Optimization;
use infermark::workload::{self, Split, Workload};

const PATIENCE: Nanos = Nanos::from_secs(120);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let number = |flag: &str, default: u32| {
        let at = args.iter().position(|a| a == flag);
        at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    if has("--null") {
        null();
    }
    if has("--omission") {
        omission();
    }
    if has("--aa")
        && let Err(error) = against_itself(number("--runs", 60))
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    if !["--null", "--omission", "--aa"].into_iter().any(has) {
        println!("nothing measured: give --null, --omission or --aa");
    }
    ExitCode::SUCCESS
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

fn open(rate: f64, seconds: u64, sessions: u16, targets: &mut [Box<dyn Target + '_>]) -> Served {
    let open = Open { rate: Some(rate), arrivals: Arrivals::Poisson };
    let duration = Nanos::from_secs(seconds);
    let times = load::schedule(&open, duration, 7).expect("a sound rate");
    let engine = Engine::new(Setup {
        source: Source::Schedule(times),
        batching: Batching::Fixed(1),
        sessions,
        queue: None,
        samples: SampleOrder::shuffled(100, 1),
    });
    let stop = Stop::Open { ramp: Nanos(0), duration, grace: Nanos::from_secs(5) };
    load::drive(engine, targets, &RealClock::start(), stop)
}

fn at(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    stats::order_statistic(values, p).expect("there are observations")
}

/// Answers at once.
struct Null;
impl Target for Null {
    fn serve(&mut self, _: &Dispatch) -> Outcome {
        Outcome::Ok
    }
}

fn null() {
    println!(
        "| arrivals | sessions | requests | lag p50 µs | p99 µs | p99.9 µs | CPU of a core | load average before |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (rate, sessions) in [(10_000.0, 1), (50_000.0, 1), (10_000.0, 2), (50_000.0, 2)] {
        let average = load_average();
        let mut targets: Vec<Box<dyn Target>> =
            (0..sessions).map(|_| Box::new(Null) as Box<dyn Target>).collect();
        let before = process_use();
        let served = open(rate, 10, sessions, &mut targets);
        let ticks = process_use().cpu_ticks - before.cpu_ticks;
        let mut lags: Vec<f64> =
            served.observations.iter().map(|o| o.lag().0 as f64 / 1e3).collect();
        println!(
            "| Poisson {rate}/s | {sessions} | {} | {:.1} | {:.1} | {:.1} | {:.0} % | {average} |",
            lags.len(),
            at(&mut lags, 0.5),
            at(&mut lags, 0.99),
            at(&mut lags, 0.999),
            // Ticks of 10 ms over 10 s.
            ticks as f64 / 10.0,
        );
    }
}

/// Takes 100 µs, and once a second 200 ms.
struct Stalls {
    clock: RealClock,
    next: Nanos,
}
impl Target for Stalls {
    fn serve(&mut self, _: &Dispatch) -> Outcome {
        let now = self.clock.now();
        let length = if now >= self.next {
            self.next = self.next + Nanos::from_secs(1);
            Nanos::from_millis(200)
        } else {
            Nanos(100_000)
        };
        self.clock.sleep_until(now + length);
        Outcome::Ok
    }
}

fn omission() {
    let clock = RealClock::start();
    let mut targets: Vec<Box<dyn Target>> =
        vec![Box::new(Stalls { clock, next: clock.now() + Nanos::from_millis(500) })];
    let (rate, seconds) = (1000.0, 20);
    let served = open(rate, seconds, 1, &mut targets);
    let all = || served.observations.iter();
    let mut due: Vec<f64> = all().map(|o| o.latency().as_millis_f64()).collect();
    let mut sent: Vec<f64> = all().map(|o| o.service().as_millis_f64()).collect();
    println!("\n{rate} requests a second for {seconds} s, a stall of 200 ms once a second");
    println!("| timed from | p50 ms | p90 ms | p99 ms | max ms |\n|---|---|---|---|---|");
    for (name, values) in [("the scheduled time", &mut due), ("the actual send", &mut sent)] {
        println!(
            "| {name} | {:.2} | {:.1} | {:.1} | {:.1} |",
            at(values, 0.5),
            at(values, 0.9),
            at(values, 0.99),
            at(values, 1.0)
        );
    }
}

/// The encoder against itself, one thread, while something else keeps one CPU busy.
fn against_itself(runs: u32) -> Result<()> {
    let settings = Settings::from_environment();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
    let workload = Workload::read(&folder.join("sentiment.toml"))?;
    let resolved = workload::resolve(workload, Split::Test, &folder, &settings.cache)?;
    let library = find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?;
    let side = || -> Result<Side> {
        Ok(Side {
            name: "the model".to_owned(),
            program: WorkerCommand {
                program: PathBuf::from(env!("CARGO_BIN_EXE_infermark")),
                args: vec!["worker".into()],
                cpus: None,
            },
            spec: PrepareSpec::alone(
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
            ),
        })
    };
    let plan = |seed| PairPlan {
        first: 0,
        pairs: 6,
        rounds: 20,
        burst: Nanos::from_millis(10),
        warmup: Nanos::from_millis(100),
        samples: resolved.data.samples,
        seed,
        patience: PATIENCE,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let busy = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut x = 1.0_f64;
            while !stop.load(Ordering::Relaxed) {
                x = std::hint::black_box(x * 1.000_000_1 + 1e-9);
            }
        })
    };
    println!(
        "\n{}, one thread, one CPU busy with something else",
        hardware::detect().hardware_class
    );
    let (mut held, mut widths, mut blocks, mut block_widths) = (0, Vec::new(), 0, Vec::new());
    for run in 0..runs {
        let flag = Arc::new(AtomicBool::new(false));
        let (mut paired, mut whole) = (Vec::new(), Vec::new());
        measure::compare(&side()?, &side()?, plan(u64::from(run)), &flag, &mut |_, bursts| {
            paired.push(bursts.log_ratio()?);
            Ok(())
        })?;
        // Blocks: each side's whole process on its own, the same inferences in one piece.
        for pair in 0..6 {
            let mut middles = Vec::new();
            for _ in 0..2 {
                let side = side()?;
                let middle = measure::alone(&side, plan(u64::from(run * 6 + pair)), &flag)?;
                middles.push(middle);
            }
            whole.push((middles[1] / middles[0]).ln());
        }
        let judge = |values: &[f64]| {
            let found = stats::hodges_lehmann(values, stats::CONFIDENCE).expect("pairs were run");
            (found.low <= 0.0 && found.high >= 0.0, 50.0 * (found.high - found.low))
        };
        let (ok, width) = judge(&paired);
        let (block_ok, block_width) = judge(&whole);
        held += u32::from(ok);
        blocks += u32::from(block_ok);
        widths.push(width);
        block_widths.push(block_width);
        eprintln!("run {run}: bursts {ok} ±{width:.2} %, blocks {block_ok} ±{block_width:.2} %");
    }
    stop.store(true, Ordering::Relaxed);
    busy.join().expect("a loop that ends");
    println!("| compared by | runs | interval holds 1 | half-width, median | 90 % of runs below |");
    println!("|---|---|---|---|---|");
    for (name, held, mut widths) in
        [("alternating bursts", held, widths), ("whole processes in turn", blocks, block_widths)]
    {
        println!(
            "| {name} | {runs} | {held} | ±{:.2} % | ±{:.2} % |",
            at(&mut widths, 0.5),
            at(&mut widths, 0.9)
        );
    }
    Ok(())
}
