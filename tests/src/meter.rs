//! What the kernel says about processes: CPU time spent and memory held.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time and wall time of some processes since it was started.
pub struct Meter<'a> {
    pids: &'a [u32],
    cpu: Duration,
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
        Ok(Self { pids, cpu: cpu(pids)?, began: Instant::now() })
    }

    /// What was spent since the start.
    pub fn read(&self) -> anyhow::Result<Reading> {
        let wall = self.began.elapsed();
        let spent = cpu(self.pids)?.saturating_sub(self.cpu);
        Ok(Reading { cpu_ms: spent.as_secs_f64() * 1e3, wall })
    }
}

/// What all threads of the processes have run, those that have ended included. The clock of a process counts nanoseconds;
/// the ticks of /proc would be as long as a hundred requests.
fn cpu(pids: &[u32]) -> anyhow::Result<Duration> {
    let one = |pid: &u32| -> anyhow::Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(*pid)?));
        let time = clock.and_then(clock_gettime).with_context(|| format!("process {pid} is gone"))?;
        Ok(time.into())
    };
    pids.iter().map(one).sum()
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
    fn work_is_counted() {
        let pids = [std::process::id()];
        let meter = Meter::start(&pids).expect("this process");
        let mut digits = 0_u64;
        // Until the clock has moved: how long that takes is not told.
        while meter.read().expect("this process").cpu_ms <= 0.0 {
            digits = std::hint::black_box(digits + 1);
        }
        assert!(Meter::start(&[u32::MAX]).is_err(), "no such process");
    }
}
