//! How many CPUs a process may really use: affinity, cpuset and the container's quota.
//!
//! ONNX Runtime and others size their thread pools by the host; a container with a quota then
//! runs many threads on few CPUs' worth of time and is throttled. Every engine's threads are set
//! from the count found here instead.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// CPUs a process may use, and why not more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveCpus {
    /// min(affinity, max(1, floor(quota))).
    pub count: usize,
    /// What limits it, in words.
    pub reason: String,
}

/// The limits that the kernel puts on this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// CPUs of the machine.
    pub host: usize,
    /// CPUs the scheduler may place the process on: its affinity mask, which a cpuset narrows.
    pub affinity: Option<usize>,
    /// The tightest CPU quota of its cgroups, in CPUs.
    pub quota: Option<f64>,
}

impl Limits {
    /// DESIGN: effective CPUs = min(affinity, cpuset, max(1, floor(quota))).
    pub fn effective(self) -> EffectiveCpus {
        let allowed = self.affinity.unwrap_or(self.host).max(1);
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
            Some((whole, cpus)) if whole < allowed => EffectiveCpus {
                count: whole,
                reason: format!("cgroup CPU quota of {cpus:.2} CPUs, of {allowed} allowed"),
            },
            _ if allowed < self.host => EffectiveCpus {
                count: allowed,
                reason: format!("CPU affinity or cpuset allows {allowed} of {} CPUs", self.host),
            },
            _ => EffectiveCpus { count: allowed, reason: "all CPUs of the machine".to_owned() },
        }
    }
}

/// The CPUs this process may use now.
pub fn effective_cpus() -> EffectiveCpus {
    let host = std::fs::read_to_string("/proc/stat").ok().map(|text| {
        text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count()
    });
    let host = host
        .filter(|n| *n > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let affinity = affinity();
    Limits { host, affinity, quota: quota_of_this_process() }.effective()
}

#[cfg(target_os = "linux")]
fn affinity() -> Option<usize> {
    let set = rustix::thread::sched_getaffinity(None).ok()?;
    usize::try_from(set.count()).ok()
}

#[cfg(not(target_os = "linux"))]
fn affinity() -> Option<usize> {
    None
}

/// The tightest quota of this process's cgroup and its ancestors, in CPUs.
fn quota_of_this_process() -> Option<f64> {
    folders_of_this_process().iter().filter_map(|folder| quota_in(folder)).reduce(f64::min)
}

/// The quota written in one cgroup folder (v2 `cpu.max`, v1 `cpu.cfs_*`), in CPUs.
fn quota_in(folder: &Path) -> Option<f64> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
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

/// The cgroup folders (CPU controller, v1 or v2) of this process, from its own to the mount.
pub(super) fn folders_of_this_process() -> Vec<PathBuf> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    folders(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn folders(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let is_v2 = controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|c| c == "cpu") {
            continue;
        }
        let Some((root, mount)) = mount_of(mountinfo, is_v2) else { continue };
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

/// Root and mount point of the cgroup file system with the CPU controller.
fn mount_of(mountinfo: &str, is_v2: bool) -> Option<(String, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        // id parent major:minor root mount options … - type source super-options
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split_whitespace().skip(3);
        let (root, mount) = (front.next()?, front.next()?);
        let mut back = back.split_whitespace();
        let (kind, options) = (back.next()?, back.nth(1).unwrap_or(""));
        let fits = match (is_v2, kind) {
            (true, "cgroup2") => true,
            (false, "cgroup") => options.split(',').any(|o| o == "cpu"),
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
        let limits = |affinity, quota| Limits { host: 8, affinity: Some(affinity), quota };
        let count = |affinity, quota| limits(affinity, quota).effective().count;
        assert_eq!(count(8, None), 8);
        assert_eq!(count(8, Some(1.5)), 1);
        assert_eq!(count(8, Some(0.25)), 1);
        assert_eq!(count(2, Some(6.0)), 2);
        assert_eq!(count(8, Some(3.999)), 3);
        assert!(limits(8, Some(1.5)).effective().reason.contains("quota of 1.50"));
        assert!(limits(2, None).effective().reason.contains("2 of 8"));
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
        let v1 = folders(
            "4:memory:/x\n1:cpu,cpuacct:/docker/abc/inner\n0::/\n",
            "30 25 0:26 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n",
        );
        assert_eq!(
            v1,
            [PathBuf::from("/sys/fs/cgroup/cpu/inner"), PathBuf::from("/sys/fs/cgroup/cpu")]
        );
        let v2 = folders("0::/a/b\n", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(
            v2,
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from)
        );
    }
}
