//! Azure's Retail Prices API: pages of JSON, one after the other in a file.

use std::io::Read;

use serde::Deserialize;

use super::{About, Imported, PriceSource};
use crate::economics::price::{Instance, Term};
use crate::error::{Error, Result};

/// Hours of a year, as reservations are bought.
const HOURS_A_YEAR: f64 = 8760.0;

/// The importer.
#[derive(Debug, Clone, Default)]
pub struct AzureRetail {
    /// Machines with their vCPUs and memory, as `azure_sizes` reads them: prices say nothing of these.
    pub machines: Vec<Instance>,
}

/// What Azure's list of SKUs says of a size, whose numbers are text.
#[derive(Deserialize)]
struct Size {
    name: String,
    #[serde(rename = "resourceType", default)]
    kind: String,
    #[serde(default)]
    capabilities: Vec<Capability>,
}

#[derive(Deserialize)]
struct Capability {
    name: String,
    value: String,
}

/// The list is bare from `az vm list-skus`, and wrapped from the API.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sizes {
    Bare(Vec<Size>),
    Wrapped { value: Vec<Size> },
}

/// Machines of Azure's list of SKUs (`az vm list-skus -o json`, or the Compute API's `skus`).
///
/// Errors name the file where it is no such list, or has no machine.
pub fn azure_sizes(name: &str, text: &str) -> Result<Vec<Instance>> {
    let remedy = "give what `az vm list-skus --resource-type virtualMachines -o json` prints";
    let sizes: Sizes = serde_json::from_str(text)
        .map_err(|e| Error::input(name, format!("is no list of sizes: {e}")).remedy(remedy))?;
    let (Sizes::Bare(sizes) | Sizes::Wrapped { value: sizes }) = sizes;
    let mut all: Vec<Instance> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for size in sizes.iter().filter(|size| size.kind == "virtualMachines") {
        let number = |key: &str| -> Option<f64> {
            size.capabilities.iter().find(|c| c.name == key)?.value.parse().ok()
        };
        let whole = |key: &str| -> Option<u32> {
            size.capabilities.iter().find(|c| c.name == key)?.value.parse().ok()
        };
        // A size stands there once a region.
        if let (Some(vcpus), true) = (whole("vCPUs"), seen.insert(&size.name)) {
            let accelerators = whole("GPUs").unwrap_or(0);
            all.push(Instance {
                provider: "azure".to_owned(),
                instance_type: size.name.clone(),
                vcpus,
                threads_per_core: whole("vCPUsPerCore"),
                memory_gib: number("MemoryGB"),
                accelerator: (accelerators > 0).then(|| "a GPU".to_owned()),
                accelerators,
                ..Instance::default()
            });
        }
    }
    if all.is_empty() {
        return Err(Error::input(name, "holds no size of a virtual machine").remedy(remedy));
    }
    Ok(all)
}

/// A page.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    currency_code: String,
    retail_price: f64,
    #[serde(default)]
    arm_region_name: String,
    #[serde(default)]
    arm_sku_name: String,
    #[serde(default)]
    product_name: String,
    #[serde(default)]
    meter_name: String,
    #[serde(default)]
    sku_name: String,
    #[serde(default)]
    service_name: String,
    unit_of_measure: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    reservation_term: Option<String>,
}

impl Item {
    /// How it is paid for and what an hour costs; why it is none of ours otherwise.
    fn price(&self) -> std::result::Result<(Term, f64), &'static str> {
        if self.service_name != "Virtual Machines" || self.arm_sku_name.is_empty() {
            return Err("is no virtual machine");
        }
        if self.product_name.ends_with(" Windows") {
            return Err("is not plain Linux");
        }
        if self.meter_name.ends_with(" Low Priority") || self.sku_name.ends_with(" Low Priority") {
            return Err("is of low priority, which spot replaced");
        }
        if self.unit_of_measure != "1 Hour" {
            return Err("is not by the hour");
        }
        match (self.kind.as_str(), self.reservation_term.as_deref()) {
            // The price of the whole term, whatever the unit says.
            ("Reservation", Some("1 Year")) => {
                Ok((Term::OneYear, self.retail_price / HOURS_A_YEAR))
            }
            ("Reservation", Some("3 Years")) => {
                Ok((Term::ThreeYears, self.retail_price / HOURS_A_YEAR / 3.0))
            }
            ("Consumption", _) => {
                let is_spot =
                    [&self.meter_name, &self.sku_name].iter().any(|n| n.ends_with(" Spot"));
                Ok((if is_spot { Term::Spot } else { Term::OnDemand }, self.retail_price))
            }
            ("DevTestConsumption", _) => Err("is for development and tests only"),
            _ => Err("is of an unknown term"),
        }
    }
}

impl PriceSource for AzureRetail {
    fn name(&self) -> &'static str {
        "azure-retail"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        into.instances.clone_from(&self.machines);
        let pages = serde_json::Deserializer::from_reader(input).into_iter::<Page>();
        let mut seen = std::collections::HashSet::new();
        for (at, page) in pages.enumerate() {
            let name = format!("{}: page {}", about.source, at + 1);
            let page = page.map_err(|e| {
                Error::input(&name, format!("is no page of prices: {e}"))
                    .remedy("fetch the list again, every page whole")
            })?;
            for item in page.items {
                into.rows += 1;
                let (term, usd_per_hour) = match item.price() {
                    Ok(found) => found,
                    Err(why) => {
                        into.leave_out(why);
                        continue;
                    }
                };
                if item.currency_code != "USD" {
                    let message = format!("is in {}, not in USD", item.currency_code);
                    return Err(Error::input(&name, message).remedy("ask for currencyCode='USD'"));
                }
                if !(usd_per_hour.is_finite() && usd_per_hour >= 0.0) {
                    return Err(Error::input(&name, format!("has price {usd_per_hour}"))
                        .remedy("fetch the list again"));
                }
                if usd_per_hour <= 0.0 {
                    into.leave_out("costs nothing by itself");
                    continue;
                }
                if item.arm_region_name.is_empty() {
                    into.leave_out("names no region");
                    continue;
                }
                // A type has a meter for each of its generations, at one price.
                let key = (item.arm_sku_name.clone(), item.arm_region_name.clone(), term);
                if !seen.insert(key) {
                    into.leave_out("stands there twice");
                    continue;
                }
                let basis = match term {
                    Term::OneYear | Term::ThreeYears => {
                        "derived: the whole term's price by its hours"
                    }
                    _ => "read",
                };
                let machine = (item.arm_sku_name.as_str(), item.arm_region_name.as_str());
                into.quote(about, machine, (term, usd_per_hour), basis);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_say_what_prices_do_not() {
        let size = r#"{"name":"Standard_D4s_v5","resourceType":"virtualMachines","locations":["eastus"],
            "capabilities":[{"name":"vCPUs","value":"4"},{"name":"MemoryGB","value":"16"},{"name":"vCPUsPerCore","value":"2"}]}"#;
        let disk = r#"{"name":"Premium_LRS","resourceType":"disks"}"#;
        for text in [format!("[{size},{disk},{size}]"), format!("{{\"value\":[{size}]}}")] {
            let all = azure_sizes("skus.json", &text).unwrap();
            assert_eq!(all.len(), 1);
            let (vcpus, memory, threads) =
                (all[0].vcpus, all[0].memory_gib, all[0].threads_per_core);
            assert_eq!((vcpus, memory, threads), (4, Some(16.0), Some(2)));
        }
        assert!(azure_sizes("skus.json", &format!("[{disk}]")).is_err());
    }

    fn item(more: &str, price: f64) -> String {
        format!(
            "{{\"currencyCode\":\"USD\",\"retailPrice\":{price},\"armRegionName\":\"eastus\",\"armSkuName\":\"Standard_E64_v4\",\"serviceName\":\"Virtual Machines\",\"unitOfMeasure\":\"1 Hour\",{more}}}"
        )
    }

    fn import(text: &str) -> Result<Imported> {
        let about = About {
            source: "pages.json".to_owned(),
            provider: "azure".to_owned(),
            date: "2026-07-01".to_owned(),
        };
        let mut into = Imported::default();
        AzureRetail::default().read(&mut text.as_bytes(), &about, &mut into)?;
        Ok(into)
    }

    #[test]
    fn a_reservation_is_priced_for_its_whole_term() {
        let plain = "\"type\":\"Consumption\",\"productName\":\"Virtual Machines Ev4 Series\",\"meterName\":\"E64 v4\",\"skuName\":\"E64 v4\"";
        let first = [
            item(plain, 4.032),
            item("\"type\":\"Reservation\",\"reservationTerm\":\"1 Year\"", 25_007.0),
            item(
                "\"type\":\"Consumption\",\"productName\":\"Virtual Machines Ev4 Series Windows\"",
                6.976,
            ),
            item("\"type\":\"Consumption\",\"meterName\":\"E64 v4 Low Priority\"", 0.8),
        ];
        let second = [
            item(
                "\"type\":\"Consumption\",\"meterName\":\"E64 v4 Spot\",\"skuName\":\"E64 v4 Spot\"",
                0.7,
            ),
            item("\"type\":\"DevTestConsumption\"", 3.0),
            item(plain, 4.032),
        ];
        let page = |items: &[String]| {
            format!(
                "{{\"BillingCurrency\":\"USD\",\"Items\":[{}],\"NextPageLink\":null,\"Count\":1}}",
                items.join(",")
            )
        };
        let found = import(&format!("{}\n{}", page(&first), page(&second))).unwrap();
        let seen: Vec<(Term, f64)> =
            found.quotes.iter().map(|q| (q.term, q.usd_per_hour)).collect();
        assert_eq!(
            seen,
            [(Term::OnDemand, 4.032), (Term::OneYear, 25_007.0 / 8760.0), (Term::Spot, 0.7)]
        );
        assert_eq!((found.rows, found.left_out.values().sum::<u64>()), (7, 4));
        // A page that was cut off is an error, and says which.
        let cut = format!("{}\n{{\"Items\":[{}", page(&first), first[0]);
        assert!(import(&cut).unwrap_err().to_string().contains("page 2"));
        let euros = page(&[item(plain, 4.0).replace("USD", "EUR")]);
        assert!(import(&euros).unwrap_err().to_string().contains("EUR"));
    }
}
