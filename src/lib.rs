//! Infermark measures what a model costs to serve, on which hardware, in which compressed form.
//!
//! Two halves. In the upper one devices are touched and facts produced: [`artifact`] brings bytes,
//! [`workload`] plans cases, [`measure`] runs each in a worker process of its own with a
//! [`backend`] under a [`load`]. In the lower one are pure functions of what the [`store`] holds:
//! [`stats`] and [`report`]. `docs/pipeline.md` draws the picture; `docs/glossary.md` holds the words.

pub mod artifact;
pub mod backend;
pub mod cli;
pub mod compress;
pub mod economics;
pub mod error;
pub mod gate;
pub mod graph;
pub mod hardware;
pub mod load;
pub mod measure;
pub mod quality;
pub mod report;
pub mod settings;
pub mod simulate;
pub mod stats;
pub mod store;
pub mod units;
pub mod variant;
pub mod workload;
