//! A host's network and mount namespaces: made so that nothing of a node reaches the machine's own tables.
//!
//! A host has one cable to the switch's bridge, no default route, and a route for the service range, without which
//! the kernel refuses traffic to a service address before any rule sees it.

use std::path::Path;

use super::layout::{Cluster, Host};
use super::shell::{run, run_parts};
use crate::failure::{Failure, Step};

/// The bridge's address: what a client outside the pod network uses.
const SWITCH_ADDRESS: &str = "172.30.0.254/24";
const SERVICE_CIDR: &str = "10.96.0.0/16";

/// Makes the switch if it is missing.
///
/// # Errors
/// `ip` failed.
pub fn ensure_switch(cluster: &Cluster) -> Result<(), Failure> {
    let switch = cluster.switch();
    if Path::new("/run/netns").join(&switch).exists() {
        return Ok(());
    }
    run(&format!("ip netns add {switch}"))?;
    run(&format!("ip -n {switch} link add br0 type bridge"))?;
    run(&format!("ip -n {switch} addr add {SWITCH_ADDRESS} dev br0"))?;
    for device in ["lo", "br0"] {
        run(&format!("ip -n {switch} link set {device} up"))?;
    }
    Ok(())
}

/// Makes the host's namespaces if they are missing.
///
/// # Errors
/// `ip`, `unshare` or `mount` failed.
pub fn ensure_host(host: &Host) -> Result<(), Failure> {
    if !host.namespace_file().exists() {
        plug_in(host)?;
    }
    if !is_mount(&host.mounts_file())? {
        pin_mounts(host)?;
    }
    Ok(())
}

fn plug_in(host: &Host) -> Result<(), Failure> {
    let (switch, net, port) = (host.cluster().switch(), host.namespace(), host.port());
    run(&format!("ip netns add {net}"))?;
    run(&format!("ip -n {switch} link add {port} type veth peer name eth0 netns {net}"))?;
    run(&format!("ip -n {switch} link set {port} master br0 up"))?;
    run(&format!("ip -n {net} link set lo up"))?;
    run(&format!("ip -n {net} addr add {}/24 dev eth0", host.address()))?;
    run(&format!("ip -n {net} link set eth0 up"))?;
    run(&format!("ip -n {net} route add {SERVICE_CIDR} dev eth0"))?;
    let namespace = format!("--net={}", host.namespace_file().display());
    // A redirect to a neighbour would use up the very token that the refusal of an empty service needs.
    for setting in ["ip_forward=1", "conf.all.send_redirects=0", "conf.eth0.send_redirects=0"] {
        run_parts(&["nsenter", &namespace, "sysctl", "-q", "-w", &format!("net.ipv4.{setting}")])?;
    }
    run(&format!("ip -n {switch} route add {} via {}", host.pod_cidr(), host.address())).map(drop)
}

/// Pins a mount namespace to a file, so that a restarted runtime sees the mounts of the containers that went on.
fn pin_mounts(host: &Host) -> Result<(), Failure> {
    let file = host.mounts_file();
    let folder = file.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).step("cannot make the folder of namespaces")?;
    let folder = folder.to_string_lossy().into_owned();
    if !is_mount(Path::new(&folder))? {
        run_parts(&["mount", "--bind", &folder, &folder])?;
        run_parts(&["mount", "--make-private", &folder])?;
    }
    std::fs::write(&file, b"").step("cannot make the namespace's file")?;
    let pinned = file.to_string_lossy().into_owned();
    run_parts(&["unshare", &format!("--mount={pinned}"), "--propagation", "private", "true"])?;
    let dir = host.dir();
    for (own, common) in [("netns", "/run/netns"), ("run", "/run/containerd")] {
        let own = dir.join(own);
        std::fs::create_dir_all(&own).step("cannot make the host's folders")?;
        std::fs::create_dir_all(common).step("cannot make the folder to mount on")?;
        run_parts(&[
            "nsenter",
            &format!("--mount={pinned}"),
            "mount",
            "--bind",
            &own.to_string_lossy(),
            common,
        ])?;
    }
    // Containers share their volumes' mounts with the node; the namespace itself stays apart from the machine's.
    run_parts(&["nsenter", &format!("--mount={pinned}"), "mount", "--make-rshared", "/"]).map(drop)
}

/// Removes the host's namespaces; what is not there is no error.
pub fn remove_host(host: &Host) {
    // Each may be gone already: the wanted end is the same.
    let _ = run_parts(&["umount", &host.mounts_file().to_string_lossy()]);
    let _ = std::fs::remove_file(host.mounts_file());
    let _ = run(&format!("ip netns del {}", host.namespace()));
}

/// Removes the switch and the folder of pinned namespaces.
pub fn remove_switch(cluster: &Cluster) {
    let _ = run(&format!("ip netns del {}", cluster.switch()));
    let _ = run_parts(&["umount", &cluster.dir().join("ns").to_string_lossy()]);
}

fn is_mount(path: &Path) -> Result<bool, Failure> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").step("cannot read this process's mounts")?;
    let wanted = path.to_string_lossy();
    Ok(mounts.lines().any(|line| line.split(' ').nth(4) == Some(&*wanted)))
}
