//! The cache: a folder in which a file appears whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A folder of fetched and built files.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache at `root`; folders are made when something is stored.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file called `relative` is or would be.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
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
}
