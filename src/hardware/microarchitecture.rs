//! Which microarchitecture a processor is, and which ones are near it.
//!
//! Families and models after Linux' `intel-family.h` and `cpu/amd.c`, ARM parts after its
//! `cputype.h`. Server parts first: they are what clouds rent out.

/// Names as price and hardware tables use them, each line a vendor's generations from old to new.
const LINES: [&[&str]; 3] = [
    &[
        "Broadwell",
        "Skylake-SP",
        "Cascade Lake",
        "Ice Lake-SP",
        "Sapphire Rapids",
        "Emerald Rapids",
        "Granite Rapids",
    ],
    &["Zen", "Zen2", "Zen3", "Zen4", "Zen5"],
    &["Neoverse N1", "Neoverse V1", "Neoverse N2", "Neoverse V2", "Neoverse V3"],
];

/// From an x86 vendor (`GenuineIntel`, `AuthenticAMD`), family, model and stepping; `None` for one
/// that is not in the table.
pub(super) fn of_x86(vendor: &str, family: u32, model: u32, stepping: u32) -> Option<&'static str> {
    match (vendor, family, model) {
        ("GenuineIntel", 6, _) => intel(model, stepping),
        ("AuthenticAMD", 0x17, 0x30..=0x3f | 0x60..=0x7f | 0x90..=0xaf) => Some("Zen2"),
        ("AuthenticAMD", 0x17, _) => Some("Zen"),
        ("AuthenticAMD", 0x19, 0x00..=0x0f | 0x20..=0x5f) => Some("Zen3"),
        ("AuthenticAMD", 0x19, _) => Some("Zen4"),
        ("AuthenticAMD", 0x1a, 0x00..=0x2f | 0x40..=0x4f | 0x60..=0x7f) => Some("Zen5"),
        _ => None,
    }
}

fn intel(model: u32, stepping: u32) -> Option<&'static str> {
    Some(match (model, stepping) {
        (0x4f | 0x56, _) => "Broadwell",
        (0x55, 0..=4) => "Skylake-SP",
        (0x55, 5..=9) => "Cascade Lake",
        (0x55, _) => "Cooper Lake",
        (0x6a | 0x6c, _) => "Ice Lake-SP",
        (0x8f, _) => "Sapphire Rapids",
        (0xcf, _) => "Emerald Rapids",
        (0xad | 0xae, _) => "Granite Rapids",
        (0xaf, _) => "Sierra Forest",
        (0x3c | 0x3f | 0x45 | 0x46, _) => "Haswell",
        (0x3d | 0x47, _) => "Broadwell (client)",
        (0x4e | 0x5e | 0x8e | 0x9e | 0xa5 | 0xa6, _) => "Skylake (client)",
        (0x7d | 0x7e, _) => "Ice Lake (client)",
        (0x8c | 0x8d, _) => "Tiger Lake",
        (0x97 | 0x9a | 0xbe, _) => "Alder Lake",
        (0xb7 | 0xba | 0xbf, _) => "Raptor Lake",
        (0xaa | 0xac, _) => "Meteor Lake",
        (0xbd, _) => "Lunar Lake",
        (0xc5 | 0xc6 | 0xb5, _) => "Arrow Lake",
        _ => return None,
    })
}

/// From the `CPU implementer` and `CPU part` of an ARM `/proc/cpuinfo`.
pub(super) fn of_arm(implementer: u32, part: u32) -> Option<&'static str> {
    Some(match (implementer, part) {
        (0x41, 0xd0c) => "Neoverse N1",
        (0x41, 0xd40) => "Neoverse V1",
        (0x41, 0xd49) => "Neoverse N2",
        (0x41, 0xd4f) => "Neoverse V2",
        (0x41, 0xd84) => "Neoverse V3",
        (0x41, 0xd8e) => "Neoverse N3",
        (0x41, 0xd03) => "Cortex-A53",
        (0x41, 0xd05) => "Cortex-A55",
        (0x41, 0xd08) => "Cortex-A72",
        (0x41, 0xd0b) => "Cortex-A76",
        (0x41, 0xd41) => "Cortex-A78",
        (0x41, 0xd4d) => "Cortex-A715",
        (0xc0, 0xac3) => "Ampere-1",
        (0xc0, 0xac4) => "Ampere-1A",
        (0x61, 0x022..=0x029) => "Apple M1",
        (0x61, 0x032..=0x039) => "Apple M2",
        _ => return None,
    })
}

/// Generations between two microarchitectures of one line; `None` when they are not of one line,
/// or not in it at all.
pub fn distance(a: &str, b: &str) -> Option<usize> {
    if a.eq_ignore_ascii_case(b) {
        return Some(0);
    }
    LINES.iter().find_map(|line| {
        let at = |name: &str| line.iter().position(|n| n.eq_ignore_ascii_case(name));
        Some(at(a)?.abs_diff(at(b)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_processors_are_told_apart() {
        let intel = |model, stepping| of_x86("GenuineIntel", 6, model, stepping);
        assert_eq!(intel(0x55, 4), Some("Skylake-SP"));
        assert_eq!(intel(0x55, 7), Some("Cascade Lake"));
        assert_eq!(intel(0x8f, 8), Some("Sapphire Rapids"));
        let amd = |family, model| of_x86("AuthenticAMD", family, model, 0);
        assert_eq!(amd(0x17, 0x31), Some("Zen2"));
        assert_eq!(amd(0x19, 0x01), Some("Zen3"));
        assert_eq!(amd(0x19, 0x11), Some("Zen4"));
        assert_eq!(amd(0x19, 0xa0), Some("Zen4"));
        assert_eq!(amd(0x1a, 0x02), Some("Zen5"));
        assert_eq!(amd(0x1a, 0x90), None, "a later generation");
        assert_eq!(of_arm(0x41, 0xd40), Some("Neoverse V1"));
        assert_eq!(of_x86("HygonGenuine", 0x18, 0, 0), None);
    }

    #[test]
    fn near_is_within_a_vendors_line() {
        assert_eq!(distance("Zen5", "Zen5"), Some(0));
        assert_eq!(distance("Zen5", "Zen3"), Some(2));
        assert_eq!(distance("Zen5", "Ice Lake-SP"), None);
        assert_eq!(distance("Alder Lake", "Zen5"), None);
        assert_eq!(distance("Alder Lake", "Alder Lake"), Some(0));
    }
}
