//! The processor: its name and the instruction sets a process may really use.

use serde::{Deserialize, Serialize};

/// What the processor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// e.g. `AuthenticAMD`, `GenuineIntel`; `unknown` where the system does not say.
    pub vendor: String,
    /// The marketing name, or `unknown`.
    pub model: String,
    /// Family and model (x86), implementer and part (ARM); tells generations apart where the
    /// name doesn't.
    pub signature: String,
    /// Instruction sets that matter for inference and that CPU and operating system both allow.
    pub isa: Vec<String>,
    /// CPUs of the whole machine, as its kernel counts them.
    pub logical_cpus: usize,
}

/// Reads the processor's facts.
pub fn cpu_facts() -> CpuFacts {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    CpuFacts { isa: usable_isa(), ..parse_cpuinfo(&text) }
}

/// Reads the text of `/proc/cpuinfo` (x86 and ARM layouts).
fn parse_cpuinfo(text: &str) -> CpuFacts {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    };
    let signature = match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("family {family} model {model}"),
        _ => match (field("CPU implementer"), field("CPU part")) {
            (Some(implementer), Some(part)) => format!("implementer {implementer} part {part}"),
            _ => "unknown".to_owned(),
        },
    };
    let counted = text.lines().filter(|line| line.starts_with("processor")).count();
    let logical_cpus = match counted {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        n => n,
    };
    CpuFacts {
        vendor: field("vendor_id").unwrap_or_else(|| "unknown".to_owned()),
        model: field("model name").unwrap_or_else(|| "unknown".to_owned()),
        signature,
        isa: Vec::new(),
        logical_cpus,
    }
}

/// Instruction sets, checked by the standard library: CPUID and the operating system's state.
#[cfg(target_arch = "x86_64")]
fn usable_isa() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt),* $(,)?) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    named(&detected!(
        "sse4.2",
        "avx2",
        "fma",
        "f16c",
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "avx512fp16",
    ))
}

/// Instruction sets, checked by the standard library.
#[cfg(target_arch = "aarch64")]
fn usable_isa() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt),* $(,)?) => {
            [$(($name, std::arch::is_aarch64_feature_detected!($name))),*]
        };
    }
    named(&detected!("neon", "dotprod", "i8mm", "bf16", "fp16", "sve", "sve2"))
}

/// No list for other architectures yet: unknown, which is not the same as none.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn usable_isa() -> Vec<String> {
    vec!["unknown".to_owned()]
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn named(detected: &[(&str, bool)]) -> Vec<String> {
    detected.iter().filter(|(_, usable)| *usable).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_x86_and_arm_layouts() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n\
                   model name\t: AMD EPYC 9R14\n\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\n";
        let facts = parse_cpuinfo(x86);
        assert_eq!(facts.model, "AMD EPYC 9R14");
        assert_eq!(facts.signature, "family 25 model 17");
        assert_eq!(facts.logical_cpus, 2);
        let arm = "processor\t: 0\nBogoMIPS\t: 2100.00\nCPU implementer\t: 0x41\n\
                   CPU part\t: 0xd40\n";
        let facts = parse_cpuinfo(arm);
        assert_eq!(facts.signature, "implementer 0x41 part 0xd40");
        assert_eq!(facts.model, "unknown");
    }
}
