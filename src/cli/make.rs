//! The variants that a workload's recipes ask for: made before anything is measured, or taken where
//! they are there.

use std::path::Path;

use super::runtime::Runtime;
use super::{compress, interrupt, output};
use crate::artifact::find_library;
use crate::compress::OnBreak;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware;
use crate::measure::{Made, Maker, WorkerCommand};
use crate::settings::Settings;
use crate::units::Bytes;
use crate::variant::{BackendId, Card, Engine, Lineage, Recipe, Variant};
use crate::workload::{Resolved, VariantSpec, carded_facts};

/// The engine that runs graphs while they are made: ONNX Runtime, whose operators recipes write, or where the
/// workload measures on others only, the first of them.
fn maker_of(resolved: &Resolved) -> BackendId {
    let ids = &resolved.workload.backends.ids;
    match ids.first() {
        Some(first) if ids.iter().all(|id| id.engine != Engine::Ort) => first.clone(),
        _ => BackendId { engine: Engine::Ort, device: "cpu".to_owned() },
    }
}

/// Adds the variants of the workload's recipes to what is measured.
///
/// With `may_make` unset nothing is made: a variant that is not there yet stands in with a name in
/// place of its hash. Whether all could be made: one that cannot is said, and left out.
pub(super) fn variants(
    resolved: &mut Resolved,
    settings: &Settings,
    runtime: Option<Runtime>,
    may_make: bool,
) -> Result<bool> {
    let specs = std::mem::take(&mut resolved.to_make);
    if specs.is_empty() {
        return Ok(true);
    }
    let folder = settings.variants.join(&resolved.workload.name);
    if !may_make {
        for spec in &specs {
            output::say(&format!("  {}: is made before it is measured", spec.called()));
            resolved.variants.push(stand_in(resolved, spec, &folder)?);
        }
        return Ok(true);
    }
    let recipes: Vec<Recipe> = specs.iter().filter_map(|s| s.recipe.clone()).collect();
    let calibration = compress::samples(resolved, &recipes, false, &settings.cache)?;
    let backend = maker_of(resolved);
    let library = if backend.engine == Engine::Ort {
        let build = runtime.map(Runtime::build);
        Some(find_library(settings.ort_dylib.as_deref(), build, &settings.cache)?)
    } else {
        None
    };
    let mut made = Vec::new();
    {
        let maker = Maker {
            resolved,
            calibration: &calibration,
            folder: &folder,
            backend,
            library: library.as_ref(),
            threads: hardware::detect().effective_cpus.count,
            program: WorkerCommand::own()?,
            interrupted: interrupt::flag()?,
            budget: None,
            on_break: OnBreak::Stop,
        };
        for recipe in &recipes {
            output::say(&format!("  {recipe}: making it, or taking it from {}", folder.display()));
            match maker.make(recipe, &mut |_| ()) {
                Ok(one) => made.push(Some(one)),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                // What one recipe cannot do does not stop the others.
                Err(error) => {
                    output::error(&error);
                    made.push(None);
                }
            }
        }
    }
    let all = made.iter().all(Option::is_some);
    for (spec, made) in specs.iter().zip(made).filter_map(|(spec, made)| Some((spec, made?))) {
        for warning in &made.card.warnings {
            output::say(&format!("  ! {}: {warning}", spec.called()));
        }
        let variant = variant(resolved, spec, &made)?;
        resolved.variants.push(variant);
    }
    Ok(all)
}

fn variant(resolved: &Resolved, spec: &VariantSpec, made: &Made) -> Result<Variant> {
    let path = made.path.as_ref().ok_or_else(|| {
        Error::internal(spec.called(), "was not made, and nothing asked for a budget")
    })?;
    let facts = carded_facts(path, &made.card)?;
    Ok(Variant {
        name: spec.called(),
        recipe: made.card.applied.clone(),
        path: path.canonicalize().map_err(|e| Error::io(path, "find", &e))?,
        sha256: facts.sha256,
        size: facts.size,
        weights: facts.outline.weights,
        lineage: lineage(resolved, spec, Some(&made.card)),
    })
}

fn lineage(resolved: &Resolved, spec: &VariantSpec, card: Option<&Card>) -> Lineage {
    Lineage {
        parent: Some(resolved.workload.model.variant.clone()),
        made_by: spec.made_by.clone().or_else(|| {
            card.map(|card| format!("infermark {} on {}", card.tool_version, card.runtime))
        }),
        upfront_cost_usd: spec.upfront_cost,
        approval: card.map(Card::approval),
    }
}

/// What is not made yet; what was made before has its hash, so that its cases have their ids.
fn stand_in(resolved: &Resolved, spec: &VariantSpec, folder: &Path) -> Result<Variant> {
    let recipe = spec.recipe.clone().unwrap_or(Recipe::External);
    let file = format!("{}.{recipe}.onnx", resolved.workload.name);
    let known = Card::beside(&folder.join(file))?
        .filter(|card| card.parent_sha256 == resolved.variants[0].sha256);
    let unmade = || format!("not made: {}", spec.called());
    Ok(Variant {
        name: spec.called(),
        recipe: spec.recipe.clone().unwrap_or(Recipe::External),
        path: resolved.variants[0].path.clone(),
        sha256: known.map_or_else(unmade, |card| card.sha256),
        size: Bytes(0),
        weights: Bytes(0),
        lineage: lineage(resolved, spec, None),
    })
}
