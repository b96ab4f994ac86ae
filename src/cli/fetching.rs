//! How fetching goes, on standard error: a bar with size and rate on a terminal, a line elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::say;
use crate::artifact::Watch;
use crate::units::Bytes;

/// Shows what is fetched.
#[derive(Default)]
pub(super) struct Fetching {
    bar: Mutex<Option<ProgressBar>>,
}

impl Watch for Fetching {
    fn begin(&self, what: &str, done: Bytes, total: Option<Bytes>) {
        if !std::io::stderr().is_terminal() {
            let size = total.map_or_else(String::new, |t| format!(", {t}"));
            let from = if done.0 > 0 { format!(", going on after {done}") } else { String::new() };
            say(&format!("  fetching {what}{size}{from}"));
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total.0),
            None => ProgressBar::new_spinner(),
        };
        let template = if total.is_some() {
            "  {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}"
        } else {
            "  {spinner} {elapsed} fetching {wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(done.0);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Ok(mut slot) = self.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn advance(&self, done: Bytes) {
        if let Ok(slot) = self.bar.lock()
            && let Some(bar) = slot.as_ref()
        {
            bar.set_position(done.0);
        }
    }

    fn end(&self) {
        if let Ok(mut slot) = self.bar.lock()
            && let Some(bar) = slot.take()
        {
            bar.finish_and_clear();
        }
    }
}
