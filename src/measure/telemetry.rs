//! What counters and looks of a window say, as figures.

use super::protocol::Loaded;
use crate::hardware::{Host, estimated_watts};
use crate::stats::{self, CONFIDENCE, Trend};
use crate::store::{EnergyRecord, Summary, Telemetry};
use crate::units::{Bytes, Nanos};

/// Ticks of `/proc` are 10 ms on every Linux that user space can see (`USER_HZ`, time(7)).
const TICKS_PER_SECOND: f64 = 100.0;
/// Fewer ticks than this cannot resolve a share of 5 %.
const LEAST_TICKS: u64 = 40;

/// The figures of a window.
pub(super) fn telemetry(loaded: &Loaded, parent_ticks: u64) -> Telemetry {
    let machine = loaded.total_ticks;
    let share = |ticks: u64| (machine >= LEAST_TICKS).then(|| ticks as f64 / machine as f64);
    let counted = loaded.counted;
    let per_second = |ticks: u64| {
        (counted > Nanos::from_millis(200))
            .then(|| ticks as f64 / TICKS_PER_SECOND / counted.as_secs_f64())
    };
    let own = loaded.worker_ticks + parent_ticks;
    let seen = &loaded.samples;
    Telemetry {
        worker_cpus: per_second(loaded.worker_ticks),
        parent_cpus: per_second(parent_ticks),
        foreign_share: share(loaded.busy_ticks.saturating_sub(own)),
        steal_share: share(loaded.steal_ticks),
        throttled_share: loaded
            .throttled_ns
            .filter(|_| counted.0 > 0)
            .map(|ns| ns as f64 / counted.0 as f64),
        sample_rate_hz: (!seen.rss.is_empty()).then_some(seen.rate_hz),
        samples: (!seen.rss.is_empty()).then_some(seen.rss.len()),
        rss_bytes: seen.rss.iter().max().copied().map(Bytes),
        rss_change: rss_trend(loaded).map(|trend| trend.change),
        mhz: (!seen.mhz.is_empty()).then(|| seen.mhz.iter().sum::<f64>() / seen.mhz.len() as f64),
        mhz_low: seen.mhz.iter().copied().reduce(f64::min),
        waiting_share: seen.waiting_share,
    }
}

/// Growth of the worker's resident set over the window.
pub(super) fn rss_trend(loaded: &Loaded) -> Option<Trend> {
    let rss: Vec<f64> = loaded.samples.rss.iter().map(|bytes| *bytes as f64).collect();
    stats::trend(&rss, CONFIDENCE)
}

/// What a sample drew: by counters where there are any, otherwise estimated from the machine's use.
pub(super) fn energy(loaded: &Loaded, summary: &Summary, host: &Host) -> Option<EnergyRecord> {
    let rate = summary.throughput.as_ref().map(|t| t.value).filter(|rate| *rate > 0.0)?;
    let seen = &loaded.samples;
    let seconds = seen.seconds;
    let counted = |joules: Option<f64>| joules.filter(|_| seconds > 0.0);
    let (watts, source) = match (counted(seen.joules), counted(seen.gpu_joules)) {
        (Some(cpu), Some(gpu)) => {
            ((cpu + gpu) / seconds, "measured: RAPL packages and NVML".to_owned())
        }
        (Some(cpu), None) => (cpu / seconds, "measured: RAPL packages".to_owned()),
        (None, Some(gpu)) => (gpu / seconds, "measured: NVML, the GPU alone".to_owned()),
        (None, None) => {
            let used = Some(loaded.total_ticks).filter(|all| *all >= LEAST_TICKS)?;
            let used = loaded.busy_ticks as f64 / used as f64;
            estimated_watts(&host.cpu.microarchitecture, host.cpu.logical_cpus, used)?
        }
    };
    Some(EnergyRecord { joules_per_inference: watts / rate, watts, source })
}
