//! How many CPUs a process may really use: affinity, cpuset and the container's quota.
//!
//! ONNX Runtime and others size their thread pools by the host; a container with a quota then
//! runs many threads on few CPUs' worth of time and is throttled. Every engine's threads are set
//! from the count found here instead.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::root::{Root, count_of_list};

/// CPUs a process may use, and why not more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectiveCpus {
    /// min(affinity, cpuset, max(1, floor(quota))).
    pub count: usize,
    /// What limits it, in words.
    pub reason: String,
    /// CPUs' worth of time, where a quota is what limits it.
    #[serde(default)]
    pub quota: Option<f64>,
}

/// The limits that the kernel puts on this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// CPUs of the machine.
    pub host: usize,
    /// CPUs the scheduler may place the process on; its cpuset narrows them too.
    pub affinity: Option<usize>,
    /// CPUs of its cpuset.
    pub cpuset: Option<usize>,
    /// The tightest CPU quota of its cgroups, in CPUs.
    pub quota: Option<f64>,
}

impl Limits {
    /// DESIGN: effective CPUs = min(affinity, cpuset, max(1, floor(quota))).
    pub fn effective(self) -> EffectiveCpus {
        let cpuset = self.cpuset.unwrap_or(self.host);
        let allowed = self.affinity.unwrap_or(self.host).min(cpuset).max(1);
        let within_quota = self.quota.map(|cpus| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "floored and at least 1; absurdly large quotas saturate"
            )]
            let whole = cpus.floor().max(1.0) as usize;
            (whole, cpus)
        });
        match within_quota {
            // Of a quota that is no whole number the rest is time, too.
            Some((whole, cpus)) if cpus < allowed as f64 => EffectiveCpus {
                quota: Some(cpus),
                count: whole,
                reason: format!("cgroup CPU quota of {cpus:.2} CPUs, of {allowed} allowed"),
            },
            _ if allowed < self.host => {
                let what = if allowed < cpuset { "CPU affinity" } else { "cpuset" };
                let reason = format!("{what} allows {allowed} of {} CPUs", self.host);
                EffectiveCpus { count: allowed, reason, quota: None }
            }
            _ => {
                let reason = "all CPUs of the machine".to_owned();
                EffectiveCpus { count: allowed, reason, quota: None }
            }
        }
    }

    /// Of the process whose `/proc/self` lies below `root`.
    pub fn read(root: &Root) -> Self {
        let lines_of = |file: &str, prefix: &str| {
            let text = root.text(file).unwrap_or_default();
            text.lines().filter(|l| l.starts_with(prefix) && !l.starts_with("cpu ")).count()
        };
        let host = [lines_of("/proc/stat", "cpu"), lines_of("/proc/cpuinfo", "processor")];
        let host = host
            .into_iter()
            .find(|n| *n > 0)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        let status = root.text("/proc/self/status").unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self {
            host,
            affinity: allowed.and_then(count_of_list),
            cpuset: cpuset(root),
            quota: folders(root, "cpu")
                .iter()
                .filter_map(|folder| quota_in(root, folder))
                .reduce(f64::min),
        }
    }
}

/// The CPUs this process may use now.
pub fn effective_cpus(root: &Root) -> EffectiveCpus {
    Limits::read(root).effective()
}

/// How much memory a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryLimit {
    /// No memory cgroup can be read.
    Unknown,
    /// As much as there is.
    None,
    /// The tightest limit of its cgroups.
    Bytes(u64),
}

/// The tightest memory limit of this process's cgroups.
pub(super) fn memory_limit(root: &Root) -> MemoryLimit {
    // cgroup v1 writes "no limit" as the largest whole number of pages, v2 as `max`; the root of
    // v2 has no such file at all.
    let unlimited = 1_u64 << 60;
    let all = folders(root, "memory");
    if all.is_empty() {
        return MemoryLimit::Unknown;
    }
    let of = |folder: &PathBuf| {
        let number = |file: &str| root.number(folder.join(file));
        number("memory.max").or_else(|| number("memory.limit_in_bytes"))
    };
    let tightest = all.iter().filter_map(of).filter(|bytes| *bytes < unlimited).min();
    tightest.map_or(MemoryLimit::None, MemoryLimit::Bytes)
}

/// CPUs of the process's cpuset: the effective ones, which its ancestors narrow already.
fn cpuset(root: &Root) -> Option<usize> {
    let folder = folders(root, "cpuset").into_iter().next()?;
    let files = ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"];
    files.iter().find_map(|file| count_of_list(&root.text(folder.join(file))?))
}

/// The quota written in one cgroup folder (v2 `cpu.max`, v1 `cpu.cfs_*`), in CPUs.
fn quota_in(root: &Root, folder: &Path) -> Option<f64> {
    let read = |name: &str| root.text(folder.join(name));
    match read("cpu.max") {
        Some(text) => quota_v2(&text),
        None => quota_v1(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
    }
}

/// `cpu.max`: "QUOTA PERIOD" in microseconds, or "max PERIOD".
fn quota_v2(text: &str) -> Option<f64> {
    let mut parts = text.split_whitespace();
    let quota: f64 = parts.next()?.parse().ok()?;
    let period: f64 = parts.next()?.parse().ok()?;
    (period > 0.0).then_some(quota / period)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of −1 is none.
fn quota_v1(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// The cgroup folders of `controller` (v1 or v2) of this process, from its own to the mount.
pub(super) fn folders(root: &Root, controller: &str) -> Vec<PathBuf> {
    let read = |path: &str| root.text(path).unwrap_or_default();
    folders_in(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), controller)
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn folders_in(cgroup: &str, mountinfo: &str, controller: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let is_v2 = controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|c| c == controller) {
            continue;
        }
        let Some((root, mount)) = mount_of(mountinfo, is_v2, controller) else { continue };
        // Inside a container the mount shows only a part of the hierarchy, from `root` on.
        let below = path.strip_prefix(root.as_str()).unwrap_or(path).trim_matches('/');
        let mut folder = mount.join(below);
        loop {
            all.push(folder.clone());
            if folder == mount || !folder.pop() {
                break;
            }
        }
    }
    all
}

/// Root and mount point of the cgroup file system with `controller`.
fn mount_of(mountinfo: &str, is_v2: bool, controller: &str) -> Option<(String, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        // id parent major:minor root mount options … - type source super-options
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split_whitespace().skip(3);
        let (root, mount) = (front.next()?, front.next()?);
        let mut back = back.split_whitespace();
        let (kind, options) = (back.next()?, back.nth(1).unwrap_or(""));
        let fits = match (is_v2, kind) {
            (true, "cgroup2") => true,
            (false, "cgroup") => options.split(',').any(|o| o == controller),
            _ => false,
        };
        fits.then(|| (root.trim_end_matches('/').to_owned(), PathBuf::from(mount)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_floored_and_is_at_least_one() {
        let limits =
            |affinity, quota| Limits { host: 8, affinity: Some(affinity), cpuset: None, quota };
        let count = |affinity, quota| limits(affinity, quota).effective().count;
        assert_eq!(count(8, None), 8);
        assert_eq!(count(8, Some(1.5)), 1);
        assert_eq!(count(8, Some(0.25)), 1);
        assert_eq!(count(2, Some(6.0)), 2);
        assert_eq!(count(8, Some(3.999)), 3);
        let quota = |affinity, quota| limits(affinity, quota).effective().quota;
        assert_eq!((quota(8, Some(1.5)), quota(1, Some(0.5))), (Some(1.5), Some(0.5)));
        assert_eq!((quota(2, Some(6.0)), quota(2, None)), (None, None));
        assert!(limits(8, Some(1.5)).effective().reason.contains("quota of 1.50"));
        assert_eq!(limits(2, None).effective().reason, "CPU affinity allows 2 of 8 CPUs");
        let cpuset = Limits { cpuset: Some(2), ..limits(2, None) };
        assert_eq!(cpuset.effective().reason, "cpuset allows 2 of 8 CPUs");
    }

    #[test]
    fn reads_both_kinds_of_quota() {
        assert_eq!(quota_v2("150000 100000\n"), Some(1.5));
        assert_eq!(quota_v2("max 100000\n"), None);
        assert_eq!(quota_v1("50000\n", "100000\n"), Some(0.5));
        assert_eq!(quota_v1("-1\n", "100000\n"), None);
    }

    #[test]
    fn walks_from_the_process_to_the_mount() {
        let v1 = folders_in(
            "4:memory:/x\n1:cpu,cpuacct:/docker/abc/inner\n0::/\n",
            "30 25 0:26 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n",
            "cpu",
        );
        assert_eq!(
            v1,
            [PathBuf::from("/sys/fs/cgroup/cpu/inner"), PathBuf::from("/sys/fs/cgroup/cpu")]
        );
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let v2 = folders_in("0::/a/b\n", mounts, "cpu");
        assert_eq!(
            v2,
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from)
        );
    }
}
