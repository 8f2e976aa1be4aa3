//! Hosts of the test's own: network namespaces on one switch, each with a cable that can be pulled. Nothing of the
//! machine's own network is touched, and nothing leaves them: they have no default route.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;

/// A few hosts and their switch.
pub struct Hosts {
    prefix: String,
    count: usize,
}

impl Hosts {
    /// Why this machine cannot have them, if it cannot.
    pub fn unfit() -> Option<String> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        if !root {
            return Some("network namespaces need root".into());
        }
        let found = Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_ok();
        (!found).then(|| "ip is missing: package iproute2".into())
    }

    /// Makes so many.
    ///
    /// # Errors
    /// The machine makes no namespaces.
    pub fn make(count: usize) -> Result<Self> {
        let hosts = Self { prefix: format!("kt{}", std::process::id()), count };
        let switch = hosts.switch();
        ip(&format!("netns add {switch}"))?;
        ip(&format!("-n {switch} link add br0 type bridge"))?;
        ip(&format!("-n {switch} link set br0 up"))?;
        for host in 0..count {
            let (name, port) = (hosts.name(host), format!("p{host}"));
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {switch} link add {port} type veth peer name eth0 netns {name}"))?;
            ip(&format!("-n {switch} link set {port} master br0 up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", Self::address(host)))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        Ok(hosts)
    }

    /// A host's address.
    pub fn address(host: usize) -> String {
        format!("172.31.7.{}", host + 1)
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.prefix)
    }

    fn name(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn path(&self, host: usize) -> PathBuf {
        Path::new("/run/netns").join(self.name(host))
    }

    /// A command that runs on a host.
    pub fn command(&self, host: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path(host).display())).arg(program);
        command
    }

    /// Pulls a host's cable.
    ///
    /// # Errors
    /// There is no such host.
    pub fn cut(&self, host: usize) -> Result<()> {
        ip(&format!("-n {} link set p{host} down", self.switch()))
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// There is no such host.
    pub fn mend(&self, host: usize) -> Result<()> {
        ip(&format!("-n {} link set p{host} up", self.switch()))
    }

    /// Where a host's namespace is, for [`Hosts::connect_through`].
    pub fn entrance(&self, host: usize) -> PathBuf {
        self.path(host)
    }

    /// Connects from a host. The socket stays in its namespace, whoever uses it.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(&self, host: usize, address: &str) -> Result<TcpStream> {
        Self::connect_through(&self.path(host), address).await
    }

    /// As [`Hosts::connect`], for somebody who holds no [`Hosts`].
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect_through(entrance: &Path, address: &str) -> Result<TcpStream> {
        let (path, address) = (entrance.to_owned(), address.to_owned());
        // A thread of its own: a namespace is entered for the rest of its life.
        let thread = std::thread::spawn(move || -> Result<std::net::TcpStream> {
            setns(std::fs::File::open(&path)?, CloneFlags::CLONE_NEWNET)?;
            let tcp = std::net::TcpStream::connect(address)?;
            tcp.set_nonblocking(true)?;
            Ok(tcp)
        });
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        let tcp = joined.map_err(|_| anyhow::anyhow!("the connecting thread panicked"))??;
        Ok(TcpStream::from_std(tcp)?)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in (0..self.count).map(|host| self.name(host)).chain([self.switch()]) {
            // One that was not made yet.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().context("running ip")?;
    if !output.status.success() {
        bail!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
