//! The cache: a folder in which a file appears whole or not at all, and how it may be filled.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::units::Bytes;

/// Told how fetching goes; the program shows it, tests don't.
pub trait Watch: Send + Sync {
    /// `what` is being fetched; `total` where its size is known, `done` of it are here already.
    fn begin(&self, what: &str, done: Bytes, total: Option<Bytes>);
    /// So much of it is here now.
    fn advance(&self, done: Bytes);
    /// It is here, or has failed.
    fn end(&self);
}

/// A folder of fetched and built files, and how more may be fetched.
#[derive(Clone)]
pub struct Cache {
    root: PathBuf,
    access: Access,
    watch: Option<Arc<dyn Watch>>,
}

/// What may be fetched, and with which credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Nothing is fetched: what is not in the cache is an error.
    pub offline: bool,
    /// The Hugging Face hub, without a slash at its end.
    pub hub: String,
    /// The user's token for it.
    pub hub_token: Option<String>,
}

impl Default for Access {
    fn default() -> Self {
        Self { offline: false, hub: "https://huggingface.co".to_owned(), hub_token: None }
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("root", &self.root).finish_non_exhaustive()
    }
}

/// One thing in the cache, as `cache list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Its path within the cache.
    pub name: String,
    /// Bytes on disk.
    pub size_bytes: Bytes,
}

impl Cache {
    /// The cache at `root`; folders are made when something is stored.
    pub fn at(root: PathBuf) -> Self {
        Self { root, access: Access::default(), watch: None }
    }

    /// The same cache with another way to fill it.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The same cache, with nothing fetched into it.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.access.offline = true;
        self
    }

    /// The same cache, with someone told how fetching goes.
    #[must_use]
    pub fn watched_by(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// How it may be filled.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file called `relative` is or would be.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Refuses to fetch `what` when offline.
    pub(super) fn may_fetch(&self, what: &dyn std::fmt::Display) -> Result<()> {
        if !self.access.offline {
            return Ok(());
        }
        Err(Error::environment(what, "is not in the cache, and --offline fetches nothing")
            .remedy("run once without --offline, or give a path to the file"))
    }

    /// Tells whoever watches, while `work` is under way.
    pub(super) fn watching<T>(
        &self,
        what: &dyn std::fmt::Display,
        done: Bytes,
        total: Option<Bytes>,
        work: impl FnOnce(&dyn Fn(Bytes)) -> T,
    ) -> T {
        let Some(watch) = &self.watch else { return work(&|_| {}) };
        watch.begin(&what.to_string(), done, total);
        let result = work(&|done| watch.advance(done));
        watch.end();
        result
    }

    /// Stores a file whole: written beside its place, then moved there.
    pub fn store(&self, relative: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(relative);
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", &e))?;
        let fail = |e: &std::io::Error| Error::io(&path, "write to the cache", e);
        // Readable by whoever the user's umask lets read, like any file they make.
        let mut builder = tempfile::Builder::new();
        let mut file = builder
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|e| fail(&e))?;
        file.write_all(bytes).map_err(|e| fail(&e))?;
        file.persist(&path).map_err(|e| fail(&e.error))?;
        Ok(path)
    }

    /// Waits until no other process works on `what`; the lock ends with the handle.
    pub fn lock(&self, what: &str) -> Result<File> {
        let path = self.path(&format!("locks/{what}"));
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", &e))?;
        let file = File::create(&path).map_err(|e| Error::io(&path, "create", &e))?;
        file.lock().map_err(|e| Error::io(&path, "lock", &e))?;
        Ok(file)
    }

    /// An empty folder inside the cache that disappears with the handle.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        std::fs::create_dir_all(&self.root)
            .map_err(|e| Error::io(&self.root, "create the cache folder", &e))?;
        tempfile::TempDir::new_in(&self.root)
            .map_err(|e| Error::io(&self.root, "create a folder in the cache", &e))
    }

    /// What it holds: a package, a download or a data set an entry, by name. Locks are left out.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        if self.root.exists() && !self.root.is_dir() {
            return Err(Error::input(self.root.display(), "is a file, not a folder")
                .remedy("set XDG_CACHE_HOME to a folder"));
        }
        for kind in children(&self.root)? {
            let name = file_name(&kind);
            match name.as_str() {
                "locks" => {}
                "pypi" | "npm" | "https" | "data" | "embedded" => {
                    for path in children(&kind)? {
                        let inner = file_name(&path);
                        // Wheels lie in a folder of their own kind, one a package.
                        if inner == "wheels" {
                            for wheel in children(&path)? {
                                found.push((format!("pypi/wheels/{}", file_name(&wheel)), wheel));
                            }
                        } else {
                            found.push((format!("{name}/{inner}"), path));
                        }
                    }
                }
                _ => found.push((name, kind)),
            }
        }
        found.sort();
        found
            .into_iter()
            .map(|(name, path)| Ok(Entry { name, size_bytes: Bytes(size(&path)?) }))
            .collect()
    }

    /// Removes the entries whose name contains `part`, all of them when it is `None`.
    pub fn clean(&self, part: Option<&str>) -> Result<Vec<Entry>> {
        let mut removed = self.entries()?;
        removed.retain(|entry| part.is_none_or(|part| entry.name.contains(part)));
        for entry in &removed {
            let path = self.path(&entry.name);
            let result = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            result.map_err(|e| Error::io(&path, "remove", &e))?;
        }
        Ok(removed)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What lies in a folder; nothing when it is not there.
fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(e) => Err(Error::io(folder, "list", &e)),
    }
}

fn size(path: &Path) -> Result<u64> {
    let here = std::fs::symlink_metadata(path).map_err(|e| Error::io(path, "read", &e))?;
    if !here.is_dir() {
        return Ok(here.len());
    }
    children(path)?.iter().map(|child| size(child)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_stored_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let path = cache.store("a/b.bin", b"bytes").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"bytes");
        let leftovers = std::fs::read_dir(cache.path("a")).unwrap().count();
        assert_eq!(leftovers, 1);
    }

    #[test]
    fn what_is_listed_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        assert_eq!(cache.entries().unwrap(), []);
        for file in ["pypi/a-1/x", "pypi/wheels/a-1/a.whl", "data/d.npz", "https/00/m.onnx"] {
            cache.store(file, b"1234").unwrap();
        }
        drop(cache.lock("a").unwrap());
        let names: Vec<String> = cache.entries().unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["data/d.npz", "https/00", "pypi/a-1", "pypi/wheels/a-1"]);
        assert_eq!(cache.clean(Some("a-1")).unwrap().len(), 2);
        assert_eq!(cache.entries().unwrap().len(), 2);
        assert_eq!(cache.clean(None).unwrap().len(), 2);
        assert_eq!(cache.entries().unwrap(), []);
    }
}
