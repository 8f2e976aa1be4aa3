//! Cgroups of pods, v1 and v2, written directly (the cgroupfs driver).
//!
//! The runtime makes the containers' own cgroups below the pod's; what is made here is the pod's, with limits
//! over all its containers, and its parents.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::resources::{self, PodCgroup};

const MOUNT: &str = "/sys/fs/cgroup";
/// Hierarchies of v1 that pods get a cgroup in.
const CONTROLLERS: [&str; 8] =
    ["cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"];

/// All controllers are in one tree.
fn is_v2() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

/// Makes the pod's cgroup and sets its limits.
pub fn create(root: &str, pod: &Pod) -> io::Result<()> {
    if root.is_empty() {
        return Ok(());
    }
    let parent = resources::cgroup_parent(root, pod);
    let limits = resources::pod_cgroup(pod);
    if is_v2() {
        return create_v2(&parent, &limits);
    }
    for controller in CONTROLLERS.map(hierarchy).into_iter().flatten() {
        let dir = below(&controller, &parent);
        std::fs::create_dir_all(&dir)?;
        if controller.ends_with("cpuset") {
            inherit_cpuset(&controller, &dir)?;
        }
    }
    if let Some(cpu) = hierarchy("cpu,cpuacct") {
        let dir = below(&cpu, &parent);
        write(&dir.join("cpu.shares"), limits.cpu_shares)?;
        if let Some(quota) = limits.cpu_quota {
            write(&dir.join("cpu.cfs_period_us"), limits.cpu_period)?;
            write(&dir.join("cpu.cfs_quota_us"), quota)?;
        }
    }
    if let (Some(memory), Some(limit)) = (hierarchy("memory"), limits.memory_limit) {
        write(&below(&memory, &parent).join("memory.limit_in_bytes"), limit)?;
    }
    Ok(())
}

/// A v1 hierarchy by its controllers; they are mounted together or one by one.
fn hierarchy(controllers: &str) -> Option<PathBuf> {
    let names = std::iter::once(controllers).chain(controllers.split(','));
    names.map(|name| Path::new(MOUNT).join(name)).find(|path| path.is_dir())
}

fn below(hierarchy: &Path, parent: &str) -> PathBuf {
    hierarchy.join(parent.trim_start_matches('/'))
}

fn write(path: &Path, value: impl ToString) -> io::Result<()> {
    std::fs::write(path, value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A new v1 cpuset is empty, and nothing can run in it before every level is filled.
fn inherit_cpuset(hierarchy: &Path, dir: &Path) -> io::Result<()> {
    let Ok(relative) = dir.strip_prefix(hierarchy) else { return Ok(()) };
    let mut level = hierarchy.to_owned();
    for part in relative.components() {
        let above = level.clone();
        level.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = std::fs::read_to_string(level.join(file))?;
            if own.trim().is_empty() {
                let inherited = std::fs::read_to_string(above.join(file))?;
                write(&level.join(file), inherited.trim())?;
            }
        }
    }
    Ok(())
}

fn create_v2(parent: &str, limits: &PodCgroup) -> io::Result<()> {
    let mut level = PathBuf::from(MOUNT);
    for part in Path::new(parent.trim_start_matches('/')).components() {
        delegate(&level);
        level.push(part);
        std::fs::create_dir_all(&level)?;
    }
    // Containers are made below, so their controllers are handed on here as well.
    delegate(&level);
    write(&level.join("cpu.weight"), limits.cpu_weight())?;
    if let Some(quota) = limits.cpu_quota {
        write(&level.join("cpu.max"), format!("{quota} {}", limits.cpu_period))?;
    }
    if let Some(limit) = limits.memory_limit {
        write(&level.join("memory.max"), limit)?;
    }
    Ok(())
}

/// Lets the children of a cgroup use what it has. One that is not there is simply not limited.
fn delegate(dir: &Path) {
    let available = std::fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        let _ = std::fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Removes the pod's cgroup. One that is in use stays.
pub fn remove(root: &str, pod: &Pod) {
    if root.is_empty() {
        return;
    }
    let parent = resources::cgroup_parent(root, pod);
    if is_v2() {
        remove_tree(&below(Path::new(MOUNT), &parent));
        return;
    }
    for controller in CONTROLLERS.map(hierarchy).into_iter().flatten() {
        remove_tree(&below(&controller, &parent));
    }
}

/// Children first; a cgroup cannot be removed before them.
fn remove_tree(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}
