//! What the kernel knows of this process.

/// USER_HZ, which is 100 on every Linux whatever the kernel's own rate.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process uses.
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) descriptors: usize,
}

impl Usage {
    /// Of this process; `None` where there is no procfs.
    pub(super) fn now() -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
        let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            cpu_seconds: cpu_seconds(&read("stat")?)?,
            resident_bytes: resident_bytes(&read("status")?)?,
            descriptors,
        })
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`; the second may hold blanks and ends in the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some((f64::from(ticks(11)?) + f64::from(ticks(12)?)) / TICKS_A_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert!(Usage::now().is_some_and(|usage| usage.resident_bytes > 0 && usage.descriptors > 2));
    }
}
