//! What else happened on the machine while something was measured.

use super::container::folders;
use super::root::Root;

/// Counters of the machine and of this process's cgroup, read at one moment. The difference of
/// two readings tells what happened between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// CPU time in ticks over all CPUs, idle time included.
    pub total_ticks: u64,
    /// CPU time in ticks that anyone on this machine used.
    pub busy_ticks: u64,
    /// CPU time in ticks that the hypervisor gave to other machines.
    pub steal_ticks: u64,
    /// CPU time that the quota of a cgroup held back, in ns over all CPUs, by level from this process's own
    /// group up; `None` where there is no counter.
    throttled: [Option<u64>; LEVELS],
}

/// Levels of cgroups that are looked at: containers nest less deep.
const LEVELS: usize = 8;

/// What a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// CPU time in ticks, user and system.
    pub cpu_ticks: u64,
    /// Largest resident set so far, in bytes; `None` where the system does not say.
    pub peak_rss: Option<u64>,
}

impl Pressure {
    /// Reads the counters now; zeros where the system has none.
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        // A quota of any ancestor holds the process back too, and counts in the ancestor's file.
        let mut levels = [None; LEVELS];
        for (level, folder) in levels.iter_mut().zip(folders(&Root::live(), "cpu")) {
            let text = std::fs::read_to_string(folder.join("cpu.stat")).unwrap_or_default();
            *level = throttled(&text);
        }
        Self { throttled: levels, ..parse_stat(&stat) }
    }

    /// The counters' growth since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            total_ticks: self.total_ticks.saturating_sub(earlier.total_ticks),
            busy_ticks: self.busy_ticks.saturating_sub(earlier.busy_ticks),
            steal_ticks: self.steal_ticks.saturating_sub(earlier.steal_ticks),
            // Level by level: what an ancestor was held back long ago must not hide what happens now.
            throttled: std::array::from_fn(|level| {
                let (now, then) = (self.throttled[level]?, earlier.throttled[level]?);
                Some(now.saturating_sub(then))
            }),
        }
    }

    /// CPU time that a quota held back, in ns over all CPUs: that of the group that was held back most.
    /// `None` where there is no counter.
    pub fn throttled_ns(&self) -> Option<u64> {
        self.throttled.iter().flatten().max().copied()
    }
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal (proc(5)).
fn parse_stat(text: &str) -> Pressure {
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> = line
        .map(|l| l.split_whitespace().take(8).filter_map(|t| t.parse().ok()).collect())
        .unwrap_or_default();
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks[..] else {
        return Pressure::default();
    };
    let busy = user + nice + system + irq + softirq;
    Pressure {
        total_ticks: busy + idle + iowait + steal,
        busy_ticks: busy,
        steal_ticks: steal,
        throttled: [None; LEVELS],
    }
}

/// `cpu.stat`: `throttled_time` in ns (v1) or `throttled_usec` (v2).
fn throttled(text: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        let value: u64 = value.trim().parse().ok()?;
        match key {
            "throttled_time" => Some(value),
            "throttled_usec" => Some(value * 1000),
            _ => None,
        }
    })
}

/// What this process has used so far.
pub fn process_use() -> ProcessUse {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    ProcessUse {
        cpu_ticks: parse_process_stat(&read("/proc/self/stat")).unwrap_or(0),
        peak_rss: parse_peak_rss(&read("/proc/self/status")),
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, counted after the parenthesised name (proc(5)).
fn parse_process_stat(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_peak_rss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_texts() {
        let pressure = parse_stat("cpu  100 1 50 800 9 2 3 35 0 0\ncpu0 1 2\n");
        assert_eq!((pressure.busy_ticks, pressure.steal_ticks), (156, 35));
        assert_eq!(pressure.total_ticks, 1000);
        assert_eq!(throttled("nr_periods 5\nnr_throttled 2\nthrottled_time 1500\n"), Some(1500));
        assert_eq!(throttled("usage_usec 9\nthrottled_usec 7\n"), Some(7000));
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14";
        assert_eq!(parse_process_stat(stat), Some(11 + 12));
        assert_eq!(parse_peak_rss("VmPeak:\t 9 kB\nVmHWM:\t  12 kB\n"), Some(12_288));
    }

    #[test]
    fn an_ancestors_past_does_not_hide_what_happens_now() {
        let with = |own, above| {
            let mut pressure = Pressure::default();
            (pressure.throttled[0], pressure.throttled[1]) = (Some(own), Some(above));
            pressure
        };
        assert_eq!(with(2_000, 50_000).since(with(0, 50_000)).throttled_ns(), Some(2_000));
        assert_eq!(Pressure::default().throttled_ns(), None);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(process_use().peak_rss.is_none_or(|rss| rss > 100_000));
    }
}
