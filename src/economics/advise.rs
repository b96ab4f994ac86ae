//! Which plan to take, and what keeps a cheaper one from being it.

use super::evaluate::Evaluated;
use super::grid::Asked;

/// Which rows nothing else beats in cost, quality and latency at once; an unknown figure counts as the worst. Rows
/// that are only assumed are compared among themselves: they beat nothing that was measured.
pub fn pareto(rows: &[Evaluated]) -> Vec<usize> {
    let figures = |row: &Evaluated| {
        let latency = row.offer.latency_ms.unwrap_or(f64::INFINITY);
        let quality = row.offer.goodness().unwrap_or(f64::NEG_INFINITY);
        [row.usd_per_month, -quality, latency]
    };
    let beats = |a: &[f64; 3], b: &[f64; 3]| {
        a.iter().zip(b).all(|(x, y)| x <= y) && a.iter().zip(b).any(|(x, y)| x < y)
    };
    let all: Vec<([f64; 3], bool)> = rows.iter().map(|r| (figures(r), is_assumed(r))).collect();
    let can_be = |at: usize| rows[at].offer.excluded.is_empty();
    (0..rows.len())
        .filter(|at| can_be(*at))
        .filter(|at| {
            let beaten_by = |other: usize| {
                can_be(other) && (all[*at].1 || !all[other].1) && beats(&all[other].0, &all[*at].0)
            };
            !(0..rows.len()).any(beaten_by)
        })
        .collect()
}

/// Whether a row's machine was never measured.
pub fn is_assumed(row: &Evaluated) -> bool {
    row.offer.price.as_ref().is_some_and(|price| price.provenance == "assumed")
}

/// The cheapest row that can be chosen and meets every target, what was measured or stated before what is assumed;
/// `None` where none does.
pub fn cheapest_that_fits(rows: &[Evaluated]) -> Option<usize> {
    let fits = |row: &Evaluated| row.offer.excluded.is_empty() && row.targets.iter().all(|t| t.met);
    (0..rows.len()).filter(|at| fits(&rows[*at])).min_by(|a, b| {
        (is_assumed(&rows[*a]).cmp(&is_assumed(&rows[*b])))
            .then(rows[*a].usd_per_month.total_cmp(&rows[*b].usd_per_month))
    })
}

/// What binds a plan: what its fleet is as large as it is for, and what keeps each cheaper plan from being chosen.
///
/// `money` says an amount of USD.
pub fn binding(
    rows: &[Evaluated],
    chosen: usize,
    asked: &Asked<'_>,
    money: &dyn Fn(f64) -> String,
) -> Vec<String> {
    let row = &rows[chosen];
    let mut all = Vec::new();
    let rules = &asked.business.fleet;
    if let (Some(replicas), Some(capacity), Some(utilization)) =
        (row.replicas, row.offer.capacity, row.utilization)
    {
        let per_s = capacity.per_s * rules.share;
        let peak = asked.demand.peak_per_s();
        let planned = (peak / (per_s * utilization) - 1e-9).ceil();
        let machines = f64::from(replicas);
        all.push(if machines > planned && replicas == rules.at_least {
            format!("the fleet: {replicas} at least, {:.0} % of which the demand keeps busy", 100.0 * row.busy.unwrap_or(0.0))
        } else if machines > planned {
            format!("the fleet: {} redundant beside what the busiest second needs", rules.redundant)
        } else {
            format!("the fleet: {peak:.1} requests in the busiest second, {:.1} of which a machine is planned for", per_s * utilization)
        });
    }
    let cheaper = rows.iter().filter(|other| other.usd_per_month < row.usd_per_month);
    let mut told: Vec<(&str, bool)> = Vec::new();
    for other in cheaper {
        let why = match other.offer.excluded.first() {
            Some(why) => why.clone(),
            None if is_assumed(other) && !is_assumed(row) => {
                let machine = other.offer.price.as_ref().map_or("", |p| p.instance_type.as_str());
                format!("{machine} was not measured: measure on it")
            }
            None => {
                let missed = other.targets.iter().filter(|t| !t.met).map(|t| t.target);
                format!("misses {}", missed.collect::<Vec<_>>().join(", "))
            }
        };
        // The first of a name is its cheapest; the others say the same of other loads and machines.
        let name = (other.offer.name.as_str(), is_assumed(other));
        if told.contains(&name) {
            continue;
        }
        told.push(name);
        let load = other.offer.load.as_ref().map_or(String::new(), |load| format!(" {load}"));
        let usd = money(other.usd_per_month);
        all.push(format!("{}{load} would be {usd}: {why}", other.offer.name));
        if all.len() > 4 {
            break;
        }
    }
    all
}
