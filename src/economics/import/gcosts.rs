//! gcosts' `pricing.yml`: Google's machines with a price for every region, as somebody put them together.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::{About, Imported, PriceSource};
use crate::economics::HOURS_A_MONTH;
use crate::economics::price::{Instance, Term};
use crate::error::{Error, Result};

/// The importer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gcosts;

#[derive(Deserialize)]
struct File {
    compute: Compute,
}

#[derive(Deserialize)]
struct Compute {
    instance: BTreeMap<String, Machine>,
}

#[derive(Deserialize)]
struct Machine {
    #[serde(default)]
    cpu: Option<f64>,
    #[serde(default)]
    ram: Option<f64>,
    #[serde(default)]
    cost: BTreeMap<String, Cost>,
    /// Accelerators and disks, a key each.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// `month` is not read: for n1, n2 and c2 it holds a discount for sustained use, which an hour does not have.
#[derive(Deserialize)]
struct Cost {
    hour: Option<f64>,
    hour_spot: Option<f64>,
    month_1y: Option<f64>,
    month_3y: Option<f64>,
}

/// Keys that name an accelerator.
const ACCELERATORS: [&str; 10] =
    ["l4", "t4", "p4", "p100", "v100", "a100", "h100", "h200", "b200", "rtx"];

impl Machine {
    fn accelerator(&self) -> Option<(String, u32)> {
        let is_one = |key: &str| ACCELERATORS.iter().any(|name| key.starts_with(name));
        self.rest.iter().find(|(key, _)| is_one(key)).map(|(key, count)| {
            let count = count.as_f64().unwrap_or(1.0).round().clamp(1.0, 64.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number from 1 to 64"
            )]
            let count = count as u32;
            (key.to_uppercase(), count)
        })
    }
}

impl PriceSource for Gcosts {
    fn name(&self) -> &'static str {
        "gcosts"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        let mut text = String::new();
        let wrong = |message: String| {
            Error::input(&about.source, message).remedy("is it gcosts' pricing.yml, whole?")
        };
        input.read_to_string(&mut text).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        // The file has some hundred thousand nodes, all of one kind; what guards against hostile ones is too tight.
        let options = serde_saphyr::options! { budget: None };
        let file: File = serde_saphyr::from_str_with_options(&text, options)
            .map_err(|e| wrong(format!("is no such list: {e}")))?;
        for (name, machine) in &file.compute.instance {
            if let Some(vcpus) = machine.cpu.filter(|n| *n >= 1.0 && n.fract() == 0.0 && *n < 1e5) {
                let accelerator = machine.accelerator();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a whole number from 1 to 100,000"
                )]
                let vcpus = vcpus as u32;
                into.instances.push(Instance {
                    provider: about.provider.clone(),
                    instance_type: name.clone(),
                    vcpus,
                    memory_gib: machine.ram.filter(|gib| *gib > 0.0 && gib.is_finite()),
                    accelerators: accelerator.as_ref().map_or(0, |(_, count)| *count),
                    accelerator: accelerator.map(|(name, _)| name),
                    ..Instance::default()
                });
            }
            if machine.cost.is_empty() {
                into.rows += 1;
                into.leave_out("a machine without any price");
            }
            for (region, cost) in &machine.cost {
                into.rows += 1;
                if cost.hour.is_none() {
                    into.leave_out("a region without a price by the hour");
                }
                let committed = |month: Option<f64>| month.map(|usd| usd / HOURS_A_MONTH);
                let month = "derived: a month's price by 730 hours";
                for (term, price, basis) in [
                    (Term::OnDemand, cost.hour, "read"),
                    (Term::Spot, cost.hour_spot, "read"),
                    (Term::OneYear, committed(cost.month_1y), month),
                    (Term::ThreeYears, committed(cost.month_3y), month),
                ] {
                    let Some(price) = price else { continue };
                    if !(price.is_finite() && price >= 0.0) {
                        return Err(wrong(format!("{name} in {region} has price {price}")));
                    }
                    if price > 0.0 {
                        into.quote(about, (name, region), (term, price), basis);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "about:\n  generated: 2026-07-30\ncompute:\n  instance:\n    n2-standard-4:\n      cpu: 4\n      ram: 16\n      cost:\n        \
        us-central1:\n          hour: 0.194236\n          hour_spot: 0.05\n          month: 113.43\n          month_1y: 89.33\n          month_3y: 63.81\n    \
        g2-standard-4:\n      cpu: 4\n      ram: 16\n      l4: 1\n      local-ssd: 0\n      cost:\n        us-central1: { hour: 0.706832255 }\n        \
        mars: { month: 515.98 }\n    z9-none:\n      cpu: 2\n      ram: 4\n";

    fn import(text: &str) -> Result<Imported> {
        let about = About {
            source: "pricing.yml".to_owned(),
            provider: "gcp".to_owned(),
            date: "2026-07-30".to_owned(),
        };
        let mut into = Imported::default();
        Gcosts.read(&mut text.as_bytes(), &about, &mut into)?;
        Ok(into)
    }

    #[test]
    fn a_month_with_its_discount_is_not_730_hours() {
        let found = import(LIST).unwrap();
        let of = |kind: &str, term: Term| {
            let quote = found.quotes.iter().find(|q| q.instance_type == kind && q.term == term)?;
            Some(quote.usd_per_hour)
        };
        // 113.43 / 730 would be 0.155: 20 % too cheap for whoever does not run it all month.
        assert_eq!(of("n2-standard-4", Term::OnDemand), Some(0.194_236));
        assert_eq!(of("n2-standard-4", Term::OneYear), Some(89.33 / 730.0));
        assert_eq!(of("n2-standard-4", Term::ThreeYears), Some(63.81 / 730.0));
        let gpu = found.instances.iter().find(|i| i.instance_type == "g2-standard-4").unwrap();
        assert_eq!((gpu.accelerator.as_deref(), gpu.accelerators), (Some("L4"), 1));
        assert_eq!(found.left_out["a machine without any price"], 1);
        assert_eq!(found.left_out["a region without a price by the hour"], 1);
        assert!(import(&LIST.replace("0.194236", "-1")).unwrap_err().to_string().contains("-1"));
        assert!(import("compute: 3").is_err() && import("{").is_err());
    }
}
