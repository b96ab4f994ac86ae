//! ONNX Runtime, loaded from a shared library at run time.

mod coverage;
mod ep;
mod profile;
mod session;
mod version;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::Session as Native;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use self::ep::Provider;
use self::session::OrtSession;
use super::{
    Availability, Backend, Coverage, DeviceInfo, Inspection, PrepareOptions, Prepared,
    PreparedFacts, RuntimeInfo, Session, Trace,
};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::units::{Clock, RealClock};
use crate::variant::{BackendId, Optimization, ShapePolicy, Tensors, Variant};

/// ONNX Runtime with one execution provider.
pub(super) struct OrtBackend {
    id: BackendId,
    provider: Provider,
}

impl OrtBackend {
    pub(super) fn new(id: BackendId) -> Result<Self> {
        let provider = Provider::parse(&id)?;
        Ok(Self { id, provider })
    }
}

impl Backend for OrtBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn availability(&self, options: &PrepareOptions) -> Availability {
        let probe = || -> Result<DeviceInfo> {
            let (environment, runtime) = environment(options)?;
            let mut builder = SessionBuilder::new(environment).map_err(|e| internal(&e))?;
            self.provider.register(&mut builder, options.threads)?;
            Ok(DeviceInfo { name: self.provider.name().to_owned(), runtime })
        };
        probe().map_or_else(Availability::Missing, Availability::Ready)
    }

    fn coverage(&self, model: &Path, options: &PrepareOptions) -> Result<Coverage> {
        let loader = |path: &Path| -> Result<Loader> {
            let (environment, _) = environment(options)?;
            let (provider, path) = (self.provider, path.to_owned());
            Ok(Loader { environment, provider, options: options.clone(), path })
        };
        coverage::of(model, |path| loader(path)?.build(None).map(drop))
    }

    fn prepare(&self, variant: &Variant, options: &PrepareOptions) -> Result<Box<dyn Prepared>> {
        let (environment, runtime) = environment(options)?;
        let clock = RealClock::start();
        read_once(&variant.path)?;
        let load = clock.now();
        let loader = Loader {
            environment,
            provider: self.provider,
            options: options.clone(),
            path: variant.path.clone(),
        };
        let session = loader.build(None)?;
        let compile = clock.now() - load;
        let facts = PreparedFacts {
            device: self.provider.name().to_owned(),
            runtime,
            threads: options.threads,
            shapes: ShapePolicy::Dynamic,
            load,
            compile,
            weights: options.weights,
            numerics: Vec::new(),
        };
        Ok(Box::new(OrtPrepared { loader, first: RefCell::new(Some(session)), facts }))
    }
}

/// Everything needed to make one more session of the same kind.
struct Loader {
    environment: &'static Environment,
    provider: Provider,
    options: PrepareOptions,
    path: PathBuf,
}

impl Loader {
    /// A new native session; with `profile`, one that writes a profile under that prefix.
    fn build(&self, profile: Option<&Path>) -> Result<Native> {
        let level = match self.options.optimization {
            Optimization::None => GraphOptimizationLevel::Disable,
            Optimization::Basic => GraphOptimizationLevel::Level1,
            Optimization::Extended => GraphOptimizationLevel::Level2,
            Optimization::All => GraphOptimizationLevel::All,
        };
        let configure = || -> ort::Result<SessionBuilder> {
            let builder = SessionBuilder::new(self.environment)?
                .with_optimization_level(level)?
                .with_intra_threads(self.options.threads)?
                .with_inter_threads(1)?
                .with_intra_op_spinning(self.options.spinning)?
                .with_inter_op_spinning(false)?;
            match profile {
                Some(prefix) => Ok(builder.with_profiling(prefix)?),
                None => Ok(builder),
            }
        };
        let mut builder = configure().map_err(|e| internal(&e))?;
        self.provider.register(&mut builder, self.options.threads)?;
        builder.commit_from_file(&self.path).map_err(|e| {
            // What is wrong with the file itself we can say with the node's or tensor's name.
            if let Err(ours) = Graph::read(&self.path) {
                return ours;
            }
            Error::input(
                self.path.display(),
                format!("ONNX Runtime cannot load the model: {}", one_line(e.message())),
            )
            .remedy("check that it is complete, and that this ONNX Runtime knows its opset")
        })
    }
}

/// Reads a file from beginning to end without keeping it: what loading costs before the engine
/// sees the first byte. The engine then reads it from the page cache.
fn read_once(path: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::io(path, "read the model", &e);
    let mut file = std::fs::File::open(path).map_err(fail)?;
    std::io::copy(&mut file, &mut std::io::sink()).map(drop).map_err(fail)
}

struct OrtPrepared {
    loader: Loader,
    first: RefCell<Option<Native>>,
    facts: PreparedFacts,
}

impl Prepared for OrtPrepared {
    fn spawn(&self) -> Result<Box<dyn Session>> {
        let native = match self.first.borrow_mut().take() {
            Some(native) => native,
            None => self.loader.build(None)?,
        };
        Ok(Box::new(OrtSession::new(native)))
    }

    fn facts(&self) -> &PreparedFacts {
        &self.facts
    }

    fn inspect(&self, sample: &Tensors, _profile: bool) -> Result<Option<Inspection>> {
        let folder = tempfile::tempdir().map_err(|e| {
            Error::environment("profiling", format!("no temporary folder: {e}"))
                .remedy("set TMPDIR to a folder that can be written")
        })?;
        let native = self.loader.build(Some(&folder.path().join("profile")))?;
        let mut session = OrtSession::new(native);
        // The first run also allocates; the second one is what serving looks like.
        for _ in 0..2 {
            session.run(sample, &mut Trace::default())?;
        }
        let file = session.end_profiling()?;
        let text = std::fs::read_to_string(&file)
            .map_err(|e| Error::io(Path::new(&file), "read the profile", &e))?;
        let ops = profile::op_table(&text)?;
        Ok(Some(Inspection { ops, ceilings: None }))
    }
}

/// The process's one environment, from the library in `options`.
///
/// ONNX Runtime allows one library a process; asking for a second one is a defect of ours.
fn environment(options: &PrepareOptions) -> Result<(&'static Environment, RuntimeInfo)> {
    static LOADED: OnceLock<(PathBuf, Environment)> = OnceLock::new();
    let Some((path, sha256)) = &options.library else {
        return Err(Error::internal("ONNX Runtime", "no library was chosen before loading it"));
    };
    if LOADED.get().is_none() {
        let builder = ort::init_from(path).map_err(|e| {
            Error::environment(path.display(), format!("cannot be used: {e}")).remedy(format!(
                "use ONNX Runtime 1.{} or newer for this machine, by ORT_DYLIB_PATH or pip",
                ort::MINOR_VERSION
            ))
        })?;
        let environment = builder.with_telemetry(false).build().map_err(|e| internal(&e))?;
        environment.set_log_level(ort::logging::LogLevel::Error);
        // A second thread may have been first; its environment is as good.
        let _ = LOADED.set((path.clone(), environment));
    }
    let Some((loaded, environment)) = LOADED.get() else {
        return Err(Error::internal("ONNX Runtime", "its environment vanished"));
    };
    if loaded != path {
        return Err(Error::internal(
            path.display(),
            format!("{} is already loaded in this process", loaded.display()),
        ));
    }
    let runtime = RuntimeInfo {
        name: "onnxruntime".to_owned(),
        version: version::of_library(path)?,
        path: Some(path.clone()),
        sha256: Some(sha256.clone()),
    };
    Ok((environment, runtime))
}

fn internal(error: &ort::Error) -> Error {
    Error::environment("ONNX Runtime", one_line(error.message()))
        .remedy("check the library that ORT_DYLIB_PATH or `found_by` names")
}

/// ONNX Runtime's messages can span lines and carry its own source paths and signatures; what went
/// wrong stands at their end.
fn one_line(message: &str) -> String {
    let line: Vec<char> =
        message.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    if line.len() <= 360 {
        return line.into_iter().collect();
    }
    let (first, last) = (&line[..100], &line[line.len() - 250..]);
    format!("{} … {}", first.iter().collect::<String>(), last.iter().collect::<String>())
}
