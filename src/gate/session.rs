//! What a gate keeps of a case: a line of a history, of which later gates and change points are worked out.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::case::Found;
use super::decision::Verdict;
use super::exact::Exact;
use super::metric::Metric;
use super::pair::Pair;
use crate::error::{Error, Result};
use crate::stats;

/// Version of the lines.
const SCHEMA_VERSION: u32 = 1;

/// One of the two as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// As it was named.
    pub name: String,
    /// SHA-256 of the artifact that it served.
    pub sha256: String,
    /// What served it: `infermark VERSION`, or the words of a command with the hash of its program.
    pub program: String,
    /// What executed it, e.g. `onnxruntime 1.31.1`; as its worker told.
    pub runtime: String,
    /// Median latency in ms over all of its observations.
    pub p50_ms: f64,
}

/// A case as a gate measured it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Version of the schema.
    pub schema_version: u32,
    /// When it was decided, RFC 3339 UTC.
    pub at: String,
    /// Version of infermark.
    pub tool_version: String,
    /// The workload's name.
    pub workload: String,
    /// The baseline's case: a hash of the case as requested and the artifact's sha256.
    pub case_id: String,
    /// It in words.
    pub case: String,
    /// The machine's class.
    pub hardware_class: String,
    /// Extensions of its CPU.
    pub isa: Vec<String>,
    /// The baseline, which is the probe that sessions are compared through.
    pub baseline: Identity,
    /// The candidate.
    pub candidate: Identity,
    /// The worst of what decided.
    pub verdict: Verdict,
    /// What every metric came to.
    pub found: Vec<Found>,
    /// Both sides' figures of what is compared as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exact: Vec<Exact>,
    /// The pairs of fresh processes.
    pub pairs: Vec<Pair>,
    /// Those that a suspicion was confirmed by.
    pub fresh: Vec<Pair>,
    /// Instructions an inference by side, where they were counted, and the ISA that they were counted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Instructions>,
}

/// Instructions of both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instructions {
    /// Of the baseline, an inference.
    pub baseline: f64,
    /// Of the candidate.
    pub candidate: f64,
    /// Extensions that the counted program saw: valgrind shows it another CPU than there is.
    pub isa: Vec<String>,
    /// The counting program.
    pub counter: String,
}

impl Session {
    /// The version of the lines that this infermark writes.
    pub const SCHEMA_VERSION: u32 = SCHEMA_VERSION;

    /// Where a history keeps it: below its hardware class, by the baseline's case and who served it.
    pub fn file(&self) -> PathBuf {
        let plain: String = self
            .hardware_class
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' })
            .collect();
        Path::new(&plain).join(format!("{}.jsonl", self.case_id))
    }

    /// What makes two sessions comparable through their baseline; the rest of the line may differ.
    pub fn probe(&self) -> Probe<'_> {
        Probe {
            case_id: &self.case_id,
            hardware_class: &self.hardware_class,
            isa: &self.isa,
            sha256: &self.baseline.sha256,
            program: &self.baseline.program,
            runtime: &self.baseline.runtime,
        }
    }

    /// The middle of its log-ratios of a metric (Hodges–Lehmann); of what is exact the log-ratio itself, of quality the
    /// difference. `None` where it is not known.
    pub fn middle(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::Instructions {
            let counted = self.instructions.as_ref()?;
            return Some((counted.candidate / counted.baseline).ln());
        }
        if metric.is_exact() {
            let exact = self.exact.iter().find(|exact| exact.metric == metric)?;
            let ratio = || (exact.candidate / exact.baseline).ln();
            return Some(if metric.is_points() {
                exact.candidate - exact.baseline
            } else {
                ratio()
            });
        }
        let all: Option<Vec<f64>> = self.pairs.iter().map(|pair| pair.log_ratio(metric)).collect();
        stats::hodges_lehmann(&all?, stats::CONFIDENCE).map(|found| found.estimate)
    }

    /// The same without the latencies that it is made of.
    #[must_use]
    pub fn without_latencies(&self) -> Self {
        let short = |pairs: &[Pair]| pairs.iter().map(Pair::without_latencies).collect();
        Self { pairs: short(&self.pairs), fresh: short(&self.fresh), ..self.clone() }
    }

    /// Whether it is the same session, whichever of the two kept its latencies.
    pub fn is_same(&self, other: &Self) -> bool {
        let key =
            |s: &Self| (s.at.clone(), s.case_id.clone(), s.candidate.clone(), s.baseline.clone());
        let ratios = |s: &Self| s.pairs.iter().map(|pair| pair.p50).collect::<Vec<_>>();
        key(self) == key(other) && ratios(self) == ratios(other)
    }

    /// Appends it to a file as a line.
    pub fn append(&self, path: &Path) -> Result<()> {
        let mut line = serde_json::to_vec(self).map_err(|e| Error::internal("gate", e))?;
        line.push(b'\n');
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", &e))?;
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|e| Error::io(path, "open", &e))?;
        file.write_all(&line).map_err(|e| Error::io(path, "append the session", &e))
    }

    /// All sessions of a file, or of every `.jsonl` below a folder, in order of their time.
    pub fn read_all(path: &Path) -> Result<Vec<Self>> {
        let mut files = Vec::new();
        list(path, &mut files)?;
        let mut all = Vec::new();
        for file in files {
            read(&file, &mut all)?;
        }
        if all.is_empty() {
            return Err(Error::input(path.display(), "holds no sessions of a gate")
                .remedy("`infermark gate … --store DIR` keeps them there"));
        }
        all.sort_by(|a, b| a.at.cmp(&b.at));
        Ok(all)
    }

    /// Sessions by what they can be compared through.
    pub fn by_probe(all: &[Self]) -> BTreeMap<Probe<'_>, Vec<&Self>> {
        let mut map: BTreeMap<Probe<'_>, Vec<&Self>> = BTreeMap::new();
        for session in all {
            map.entry(session.probe()).or_default().push(session);
        }
        map
    }
}

/// What must be the same for two sessions to be compared through their baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe<'a> {
    /// The machine's class.
    pub hardware_class: &'a str,
    /// The case, with the artifact.
    pub case_id: &'a str,
    /// Extensions of the CPU.
    pub isa: &'a [String],
    /// The artifact.
    pub sha256: &'a str,
    /// What served it.
    pub program: &'a str,
    /// What executed it.
    pub runtime: &'a str,
}

impl Probe<'_> {
    /// What differs from another probe, in words; `None` where nothing does.
    pub fn differs(&self, other: &Self) -> Option<&'static str> {
        match () {
            () if self.hardware_class != other.hardware_class => Some("the hardware class"),
            () if self.isa != other.isa => Some("the extensions of the CPU"),
            () if self.sha256 != other.sha256 => Some("the baseline's artifact"),
            () if self.program != other.program => Some("the program that serves the baseline"),
            () if self.runtime != other.runtime => Some("the baseline's runtime"),
            () if self.case_id != other.case_id => Some("the case"),
            () => None,
        }
    }
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|e| Error::io(path, "list", &e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io(path, "list", &e))?.path();
        let is_hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden {
            list(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn read(path: &Path, all: &mut Vec<Session>) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))?;
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let subject = format!("{}:{}", path.display(), at + 1);
        let session: Session = serde_json::from_str(line).map_err(|e| {
            Error::input(&subject, format!("is no session of a gate: {e}")).remedy(
                "`infermark gate … --store DIR` writes them; was the file edited or cut short?",
            )
        })?;
        if session.schema_version > SCHEMA_VERSION {
            let version = session.schema_version;
            return Err(Error::input(subject, format!("has schema version {version}"))
                .remedy("use the newer infermark that wrote it"));
        }
        all.push(session);
    }
    Ok(())
}
