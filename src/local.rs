//! `kontiki local`: a whole cluster on this machine. A host is a set of namespaces and cgroups with a container runtime
//! and a kontiki process in it; nothing it does reaches the machine's own network tables.
//!
//! A cluster is one host: it never joins servers or agents to it.

mod cgroup;
mod containerd;
mod host;
mod layout;
mod network;
mod publish;
mod shell;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use netproxy::ProxyMode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use host::HostProcess;

use crate::cli::answer;
use crate::failure::{Code, Failure, Step};
use crate::progress::Progress;
use layout::{Cluster, Host, Published};

/// The cluster meant when none is named.
pub const DEFAULT_NAME: &str = "local";

/// How long a host may take to end by itself before its processes are killed.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Flags of `kontiki local create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The cluster's name.
    #[arg(default_value = DEFAULT_NAME)]
    name: String,
    /// Control-plane replicas; one until joining is built.
    #[arg(long, default_value_t = 1)]
    servers: u8,
    /// Workers beside the servers; none until joining is built.
    #[arg(long, default_value_t = 0)]
    agents: u8,
    /// Reach a service on 127.0.0.1: HOST_PORT:[NAMESPACE/]SERVICE[:PORT]. May be given more than once.
    #[arg(short = 'p', long = "port")]
    ports: Vec<Published>,
    /// The API server's port on 127.0.0.1; the next free one is taken when it is in use.
    #[arg(long, default_value_t = 6443)]
    api_port: u16,
    /// Load these image archives once the host runs.
    #[arg(long = "image")]
    images: Vec<PathBuf>,
    /// Seconds the node may take to become Ready.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// What carries services: ipvs, nftables, or auto, which is IPVS where the kernel has it.
    #[arg(long, default_value_t = ProxyMode::Auto, value_name = "MODE")]
    proxy_mode: ProxyMode,
}

impl Create {
    /// Creates the cluster, or starts the one that is there.
    ///
    /// # Errors
    /// The machine is unfit, root is missing, or the node did not become Ready.
    pub fn run(self, progress: &Progress) -> Result<(), Failure> {
        let cluster = cluster(&self.name)?;
        if self.servers != 1 || self.agents != 0 {
            return Err(Failure::new(Code::Usage, "a local cluster has one server and no agents")
                .why("joining servers and agents is not built yet (docs/STATUS.md)")
                .fix("kontiki local create --servers 1"));
        }
        need_root("kontiki local makes namespaces, mounts and cgroups")?;
        containerd::check()?;
        let host = cluster.server();
        if let Some(pid) = running(&host) {
            progress.step("server-0").done(&format!("server-0 runs already (pid {pid})"));
        } else {
            self.start(&cluster, &host, progress)?;
        }
        load(&host, &self.images, progress)?;
        answer(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()))
    }

    fn start(&self, cluster: &Cluster, host: &Host, progress: &Progress) -> Result<(), Failure> {
        std::fs::create_dir_all(host.dir()).step("cannot make the cluster's folder")?;
        let step = progress.step("network");
        network::ensure_switch(cluster)?;
        network::ensure_host(host)?;
        step.done(&format!("network: {} in a namespace of its own", host.address()));
        let mut child = self.spawn(host)?;
        let output = child.stdout.take().expect("a piped stdout");
        follow(BufReader::new(output), progress, host)
    }

    fn spawn(&self, host: &Host) -> Result<std::process::Child, Failure> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(host.log())
            .step("cannot open the log")?;
        let tracked = cgroup::ensure(host)?;
        let program = std::env::current_exe().step("cannot find this program")?;
        let script = format!("echo $$ >'{}' && exec \"$@\"", tracked.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script, "kontiki"]).arg(program).args([
            "local",
            "host",
            "--name",
            &host.cluster().name,
        ]);
        command.args(["--api-port", &self.api_port.to_string(), "--timeout", &self.timeout.to_string()]);
        command.args(["--proxy-mode", self.proxy_mode.name()]);
        for port in &self.ports {
            command.args(["-p", &port.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        command.spawn().step("cannot start the host's process")
    }
}

/// Prints the daemon's milestones until the node is Ready, and fails as it fails.
fn follow(lines: impl BufRead, progress: &Progress, host: &Host) -> Result<(), Failure> {
    let mut step = progress.step("server-0");
    for line in lines.lines() {
        let line = line.step("cannot read from the host's process")?;
        let Ok(told) = serde_json::from_str::<Milestone>(&line) else { continue };
        match told.step.as_str() {
            "failed" => {
                step.failed();
                return Err(Failure::new(Code::Other, format!("{} did not start", host.name))
                    .why(told.text)
                    .fix(format!("read {}; then kontiki local delete", host.log().display())));
            }
            "node" => {
                step.done(&told.text);
                return Ok(());
            }
            name => step.done(&format!("{name}: {}", told.text)),
        }
        step = progress.step("server-0");
    }
    step.failed();
    Err(Failure::new(Code::Other, format!("{} ended before it was ready", host.name))
        .fix(format!("read {}", host.log().display())))
}

#[derive(serde::Deserialize)]
struct Milestone {
    step: String,
    text: String,
}

/// Stops a cluster and removes everything of it; a cluster that is not there is no error.
///
/// # Errors
/// Root is missing or a process could not be ended.
pub fn delete(name: &str, progress: &Progress) -> Result<(), Failure> {
    let cluster = cluster(name)?;
    if !cluster.dir().exists() {
        return Ok(());
    }
    need_root("kontiki local removes namespaces, mounts and cgroups")?;
    let step = progress.step("stopping");
    let host = cluster.server();
    end(&host);
    cgroup::remove(&cluster)?;
    network::remove_host(&host);
    network::remove_switch(&cluster);
    std::fs::remove_dir_all(cluster.dir()).step("cannot remove the cluster's folder")?;
    step.done(&format!("cluster {name} is gone"));
    Ok(())
}

/// Stops the kontiki process of a cluster; its containers go on.
///
/// # Errors
/// There is no such cluster.
pub fn stop(name: &str, progress: &Progress) -> Result<(), Failure> {
    let cluster = existing(name)?;
    let step = progress.step("stopping");
    end(&cluster.server());
    step.done(&format!("cluster {name} is stopped; its containers go on"));
    Ok(())
}

/// Prints the clusters of this machine, one a line.
///
/// # Errors
/// Their folder cannot be read.
pub fn list() -> Result<(), Failure> {
    let folder = data_home()?.join("kontiki");
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let state = if running(&cluster(&name)?.server()).is_some() { "running" } else { "stopped" };
        answer(&format!("{name}\t{state}"))?;
    }
    Ok(())
}

/// Prints where a cluster's kubeconfig is.
///
/// # Errors
/// There is no such cluster.
pub fn kubeconfig(name: &str) -> Result<(), Failure> {
    answer(&existing(name)?.kubeconfig().display().to_string())
}

/// Loads image archives into a cluster's hosts.
///
/// # Errors
/// There is no such cluster, or an archive is not one.
pub fn load_images(name: &str, archives: &[PathBuf], progress: &Progress) -> Result<(), Failure> {
    load(&existing(name)?.server(), archives, progress)
}

fn load(host: &Host, archives: &[PathBuf], progress: &Progress) -> Result<(), Failure> {
    for archive in archives {
        let shown = archive.file_name().unwrap_or(archive.as_os_str()).to_string_lossy().into_owned();
        let step = progress.step(&format!("image {shown}"));
        containerd::import(host, archive)?;
        step.done(&format!("image {shown} is on {}", host.name));
    }
    Ok(())
}

/// Asks the host's process to end and waits for it.
fn end(host: &Host) {
    let Some(pid) = running(host) else { return };
    // It may end between the look and the signal.
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    let began = std::time::Instant::now();
    while running(host).is_some() && began.elapsed() < STOP_MAX {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The host's kontiki process, if it runs: the pid file may be older than the process that has its number now.
fn running(host: &Host) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(host.pid_file()).ok()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let name = host.cluster().name.as_bytes();
    (words.contains(&b"host".as_slice()) && words.contains(&name)).then_some(pid)
}

fn existing(name: &str) -> Result<Cluster, Failure> {
    let cluster = cluster(name)?;
    if cluster.dir().exists() {
        return Ok(cluster);
    }
    Err(Failure::new(Code::NotFound, format!("no local cluster is named {name}"))
        .fix(format!("kontiki local create {name}; kontiki local list")))
}

fn cluster(name: &str) -> Result<Cluster, Failure> {
    let label = !name.is_empty()
        && name.len() <= 30
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-');
    if !label {
        return Err(Failure::new(Code::Usage, format!("{name:?} cannot name a cluster"))
            .fix("use up to 30 lower case letters, digits and dashes"));
    }
    Ok(Cluster::new(&data_home()?, name))
}

/// Where a user's data belongs: XDG_DATA_HOME, else ~/.local/share.
fn data_home() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(Path::new(".local/share"))))
        .ok_or_else(|| Failure::new(Code::Usage, "neither HOME nor XDG_DATA_HOME is set"))
}

fn need_root(why: &str) -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(Code::Permission, "needs root")
        .why(why)
        .fix("run it with sudo; without root: kontiki dev"))
}
