//! Instructions an inference, counted by callgrind: the same on a noisy machine as on a quiet one.
//!
//! Two runs of one worker differ by some batches, and so do their counts: starting, loading and the first inference
//! cancel. Valgrind runs the program on a CPU of its own making, without AVX-512, so the count is of other kernels than
//! those that are timed, and is never compared with one of another ISA.

use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::{Worker, WorkerCommand};
use super::pairs::Side;
use super::protocol::{Burst, Command, Event};
use crate::error::{Error, Result};
use crate::units::Nanos;

/// Batches that the longer run has more than the shorter one.
const BATCHES: u32 = 16;
/// How much slower a program may be below valgrind than by itself.
const SLOWER: u64 = 200;

/// What was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Instructions read (callgrind's `Ir`) a batch, of either side.
    pub per_batch: [f64; 2],
    /// Extensions of the CPU that the programs saw.
    pub isa: Vec<String>,
    /// The counting program, e.g. `valgrind-3.19.0`.
    pub counter: String,
}

/// Counts the instructions a batch of two sides, by one counter on one ISA, with one thread.
pub fn count_instructions(
    sides: [&Side; 2],
    patience: Nanos,
    interrupted: &Arc<AtomicBool>,
) -> Result<Counted> {
    let counter = version()?;
    let isa = isa_below_valgrind()?;
    let patience = Nanos(patience.0.saturating_mul(SLOWER));
    let mut per_batch = [0.0; 2];
    for (side, count) in sides.into_iter().zip(&mut per_batch) {
        let few = run(side, 1, patience, interrupted)?;
        let many = run(side, 1 + BATCHES, patience, interrupted)?;
        *count = (many as f64 - few as f64) / f64::from(BATCHES);
    }
    Ok(Counted { per_batch, isa, counter })
}

fn version() -> Result<String> {
    let missing = || {
        Error::environment("valgrind", "is not there, and counts the instructions")
            .remedy("install it (Debian: apt-get install valgrind), or leave --instructions out")
    };
    let told = Process::new("valgrind").arg("--version").output().map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    if told.status.success() && !text.is_empty() { Ok(text) } else { Err(missing()) }
}

/// What a program sees of the CPU below valgrind: this one is asked.
fn isa_below_valgrind() -> Result<Vec<String>> {
    let own = WorkerCommand::own()?.program;
    let failed = |why: &dyn std::fmt::Display| {
        Error::environment("valgrind", format!("cannot tell the ISA that it shows: {why}"))
            .remedy("does `valgrind --tool=none infermark isa` run?")
    };
    let mut process = Process::new("valgrind");
    process.args(["--tool=none", "--quiet"]).arg(own).arg("isa");
    let told = process.output().map_err(|e| failed(&e))?;
    if !told.status.success() {
        return Err(failed(&String::from_utf8_lossy(&told.stderr)));
    }
    serde_json::from_slice(&told.stdout).map_err(|e| failed(&e))
}

/// All instructions of a worker that runs so many batches.
fn run(side: &Side, batches: u32, patience: Nanos, interrupted: &Arc<AtomicBool>) -> Result<u64> {
    let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("."), "make a folder", &e))?;
    // A file a process: a command may start another program.
    let out = folder.path().join("callgrind.%p");
    let mut args = vec![
        "--tool=callgrind".into(),
        "--trace-children=yes".into(),
        format!("--callgrind-out-file={}", out.display()).into(),
        "--".into(),
        side.program.program.clone().into(),
    ];
    args.extend(side.program.args.iter().cloned());
    let program = WorkerCommand { program: "valgrind".into(), args, cpus: None };
    let mut spec = side.spec.clone();
    // Threads that wait for each other count their waiting.
    spec.options.threads = 1;
    spec.options.spinning = false;
    let size = spec.batching.size();
    let mut worker =
        Worker::start(&program, &side.name, spec.options.threads, Arc::clone(interrupted))?;
    match worker.ask(&Command::Prepare(Box::new(spec)), patience)?.0 {
        Event::Prepared { .. } => {}
        other => return Err(worker.unexpected(&other)),
    }
    // One sample again and again: the count must not hang on which were drawn.
    let samples = vec![0; (batches * size) as usize];
    match worker.ask(&Command::Burst(Burst { samples }), patience)?.0 {
        Event::BurstDone => {}
        other => return Err(worker.unexpected(&other)),
    }
    worker.quit_and_wait(patience)?;
    let entries =
        std::fs::read_dir(folder.path()).map_err(|e| Error::io(folder.path(), "list", &e))?;
    let mut sum = None;
    for entry in entries {
        let path = entry.map_err(|e| Error::io(folder.path(), "list", &e))?.path();
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", &e))?;
        if let Some(count) = total(&text) {
            *sum.get_or_insert(0) += count;
        }
    }
    sum.ok_or_else(|| {
        Error::environment("valgrind", "wrote no count of instructions")
            .remedy("does `valgrind --tool=callgrind true` write a `summary:`?")
    })
}

/// The sum of the `summary:` lines of a callgrind profile; `totals:` where there are none.
fn total(profile: &str) -> Option<u64> {
    let sum = |key: &str| {
        let counts = profile
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
        let counts: Vec<u64> = counts.collect();
        (!counts.is_empty()).then(|| counts.iter().sum())
    };
    sum("summary:").or_else(|| sum("totals:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_a_profile() {
        let profile =
            "version: 1\nevents: Ir\nsummary: 1200\n\nfn=(1) main\n16 400\ntotals: 1300\n";
        assert_eq!(total(profile), Some(1200));
        assert_eq!(total("events: Ir\ntotals: 7 9\n"), Some(7));
        assert_eq!(total("nothing"), None);
    }
}
