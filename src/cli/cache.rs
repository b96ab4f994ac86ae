//! `infermark cache`: what was fetched and built, and removing it.

use clap::Subcommand;
use serde::Serialize;

use super::output::{self, Format};
use crate::artifact::Entry;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::units::Bytes;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List what is in the cache, with its size
    List {
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove what is in the cache; it is fetched or built anew when it is needed
    Clean {
        /// Only entries whose name contains this
        part: Option<String>,
        /// Remove everything
        #[arg(long, conflicts_with = "part", required_unless_present = "part")]
        all: bool,
    },
}

#[derive(Serialize)]
struct List<'a> {
    path: String,
    size_bytes: Bytes,
    entries: &'a [Entry],
}

pub(super) fn execute(command: &Command, settings: &Settings) -> Result<()> {
    let cache = &settings.cache;
    match command {
        Command::List { format } => {
            let entries = cache.entries()?;
            let size_bytes = sum(&entries);
            let rows = entries.iter().map(|e| [e.name.clone(), e.size_bytes.0.to_string()]);
            let text = match format {
                Format::Json => {
                    let path = cache.root().display().to_string();
                    output::json(&List { path, size_bytes, entries: &entries })?
                }
                Format::Csv => output::csv(&["name", "size_bytes"], rows)?,
                Format::Md => output::markdown(&["name", "size_bytes"], rows),
                Format::Table => entries.iter().fold(String::new(), |text, e| {
                    text + &format!("{:>10}  {}\n", e.size_bytes.to_string(), e.name)
                }),
            };
            output::figures(&text)?;
            if *format == Format::Table {
                output::say(&format!("{size_bytes} in {}", cache.root().display()));
            }
            Ok(())
        }
        Command::Clean { part, all: _ } => {
            let removed = cache.clean(part.as_deref())?;
            if let (Some(part), true) = (part, removed.is_empty()) {
                return Err(Error::input(format!("`{part}`"), "is in the name of no entry")
                    .remedy("`infermark cache list` shows them"));
            }
            for entry in &removed {
                output::say(&format!("removed {}", entry.name));
            }
            output::say(&format!("{} freed", sum(&removed)));
            Ok(())
        }
    }
}

fn sum(entries: &[Entry]) -> Bytes {
    Bytes(entries.iter().map(|e| e.size_bytes.0).sum())
}
