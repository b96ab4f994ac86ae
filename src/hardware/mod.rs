//! What this machine is and how much of it a process may use.

mod advice;
mod bandwidth;
mod built_in;
mod cloud;
mod container;
mod cpu;
mod energy;
mod gpu;
mod isa;
mod metadata;
mod microarchitecture;
mod pressure;
mod profile;
mod quota;
mod registers;
mod root;
mod sampler;
mod topology;

pub use advice::{Advice, Rewarded};
pub use bandwidth::{Kernel, array_bytes, bandwidth, noise, sleep_lateness, timer};
pub use built_in::PROFILES;
pub use cloud::Cloud;
pub use container::{EffectiveCpus, Limits, effective_cpus};
pub use cpu::{CpuFacts, UNKNOWN, cpu_facts};
pub use energy::{EnergyMeter, estimated_watts};
pub use gpu::{Adapter, Gpus, Nvidia, gpus};
pub use metadata::{SERVICE, ask};
pub use microarchitecture::distance;
pub use pressure::{Pressure, ProcessUse, process_use};
pub use profile::{Fact, Profile};
pub use quota::Quota;
pub use registers::Registers;
pub use root::Root;
pub use sampler::{Sampler, Samples};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The facts about a machine that every record carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Tells machines apart without naming them: a hash of the machine's own id.
    pub host_id: String,
    /// Machines of one class are expected to measure alike: CPU model and effective CPUs.
    pub hardware_class: String,
    /// The processor.
    pub cpu: CpuFacts,
    /// CPUs a process may use here, and why.
    pub effective_cpus: EffectiveCpus,
    /// The cloud and instance type, as far as the firmware says.
    pub cloud: Cloud,
    /// Hardware threads a core, as the machine shows itself.
    pub threads_per_core: Option<usize>,
}

/// Looks at this machine.
pub fn detect() -> Host {
    let root = Root::live();
    let cpu = cpu_facts(&root, Registers::live().as_ref());
    let effective_cpus = effective_cpus(&root);
    Host {
        host_id: host_id(),
        hardware_class: hardware_class(&cpu, effective_cpus.count),
        cpu,
        effective_cpus,
        cloud: cloud::from_dmi(&root),
        threads_per_core: topology::topology(&root).threads_per_core,
    }
}

impl Host {
    /// This machine as a process sees it that gets `cpus` CPUs' worth of time.
    #[must_use]
    pub fn within(mut self, cpus: f64) -> Self {
        let limits = Limits {
            host: self.effective_cpus.count,
            affinity: None,
            cpuset: None,
            quota: Some(cpus),
        };
        let EffectiveCpus { count, quota, .. } = limits.effective();
        let reason =
            format!("[deployment] gives {cpus:.2} CPUs, of {}", self.effective_cpus.reason);
        self.effective_cpus = EffectiveCpus { count, reason, quota };
        self.hardware_class =
            format!("{}-quota-{cpus}", hardware_class(&self.cpu, self.effective_cpus.count));
        self
    }
}

fn host_id() -> String {
    let read = |path| std::fs::read_to_string(path).ok().filter(|s| !s.trim().is_empty());
    let id = read("/etc/machine-id")
        .or_else(|| read("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|| UNKNOWN.to_owned());
    let digest = Sha256::digest(format!("infermark host {}", id.trim()));
    crate::units::hex(&digest[..6])
}

fn hardware_class(cpu: &CpuFacts, effective: usize) -> String {
    let text = format!("{} {} x{effective}", cpu.model, cpu.signature);
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_a_plain_word() {
        let cpu = CpuFacts {
            vendor: "GenuineIntel".into(),
            model: "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz".into(),
            signature: "family 6 model 143".into(),
            microarchitecture: "Sapphire Rapids".into(),
            isa: vec![],
            logical_cpus: 4,
        };
        let class = hardware_class(&cpu, 4);
        assert_eq!(class, "intel-r-xeon-r-platinum-8481c-cpu-2-70ghz-family-6-model-143-x4");
    }

    #[test]
    fn this_machine_is_described() {
        let host = detect();
        assert_eq!(host.host_id.len(), 12);
        assert!(host.effective_cpus.count >= 1);
        assert!(host.effective_cpus.count <= host.cpu.logical_cpus);
    }
}
