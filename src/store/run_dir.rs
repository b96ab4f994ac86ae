//! A run's folder: `records.jsonl`, `observations/`, and what reports put beside them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::record::{Record, SCHEMA_VERSION};
use crate::error::{Error, Result};
use crate::quality::Outputs;

const RECORDS: &str = "records.jsonl";
const WORKLOAD: &str = "workload.toml";
const MANIFEST: &str = "run.json";

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

/// What is known of a run when it begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Version of the schema of records.
    pub schema_version: u32,
    /// When it began, RFC 3339 UTC.
    pub started_at: String,
    /// Name of the workload's model.
    pub model: String,
    /// Hash of what all its cases share: model, data, windows, seed, quality, engine options.
    pub conditions: String,
}

/// What `runs list` shows of a run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RunInfo {
    /// Its id, the folder's name.
    pub run_id: String,
    /// When it began.
    pub started_at: String,
    /// Name of the workload's model.
    pub model: String,
    /// Records in it.
    pub records: usize,
    /// How many of those are VALID.
    pub valid: usize,
    /// Hardware classes it was measured on.
    pub hardware: Vec<String>,
}

impl RunDir {
    /// Makes the folder of a new run below `reports`, with its manifest and a copy of the workload.
    pub fn create(reports: &Path, id: &str, manifest: &Manifest, workload: &str) -> Result<Self> {
        let path = reports.join(id);
        std::fs::create_dir_all(&path)
            .map_err(|e| Error::io(&path, "create the run's folder", &e))?;
        let json = serde_json::to_string(manifest).map_err(|e| Error::internal("run", e))?;
        for (name, text) in [(MANIFEST, json.as_str()), (WORKLOAD, workload)] {
            let file = path.join(name);
            std::fs::write(&file, text).map_err(|e| Error::io(&file, "write", &e))?;
        }
        Ok(Self { path })
    }

    /// Refuses to go on with other conditions than the run's own: a run never mixes two models,
    /// data sets or ways to measure.
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        if self.manifest()?.conditions == manifest.conditions {
            return Ok(());
        }
        Err(Error::input(
            format!("--resume {}", self.id()),
            "the run has another model, other data, or other windows, seeds or quality",
        )
        .remedy(format!(
            "give the command that started it ({} shows its workload), or start a new run",
            self.path.join(WORKLOAD).display()
        )))
    }

    fn manifest(&self) -> Result<Manifest> {
        let file = self.path.join(MANIFEST);
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io(&file, "read", &e))?;
        serde_json::from_str(&text).map_err(|e| {
            Error::input(file.display(), format!("is no manifest of a run: {e}"))
                .remedy("was it edited? Start a new run")
        })
    }

    /// Keeps other processes out of the run until the handle is dropped.
    pub fn lock(&self) -> Result<File> {
        let path = self.path.join(MANIFEST);
        let file = File::open(&path).map_err(|e| Error::io(&path, "open", &e))?;
        file.try_lock().map_err(|_| {
            Error::environment(self.path.display(), "another infermark is measuring in this run")
                .remedy("wait until it ends, or start a run of its own")
        })?;
        Ok(file)
    }

    /// The run called `name`: `latest`, an id below `reports`, or a path.
    pub fn find(reports: &Path, name: &str) -> Result<Self> {
        if name == "latest" {
            return list_runs(reports)?
                .0
                .pop()
                .map(|info| Self { path: reports.join(info.run_id) })
                .ok_or_else(|| {
                    Error::input(reports.display(), "holds no runs")
                        .remedy("measure something first: `infermark run MODEL`")
                });
        }
        [reports.join(name), PathBuf::from(name)]
            .into_iter()
            .find(|path| path.join(RECORDS).is_file() || path.join(MANIFEST).is_file())
            .map(|path| Self { path: path.canonicalize().unwrap_or(path) })
            .ok_or_else(|| {
                Error::input(format!("run `{name}`"), "is neither an id nor a folder of a run")
                    .remedy(format!(
                        "`infermark runs list` shows those in {}; or give a path",
                        reports.display()
                    ))
            })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Appends a record as one line, whole or not at all: what does not fit on the disk is taken
    /// back, so that earlier records stay readable.
    pub fn append(&self, record: &Record) -> Result<()> {
        let path = self.path.join(RECORDS);
        let mut line = serde_json::to_vec(record).map_err(|e| Error::internal("record", e))?;
        line.push(b'\n');
        let fail = |e: &std::io::Error| Error::io(&path, "append the record", e);
        let mut file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(|e| fail(&e))?;
        let before = end_of_last_line(&mut file).map_err(|e| fail(&e))?;
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        if let Err(e) = written {
            // Best effort: the error that is reported is the first one.
            let _ = file.set_len(before);
            return Err(fail(&e));
        }
        Ok(())
    }

    /// Keeps the outputs that variants are compared with, so that a run that goes on has them.
    pub fn write_outputs(&self, key: &str, outputs: &Outputs) -> Result<()> {
        let path = self.outputs_path(key);
        let fail = |e: &std::io::Error| Error::io(&path, "write the outputs", e);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| fail(&e))?;
        }
        let bits: Vec<Vec<u32>> =
            outputs.rows.iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
        let json = serde_json::to_vec(&(bits, outputs.width, outputs.integers))
            .map_err(|e| Error::internal("outputs", e))?;
        let file = File::create(&path).map_err(|e| fail(&e))?;
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(&json).and_then(|()| gzip.finish().map(drop)).map_err(|e| fail(&e))
    }

    /// Outputs that were kept; `None` when they were not, or cannot be read any more.
    pub fn read_outputs(&self, key: &str) -> Option<Outputs> {
        let file = File::open(self.outputs_path(key)).ok()?;
        let reader = BufReader::new(flate2::read::GzDecoder::new(file));
        let (bits, width, integers): (Vec<Vec<u32>>, usize, bool) =
            serde_json::from_reader(reader).ok()?;
        let rows = bits.into_iter().map(|row| row.into_iter().map(f32::from_bits).collect());
        Some(Outputs { rows: rows.collect(), width, integers })
    }

    fn outputs_path(&self, key: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        self.path.join(format!("outputs/{}.json.gz", key.chars().map(plain).collect::<String>()))
    }

    /// Its records in order. A last line cut short by a crash is left out; any other line that
    /// cannot be read is an error.
    pub fn records(&self) -> Result<Vec<Record>> {
        let path = self.path.join(RECORDS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&path, "open", &e)),
        };
        let mut records = Vec::new();
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            if reader.read_line(&mut line).map_err(|e| Error::io(&path, "read", &e))? == 0 {
                break;
            }
            if !line.ends_with('\n') {
                break;
            }
            let subject = format!("{}:{number}", path.display());
            let record: Record = serde_json::from_str(&line).map_err(|e| {
                Error::input(subject, format!("is no record: {e}"))
                    .remedy("docs/records.md describes them; was the file edited?")
            })?;
            if record.schema_version > SCHEMA_VERSION {
                return Err(Error::input(
                    format!("{}:{number}", path.display()),
                    format!("has schema version {}", record.schema_version),
                )
                .remedy("use the newer infermark that wrote it"));
            }
            records.push(record);
        }
        Ok(records)
    }
}

/// The end of the last whole line. What a crash left behind it is cut off, so that the next
/// record starts a line of its own.
fn end_of_last_line(file: &mut File) -> std::io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        end -= 1;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

/// The runs below `reports`, oldest first, and why others could not be read. A folder with
/// neither records nor manifest is no run.
pub fn list_runs(reports: &Path) -> Result<(Vec<RunInfo>, Vec<Error>)> {
    let entries = match std::fs::read_dir(reports) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(e) => return Err(Error::io(reports, "list", &e)),
    };
    let (mut runs, mut broken) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(|e| Error::io(reports, "list", &e))?.path();
        if !path.is_dir() {
            continue;
        }
        let run = RunDir { path };
        let records = match run.records() {
            Ok(records) => records,
            Err(error) => {
                broken.push(error);
                continue;
            }
        };
        // A folder without a manifest is a run all the same if it holds records.
        let (started_at, model) = match (run.manifest(), records.first()) {
            (Ok(manifest), _) => (manifest.started_at, manifest.model),
            (Err(_), Some(first)) => (first.started_at.clone(), first.case.model.clone()),
            (Err(_), None) => continue,
        };
        let mut hardware: Vec<String> = records.iter().map(|r| r.hardware_class.clone()).collect();
        hardware.sort();
        hardware.dedup();
        runs.push(RunInfo {
            run_id: run.id(),
            started_at,
            model,
            records: records.len(),
            valid: records.iter().filter(|r| r.verdict.valid).count(),
            hardware,
        });
    }
    runs.sort_by(|a, b| (&a.started_at, &a.run_id).cmp(&(&b.started_at, &b.run_id)));
    Ok((runs, broken))
}
