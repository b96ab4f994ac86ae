//! Engines that execute models: what they can do, and sessions that run batches.

#[cfg(feature = "candle")]
mod candle;
#[cfg(any(feature = "candle", feature = "ort"))]
mod finished;
#[cfg(any(feature = "candle", feature = "wgpu"))]
mod integers;
mod mock;
#[cfg(feature = "ort")]
mod ort;
mod traits;
#[cfg(feature = "wgpu")]
mod wgpu;

#[cfg(feature = "wgpu")]
pub use self::wgpu::{ProductTime, products};
pub use mock::MockScript;
pub use traits::{
    Availability, Backend, Ceilings, Coverage, DeviceInfo, Inspection, MissingOp, NumericFact,
    OpRow, PrepareOptions, Prepared, PreparedFacts, RuntimeInfo, Session, Ticket, Trace, Tuning,
};

use std::sync::Arc;

#[cfg(not(all(feature = "ort", feature = "candle", feature = "wgpu")))]
use crate::error::Error;
use crate::error::Result;
use crate::units::VirtualClock;
use crate::variant::{BackendId, Engine};

/// The backend called `id`.
///
/// `virtual_clock` is what the mock's sessions advance; real engines ignore it. An engine that
/// is known but not part of this binary is an error that says so.
pub fn open(id: &BackendId, virtual_clock: Arc<VirtualClock>) -> Result<Box<dyn Backend>> {
    match id.engine {
        Engine::Mock => Ok(Box::new(mock::Mock::new(id.clone(), virtual_clock)?)),
        #[cfg(feature = "ort")]
        Engine::Ort => Ok(Box::new(ort::OrtBackend::new(id.clone())?)),
        #[cfg(not(feature = "ort"))]
        Engine::Ort => Err(not_built(id, "rebuild with `--features ort`")),
        #[cfg(feature = "candle")]
        Engine::Candle => Ok(Box::new(candle::CandleBackend::new(id.clone())?)),
        #[cfg(not(feature = "candle"))]
        Engine::Candle => Err(not_built(id, "rebuild with `--features candle`")),
        #[cfg(feature = "wgpu")]
        Engine::Wgpu => Ok(Box::new(self::wgpu::WgpuBackend::new(id.clone()))),
        #[cfg(not(feature = "wgpu"))]
        Engine::Wgpu => Err(not_built(id, "rebuild with `--features wgpu`")),
    }
}

/// What the environment of a process must say before engines start in it, for sessions of `threads`
/// threads each.
///
/// candle reads the threads of its products from it, with every product. Its pool for quantised products
/// is one for the whole process, serialised and spinning: it is given one thread, and sessions share the
/// work among threads of their own (docs/decisions/0014).
pub fn environment(threads: usize) -> [(&'static str, String); 2] {
    [("RAYON_NUM_THREADS", threads.to_string()), ("CANDLE_NUM_THREADS", "1".to_owned())]
}

/// Variables that must not be in that environment: they make candle compute with other kernels than those
/// that records name.
pub const UNWANTED: [&str; 4] = [
    "CANDLE_DEQUANTIZE_ALL",
    "CANDLE_DEQUANTIZE_ALL_F16",
    "MISTRALRS_FORCE_AVX2",
    "MISTRALRS_FORCE_AVXVNNI",
];

/// Checks what can be checked of a backend's name without opening it.
pub fn check_name(id: &BackendId) -> Result<()> {
    open(id, Arc::new(VirtualClock::default())).map(drop)
}

#[cfg(not(all(feature = "ort", feature = "candle", feature = "wgpu")))]
fn not_built(id: &BackendId, remedy: &str) -> Error {
    Error::input(format!("backend `{id}`"), "is not part of this binary").remedy(remedy)
}
