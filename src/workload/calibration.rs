//! Samples for compressing: some that ranges follow from, others that decide what is kept. Neither
//! are those of the test.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data_spec::{DataSpec, NpzSpec, TableSource};
use super::dataset::Dataset;
use super::file::Workload;
use super::resolve::Resolved;
use super::resolve_data;
use super::table::Split;
use crate::artifact::{Cache, Package};
use crate::error::{Error, Result};
use crate::quality::Truth;
use crate::units::hex;
use crate::variant::Tensors;
use sha2::{Digest, Sha256};

/// `[calibration]`: where compressing gets its samples; training rows when nothing is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationSpec {
    /// Samples that ranges follow from, at most.
    #[serde(default = "default_samples")]
    pub samples: usize,
    /// Samples that decide what is kept, at most.
    #[serde(default = "default_validation")]
    pub validation: usize,
    /// Packages in place of `data.files.packages`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// Files in place of those of `data.table`, `data.npz`, `data.arrays` or `data.generated`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<TableSource>,
}

impl Default for CalibrationSpec {
    fn default() -> Self {
        Self {
            samples: default_samples(),
            validation: default_validation(),
            packages: Vec::new(),
            sources: Vec::new(),
        }
    }
}

fn default_samples() -> usize {
    128
}
fn default_validation() -> usize {
    256
}

/// Samples for compressing.
#[derive(Debug, Clone)]
pub struct Calibration {
    /// Ranges follow from these.
    pub calibration: Vec<Tensors>,
    /// These decide what is kept.
    pub validation: Vec<Tensors>,
    /// What is right for those of `validation`.
    pub truth: Truth,
    /// Where they come from, in words.
    pub source: String,
    /// Whether they are generated rather than real.
    pub generated: bool,
}

impl CalibrationSpec {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.samples == 0 || self.validation == 0 {
            return Err(("calibration", "needs at least one sample of each kind".to_owned()));
        }
        if !self.packages.is_empty() && !self.sources.is_empty() {
            return Err(("calibration", "takes `packages` or `sources`".to_owned()));
        }
        Ok(())
    }

    /// Which of `all` samples ranges follow from, and which decide what is kept: spread evenly over the
    /// set, and over each other, because sets are often sorted.
    pub fn draw(&self, all: usize) -> (Vec<usize>, Vec<usize>) {
        let wanted = (self.samples + self.validation).min(all);
        let calibrating = (wanted * self.samples / (self.samples + self.validation)).max(1);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for at in 0..wanted {
            let sample = at * all / wanted;
            let is_ours = (at + 1) * calibrating / wanted > at * calibrating / wanted;
            if is_ours { &mut ours } else { &mut theirs }.push(sample);
        }
        (ours, theirs)
    }

    /// Whether there are samples besides those of the test.
    fn has_any(&self, data: &DataSpec) -> bool {
        !self.packages.is_empty()
            || !self.sources.is_empty()
            || data.generated.is_some()
            || data.train_share().is_some()
    }

    /// The data that the samples are drawn from, which rows of them, and in words.
    fn data(&self, data: &DataSpec) -> Result<(DataSpec, Split, String)> {
        let mut other = data.clone();
        other.sha256 = None;
        let wrong = |key: &str, message: &str, remedy: &str| {
            Err(Error::input(format!("calibration.{key}"), message).remedy(remedy))
        };
        if !self.packages.is_empty() {
            let Some(files) = &mut other.files else {
                return wrong("packages", "is for [data.files]", "name `sources`");
            };
            files.packages.clone_from(&self.packages);
            return Ok((other, Split::Test, "packages of [calibration]".to_owned()));
        }
        if !self.sources.is_empty() {
            let names: Vec<String> = self.sources.iter().map(|s| s.source.to_string()).collect();
            let words = names.join(", ");
            if let Some(table) = &mut other.table {
                table.sources.clone_from(&self.sources);
                table.train_share = None;
            } else if let [one] = self.sources.as_slice()
                && other.files.is_none()
            {
                let known = other.npz.take();
                let spec = known.unwrap_or_else(|| NpzSpec {
                    source: one.source.clone(),
                    labels: None,
                    scores: None,
                    segments: None,
                    classes: Vec::new(),
                });
                other = DataSpec {
                    npz: Some(NpzSpec { source: one.source.clone(), ..spec }),
                    ..DataSpec::default()
                };
            } else {
                return wrong(
                    "sources",
                    "does not go with the workload's data",
                    "name one .npz, or files like those of [data.table]; for [data.files] `packages`",
                );
            }
            return Ok((other, Split::Test, words));
        }
        if let Some(generated) = &mut other.generated {
            // Other values than those of the test.
            generated.seed = generated.seed.wrapping_add(1);
            generated.samples = u32::try_from(self.samples + self.validation).unwrap_or(u32::MAX);
            let words = format!("generated values, seed {}", generated.seed);
            return Ok((other, Split::Test, words));
        }
        if data.train_share().is_some() {
            return Ok((other, Split::Train, "training rows of [data]".to_owned()));
        }
        Err(Error::input("[calibration]", "has no samples: nothing of [data] is set aside").remedy(
            "set a share of the data aside (train_share), or name other data: `sources` or \
             `packages` in [calibration]",
        ))
    }
}

/// Whether a workload has samples besides those of the test.
pub fn has_calibration(workload: &Workload) -> bool {
    let spec = workload.calibration.clone().unwrap_or_default();
    spec.has_any(&workload.data)
}

/// The samples for compressing a workload's model.
pub fn calibration(resolved: &Resolved, cache: &Cache) -> Result<Calibration> {
    let spec = resolved.workload.calibration.clone().unwrap_or_default();
    let (data, split, source) = spec.data(&resolved.workload.data)?;
    let mut workload = resolved.workload.clone();
    workload.data = data;
    let generated = workload.data.generated.is_some();
    let model = &resolved.variants[0].sha256;
    let base: &Path = &resolved.base;
    let mut notes = Vec::new();
    let facts =
        resolve_data::resolve(&workload, split, &resolved.outline, model, base, cache, &mut notes)?;
    let set = Dataset::read(&facts.path)?;
    let all = set.samples().len();
    if all < 2 {
        return Err(Error::input("[calibration]", format!("has {all} samples"))
            .remedy("give at least two: one to calibrate on and one to judge by"));
    }
    let (ours, theirs) = spec.draw(all);
    for at in ours.iter().chain(&theirs) {
        is_finite(&set.samples()[*at], *at, &source)?;
    }
    let pick = |list: &[usize]| list.iter().map(|at| set.samples()[*at].clone()).collect();
    Ok(Calibration {
        calibration: pick(&ours),
        validation: pick(&theirs),
        truth: set.about().truth.subset(&theirs),
        source,
        generated,
    })
}

/// No range and no figure follows from a sample that holds what is no number.
fn is_finite(sample: &Tensors, at: usize, source: &str) -> Result<()> {
    for (name, tensor) in &sample.0 {
        let bad = |v: &f32| !v.is_finite();
        if let Some(value) = tensor.to_f32().iter().find(|v| tensor.dtype().is_float() && bad(v)) {
            return Err(Error::input(
                format!("sample {at} of {source}"),
                format!("holds {value} in `{name}` (samples are counted from 0)"),
            )
            .remedy("leave that sample out, or mend it"));
        }
    }
    Ok(())
}

/// SHA-256 over samples: names, element types, shapes and values in order.
pub fn hash_of_samples(samples: &[Tensors]) -> String {
    let mut hasher = Sha256::new();
    for sample in samples {
        sample.feed(&mut hasher);
    }
    hex(&hasher.finalize())
}
