//! Where a team keeps its baseline's artifact and the history of its gates: a folder, or a branch checked out as one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::artifact::sha256_file;
use crate::error::{Error, Result};
use crate::gate::Session;
use crate::measure::timestamp;
use crate::variant::Variant;

/// The name of a model within its folder.
const MODEL: &str = "model.onnx";
/// What says which it is.
const CARD: &str = "baseline.json";

/// A store.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
}

/// Which artifact is the baseline of a workload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    /// As the candidate was named when it was kept.
    name: String,
    /// Hash of the model's file.
    sha256: String,
    /// Files of weights beside it.
    #[serde(default)]
    external: Vec<String>,
    /// When it was kept.
    at: String,
}

impl Store {
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Appends a session below its hardware class and case; latencies are not kept.
    pub(super) fn append(&self, session: &Session) -> Result<()> {
        session.without_latencies().append(&self.folder.join(session.file()))
    }

    /// The workload's baseline; `None` where none was kept.
    pub(super) fn baseline(&self, workload: &str) -> Result<Option<PathBuf>> {
        let folder = self.of(workload);
        let card_path = folder.join(CARD);
        let text = match std::fs::read_to_string(&card_path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&card_path, "read", &e)),
        };
        let again = "keep it anew: `infermark gate … --store DIR --keep-baseline`";
        let card: Card = serde_json::from_str(&text).map_err(|e| {
            Error::input(card_path.display(), format!("is no card of a baseline: {e}"))
                .remedy(again)
        })?;
        let model = folder.join(MODEL);
        if sha256_file(&model)? != card.sha256 {
            return Err(
                Error::input(model.display(), "is not the model that was kept").remedy(again)
            );
        }
        Ok(Some(model))
    }

    /// Keeps a variant as the workload's baseline, in place of what was there.
    pub(super) fn keep(
        &self,
        workload: &str,
        name: &str,
        variant: &Variant,
        external: &[String],
    ) -> Result<()> {
        let folder = self.of(workload);
        let fresh = folder.with_extension("new");
        let fail = |path: &Path, e: &std::io::Error| Error::io(path, "keep the baseline", e);
        // What a crash left.
        let _ = std::fs::remove_dir_all(&fresh);
        std::fs::create_dir_all(&fresh).map_err(|e| fail(&fresh, &e))?;
        let beside = variant.path.parent().unwrap_or(Path::new("."));
        let files = external.iter().map(|file| (beside.join(file), fresh.join(file)));
        for (from, to) in files.chain([(variant.path.clone(), fresh.join(MODEL))]) {
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(|e| fail(parent, &e))?;
            }
            std::fs::copy(&from, &to).map_err(|e| fail(&from, &e))?;
        }
        let card = Card {
            name: name.to_owned(),
            sha256: sha256_file(&fresh.join(MODEL))?,
            external: external.to_vec(),
            at: timestamp(),
        };
        let text = serde_json::to_string_pretty(&card).map_err(|e| Error::internal("store", e))?;
        let card_path = fresh.join(CARD);
        std::fs::write(&card_path, text + "\n").map_err(|e| fail(&card_path, &e))?;
        // The old one is only gone once the new one is whole.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&fresh, &folder).map_err(|e| fail(&folder, &e))
    }

    fn of(&self, workload: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
        self.folder.join("baseline").join(workload.chars().map(plain).collect::<String>())
    }
}
