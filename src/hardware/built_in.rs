//! Profiles of hardware that can be rented, part of the program: facts with provenance each.

/// By name, as TOML; `hardware-profiles/` holds the files.
pub const PROFILES: &[(&str, &str)] = &[
    ("amd-mi300x", include_str!("../../hardware-profiles/amd-mi300x.toml")),
    ("apple-m1", include_str!("../../hardware-profiles/apple-m1.toml")),
    ("apple-m2", include_str!("../../hardware-profiles/apple-m2.toml")),
    ("apple-m3", include_str!("../../hardware-profiles/apple-m3.toml")),
    ("apple-m4", include_str!("../../hardware-profiles/apple-m4.toml")),
    ("cascade-lake", include_str!("../../hardware-profiles/cascade-lake.toml")),
    ("emerald-rapids", include_str!("../../hardware-profiles/emerald-rapids.toml")),
    ("granite-rapids", include_str!("../../hardware-profiles/granite-rapids.toml")),
    ("ice-lake-sp", include_str!("../../hardware-profiles/ice-lake-sp.toml")),
    ("neoverse-n1", include_str!("../../hardware-profiles/neoverse-n1.toml")),
    ("neoverse-n2", include_str!("../../hardware-profiles/neoverse-n2.toml")),
    ("neoverse-v1", include_str!("../../hardware-profiles/neoverse-v1.toml")),
    ("neoverse-v2", include_str!("../../hardware-profiles/neoverse-v2.toml")),
    ("nvidia-a100-40gb-sxm", include_str!("../../hardware-profiles/nvidia-a100-40gb-sxm.toml")),
    ("nvidia-a100-80gb-sxm", include_str!("../../hardware-profiles/nvidia-a100-80gb-sxm.toml")),
    ("nvidia-a10g", include_str!("../../hardware-profiles/nvidia-a10g.toml")),
    ("nvidia-b200-sxm", include_str!("../../hardware-profiles/nvidia-b200-sxm.toml")),
    ("nvidia-h100-pcie", include_str!("../../hardware-profiles/nvidia-h100-pcie.toml")),
    ("nvidia-h100-sxm", include_str!("../../hardware-profiles/nvidia-h100-sxm.toml")),
    ("nvidia-h200-sxm", include_str!("../../hardware-profiles/nvidia-h200-sxm.toml")),
    ("nvidia-l4", include_str!("../../hardware-profiles/nvidia-l4.toml")),
    ("nvidia-l40s", include_str!("../../hardware-profiles/nvidia-l40s.toml")),
    ("nvidia-rtx-4090", include_str!("../../hardware-profiles/nvidia-rtx-4090.toml")),
    (
        "nvidia-rtx-pro-6000-blackwell-se",
        include_str!("../../hardware-profiles/nvidia-rtx-pro-6000-blackwell-se.toml"),
    ),
    ("nvidia-t4", include_str!("../../hardware-profiles/nvidia-t4.toml")),
    ("nvidia-v100-sxm2-16gb", include_str!("../../hardware-profiles/nvidia-v100-sxm2-16gb.toml")),
    ("sapphire-rapids", include_str!("../../hardware-profiles/sapphire-rapids.toml")),
    ("skylake-sp", include_str!("../../hardware-profiles/skylake-sp.toml")),
    ("zen2", include_str!("../../hardware-profiles/zen2.toml")),
    ("zen3", include_str!("../../hardware-profiles/zen3.toml")),
    ("zen4", include_str!("../../hardware-profiles/zen4.toml")),
    ("zen5", include_str!("../../hardware-profiles/zen5.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_says_how_it_is_known() {
        for (name, text) in PROFILES {
            let profile: toml::Table = text.parse().unwrap();
            assert_eq!(profile["name"].as_str(), Some(*name));
            let facts: Vec<&toml::Table> = profile.values().filter_map(|v| v.as_table()).collect();
            assert!(!facts.is_empty(), "{name}");
            for fact in facts {
                let provenance = fact["provenance"].as_str().unwrap();
                assert!(
                    ["datasheet", "derived", "measured", "unverified"].contains(&provenance),
                    "{name}: {fact}"
                );
                assert!(fact.contains_key("value"), "{name}: {fact}");
            }
        }
    }
}
