//! Finding `libonnxruntime`: the user's own first, then the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{Cache, Package, sha256_file};
use crate::error::{Error, Result};

/// The version that is fetched when the machine has none of its own.
pub const PINNED_VERSION: &str = "1.31.1";
/// The oldest minor version (1.x) whose API this build can speak; `ort`'s feature `api-23`.
const OLDEST_MINOR: u32 = 23;

/// Builds of ONNX Runtime that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The plain one, for the CPU.
    Cpu,
    /// With CUDA and `TensorRT`, for NVIDIA's GPUs; it needs CUDA's own libraries.
    Gpu,
    /// With OpenVINO, for Intel's CPUs and GPUs.
    OpenVino,
}

impl Build {
    /// Its PyPI package and version.
    fn package(self) -> Package {
        match self {
            Self::Cpu => Package::pinned("onnxruntime", PINNED_VERSION),
            Self::Gpu => Package::pinned("onnxruntime-gpu", PINNED_VERSION),
            Self::OpenVino => Package::pinned("onnxruntime-openvino", "1.24.1"),
        }
    }

    /// The build in the cache, fetched there first if need be: the library and those beside it.
    fn fetch(self, cache: &Cache) -> Result<PathBuf> {
        let package = self.package();
        if self == Self::Cpu {
            let member = format!("onnxruntime/capi/{}", file_name(PINNED_VERSION)?);
            return package.member(cache, &member);
        }
        let is_library =
            |path: &str| path.starts_with("onnxruntime/capi/lib") && path.contains(".so");
        let files = package.unpacked(cache, is_library)?;
        let folder = files.first().and_then(|file| file.parent());
        folder.and_then(|folder| libraries_in(folder).into_iter().next()).ok_or_else(|| {
            Error::environment(&package, "its wheel holds no ONNX Runtime library")
                .remedy("point ORT_DYLIB_PATH at one of your own")
        })
    }
}

/// An ONNX Runtime library and how it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// The shared library.
    pub path: PathBuf,
    /// Where it was found: `ORT_DYLIB_PATH`, `system`, `python` or `cache`.
    pub found_by: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Libraries that come earlier in the order but are too old, with the reason.
    pub passed_over: Vec<String>,
}

/// Finds the library in the documented order: `dylib_path` (the user's `ORT_DYLIB_PATH`), the
/// system's library folders, Python's `onnxruntime`, then the cache, which fetches
/// [`PINNED_VERSION`] from its PyPI wheel when it is not there.
///
/// A library whose file name tells a version that is too old is passed over and listed, except
/// the one the user named: that is an error.
///
/// With a `build` asked for by name, that one is taken from the cache and nothing else.
pub fn find_library(
    dylib_path: Option<&Path>,
    build: Option<Build>,
    cache: &Cache,
) -> Result<Library> {
    if let Some(build) = build {
        let path = build.fetch(cache)?;
        let sha256 = sha256_file(&path)?;
        return Ok(Library {
            path,
            found_by: "--runtime".to_owned(),
            sha256,
            passed_over: Vec::new(),
        });
    }
    if let Some(path) = dylib_path {
        return named_by_user(path);
    }
    let mut passed_over = Vec::new();
    let own = in_system().into_iter().map(|p| (p, "system"));
    for (path, found_by) in own.chain(in_python().into_iter().map(|p| (p, "python"))) {
        if let Some(version) = too_old(&path) {
            passed_over.push(format!("{}: version {version} is too old", path.display()));
            continue;
        }
        let sha256 = sha256_file(&path)?;
        return Ok(Library { path, found_by: found_by.to_owned(), sha256, passed_over });
    }
    let path = Build::Cpu.fetch(cache)?;
    let sha256 = sha256_file(&path)?;
    Ok(Library { path, found_by: "cache".to_owned(), sha256, passed_over })
}

fn named_by_user(path: &Path) -> Result<Library> {
    let subject = format!("ORT_DYLIB_PATH={}", path.display());
    if !path.is_file() {
        return Err(Error::input(subject, "no file is there")
            .remedy("point it at libonnxruntime.so.*, or unset it to let infermark find one"));
    }
    if let Some(version) = too_old(path) {
        return Err(Error::input(subject, format!("version {version} is too old")).remedy(format!(
            "use ONNX Runtime 1.{OLDEST_MINOR} or newer (`pip install onnxruntime=={PINNED_VERSION}`)"
        )));
    }
    Ok(Library {
        sha256: sha256_file(path)?,
        path: path.to_owned(),
        found_by: "ORT_DYLIB_PATH".to_owned(),
        passed_over: Vec::new(),
    })
}

/// Name of the library inside the wheel of `version` on this platform.
fn file_name(version: &str) -> Result<String> {
    match std::env::consts::OS {
        "linux" => Ok(format!("libonnxruntime.so.{version}")),
        "macos" => Ok(format!("libonnxruntime.{version}.dylib")),
        os => Err(Error::environment("ONNX Runtime", format!("cannot be fetched for {os}"))
            .remedy("install it and set ORT_DYLIB_PATH to its library")),
    }
}

fn in_system() -> Vec<PathBuf> {
    let arch = std::env::consts::ARCH;
    [
        "/usr/local/lib".to_owned(),
        "/usr/lib".to_owned(),
        "/usr/lib64".to_owned(),
        format!("/usr/lib/{arch}-linux-gnu"),
        "/opt/onnxruntime/lib".to_owned(),
        "/opt/homebrew/lib".to_owned(),
    ]
    .iter()
    .flat_map(|folder| libraries_in(Path::new(folder)))
    .collect()
}

/// The library of an installed Python package, found without importing it.
fn in_python() -> Vec<PathBuf> {
    let script = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                  print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new("python3").args(["-c", script]).output();
    let folder = output.ok().and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    match folder.trim() {
        "" => Vec::new(),
        folder => libraries_in(&Path::new(folder).join("capi")),
    }
}

/// The libraries in `folder`, the newest version first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name.starts_with("libonnxruntime.so")
                || name.strip_prefix("libonnxruntime.").is_some_and(|rest| rest.contains("dylib"))
        })
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let version = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    found.sort_by_key(|path| std::cmp::Reverse(version(path)));
    found.dedup();
    found
}

/// The version in the file name if it is older than we can speak to. A name without a version
/// says nothing: the library is asked when it is loaded.
fn too_old(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let name = path.file_name()?.to_str()?;
    let version = name.strip_prefix("libonnxruntime.so.").or_else(|| {
        name.strip_prefix("libonnxruntime.").and_then(|rest| rest.strip_suffix(".dylib"))
    })?;
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor < OLDEST_MINOR => Some(version.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_of_a_folder_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1.9.0", "1.31.1", "1.30.2"] {
            std::fs::write(folder.path().join(format!("libonnxruntime.so.{version}")), b"")
                .unwrap();
        }
        let names: Vec<String> = libraries_in(folder.path())
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names[0], "libonnxruntime.so.1.31.1");
        assert_eq!(names[2], "libonnxruntime.so.1.9.0");
    }

    #[test]
    fn the_users_own_library_must_exist_and_be_new_enough() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let missing = folder.path().join("none.so");
        let error = find_library(Some(&missing), None, &cache).unwrap_err().to_string();
        assert!(error.contains("no file is there"), "{error}");
        let old = folder.path().join("libonnxruntime.so.1.14.1");
        std::fs::write(&old, b"").unwrap();
        let error = find_library(Some(&old), None, &cache).unwrap_err().to_string();
        assert!(error.contains("1.14.1 is too old") && error.contains("1.23"), "{error}");
        let new = folder.path().join("libonnxruntime.so.1.31.1");
        std::fs::write(&new, b"").unwrap();
        assert_eq!(find_library(Some(&new), None, &cache).unwrap().found_by, "ORT_DYLIB_PATH");
    }
}
