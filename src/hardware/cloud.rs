//! Whether this is a virtual machine, a container, a cloud's instance, and which.
//!
//! Offline, from what the firmware says (DMI): on AWS that names the instance type too, on Google
//! Cloud and Azure only the provider. Their metadata service is asked only when the user wants it.

use raw_cpuid::{CpuId, Hypervisor};
use serde::{Deserialize, Serialize};

use super::registers::Registers;
use super::root::Root;

/// Which cloud and instance type this is; `None` where nothing tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cloud {
    /// `aws`, `gcp` or `azure`.
    pub provider: Option<String>,
    /// e.g. `c7i.xlarge`.
    pub instance_type: Option<String>,
    /// e.g. `us-east-1`.
    pub region: Option<String>,
}

/// Azure's chassis asset tag, the same on every of its machines (Microsoft, "Azure Instance
/// Metadata Service", and cloud-init's Azure data source).
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// From the firmware's tables below `/sys/class/dmi/id`.
pub(super) fn from_dmi(root: &Root) -> Cloud {
    let dmi = |file: &str| root.text(format!("/sys/class/dmi/id/{file}")).unwrap_or_default();
    let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
    let provider = if vendor == "Amazon EC2" || dmi("board_vendor") == "Amazon EC2" {
        "aws"
    } else if vendor == "Google" || product == "Google Compute Engine" {
        "gcp"
    } else if dmi("chassis_asset_tag") == AZURE_TAG {
        "azure"
    } else {
        return Cloud::default();
    };
    // Nitro writes the type as the product's name; Xen writes `HVM domU`.
    let instance_type = Some(product).filter(|p| provider == "aws" && p.contains('.'));
    Cloud { provider: Some(provider.to_owned()), instance_type, region: None }
}

/// What runs beneath: `none (bare metal)`, a hypervisor's name; `None` where nothing tells.
pub(super) fn virtualisation(root: &Root, registers: Option<&Registers>) -> Option<String> {
    if let Some(registers) = registers {
        let cpu = CpuId::with_cpuid_reader(registers);
        let is_guest = cpu.get_feature_info().is_some_and(|f| f.has_hypervisor());
        if !is_guest {
            return Some("none (bare metal)".to_owned());
        }
        let name = cpu.get_hypervisor_info().map(|info| match info.identify() {
            Hypervisor::Xen => "Xen",
            Hypervisor::VMware => "VMware",
            Hypervisor::HyperV => "Hyper-V",
            Hypervisor::KVM => "KVM",
            Hypervisor::QEMU => "QEMU",
            Hypervisor::Bhyve => "bhyve",
            Hypervisor::QNX => "QNX",
            Hypervisor::ACRN => "ACRN",
            Hypervisor::Unknown(..) => "a hypervisor that does not say its name",
        });
        return Some(name.unwrap_or("a hypervisor that does not say its name").to_owned());
    }
    root.text("/sys/hypervisor/type")
        .or_else(|| from_dmi(root).provider.map(|provider| format!("a hypervisor of {provider}")))
}

/// The container that this process runs in: `docker`, `podman`, `kubernetes`, …; `None` outside of
/// one, or where nothing tells.
pub(super) fn container(root: &Root) -> Option<String> {
    let cgroup = root.text("/proc/self/cgroup").unwrap_or_default();
    let found = [
        ("kubernetes", cgroup.contains("kubepods")),
        ("podman", root.exists("/run/.containerenv")),
        ("docker", root.exists("/.dockerenv") || cgroup.contains("/docker")),
        ("containerd", cgroup.contains("containerd")),
        ("lxc", cgroup.contains("/lxc")),
    ];
    found.iter().find(|(_, is)| *is).map(|(name, _)| (*name).to_owned())
}
