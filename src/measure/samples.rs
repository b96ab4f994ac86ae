//! What is to be said of the samples that a variant is made and judged with, whatever the recipe.

use super::maker::Maker;
use crate::compress::{self, Warning};
use crate::error::Result;
use crate::variant::{Recipe, Tensor, Tensors};
use crate::workload::Dataset;

/// The names of these warnings.
pub(super) const CODES: [&str; 4] =
    ["calibration-generated", "calibration-constant", "calibration-overlap", "calibration-unlike"];

/// The warnings, the test set of `maker` in them.
pub(super) fn warnings(maker: &Maker<'_>, recipe: &Recipe) -> Result<Vec<Warning>> {
    let about = maker.calibration;
    let mut warnings = Vec::new();
    if recipe.needs_data() {
        warnings.extend(constant(&about.calibration));
    }
    let data = &maker.resolved.data;
    if about.generated {
        warnings.push(Warning::new(
            CODES[0],
            "calibrated and judged on generated inputs: real ones have other ranges; give data"
                .to_owned(),
        ));
    } else if !data.generated {
        let test = Dataset::read(&data.path)?;
        let mut ours = about.validation.clone();
        ours.extend(about.calibration.iter().cloned());
        warnings.extend(compress::overlap(&ours, test.samples()));
        if recipe.needs_data() {
            warnings.extend(compress::unlike(&about.calibration, test.samples()));
        }
    }
    Ok(warnings)
}

/// Inputs that hold one number throughout: ranges that follow from them are those of nothing.
fn constant(samples: &[Tensors]) -> Option<Warning> {
    let names: Vec<&str> = samples.first()?.0.iter().map(|(name, _)| name.as_str()).collect();
    let is_constant = |name: &&str| {
        let floats = |sample: &Tensors| {
            sample.get(name).filter(|tensor| tensor.dtype().is_float()).map(Tensor::to_f32)
        };
        let mut all = samples.iter().filter_map(floats).flatten();
        let first = all.next();
        first.is_some_and(|first| all.all(|v| v.to_bits() == first.to_bits()))
    };
    let constant: Vec<&str> = names.into_iter().filter(is_constant).collect();
    let first = constant.first()?;
    let text = format!(
        "input `{first}` is one number in all {} calibration samples{}: its range is that of nothing real",
        samples.len(),
        if constant.len() > 1 {
            format!(" (and {} more)", constant.len() - 1)
        } else {
            String::new()
        }
    );
    Some(Warning::new(CODES[1], text))
}
