//! How a machine is built: sockets, cores, threads, NUMA nodes, caches, clocks, and how its
//! frequency is governed. Every fact is `None` where the system does not say.

use std::collections::BTreeSet;

use serde::Serialize;

use super::cpu::field;
use super::root::{Root, count_of_list};

/// How a machine is built.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Topology {
    pub sockets: Option<usize>,
    pub physical_cores: Option<usize>,
    /// More than 1 where cores run several threads (SMT).
    pub threads_per_core: Option<usize>,
    pub numa_nodes: Option<usize>,
    pub caches: Vec<CacheLevel>,
    pub base_mhz: Option<u64>,
    pub max_mhz: Option<u64>,
    /// As the kernel reported it at the moment of reading.
    pub current_mhz: Option<f64>,
    pub governor: Option<String>,
    /// Whether clocks above the base are allowed.
    pub boost: Option<bool>,
}

/// One level of cache as the first CPU sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct CacheLevel {
    /// 1, 2, 3.
    pub level: u64,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Size of one instance.
    pub size_bytes: u64,
    /// CPUs that share an instance.
    pub shared_by_cpus: Option<usize>,
}

const CPUS: &str = "/sys/devices/system/cpu";

/// Reads a machine's topology from `/sys/devices/system` and `/proc/cpuinfo`.
pub(super) fn topology(root: &Root) -> Topology {
    let text = root.text("/proc/cpuinfo").unwrap_or_default();
    let (sockets, physical_cores) = sockets_and_cores(root, &text);
    let logical = root.numbered(CPUS, "cpu").len();
    let threads = root
        .text(format!("{CPUS}/cpu0/topology/thread_siblings_list"))
        .and_then(|list| count_of_list(&list))
        .or_else(|| physical_cores.filter(|_| logical > 0).map(|cores| logical.div_ceil(cores)));
    let khz = |file: &str| root.number(format!("{CPUS}/cpu0/cpufreq/{file}")).map(|k| k / 1000);
    let current = khz("scaling_cur_freq").map(|mhz| mhz as f64);
    Topology {
        sockets,
        physical_cores,
        threads_per_core: threads,
        numa_nodes: Some(root.numbered("/sys/devices/system/node", "node").len())
            .filter(|n| *n > 0),
        caches: caches(root),
        base_mhz: khz("base_frequency"),
        max_mhz: khz("cpuinfo_max_freq"),
        current_mhz: current.or_else(|| field(&text, "cpu MHz")?.parse().ok()),
        governor: root.text(format!("{CPUS}/cpu0/cpufreq/scaling_governor")),
        boost: boost(root),
    }
}

/// From the topology files of every CPU, else from `/proc/cpuinfo`.
fn sockets_and_cores(root: &Root, cpuinfo: &str) -> (Option<usize>, Option<usize>) {
    let mut cores = BTreeSet::new();
    for (_, cpu) in root.numbered(CPUS, "cpu") {
        let id = |file: &str| root.text(format!("{CPUS}/{cpu}/topology/{file}"));
        if let (Some(socket), Some(core)) = (id("physical_package_id"), id("core_id")) {
            cores.insert((socket, core));
        }
    }
    if cores.is_empty() {
        for cpu in cpuinfo.split("\n\n") {
            if let (Some(socket), Some(core)) = (field(cpu, "physical id"), field(cpu, "core id")) {
                cores.insert((socket, core));
            }
        }
    }
    let sockets: BTreeSet<&String> = cores.iter().map(|(socket, _)| socket).collect();
    let known = |n: usize| Some(n).filter(|n| *n > 0);
    (known(sockets.len()), known(cores.len()))
}

fn caches(root: &Root) -> Vec<CacheLevel> {
    let folder = format!("{CPUS}/cpu0/cache");
    let mut caches: Vec<CacheLevel> = root
        .numbered(&folder, "index")
        .into_iter()
        .filter_map(|(_, index)| {
            let read = |file: &str| root.text(format!("{folder}/{index}/{file}"));
            Some(CacheLevel {
                level: read("level")?.parse().ok()?,
                kind: read("type")?,
                size_bytes: size(&read("size")?)?,
                shared_by_cpus: read("shared_cpu_list").and_then(|list| count_of_list(&list)),
            })
        })
        .collect();
    caches.sort_by(|a, b| (a.level, &a.kind).cmp(&(b.level, &b.kind)));
    caches
}

/// `48K`, `2048K`, `105M`.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn boost(root: &Root) -> Option<bool> {
    let no_turbo = root.number(format!("{CPUS}/intel_pstate/no_turbo")).map(|n| n == 0);
    no_turbo.or_else(|| root.number(format!("{CPUS}/cpufreq/boost")).map(|n| n == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_caches() {
        assert_eq!(size("48K"), Some(49_152));
        assert_eq!(size("105M"), Some(105 << 20));
        assert_eq!(size("lots"), None);
        assert_eq!(size("48"), None);
    }
}
