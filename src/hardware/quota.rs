//! A CPU quota of our own for a process: what a container with `--cpus` would give it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::container::folders;
use super::root::Root;
use crate::error::{Error, Result};

/// The kernel's own period, and Docker's.
const PERIOD_US: u64 = 100_000;

/// A control group with a CPU quota, below the one that this process is in. It is removed when dropped,
/// which works once no process is left in it.
#[derive(Debug)]
pub struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// Makes a group whose processes get `cpus` CPUs' worth of time together.
    ///
    /// An error where no group can be made: it takes cgroup v1's `cpu` controller or cgroup v2 with `cpu`
    /// handed down to this group, and the right to write there.
    pub fn new(cpus: f64) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let failed = |message: String| {
            Error::environment("[deployment] cpus", message).remedy(
                "run it as root, or leave `cpus` out and start infermark itself in a container with \
                 a quota (docker run --cpus=1)",
            )
        };
        // cgroup v2 hands a controller down only from groups that hold no process: the nearest that does.
        let hands_down =
            |folder: &PathBuf| match std::fs::read_to_string(folder.join("cgroup.subtree_control"))
            {
                Ok(text) => text.split_whitespace().any(|controller| controller == "cpu"),
                Err(_) => folder.is_dir(),
            };
        let parent =
            folders(&Root::live(), "cpu").into_iter().find(hands_down).ok_or_else(|| {
                failed("no control group here hands the `cpu` controller down".to_owned())
            })?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("infermark-{}-{count}", std::process::id()));
        std::fs::create_dir(&folder)
            .map_err(|e| failed(format!("cannot make a cgroup in {}: {e}", parent.display())))?;
        let quota = Self { folder };
        quota.limit(cpus).map_err(failed)?;
        Ok(quota)
    }

    fn limit(&self, cpus: f64) -> Result<(), String> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a checked number of CPUs"
        )]
        let microseconds = (cpus * PERIOD_US as f64).round() as u64;
        let is_v1 = self.folder.join("cpu.cfs_quota_us").exists();
        let write = |file: &str, text: String| write(&self.folder.join(file), &text);
        if is_v1 {
            write("cpu.cfs_period_us", PERIOD_US.to_string())?;
            write("cpu.cfs_quota_us", microseconds.to_string())
        } else {
            write("cpu.max", format!("{microseconds} {PERIOD_US}"))
        }
    }

    /// Puts a process, and what it starts from now on, into the group.
    pub fn hold(&self, process: u32) -> Result<()> {
        write(&self.folder.join("cgroup.procs"), &process.to_string()).map_err(|message| {
            Error::environment("[deployment] cpus", message)
                .remedy("leave `cpus` out, or start infermark itself in a container with a quota")
        })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Left behind only where a process would not end; an empty group costs nothing.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
