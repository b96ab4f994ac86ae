//! Charts of a run: latency, cost, cost against quality.

use crate::economics::Costs;
use crate::error::Result;
use crate::report::chart::{Bar, Chart, Dot, Mark, Part, bars, dots};
use crate::report::model::number;
use crate::store::Record;

/// Rows that a chart shows at most; the table has them all.
const MOST: usize = 40;

pub(super) fn of(records: &[Record], costs: &Costs) -> Result<Vec<Chart>> {
    let mut charts = Vec::new();
    charts.extend(latency(records)?);
    charts.extend(cost(costs)?);
    Ok(charts)
}

fn label(record: &Record) -> String {
    let case = &record.case;
    format!("{} {} batch {} {}", case.variant, case.backend, case.batching.sizes(), case.scenario)
}

fn latency(records: &[Record]) -> Result<Option<Chart>> {
    const NAMES: [&str; 3] = ["p50", "p95", "p99"];
    let measured: Vec<&Record> = records.iter().filter(|r| !r.latency_ms.is_empty()).collect();
    if measured.is_empty() {
        return Ok(None);
    }
    let interval = |record: &Record, name: &str| record.latency_ms.get(name).copied().flatten();
    let mark = |record: &Record, name: &str| {
        interval(record, name).map(|i| Mark { value: i.value, ends: i.low.zip(i.high) })
    };
    let rows: Vec<Dot> = measured
        .iter()
        .take(MOST)
        .map(|record| Dot {
            label: label(record),
            marks: NAMES.iter().map(|name| mark(record, name)).collect(),
            is_hollow: !record.verdict.valid,
        })
        .collect();
    let cell = |record: &Record, name: &str| {
        interval(record, name).map_or_else(
            || "–".to_owned(),
            |i| match (i.low, i.high) {
                (Some(low), Some(high)) => {
                    format!("{} [{}, {}]", number(i.value), number(low), number(high))
                }
                _ => number(i.value),
            },
        )
    };
    let table = measured.iter().map(|record| {
        let cells = NAMES.iter().map(|name| cell(record, name));
        let verdict = if record.verdict.valid { "VALID" } else { "INVALID" };
        [label(record)].into_iter().chain(cells).chain([verdict.to_owned()]).collect()
    });
    let columns = ["case", "p50 ms", "p95 ms", "p99 ms", "verdict"].map(String::from).to_vec();
    let alt = format!(
        "Latency by case at the 50th, 95th and 99th percentile, {} cases; hollow marks are INVALID. The table below has every figure.",
        rows.len()
    );
    let about = ("latency", "Latency by case", alt.as_str());
    dots(about, &NAMES, "ms, with 95 % intervals", &rows, (columns, table.collect())).map(Some)
}

fn cost(costs: &Costs) -> Result<Option<Chart>> {
    if costs.rows.is_empty() {
        return Ok(None);
    }
    let label = |row: &crate::economics::CostRow| {
        format!("{} {} {} · {}", row.variant, row.backend, row.load, row.instance_type)
    };
    let rows: Vec<Bar> = costs
        .rows
        .iter()
        .take(MOST)
        .map(|row| Bar {
            label: label(row),
            parts: vec![Part { which: 0, value: row.usd_per_1m }],
            ends: row.usd_per_1m_low.zip(row.usd_per_1m_high),
            is_hollow: !row.valid || row.provenance == "assumed",
        })
        .collect();
    let table = costs.rows.iter().map(|row| {
        let verdict = if row.valid { "VALID" } else { "INVALID" };
        let ends = row.usd_per_1m_low.zip(row.usd_per_1m_high);
        let ends = ends.map_or_else(String::new, |(low, high)| {
            format!(" [{}, {}]", number(low), number(high))
        });
        vec![
            label(row),
            format!("{}{ends}", number(row.usd_per_1m)),
            row.provenance.clone(),
            verdict.to_owned(),
        ]
    });
    let columns = ["case", "USD per million", "price", "verdict"].map(String::from).to_vec();
    let alt = format!(
        "Cost of a million samples on a machine that is always busy, {} cases; hollow bars are INVALID or assumed. The table below has every figure.",
        rows.len()
    );
    let about = ("cost", "Cost of a million samples", alt.as_str());
    let axis = "USD for a million samples, with 95 % intervals of capacity";
    bars(about, &["machine"], axis, &rows, (columns, table.collect())).map(Some)
}
