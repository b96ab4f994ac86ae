//! The schema of `workloads/*.toml`. Unknown keys are errors.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::encode::Encoding;
use crate::artifact::{Package, Source};
use crate::error::{Error, Result};
use crate::load::{Batching, Scenario};
use crate::quality::Metric;
use crate::variant::{BackendId, Engine, Optimization};

/// A described measurement: model, data, backends, load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// A short name; it appears in run ids and tables.
    pub name: String,
    /// One line for readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The model.
    pub model: ModelSpec,
    /// The inputs, with labels where there are any.
    pub data: DataSpec,
    /// Where it runs.
    #[serde(default)]
    pub backends: BackendSpec,
    /// How requests come.
    #[serde(default)]
    pub load: LoadSpec,
    /// How good its answers must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualitySpec>,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Where its bytes come from: a path (relative to the workload file) or `pypi:`.
    pub source: Source,
    /// SHA-256 that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Name of the variant that the model itself is.
    #[serde(default = "default_variant")]
    pub variant: String,
}

/// `[data]`: exactly one of `files`, `npz`, `generated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// SHA-256 that the data set's content must have (not that of a file: names, element types,
    /// shapes and values in order).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A labelled set built from the files inside packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSpec>,
    /// Arrays in a NumPy `.npz` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npz: Option<NpzSpec>,
    /// Seeded values that fit the model's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedSpec>,
}

/// `[data.files]`: real files, labelled by their extension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesSpec {
    /// Packages whose files are taken, pinned.
    pub packages: Vec<Package>,
    /// How a file becomes a model input.
    pub encoding: Encoding,
    /// The model's classes in the order of its scores: a JSON file and the key of the list in it.
    pub classes: ClassesSpec,
    /// Which extensions belong to which class.
    pub extensions: BTreeMap<String, Vec<String>>,
    /// At most this many files a class, chosen by their hash.
    pub max_per_class: usize,
    /// Classes with fewer files than this are left out.
    #[serde(default = "one")]
    pub min_per_class: usize,
    /// Smaller files are left out: they are empty modules and markers.
    #[serde(default)]
    pub min_bytes: usize,
}

/// Where the names of a model's classes are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassesSpec {
    /// A JSON file.
    pub source: Source,
    /// Key of the list of names in it.
    pub key: String,
}

/// `[data.npz]`: one array an input, samples on axis 0, and optionally one of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpzSpec {
    /// The file.
    pub source: Source,
    /// Name of the array of class indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
}

/// `[data.generated]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedSpec {
    /// How many samples.
    #[serde(default = "default_samples")]
    pub samples: u32,
    /// Seed of the values.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Sizes of the model's free dimensions, by name; the batch is never among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dims: BTreeMap<String, usize>,
}

/// `[backends]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// e.g. `["ort:cpu"]`.
    #[serde(default = "default_backends")]
    pub ids: Vec<BackendId>,
    /// Threads a session; `"auto"` is the effective CPUs divided among the sessions.
    #[serde(default = "default_threads")]
    pub threads: Vec<Threads>,
    /// How hard the engine works on the graph: none, basic, extended or all.
    #[serde(default)]
    pub optimization: Optimization,
    /// Whether idle threads of the engine spin before they sleep.
    #[serde(default = "yes")]
    pub spinning: bool,
}

/// `[load]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// `"single"` or `{ closed = { concurrency = 4 } }`.
    #[serde(default = "default_scenarios")]
    pub scenarios: Vec<Scenario>,
    /// e.g. `{ fixed = 8 }`.
    #[serde(default = "default_batching")]
    pub batching: Vec<Batching>,
    /// Sessions that serve at once.
    #[serde(default = "default_sessions")]
    pub sessions: Vec<u16>,
    /// Length of each case's window in seconds.
    #[serde(default = "default_duration")]
    pub duration_s: f64,
    /// Warm-up under the same load before it, in seconds.
    #[serde(default = "default_warmup")]
    pub warmup_s: f64,
    /// Processes that a case may take: one that a disturbance made INVALID is measured again in a
    /// fresh one, and every attempt is kept.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// Seed of the order in which samples are issued.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// A worker that is silent for this long beyond what it was asked for is stopped, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: f64,
}

/// `[quality]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualitySpec {
    /// The figure that decides.
    pub metric: Metric,
    /// A variant below this fails its quality gate and is marked wherever it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The output that holds the scores; the model's first one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Threads of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ThreadsText", into = "ThreadsText")]
pub enum Threads {
    /// The effective CPUs divided among the sessions, at least 1.
    Auto,
    /// This many.
    Count(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ThreadsText {
    Number(usize),
    Word(String),
}

impl TryFrom<ThreadsText> for Threads {
    type Error = String;
    fn try_from(text: ThreadsText) -> Result<Self, String> {
        match text {
            ThreadsText::Number(n) if (1..=1024).contains(&n) => Ok(Self::Count(n)),
            ThreadsText::Number(n) => Err(format!("{n} threads: give 1 to 1024 or \"auto\"")),
            ThreadsText::Word(word) if word == "auto" => Ok(Self::Auto),
            ThreadsText::Word(word) => match word.parse() {
                Ok(n) => Self::try_from(ThreadsText::Number(n)),
                Err(_) => Err(format!("threads `{word}`: give a number or \"auto\"")),
            },
        }
    }
}

impl From<Threads> for ThreadsText {
    fn from(threads: Threads) -> Self {
        match threads {
            Threads::Auto => Self::Word("auto".to_owned()),
            Threads::Count(n) => Self::Number(n),
        }
    }
}

impl std::str::FromStr for Threads {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(ThreadsText::Word(text.to_owned()))
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(n) => write!(f, "{n}"),
        }
    }
}

impl Workload {
    /// Reads a workload file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the workload", &e))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a workload from `text`; `subject` names it in errors.
    ///
    /// Wrong keys and types are shown with their line; so are values that cannot be run.
    pub fn parse(subject: &str, text: &str) -> Result<Self> {
        let workload: Self = toml::from_str(text).map_err(|e| {
            Error::input(subject, format!("is not a valid workload\n{}", e.to_string().trim_end()))
                .remedy("docs/workloads.md lists every key with its type and an example")
        })?;
        workload.check(subject)?;
        Ok(workload)
    }

    /// As TOML, e.g. for `--save-workload`.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|e| Error::internal("workload", e))
    }

    /// What the schema alone cannot say.
    pub(crate) fn check(&self, subject: &str) -> Result<()> {
        let wrong = |key: &str, message: String| {
            Err(Error::input(format!("{subject}: `{key}`"), message)
                .remedy("docs/workloads.md lists every key with its type and an example"))
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return wrong("name", "must be letters, digits, `-`, `_` and `.` only".to_owned());
        }
        let data = &self.data;
        let kinds = [data.files.is_some(), data.npz.is_some(), data.generated.is_some()];
        if kinds.iter().filter(|k| **k).count() != 1 {
            return wrong("data", "needs exactly one of files, npz, generated".to_owned());
        }
        if let Some(generated) = &data.generated
            && generated.samples == 0
        {
            return wrong("data.generated.samples", "must be at least 1".to_owned());
        }
        let load = &self.load;
        if load.attempts == 0 {
            return wrong("load.attempts", "must be at least 1".to_owned());
        }
        let most = 1 << 16;
        if load.batching.iter().any(|b| b.size() > most)
            || load.scenarios.iter().any(|s| s.outstanding(Batching::Fixed(1)) > most)
            || load.sessions.iter().any(|s| *s > 256)
        {
            let message = "takes batches and clients up to 65536 and sessions up to 256";
            return wrong("load", message.to_owned());
        }
        let empty = [
            ("load.scenarios", load.scenarios.is_empty()),
            ("load.batching", load.batching.is_empty()),
            ("load.sessions", load.sessions.is_empty() || load.sessions.contains(&0)),
            ("backends.ids", self.backends.ids.is_empty()),
            ("backends.threads", self.backends.threads.is_empty()),
        ];
        if let Some((key, _)) = empty.iter().find(|(_, is_wrong)| *is_wrong) {
            return wrong(key, "must name at least one, and none may be 0".to_owned());
        }
        let seconds = [
            ("load.duration_s", load.duration_s, 0.01),
            ("load.warmup_s", load.warmup_s, 0.0),
            ("load.timeout_s", load.timeout_s, 0.1),
        ];
        for (key, value, least) in seconds {
            if !(value >= least && value <= 86_400.0) {
                return wrong(key, format!("is {value}; give seconds from {least} to 86400"));
            }
        }
        if let Some(at_least) = self.quality.as_ref().and_then(|q| q.at_least)
            && !(0.0..=1.0).contains(&at_least)
        {
            return wrong("quality.at_least", format!("is {at_least}; give 0 to 1"));
        }
        Ok(())
    }
}

fn default_variant() -> String {
    "as-given".to_owned()
}
fn one() -> usize {
    1
}
fn yes() -> bool {
    true
}
fn default_samples() -> u32 {
    64
}
fn default_seed() -> u64 {
    42
}
fn default_backends() -> Vec<BackendId> {
    vec![BackendId { engine: Engine::Ort, device: "cpu".to_owned() }]
}
fn default_threads() -> Vec<Threads> {
    vec![Threads::Auto]
}
fn default_scenarios() -> Vec<Scenario> {
    vec![Scenario::Single, Scenario::Closed { concurrency: 4 }]
}
fn default_batching() -> Vec<Batching> {
    vec![Batching::Fixed(1)]
}
fn default_sessions() -> Vec<u16> {
    vec![1]
}
fn default_duration() -> f64 {
    5.0
}
fn default_warmup() -> f64 {
    0.5
}
fn default_attempts() -> u32 {
    3
}
fn default_timeout() -> f64 {
    120.0
}

impl Default for BackendSpec {
    fn default() -> Self {
        Self {
            ids: default_backends(),
            threads: default_threads(),
            optimization: Optimization::default(),
            spinning: true,
        }
    }
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            scenarios: default_scenarios(),
            batching: default_batching(),
            sessions: default_sessions(),
            duration_s: default_duration(),
            warmup_s: default_warmup(),
            attempts: default_attempts(),
            seed: default_seed(),
            timeout_s: default_timeout(),
        }
    }
}
