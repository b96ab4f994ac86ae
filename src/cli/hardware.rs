//! `infermark hardware`: what this machine is, can do, and rewards.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::interrupt;
use super::output::{self, Format};
use crate::artifact::find_library;
use crate::error::{Error, Result};
use crate::hardware::{self, Gpus, Profile, Registers, Rewarded, Root};
use crate::measure::{Ended, Probe, Probed, WorkerCommand, run_limited, timestamp};
use crate::settings::Settings;
use crate::units::{Bytes, Nanos};

/// Drivers that take longer than this to be looked at are hanging.
const GPU_PATIENCE: Nanos = Nanos::from_secs(20);
/// Where `--save` writes.
pub(super) const FOLDER: &str = "hardware-profiles";

#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(clap::Args)]
pub(super) struct Args {
    /// Ask the cloud's metadata service which instance this is (at most one second)
    #[arg(long)]
    cloud: bool,
    /// Measure memory bandwidth, products of matrices, clock and the harness's own cost (about a minute, on a
    /// machine that does nothing else); part of the profile as *measured*
    #[arg(long, conflicts_with_all = ["profiles", "profile"])]
    probe: bool,
    /// Write the profile to hardware-profiles/NAME.toml, each fact with its provenance
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Overwrite a profile that is there already
    #[arg(long, requires = "save")]
    force: bool,
    /// List stored profiles: those in hardware-profiles/ and those of the program
    #[arg(long, conflicts_with_all = ["save", "cloud"])]
    profiles: bool,
    /// Print a stored profile
    #[arg(long, value_name = "NAME", conflicts_with_all = ["save", "cloud", "profiles"])]
    profile: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<()> {
    if args.profiles || args.profile.is_some() {
        return super::profiles::print(args.profile.as_deref(), args.format);
    }
    if let Some(name) = &args.save {
        check_name(name)?;
    }
    let asked = if args.cloud { hardware::ask(hardware::SERVICE) } else { None };
    if args.cloud && asked.is_none() {
        output::say("no cloud's metadata service answered within a second; going by the firmware");
    }
    let registers = Registers::live();
    let mut profile = Profile::of(&Root::live(), registers.as_ref(), asked, gpus());
    if args.probe {
        probe(&mut profile, settings)?;
    }
    if let Some(name) = &args.save {
        save(&profile, name, args.force)?;
    }
    let text = match args.format {
        Format::Json => output::json(&profile.to_json())?,
        Format::Table => table(&profile),
        Format::Csv => csv(&profile)?,
        Format::Md => markdown(&profile),
    };
    output::figures(&text)
}

/// Adds what the machine can do, measured now.
fn probe(profile: &mut Profile, settings: &Settings) -> Result<()> {
    let library = find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?;
    let probe = Probe {
        program: WorkerCommand::own()?,
        library: &library,
        cpus: hardware::detect().effective_cpus.count,
        cache: profile.last_level_cache(),
        interrupted: interrupt::flag()?,
    };
    for Probed { key, value, source } in
        probe.run(&mut |what| output::say(&format!("probing: {what}")))?
    {
        if value.is_none() {
            profile.notes.push(format!("{key}: {source}"));
        }
        profile.add_measured(key, value, source);
    }
    Ok(())
}

/// Looks at the GPUs in a process of its own: a driver that crashes or hangs takes only that along.
pub(super) fn gpus() -> Gpus {
    let missing = |why: String| Gpus { notes: vec![format!("GPUs: {why}")], ..Gpus::default() };
    let Ok(program) = std::env::current_exe() else {
        return missing("our own program cannot be found to look with".to_owned());
    };
    let mut command = Command::new(program);
    command.arg("gpus");
    match run_limited(command, Vec::new(), GPU_PATIENCE, None) {
        Ended::Fine(text) => serde_json::from_str(&text)
            .unwrap_or_else(|e| missing(format!("a driver printed into the answer: {e}"))),
        Ended::Failed { how, .. } => missing(format!("looking at them ended with {how}")),
        Ended::TookTooLong => missing("a driver did not answer within 20 s".to_owned()),
        Ended::NotStarted(why) => missing(why),
        Ended::Interrupted => missing("interrupted".to_owned()),
    }
}

/// The hidden command that [`gpus`] runs.
pub(super) fn print_gpus() -> Result<()> {
    output::figures(&output::json(&hardware::gpus())?)
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::input(format!("--save {name}"), "is no plain name")
        .remedy("use letters, digits, `-`, `_` and `.`"))
}

fn save(profile: &Profile, name: &str, force: bool) -> Result<()> {
    let folder = Path::new(FOLDER);
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", &e))?;
    let path = folder.join(format!("{name}.toml"));
    let stored = profile.to_stored(name, &timestamp());
    let text = toml::to_string_pretty(&stored).map_err(|e| Error::internal("profile", e))?;
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true).create_new(!force);
    let mut file = options.open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::input(path.display(), "is there already")
            .remedy("give --force to overwrite it, or another name"),
        _ => Error::io(&path, "write", &e),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| Error::io(&path, "write", &e))?;
    output::say(&format!("profile written to {}", path.display()));
    Ok(())
}

/// A fact's value in words.
fn words(key: &str, value: &Value) -> Vec<String> {
    let bytes =
        |v: &Value| v.as_u64().map_or_else(|| "unknown".to_owned(), |n| Bytes(n).to_string());
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned);
    match (key, value) {
        ("memory.limit_bytes", Value::Null) => vec!["none".to_owned()],
        (_, Value::Number(_)) if key.ends_with("_bytes") => vec![bytes(value)],
        ("cpu.caches", Value::Array(caches)) => caches
            .iter()
            .map(|c| {
                let shared = c["shared_by_cpus"].as_u64();
                let shared = shared.map_or_else(String::new, |n| format!(", shared by {n} CPUs"));
                let (level, kind) = (text(&c["level"]), text(&c["kind"]));
                format!("L{level} {kind} {}{shared}", bytes(&c["size_bytes"]))
            })
            .collect(),
        ("gpus", Value::Array(list)) => list
            .iter()
            .map(|g| {
                let features: Vec<String> =
                    g["features"].as_array().into_iter().flatten().map(text).collect();
                format!(
                    "{} ({}, {}; {}): {}; storage bindings up to {}",
                    text(&g["name"]),
                    text(&g["backend"]),
                    text(&g["device_type"]),
                    text(&g["driver"]),
                    features.join(" "),
                    bytes(&g["limits"]["max_storage_binding_bytes"]),
                )
            })
            .collect(),
        ("nvidia", Value::Array(list)) => list
            .iter()
            .map(|g| {
                format!(
                    "{}: compute capability {}, tensor cores {}, {}, driver {}",
                    text(&g["name"]),
                    text(&g["compute_capability"]),
                    text(&g["tensor_cores"]),
                    bytes(&g["memory_bytes"]),
                    text(&g["driver"]),
                )
            })
            .collect(),
        (_, Value::Object(figures)) => {
            vec![figures.iter().map(|(of, v)| format!("{of}: {v}")).collect::<Vec<_>>().join(", ")]
        }
        (_, Value::Array(list)) => vec![list.iter().map(text).collect::<Vec<_>>().join(" ")],
        (_, Value::Bool(yes)) => vec![if *yes { "yes" } else { "no" }.to_owned()],
        _ => vec![text(value)],
    }
}

fn table(profile: &Profile) -> String {
    let mut text = String::new();
    for fact in &profile.facts {
        let mut lines = words(fact.key, &fact.shown());
        if lines.is_empty() {
            lines.push("none seen".to_owned());
        }
        let mut label = fact.key.strip_suffix("_bytes").unwrap_or(fact.key);
        for line in lines {
            text.push_str(&output::wrapped(&format!("{label:<28} "), &line));
            label = "";
        }
    }
    for note in &profile.notes {
        text.push_str(&output::wrapped("· ", note));
    }
    text.push_str("\nadvice (what the hardware should reward; only a run measures it)\n");
    for advice in &profile.advice {
        let label = format!("{:<28} ", advice.recipe);
        text.push_str(&output::wrapped(
            &label,
            &format!("{}: {}", verdict(advice.rewarded), advice.reason),
        ));
    }
    text
}

fn verdict(rewarded: Rewarded) -> &'static str {
    match rewarded {
        Rewarded::Yes => "rewarded",
        Rewarded::Little => "a little, or sometimes",
        Rewarded::No => "not rewarded",
        Rewarded::Unknown => "unknown",
    }
}

/// Every fact and piece of advice as (key, value, provenance, source).
fn rows(profile: &Profile) -> Vec<[String; 4]> {
    let facts = profile.facts.iter().map(|fact| {
        let value = words(fact.key, &fact.shown()).join("; ");
        [fact.key.to_owned(), value, fact.provenance.to_owned(), fact.source.to_string()]
    });
    let advice = profile.advice.iter().map(|a| {
        let value = format!("{}: {}", verdict(a.rewarded), a.reason);
        [format!("advice: {}", a.recipe), value, a.provenance.clone(), "rules".to_owned()]
    });
    facts.chain(advice).collect()
}

fn csv(profile: &Profile) -> Result<String> {
    output::csv(&["key", "value", "provenance", "source"], rows(profile))
}

fn markdown(profile: &Profile) -> String {
    output::markdown(&["key", "value", "provenance", "source"], rows(profile))
}
