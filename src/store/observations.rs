//! The sidecar of raw observations: gzipped CSV, ordered as they completed.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::load::{Observation, Outcome};
use crate::units::Nanos;

/// Where the raw observations of a record are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationsFile {
    /// Relative to the run's folder.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// A row of the file; times are in ns on the worker's clock.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    scheduled_ns: u64,
    sent_ns: u64,
    start_ns: u64,
    done_ns: u64,
    batch: u32,
    session: u16,
    sample: u32,
    outcome: Outcome,
}

/// Writes `observations` to `relative` below `folder`, whole or not at all.
pub fn write_observations(
    folder: &Path,
    relative: &str,
    observations: &[Observation],
) -> Result<ObservationsFile> {
    let path = folder.join(relative);
    let parent = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", &e))?;
    let bytes = encode(observations)?;
    let fail = |e: &std::io::Error| Error::io(&path, "write the observations", e);
    // Readable by whoever the user's umask lets read, like any file they make.
    let mut builder = tempfile::Builder::new();
    let mut file = builder
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(|e| fail(&e))?;
    file.write_all(&bytes).map_err(|e| fail(&e))?;
    file.as_file().sync_data().map_err(|e| fail(&e))?;
    file.persist(&path).map_err(|e| fail(&e.error))?;
    let sha256 = crate::units::hex(&Sha256::digest(&bytes));
    Ok(ObservationsFile { path: relative.to_owned(), sha256 })
}

fn encode(observations: &[Observation]) -> Result<Vec<u8>> {
    let fail = |e: &dyn std::fmt::Display| Error::internal("observations", e);
    let mut writer = csv::Writer::from_writer(GzEncoder::new(Vec::new(), Compression::fast()));
    for o in observations {
        writer
            .serialize(Row {
                scheduled_ns: o.scheduled.0,
                sent_ns: o.sent.0,
                start_ns: o.start.0,
                done_ns: o.done.0,
                batch: o.batch,
                session: o.session,
                sample: o.sample,
                outcome: o.outcome,
            })
            .map_err(|e| fail(&e))?;
    }
    let gzip = writer.into_inner().map_err(|e| fail(&e))?;
    gzip.finish().map_err(|e| fail(&e))
}

/// Reads a file of raw observations back.
pub fn read_observations(path: &Path) -> Result<Vec<Observation>> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, "open", &e))?;
    csv::Reader::from_reader(GzDecoder::new(file))
        .deserialize()
        .map(|row| {
            let row: Row = row.map_err(|e| {
                Error::input(path.display(), format!("is no file of observations: {e}"))
                    .remedy("docs/records.md describes its columns")
            })?;
            Ok(Observation {
                scheduled: Nanos(row.scheduled_ns),
                sent: Nanos(row.sent_ns),
                start: Nanos(row.start_ns),
                done: Nanos(row.done_ns),
                batch: row.batch,
                session: row.session,
                sample: row.sample,
                outcome: row.outcome,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let observations: Vec<Observation> = (0..50)
            .map(|i| Observation {
                scheduled: Nanos(i),
                sent: Nanos(i + 1),
                start: Nanos(i + 2),
                done: Nanos(i + 3),
                batch: 7,
                session: 1,
                sample: 9,
                outcome: if i == 3 { Outcome::Error } else { Outcome::Ok },
            })
            .collect();
        let file =
            write_observations(folder.path(), "observations/a.csv.gz", &observations).unwrap();
        assert_eq!(read_observations(&folder.path().join(&file.path)).unwrap(), observations);
    }
}
