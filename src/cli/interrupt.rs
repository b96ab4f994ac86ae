//! Ctrl-C as a flag that whatever waits looks at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};

/// The process's one flag; from the first call on, Ctrl-C and a request to end set it.
pub(super) fn flag() -> Result<Arc<AtomicBool>> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || set.store(true, Ordering::SeqCst))
        .map_err(|e| Error::internal("Ctrl-C", e))?;
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}
