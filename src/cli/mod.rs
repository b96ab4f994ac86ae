//! Arguments → settings → call → exit code. One file a subcommand.

mod cache;
mod compress;
mod cost;
mod doctor;
mod fetching;
mod fit_head;
mod gate;
mod hardware;
mod interrupt;
mod make;
mod model;
mod money;
mod output;
mod plan_rows;
mod prices;
mod prices_import;
mod prices_show;
mod profiles;
mod progress;
mod report;
mod run;
mod runs;
mod runtime;
mod shown;
mod target;
mod variants;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::settings::Settings;

/// Measure what a model costs to serve, on which hardware, in which compressed form.
///
/// Without a command, runs the quickstart workload: fetches a small model and real files, measures
/// it on this machine and prints the table.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Fetch nothing: use what is in the cache, or say what is missing
    #[arg(long, global = true)]
    offline: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measure a model (`.onnx`) or a workload (`.toml`) on this machine
    Run(Box<run::Args>),
    /// List runs, or show one again
    Runs {
        #[command(subcommand)]
        command: runs::Command,
    },
    /// Say what measured cases cost, at this machine's price or others
    Cost(Box<cost::Args>),
    /// Prices of machines, each with its source and date
    Prices {
        #[command(subcommand)]
        command: prices::Command,
    },
    /// Make smaller variants of a model, judged stage by stage
    Compress(compress::Args),
    /// Variants that were made: list, show, approve, reject
    Variants {
        #[command(subcommand)]
        command: variants::Command,
    },
    /// Say what a model is made of, and what each backend can run of it
    Model {
        #[command(subcommand)]
        command: model::Command,
    },
    /// Check that a model answers the same through two backends, and after our passes
    Verify(verify::Args),
    /// Fit a linear head on an encoder's output, on rows that are never measured
    FitHead(fit_head::Args),
    /// Make one page of runs that can be sent: summary, tables, charts, provenance
    Report(report::Args),
    /// Measure a baseline and a candidate in turns, and say whether the change made it slower
    Gate(Box<gate::Args>),
    /// Say what this machine is, can do, and rewards
    Hardware(hardware::Args),
    /// Say what is there for measuring, what is missing, and the remedy
    Doctor(doctor::Args),
    /// List or remove what was fetched and built
    Cache {
        #[command(subcommand)]
        command: cache::Command,
    },
    /// Look at the GPUs and print them as JSON (started by `hardware`)
    #[command(hide = true)]
    Gpus,
    /// Print the CPU's extensions as this process sees them (started below valgrind by `gate`)
    #[command(hide = true)]
    Isa,
    /// Serve the worker protocol on standard input and output (started by `run`)
    #[command(hide = true)]
    Worker,
}

/// How a command ended; the exit codes every command shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// 0
    Fine,
    /// 1; what went wrong has been said.
    Failed,
    /// 2: a negative verdict.
    Negative,
    /// 3: neither can be said.
    Undecided,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is an error, exit code 1.
            let code = u8::from(error.use_stderr());
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(cli) {
        Ok(Ended::Fine) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::from(1),
        Ok(Ended::Negative) => ExitCode::from(2),
        Ok(Ended::Undecided) => ExitCode::from(3),
        Err(error) => {
            output::error(&error);
            ExitCode::from(1)
        }
    }
}

fn dispatch(cli: Cli) -> Result<Ended> {
    let settings = || {
        let mut settings = Settings::from_environment();
        settings.cache = settings.cache.watched_by(Arc::new(fetching::Fetching::default()));
        if cli.offline {
            settings.cache = settings.cache.offline();
        }
        settings
    };
    let fine = |()| Ended::Fine;
    match cli.command {
        Some(Command::Isa) => {
            let isa = crate::hardware::detect().cpu.isa;
            output::figures(&output::json(&isa)?).map(fine)
        }
        Some(Command::Worker) => crate::measure::serve().map(fine),
        Some(Command::Gpus) => hardware::print_gpus().map(fine),
        Some(Command::Report(args)) => report::execute(&args, &settings()),
        Some(Command::Gate(args)) => gate::execute(&args, &settings()),
        Some(Command::Cost(args)) => cost::execute(&args, &settings()),
        Some(Command::Prices { command }) => prices::execute(&command, &settings()).map(fine),
        Some(Command::Model { command }) => model::execute(&command, &settings()).map(fine),
        Some(Command::Compress(args)) => compress::execute(&args, &settings()),
        Some(Command::Variants { command }) => variants::execute(&command, &settings()).map(fine),
        Some(Command::Verify(args)) => verify::execute(&args, &settings()),
        Some(Command::FitHead(args)) => fit_head::execute(&args, &settings()).map(fine),
        Some(Command::Hardware(args)) => hardware::execute(&args, &settings()).map(fine),
        Some(Command::Doctor(args)) => doctor::execute(&args, &settings())
            .map(|well| if well { Ended::Fine } else { Ended::Failed }),
        Some(Command::Cache { command }) => cache::execute(&command, &settings()).map(fine),
        Some(Command::Run(args)) => run::execute(&args, &settings()),
        Some(Command::Runs { command }) => runs::execute(&command, &settings()).map(fine),
        None => run::execute(&run::Args::quickstart(), &settings()),
    }
}
