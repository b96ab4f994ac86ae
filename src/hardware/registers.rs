//! The x86 registers that say what a processor can do: CPUID's leaves and XCR0.
//!
//! CPUID says what the silicon has, XCR0 which register files the operating system saves. Both
//! are values here, so that another machine's can be read from a capture.

use std::collections::BTreeMap;

use raw_cpuid::{CpuIdReader, CpuIdResult};

/// A capture of CPUID's leaves, by (leaf, subleaf), and of XCR0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registers {
    leaves: BTreeMap<(u32, u32), [u32; 4]>,
    xcr0: u64,
}

/// XCR0: XMM and YMM state (Intel SDM vol. 1, 13.3).
const AVX_STATE: u64 = 0b110;
/// XCR0: opmask and both halves of the ZMM state.
const AVX512_STATE: u64 = 0b1110_0000;
/// XCR0: tile configuration and tile data.
const AMX_STATE: u64 = 0b11 << 17;

impl Registers {
    /// This processor's; `None` where there is no CPUID.
    #[cfg(target_arch = "x86_64")]
    pub fn live() -> Option<Self> {
        let wanted = [0, 1, 7, 0x16, 0x4000_0000, 0x8000_0000, 0x8000_0001, 0x8000_0008];
        let names = [0x8000_0002, 0x8000_0003, 0x8000_0004];
        let mut leaves = BTreeMap::new();
        for leaf in wanted.into_iter().chain(names) {
            for subleaf in 0..=u32::from(leaf == 7) {
                let CpuIdResult { eax, ebx, ecx, edx } = raw_cpuid::cpuid!(leaf, subleaf);
                leaves.insert((leaf, subleaf), [eax, ebx, ecx, edx]);
            }
        }
        let has_xsave = leaves.get(&(1, 0)).is_some_and(|r| r[2] & (1 << 27) != 0);
        Some(Self { leaves, xcr0: if has_xsave { xgetbv() } else { 0 } })
    }

    /// There is no CPUID.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn live() -> Option<Self> {
        None
    }

    /// Reads a capture: lines `LEAF SUBLEAF: EAX EBX ECX EDX` and `xcr0: VALUE`, all in
    /// hexadecimal; `#` begins a comment.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let mut registers = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or("").trim();
            let Some((key, values)) = line.split_once(':') else { continue };
            if key == "xcr0" {
                registers.xcr0 = hex(values.trim())?;
                continue;
            }
            let mut key = key.split_whitespace().map(hex);
            let leaf = u32::try_from(key.next()??).ok()?;
            let subleaf = u32::try_from(key.next()??).ok()?;
            let values: Option<Vec<u32>> =
                values.split_whitespace().map(|v| hex(v)?.try_into().ok()).collect();
            registers.leaves.insert((leaf, subleaf), values?.try_into().ok()?);
        }
        Some(registers)
    }

    /// As a capture that [`Self::parse`] reads.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for ((leaf, subleaf), [eax, ebx, ecx, edx]) in &self.leaves {
            text.push_str(&format!(
                "{leaf:08x} {subleaf:x}: {eax:08x} {ebx:08x} {ecx:08x} {edx:08x}\n"
            ));
        }
        text + &format!("xcr0: {:x}\n", self.xcr0)
    }

    /// Whether the operating system saves the YMM registers.
    pub(super) fn saves_avx(&self) -> bool {
        self.xcr0 & AVX_STATE == AVX_STATE
    }

    /// Whether it saves the ZMM and mask registers.
    pub(super) fn saves_avx512(&self) -> bool {
        self.saves_avx() && self.xcr0 & AVX512_STATE == AVX512_STATE
    }

    /// Whether it saves the tile registers.
    pub(super) fn saves_amx(&self) -> bool {
        self.xcr0 & AMX_STATE == AMX_STATE
    }
}

/// A capture answers like the processor it was taken from: leaves it does not have are zero.
impl CpuIdReader for &Registers {
    fn cpuid2(&self, leaf: u32, subleaf: u32) -> CpuIdResult {
        let [eax, ebx, ecx, edx] = self.leaves.get(&(leaf, subleaf)).copied().unwrap_or_default();
        CpuIdResult { eax, ebx, ecx, edx }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "XGETBV has no safe wrapper; the caller checked OSXSAVE")]
fn xgetbv() -> u64 {
    #[target_feature(enable = "xsave")]
    unsafe fn read() -> u64 {
        // SAFETY: the function's own requirement: XSAVE is there and enabled.
        unsafe { core::arch::x86_64::_xgetbv(0) }
    }
    // SAFETY: CPUID leaf 1 said OSXSAVE: the instruction exists and the system enabled it.
    unsafe { read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_comes_back_the_same() {
        let text = "# a comment\n00000007 0: 00000002 219c07ab 00405fde 00000000\nxcr0: 602e7\n";
        let registers = Registers::parse(text).unwrap();
        assert_eq!((&registers).cpuid2(7, 0).ebx, 0x219c_07ab);
        assert!(registers.saves_avx512() && registers.saves_amx());
        assert_eq!(Registers::parse(&registers.to_text()), Some(registers));
    }

    #[test]
    fn half_a_capture_is_none() {
        assert_eq!(Registers::parse("7 0: 1 2 3\n"), None);
        assert_eq!(Registers::parse("7: 1 2 3 4\n"), None);
    }
}
