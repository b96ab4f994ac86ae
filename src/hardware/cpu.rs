//! The processor: its name, its microarchitecture and the instruction sets a process may use.

use serde::{Deserialize, Serialize};

use super::registers::Registers;
use super::root::Root;
use super::{isa, microarchitecture};

/// Where the system does not say.
pub const UNKNOWN: &str = "unknown";

/// What the processor is. Unknown texts are `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// e.g. `AuthenticAMD`, `GenuineIntel`, `ARM`.
    pub vendor: String,
    /// The marketing name.
    pub model: String,
    /// Family and model (x86), implementer and part (ARM); tells generations apart where the
    /// name doesn't.
    pub signature: String,
    /// e.g. `Sapphire Rapids`, `Zen5`, `Neoverse V1`.
    pub microarchitecture: String,
    /// Instruction sets that matter for inference and that CPU and operating system both allow.
    pub isa: Vec<String>,
    /// CPUs of the whole machine, as its kernel counts them.
    pub logical_cpus: usize,
}

/// Reads the processor's facts from a machine's `/proc/cpuinfo` and registers. Without registers
/// (no CPUID) instruction sets are what the kernel lists.
pub fn cpu_facts(root: &Root, registers: Option<&Registers>) -> CpuFacts {
    let text = root.text("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| field(&text, name);
    let number = |name: &str| {
        let text = field(name)?;
        match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    };
    let vendor = field("vendor_id").or_else(|| arm_vendor(number("CPU implementer")?));
    let (signature, microarchitecture) = match (number("cpu family"), number("model")) {
        (Some(family), Some(model)) => {
            let vendor = vendor.as_deref().unwrap_or_default();
            let stepping = number("stepping").unwrap_or(0);
            let name = microarchitecture::of_x86(vendor, family, model, stepping);
            (format!("family {family} model {model}"), name)
        }
        _ => match (number("CPU implementer"), number("CPU part")) {
            (Some(implementer), Some(part)) => {
                let name = microarchitecture::of_arm(implementer, part);
                (format!("implementer {implementer:#x} part {part:#x}"), name)
            }
            _ => (UNKNOWN.to_owned(), None),
        },
    };
    let isa = match (registers, field("Features")) {
        (Some(registers), _) => isa::x86(registers),
        (None, Some(features)) => isa::arm(&features),
        (None, None) => vec![UNKNOWN.to_owned()],
    };
    let counted = text.lines().filter(|line| line.starts_with("processor")).count();
    CpuFacts {
        vendor: vendor.unwrap_or_else(|| UNKNOWN.to_owned()),
        model: field("model name").unwrap_or_else(|| UNKNOWN.to_owned()),
        signature,
        microarchitecture: microarchitecture.unwrap_or(UNKNOWN).to_owned(),
        isa,
        logical_cpus: match counted {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            n => n,
        },
    }
}

/// The first non-empty value of `name` in a text of `name : value` lines.
pub(super) fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
    })
}

/// Implementers of ARM processors, after Linux' `cputype.h`.
fn arm_vendor(implementer: u32) -> Option<String> {
    Some(
        match implementer {
            0x41 => "ARM",
            0x61 => "Apple",
            0xc0 => "Ampere",
            0x48 => "HiSilicon",
            0x51 => "Qualcomm",
            0x4e => "NVIDIA",
            _ => return None,
        }
        .to_owned(),
    )
}
