//! What a run leaves behind: records, one JSON line a case, and raw observations beside them.
//!
//! Append-only and plain data: everything that judges, prices or predicts reads it and touches no
//! device.

mod observations;
mod record;
mod run_dir;
mod serving;
mod summary;
mod versus;

pub use observations::{ObservationsFile, read_observations, write_observations};
pub use record::{
    CaseRecord, Ceilings, CpuLimit, EnergyRecord, Hashes, LineageRecord, LoadRecord, Machine,
    MemoryBytes, Numeric, OpRow, ProviderShare, Record, SCHEMA_VERSION, Telemetry, TimingMs,
    Verdict, WorkRecord, WorkRow,
};
pub use run_dir::{Manifest, RunDir, RunInfo, list_runs};
pub use serving::{Serving, SloRecord, Span, serving, slo};
pub use summary::{Summary, Throughput, summarise};
pub use versus::Versus;
