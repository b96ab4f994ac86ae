//! Pinned npm packages, fetched by the user's own `npm` and kept in the cache.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use super::Cache;
use crate::error::{Error, Result};
use crate::units::Bytes;

/// The cached copy of one file inside a package `name@version`, fetched first if need be.
pub(super) fn member(name: &str, version: &str, member: &str, cache: &Cache) -> Result<PathBuf> {
    let package = format!("npm:{name}@{version}");
    // A scope's slash would be a folder of its own.
    let folder = format!("npm/{}-{version}", name.replace('/', "+"));
    let relative = format!("{folder}/{member}");
    let path = cache.path(&relative);
    if path.is_file() {
        return Ok(path);
    }
    let archive = cache.path(&format!("{folder}/archive.tgz"));
    if !archive.is_file() {
        cache.may_fetch(&package)?;
        let _lock = cache.lock(&folder.replace('/', "-"))?;
        if !archive.is_file() {
            let bytes = cache
                .watching(&package, Bytes(0), None, |_| pack(name, version, &package, cache))?;
            cache.store(&format!("{folder}/archive.tgz"), &bytes)?;
        }
    }
    let file = std::fs::File::open(&archive).map_err(|e| Error::io(&archive, "open", &e))?;
    let unreadable = |e: std::io::Error| {
        Error::environment(archive.display(), format!("the cached package cannot be read: {e}"))
            .remedy("remove it and run again; it will be fetched anew")
    };
    let mut files = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in files.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if entry.path().is_ok_and(|p| p.to_str() == Some(member)) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(unreadable)?;
            return cache.store(&relative, &bytes);
        }
    }
    Err(Error::input(format!("{package}!{member}"), "the package holds no such file")
        .remedy(format!("`tar tzf {}` lists what it holds", archive.display())))
}

/// `npm pack` downloads a package as it is; none of its scripts run.
fn pack(name: &str, version: &str, package: &str, cache: &Cache) -> Result<Vec<u8>> {
    let scratch = cache.scratch()?;
    let output = Command::new("npm")
        .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(scratch.path())
        .arg(format!("{name}@{version}"))
        .current_dir(scratch.path())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(127) => output,
        _ => {
            return Err(Error::environment(package, "no npm is there to fetch it with").remedy(
                "install npm (Debian: `apt-get install npm`), or give a path to the file",
            ));
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).take(3).collect();
        return Err(Error::environment(
            package,
            format!("npm could not fetch it:\n    {}", said.join("\n    ")),
        )
        .remedy("check the version and the network; `npm pack` must work on this machine"));
    }
    let entries = std::fs::read_dir(scratch.path()).into_iter().flatten();
    let archive = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "tgz"))
        .ok_or_else(|| {
            Error::environment(package, "npm reported success but left no archive behind")
                .remedy("`npm pack` must work on this machine")
        })?;
    std::fs::read(&archive).map_err(|e| Error::io(&archive, "read", &e))
}
