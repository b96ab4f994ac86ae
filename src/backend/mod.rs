//! Engines that execute models: what they can do, and sessions that run batches.

mod mock;
#[cfg(feature = "ort")]
mod ort;
mod traits;

pub use mock::MockScript;
pub use traits::{
    Availability, Backend, Coverage, DeviceInfo, MissingOp, OpRow, PrepareOptions, Prepared,
    PreparedFacts, RuntimeInfo, Session, Ticket, Trace,
};

use std::sync::Arc;

use crate::error::{Error, Result};
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
        Engine::Candle | Engine::Wgpu => {
            Err(not_built(id, "use `ort:cpu`; this version has no other engine"))
        }
    }
}

/// Checks what can be checked of a backend's name without opening it.
pub fn check_name(id: &BackendId) -> Result<()> {
    open(id, Arc::new(VirtualClock::default())).map(drop)
}

fn not_built(id: &BackendId, remedy: &str) -> Error {
    Error::input(format!("backend `{id}`"), "is not part of this binary").remedy(remedy)
}
