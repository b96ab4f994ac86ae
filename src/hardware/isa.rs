//! Which instruction sets a process may really use, of those that matter for inference.
//!
//! Names are Rust's target features where it has them (`avx512vnni`, `amx-int8`, `i8mm`).

use raw_cpuid::{CpuId, ExtendedFeatures, FeatureInfo};

use super::registers::Registers;

/// From CPUID **and** the state that the operating system saves: an instruction set whose
/// registers it does not save would fault.
pub(super) fn x86(registers: &Registers) -> Vec<String> {
    let cpu = CpuId::with_cpuid_reader(registers);
    let basic = cpu.get_feature_info();
    let basic = |has: fn(&FeatureInfo) -> bool| basic.as_ref().is_some_and(has);
    let extended = cpu.get_extended_feature_info();
    let extended = |has: fn(&ExtendedFeatures) -> bool| extended.as_ref().is_some_and(has);
    let avx = registers.saves_avx() && basic(FeatureInfo::has_avx);
    let avx512 = registers.saves_avx512() && extended(ExtendedFeatures::has_avx512f);
    let amx = registers.saves_amx() && extended(ExtendedFeatures::has_amx_tile);
    usable(&[
        ("sse4.2", basic(FeatureInfo::has_sse42)),
        ("avx2", avx && extended(ExtendedFeatures::has_avx2)),
        ("fma", avx && basic(FeatureInfo::has_fma)),
        ("f16c", avx && basic(FeatureInfo::has_f16c)),
        ("avxvnni", avx && extended(ExtendedFeatures::has_avx_vnni)),
        ("avxvnniint8", avx && extended(ExtendedFeatures::has_avx_vnni_int8)),
        ("avx512f", avx512),
        ("avx512bw", avx512 && extended(ExtendedFeatures::has_avx512bw)),
        ("avx512vl", avx512 && extended(ExtendedFeatures::has_avx512vl)),
        ("avx512vnni", avx512 && extended(ExtendedFeatures::has_avx512vnni)),
        ("avx512bf16", avx512 && extended(ExtendedFeatures::has_avx512_bf16)),
        ("avx512fp16", avx512 && extended(ExtendedFeatures::has_avx512_fp16)),
        ("amx-tile", amx),
        ("amx-int8", amx && extended(ExtendedFeatures::has_amx_int8)),
        ("amx-bf16", amx && extended(ExtendedFeatures::has_amx_bf16)),
    ])
}

/// From the `Features` line of an ARM `/proc/cpuinfo`: the kernel lists only what it supports.
pub(super) fn arm(features: &str) -> Vec<String> {
    let has = |name: &str| features.split_whitespace().any(|f| f == name);
    usable(&[
        ("neon", has("asimd")),
        ("dotprod", has("asimddp")),
        ("fp16", has("asimdhp")),
        ("i8mm", has("i8mm")),
        ("bf16", has("bf16")),
        ("sve", has("sve")),
        ("sve2", has("sve2")),
        ("sme", has("sme")),
    ])
}

/// What an x86 `/proc/cpuinfo` calls the instruction sets of [`x86`], where it has a name for them.
#[cfg(test)]
const KERNEL_NAMES: [(&str, &str); 15] = [
    ("sse4.2", "sse4_2"),
    ("avx2", "avx2"),
    ("fma", "fma"),
    ("f16c", "f16c"),
    ("avxvnni", "avx_vnni"),
    ("avxvnniint8", "avx_vnni_int8"),
    ("avx512f", "avx512f"),
    ("avx512bw", "avx512bw"),
    ("avx512vl", "avx512vl"),
    ("avx512vnni", "avx512_vnni"),
    ("avx512bf16", "avx512_bf16"),
    ("avx512fp16", "avx512_fp16"),
    ("amx-tile", "amx_tile"),
    ("amx-int8", "amx_int8"),
    ("amx-bf16", "amx_bf16"),
];

fn usable(found: &[(&str, bool)]) -> Vec<String> {
    found.iter().filter(|(_, usable)| *usable).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaf 1 with SSE4.2, FMA, F16C, AVX, OSXSAVE; leaf 7 as Sapphire Rapids has it.
    fn sapphire_rapids(xcr0: &str) -> Registers {
        let leaf1 = (1_u32 << 20) | (1 << 12) | (1 << 29) | (1 << 27) | (1 << 28) | (1 << 26);
        let leaf7 = [2, 1_u32 << 5 | 1 << 16 | 1 << 30 | 1 << 31, 1 << 11, 0b1111 << 22];
        Registers::parse(&format!(
            "0 0: 20 756e6547 6c65746e 49656e69\n1 0: 806f8 0 {leaf1:x} 0\n\
             7 0: {:x} {:x} {:x} {:x}\n7 1: {:x} 0 0 0\nxcr0: {xcr0}\n",
            leaf7[0],
            leaf7[1],
            leaf7[2],
            leaf7[3],
            (1 << 4) | (1 << 5),
        ))
        .unwrap()
    }

    #[test]
    fn what_the_system_does_not_save_cannot_be_used() {
        let all = x86(&sapphire_rapids("602e7"));
        for name in ["avxvnni", "avx512vnni", "avx512bf16", "avx512fp16", "amx-int8", "amx-bf16"] {
            assert!(all.iter().any(|n| n == name), "{name}: {all:?}");
        }
        let without_tiles = x86(&sapphire_rapids("2e7"));
        assert!(without_tiles.iter().any(|n| n == "avx512fp16"));
        assert!(!without_tiles.iter().any(|n| n.starts_with("amx")), "{without_tiles:?}");
        assert_eq!(x86(&sapphire_rapids("7")).last().unwrap(), "avxvnni");
        assert_eq!(x86(&sapphire_rapids("0")), ["sse4.2"]);
    }

    #[test]
    fn arm_features_have_rusts_names() {
        let graviton2 = "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs";
        assert_eq!(arm(graviton2), ["neon", "dotprod", "fp16"]);
    }

    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn this_machines_kernel_agrees() {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = text.lines().find(|l| l.starts_with("flags")).unwrap();
        let said: Vec<&str> = KERNEL_NAMES
            .iter()
            .filter(|(_, kernel)| flags.split_whitespace().any(|f| f == *kernel))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(x86(&Registers::live().unwrap()), said);
    }
}
