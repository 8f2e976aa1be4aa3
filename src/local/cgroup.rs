//! A host's processes are those in its cgroup: that is how they are counted, found and ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::layout::{Cluster, Host};
use crate::failure::{Failure, Step};

const ROOT: &str = "/sys/fs/cgroup";
/// Rounds of killing before giving up: a process may start another between two looks.
const KILL_ROUNDS: usize = 100;

/// The hierarchies of this machine: one on cgroup v2, one a controller on v1.
fn hierarchies() -> Vec<PathBuf> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return vec![PathBuf::from(ROOT)];
    }
    let Ok(entries) = std::fs::read_dir(ROOT) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect()
}

/// The hierarchy whose cgroups tell which processes are a host's.
fn tracking() -> PathBuf {
    let pids = Path::new(ROOT).join("pids");
    if pids.exists() { pids } else { PathBuf::from(ROOT) }
}

/// Makes the cgroup of a host's own daemons and gives the file that takes a process into it.
///
/// # Errors
/// The cgroup file system refused.
pub fn ensure(host: &Host) -> Result<PathBuf, Failure> {
    let system = tracking().join(host.cgroup()).join("system");
    std::fs::create_dir_all(&system).step("cannot make the host's cgroup")?;
    Ok(system.join("cgroup.procs"))
}

/// Ends every process of the cluster and removes its cgroups.
///
/// # Errors
/// A process could not be ended.
pub fn remove(cluster: &Cluster) -> Result<(), Failure> {
    let own = tracking().join(cluster.cgroup());
    for _ in 0..KILL_ROUNDS {
        let processes = processes_below(&own);
        if processes.is_empty() {
            break;
        }
        for process in processes {
            // It may have ended by itself in the meantime.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for hierarchy in hierarchies() {
        remove_tree(&hierarchy.join(cluster.cgroup()));
        // Other clusters may still have theirs below it.
        let _ = std::fs::remove_dir(hierarchy.join("kontiki"));
    }
    let left = processes_below(&own);
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("still running: {left:?}")).step("cannot end the hosts")
    }
}

fn processes_below(cgroup: &Path) -> Vec<i32> {
    let mut processes: Vec<i32> = std::fs::read_to_string(cgroup.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|line| line.parse().ok()).collect())
        .unwrap_or_default();
    for child in children(cgroup) {
        processes.extend(processes_below(&child));
    }
    processes
}

fn remove_tree(cgroup: &Path) {
    for child in children(cgroup) {
        remove_tree(&child);
    }
    let _ = std::fs::remove_dir(cgroup);
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cgroup) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
