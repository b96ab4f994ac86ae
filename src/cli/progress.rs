//! Progress on standard error: a bar with the time left on a terminal, a line a case elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::say;
use crate::measure::Observer;
use crate::store::Record;
use crate::units::Nanos;

/// Shows what a run does.
pub(super) struct Progress {
    cases: usize,
    bar: Option<ProgressBar>,
    label: String,
    left: String,
}

impl Progress {
    /// For a plan of `cases`.
    pub(super) fn new(cases: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(cases as u64);
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} [{pos}/{len}] {elapsed} {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { cases, bar, label: String::new(), left: String::new() }
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say(text),
        }
    }
}

impl Observer for Progress {
    fn skipped(&mut self, index: usize, label: &str) {
        self.line(&format!("[{}/{}] {label}: in the run already", index + 1, self.cases));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    fn started(&mut self, index: usize, label: &str, remaining: Nanos) {
        label.clone_into(&mut self.label);
        self.left = format!("about {:.0} s left", remaining.as_secs_f64());
        if self.bar.is_none() {
            say(&format!("[{}/{}] {label}: {}", index + 1, self.cases, self.left));
        }
    }

    fn phase(&mut self, name: &str) {
        if let Some(bar) = &self.bar {
            // The time left first: a narrow terminal cuts the end off.
            bar.set_message(format!("{}: {name}, {}", self.left, self.label));
        }
    }

    fn finished(&mut self, index: usize, record: &Record, again: bool) {
        let at = format!("[{}/{}] {}", index + 1, self.cases, self.label);
        if let Some(error) = &record.failure {
            self.line(&format!("{at}: FAILED: {error}"));
        }
        if again {
            self.line(&format!(
                "{at}: disturbed ({}), measuring again",
                record.verdict.reasons.join("; ")
            ));
        } else if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}
