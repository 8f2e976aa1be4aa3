//! What the kernel says about processes: CPU time spent and memory held.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// A clock tick of /proc/PID/stat in ms. USER_HZ is 100 on every Linux, whatever the kernel's own rate.
const TICK_MS: u64 = 10;
/// Positions of utime and stime among the fields after the process's name (man 5 proc_pid_stat: 14 and 15).
const UTIME: usize = 11;

/// CPU time and wall time of some processes since it was started.
pub struct Meter<'a> {
    pids: &'a [u32],
    cpu_ms: u64,
    began: Instant,
}

/// What a meter read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// User and system time of all processes.
    pub cpu_ms: f64,
    /// Time passed.
    pub wall: Duration,
}

impl<'a> Meter<'a> {
    /// Starts to measure.
    pub fn start(pids: &'a [u32]) -> anyhow::Result<Self> {
        Ok(Self { pids, cpu_ms: cpu_ms(pids)?, began: Instant::now() })
    }

    /// What was spent since the start.
    pub fn read(&self) -> anyhow::Result<Reading> {
        let wall = self.began.elapsed();
        let spent = cpu_ms(self.pids)?.saturating_sub(self.cpu_ms);
        Ok(Reading { cpu_ms: f64::from(u32::try_from(spent)?), wall })
    }
}

fn cpu_ms(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().map(|pid| stat_cpu_ms(&read(*pid, "stat")?)).sum()
}

fn stat_cpu_ms(stat: &str) -> anyhow::Result<u64> {
    // The name is in brackets and may hold anything, brackets too.
    let fields = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks = fields
        .split_whitespace()
        .skip(UTIME)
        .take(2)
        .map(|field| field.parse::<u64>().context("ticks"))
        .sum::<anyhow::Result<u64>>()?;
    Ok(ticks * TICK_MS)
}

/// Resident memory of all processes in MB (10^6 bytes, as in upstream's figures).
pub fn rss_mb(pids: &[u32]) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for pid in pids {
        let status = read(*pid, "status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        bytes += line.trim().trim_end_matches(" kB").trim().parse::<u32>().context("VmRSS")?;
    }
    Ok(f64::from(bytes) * 1024.0 / 1e6)
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utime_and_stime_are_added() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 12 34 0 0 20 0 9 0 5 6 7";
        assert_eq!(stat_cpu_ms(stat).expect("a stat line"), 460);
    }
}
