//! The container runtime of a host: the machine's containerd and runc as a process of its own, with its own
//! configuration, state and socket. Its containers outlive kontiki, which finds it again by its socket.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::layout::Host;
use super::{cgroup, shell};
use crate::failure::{Code, Failure, Step};

/// How long containerd may take to answer on its socket.
const START_MAX: Duration = Duration::from_secs(20);
/// The image that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";

/// What a node needs from the operating system, with the Debian package that brings it.
const PROGRAMS: [(&str, &str); 6] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
];
const CNI_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Checks that this machine has what a node needs.
///
/// # Errors
/// Names everything that is missing and the packages that bring it.
pub fn check() -> Result<(), Failure> {
    let mut missing: Vec<(&str, &str)> =
        PROGRAMS.into_iter().filter(|(program, _)| shell::find(program).is_none()).collect();
    if cni_folder().is_none() {
        missing.push(("CNI plugins", "containernetworking-plugins"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(Failure::new(Code::Unfit, "this machine lacks what a node needs")
        .why(format!("not found: {}", names.join(", ")))
        .fix(format!("apt-get install {}", packages.join(" "))))
}

/// The folder that holds the CNI plugins.
pub fn cni_folder() -> Option<&'static Path> {
    CNI_FOLDERS.into_iter().map(Path::new).find(|folder| folder.join("bridge").exists())
}

/// Starts containerd unless it runs already. Called inside the host's namespaces.
///
/// # Errors
/// It could not be started or did not answer in time.
pub fn ensure(host: &Host) -> Result<(), Failure> {
    if answers(host) {
        return Ok(());
    }
    let dir = host.dir();
    for folder in ["containerd/root", "containerd/state", "log", "cni/net.d"] {
        std::fs::create_dir_all(dir.join(folder)).step("cannot make the runtime's folders")?;
    }
    let config = dir.join("containerd/config.toml");
    std::fs::write(&config, configuration(host)?).step("cannot write the runtime's configuration")?;
    spawn(host, &config)?;
    let began = Instant::now();
    while !answers(host) {
        if began.elapsed() > START_MAX {
            return Err(Failure::new(Code::TimedOut, "containerd does not answer")
                .why(format!("no answer on {} for {START_MAX:?}", host.runtime_socket().display()))
                .fix(format!("read {}", dir.join("log/containerd.log").display())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn spawn(host: &Host, config: &Path) -> Result<(), Failure> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(host.dir().join("log/containerd.log"))
        .step("cannot open the runtime's log")?;
    let tracked = cgroup::ensure(host)?;
    // The shell enters the cgroup before it becomes containerd, so that every shim starts in it too.
    let script =
        format!("echo $$ >'{}' && exec containerd --config '{}'", tracked.display(), config.display());
    let errors = log.try_clone().step("cannot share the runtime's log")?;
    Command::new("sh")
        .args(["-c", &script])
        .env("PATH", shell::path())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map(drop)
        .step("cannot start containerd")
}

fn answers(host: &Host) -> bool {
    std::os::unix::net::UnixStream::connect(host.runtime_socket()).is_ok()
}

/// Loads an image archive (OCI layout or `docker save`) into the host's runtime.
///
/// # Errors
/// The file is missing, or containerd refused it.
pub fn import(host: &Host, archive: &Path) -> Result<(), Failure> {
    if !archive.is_file() {
        return Err(Failure::new(Code::NotFound, format!("no image archive at {}", archive.display()))
            .fix("write one with `docker save` or `examples/images/build`"));
    }
    let socket = host.runtime_socket().to_string_lossy().into_owned();
    let archive = archive.to_string_lossy().into_owned();
    shell::run_parts(&["ctr", "-a", &socket, "-n", "k8s.io", "images", "import", &archive]).map(drop)
}

fn configuration(host: &Host) -> Result<String, Failure> {
    let dir = host.dir().to_string_lossy().into_owned();
    let runc = shell::find("runc").unwrap_or_else(|| PathBuf::from("runc"));
    let plugins = cni_folder().map(|folder| folder.display().to_string()).unwrap_or_default();
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    Ok(format!(
        r#"version = 2
root = "{dir}/containerd/root"
state = "{dir}/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[ttrpc]
address = "{socket}.ttrpc"
[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
stream_server_address = "127.0.0.1"
stream_server_port = "0"
restrict_oom_score_adj = true
disable_apparmor = {no_apparmor}
[{cri}.cni]
bin_dir = "{plugins}"
conf_dir = "{dir}/cni/net.d"
max_conf_num = 1
[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
Root = "{dir}/containerd/runc"
"#,
        socket = host.runtime_socket().display(),
        no_apparmor = !Path::new("/sys/kernel/security/apparmor").exists(),
        runc = runc.display(),
    ))
}
