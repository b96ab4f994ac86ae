//! What a machine draws: counters where it has them, an estimate that says so where it has none.

use std::path::PathBuf;

use super::root::Root;

/// Watts a virtual CPU, idle and at full use (Cloud Carbon Footprint's coefficients of 2026, by
/// microarchitecture). Its Zen5 is an outlier and its Gravitons are copies of Zen2's: not taken.
const WATTS: [(&str, f64, f64); 8] = [
    ("Cascade Lake", 0.69, 4.06),
    ("Ice Lake-SP", 0.77, 3.76),
    ("Sapphire Rapids", 1.04, 4.16),
    ("Emerald Rapids", 0.81, 4.48),
    ("Granite Rapids", 0.58, 2.53),
    ("Zen2", 0.47, 1.69),
    ("Zen3", 0.46, 1.96),
    ("Zen4", 0.74, 2.28),
];

/// A RAPL package: its counter in µJ, and where it starts again from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    file: PathBuf,
    range: u64,
}

/// The machine's energy counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnergyMeter {
    packages: Vec<Package>,
    last: Vec<u64>,
    joules_e6: u64,
}

impl EnergyMeter {
    /// The counters below `root`, read for the first time; `None` where it has none that can be read.
    pub fn start(root: &Root) -> Option<Self> {
        let folder = "/sys/class/powercap";
        let packages: Vec<Package> = root
            .numbered(folder, "intel-rapl:")
            .into_iter()
            .map(|(_, name)| PathBuf::from(folder).join(name))
            // Packages only: cores and memory are parts of them or other counters.
            .filter(|path| root.text(path.join("name")).is_some_and(|n| n.starts_with("package")))
            .filter_map(|path| {
                let range = root.number(path.join("max_energy_range_uj"))?;
                Some(Package { file: path.join("energy_uj"), range })
            })
            .collect();
        let last: Option<Vec<u64>> = packages.iter().map(|p| root.number(&p.file)).collect();
        let last = last.filter(|last| !last.is_empty())?;
        Some(Self { packages, last, joules_e6: 0 })
    }

    /// Reads them again: often enough that none goes round twice (a minute, at several hundred watts).
    pub fn read(&mut self, root: &Root) {
        for (package, last) in self.packages.iter().zip(&mut self.last) {
            let Some(now) = root.number(&package.file) else { continue };
            let grown = if now >= *last { now - *last } else { package.range - *last + now };
            self.joules_e6 += grown;
            *last = now;
        }
    }

    /// Joules since the start.
    pub fn joules(&self) -> f64 {
        self.joules_e6 as f64 / 1e6
    }
}

/// Joules that an NVIDIA GPU has drawn since its driver was loaded; `None` where nobody counts them
/// (before Volta).
pub(super) fn nvidia_joules(nvml: &nvml_wrapper::Nvml, index: u32) -> Option<f64> {
    let millijoules = nvml.device_by_index(index).ok()?.total_energy_consumption().ok()?;
    Some(millijoules as f64 / 1e3)
}

/// Watts that `cpus` virtual CPUs of a microarchitecture draw at a share of use, and how that was
/// estimated; `None` where nobody says.
pub fn estimated_watts(microarchitecture: &str, cpus: usize, used: f64) -> Option<(f64, String)> {
    let (name, idle, full) = WATTS.iter().find(|(name, ..)| *name == microarchitecture)?;
    let used = used.clamp(0.0, 1.0);
    let watts = cpus as f64 * (idle + used * (full - idle));
    let words = format!(
        "estimate: {cpus} vCPUs of {name} at {idle} to {full} W each (Cloud Carbon Footprint), {:.0} % used",
        100.0 * used
    );
    Some((watts, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_goes_round_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("sys/class/powercap/intel-rapl:0");
        std::fs::create_dir_all(&at).unwrap();
        let write = |name: &str, text: &str| std::fs::write(at.join(name), text).unwrap();
        write("name", "package-0\n");
        write("max_energy_range_uj", "10000000\n");
        write("energy_uj", "9000000\n");
        let root = Root::at(folder.path());
        let mut meter = EnergyMeter::start(&root).unwrap();
        write("energy_uj", "9500000\n");
        meter.read(&root);
        write("energy_uj", "500000\n");
        meter.read(&root);
        assert!((meter.joules() - 1.5).abs() < 1e-9);
        assert_eq!(EnergyMeter::start(&Root::at(&folder.path().join("proc"))), None);
    }

    #[test]
    fn an_estimate_says_what_it_is_and_an_unknown_cpu_has_none() {
        let (watts, words) = estimated_watts("Zen4", 2, 0.5).unwrap();
        assert!((watts - 3.02).abs() < 1e-9);
        assert!(words.starts_with("estimate: 2 vCPUs of Zen4") && words.contains("50 % used"));
        assert_eq!(estimated_watts("Neoverse V2", 2, 0.5), None);
    }
}
