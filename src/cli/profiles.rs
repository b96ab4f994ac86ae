//! Stored hardware profiles: the user's own in `hardware-profiles/`, and the program's.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::hardware::FOLDER;
use super::output::{self, Format};
use crate::error::{Error, Result};
use crate::hardware::PROFILES;

/// All profiles by name; a file of the user's wins over ours of the same name.
fn all() -> Result<BTreeMap<String, String>> {
    let mut found: BTreeMap<String, String> =
        PROFILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return Ok(found) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|e| e == "toml")
            && let Some(name) = path.file_stem().and_then(|n| n.to_str())
        {
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", &e))?;
            found.insert(name.to_owned(), text);
        }
    }
    Ok(found)
}

/// Prints the profile called `name`, or the list of them.
pub(super) fn print(name: Option<&str>, format: Format) -> Result<()> {
    let all = all()?;
    let Some(name) = name else {
        let names: Vec<&String> = all.keys().collect();
        return output::figures(&match format {
            Format::Json => output::json(&names)?,
            Format::Csv => output::csv(&["profile"], names.iter().map(|n| [n.as_str()]))?,
            Format::Md => output::markdown(&["profile"], names.iter().map(|n| [n.as_str()])),
            Format::Table => names.iter().fold(String::new(), |text, name| text + name + "\n"),
        });
    };
    let text = all.get(name).ok_or_else(|| {
        Error::input(format!("profile `{name}`"), "is not there")
            .remedy("`infermark hardware --profiles` lists them")
    })?;
    let file = Path::new(FOLDER).join(format!("{name}.toml"));
    let bad = |e: &dyn std::fmt::Display| {
        Error::input(file.display(), format!("is no profile: {e}"))
            .remedy("save it again with `infermark hardware --save`")
    };
    let parsed: toml::Table = text.parse().map_err(|e: toml::de::Error| bad(&e.message()))?;
    let json = serde_json::to_value(&parsed).map_err(|e| bad(&e))?;
    let mut rows = Vec::new();
    flatten("", &json, &mut rows);
    let header = ["key", "value", "provenance"];
    output::figures(&match format {
        Format::Json => output::json(&json)?,
        Format::Csv => output::csv(&header, rows)?,
        Format::Md => output::markdown(&header, rows),
        Format::Table => rows
            .iter()
            .map(|[key, value, provenance]| {
                let provenance =
                    if provenance.is_empty() { String::new() } else { format!(" ({provenance})") };
                output::wrapped(&format!("{key:<28} "), &format!("{value}{provenance}"))
            })
            .collect(),
    })
}

/// Facts are tables with a value; everything else is shown as it is.
fn flatten(prefix: &str, json: &Value, rows: &mut Vec<[String; 3]>) {
    match json {
        Value::Object(table) if table.contains_key("value") => {
            let provenance = table.get("provenance").map(text).unwrap_or_default();
            rows.push([prefix.to_owned(), text(&table["value"]), provenance]);
        }
        Value::Object(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, rows);
            }
        }
        other => rows.push([prefix.to_owned(), text(other), String::new()]),
    }
}

/// A value in words that a terminal can wrap.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join("; "),
        Value::Object(table) => {
            let pairs = table.iter().map(|(key, value)| format!("{key} {}", text(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
