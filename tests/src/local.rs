//! A one-node cluster of `kontiki local` on the machine's own containerd, for tests that need containers.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{cache, kontiki};

/// What a node needs of the machine, and where Debian keeps what is not on the search path.
const PROGRAMS: [&str; 6] = ["containerd", "ctr", "runc", "ip", "nft", "iptables"];
const PROGRAM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
const CNI_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
const BUSYBOX: &str = "/bin/busybox";

/// A cluster with one node; deleted when dropped.
pub struct Local {
    /// Its name.
    pub name: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The port of 127.0.0.1 that leads to the Service `web`.
    pub published: u16,
    api_port: u16,
    data: tempfile::TempDir,
}

impl Local {
    /// Why this machine cannot hold a node, if it cannot.
    pub fn unfit() -> Option<String> {
        let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
        if !root {
            return Some("not root".to_owned());
        }
        let mut missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !found(program)).collect();
        if !CNI_FOLDERS.iter().any(|folder| Path::new(folder).join("bridge").exists()) {
            missing.push("CNI plugins");
        }
        if !Path::new(BUSYBOX).exists() {
            missing.push("busybox-static");
        }
        (!missing.is_empty()).then(|| format!("not found: {}", missing.join(", ")))
    }

    /// Creates the cluster with the images of the examples in it and waits until its node is Ready.
    ///
    /// # Errors
    /// It did not become ready; what it said is on stderr.
    pub fn create(purpose: &str) -> Result<Self> {
        let images = images()?;
        let data = tempfile::tempdir()?;
        let name = format!("{purpose}-{}", std::process::id());
        let kubeconfig = data.path().join("kontiki").join(&name).join("kubeconfig");
        // Made before the cluster, so that a cluster that starts half is deleted too.
        let local = Self { name, kubeconfig, published: free_port()?, api_port: free_port()?, data };
        local.start(&[images.join("pause.tar"), images.join("busybox.tar")])?;
        Ok(local)
    }

    /// Starts the cluster if it does not run, and waits until its node is Ready.
    ///
    /// # Errors
    /// It did not become ready.
    pub fn start(&self, images: &[PathBuf]) -> Result<()> {
        let mut create = self.command("create")?;
        create.args(["--api-port", &self.api_port.to_string(), "-p", &format!("{}:web", self.published)]);
        for image in images {
            create.arg("--image").arg(image);
        }
        if !create.stdout(Stdio::null()).status().context("kontiki local create")?.success() {
            bail!("kontiki local create {} failed", self.name);
        }
        Ok(())
    }

    /// Ends the node's kontiki process as a power cut of it would; its containers go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> Result<()> {
        let file = self.folder().join("server-0").join("kontiki.pid");
        let pid = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        if !Command::new("kill").args(["-9", pid.trim()]).status()?.success() {
            bail!("process {pid} does not run");
        }
        // It holds its files and ports until it has no command line any more; a process nobody waits for keeps its number.
        let command = Path::new("/proc").join(pid.trim()).join("cmdline");
        while std::fs::read(&command).is_ok_and(|words| !words.is_empty()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Deletes the cluster and tells what of it is still on the machine: nothing, if all is well.
    ///
    /// # Errors
    /// The command failed.
    pub fn delete(self) -> Result<Vec<String>> {
        if !self.command("delete")?.status().context("kontiki local delete")?.success() {
            bail!("kontiki local delete {} failed", self.name);
        }
        let mut left = Vec::new();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        left.extend(
            mounts.lines().filter(|line| line.contains(&self.name)).map(|line| format!("mount {line}")),
        );
        for process in std::fs::read_dir("/proc")?.flatten() {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&self.name) {
                left.push(format!("process {command}"));
            }
        }
        for folder in ["/run/netns".into(), self.data.path().join("kontiki")] {
            left.extend(named_after(&folder, &self.name));
        }
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
            left.extend(named_after(&hierarchy.path().join("kontiki"), &self.name));
        }
        left.extend(named_after(Path::new("/sys/fs/cgroup/kontiki"), &self.name));
        Ok(left)
    }

    /// The network namespace that joins the hosts and lies outside the pod network.
    pub fn outside(&self) -> String {
        format!("kontiki-{}", self.name)
    }

    /// The folder that holds everything of this cluster.
    pub fn folder(&self) -> PathBuf {
        self.data.path().join("kontiki").join(&self.name)
    }

    fn command(&self, verb: &str) -> Result<Command> {
        let mut command = Command::new(kontiki()?);
        command.args(["local", verb, &self.name]).env("XDG_DATA_HOME", self.data.path());
        Ok(command)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // A test that has failed already says more than a failing removal.
        if let Ok(mut delete) = self.command("delete") {
            let _ = delete.status();
        }
    }
}

/// The image archives of the examples, built once and kept in the cache.
fn images() -> Result<PathBuf> {
    let images = cache()?.join("images");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/images/build");
    let built = Command::new("sh").arg(script).arg(&images).status().context("examples/images/build")?;
    if !built.success() {
        bail!("examples/images/build {} failed", images.display());
    }
    Ok(images)
}

/// What stands in a folder with `name` in its own name; a folder that is not there holds nothing.
fn named_after(folder: &Path, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().contains(name));
    named.map(|entry| entry.path().display().to_string()).collect()
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(PROGRAM_FOLDERS.iter().map(PathBuf::from))
        .any(|folder| folder.join(program).exists())
}
