//! The file system that detection reads, as a value: `/` on a live machine, a folder of captured
//! files in tests. What is found is a function of these texts alone.

use std::path::{Path, PathBuf};

/// A root folder with `proc`, `sys` and `etc` below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// This machine.
    pub fn live() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A folder of captured files.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The text of a file, trimmed at its end; `None` when it cannot be read or is empty.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(self.0.join(path.strip_prefix("/").unwrap_or(path)));
        text.ok().map(|t| t.trim_end().to_owned()).filter(|t| !t.is_empty())
    }

    /// A file that holds one whole number.
    pub fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Whether something is there.
    pub fn exists(&self, path: &str) -> bool {
        self.0.join(path.trim_start_matches('/')).exists()
    }

    /// Names in a folder that begin with `prefix` and go on with a number, in order of it.
    pub fn numbered(&self, folder: &str, prefix: &str) -> Vec<(u32, String)> {
        let entries = std::fs::read_dir(self.0.join(folder.trim_start_matches('/')));
        let mut found: Vec<(u32, String)> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some((name.strip_prefix(prefix)?.parse().ok()?, name)))
            .collect();
        found.sort();
        found
    }
}

/// How many CPUs a kernel list like `0-3,8,10-11` names; `None` for anything else.
pub(super) fn count_of_list(list: &str) -> Option<usize> {
    let mut count = 0;
    for part in list.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        count += (last + 1).checked_sub(first)?;
    }
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_kernels_lists() {
        assert_eq!(count_of_list("0-3,8,10-11\n"), Some(7));
        assert_eq!(count_of_list("0"), Some(1));
        assert_eq!(count_of_list(""), None);
        assert_eq!(count_of_list("3-1"), None);
        assert_eq!(count_of_list("many"), None);
    }
}
