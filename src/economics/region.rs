//! Where a machine stands: one region by its owner's name, or a part of the world.

use crate::error::{Error, Result};

/// Where prices are wanted for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// The first region that the table has for a type.
    #[default]
    First,
    /// A region by its owner's own name.
    Region(String),
    /// The cheapest region of a part of the world.
    Part(Part),
}

/// A part of the world. Providers name regions their own ways; `Region::part` knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Europe, the United Kingdom and Switzerland too.
    Europe,
    /// The United States.
    UnitedStates,
    /// Asia and the Pacific.
    Asia,
}

/// Countries and cities in Azure's names of European regions; AWS and Google begin theirs with `eu`.
const EUROPE: [&str; 12] = [
    "europe",
    "uk",
    "france",
    "germany",
    "sweden",
    "norway",
    "switzerland",
    "italy",
    "poland",
    "spain",
    "austria",
    "denmark",
];
/// The same of Asia and the Pacific.
const ASIA: [&str; 10] = [
    "asia",
    "japan",
    "korea",
    "india",
    "australia",
    "indonesia",
    "malaysia",
    "newzealand",
    "taiwan",
    "jio",
];

impl Part {
    /// Whether a region, by its provider's name, is in it.
    pub fn has(self, region: &str) -> bool {
        let region = region.to_ascii_lowercase();
        let names_one = |all: &[&str]| all.iter().any(|name| region.contains(name));
        match self {
            Self::Europe => region.starts_with("eu-") || names_one(&EUROPE),
            Self::UnitedStates => {
                // `australiaeast` and `eastus` both hold `us`.
                region.starts_with("us-")
                    || (!names_one(&ASIA)
                        && (region.ends_with("us")
                            || region.ends_with("us2")
                            || region.ends_with("us3")))
            }
            Self::Asia => region.starts_with("ap-") || names_one(&ASIA),
        }
    }
}

impl Place {
    /// `eu`, `us`, `asia`, or a region's own name.
    ///
    /// Errors where nothing is named.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text.trim() {
            "" => {
                return Err(Error::input("--region", "is empty")
                    .remedy("name a region as its provider does, or eu, us, asia"));
            }
            "eu" | "europe" => Self::Part(Part::Europe),
            "us" => Self::Part(Part::UnitedStates),
            "asia" | "ap" => Self::Part(Part::Asia),
            name => Self::Region(name.to_owned()),
        })
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::First => "its first region".to_owned(),
            Self::Region(name) => name.clone(),
            Self::Part(Part::Europe) => "Europe".to_owned(),
            Self::Part(Part::UnitedStates) => "the United States".to_owned(),
            Self::Part(Part::Asia) => "Asia".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_names_its_regions_another_way() {
        for region in ["eu-central-1", "europe-west4", "westeurope", "swedencentral", "uksouth"] {
            assert!(Part::Europe.has(region), "{region}");
            assert!(!Part::UnitedStates.has(region) && !Part::Asia.has(region), "{region}");
        }
        for region in ["us-east-1", "us-central1", "eastus", "westus2", "southcentralus"] {
            assert!(Part::UnitedStates.has(region), "{region}");
            assert!(!Part::Europe.has(region) && !Part::Asia.has(region), "{region}");
        }
        for region in ["ap-south-1", "asia-northeast1", "australiaeast", "japanwest"] {
            assert!(Part::Asia.has(region), "{region}");
            assert!(!Part::Europe.has(region) && !Part::UnitedStates.has(region), "{region}");
        }
        assert!(Place::parse(" ").is_err());
        assert_eq!(Place::parse("eu-west-1").unwrap(), Place::Region("eu-west-1".to_owned()));
    }
}
