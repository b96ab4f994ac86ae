//! Files as bytes that the kernel reads as they are looked at.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// The bytes of the model's file at `path`.
#[expect(unsafe_code, reason = "a mapped file has no safe form; see SAFETY")]
pub(super) fn mapped(path: &Path) -> Result<bytes::Bytes> {
    let fail = |e: &std::io::Error| Error::io(path, "read the model", e);
    let file = File::open(path).map_err(|e| fail(&e))?;
    if file.metadata().map_err(|e| fail(&e))?.len() == 0 {
        return Ok(bytes::Bytes::new());
    }
    // SAFETY: the bytes must not change while they are mapped. Files of the cache are replaced
    // whole and never written to; a user who rewrites a model in place while it is measured gets
    // other figures, or a bus error, in the process that reads it: no other way of reading a model
    // of gigabytes once and keeping it out of the heap is left.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| fail(&e))?;
    Ok(bytes::Bytes::from_owner(map))
}
