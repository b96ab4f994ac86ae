//! `SkyPilot`'s catalogue: `catalogs/v*/CLOUD/vms.csv`, a row a zone.
//!
//! Columns come in another order for every cloud. `GpuInfo` is Python's way to print a dictionary, and is not read:
//! name and count of accelerators have columns of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use super::{About, Columns, Imported, PriceSource, median};
use crate::economics::price::{Instance, Term};
use crate::error::{Error, Result};

/// The importer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SkyPilot;

/// What all zones of a region say of a type.
#[derive(Default)]
struct Region {
    prices: Vec<f64>,
    spots: Vec<f64>,
}

/// What a type is.
#[derive(Default)]
struct Machine {
    vcpus: Option<u32>,
    memory_gib: Option<f64>,
    accelerator: Option<(String, f64)>,
    regions: BTreeMap<String, Region>,
}

/// GCP's hosts of accelerators: their rows have the price of the host alone.
fn is_bare_host(provider: &str, machine: &str) -> bool {
    let families = ["a2-", "a3-", "a4-", "g2-", "g4-"];
    provider == "gcp" && families.iter().any(|family| machine.starts_with(family))
}

/// How many accelerators a host's name says it has: `a2-highgpu-8g`.
fn accelerators(machine: &str) -> Option<f64> {
    machine.rsplit('-').next()?.strip_suffix('g')?.parse().ok()
}

/// Which accelerator a family of hosts has, as the catalogue calls it.
fn accelerator_of(machine: &str) -> &'static [&'static str] {
    match machine {
        m if m.starts_with("a2-ultragpu") => &["A100-80GB"],
        m if m.starts_with("a2-") => &["A100"],
        m if m.starts_with("a3-ultragpu") => &["H200"],
        m if m.starts_with("a3-mega") => &["H100-MEGA", "H100"],
        m if m.starts_with("a3-") => &["H100"],
        m if m.starts_with("g2-") => &["L4"],
        _ => &[],
    }
}

impl PriceSource for SkyPilot {
    fn name(&self) -> &'static str {
        "skypilot"
    }

    fn read(&self, input: &mut dyn Read, about: &About, into: &mut Imported) -> Result<()> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
        let wrong = |line: u64, what: String| {
            Error::input(format!("{}: line {line}", about.source), what)
                .remedy("leave the line out, or fetch the list again")
        };
        let header = reader.headers().map_err(|e| wrong(1, e.to_string()))?.clone();
        let columns = Columns::new(&about.source, header);
        let (kind, price, region) =
            (columns.at("InstanceType")?, columns.at("Price")?, columns.at("Region")?);
        let spot = columns.maybe("SpotPrice");
        let zone = columns.maybe("AvailabilityZone");
        let (cpus, memory) = (columns.maybe("vCPUs"), columns.maybe("MemoryGiB"));
        let (name, count) = (columns.maybe("AcceleratorName"), columns.maybe("AcceleratorCount"));
        let mut machines: BTreeMap<String, Machine> = BTreeMap::new();
        // GCP's accelerators alone: name, region → prices of one.
        let mut alone: BTreeMap<(String, String), Region> = BTreeMap::new();
        let mut row = csv::StringRecord::new();
        loop {
            let line = reader.position().line();
            if !reader.read_record(&mut row).map_err(|e| wrong(line, e.to_string()))? {
                break;
            }
            into.rows += 1;
            if row.len() != columns.header.len() {
                let message =
                    format!("has {} columns of {}: cut off?", row.len(), columns.header.len());
                return Err(wrong(line, message));
            }
            let text = |at: Option<usize>| at.and_then(|at| row.get(at)).map_or("", str::trim);
            let number = |at: Option<usize>, what: &str| -> Result<Option<f64>> {
                match text(at) {
                    "" => Ok(None),
                    cell => match cell.parse::<f64>() {
                        Ok(value) if value.is_finite() => Ok(Some(value)),
                        _ => Err(wrong(line, format!("has {what} `{cell}`, which is no number"))),
                    },
                }
            };
            let (on_demand, spot_price) =
                (number(Some(price), "Price")?, number(spot, "SpotPrice")?);
            if on_demand.is_some_and(|p| p < 0.0) || spot_price.is_some_and(|p| p < 0.0) {
                return Err(wrong(line, "has a price below 0".to_owned()));
            }
            let place = text(Some(region)).to_owned();
            if place.is_empty() {
                return Err(wrong(line, "names no region".to_owned()));
            }
            // `use1-atl2-az1` and its like: a city beside the region, with prices of its own.
            if text(zone).split('-').count() > 2 && about.provider == "aws" && is_local(text(zone))
            {
                into.leave_out("a Local Zone, not the region");
                continue;
            }
            let accelerator = number(count, "AcceleratorCount")?
                .filter(|n| *n > 0.0)
                .map(|n| (text(name).to_owned(), n));
            let entry = if text(Some(kind)).is_empty() {
                let Some((name, count)) = &accelerator else {
                    into.leave_out("names no instance type");
                    continue;
                };
                // Of several at once the price of one.
                let one = |price: f64| price / count;
                let entry = alone.entry((name.clone(), place)).or_default();
                entry.prices.extend(on_demand.filter(|p| *p > 0.0).map(one));
                entry.spots.extend(spot_price.filter(|p| *p > 0.0).map(one));
                continue;
            } else {
                machines.entry(text(Some(kind)).to_owned()).or_default()
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "written as 4.0; casts of floats saturate"
            )]
            if let Some(cpus) = number(cpus, "vCPUs")?.filter(|n| *n >= 1.0) {
                entry.vcpus = Some(cpus as u32);
            }
            entry.memory_gib =
                number(memory, "MemoryGiB")?.filter(|n| *n > 0.0).or(entry.memory_gib);
            entry.accelerator = accelerator.or(entry.accelerator.take());
            let found = entry.regions.entry(place).or_default();
            match on_demand.filter(|p| *p > 0.0) {
                Some(price) => found.prices.push(price),
                None => into.leave_out("has no on-demand price"),
            }
            match (spot_price.filter(|p| *p > 0.0), on_demand) {
                (Some(spot), Some(price)) if spot > price => {
                    into.leave_out("spot is dearer than on demand");
                }
                (Some(spot), _) => found.spots.push(spot),
                (None, _) => {}
            }
        }
        hand_over(machines, &alone, about, into);
        Ok(())
    }
}

/// Zones of AWS's Local Zones and Wavelength: `use1-atl2-az1`, `use1-wl1-bos-wlz1`; a region's own are `use1-az1`.
fn is_local(zone: &str) -> bool {
    !zone.split('-').nth(1).is_some_and(|part| part.starts_with("az"))
}

/// An accelerator and how many; a part of one is said in its name.
fn counted(name: &str, count: f64) -> (Option<String>, u32) {
    if count.fract() > 0.0 {
        return (Some(format!("{count} of a {name}")), 1);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts of floats saturate, and none has thousands"
    )]
    let whole = count as u32;
    (Some(name.to_owned()), whole)
}

fn hand_over(
    machines: BTreeMap<String, Machine>,
    alone: &BTreeMap<(String, String), Region>,
    about: &About,
    into: &mut Imported,
) {
    for (kind, machine) in machines {
        let bare = is_bare_host(&about.provider, &kind) && machine.accelerator.is_none();
        let needed = bare.then(|| (accelerator_of(&kind), accelerators(&kind)));
        if let Some(vcpus) = machine.vcpus {
            let (accelerator, accelerators) = match (&machine.accelerator, needed) {
                (Some((name, count)), _) => counted(name, *count),
                (None, Some(([name, ..], Some(count)))) => counted(name, count),
                _ => (None, 0),
            };
            into.instances.push(Instance {
                provider: about.provider.clone(),
                instance_type: kind.clone(),
                vcpus,
                memory_gib: machine.memory_gib,
                accelerator,
                accelerators,
                ..Instance::default()
            });
        }
        for (region, mut found) in machine.regions {
            let (mut host, mut spot) = (median(&mut found.prices), median(&mut found.spots));
            let mut basis = Cow::Borrowed("median of the region's zones");
            if let Some((names, count)) = needed {
                let of =
                    names.iter().find_map(|name| alone.get(&((*name).to_owned(), region.clone())));
                let (Some(of), Some(count)) = (of, count) else {
                    into.leave_out("a host's price without that of its accelerators");
                    continue;
                };
                let one = |values: &[f64]| median(&mut values.to_vec());
                let both = |host: Option<f64>, one: Option<f64>| Some(host? + one? * count);
                (host, spot) = (both(host, one(&of.prices)), both(spot, one(&of.spots)));
                basis = format!("derived: host + {count} accelerators; {basis}").into();
            }
            if let Some(price) = host {
                into.quote(about, (&kind, &region), (Term::OnDemand, price), basis.clone());
            }
            if let Some(price) = spot {
                into.quote(about, (&kind, &region), (Term::Spot, price), basis);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(provider: &str, text: &str) -> Result<Imported> {
        let about = About {
            source: "vms.csv".to_owned(),
            provider: provider.to_owned(),
            date: "2026-07-30".to_owned(),
        };
        let mut into = Imported::default();
        SkyPilot.read(&mut text.as_bytes(), &about, &mut into)?;
        Ok(into)
    }

    fn price(found: &Imported, kind: &str, region: &str, term: Term) -> Option<f64> {
        let quote = found
            .quotes
            .iter()
            .find(|q| q.instance_type == kind && q.region == region && q.term == term);
        quote.map(|q| q.usd_per_hour)
    }

    const AWS: &str = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n";

    #[test]
    fn zones_of_a_region_are_one_quote() {
        let text = format!(
            "{AWS}c7i.xlarge,,,4.0,8.0,,0.1785,0.07,us-east-1,use1-az1,x86_64\n\
             c7i.xlarge,,,4,8,,0.1785,0.09,us-east-1,use1-az2,x86_64\n\
             c7i.xlarge,,,4.0,8.0,,0.1785,0.05,us-east-1,use1-az4,x86_64\n\
             c7i.xlarge,,,4.0,8.0,,0.21,0.30,us-east-1,use1-atl2-az1,x86_64\n\
             c7i.xlarge,,,4.0,8.0,,0.19,0.25,us-east-2,use2-az1,x86_64\n\
             g4dn.xlarge,T4,1.0,4.0,16.0,\"{{'Gpus': [{{'Name': 'T4', 'Count': 1}}]}}\",0.526,,us-east-1,use1-az1,x86_64\n"
        );
        let found = import("aws", &text).unwrap();
        assert_eq!(price(&found, "c7i.xlarge", "us-east-1", Term::OnDemand), Some(0.1785));
        // The median, not the least; and not the Local Zone's.
        assert_eq!(price(&found, "c7i.xlarge", "us-east-1", Term::Spot), Some(0.07));
        // Spot above on-demand is none.
        assert_eq!(price(&found, "c7i.xlarge", "us-east-2", Term::Spot), None);
        let gpu = found.instances.iter().find(|i| i.instance_type == "g4dn.xlarge").unwrap();
        assert_eq!((gpu.accelerator.as_deref(), gpu.accelerators, gpu.vcpus), (Some("T4"), 1, 4));
        assert_eq!(found.left_out["a Local Zone, not the region"], 1);
        assert_eq!(found.left_out["spot is dearer than on demand"], 1);
        assert_eq!((found.rows, found.quotes.len()), (6, 4));
        // What is written is what `--prices` takes.
        let mut table = crate::economics::PriceTable::default();
        let mut csv = Vec::new();
        found.write_csv(&mut csv).unwrap();
        table.add("out.csv", &String::from_utf8(csv).unwrap()).unwrap();
        assert_eq!(table.quotes.len(), 4);
        assert_eq!(
            table.instances.iter().find(|i| i.instance_type == "c7i.xlarge").unwrap().vcpus,
            4
        );
    }

    #[test]
    fn hosts_without_their_accelerators_are_no_price() {
        let header = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice\n";
        let host = "a2-highgpu-2g,24.0,170.0,,,,us-central1,us-central1-a,1.47896,0.7\n";
        let alone = ",,,A100,1.0,,us-central1,us-central1-a,2.933908,1.1\n";
        let with = import("gcp", &format!("{header}{host}{alone}")).unwrap();
        let both = price(&with, "a2-highgpu-2g", "us-central1", Term::OnDemand).unwrap();
        assert!((both - (1.47896 + 2.0 * 2.933_908)).abs() < 1e-9, "{both}");
        assert!(with.quotes[0].basis.starts_with("derived"));
        let without = import("gcp", &format!("{header}{host}")).unwrap();
        assert_eq!(without.quotes.len(), 0);
        assert_eq!(without.left_out["a host's price without that of its accelerators"], 1);
    }

    #[test]
    fn what_is_no_price_names_its_line() {
        for (row, says) in [
            ("c7i.xlarge,,,4.0,8.0,,cheap,,us-east-1,use1-az1,x86_64\n", "`cheap`"),
            ("c7i.xlarge,,,4.0,8.0,,-1,,us-east-1,use1-az1,x86_64\n", "below 0"),
            ("c7i.xlarge,,,4.0,8.0,,1.0,,,use1-az1,x86_64\n", "no region"),
        ] {
            let error = import("aws", &format!("{AWS}{row}")).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("line 2"), "{error}");
        }
        let error = import("aws", "Instance,Price\n").unwrap_err().to_string();
        assert!(error.contains("`InstanceType`"), "{error}");
        let empty = format!("{AWS}c7i.xlarge,,,4.0,8.0,,,0.05,us-east-1,use1-az1,x86_64\n");
        let found = import("aws", &empty).unwrap();
        assert_eq!(price(&found, "c7i.xlarge", "us-east-1", Term::OnDemand), None);
    }
}
