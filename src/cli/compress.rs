//! `infermark compress`: from one fp32 model to smaller variants, each with a card.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{self, Format};
use super::run::Args as RunArgs;
use super::{Ended, interrupt, target};
use crate::artifact::{Cache, Library, Source, find_library};
use crate::backend;
use crate::compress::OnBreak;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware;
use crate::measure::{Made, Maker, WorkerCommand};
use crate::quality::QualityFigure;
use crate::settings::Settings;
use crate::units::Bytes;
use crate::variant::{BackendId, Budget, Card, CardFigure, CardStage, Engine, Recipe};
use crate::workload::{self, Calibration, CalibrationSpec, Dataset, Resolved, Split, TableSource};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A model (`.onnx`, an encoder's folder), a workload (`.toml`) or a built-in one
    target: PathBuf,
    /// Recipes, e.g. `int8-dynamic,fp16+int4-b32`; docs/recipes.md lists all
    #[arg(long, value_delimiter = ',', required = true, value_name = "RECIPE")]
    recipe: Vec<String>,
    /// Inputs to calibrate and judge on, by name, samples on axis 0, as numpy.savez writes them;
    /// a workload has its own
    #[arg(long, value_name = "FILE.npz")]
    data: Option<PathBuf>,
    /// Where artifacts and cards go; `variants/NAME` when left out
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// What must hold after every stage, e.g. `cosine=0.98` or `agreement=0.99`
    #[arg(long, value_name = "FIGURE=LEAST")]
    budget: Option<Budget>,
    /// What happens to a stage that breaks the budget
    #[arg(long, value_enum, default_value_t)]
    on_break: OnBreakFlag,
    /// Samples that ranges follow from, at most
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Samples that decide what is kept, at most
    #[arg(long, value_name = "N")]
    validation: Option<usize>,
    /// The backend that runs models while they are made
    #[arg(long, default_value = "ort:cpu", value_name = "ID")]
    backend: String,
    /// Size of a free dimension in generated inputs, e.g. `seq=64`; may be repeated
    #[arg(long, value_name = "NAME=SIZE")]
    dim: Vec<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum OnBreakFlag {
    /// The chain ends before it
    #[default]
    Stop,
    /// It is left out, and the chain goes on
    BackOff,
}

/// Nodes left in float that are named; the card has all.
const SHOWN: usize = 6;

/// What is printed of a recipe.
#[derive(Serialize)]
struct RecipeJson<'a> {
    recipe: String,
    path: Option<&'a Path>,
    was_there: bool,
    model_size_bytes: Bytes,
    model_quality: &'a [QualityFigure],
    card: &'a Card,
}

pub(super) fn execute(args: &Args, settings: &Settings) -> Result<Ended> {
    let recipes: Vec<Recipe> = args.recipe.iter().map(|r| r.parse()).collect::<Result<_>>()?;
    let backend: BackendId = args.backend.parse()?;
    backend::check_name(&backend)?;
    let run =
        RunArgs { target: Some(args.target.clone()), dim: args.dim.clone(), ..RunArgs::default() };
    let (mut workload, base) = target::workload(&run, &settings.cache)?;
    let mut spec = workload.calibration.clone().unwrap_or_default();
    spec.samples = args.samples.unwrap_or(spec.samples);
    spec.validation = args.validation.unwrap_or(spec.validation);
    if let Some(data) = &args.data {
        let source =
            Source::Path(std::path::absolute(data).map_err(|e| Error::io(data, "find", &e))?);
        let one = TableSource { source, sha256: None, format: None, segment: None };
        spec = CalibrationSpec { packages: Vec::new(), sources: vec![one], ..spec };
    }
    workload.calibration = Some(spec);
    workload.check("the command line")?;
    output::say(&format!("{}: fetching and checking model and data", workload.name));
    let resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
    let library = library(settings, &backend)?;
    let calibration = samples(&resolved, &recipes, args.budget.is_some(), &settings.cache)?;
    let folder =
        args.out.clone().unwrap_or_else(|| settings.variants.join(&resolved.workload.name));
    let on_break = match args.on_break {
        OnBreakFlag::Stop => OnBreak::Stop,
        OnBreakFlag::BackOff => OnBreak::BackOff,
    };
    let maker = Maker {
        resolved: &resolved,
        calibration: &calibration,
        folder: &folder,
        backend,
        library: library.as_ref(),
        threads: hardware::detect().effective_cpus.count,
        program: WorkerCommand::own()?,
        interrupted: interrupt::flag()?,
        budget: args.budget,
        on_break,
    };
    let (mut made, mut failed) = (Vec::new(), false);
    for recipe in &recipes {
        output::say(&format!(
            "{recipe}: {} samples to calibrate on, {} to judge by, from {}",
            calibration.calibration.len(),
            calibration.validation.len(),
            calibration.source
        ));
        match maker.make(recipe, &mut |what| output::say(&format!("  {what}"))) {
            Ok(one) => made.push(one),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            // What was made stays, and what one recipe cannot do does not stop the next.
            Err(error) => {
                output::error(&error);
                failed = true;
            }
        }
    }
    print(args.format, &resolved, &made)?;
    if failed {
        return Ok(Ended::Failed);
    }
    let broken = made.iter().flat_map(|m| &m.card.stages).any(|stage| stage.fate != "kept");
    Ok(if broken { Ended::Negative } else { Ended::Fine })
}

/// ONNX Runtime's library, where `backend` needs it.
fn library(settings: &Settings, backend: &BackendId) -> Result<Option<Library>> {
    if backend.engine != Engine::Ort {
        return Ok(None);
    }
    find_library(settings.ort_dylib.as_deref(), None, &settings.cache).map(Some)
}

/// Samples set aside; of the test set itself where nothing is set aside and nothing is decided on
/// them.
pub(super) fn samples(
    resolved: &Resolved,
    recipes: &[Recipe],
    decides: bool,
    cache: &Cache,
) -> Result<Calibration> {
    let may_do_without = !decides && !recipes.iter().any(Recipe::needs_data);
    if workload::has_calibration(&resolved.workload) || !may_do_without {
        return workload::calibration(resolved, cache);
    }
    let set = Dataset::read(&resolved.data.path)?;
    let all = set.samples().len();
    let spec = CalibrationSpec::default();
    let take = all.min(spec.validation);
    let list: Vec<usize> = (0..take).map(|at| at * all / take).collect();
    let validation: Vec<_> = list.iter().map(|at| set.samples()[*at].clone()).collect();
    Ok(Calibration {
        calibration: validation.iter().take(spec.samples).cloned().collect(),
        validation,
        truth: set.about().truth.subset(&list),
        source: "the test set, of which nothing is set aside".to_owned(),
        generated: resolved.data.generated,
    })
}

fn print(format: Format, resolved: &Resolved, made: &[Made]) -> Result<()> {
    let size = resolved.variants[0].size;
    if format == Format::Json {
        let all: Vec<RecipeJson<'_>> = made
            .iter()
            .map(|m| RecipeJson {
                recipe: m.card.recipe.to_string(),
                path: m.path.as_deref(),
                was_there: m.was_there,
                model_size_bytes: size,
                model_quality: &m.parent_quality,
                card: &m.card,
            })
            .collect();
        return output::figures(&output::json(&all)?);
    }
    let metrics = metrics(made);
    let chains = made.iter().any(|m| m.card.stages.len() > 1);
    // A chain's stages say which recipe it is; its whole name would take the width of the table.
    let mut columns = vec![if chains { "stage" } else { "recipe" }];
    columns.extend(["size", "of model"]);
    columns.extend(metrics.iter().map(String::as_str));
    columns.extend(["nodes", "kept", "verdict"]);
    let mut rows = Vec::new();
    for m in made {
        for stage in &m.card.stages {
            rows.push(row(m, stage, size, &metrics, chains));
        }
    }
    let text = match format {
        Format::Csv => output::csv(&columns, &rows)?,
        Format::Md => output::markdown(&columns, &rows),
        _ => output::ruled(&columns, &rows),
    };
    if !rows.is_empty() {
        output::figures(&text)?;
    }
    let mut said = BTreeSet::new();
    for m in made {
        let recipe = &m.card.recipe;
        // What is to be said of the samples is the same for every recipe.
        for warning in m.card.warnings.iter().filter(|w| said.insert((*w).clone())) {
            output::say(output::wrapped("! ", warning).trim_end());
        }
        let kept: Vec<&(String, String)> = m.card.stages.iter().flat_map(|s| &s.kept).collect();
        for (node, reason) in kept.iter().take(SHOWN) {
            let text = format!("{recipe}: `{node}` stays in float: {reason}");
            output::say(output::wrapped("· ", &text).trim_end());
        }
        if kept.len() > SHOWN {
            let more = kept.len() - SHOWN;
            output::say(&format!(
                "· {recipe}: {more} more nodes stay in float; the card lists all"
            ));
        }
        match &m.path {
            Some(path) if m.was_there => output::say(&format!("{} was there", path.display())),
            Some(path) => output::say(&format!("{} written, with its card", path.display())),
            None => output::say(&format!("{recipe}: nothing kept the budget, nothing was written")),
        }
    }
    Ok(())
}

/// Figures over all samples that any stage has, in their order.
fn metrics(made: &[Made]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for figure in made.iter().flat_map(|m| &m.card.stages).flat_map(|s| &s.quality) {
        if figure.segment == crate::quality::ALL
            && figure.metric != "macro_f1"
            && figure.metric != "max_abs_error"
            && !found.contains(&figure.metric)
        {
            found.push(figure.metric.clone());
        }
    }
    found
}

fn row(
    made: &Made,
    stage: &CardStage,
    model: Bytes,
    metrics: &[String],
    chains: bool,
) -> Vec<String> {
    let none = || "–".to_owned();
    let is_later = made.card.stages.first().is_none_or(|first| first != stage);
    let mut cells = vec![match (chains, is_later) {
        (false, _) => made.card.recipe.to_string(),
        (true, false) => stage.stage.clone(),
        (true, true) => format!("+ {}", stage.stage),
    }];
    cells.push(stage.size_bytes.map_or_else(none, |b| b.to_string()));
    cells.push(
        stage
            .size_bytes
            .map_or_else(none, |b| format!("{:.1} %", b.0 as f64 / model.0.max(1) as f64 * 100.0)),
    );
    for metric in metrics {
        let figure =
            stage.quality.iter().find(|f| f.metric == *metric && f.segment == crate::quality::ALL);
        cells.push(figure.map_or_else(none, shown));
    }
    cells.push(stage.changed.to_string());
    cells.push(stage.kept.len().to_string());
    cells.push(stage.fate.clone());
    cells
}

/// A figure, and with it the paired 95 % interval of its difference to the model, in points.
fn shown(figure: &CardFigure) -> String {
    match (figure.delta_low, figure.delta_high) {
        (Some(low), Some(high)) => {
            format!("{:.3} ({:+.1}…{:+.1})", figure.value, low * 100.0, high * 100.0)
        }
        _ => format!("{:.4}", figure.value),
    }
}
