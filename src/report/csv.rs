//! One flat row a record, for spreadsheets and scripts. Units are in the names of the columns.

use super::{Report, ReportModel};
use crate::error::{Error, Result};
use crate::store::{LoadRecord, Record};

/// Comma-separated values with a header.
#[derive(Debug, Clone, Copy, Default)]
pub struct Csv;

/// A column: its name and a record's value in it, empty for none.
type Column = (&'static str, fn(&Record) -> String);

const COLUMNS: &[Column] = &[
    ("run_id", |r| r.run_id.clone()),
    ("case_id", |r| r.case.id.clone()),
    ("model", |r| r.case.model.clone()),
    ("variant", |r| r.case.variant.clone()),
    ("recipe", |r| r.case.recipe.clone()),
    ("backend", |r| r.case.backend.clone()),
    ("batch", |r| r.case.batching.size().to_string()),
    ("scenario", |r| r.case.scenario.kind().to_owned()),
    ("load", |r| r.case.scenario.to_string()),
    ("concurrency", |r| {
        let outstanding = r.case.scenario.outstanding(r.case.batching);
        outstanding.map(|n| n.to_string()).unwrap_or_default()
    }),
    ("offered_per_s", |r| text(r.load.as_ref().and_then(|l| l.offered_per_s))),
    ("sessions", |r| r.case.sessions.to_string()),
    ("threads", |r| r.threads_used.to_string()),
    ("p50_ms", |r| latency(r, "p50", |i| Some(i.value))),
    ("p50_ms_low", |r| latency(r, "p50", |i| i.low)),
    ("p50_ms_high", |r| latency(r, "p50", |i| i.high)),
    ("p95_ms", |r| latency(r, "p95", |i| Some(i.value))),
    ("p95_ms_low", |r| latency(r, "p95", |i| i.low)),
    ("p95_ms_high", |r| latency(r, "p95", |i| i.high)),
    ("p99_ms", |r| latency(r, "p99", |i| Some(i.value))),
    ("p99_ms_low", |r| latency(r, "p99", |i| i.low)),
    ("p99_ms_high", |r| latency(r, "p99", |i| i.high)),
    ("max_ms", |r| latency(r, "max", |i| Some(i.value))),
    ("throughput_per_s", |r| text(r.throughput_per_s.as_ref().map(|t| t.value))),
    ("throughput_per_s_low", |r| text(r.throughput_per_s.as_ref().and_then(|t| t.low))),
    ("throughput_per_s_high", |r| text(r.throughput_per_s.as_ref().and_then(|t| t.high))),
    ("quality_metric", |r| r.deciding().map(|q| q.metric.to_string()).unwrap_or_default()),
    ("quality", |r| text(r.deciding().map(|q| q.value))),
    ("quality_low", |r| text(r.deciding().and_then(|q| q.low))),
    ("quality_high", |r| text(r.deciding().and_then(|q| q.high))),
    ("quality_delta", |r| text(r.deciding().and_then(|q| q.delta))),
    ("baseline", |r| r.versus_baseline.as_ref().map(|v| v.baseline.clone()).unwrap_or_default()),
    ("speedup", |r| text(r.versus_baseline.as_ref().and_then(|v| v.speedup))),
    ("speedup_low", |r| text(r.versus_baseline.as_ref().and_then(|v| v.speedup_low))),
    ("speedup_high", |r| text(r.versus_baseline.as_ref().and_then(|v| v.speedup_high))),
    ("speedup_basis", |r| r.versus_baseline.as_ref().map(|v| v.basis.clone()).unwrap_or_default()),
    ("size_ratio", |r| text(r.versus_baseline.as_ref().and_then(|v| v.size_ratio))),
    ("quality_kept", |r| text(r.versus_baseline.as_ref().and_then(|v| v.quality_kept))),
    ("requests", |r| r.load.as_ref().map(|l| l.requests.to_string()).unwrap_or_default()),
    ("batches", |r| r.load.as_ref().map(|l| l.batches.to_string()).unwrap_or_default()),
    ("mean_batch", |r| text(r.load.as_ref().and_then(LoadRecord::mean_batch))),
    ("rejected", |r| r.load.as_ref().map(|l| l.rejected.to_string()).unwrap_or_default()),
    ("unfinished", |r| r.load.as_ref().map(|l| l.unfinished.to_string()).unwrap_or_default()),
    ("lag_p99_ms", |r| text(r.load.as_ref().and_then(|l| Some(l.lag_ms?.p99)))),
    ("waiting_p99_ms", |r| text(r.load.as_ref().and_then(|l| Some(l.waiting_ms?.p99)))),
    ("service_p50_ms", |r| text(r.load.as_ref().and_then(|l| Some(l.service_ms?.p50)))),
    ("service_p99_ms", |r| text(r.load.as_ref().and_then(|l| Some(l.service_ms?.p99)))),
    ("slo_met", |r| {
        let met = r.load.as_ref().and_then(|l| l.slo.as_ref()).and_then(|slo| slo.met);
        met.map(|met| met.to_string()).unwrap_or_default()
    }),
    ("load_ms", |r| text(r.timing_ms.map(|t| t.load))),
    ("compile_ms", |r| text(r.timing_ms.map(|t| t.compile))),
    ("first_ms", |r| text(r.timing_ms.map(|t| t.first))),
    ("size_bytes", |r| r.size_bytes.0.to_string()),
    ("weights_bytes", |r| r.memory_bytes.weights.0.to_string()),
    ("peak_rss_bytes", |r| r.memory_bytes.peak_rss.map(|b| b.0.to_string()).unwrap_or_default()),
    ("energy_j_per_inference", |r| text(r.energy_j_per_inference)),
    ("energy_source", |r| r.energy.as_ref().map(|e| e.source.clone()).unwrap_or_default()),
    ("throttled_share", |r| text(r.telemetry.and_then(|t| t.throttled_share))),
    ("steal_share", |r| text(r.telemetry.and_then(|t| t.steal_share))),
    ("foreign_share", |r| text(r.telemetry.and_then(|t| t.foreign_share))),
    ("waiting_share", |r| text(r.telemetry.and_then(|t| t.waiting_share))),
    ("runtime_version", |r| r.runtime_version.clone().unwrap_or_default()),
    ("hardware_class", |r| r.hardware_class.clone()),
    ("valid", |r| r.verdict.valid.to_string()),
    ("meets_quality", |r| r.verdict.meets_quality.map(|m| m.to_string()).unwrap_or_default()),
    ("reasons", |r| r.verdict.reasons.join("; ")),
    ("provenance", |r| r.provenance.clone()),
];

fn latency(record: &Record, name: &str, of: fn(&crate::stats::Interval) -> Option<f64>) -> String {
    text(record.latency_ms.get(name).and_then(Option::as_ref).and_then(of))
}

fn text(value: Option<f64>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

impl Report for Csv {
    fn render(&self, model: &ReportModel) -> Result<String> {
        let of_cost = ["usd_per_1m", "price_of", "price_provenance"];
        let header: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).chain(of_cost).collect();
        let rows = model.records.iter().map(|record| {
            let cost = model.costs.rows.iter().find(|row| row.case_id == record.case.id);
            let of_cost = cost.map_or_else(<[String; 3]>::default, |row| {
                let of = format!("{} {} {}", row.provider, row.instance_type, row.term);
                [row.usd_per_1m.to_string(), of, row.provenance.clone()]
            });
            COLUMNS.iter().map(|(_, of)| of(record)).chain(of_cost).collect::<Vec<String>>()
        });
        csv_rows(&header, rows)
    }
}

/// Rows below a header.
pub fn csv_rows<R: IntoIterator<Item = S>, S: AsRef<[u8]>>(
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> Result<String> {
    let fail = |e: &dyn std::fmt::Display| Error::internal("csv", e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(|e| fail(&e))?;
    for row in rows {
        writer.write_record(row).map_err(|e| fail(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| fail(&e))?;
    String::from_utf8(bytes).map_err(|e| fail(&e))
}
