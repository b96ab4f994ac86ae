//! Where the time goes: kernels with their rates, beside what the device can do.

use super::{markdown_table, ruled, wrapped};
use crate::store::{Ceilings, OpRow, Record};

/// Rows of a case at most; what is left out is summed up in the last one.
const MOST: usize = 12;

const COLUMNS: [&str; 7] = ["op", "count", "µs", "share", "GFLOP/s", "GB/s", "of ceiling"];

fn row(op: String, count: usize, sums: &OpRow) -> [String; 7] {
    let seconds = sums.time_ns.filter(|ns| *ns > 0.0).map(|ns| ns * 1e-9);
    let rate = |amount: Option<f64>| match (amount, seconds) {
        (Some(amount), Some(seconds)) => format!("{:.1}", amount / seconds / 1e9),
        _ => String::new(),
    };
    [
        op,
        count.to_string(),
        sums.time_ns.map_or(String::new(), |ns| format!("{:.1}", ns / 1e3)),
        format!("{:.1} %", sums.time_share * 100.0),
        rate(sums.flops),
        rate(sums.bytes),
        sums.ceiling_share.map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
    ]
}

/// Several rows as one.
fn summed(rows: &[OpRow]) -> OpRow {
    let add = |of: fn(&OpRow) -> Option<f64>| {
        let known: Vec<f64> = rows.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    };
    let time_ns: Option<f64> = add(|r| r.time_ns);
    // The least time of each, over the time of all.
    let least: Option<f64> = add(|r| Some(r.ceiling_share? * r.time_ns?));
    OpRow {
        kind: String::new(),
        provider: String::new(),
        count: rows.iter().map(|r| r.count).sum(),
        time_share: rows.iter().map(|r| r.time_share).sum(),
        time_ns,
        flops: add(|r| r.flops),
        bytes: add(|r| r.bytes),
        ceiling_share: least.zip(time_ns).map(|(least, all)| least / all.max(1e-9)),
    }
}

fn rows(ops: &[OpRow]) -> Vec<[String; 7]> {
    let (shown, rest) = ops.split_at(ops.len().min(MOST));
    let mut rows: Vec<_> = shown.iter().map(|op| row(op.kind.clone(), op.count, op)).collect();
    if !rest.is_empty() {
        let sums = summed(rest);
        rows.push(row(format!("{} others", rest.len()), sums.count, &sums));
    }
    let all = summed(ops);
    rows.push(row("all".to_owned(), all.count, &all));
    rows
}

fn ceilings(found: &Ceilings) -> String {
    let tera = |rate: f64| format!("{:.2} T", rate / 1e12);
    let mut parts = vec![format!("{}FLOP/s of f32", tera(found.f32_flops_per_s))];
    if let Some(rate) = found.f16_flops_per_s {
        parts.push(format!("{}FLOP/s of f16", tera(rate)));
    }
    if let Some(rate) = found.int8_ops_per_s {
        parts.push(format!("{}OP/s of bytes", tera(rate)));
    }
    parts.push(format!("{:.1} GB/s copied", found.bytes_per_s / 1e9));
    format!("measured on this device: {}", parts.join(", "))
}

/// One batch of each variant, engine and batch size, step by step; as Markdown or for the terminal.
///
/// Times are those of one untimed run with a clock around each step: what the device spends, without
/// transfers.
pub fn profile(records: &[Record], is_markdown: bool) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    for record in records.iter().filter(|r| !r.ops.is_empty()) {
        let case = &record.case;
        let key = (&case.variant, &case.backend, &case.batching, &case.threads);
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let title =
            format!("{} · {} · batch {} · one batch", case.variant, record.engine(), case.batching);
        let rows = rows(&record.ops);
        if is_markdown {
            let columns: Vec<String> = COLUMNS.iter().map(|&c| c.to_owned()).collect();
            text.push_str(&format!("### {title}\n\n{}\n", markdown_table(&columns, &rows)));
        } else {
            text.push_str(&wrapped("", &title));
            text.push_str(&ruled(&COLUMNS, &rows));
        }
        let note = match &record.ceilings {
            Some(found) => ceilings(found),
            None => "what the device can do at most is not known: no share of it".to_owned(),
        };
        text.push_str(&wrapped("· ", &note));
    }
    if text.is_empty() {
        text.push_str("no engine of this run says where its time goes\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_summed_up() {
        let op = |share: f64| OpRow {
            kind: "MatMul (tiled)".to_owned(),
            provider: "gpu".to_owned(),
            count: 2,
            time_share: 0.05,
            time_ns: Some(1000.0),
            flops: Some(4e3),
            bytes: None,
            ceiling_share: Some(share),
        };
        let ops: Vec<OpRow> = (0..20).map(|at| op(if at < 10 { 0.5 } else { 0.1 })).collect();
        let rows = rows(&ops);
        assert_eq!(rows.len(), MOST + 2);
        assert_eq!(rows[0], ["MatMul (tiled)", "2", "1.0", "5.0 %", "4.0", "", "50 %"]);
        assert_eq!(rows[MOST], ["8 others", "16", "8.0", "40.0 %", "4.0", "", "10 %"]);
        assert_eq!(rows[MOST + 1], ["all", "40", "20.0", "100.0 %", "4.0", "", "30 %"]);
    }
}
