//! The gate's rule held against what it claims.
//!
//! `cargo bench --bench gate -- --calibrate` finds how much further work a request is 5 % and 10 %; `-- --decide` lets
//! the real program decide hundreds of times, on real sessions that are the same, or do that much more, and goes on
//! where it was stopped; `-- --power` simulates thousands of decisions over the noise that was recorded, beside a bare
//! ratio and criterion's test. docs/measurements/gate.md has what they said.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot run should say so and stop"
)]

mod decide;
mod log;
mod peers;
mod power;
mod wrapped;

use std::path::PathBuf;
use std::process::ExitCode;

/// Where things are.
struct Places {
    /// The infermark that decides.
    program: PathBuf,
    /// What it is asked to measure.
    workload: PathBuf,
    /// Where decisions are logged.
    folder: PathBuf,
    /// The table of them that is kept.
    table: PathBuf,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let after = |flag: &str| {
        let at = args.iter().position(|a| a == flag)?;
        args.get(at + 1).cloned()
    };
    if args.get(1).is_some_and(|a| a == "worker") {
        let units = args.get(2).and_then(|n| n.parse().ok()).unwrap_or(0);
        return wrapped::serve(units);
    }
    let places = Places {
        program: after("--program").unwrap_or_else(|| "target/release/infermark".into()).into(),
        workload: after("--workload").unwrap_or_else(|| "benches/gate.toml".into()).into(),
        folder: after("--folder").unwrap_or_else(|| "target/gate".into()).into(),
        table: after("--table")
            .unwrap_or_else(|| "docs/measurements/gate-decisions.csv".into())
            .into(),
    };
    let most = after("--most").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    if has("--calibrate") {
        decide::calibrate(&places);
    }
    if has("--decide") {
        decide::decide(&places, most);
    }
    if has("--power") {
        power::report(&places);
    }
    if !["--calibrate", "--decide", "--power"].into_iter().any(has) {
        println!("nothing measured: give --calibrate, --decide or --power");
    }
    ExitCode::SUCCESS
}
