//! `infermark doctor`: what is there, what is missing, and the remedy.

use std::sync::Arc;

use serde::Serialize;

use super::hardware::gpus;
use super::output::{self, Format};
use super::runtime::Runtime;
use crate::artifact::{PINNED_VERSION, find_library};
use crate::backend::{self, Availability, DeviceInfo, PrepareOptions, Tuning};
use crate::error::Result;
use crate::hardware::{self, Gpus, Host, Root};
use crate::settings::Settings;
use crate::units::{Bytes, VirtualClock};
use crate::variant::{BackendId, Optimization};

#[derive(clap::Args)]
pub(super) struct Args {
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It works.
    Ok,
    /// It could be there and isn't; nothing depends on it.
    Absent,
    /// Measuring works, but less well.
    Warning,
    /// Measuring does not work without it.
    Missing,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    state: State,
    detail: String,
    remedy: Option<String>,
}

impl Check {
    fn new(name: &str, state: State, detail: impl Into<String>, remedy: Option<&str>) -> Self {
        let remedy = remedy.map(ToOwned::to_owned);
        Self { name: name.to_owned(), state, detail: detail.into(), remedy }
    }
}

/// Looks at everything; false when something is missing without which nothing can be measured.
pub(super) fn execute(args: &Args, settings: &Settings) -> Result<bool> {
    let host = hardware::detect();
    let gpus = gpus();
    let mut checks = machine(&host);
    checks.push(cache(settings));
    checks.extend(tools());
    checks.extend(onnxruntime(settings, &host));
    checks.push(candle(&host));
    checks.extend(devices(&gpus, &host));
    let rows = checks.iter().map(|c| {
        let state = serde_json::to_value(c.state).ok().and_then(|v| Some(v.as_str()?.to_owned()));
        [
            c.name.clone(),
            state.unwrap_or_default(),
            c.detail.clone(),
            c.remedy.clone().unwrap_or_default(),
        ]
    });
    let header = ["name", "state", "detail", "remedy"];
    let text = match args.format {
        Format::Json => output::json(&serde_json::json!({ "checks": checks }))?,
        Format::Csv => output::csv(&header, rows)?,
        Format::Md => output::markdown(&header, rows),
        Format::Table => checks.iter().map(lines).collect(),
    };
    output::figures(&text)?;
    Ok(checks.iter().all(|c| c.state != State::Missing))
}

fn lines(check: &Check) -> String {
    let mark = match check.state {
        State::Ok => "ok",
        State::Absent => "–",
        State::Warning => "!",
        State::Missing => "MISSING",
    };
    let mut text = output::wrapped(&format!("{mark:<8} {:<14} ", check.name), &check.detail);
    if let Some(remedy) = &check.remedy {
        text.push_str(&output::wrapped(&" ".repeat(24), &format!("try: {remedy}")));
    }
    text
}

fn machine(host: &Host) -> Vec<Check> {
    let cpus = &host.effective_cpus;
    let cpu =
        format!("{} ({}); {}", host.cpu.model, host.cpu.microarchitecture, host.cpu.isa.join(" "));
    let limited = cpus.count < host.cpu.logical_cpus;
    let state = if limited { State::Warning } else { State::Ok };
    let mut checks = vec![
        Check::new("cpu", State::Ok, cpu, None),
        Check::new("cpus", state, format!("{} effective: {}", cpus.count, cpus.reason), None),
    ];
    let root = Root::live();
    if let Some(governor) = root.text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        let steady = governor == "performance";
        let state = if steady { State::Ok } else { State::Warning };
        let remedy = "`cpupower frequency-set -g performance` keeps clocks from wandering";
        checks.push(Check::new("governor", state, governor, (!steady).then_some(remedy)));
    }
    let meter = root.exists("/sys/class/powercap/intel-rapl:0/energy_uj");
    checks.push(if meter {
        Check::new("power meter", State::Ok, "RAPL", None)
    } else {
        Check::new("power meter", State::Absent, "no RAPL here; energy is not measured", None)
    });
    checks
}

fn cache(settings: &Settings) -> Check {
    let cache = &settings.cache;
    let at = cache.root().display();
    if let Err(error) = cache.scratch() {
        let remedy = Some("set XDG_CACHE_HOME to a folder that can be written");
        return Check::new("cache", State::Missing, format!("{at}: {}", error.message()), remedy);
    }
    let used: u64 = cache.entries().map_or(0, |all| all.iter().map(|e| e.size_bytes.0).sum());
    let free = rustix::fs::statvfs(cache.root()).ok().map(|s| s.f_bavail * s.f_frsize);
    let low = free.is_some_and(|free| free < 2_000_000_000);
    let free = free.map_or_else(String::new, |free| format!(", {} free", Bytes(free)));
    let state = if low { State::Warning } else { State::Ok };
    let remedy = low.then_some("free some space; models need up to a gigabyte");
    Check::new("cache", state, format!("{at}: {}{free}", Bytes(used)), remedy)
}

fn tools() -> Vec<Check> {
    let runs = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program).args(args).output();
        output.is_ok_and(|o| o.status.success())
    };
    let pip = [
        ("pip", &["--version"][..]),
        ("python3", &["-m", "pip", "--version"]),
        ("uvx", &["--version"]),
    ];
    let pip = pip.iter().find(|(program, args)| runs(program, args)).map(|(program, _)| *program);
    let npm = runs("npm", &["--version"]);
    vec![
        match pip {
            Some(program) => Check::new("pypi", State::Ok, format!("through {program}"), None),
            None => Check::new(
                "pypi",
                State::Warning,
                "no pip or uv: `pypi:` sources and ONNX Runtime cannot be fetched",
                Some("install pip (Debian: `apt-get install python3-pip`) or uv"),
            ),
        },
        if npm {
            Check::new("npm", State::Ok, "through npm", None)
        } else {
            Check::new(
                "npm",
                State::Warning,
                "no npm: `npm:` sources (the sentiment workload's data) cannot be fetched",
                Some("install npm (Debian: `apt-get install npm`)"),
            )
        },
    ]
}

/// Whether a backend can be used, `library` being the runtime's where it has one; `detail` says what was
/// found.
fn engine(
    name: &str,
    absent: State,
    host: &Host,
    library: Option<(std::path::PathBuf, String)>,
    detail: impl Fn(&DeviceInfo) -> String,
) -> Check {
    let options = PrepareOptions {
        threads: host.effective_cpus.count,
        optimization: Optimization::default(),
        spinning: true,
        library,
        weights: Bytes(0),
        tuning: Tuning::default(),
    };
    let available = name
        .parse::<BackendId>()
        .and_then(|id| backend::open(&id, Arc::new(VirtualClock::default())))
        .map(|engine| engine.availability(&options));
    match available {
        Ok(Availability::Ready(device)) => Check::new(name, State::Ok, detail(&device), None),
        Ok(Availability::Missing(error)) | Err(error) => {
            Check::new(name, absent, error.message(), error.remedy_text())
        }
    }
}

/// The candle backend, which needs nothing that is not in the binary.
fn candle(host: &Host) -> Check {
    engine("candle:cpu", State::Absent, host, None, |device| {
        format!("{} {}, {}", device.runtime.name, device.runtime.version, device.name)
    })
}

fn onnxruntime(settings: &Settings, host: &Host) -> Vec<Check> {
    let mut checks = Vec::new();
    let cache = settings.cache.clone().offline();
    let library = match find_library(settings.ort_dylib.as_deref(), None, &cache) {
        Ok(library) => library,
        Err(error) => {
            let will = if settings.cache.access().offline {
                format!("none here, and --offline fetches none; {PINNED_VERSION} would be fetched")
            } else {
                format!("none here; the first run fetches {PINNED_VERSION} from its wheel")
            };
            let (state, detail) = if settings.ort_dylib.is_some() {
                (State::Missing, error.to_string())
            } else {
                (State::Absent, will)
            };
            return vec![Check::new("ONNX Runtime", state, detail, None)];
        }
    };
    for passed in &library.passed_over {
        checks.push(Check::new(
            "ONNX Runtime",
            State::Warning,
            format!("passed over: {passed}"),
            None,
        ));
    }
    for (name, absent) in
        [("ort:cpu", State::Missing), ("ort:cuda", State::Absent), ("ort:openvino", State::Absent)]
    {
        let file = Some((library.path.clone(), library.sha256.clone()));
        checks.push(engine(name, absent, host, file, |device| {
            let (runtime, at) = (&device.runtime, library.path.display());
            format!("{} {} (found by {}) {at}", runtime.name, runtime.version, library.found_by)
        }));
    }
    checks
}

fn devices(gpus: &Gpus, host: &Host) -> Vec<Check> {
    let mut checks: Vec<Check> = gpus
        .adapters
        .iter()
        .map(|a| {
            let software = a.device_type == "software";
            let state = if software { State::Warning } else { State::Ok };
            let detail = format!("{} ({}, {})", a.name, a.backend, a.device_type);
            Check::new("adapter", state, detail, None)
        })
        .chain(gpus.nvidia.iter().map(|g| {
            let detail = format!("{}, compute capability {}", g.name, g.compute_capability);
            Check::new("nvidia", State::Ok, detail, None)
        }))
        .chain(gpus.notes.iter().map(|note| Check::new("gpu", State::Absent, note, None)))
        .collect();
    for offer in Runtime::offers(host) {
        checks.push(Check::new("offer", State::Ok, offer, None));
    }
    checks
}
