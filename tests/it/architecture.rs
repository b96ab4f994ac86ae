//! Who may import whom. The table is the one of docs/pipeline.md; anything not listed is forbidden.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Module → what it may use of the crate, besides `units` and `error`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("artifact", &[]),
    ("error", &[]),
    ("hardware", &[]),
    ("load", &[]),
    ("stats", &[]),
    ("simulate", &["load"]),
    ("units", &[]),
    ("variant", &[]),
    ("quality", &["stats"]),
    ("graph", &["variant"]),
    ("backend", &["graph", "variant", "hardware"]),
    ("compress", &["graph", "quality", "variant"]),
    ("workload", &["artifact", "variant", "graph", "load", "quality"]),
    ("store", &["stats", "load", "quality"]),
    (
        "measure",
        &[
            "artifact", "backend", "compress", "graph", "hardware", "load", "quality", "stats",
            "store", "variant", "workload",
        ],
    ),
    ("economics", &["store", "stats", "hardware"]),
    ("gate", &["quality", "stats", "store"]),
    ("report", &["store", "stats", "load", "quality", "economics", "gate"]),
    (
        "settings",
        &["artifact", "hardware", "load", "quality", "stats", "store", "variant", "workload"],
    ),
    (
        "cli",
        &[
            "artifact",
            "backend",
            "compress",
            "economics",
            "gate",
            "graph",
            "hardware",
            "load",
            "measure",
            "quality",
            "report",
            "settings",
            "stats",
            "store",
            "variant",
            "workload",
        ],
    ),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Modules of the crate that a source text names in `crate::…` paths, nested lists included.
fn used(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut word) = (1, String::new());
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (c.is_ascii_alphanumeric() || c == '_') {
                    word.push(c);
                } else {
                    if depth == 1 && c == ':' && !word.is_empty() {
                        found.push(std::mem::take(&mut word));
                    }
                    word.clear();
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            let name = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
            found.push(name.collect());
        }
    }
    found
}

#[test]
fn imports_go_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut forbidden = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(may_use) = allowed.get(module) else {
            forbidden.push(format!("{module} is not in the table"));
            continue;
        };
        for other in used(&std::fs::read_to_string(&file).unwrap()) {
            let free = [module, "units", "error"];
            if !free.contains(&other.as_str()) && !may_use.contains(&other.as_str()) {
                forbidden.push(format!("{}: {module} → {other}", relative.display()));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden imports:\n{}", forbidden.join("\n"));
}

#[test]
fn the_scanner_sees_every_form() {
    let text = "use crate::store;\nuse crate::{backend::{a, b}, load::c};\n\
                // crate::cli\nfn f() { crate::stats::median(&[]); }";
    assert_eq!(used(text), ["store", "backend", "load", "stats"]);
}

#[test]
fn rooms_are_small() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", file.display());
    }
}
