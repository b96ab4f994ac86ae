//! The card beside an artifact: what it is, what it was made of and how good it was found, and who
//! said that it may be used.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::error::{Error, Result};
use crate::units::Bytes;

/// Version of the card's form.
const SCHEMA_VERSION: u32 = 1;

/// What is known of an artifact that was made here. On the disk it is JSON, beside the artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of this form.
    pub schema_version: u32,
    /// The artifact's file name.
    pub file: String,
    /// SHA-256 of the artifact: of its bytes, or of all its files' hashes where weights lie beside it.
    pub sha256: String,
    /// Size of all its files.
    pub size_bytes: Bytes,
    /// Name of the model or workload it was made for.
    pub model: String,
    /// SHA-256 of the model it was made of.
    pub parent_sha256: String,
    /// What was asked for.
    pub recipe: Recipe,
    /// What was done: the stages that kept the budget.
    pub applied: Recipe,
    /// Every parameter of what was done, stage by stage.
    pub parameters: Vec<StageParameters>,
    /// Samples that activations' ranges were calibrated on.
    pub calibration: Option<SampleFacts>,
    /// Samples that its quality was judged on here.
    pub validation: SampleFacts,
    /// What must hold after every stage, e.g. `cosine-0.98`.
    pub budget: Option<String>,
    /// What happens to a stage that breaks it: `stop` or `back-off`.
    pub on_break: Option<String>,
    /// What became of each stage.
    pub stages: Vec<CardStage>,
    /// What its files should be checked for.
    pub warnings: Vec<String>,
    /// The engine that ran it while it was made.
    pub runtime: String,
    /// Version of the program that made it.
    pub tool_version: String,
    /// Version of the recipes: bytes of one version are the same on every machine.
    pub recipes_version: u32,
    /// When, RFC 3339 in UTC.
    pub made_at: String,
    /// Decisions on it, oldest first.
    pub approvals: Vec<Decision>,
}

/// The parameters of a stage, those that its name leaves out too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageParameters {
    /// The stage's name.
    pub stage: String,
    /// Name and value of each.
    pub values: std::collections::BTreeMap<String, String>,
}

/// Samples that something was found on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleFacts {
    /// SHA-256 of their content.
    pub sha256: String,
    /// How many.
    pub samples: usize,
    /// Where they come from, in words.
    pub source: String,
}

/// A stage as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardStage {
    /// The stage's name.
    pub stage: String,
    /// `kept`, `backed-off`, `stopped` or `not-tried`.
    pub fate: String,
    /// Size of the model after it.
    pub size_bytes: Option<Bytes>,
    /// Nodes that it changed.
    pub changed: usize,
    /// Nodes that stayed in float, and why.
    pub kept: Vec<(String, String)>,
    /// Of `mixed`: what each node costs alone, the worst first, as the budget's figure; `null` where an
    /// answer was no finite number.
    pub sensitivities: Vec<(String, Option<f64>)>,
    /// Its quality on the validation samples.
    pub quality: Vec<CardFigure>,
}

/// A figure of quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFigure {
    /// What was measured.
    pub metric: String,
    /// On which part of the samples.
    pub segment: String,
    /// The figure.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// Difference to the model itself.
    pub delta: Option<f64>,
    /// Lower end of the difference's paired 95 % interval.
    pub delta_low: Option<f64>,
    /// Upper end of it.
    pub delta_high: Option<f64>,
}

/// Somebody's decision on an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Approved or rejected.
    pub approval: Approval,
    /// Who.
    pub by: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The bytes that were decided on: a decision does not outlive them.
    pub sha256: String,
}

/// Whether an artifact may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Somebody said yes.
    Approved,
    /// Somebody said no.
    Rejected,
    /// Nobody said anything.
    Pending,
}

impl std::fmt::Display for Approval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Pending => "pending",
        })
    }
}

impl Card {
    /// The version that cards are written in.
    pub const VERSION: u32 = SCHEMA_VERSION;

    /// Where the card of an artifact lies: `x.onnx` has `x.card.json`.
    pub fn path_of(artifact: &Path) -> PathBuf {
        artifact.with_extension("card.json")
    }

    /// The card of an artifact; `None` when it has none.
    pub fn beside(artifact: &Path) -> Result<Option<Self>> {
        let path = Self::path_of(artifact);
        if path.is_file() { Self::read(&path).map(Some) } else { Ok(None) }
    }

    /// Reads a card.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))?;
        let card: Self = serde_json::from_str(&text).map_err(|e| {
            Error::input(path.display(), format!("is no card of a variant: {e}"))
                .remedy("restore it, or remove it with its artifact and make both anew")
        })?;
        if card.schema_version != SCHEMA_VERSION {
            let message = format!("is of version {}", card.schema_version);
            return Err(Error::input(path.display(), message)
                .remedy(format!("this program reads version {SCHEMA_VERSION}")));
        }
        Ok(card)
    }

    /// Writes the card beside `artifact`: whole or not at all.
    pub fn write(&self, artifact: &Path) -> Result<()> {
        let path = Self::path_of(artifact);
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::internal("card", e))?;
        text.push(b'\n');
        let fail = |e: &std::io::Error| Error::io(&path, "write", e);
        let file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
            .map_err(|e| fail(&e))?;
        std::fs::write(file.path(), text).map_err(|e| fail(&e))?;
        file.persist(&path).map_err(|e| fail(&e.error))?;
        Ok(())
    }

    /// Whether `sha256` is the artifact's that the card speaks of.
    pub fn check(&self, artifact: &Path, sha256: &str) -> Result<()> {
        if self.sha256.eq_ignore_ascii_case(sha256) {
            return Ok(());
        }
        Err(Error::input(
            artifact.display(),
            format!("has sha256 {sha256}, but its card says {}", self.sha256),
        )
        .remedy("somebody changed the file: remove it and its card, then make it again with `infermark compress`"))
    }

    /// The last decision on the bytes that the card speaks of.
    pub fn approval(&self) -> Approval {
        let of_these = self.approvals.iter().rev().find(|d| d.sha256 == self.sha256);
        of_these.map_or(Approval::Pending, |d| d.approval)
    }
}

/// Every card below `folder`, by path; one that cannot be read is an error in its place.
pub fn cards(folder: &Path) -> Vec<(PathBuf, Result<Card>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".card.json") {
                let card = Card::read(&path);
                found.push((path, card));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        let none = || SampleFacts { sha256: "0".into(), samples: 1, source: "npz".into() };
        Card {
            schema_version: SCHEMA_VERSION,
            file: "m.fp16.onnx".into(),
            sha256: "ab".into(),
            size_bytes: Bytes(10),
            model: "m".into(),
            parent_sha256: "cd".into(),
            recipe: "fp16".parse().unwrap(),
            applied: "fp16".parse().unwrap(),
            parameters: Vec::new(),
            calibration: None,
            validation: none(),
            budget: None,
            on_break: None,
            stages: Vec::new(),
            warnings: Vec::new(),
            runtime: "onnxruntime".into(),
            tool_version: "0".into(),
            recipes_version: 1,
            made_at: "2026-01-01T00:00:00Z".into(),
            approvals: Vec::new(),
        }
    }

    #[test]
    fn a_card_comes_back_from_beside_its_artifact() {
        let folder = tempfile::tempdir().unwrap();
        let artifact = folder.path().join("m.fp16.onnx");
        card().write(&artifact).unwrap();
        assert_eq!(Card::beside(&artifact).unwrap(), Some(card()));
        assert!(folder.path().join("m.fp16.card.json").is_file());
        assert_eq!(cards(folder.path()).len(), 1);
        assert_eq!(Card::beside(&folder.path().join("other.onnx")).unwrap(), None);
    }

    #[test]
    fn a_decision_does_not_outlive_the_bytes() {
        let mut card = card();
        assert_eq!(card.approval(), Approval::Pending);
        let decision = |approval, sha256: &str| Decision {
            approval,
            by: "x".into(),
            at: String::new(),
            note: None,
            sha256: sha256.into(),
        };
        card.approvals.push(decision(Approval::Approved, "ab"));
        assert_eq!(card.approval(), Approval::Approved);
        card.approvals.push(decision(Approval::Rejected, "ab"));
        assert_eq!(card.approval(), Approval::Rejected);
        card.sha256 = "ef".into();
        assert_eq!(card.approval(), Approval::Pending);
        assert!(card.check(Path::new("m"), "ab").unwrap_err().to_string().contains("card says ef"));
    }
}
