//! The op table, from the profile that ONNX Runtime writes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::backend::OpRow;
use crate::error::{Error, Result};

/// An event of the profile; only kernels carry an operator and a provider.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    args: BTreeMap<String, serde_json::Value>,
}

/// Reads the profile of a session that ran the same batch twice, and keeps the second run:
/// one row an operator kind and provider, most time first.
pub(super) fn op_table(profile: &str) -> Result<Vec<OpRow>> {
    let events: Vec<Event> = serde_json::from_str(profile).map_err(|e| {
        Error::internal("ONNX Runtime's profile", format!("is not the JSON it used to be: {e}"))
    })?;
    let kernels: Vec<(&Event, &str, &str)> = events
        .iter()
        .filter(|e| e.cat == "Node" && e.name.ends_with("_kernel_time"))
        .filter_map(|e| {
            let text = |key: &str| e.args.get(key).and_then(serde_json::Value::as_str);
            Some((e, text("op_name")?, text("provider")?))
        })
        .collect();
    // A node is an event a run; the first half are those of the first run.
    let second_run = &kernels[kernels.len() / 2..];
    let mut rows: BTreeMap<(&str, &str), (usize, f64)> = BTreeMap::new();
    for (event, op, provider) in second_run {
        let row = rows.entry((op, provider)).or_default();
        row.0 += 1;
        row.1 += event.dur;
    }
    let total: f64 = rows.values().map(|(_, time)| time).sum();
    let mut table: Vec<OpRow> = rows
        .into_iter()
        .map(|((kind, provider), (count, time))| OpRow {
            kind: kind.to_owned(),
            provider: provider.to_owned(),
            count,
            time_share: if total > 0.0 { time / total } else { 0.0 },
            // ONNX Runtime counts microseconds.
            time_ns: Some(time * 1e3),
            ..OpRow::default()
        })
        .collect();
    table.sort_by(|a, b| b.time_share.total_cmp(&a.time_share));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_is_counted() {
        let event = |op: &str, dur: u32| {
            format!(
                r#"{{"cat":"Node","name":"n_kernel_time","dur":{dur},
                    "args":{{"op_name":"{op}","provider":"CPUExecutionProvider"}}}}"#
            )
        };
        let events = [event("Conv", 900), event("Add", 100), event("Conv", 30), event("Add", 10)];
        let session = r#"{"cat":"Session","name":"model_run","dur":5,"args":{}}"#;
        let table = op_table(&format!("[{session},{}]", events.join(","))).unwrap();
        let rows: Vec<_> = table.iter().map(|r| (r.kind.as_str(), r.count)).collect();
        assert_eq!(rows, [("Conv", 1), ("Add", 1)]);
        assert!((table[0].time_share - 0.75).abs() < 1e-9);
    }
}
