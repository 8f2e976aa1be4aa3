//! The whole agent on a real containerd, in a network namespace of its own, against an API in memory.
//!
//! Runs only as root and where containerd, runc, the CNI plugins and a static busybox are installed; says so
//! when it does not. The outer test makes the host and runs itself again inside of it.

mod api;
mod image;
mod server;
mod story;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the run inside of the host, to the host's directory.
const INSIDE: &str = "KONTIKI_RIG_DIR";

#[test]
fn pods_live_and_die_on_containerd() {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return story::tell(Path::new(&dir));
    }
    if let Some(missing) = missing() {
        return skip(&missing);
    }
    let dir = tempfile::Builder::new().prefix("rig").tempdir().expect("a directory");
    let host = Host::up(dir.path());
    let mount = format!("--mount={}/ns/mnt", dir.path().display());
    let status = Command::new("nsenter")
        .args([&format!("--net=/run/netns/kr-{}", host.name()), &mount, "--"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", "pods_live_and_die_on_containerd", "--nocapture"])
        .env(INSIDE, dir.path())
        .status()
        .expect("nsenter runs");
    assert!(status.success(), "the run inside of the host failed");
}

/// What this machine lacks.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("root".into());
    }
    let needed = ["/usr/lib/cni/bridge", "/usr/lib/cni/portmap", "/bin/busybox"];
    let found = |name: &str| {
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(name).exists())
    };
    let programs = ["containerd", "runc", "ctr", "nsenter", "ip"];
    let path = needed.into_iter().find(|path| !Path::new(path).exists()).map(str::to_owned);
    path.or_else(|| programs.into_iter().find(|program| !found(program)).map(str::to_owned))
}

#[allow(clippy::print_stderr, reason = "people must see that nothing was tested")]
fn skip(missing: &str) {
    eprintln!("SKIPPED: the agent was not tried on containerd, because {missing} is missing");
}

struct Host {
    dir: PathBuf,
}

impl Host {
    fn up(dir: &Path) -> Self {
        let images = dir.join("images");
        std::fs::create_dir_all(&images).expect("a directory");
        let pause = "registry.k8s.io/pause:3.6";
        image::write(&images.join("pause.tar"), pause, &["/bin/sleep", "2147483647"]).expect("an image");
        image::write(&images.join("box.tar"), "docker.io/library/box:1", &["/bin/sh"]).expect("an image");
        let host = Host { dir: dir.to_owned() };
        assert!(host.script("up"), "the host does not come up");
        host
    }

    fn name(&self) -> String {
        self.dir.file_name().expect("a name").to_string_lossy().into_owned()
    }

    fn script(&self, verb: &str) -> bool {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/host.sh");
        Command::new("sh").args([script, verb]).arg(&self.dir).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.script("down");
    }
}
