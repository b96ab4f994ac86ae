//! What a process and its machine do while something is measured, looked at at a declared rate from a
//! thread of its own.

use std::sync::mpsc;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::energy::{self, EnergyMeter};
use super::root::Root;
use crate::units::Nanos;

/// How often is looked: ten times a second, some 50 µs each time.
const PERIOD: Nanos = Nanos::from_millis(100);
/// Memory is counted in pages of 4 KiB on every platform that we support.
const PAGE: u64 = 4096;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Looks a second.
    pub rate_hz: f64,
    /// Resident set of this process in bytes, look by look.
    pub rss: Vec<u64>,
    /// Mean clock of all CPUs in MHz, look by look; empty where cpufreq says nothing.
    pub mhz: Vec<f64>,
    /// Share of the time in which some process waited for a CPU (PSI); `None` where the kernel keeps none.
    pub waiting_share: Option<f64>,
    /// Seconds from the first reading of counters to the last.
    pub seconds: f64,
    /// Joules by the counters of the processor's packages (RAPL); `None` where it has none.
    pub joules: Option<f64>,
    /// Joules by the counter of the NVIDIA GPU that was asked for; `None` where it has none.
    pub gpu_joules: Option<f64>,
}

/// Looks until it is stopped.
pub struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Samples>,
}

impl Sampler {
    /// Begins to look, at an NVIDIA GPU too where one is named.
    pub fn start(gpu: Option<u32>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || look(&stopped, gpu));
        Self { stop, thread }
    }

    /// What was seen until now.
    pub fn stop(self) -> Samples {
        // It may have ended by itself only by a panic: then nothing was seen.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn look(stopped: &mpsc::Receiver<()>, gpu: Option<u32>) -> Samples {
    use crate::units::{Clock, RealClock};
    let root = Root::live();
    // Loading NVML takes long enough to matter: before the clock starts.
    let nvml = gpu.and_then(|_| nvml_wrapper::Nvml::init().ok());
    let gpu_joules = || energy::nvidia_joules(nvml.as_ref()?, gpu?);
    let clock = RealClock::start();
    let waited_before = waited(&root);
    let gpu_before = gpu_joules();
    let mut meter = EnergyMeter::start(&root);
    let cpus = root.numbered("/sys/devices/system/cpu", "cpu");
    let mut samples = Samples { rate_hz: 1.0 / PERIOD.as_secs_f64(), ..Samples::default() };
    loop {
        samples.rss.extend(rss(&root));
        samples.mhz.extend(mhz(&root, &cpus));
        if let Some(meter) = &mut meter {
            meter.read(&root);
        }
        match stopped.recv_timeout(PERIOD.into()) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            _ => break,
        }
    }
    if let Some(meter) = &mut meter {
        meter.read(&root);
    }
    samples.joules = meter.map(|meter| meter.joules());
    let gpu_after = gpu_joules();
    samples.gpu_joules = gpu_before.zip(gpu_after).map(|(before, after)| after - before);
    let length = clock.now().as_secs_f64();
    samples.seconds = length;
    samples.waiting_share = waited_before
        .zip(waited(&root))
        .filter(|_| length > 0.0)
        .map(|(before, after)| after.saturating_sub(before) as f64 / 1e6 / length);
    samples
}

/// Second number of `/proc/self/statm`: resident pages (proc(5)).
fn rss(root: &Root) -> Option<u64> {
    let text = root.text("/proc/self/statm")?;
    text.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * PAGE)
}

/// `total` of `some` in `/proc/pressure/cpu`, in µs.
fn waited(root: &Root) -> Option<u64> {
    let text = root.text("/proc/pressure/cpu")?;
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

fn mhz(root: &Root, cpus: &[(u32, String)]) -> Option<f64> {
    let of = |name: &String| {
        root.number(format!("/sys/devices/system/cpu/{name}/cpufreq/scaling_cur_freq"))
    };
    let all: Vec<u64> = cpus.iter().filter_map(|(_, name)| of(name)).collect();
    (!all.is_empty()).then(|| all.iter().sum::<u64>() as f64 / all.len() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_looked_at() {
        let sampler = Sampler::start(None);
        std::thread::sleep(std::time::Duration::from_millis(250));
        let samples = sampler.stop();
        assert!(samples.rss.len() >= 2 && samples.rss.iter().all(|rss| *rss > 100_000));
    }

    #[test]
    fn the_kernels_pressure_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/pressure")).unwrap();
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 total=9\n";
        std::fs::write(folder.path().join("proc/pressure/cpu"), text).unwrap();
        assert_eq!(waited(&Root::at(folder.path())), Some(1234));
    }
}
