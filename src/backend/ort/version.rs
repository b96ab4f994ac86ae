//! Asking a library for its version.

use std::ffi::CStr;
use std::path::Path;

use crate::error::{Error, Result};

/// The version that the ONNX Runtime library at `path` says it has, e.g. `1.31.1`.
///
/// `ort` has loaded and checked the library before, but keeps its answer to itself.
pub(super) fn of_library(path: &Path) -> Result<String> {
    let unusable = |e: libloading::Error| {
        Error::environment(path.display(), format!("cannot be asked for its version: {e}"))
            .remedy("point ORT_DYLIB_PATH at a libonnxruntime")
    };
    #[expect(unsafe_code, reason = "the only way to a C library's function")]
    // SAFETY: `ort` loaded this very file and called this very function before; its type is that
    // of onnxruntime_c_api.h, and the base it returns and the string live as long as the library,
    // which `ort` never unloads.
    let version = unsafe {
        let library = libloading::Library::new(path).map_err(unusable)?;
        let get_base: libloading::Symbol<
            '_,
            unsafe extern "C" fn() -> *const ort::sys::OrtApiBase,
        > = library.get(b"OrtGetApiBase").map_err(unusable)?;
        let base = get_base();
        if base.is_null() {
            return Err(Error::environment(path.display(), "has no API")
                .remedy("point ORT_DYLIB_PATH at a libonnxruntime"));
        }
        CStr::from_ptr(((*base).GetVersionString)()).to_string_lossy().into_owned()
    };
    Ok(version)
}
