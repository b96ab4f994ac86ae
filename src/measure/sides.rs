//! The two sides of a gate: what a workload's variants, other models and other programs have in common.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::case::Bench;
use super::host::WorkerCommand;
use super::pairs::Side;
use crate::artifact::Library;
use crate::hardware::Host;
use crate::load::Scenario;
use crate::workload::{Case, Resolved};

/// What both sides run on.
pub struct Arena<'a> {
    /// This machine.
    pub host: &'a Host,
    /// ONNX Runtime's library, where a side needs it.
    pub library: Option<&'a Library>,
    /// Where engines keep what they measured and compiled.
    pub engine_folder: Option<&'a Path>,
    /// Set by Ctrl-C.
    pub interrupted: &'a Arc<AtomicBool>,
}

impl Arena<'_> {
    /// A side: `program` serves the variant of `case`, one request at a time, on the workload's data.
    pub fn side(
        &self,
        name: &str,
        resolved: &Resolved,
        case: &Case,
        program: &WorkerCommand,
    ) -> Side {
        let bench = Bench {
            resolved,
            host: self.host,
            library: self.library,
            worker: program,
            interrupted: self.interrupted,
            engine_folder: self.engine_folder,
        };
        let case = Case { scenario: Scenario::Single, sessions: 1, ..case.clone() };
        Side {
            name: format!("{name} ({})", case.label(&resolved.variants[case.variant].name)),
            program: program.clone(),
            spec: bench.prepare_spec(&case),
        }
    }
}
