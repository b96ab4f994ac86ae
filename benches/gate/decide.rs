//! Decisions of the real program on real sessions.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use infermark::gate::{Metric, Session, Verdict};
use infermark::units::{Clock, RealClock};

use crate::Places;
use crate::log::{self, Calibration, Decision};

/// Work that calibration begins with.
const FIRST: u32 = 200;

/// Lets the program decide between no further work and `units` a request.
fn gate(places: &Places, units: u32, more: &[&str]) -> (Option<i32>, Session) {
    let own = std::env::current_exe().expect("a program has a path");
    let pairs = places.folder.join("one.jsonl");
    let _ = std::fs::remove_file(&pairs);
    let command = |units: u32| format!("command:{} worker {units}", own.display());
    let status = Command::new(&places.program)
        .arg("gate")
        .arg(&places.workload)
        .args(["--baseline", &command(0), "--candidate", &command(units)])
        .arg("--pairs")
        .arg(&pairs)
        .args(["--format", "json", "--strict"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("infermark can be started: cargo build --release");
    let sessions = Session::read_all(&pairs).expect("a gate keeps what it measured");
    (status.code(), sessions.into_iter().next().expect("of one case"))
}

fn effect(session: &Session) -> f64 {
    let p50 = session.found.iter().find(|f| f.metric == Metric::P50);
    p50.and_then(|f| f.evidence).expect("p50 was measured").effect
}

/// Finds the units of work that are 5 % and 10 %: a first guess by larger ones, then at the change itself, with as many
/// pairs as a gate takes at most: time is not quite proportional to them.
pub(crate) fn calibrate(places: &Places) {
    std::fs::create_dir_all(&places.folder).expect("the folder can be made");
    let mut units = FIRST;
    let mut one = 0.0;
    for _ in 0..2 {
        let found = effect(&gate(places, units, &[]).1).max(1e-3);
        println!("{units} units a request: {:+.2} %", found * 100.0);
        one = found / f64::from(units);
        units = scaled(1, 0.2 / one);
    }
    let of = |change: f64| {
        let mut units = scaled(1, change / one);
        for _ in 0..2 {
            // No budget can be held so tight, so that all 32 pairs are measured.
            let found = effect(&gate(places, units, &["--p50", "0.0001"]).1).max(1e-3);
            println!("{units} units a request: {:+.2} %", found * 100.0);
            units = scaled(units, change / found);
        }
        units
    };
    let calibration = Calibration { five: of(0.05), ten: of(0.10) };
    println!("{calibration:?}");
    log::keep(&places.folder, calibration);
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some thousands at most"
)]
fn scaled(units: u32, by: f64) -> u32 {
    (f64::from(units) * by).round() as u32
}

/// Goes on with the planned decisions, `most` of them now.
pub(crate) fn decide(places: &Places, most: usize) {
    let calibration = log::calibration(&places.folder).expect("calibrated first: --calibrate");
    let done = log::next(places);
    let clock = RealClock::start();
    for number in (done..log::PLANNED).take(most) {
        let (change, busy) = log::planned(number);
        let before = clock.now();
        let (exit_code, session) = beside(busy, || {
            gate(places, calibration.units(change), &["--seed", &number.to_string()])
        });
        let seconds = (clock.now() - before).as_secs_f64();
        let verdict = session.verdict;
        let expected = match verdict {
            Verdict::Pass | Verdict::Improvement => 0,
            Verdict::Regression => 2,
            Verdict::TooNoisy | Verdict::NoBaseline => 3,
        };
        assert_eq!(exit_code, Some(expected), "the exit code says what the session says");
        println!(
            "{number} {change:?} busy {busy}: {verdict:?}, {:+.2} %, {seconds:.0} s",
            100.0 * effect(&session)
        );
        log::append(
            &places.folder,
            &Decision { number, change, busy, seconds, exit_code, verdict, session },
        );
    }
}

/// Runs `what` while another thread keeps a CPU busy, if asked to.
fn beside<T>(busy: bool, what: impl FnOnce() -> T) -> T {
    if !busy {
        return what();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let spinner = std::thread::spawn(move || {
        let mut number = 1.0_f64;
        while !seen.load(Ordering::Relaxed) {
            for _ in 0..100_000 {
                number = std::hint::black_box(number * 1.000_000_1);
            }
        }
    });
    let result = what();
    stop.store(true, Ordering::Relaxed);
    spinner.join().expect("a spinner ends");
    result
}
