//! The schema of `workloads/*.toml`. Unknown keys are errors.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::calibration::CalibrationSpec;
use super::data_spec::DataSpec;
use super::gate_spec::GateSpec;
use super::load_spec::LoadSpec;
use crate::artifact::Source;
use crate::error::{Error, Result};
use crate::quality::Metric;
use crate::variant::{BackendId, Engine, Optimization, Recipe};

/// A described measurement: model, data, backends, load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// A short name; it appears in run ids and tables.
    pub name: String,
    /// One line for readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The variant that others are compared with; the model itself when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
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
    /// What it is deployed in, where that is not the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentSpec>,
    /// How good its answers must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualitySpec>,
    /// What a change may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateSpec>,
    /// Where compressing gets its samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationSpec>,
    /// What stands beside the model: files made elsewhere, and recipes.
    #[serde(default, rename = "variant", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantSpec>,
}

/// `[deployment]`: what workers run in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSpec {
    /// CPUs' worth of time, as a container's `--cpus` gives them; being held back by it is then a part of
    /// what is measured.
    pub cpus: f64,
}

/// `[[variant]]`: a file made elsewhere, or a recipe that is carried out on the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantSpec {
    /// What it is called in tables; a recipe's own name when left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where its bytes come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Source>,
    /// How it is made of the model, e.g. `int8-dynamic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// SHA-256 that the bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The tool or person that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// What making it cost, once, in USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upfront_cost: Option<f64>,
}

impl VariantSpec {
    /// What it is called.
    pub fn called(&self) -> String {
        match &self.recipe {
            Some(recipe) if self.name.is_empty() => recipe.to_string(),
            _ => self.name.clone(),
        }
    }

    fn check(&self) -> Result<(), String> {
        match (&self.path, &self.recipe) {
            (None, Some(Recipe::Stages(_))) if self.sha256.is_some() => {
                Err("`sha256` pins a file, and a recipe makes one".to_owned())
            }
            (Some(_), None) | (None, Some(Recipe::Stages(_))) => Ok(()),
            (None, Some(other)) => Err(format!("recipe `{other}` makes nothing")),
            _ => Err("needs either `path` or `recipe`".to_owned()),
        }
    }
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
    /// Whether an engine with several kernels for one thing measures which is fastest.
    #[serde(default = "yes")]
    pub autotune: bool,
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
    /// A variant above this fails: for figures of which less is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The output that is judged; the model's first one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// A linear head on that output, as `infermark fit-head` writes it; kept for every variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Source>,
    /// A command of the user's own that gives further figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorer: Option<ScorerSpec>,
}

/// `[quality.scorer]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorerSpec {
    /// The program and its arguments, run in the workload's folder.
    pub command: Vec<String>,
    /// It is stopped after this long.
    #[serde(default = "default_timeout")]
    pub timeout_s: f64,
}

impl QualitySpec {
    /// Whether a smaller figure is a better one.
    pub fn fewer_is_better(&self) -> bool {
        self.metric == Metric::MaxAbsError || (self.at_most.is_some() && self.at_least.is_none())
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let ours = Metric::names().join(", ");
        if let (Metric::Own(name), None) = (&self.metric, &self.scorer) {
            let message = format!("`{name}` is none of {ours}, and no scorer gives it");
            return Err(("quality.metric", message));
        }
        // Figures of ours that go from 0 (or −1) to 1; a user's own may go anywhere.
        let bounded = !matches!(self.metric, Metric::Own(_) | Metric::MaxAbsError);
        for (key, bound) in [("quality.at_least", self.at_least), ("quality.at_most", self.at_most)]
        {
            if let Some(bound) = bound
                && (!bound.is_finite() || bounded && !(-1.0..=1.0).contains(&bound))
            {
                return Err((key, format!("is {bound}, which {} never is", self.metric)));
            }
        }
        if let Some(scorer) = &self.scorer {
            if scorer.command.is_empty() {
                return Err(("quality.scorer.command", "names no program".to_owned()));
            }
            if !(scorer.timeout_s > 0.0 && scorer.timeout_s <= 86_400.0) {
                return Err(("quality.scorer.timeout_s", "must be from 0 to 86400".to_owned()));
            }
        }
        Ok(())
    }
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
        let calibration = self.calibration.as_ref().map_or(Ok(()), CalibrationSpec::check);
        if let Err((key, message)) = self.data.check().and(calibration) {
            return wrong(key, message);
        }
        let mut names = vec![&self.model.variant];
        let called: Vec<String> = self.variants.iter().map(VariantSpec::called).collect();
        for (variant, name) in self.variants.iter().zip(&called) {
            if let Err(message) = variant.check() {
                return wrong("variant", message);
            }
            if name.is_empty() || !name.chars().all(|c| plain(c) || c == '+') {
                let message = format!("`{name}`: letters, digits, `-`, `_`, `.` and `+` only");
                return wrong("variant.name", message);
            }
            if names.contains(&name) {
                return wrong("variant.name", format!("`{name}` is there twice"));
            }
            if variant.upfront_cost.is_some_and(|cost| !(cost >= 0.0 && cost.is_finite())) {
                return wrong("variant.upfront_cost", "must be USD, 0 or above".to_owned());
            }
            names.push(name);
        }
        if let Some(baseline) = &self.baseline
            && !names.contains(&baseline)
        {
            let names: Vec<&str> = names.iter().map(|n| n.as_str()).collect();
            return wrong("baseline", format!("`{baseline}` is none of {}", names.join(", ")));
        }
        if self.deployment.is_some_and(|d| !(0.01..=4096.0).contains(&d.cpus)) {
            return wrong("deployment.cpus", "must be from 0.01 to 4096".to_owned());
        }
        if let Err((key, message)) = self.load.check() {
            return wrong(key, message);
        }
        let empty = [
            ("backends.ids", self.backends.ids.is_empty()),
            ("backends.threads", self.backends.threads.is_empty()),
        ];
        if let Some((key, _)) = empty.iter().find(|(_, is_wrong)| *is_wrong) {
            return wrong(key, "must name at least one".to_owned());
        }
        self.quality.as_ref().map_or(Ok(()), |quality| match quality.check() {
            Err((key, message)) => wrong(key, message),
            Ok(()) => Ok(()),
        })
    }
}

fn default_variant() -> String {
    "as-given".to_owned()
}
fn yes() -> bool {
    true
}
fn default_backends() -> Vec<BackendId> {
    vec![BackendId { engine: Engine::Ort, device: "cpu".to_owned() }]
}
fn default_timeout() -> f64 {
    120.0
}
fn default_threads() -> Vec<Threads> {
    vec![Threads::Auto]
}

impl Default for BackendSpec {
    fn default() -> Self {
        Self {
            ids: default_backends(),
            threads: default_threads(),
            optimization: Optimization::default(),
            spinning: true,
            autotune: true,
        }
    }
}
