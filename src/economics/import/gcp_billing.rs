//! Google's Cloud Billing Catalog: pages of JSON with prices of cores, memory and accelerators by the hour. No machine
//! has a price there: it is put together of what it has.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::{About, Imported, PriceSource};
use crate::economics::price::{Instance, Term};
use crate::error::{Error, Result};

/// How each family of machines is called there, before `Core` and `Ram`. Families that name their parts otherwise,
/// or have local disks or accelerators in their price, are left out.
const FAMILIES: [(&str, &str); 10] = [
    ("n1", "N1 Predefined Instance"),
    ("n2", "N2 Instance"),
    ("n2d", "N2D AMD Instance"),
    ("c2", "Compute optimized"),
    ("c2d", "C2D AMD Instance"),
    ("c3", "C3 Instance"),
    ("c3d", "C3D Instance"),
    ("c4", "C4 Instance"),
    ("c4a", "C4A Arm Instance"),
    ("t2d", "T2D AMD Instance"),
];

/// The importer, for these machines.
#[derive(Debug, Clone, Default)]
pub struct GcpBilling {
    /// Machines with their vCPUs and memory: the catalogue knows none.
    pub machines: Vec<Instance>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    skus: Vec<Sku>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sku {
    description: String,
    category: Category,
    #[serde(default)]
    service_regions: Vec<String>,
    #[serde(default)]
    pricing_info: Vec<Pricing>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Category {
    usage_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pricing {
    pricing_expression: Expression,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expression {
    #[serde(default)]
    tiered_rates: Vec<Tier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tier {
    unit_price: Money,
}

/// `units` is text, and may be missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Money {
    #[serde(default)]
    currency_code: String,
    #[serde(default)]
    units: Option<String>,
    #[serde(default)]
    nanos: i64,
}

impl Money {
    fn value(&self) -> Option<f64> {
        let units: f64 = self.units.as_deref().unwrap_or("0").parse().ok()?;
        Some(units + self.nanos as f64 / 1e9)
    }
}

/// A core's and a gibibyte's price.
#[derive(Default)]
struct Parts {
    core: Option<f64>,
    ram: Option<f64>,
}

/// Which family and part a description is of: `N2 Instance Core running in Americas`.
fn part(description: &str) -> Option<(&'static str, bool)> {
    let what = description.split(" running in ").next()?;
    let what = what.strip_prefix("Spot Preemptible ").unwrap_or(what);
    FAMILIES.iter().find_map(|(family, name)| match what.strip_prefix(name)?.trim() {
        "Core" => Some((*family, true)),
        "Ram" => Some((*family, false)),
        _ => None,
    })
}

impl PriceSource for GcpBilling {
    fn name(&self) -> &'static str {
        "gcp-billing"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        let mut parts: BTreeMap<(&'static str, String, Term), Parts> = BTreeMap::new();
        let pages = serde_json::Deserializer::from_reader(input).into_iter::<Page>();
        for (at, page) in pages.enumerate() {
            let name = format!("{}: page {}", about.source, at + 1);
            let wrong = |message: String| {
                Error::input(&name, message).remedy("fetch the list again, every page whole")
            };
            let page = page.map_err(|e| wrong(format!("is no page of prices: {e}")))?;
            for sku in page.skus {
                into.rows += 1;
                let Some((family, is_core)) = part(&sku.description) else {
                    into.leave_out("is no core or memory of a family that is known");
                    continue;
                };
                let term = match sku.category.usage_type.as_str() {
                    "OnDemand" => Term::OnDemand,
                    "Preemptible" => Term::Spot,
                    "Commit1Yr" => Term::OneYear,
                    "Commit3Yr" => Term::ThreeYears,
                    _ => {
                        into.leave_out("is of an unknown term");
                        continue;
                    }
                };
                // Of several tiers the last is what use beyond the free one costs.
                let rates = sku.pricing_info.first().map(|p| &p.pricing_expression.tiered_rates);
                let Some(money) = rates.and_then(|rates| rates.last()).map(|tier| &tier.unit_price)
                else {
                    into.leave_out("has no price");
                    continue;
                };
                if money.currency_code != "USD" {
                    return Err(wrong(format!("is in {}, not in USD", money.currency_code)));
                }
                let price = money.value().filter(|p| p.is_finite() && *p >= 0.0);
                let price = price.ok_or_else(|| wrong("has a price below 0".to_owned()))?;
                // A part that costs nothing would make a machine too cheap.
                if price <= 0.0 {
                    into.leave_out("costs nothing by itself");
                    continue;
                }
                for region in sku.service_regions {
                    let both = parts.entry((family, region, term)).or_default();
                    *(if is_core { &mut both.core } else { &mut both.ram }) = Some(price);
                }
            }
        }
        for ((family, region, term), both) in parts {
            let (Some(core), Some(ram)) = (both.core, both.ram) else {
                into.leave_out("a core's price without memory's, or the other way round");
                continue;
            };
            let of_family = |i: &&Instance| {
                i.provider == "gcp" && i.instance_type.split('-').next() == Some(family)
            };
            for machine in self.machines.iter().filter(of_family) {
                // A machine with an accelerator has more to pay for.
                let Some(gib) = machine.memory_gib.filter(|_| machine.accelerator.is_none()) else {
                    continue;
                };
                let price = f64::from(machine.vcpus) * core + gib * ram;
                let basis = format!("derived: {} cores and {gib} GiB", machine.vcpus);
                into.quote(about, (&machine.instance_type, &region), (term, price), basis);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::economics::PriceTable;

    fn sku(what: &str, usage: &str, units: &str, nanos: i64) -> String {
        format!(
            "{{\"description\":\"{what} running in Americas\",\"category\":{{\"usageType\":\"{usage}\"}},\"serviceRegions\":[\"us-central1\"],\"pricingInfo\":[{{\"pricingExpression\":{{\"tieredRates\":[{{\"unitPrice\":{{\"currencyCode\":\"USD\"{units},\"nanos\":{nanos}}}}}]}}}}]}}"
        )
    }

    #[test]
    fn a_machine_costs_its_cores_and_its_memory() {
        let skus = [
            sku("N2 Instance Core", "OnDemand", ",\"units\":\"0\"", 31_611_000),
            // `units` may be missing.
            sku("N2 Instance Ram", "OnDemand", "", 4_237_000),
            sku("N2 Custom Instance Core", "OnDemand", "", 33_174_000),
            sku("N2 Instance Core", "Preemptible", "", 7_650_000),
        ];
        let text = format!(
            "{{\"skus\":[{}],\"nextPageToken\":\"x\"}}{{\"skus\":[{}]}}",
            skus[..2].join(","),
            skus[2..].join(",")
        );
        let about = About {
            source: "skus.json".to_owned(),
            provider: "gcp".to_owned(),
            date: "2026-07-01".to_owned(),
        };
        let source = GcpBilling { machines: PriceTable::built_in().unwrap().instances };
        let mut found = Imported::default();
        source.read(&mut text.as_bytes(), &about, &mut found).unwrap();
        let quote = found.quotes.iter().find(|q| q.instance_type == "n2-standard-4").unwrap();
        assert!((quote.usd_per_hour - (4.0 * 0.031_611 + 16.0 * 0.004_237)).abs() < 1e-12);
        assert!(found.quotes.iter().all(|q| q.term == Term::OnDemand));
        assert_eq!(found.left_out["is no core or memory of a family that is known"], 1);
        assert_eq!(found.left_out["a core's price without memory's, or the other way round"], 1);
    }
}
