//! Our recipes beside the reference tools: size, quality on the test set, and latency.
//!
//! Both make variants of the same model with the same parameters from the same calibration samples.
//! Quality is compared on the whole test set, sample by sample; latency by two live workers that take
//! turns in short bursts of the same real inputs, 1 thread, over fresh process pairs. Run with
//! `make recipes PYTHON=…`, which has onnxruntime, onnx, `onnx_ir`, sympy and numpy.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use infermark::artifact::{Library, find_library};
use infermark::backend::PrepareOptions;
use infermark::compress::OnBreak;
use infermark::error::{Error, Result};
use infermark::measure::{
    self, Command, Event, Maker, PairPlan, PrepareSpec, Side, Worker, WorkerCommand,
    outputs_of_variant,
};
use infermark::quality::{self, ALL, Metric, Outputs, QualityFigure, TestSet, Truth};
use infermark::settings::Settings;
use infermark::units::Nanos;
use infermark::variant::{Lineage, Optimization, Recipe, Variant};
use infermark::workload::{self, Calibration, Resolved, Split, Workload, artifact_facts};
use infermark::{hardware, stats};

const PATIENCE: Nanos = Nanos::from_secs(120);

/// Recipes by workload.
const WORK: [(&str, &str); 4] = [
    (
        "sentiment",
        "fp16 int8-dynamic int8-dynamic-embeddings int8-static int8-static-percentile-99.99 \
         int8-static-entropy int8-static-every-op int4-b32 int4-b32-asymmetric int8-b32",
    ),
    (
        "paraphrase",
        "fp16 int8-dynamic int8-dynamic-embeddings int8-static int4-b32 int4-b32-asymmetric int8-b32",
    ),
    (
        "magika",
        "fp16 int8-dynamic int8-dynamic-conv int8-static int4-b32 int4-b32-asymmetric int8-b32",
    ),
    (
        "digits",
        "fp16 int8-dynamic-conv int8-static int8-static-percentile-99.99 int8-static-entropy",
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value =
        |flag: &str| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1)).cloned();
    let number =
        |flag: &str, default| value(flag).and_then(|text| text.parse().ok()).unwrap_or(default);
    let Some(python) = value("--python") else {
        println!(
            "nothing compared: --python PYTHON names the interpreter with the reference tools"
        );
        return ExitCode::SUCCESS;
    };
    // `--only WORKLOAD` and `--recipes "A B"` for a part of it.
    let only = value("--only");
    let bench = Bench { pairs: number("--pairs", 8), rounds: number("--rounds", 40), python };
    for (name, recipes) in WORK {
        if only.as_ref().is_none_or(|only| only == name)
            && let Err(error) =
                bench.workload(name, value("--recipes").as_deref().unwrap_or(recipes))
        {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

struct Bench {
    pairs: u32,
    rounds: u32,
    python: String,
}

/// What both files of a recipe are compared with.
struct Setting {
    resolved: Resolved,
    /// The labelled samples that are set aside, where there are any: our recipes and the reference
    /// tools' have seen the same of them.
    aside: Option<Resolved>,
    library: Library,
    own: WorkerCommand,
}

impl Bench {
    fn workload(&self, name: &str, recipes: &str) -> Result<()> {
        let settings = Settings::from_environment();
        let unpacked = workload::unpack(&settings.cache)?;
        let base = match name {
            "paraphrase" => Path::new(env!("CARGO_MANIFEST_DIR")).join("benches"),
            _ => unpacked,
        };
        let workload = Workload::read(&base.join(format!("{name}.toml")))?;
        let aside = workload::resolve(workload.clone(), Split::Train, &base, &settings.cache).ok();
        let resolved = workload::resolve(workload, Split::Test, &base, &settings.cache)?;
        let calibration = workload::calibration(&resolved, &settings.cache)?;
        let library = find_library(settings.ort_dylib.as_deref(), None, &settings.cache)?;
        let program = PathBuf::from(env!("CARGO_BIN_EXE_infermark"));
        let own = WorkerCommand { program, args: vec!["worker".into()], cpus: None };
        let setting = Setting { resolved, aside, library, own };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names: Vec<&str> = recipes.split_whitespace().collect();
        self.references(&setting, &calibration, folder.path(), &names)?;
        let host = hardware::detect();
        let resolved = &setting.resolved;
        let model = &resolved.variants[0];
        println!(
            "\n## {name}: {}, {} test samples, {}, ONNX Runtime library {}\n",
            model.size,
            resolved.data.samples,
            host.hardware_class,
            &setting.library.sha256[..12]
        );
        let parents = outputs(&setting, &setting.resolved, &model.path)?;
        println!(
            "| recipe | size, ours | reference | cosine, ours | reference | accuracy, ours | reference | accuracy, ours − reference, points | cosine, ours − reference, points | p50 ratio |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        println!(
            "| *the model* | {} | | | | {:.4} | | | | |",
            model.size,
            accuracy(&figures(&setting, &parents, None)?).map_or(f64::NAN, |f| f.value)
        );
        for name in names {
            let recipe: Recipe = name.parse()?;
            let maker = Maker {
                resolved,
                calibration: &calibration,
                folder: &folder.path().join("ours"),
                backend: "ort:cpu".parse()?,
                library: Some(&setting.library),
                threads: host.effective_cpus.count,
                program: setting.own.clone(),
                interrupted: Arc::new(AtomicBool::new(false)),
                budget: None,
                on_break: OnBreak::Stop,
            };
            let made = maker.make(&recipe, &mut |_| ())?;
            let ours = made.path.ok_or_else(|| Error::internal(name, "was not made"))?;
            let reference = folder.path().join(format!("{name}.onnx"));
            self.row(&setting, name, &parents, &ours, &reference)?;
        }
        Ok(())
    }

    /// Lets the reference tools make their files from the same samples.
    fn references(
        &self,
        setting: &Setting,
        calibration: &Calibration,
        folder: &Path,
        names: &[&str],
    ) -> Result<()> {
        let samples = folder.join("samples.npz");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&samples).expect("a file"));
        for (at, sample) in calibration.calibration.iter().enumerate() {
            for (name, tensor) in &sample.0 {
                let stored = zip::write::SimpleFileOptions::default()
                    .compression_method(zip::CompressionMethod::Stored);
                zip.start_file(format!("{at}/{name}.npy"), stored).expect("an entry");
                zip.write_all(&workload::npy(tensor)?).expect("an array");
            }
        }
        zip.finish().expect("an archive");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/recipes.py");
        let status = std::process::Command::new(&self.python)
            .arg(script)
            .args([&setting.resolved.variants[0].path, &samples])
            .arg(folder)
            .args(names)
            .stdout(std::process::Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(Error::input(&self.python, format!("did not make references: {other:?}"))
                .remedy("it needs onnxruntime, onnx, onnx_ir, sympy and numpy")),
        }
    }

    fn row(
        &self,
        setting: &Setting,
        name: &str,
        parents: &Outputs,
        ours: &Path,
        reference: &Path,
    ) -> Result<()> {
        let answers = outputs(setting, &setting.resolved, ours)?;
        let mine = figures(setting, &answers, Some(parents))?;
        let size = artifact_facts(ours)?.size;
        // What a tool could not make, or made so that no engine loads it, is said and compared no more.
        let theirs = if reference.is_file() {
            outputs(setting, &setting.resolved, reference)
                .inspect_err(|e| eprintln!("{name}, reference: {e}"))
                .ok()
        } else {
            None
        };
        let Some(theirs) = theirs else {
            let mine = (cosine(&mine), accuracy(&mine).map_or(f64::NAN, |f| f.value));
            println!("| {name} | {size} | – | {:.4} | – | {:.4} | – | – | – | – |", mine.0, mine.1);
            return Ok(());
        };
        let other = figures(setting, &theirs, Some(parents))?;
        let apart = setting.apart(ours, reference, &answers, &theirs)?;
        let ratio = self.ratio(setting, reference, ours)?;
        let nearer = nearer(&answers, &theirs, parents);
        println!(
            "| {name} | {size} | {} | {:.4} | {:.4} | {:.4} | {:.4} | {:+.2} [{:+.2}, {:+.2}] | {:+.2} [{:+.2}, {:+.2}] | {:.3} [{:.3}, {:.3}] |",
            artifact_facts(reference)?.size,
            cosine(&mine),
            cosine(&other),
            accuracy(&mine).map_or(f64::NAN, |f| f.value),
            accuracy(&other).map_or(f64::NAN, |f| f.value),
            apart.value * 100.0,
            apart.low.unwrap_or(f64::NAN) * 100.0,
            apart.high.unwrap_or(f64::NAN) * 100.0,
            nearer.value * 100.0,
            nearer.low.unwrap_or(f64::NAN) * 100.0,
            nearer.high.unwrap_or(f64::NAN) * 100.0,
            ratio.0,
            ratio.1,
            ratio.2,
        );
        Ok(())
    }

    /// Our p50 by the reference's, with its 95 % interval over process pairs.
    fn ratio(&self, setting: &Setting, reference: &Path, ours: &Path) -> Result<(f64, f64, f64)> {
        let side = |path: &Path| -> Result<Side> {
            let spec = spec(setting, &setting.resolved, path, 1, 1)?;
            Ok(Side { name: path.display().to_string(), program: setting.own.clone(), spec })
        };
        let plan = PairPlan {
            first: 0,
            pairs: self.pairs,
            rounds: self.rounds,
            burst: Nanos::from_millis(10),
            warmup: Nanos::from_millis(300),
            samples: setting.resolved.data.samples,
            seed: 1,
            patience: PATIENCE,
        };
        let mut differences = Vec::new();
        let flag = Arc::new(AtomicBool::new(false));
        measure::compare(&side(reference)?, &side(ours)?, plan, &flag, &mut |_, bursts| {
            differences.push(bursts.log_ratio()?);
            Ok(())
        })?;
        let hl = stats::hodges_lehmann(&differences, stats::CONFIDENCE).expect("pairs were run");
        Ok((hl.estimate.exp(), hl.low.exp(), hl.high.exp()))
    }
}

impl Setting {
    /// By how much our accuracy differs from the reference's, paired, on all labelled samples: those
    /// of the test and those set aside.
    fn apart(
        &self,
        ours: &Path,
        reference: &Path,
        answers: &Outputs,
        theirs: &Outputs,
    ) -> Result<stats::Interval> {
        let mut right = (self.right(&self.resolved, answers), self.right(&self.resolved, theirs));
        if let Some(aside) = &self.aside {
            right.0.extend(self.right(aside, &outputs(self, aside, ours)?));
            right.1.extend(self.right(aside, &outputs(self, aside, reference)?));
        }
        let both = || right.0.iter().zip(&right.1);
        let gained = both().filter(|(a, b)| **a && !**b).count();
        let lost = both().filter(|(a, b)| !**a && **b).count();
        let apart = stats::paired_difference(gained, lost, right.0.len(), stats::CONFIDENCE);
        Ok(apart.expect("there are samples"))
    }

    /// Whether each sample was decided right.
    fn right(&self, resolved: &Resolved, outputs: &Outputs) -> Vec<bool> {
        let Truth::Classes { labels, .. } = &resolved.data.about.truth else { return Vec::new() };
        let scores = self.resolved.head.as_ref().map(|head| outputs.through(head));
        let said = scores.as_ref().unwrap_or(outputs).classes();
        said.iter().zip(labels).map(|(said, label)| said == label).collect()
    }
}

fn spec(
    setting: &Setting,
    resolved: &Resolved,
    path: &Path,
    threads: usize,
    seed: u64,
) -> Result<PrepareSpec> {
    let facts = artifact_facts(path)?;
    let variant = Variant {
        name: "compared".to_owned(),
        recipe: Recipe::External,
        path: path.to_owned(),
        sha256: facts.sha256,
        size: facts.size,
        weights: facts.outline.weights,
        lineage: Lineage::default(),
    };
    let options = PrepareOptions {
        threads,
        optimization: Optimization::All,
        spinning: true,
        library: Some((setting.library.path.clone(), setting.library.sha256.clone())),
        weights: facts.outline.weights,
        tuning: infermark::backend::Tuning::default(),
    };
    let data = resolved.data.path.clone();
    Ok(PrepareSpec { seed, ..PrepareSpec::alone(variant, "ort:cpu".parse()?, options, data) })
}

/// What a file answers to every sample of a set.
fn outputs(setting: &Setting, resolved: &Resolved, path: &Path) -> Result<Outputs> {
    let flag = Arc::new(AtomicBool::new(false));
    let threads = hardware::detect().effective_cpus.count;
    let mut worker = Worker::start(&setting.own, "a variant", threads, flag)?;
    match worker
        .ask(&Command::Prepare(Box::new(spec(setting, resolved, path, threads, 1)?)), PATIENCE)?
        .0
    {
        Event::Prepared { .. } => {}
        other => return Err(worker.unexpected(&other)),
    }
    let quality = setting.resolved.workload.quality.as_ref();
    let output = quality.and_then(|q| q.output.as_deref());
    let all = outputs_of_variant(&mut worker, output, resolved.data.samples, PATIENCE)?;
    worker.quit()?;
    Ok(all)
}

fn figures(
    setting: &Setting,
    outputs: &Outputs,
    parents: Option<&Outputs>,
) -> Result<Vec<QualityFigure>> {
    let truth = &setting.resolved.data.about.truth;
    let head = setting.resolved.head.as_ref();
    quality::evaluate(TestSet { truth, segments: None, head }, outputs, parents, None)
}

fn accuracy(figures: &[QualityFigure]) -> Option<&QualityFigure> {
    figures.iter().find(|f| f.metric == Metric::Accuracy && f.segment == ALL)
}

fn cosine(figures: &[QualityFigure]) -> f64 {
    figures.iter().find(|f| f.metric == Metric::Cosine).map_or(f64::NAN, |f| f.value)
}

/// By how much our answers are nearer to the model's, sample by sample.
fn nearer(ours: &Outputs, theirs: &Outputs, parents: &Outputs) -> stats::Interval {
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |x: &[f32], y: &[f32]| -> f64 {
            x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
    };
    let rows = ours.rows.iter().zip(&theirs.rows).zip(&parents.rows);
    let apart: Vec<f64> = rows
        .map(|((ours, theirs), parent)| cosine(ours, parent) - cosine(theirs, parent))
        .collect();
    stats::bootstrap_mean(&apart, stats::CONFIDENCE).expect("there are samples")
}
