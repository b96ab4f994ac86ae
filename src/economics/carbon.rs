//! Energy and carbon of a fleet: estimates from tables, never measurements.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::HOURS_A_MONTH;
use crate::error::{Error, Result};

const GRID: (&str, &str) = ("prices/carbon.csv", include_str!("../../prices/carbon.csv"));
const WATTS: (&str, &str) = ("prices/watts.csv", include_str!("../../prices/watts.csv"));

/// A region's grid and buildings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Grid {
    provider: String,
    region: String,
    /// Location based, in grams of CO₂ equivalents a kWh.
    g_per_kwh: f64,
    year: String,
    source: String,
    /// Power usage effectiveness.
    pue: f64,
}

/// What a vCPU or a GPU takes, idle and busy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Watts {
    name: String,
    min_w: f64,
    max_w: f64,
    source: String,
}

/// The tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Footprints {
    grids: HashMap<(String, String), Grid>,
    watts: HashMap<String, Watts>,
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running<'a> {
    /// Who rents it out.
    pub provider: &'a str,
    /// Where it stands.
    pub region: &'a str,
    /// What its CPUs may be.
    pub microarchitectures: &'a [String],
    /// Virtual CPUs of a machine.
    pub vcpus: u32,
    /// Its accelerators and how many.
    pub accelerator: Option<(&'a str, u32)>,
    /// Machines on average.
    pub machines: f64,
    /// Share of their capacity that works, 0 to 1.
    pub busy: f64,
}

/// An estimate for a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Carbon {
    /// Energy, the building's share included.
    pub kwh_per_month: f64,
    /// Of that energy, location based; `None` where the grid is not known.
    pub kg_co2e_per_month: Option<f64>,
    /// Always `estimate`.
    pub provenance: &'static str,
    /// How it came about, and what is not in it.
    pub basis: String,
}

impl Footprints {
    /// The tables that are part of the program.
    pub fn built_in() -> Result<Self> {
        let mut tables = Self { grids: HashMap::new(), watts: HashMap::new() };
        for row in csv::Reader::from_reader(GRID.1.as_bytes()).deserialize() {
            let row: Grid = row.map_err(|e| Error::internal(GRID.0, e))?;
            tables.grids.insert((row.provider.clone(), row.region.clone()), row);
        }
        for row in csv::Reader::from_reader(WATTS.1.as_bytes()).deserialize() {
            let row: Watts = row.map_err(|e| Error::internal(WATTS.0, e))?;
            tables.watts.insert(row.name.clone(), row);
        }
        Ok(tables)
    }

    /// kWh = machines · (`min_w` + busy · (`max_w` − `min_w`)) · vCPUs · 730 h · PUE / 1000, and the same for accelerators:
    /// the form of Cloud Carbon Footprint. `None` where no table says what such a machine takes.
    pub fn estimate(&self, running: &Running<'_>) -> Option<Carbon> {
        let known: Vec<&Watts> =
            running.microarchitectures.iter().filter_map(|name| self.watts.get(name)).collect();
        if known.is_empty() {
            return None;
        }
        let busy = running.busy.clamp(0.0, 1.0);
        let at = |w: &Watts| w.min_w + busy * (w.max_w - w.min_w);
        // A type that may be either is counted as the mean.
        let per_vcpu = known.iter().map(|w| at(w)).sum::<f64>() / known.len() as f64;
        let mut machine = per_vcpu * f64::from(running.vcpus);
        if let Some((name, count)) = running.accelerator {
            machine += at(self.watts.get(name)?) * f64::from(count);
        }
        let grid = self.grids.get(&(running.provider.to_owned(), running.region.to_owned()));
        let pue = grid.map_or(1.0, |g| g.pue);
        let kwh = running.machines * machine * HOURS_A_MONTH * pue / 1e3;
        let place = match grid {
            Some(g) => format!("PUE {pue}, {} g/kWh of {} ({})", g.g_per_kwh, g.year, g.source),
            None => {
                format!("no table knows the grid of {} {}; PUE 1", running.provider, running.region)
            }
        };
        Some(Carbon {
            kwh_per_month: kwh,
            kg_co2e_per_month: grid.map(|g| kwh * g.g_per_kwh / 1e3),
            provenance: "estimate",
            basis: format!(
                "{machine:.1} W a machine at {:.0} % busy ({}); {place}; memory, disks, network and the making of \
                 the machine are not in it",
                busy * 100.0,
                known[0].source
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_what_cloud_carbon_footprint_would_say() {
        let tables = Footprints::built_in().unwrap();
        let zen4 = ["Zen4".to_owned()];
        let running = Running {
            provider: "aws",
            region: "us-east-1",
            microarchitectures: &zen4,
            vcpus: 4,
            accelerator: None,
            machines: 2.0,
            busy: 0.5,
        };
        let carbon = tables.estimate(&running).unwrap();
        // Two machines of four vCPUs, half way between 0.739 and 2.282 W each.
        let kwh = 2.0 * 4.0 * (0.739 + 2.282) / 2.0 * 730.0 * 1.135 / 1000.0;
        assert!((carbon.kwh_per_month - kwh).abs() < 1e-9, "{carbon:?}");
        assert!((carbon.kg_co2e_per_month.unwrap() - kwh * 379.069 / 1000.0).abs() < 1e-9);
        // What nobody knows is not 0.
        assert_eq!(tables.estimate(&Running { microarchitectures: &[], ..running }), None);
        let nowhere = tables.estimate(&Running { region: "mars", ..running }).unwrap();
        assert_eq!(nowhere.kg_co2e_per_month, None);
        assert_eq!(tables.estimate(&Running { accelerator: Some(("a TPU", 1)), ..running }), None);
    }

    #[test]
    fn every_microarchitecture_of_the_watts_is_one_that_machines_have() {
        let tables = Footprints::built_in().unwrap();
        let prices = crate::economics::PriceTable::built_in().unwrap();
        let has: Vec<&String> = prices
            .instances
            .iter()
            .flat_map(|i| i.microarchitectures.iter().chain(&i.accelerator))
            .collect();
        for name in tables.watts.keys() {
            assert!(has.contains(&name), "{name}");
        }
        assert!(tables.grids.len() > 60);
    }
}
