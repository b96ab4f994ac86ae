//! `infermark variants`: what was made, how good it was found, and who may use it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{self, Format};
use crate::error::{Error, Result};
use crate::measure::timestamp;
use crate::settings::Settings;
use crate::variant::{Approval, Card, Decision, cards};
use crate::workload::carded_facts;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List artifacts with their cards
    List {
        /// Where to look; `variants` when left out
        folder: Option<PathBuf>,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show one card, and whether the file is still what it says
    Show {
        /// The artifact (`.onnx`), or the end of its name, e.g. `int8-dynamic`
        variant: String,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Say that a variant may be used
    Approve(Decide),
    /// Say that a variant may not be used
    Reject(Decide),
}

#[derive(clap::Args)]
pub(super) struct Decide {
    /// The artifact (`.onnx`), or the end of its name, e.g. `int8-dynamic`
    variant: String,
    /// Who decides; the user's login name when left out
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) fn execute(command: &Command, settings: &Settings) -> Result<()> {
    match command {
        Command::List { folder, format } => {
            list(folder.as_deref().unwrap_or(&settings.variants), *format)
        }
        Command::Show { variant, format } => show(&find(settings, variant)?, *format),
        Command::Approve(decide) => decided(settings, decide, Approval::Approved),
        Command::Reject(decide) => decided(settings, decide, Approval::Rejected),
    }
}

/// An artifact with its card.
struct Found {
    artifact: PathBuf,
    card: Card,
}

/// The artifact that `name` names: its path, or the end of its file name without `.onnx`.
fn find(settings: &Settings, name: &str) -> Result<Found> {
    let path = Path::new(name);
    if path.is_file() {
        let artifact = path.to_owned();
        return match Card::beside(path)? {
            Some(card) => Ok(Found { artifact, card }),
            None => Err(Error::input(name, "has no card beside it")
                .remedy("only what `infermark compress` makes has one")),
        };
    }
    let mut matching = Vec::new();
    for (path, card) in cards(&settings.variants) {
        let stem = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let stem = stem.trim_end_matches(".card.json");
        let is_named = stem == name || stem.ends_with(&format!(".{name}"));
        if is_named {
            let card = card?;
            matching.push(Found { artifact: path.with_file_name(&card.file), card });
        }
    }
    match matching.len() {
        1 => matching.pop().ok_or_else(|| Error::internal("variants", "lost one")),
        0 => Err(Error::input(format!("variant `{name}`"), "is not there").remedy(format!(
            "`infermark variants list` shows those in {}; give a path for others",
            settings.variants.display()
        ))),
        _ => {
            let all: Vec<String> =
                matching.iter().map(|f| f.artifact.display().to_string()).collect();
            Err(Error::input(format!("variant `{name}`"), "is there more than once")
                .remedy(format!("name one of {}", all.join(", "))))
        }
    }
}

/// What is printed of an artifact.
#[derive(Serialize)]
struct VariantJson<'a> {
    path: &'a Path,
    approval: Approval,
    /// Why the file is not what its card says.
    broken: Option<String>,
    card: &'a Card,
}

fn state(found: &Found) -> VariantJson<'_> {
    let checked = carded_facts(&found.artifact, &found.card);
    VariantJson {
        path: &found.artifact,
        approval: found.card.approval(),
        broken: checked.err().map(|e| e.message().to_owned()),
        card: &found.card,
    }
}

fn list(folder: &Path, format: Format) -> Result<()> {
    let mut found = Vec::new();
    for (path, card) in cards(folder) {
        match card {
            Ok(card) => found.push(Found { artifact: path.with_file_name(&card.file), card }),
            Err(error) => output::say(&format!("warning: {error}")),
        }
    }
    let states: Vec<VariantJson<'_>> = found.iter().map(state).collect();
    if format == Format::Json {
        return output::figures(&output::json(&states)?);
    }
    if states.is_empty() {
        output::say(&format!(
            "no variants in {}; `infermark compress` makes some",
            folder.display()
        ));
        return Ok(());
    }
    let columns = ["model", "recipe", "size", "quality", "approval", "made"];
    let rows: Vec<Vec<String>> = states
        .iter()
        .map(|s| {
            let approval = match &s.broken {
                Some(_) => "BROKEN".to_owned(),
                None => s.approval.to_string(),
            };
            vec![
                s.card.model.clone(),
                s.card.recipe.to_string(),
                s.card.size_bytes.to_string(),
                quality(s.card),
                approval,
                s.card.made_at.chars().take(10).collect(),
            ]
        })
        .collect();
    let text = match format {
        Format::Csv => output::csv(&columns, &rows)?,
        Format::Md => output::markdown(&columns, &rows),
        _ => output::ruled(&columns, &rows),
    };
    output::figures(&text)?;
    for s in &states {
        if let Some(why) = &s.broken {
            output::say(&format!("BROKEN: {} {why}", s.path.display()));
        }
    }
    Ok(())
}

/// The first figure of the last stage that was kept.
fn quality(card: &Card) -> String {
    let last = card.stages.iter().rev().find(|s| s.fate == "kept");
    let figure = last.and_then(|s| s.quality.first());
    figure.map_or_else(|| "–".to_owned(), |f| format!("{} {:.4}", f.metric, f.value))
}

fn show(found: &Found, format: Format) -> Result<()> {
    let state = state(found);
    if format == Format::Json {
        return output::figures(&output::json(&state)?);
    }
    let card = &found.card;
    let mut lines = vec![
        ("variant", found.artifact.display().to_string()),
        ("sha256", card.sha256.clone()),
        ("size", card.size_bytes.to_string()),
        ("model", format!("{}, sha256 {}", card.model, card.parent_sha256)),
        ("recipe", card.recipe.to_string()),
    ];
    if card.applied != card.recipe {
        lines.push(("applied", card.applied.to_string()));
    }
    for stage in &card.parameters {
        let values: Vec<String> = stage.values.iter().map(|(k, v)| format!("{k} {v}")).collect();
        lines.push(("with", format!("{}: {}", stage.stage, values.join(", "))));
    }
    let facts = |f: &crate::variant::SampleFacts| {
        format!("{} samples from {}, sha256 {}", f.samples, f.source, f.sha256)
    };
    lines.extend(card.calibration.as_ref().map(|f| ("calibrated", facts(f))));
    lines.push(("judged on", facts(&card.validation)));
    lines.extend(card.budget.iter().map(|b| ("budget", b.clone())));
    for stage in &card.stages {
        let figures: Vec<String> = stage
            .quality
            .iter()
            .filter(|f| f.segment == crate::quality::ALL)
            .map(|f| format!("{} {:.4}", f.metric, f.value))
            .collect();
        let size = stage.size_bytes.map_or_else(String::new, |b| format!(", {b}"));
        lines.push((
            "stage",
            format!(
                "{} {}{size}, {} nodes, {} kept in float, {}",
                stage.stage,
                stage.fate,
                stage.changed,
                stage.kept.len(),
                figures.join(", ")
            ),
        ));
    }
    lines.extend(card.warnings.iter().map(|w| ("warning", w.clone())));
    lines.push((
        "made",
        format!("{} by infermark {} on {}", card.made_at, card.tool_version, card.runtime),
    ));
    lines.extend(card.approvals.iter().map(|d| {
        let note = d.note.as_ref().map_or_else(String::new, |n| format!(": {n}"));
        let other = if d.sha256 == card.sha256 { "" } else { " (of other bytes)" };
        ("decision", format!("{} {} by {}{note}{other}", d.at, d.approval, d.by))
    }));
    lines.push(("approval", state.approval.to_string()));
    lines.extend(state.broken.iter().map(|why| ("BROKEN", why.clone())));
    let text: String = lines
        .iter()
        .map(|(label, value)| output::wrapped(&format!("{label:<10} "), value))
        .collect();
    output::figures(&text)
}

fn decided(settings: &Settings, decide: &Decide, approval: Approval) -> Result<()> {
    let mut found = find(settings, &decide.variant)?;
    carded_facts(&found.artifact, &found.card)?;
    let by = decide.by.clone().or_else(|| settings.user.clone()).filter(|by| !by.trim().is_empty());
    let by = by.ok_or_else(|| {
        Error::input("--by", "is missing, and the system names no user")
            .remedy("say who decides: --by \"A. Name\"")
    })?;
    found.card.approvals.push(Decision {
        approval,
        by: by.clone(),
        at: timestamp(),
        note: decide.note.clone(),
        sha256: found.card.sha256.clone(),
    });
    found.card.write(&found.artifact)?;
    output::say(&format!("{} {approval} by {by}", found.artifact.display()));
    Ok(())
}
