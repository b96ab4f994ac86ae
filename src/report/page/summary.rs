//! What a report decides, in a few sentences: which variant to serve, what that saves, how sure it is, what is traded.

use crate::economics::{CostRow, Costs};
use crate::report::model::number;
use crate::store::Record;

/// Sentences; the first one is the decision.
pub(super) fn of(records: &[Record], costs: &Costs) -> Vec<String> {
    let baseline = records.iter().find_map(|r| r.baseline.clone());
    let fit = |row: &&CostRow| row.valid && row.meets_quality != Some(false);
    let cheapest = |rows: &mut dyn Iterator<Item = &CostRow>| {
        rows.min_by(|a, b| a.usd_per_1m.total_cmp(&b.usd_per_1m)).cloned()
    };
    let mut said = Vec::new();
    let Some(best) = cheapest(&mut costs.rows.iter().filter(fit)) else {
        said.push(
            "Nothing can be recommended: no case is valid, passes its quality gate and has a price."
                .to_owned(),
        );
        said.extend(invalid(records));
        return said;
    };
    let of_baseline = |row: &&CostRow| fit(row) && Some(&row.variant) == baseline.as_ref();
    let before = cheapest(&mut costs.rows.iter().filter(of_baseline));
    let place = |row: &CostRow| format!("{} on {}, {}", row.variant, row.backend, row.load);
    match &before {
        Some(before) if before.variant != best.variant => {
            let saving = 1.0 - best.usd_per_1m / before.usd_per_1m;
            said.push(format!(
                "Serve {}: {} USD for a million samples instead of {} with {}, {:.0} % less, on a machine that is always busy.",
                place(&best),
                number(best.usd_per_1m),
                number(before.usd_per_1m),
                before.variant,
                100.0 * saving
            ));
            said.push(confidence(records, &best));
            said.extend(traded(records, &best));
        }
        _ => said.push(format!(
            "Serve {}: {} USD for a million samples on a machine that is always busy. No variant that was measured, is valid \
             and passes its quality gate is cheaper.",
            place(&best),
            number(best.usd_per_1m)
        )),
    }
    said.extend(invalid(records));
    said
}

fn record<'a>(records: &'a [Record], row: &CostRow) -> Option<&'a Record> {
    records.iter().find(|record| record.case.id == row.case_id)
}

fn confidence(records: &[Record], best: &CostRow) -> String {
    let versus = record(records, best).and_then(|record| record.versus_baseline.as_ref());
    match versus.and_then(|v| Some((v, v.speedup?, v.speedup_low?, v.speedup_high?))) {
        Some((versus, speedup, low, high)) => format!(
            "In {} pairs of fresh processes that took turns it was {speedup:.2} times as fast as {} (95 % interval {low:.2} to {high:.2}).",
            versus.pairs.len(),
            versus.baseline
        ),
        None => "The two were not measured in turns: processes that run one after the other differ by 20 % and more where nothing differs, so a small saving may be none.".to_owned(),
    }
}

fn traded(records: &[Record], best: &CostRow) -> Option<String> {
    let record = record(records, best)?;
    let figure = record.deciding()?;
    let delta = figure.delta.map_or_else(String::new, |delta| {
        let ends = match (figure.delta_low, figure.delta_high) {
            (Some(low), Some(high)) => format!(", 95 % interval {low:+.4} to {high:+.4}"),
            _ => String::new(),
        };
        format!(" ({delta:+.4} against its parent{ends})")
    });
    Some(format!(
        "What is traded: {} is {:.4}{delta} on {} samples.",
        figure.metric, figure.value, figure.samples
    ))
}

fn invalid(records: &[Record]) -> Option<String> {
    let count = records.iter().filter(|r| !r.verdict.valid).count();
    let failing = records.iter().filter(|r| r.verdict.meets_quality == Some(false)).count();
    (count + failing > 0).then(|| {
        format!(
            "Of {} cases {count} are INVALID and {failing} fail their quality gate; none of them was recommended.",
            records.len()
        )
    })
}
