//! What the rule does over the noise that was recorded: simulated decisions, and what others say of the same data.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{Beta, ContinuousCDF};

use infermark::gate::{Budgets, CaseGate, Metric, Pair, Step, Verdict};
use infermark::stats;

use crate::Places;
use crate::log::{self, Change, Row};

/// Simulated decisions of each effect.
const DECISIONS: usize = 10_000;
const EFFECTS: [f64; 9] = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.10, 0.20];
const BUDGETS: [f64; 3] = [0.03, 0.05, 0.10];
/// Pairs that a decision may take at most, for want of time; 32 and 16 more to confirm is all the rule asks for.
const MOST: [usize; 4] = [8, 16, 32, 48];

pub(crate) fn report(places: &Places) {
    let all = log::table(places);
    println!("{} decisions of {} planned\n", all.len(), log::PLANNED);
    decided(&all);
    let noise = noise(&all);
    power(&noise);
    others(&all);
}

/// How the real program decided.
fn decided(all: &[Row]) {
    println!(
        "| change | other CPU | decisions | PASS | REGRESSION | IMPROVEMENT | TOO NOISY | effect, median | time, median |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for change in [Change::None, Change::Five, Change::Ten] {
        for busy in [false, true] {
            let own: Vec<&Row> =
                all.iter().filter(|d| d.change == change && d.other_cpu_busy == busy).collect();
            let count = |verdict: Verdict| own.iter().filter(|d| d.verdict == verdict).count();
            let median = |of: &dyn Fn(&Row) -> f64| {
                stats::median(&own.iter().map(|d| of(d)).collect::<Vec<_>>()).unwrap_or(f64::NAN)
            };
            let effect = |row: &Row| {
                let found = stats::hodges_lehmann(&row.pairs(), stats::CONFIDENCE);
                found.map_or(f64::NAN, |found| found.estimate.exp_m1())
            };
            println!(
                "| {change:?} | {} | {} | {} | {} | {} | {} | {:+.2} % | {:.0} s |",
                if busy { "busy" } else { "idle" },
                own.len(),
                count(Verdict::Pass),
                count(Verdict::Regression),
                count(Verdict::Improvement),
                count(Verdict::TooNoisy),
                100.0 * median(&effect),
                median(&|d| d.seconds),
            );
        }
    }
    println!();
    for (what, change, verdict) in [
        ("false alarms", Change::None, Verdict::Regression),
        ("undecided, nothing changed", Change::None, Verdict::TooNoisy),
        ("found at 5 %", Change::Five, Verdict::Regression),
        ("passed at 5 %", Change::Five, Verdict::Pass),
        ("found at 10 %", Change::Ten, Verdict::Regression),
        ("passed at 10 %", Change::Ten, Verdict::Pass),
    ] {
        let own: Vec<&Row> = all.iter().filter(|d| d.change == change).collect();
        let hits = own.iter().filter(|d| d.verdict == verdict).count();
        let (low, high) = clopper_pearson(hits, own.len());
        println!(
            "- {what}: {hits} of {} ({:.1} %, 95 % Clopper–Pearson {:.2} to {:.2} %)",
            own.len(),
            100.0 * hits as f64 / own.len().max(1) as f64,
            100.0 * low,
            100.0 * high
        );
    }
    println!();
}

/// The exact interval of a share (Clopper & Pearson 1934).
fn clopper_pearson(hits: usize, all: usize) -> (f64, f64) {
    let (k, n) = (hits as f64, all as f64);
    let beta =
        |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
    let low = if hits == 0 { 0.0 } else { beta(k, n - k + 1.0, 0.025) };
    let high = if hits == all { 1.0 } else { beta(k + 1.0, n - k, 0.975) };
    (low, high)
}

/// Log-ratios of pairs in the order that they were measured in, of decisions where nothing changed; by whether the
/// other CPU was busy.
fn noise(all: &[Row]) -> BTreeMap<bool, Vec<f64>> {
    let mut noise: BTreeMap<bool, Vec<f64>> = BTreeMap::new();
    for row in all.iter().filter(|d| d.change == Change::None) {
        noise
            .entry(row.other_cpu_busy)
            .or_default()
            .extend(row.pairs().into_iter().chain(row.fresh()));
    }
    noise
}

/// A decision by the rule itself on pairs that `next` gives, `most` of them.
fn simulate(budget: f64, most: usize, next: &mut dyn FnMut() -> f64) -> (Verdict, usize) {
    let budgets = Budgets::default().with(Metric::P50, Some(budget));
    let mut gate = CaseGate { budgets, ..CaseGate::default() };
    loop {
        let (count, confirms) = match gate.next() {
            Step::Done => break,
            Step::Measure(count) => (count, false),
            Step::Confirm(count) => (count, true),
        };
        if gate.pairs.len() + gate.fresh.len() + count > most {
            break;
        }
        let list = if confirms { &mut gate.fresh } else { &mut gate.pairs };
        list.extend((0..count).map(|_| Pair { p50: next(), ..Pair::default() }));
    }
    (gate.verdict(), gate.pairs.len() + gate.fresh.len())
}

fn power(noise: &BTreeMap<bool, Vec<f64>>) {
    for (busy, ratios) in noise {
        let middle = stats::median(ratios).unwrap_or(0.0);
        let apart: Vec<f64> = ratios.iter().map(|r| (r - middle).abs()).collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let deviation =
            (ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / ratios.len() as f64).sqrt();
        println!(
            "Noise, other CPU {}: {} pairs ({} times eight that share none), deviation {:.2} % (1.4826 MAD {:.2} %), median {:+.2} %",
            if *busy { "busy" } else { "idle" },
            ratios.len(),
            ratios.len() / 8,
            100.0 * deviation,
            148.26 * stats::median(&apart).unwrap_or(f64::NAN),
            100.0 * middle
        );
    }
    println!("\n{DECISIONS} simulated decisions a row, half of them on either noise:\n");
    println!("| budget | effect | REGRESSION | PASS | TOO NOISY | IMPROVEMENT | pairs, mean |");
    println!("|---|---|---|---|---|---|---|");
    for budget in BUDGETS {
        for effect in EFFECTS {
            row(noise, budget, effect, usize::MAX, &format!("{:.0} %", 100.0 * budget));
        }
    }
    println!("\nThe same with the sides as they were, which shows whether one is favoured:\n");
    println!("| budget | effect | REGRESSION | PASS | TOO NOISY | IMPROVEMENT | pairs, mean |");
    println!("|---|---|---|---|---|---|---|");
    row(noise, 0.05, 0.0, usize::MAX, "5 %, as they were");
    println!("\nThe same at a budget of 5 % with no time for more pairs than:\n");
    println!("| pairs | effect | REGRESSION | PASS | TOO NOISY | IMPROVEMENT | pairs, mean |");
    println!("|---|---|---|---|---|---|---|");
    for most in MOST {
        for effect in [0.0, 0.05, 0.10] {
            row(noise, 0.05, effect, most, &most.to_string());
        }
    }
    println!();
}

fn row(noise: &BTreeMap<bool, Vec<f64>>, budget: f64, effect: f64, most: usize, name: &str) {
    let mut random = ChaCha8Rng::seed_from_u64(23);
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut pairs = 0;
    let noises: Vec<&Vec<f64>> = noise.values().filter(|ratios| !ratios.is_empty()).collect();
    for decision in 0..DECISIONS {
        let ratios = noises[decision % noises.len()];
        // Pairs that followed each other stay together; which side was which is drawn.
        let mut at = random.random_range(0..ratios.len());
        let is_flipped = random.random::<bool>() && !name.ends_with("as they were");
        let sign = if is_flipped { -1.0 } else { 1.0 };
        let (verdict, used) = simulate(budget, most, &mut || {
            at += 1;
            sign * ratios[(at - 1) % ratios.len()] + effect.ln_1p()
        });
        *counts.entry(verdict).or_default() += 1;
        pairs += used;
    }
    let share = |verdict: Verdict| {
        100.0 * counts.get(&verdict).copied().unwrap_or(0) as f64 / DECISIONS as f64
    };
    println!(
        "| {name} | {:.1} % | {:.2} % | {:.2} % | {:.2} % | {:.2} % | {:.1} |",
        100.0 * effect,
        share(Verdict::Regression),
        share(Verdict::Pass),
        share(Verdict::TooNoisy),
        share(Verdict::Improvement),
        pairs as f64 / DECISIONS as f64
    );
}

/// Other rules on the very same observations, and on a baseline that was stored a decision before.
fn others(all: &[Row]) {
    println!("| rule | baseline | false alarms | found at 5 % | found at 10 % |");
    println!("|---|---|---|---|---|");
    let line = |name: &str, baseline: &str, rule: &dyn Fn(&Row) -> Option<bool>| {
        let count = |change: Change| {
            let own = all.iter().filter(|row| row.change == change);
            let said: Vec<bool> = own.filter_map(rule).collect();
            let alarms = said.iter().filter(|alarm| **alarm).count();
            format!("{alarms} of {}", said.len())
        };
        println!(
            "| {name} | {baseline} | {} | {} | {} |",
            count(Change::None),
            count(Change::Five),
            count(Change::Ten)
        );
    };
    let (turns, stored) = ("in turns", "stored a minute before");
    line("infermark gate", turns, &|row| Some(row.verdict == Verdict::Regression));
    for (name, most) in [
        ("bare ratio of medians > 2 %", 1.02),
        ("bare ratio of medians > 5 %", 1.05),
        ("bare ratio of medians > 10 %", 1.1),
        ("bare ratio > 200 %, github-action-benchmark's default", 2.0),
    ] {
        line(name, turns, &|row| Some(row.ratio > most));
        line(name, stored, &|row| row.stored_ratio.map(|ratio| ratio > most));
    }
    let criterion = "criterion's rule on these observations (2,000 resamples)";
    line(criterion, turns, &|row| Some(row.criterion));
    line(criterion, stored, &|row| row.stored_criterion);
    println!();
}
