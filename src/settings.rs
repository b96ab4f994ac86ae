//! The environment, read once and in one place. Flags win over it, it wins over defaults.

use std::path::PathBuf;

use crate::artifact::{Access, Cache};

/// What the environment says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where fetched and built files are kept: `$XDG_CACHE_HOME/infermark`, else
    /// `~/.cache/infermark`; filled with `$HF_TOKEN` from the hub at `$HF_ENDPOINT`.
    pub cache: Cache,
    /// Where runs are stored: `$INFERMARK_REPORTS`, else `reports` in the current folder.
    pub reports: PathBuf,
    /// Where variants are kept: `$INFERMARK_VARIANTS`, else `variants` in the current folder.
    pub variants: PathBuf,
    /// The user's login name: `$USER`.
    pub user: Option<String>,
    /// The user's own ONNX Runtime library: `$ORT_DYLIB_PATH`.
    pub ort_dylib: Option<PathBuf>,
    /// The key of Google's Cloud Billing Catalog: `$INFERMARK_GCP_KEY`.
    pub gcp_key: Option<String>,
}

impl Settings {
    /// Reads the process's environment. Empty variables count as unset.
    pub fn from_environment() -> Self {
        Self::from_lookup(|name| {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
            let value = std::env::var_os(name);
            value.filter(|v| !v.is_empty()).map(PathBuf::from)
        })
    }

    fn from_lookup(get: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let cache = get("XDG_CACHE_HOME")
            .or_else(|| get("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| PathBuf::from(".cache"));
        let text = |name: &str| get(name)?.into_os_string().into_string().ok();
        let hub = text("HF_ENDPOINT").map(|hub| hub.trim_end_matches('/').to_owned());
        let access = Access {
            offline: false,
            hub: hub.unwrap_or_else(|| Access::default().hub),
            hub_token: text("HF_TOKEN"),
        };
        Self {
            cache: Cache::at(cache.join("infermark")).with_access(access),
            reports: get("INFERMARK_REPORTS").unwrap_or_else(|| PathBuf::from("reports")),
            variants: get("INFERMARK_VARIANTS").unwrap_or_else(|| PathBuf::from("variants")),
            user: text("USER"),
            ort_dylib: get("ORT_DYLIB_PATH"),
            gcp_key: text("INFERMARK_GCP_KEY"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_defaults() {
        let with = |pairs: &'static [(&str, &str)]| {
            Settings::from_lookup(move |name| {
                pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v))
            })
        };
        let plain = with(&[("HOME", "/home/u")]);
        assert_eq!(plain.cache.root(), PathBuf::from("/home/u/.cache/infermark"));
        assert_eq!(plain.reports, PathBuf::from("reports"));
        let set = with(&[("XDG_CACHE_HOME", "/c"), ("INFERMARK_REPORTS", "/r")]);
        assert_eq!(set.cache.root(), PathBuf::from("/c/infermark"));
        assert_eq!(set.reports, PathBuf::from("/r"));
    }
}
