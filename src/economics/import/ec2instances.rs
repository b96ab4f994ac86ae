//! `ec2instances.info`'s `instances.json`: AWS's machines, whose prices are text.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de::Error as _};

use super::{About, Imported, PriceSource};
use crate::economics::price::{Instance, Term};
use crate::error::{Error, Result};

/// The importer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ec2Instances;

/// A number, a number as text, `N/A`, or nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(f64),
    Text(String),
    #[default]
    Null,
}

impl Loose {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Null => None,
        }
    }
}

#[derive(Deserialize)]
struct Machine {
    instance_type: String,
    #[serde(rename = "vCPU", default)]
    vcpus: Loose,
    #[serde(default)]
    memory: Loose,
    #[serde(rename = "GPU", default)]
    gpus: Loose,
    #[serde(rename = "GPU_model", default)]
    gpu_model: Option<String>,
    /// Of all together.
    #[serde(rename = "GPU_memory", default)]
    gpu_memory: Loose,
    /// Region → operating system → prices.
    #[serde(default)]
    pricing: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Prices {
    #[serde(default)]
    ondemand: Loose,
    #[serde(default)]
    spot_avg: Loose,
    #[serde(default)]
    reserved: BTreeMap<String, Loose>,
}

impl PriceSource for Ec2Instances {
    fn name(&self) -> &'static str {
        "ec2instances"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        let mut json = serde_json::Deserializer::from_reader(std::io::BufReader::new(input));
        let all = Machines { about, into };
        json.deserialize_seq(all).and_then(|()| json.end()).map_err(|e| {
            Error::input(&about.source, format!("is no such list: {e}"))
                .remedy("is it ec2instances.info's instances.json, whole?")
        })
    }
}

/// Reads one machine after the other: the whole list takes a gigabyte as a tree.
struct Machines<'a> {
    about: &'a About,
    into: &'a mut Imported,
}

impl<'de> Visitor<'de> for Machines<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of machines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while let Some(machine) = list.next_element::<Machine>()? {
            take(&machine, self.about, self.into).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate, and counts of CPUs are small whole numbers"
)]
fn take(machine: &Machine, about: &About, into: &mut Imported) -> std::result::Result<(), String> {
    let name = &machine.instance_type;
    let gpus = machine.gpus.number().unwrap_or(0.0);
    if let Some(vcpus) = machine.vcpus.number().filter(|n| (1.0..1e5).contains(n)) {
        let each = machine.gpu_memory.number().filter(|gb| *gb > 0.0 && gpus > 0.0);
        into.instances.push(Instance {
            provider: about.provider.clone(),
            instance_type: name.clone(),
            vcpus: vcpus as u32,
            memory_gib: machine.memory.number().filter(|gib| *gib > 0.0 && gib.is_finite()),
            accelerator: machine.gpu_model.clone().filter(|_| gpus > 0.0),
            accelerators: gpus.ceil() as u32,
            accelerator_memory_gb: each.map(|gb| gb / gpus),
            ..Instance::default()
        });
    }
    for (region, systems) in &machine.pricing {
        into.rows += 1;
        if region.is_empty() {
            into.leave_out("names no region");
            continue;
        }
        let Some(linux) = systems.get("linux") else {
            into.leave_out("a region without Linux");
            continue;
        };
        let prices = Prices::deserialize(linux).map_err(|e| format!("{name} in {region}: {e}"))?;
        let reserved = |key: &str| prices.reserved.get(key).and_then(Loose::number);
        let standard = "read: standard reservation, nothing upfront";
        for (term, price, basis) in [
            (Term::OnDemand, prices.ondemand.number(), "read"),
            (Term::Spot, prices.spot_avg.number(), "read: mean of zones"),
            (Term::OneYear, reserved("yrTerm1Standard.noUpfront"), standard),
            (Term::ThreeYears, reserved("yrTerm3Standard.noUpfront"), standard),
        ] {
            let Some(price) = price else { continue };
            if !(price.is_finite() && price >= 0.0) {
                return Err(format!("{name} in {region} has price {price}"));
            }
            if price > 0.0 {
                into.quote(about, (name, region), (term, price), basis);
            }
        }
        if prices.ondemand.number().is_none_or(|usd| usd <= 0.0) {
            into.leave_out("a region without a price by the hour");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &str) -> Result<Imported> {
        let about = About {
            source: "instances.json".to_owned(),
            provider: "aws".to_owned(),
            date: "2026-07-20".to_owned(),
        };
        let mut into = Imported::default();
        Ec2Instances.read(&mut text.as_bytes(), &about, &mut into)?;
        Ok(into)
    }

    const LIST: &str = r#"[{"instance_type":"x2iedn.32xlarge","vCPU":128,"memory":4096,"GPU":0,"GPU_model":null,
        "intel_avx512":true,"pricing":{"us-east-1":{"linux":{"ondemand":"26.676","reserved":
        {"yrTerm1Standard.noUpfront":"16.41374","yrTerm1Savings.noUpfront":"15.0","yrTerm3Standard.allUpfront":"7.447412"},
        "spot_min":"5.1","spot_avg":"6.669000","pct_interrupt":"5-10%"},"mswin":{"ondemand":"32.5"}},
        "af-south-1":{"rhel":{"ondemand":"40"}}}},
        {"instance_type":"u-6tb1.metal","vCPU":"N/A","memory":"N/A","pricing":{"us-east-1":{"linux":{"ondemand":"N/A"}}}},
        {"instance_type":"g5.12xlarge","vCPU":48,"memory":192.0,"GPU":4,"GPU_model":"NVIDIA A10G","GPU_memory":96,
        "pricing":{"us-east-1":{"linux":{"ondemand":5.672}}}}]"#;

    #[test]
    fn prices_are_text_and_some_are_none() {
        let found = import(LIST).unwrap();
        let seen: Vec<(&str, Term, f64)> = found
            .quotes
            .iter()
            .map(|q| (q.instance_type.as_str(), q.term, q.usd_per_hour))
            .collect();
        assert_eq!(
            seen,
            [
                ("x2iedn.32xlarge", Term::OnDemand, 26.676),
                ("x2iedn.32xlarge", Term::Spot, 6.669),
                ("x2iedn.32xlarge", Term::OneYear, 16.413_74),
                ("g5.12xlarge", Term::OnDemand, 5.672),
            ]
        );
        // No vCPUs, no machine; `GPU_memory` is of all four.
        assert_eq!(found.instances.len(), 2);
        assert_eq!(found.instances[1].accelerator_memory_gb, Some(24.0));
        assert_eq!(found.left_out["a region without Linux"], 1);
        assert_eq!(found.left_out["a region without a price by the hour"], 1);
        assert!(import(&LIST[..LIST.len() - 1]).is_err(), "a list that was cut off");
        assert!(import(&LIST.replace("26.676", "-2")).unwrap_err().to_string().contains("-2"));
    }
}
