//! What a command works on: a model, a workload file or a built-in workload, flags applied.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::output;
use super::run::Args;
use crate::artifact::{Cache, Source};
use crate::error::{Error, Result};
use crate::load::{Arrivals, Batching, Open, Scenario};
use crate::units::Nanos;
use crate::variant::BackendId;
use crate::workload::{
    self, DataSpec, GeneratedSpec, LoadSpec, ModelSpec, Resolved, Slo, SloPercentile, Workload,
};

/// The workload to run, flags applied, and the folder that its relative paths start at.
pub(super) fn workload(args: &Args, cache: &Cache) -> Result<(Workload, PathBuf)> {
    let here = PathBuf::from(".");
    let missing = || Error::internal("quickstart", "names no workload");
    let path = args.target.as_ref().ok_or_else(missing)?;
    if path.to_str().is_none() {
        return Err(Error::input(path.display(), "has a name that is not UTF-8")
            .remedy("rename it; records and workloads are text"));
    }
    let built_in = path.to_str().map(|name| format!("{name}.toml"));
    let built_in = built_in.filter(|name| workload::BUILT_IN.iter().any(|(n, _)| n == name));
    let (mut workload, base) = match (built_in, extension(path).as_deref()) {
        (Some(name), _) if !path.exists() => {
            let base = workload::unpack(cache)?;
            (Workload::read(&base.join(name))?, base)
        }
        (_, Some("toml")) => {
            // `w.toml` alone has an empty parent: it starts here.
            let base = path.parent().filter(|p| !p.as_os_str().is_empty());
            (Workload::read(path)?, base.map_or(here, Path::to_owned))
        }
        (_, Some("onnx")) => (for_model(path), here),
        _ if path.is_dir() => (for_model(path), here),
        _ => {
            let names: Vec<&str> =
                workload::BUILT_IN.iter().filter_map(|(n, _)| n.strip_suffix(".toml")).collect();
            return Err(Error::input(path.display(), "is neither a model nor a workload").remedy(
                format!(
                    "give a file that ends in .onnx or .toml, the folder of an encoder, or a \
                     built-in workload: {}",
                    names.join(", ")
                ),
            ));
        }
    };
    apply(args, &mut workload)?;
    Ok((workload, base))
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase)
}

/// A workload for a model that comes without one: generated inputs, default load.
fn for_model(path: &Path) -> Workload {
    let path = path.components().as_path();
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    Workload {
        name: stem.chars().map(plain).collect(),
        baseline: None,
        calibration: None,
        gate: None,
        deployment: None,
        variants: Vec::new(),
        description: "Generated inputs that fit the model's signature".to_owned(),
        model: ModelSpec {
            source: Source::Path(path.to_owned()),
            sha256: None,
            variant: "as-given".to_owned(),
        },
        data: DataSpec {
            generated: Some(GeneratedSpec { samples: 64, seed: 42, dims: BTreeMap::new() }),
            ..DataSpec::default()
        },
        backends: workload::BackendSpec::default(),
        load: LoadSpec::default(),
        quality: None,
    }
}

fn apply(args: &Args, workload: &mut Workload) -> Result<()> {
    if !args.backend.is_empty() {
        workload.backends.ids =
            args.backend.iter().map(|id| id.parse()).collect::<Result<Vec<BackendId>>>()?;
    }
    if let Some(optimization) = args.optimization {
        workload.backends.optimization = optimization;
    }
    if args.no_autotune {
        workload.backends.autotune = false;
    }
    if !args.threads.is_empty() {
        workload.backends.threads.clone_from(&args.threads);
    }
    let load = &mut workload.load;
    let max_delay_ms = args.max_delay.unwrap_or(5.0);
    let fixed = args.batch.iter().map(|size| Batching::Fixed(*size));
    let dynamic = args.max_batch.iter().map(|n| Batching::Dynamic { max_batch: *n, max_delay_ms });
    let batching: Vec<Batching> = fixed.chain(dynamic).collect();
    if !batching.is_empty() {
        load.batching = batching;
    }
    let closed = args.concurrency.iter().map(|n| match n {
        1 => Scenario::Single,
        n => Scenario::Closed { concurrency: *n },
    });
    let open = args
        .rate
        .iter()
        .map(|rate| Scenario::Open(Open { rate: Some(*rate), arrivals: Arrivals::Poisson }));
    let scenarios: Vec<Scenario> = closed.chain(open).collect();
    if !scenarios.is_empty() {
        load.scenarios = scenarios;
    }
    if let Some(ms) = args.slo {
        load.slo = Some(Slo { percentile: SloPercentile::P99, ms });
    }
    if let Some(pairs) = args.pairs {
        load.pairs = pairs;
    }
    if !args.sessions.is_empty() {
        load.sessions.clone_from(&args.sessions);
    }
    if let Some(duration) = args.duration {
        load.duration_s = duration;
    }
    if let Some(attempts) = args.attempts {
        load.attempts = attempts;
    }
    if let Some(seed) = args.seed {
        load.seed = seed;
    }
    match &mut workload.data.generated {
        Some(generated) => {
            generated.seed = args.seed.unwrap_or(generated.seed);
            for text in &args.dim {
                let (name, size) = parse_dim(text)?;
                generated.dims.insert(name, size);
            }
        }
        None if !args.dim.is_empty() => {
            return Err(Error::input(
                "--dim",
                "sizes generated inputs, and this workload has data",
            )
            .remedy("leave it out, or run the model's file itself"));
        }
        None => {}
    }
    workload.check("the command line")
}

pub(super) fn parse_dim(text: &str) -> Result<(String, usize)> {
    text.split_once('=')
        .and_then(|(name, size)| Some((name.to_owned(), size.parse().ok()?)))
        .ok_or_else(|| {
            Error::input(format!("--dim {text}"), "is no size").remedy("write NAME=SIZE: seq=64")
        })
}

pub(super) fn parse_budget(text: &str) -> Result<Nanos> {
    let bad = || {
        Error::input(format!("--budget {text}"), "is no time").remedy("write e.g. 10m, 90s or 1h")
    };
    let span: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
    let span = std::time::Duration::try_from(span).map_err(|_| bad())?;
    if span.is_zero() { Err(bad()) } else { Ok(Nanos::from(span)) }
}

/// Writes the workload with the hashes of what it found, and with absolute paths: those of the
/// original start at another folder.
pub(super) fn save_workload(path: &Path, resolved: &Resolved, base: &Path) -> Result<()> {
    let mut saved = resolved.workload.clone();
    let absolute = |source: &mut Source| {
        if let Source::Path(path) = source
            && let Ok(found) = base.join(&path).canonicalize()
        {
            *path = found;
        }
    };
    let mut sources = vec![&mut saved.model.source];
    sources.extend(saved.variants.iter_mut().filter_map(|v| v.path.as_mut()));
    sources.extend(saved.data.npz.iter_mut().map(|npz| &mut npz.source));
    sources.extend(saved.data.files.iter_mut().map(|files| &mut files.classes.source));
    sources.extend(saved.data.arrays.iter_mut().flat_map(|arrays| &mut arrays.sources));
    if let Some(table) = &mut saved.data.table {
        sources.extend(table.sources.iter_mut().map(|s| &mut s.source));
        sources.extend(table.tokenizer.iter_mut().map(|t| &mut t.source));
    }
    let calibration = saved.calibration.iter_mut().flat_map(|c| &mut c.sources);
    sources.extend(calibration.map(|s| &mut s.source));
    sources.extend(saved.quality.iter_mut().filter_map(|q| q.head.as_mut()));
    sources.into_iter().for_each(absolute);
    for scenario in &mut saved.load.scenarios {
        *scenario = resolved.located(scenario);
    }
    // Generated data follow from the seed and the sizes, which a user may well edit.
    if !resolved.data.generated {
        saved.data.sha256 = Some(resolved.data.sha256.clone());
    }
    if resolved.outline.external_files.is_empty() {
        saved.model.sha256 = Some(resolved.pinned_by.clone());
    }
    let text = format!("# docs/workloads.md lists every key.\n\n{}", saved.to_toml()?);
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(()); // The same command was given before, and goes on with --resume now.
    }
    let mut file = std::fs::File::create_new(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::input(path.display(), "is there already and is not overwritten")
                .remedy("name a new file for --save-workload")
        }
        _ => Error::io(path, "write", &e),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| Error::io(path, "write", &e))?;
    output::say(&format!("workload written to {}", path.display()));
    Ok(())
}
