//! Clusters for tests, started with the binary a user runs, and the clients of the versions we promise.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// kubectl versions every story is played with: the oldest promised, two between, and our own.
pub const KUBECTLS: [&str; 4] = ["1.27", "1.30", "1.33", "1.36"];

/// Those that stories on a node are played with: there a version costs a cluster with containers, and what differs between
/// clients is their words, which the stories without a node compare in every version.
pub const KUBECTLS_ON_A_NODE: [&str; 2] = ["1.27", "1.36"];

/// The `kontiki` binary under test: `KONTIKI`, else the one built beside this test.
///
/// # Errors
/// It is not built.
pub fn kontiki() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KONTIKI") {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("this test's own path")?;
    // A test is target/PROFILE/deps/TEST, a program target/PROFILE/PROGRAM.
    let folders = test.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("kontiki"))
        .find(|binary| binary.exists())
        .context("kontiki is not built beside this test: cargo build -p kontiki")
}

/// Where clients and images are kept between runs: `KONTIKI_CACHE`, else `kontiki` in the user's cache.
///
/// # Errors
/// No variable says where that is.
pub fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    set("KONTIKI_CACHE")
        .or_else(|| {
            set("XDG_CACHE_HOME")
                .or_else(|| set("HOME").map(|home| home.join(".cache")))
                .map(|cache| cache.join("kontiki"))
        })
        .context("HOME is not set")
}

/// A folder whose `kubectl` is the one of `version`.
///
/// # Errors
/// The client is not there; `.ci/deps clients` fetches it.
pub fn kubectl(version: &str, into: &Path) -> Result<PathBuf> {
    let binary = cache()?.join("clients").join(format!("kubectl-{version}"));
    if !binary.exists() {
        bail!("{} is missing: sh .ci/deps clients", binary.display());
    }
    let folder = into.join(format!("kubectl-{version}"));
    std::fs::create_dir_all(&folder)?;
    let link = folder.join("kubectl");
    if !link.exists() {
        std::os::unix::fs::symlink(&binary, &link)?;
    }
    Ok(folder)
}

/// `kontiki dev`, stopped when dropped.
pub struct Dev {
    child: Child,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
}

impl Dev {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// It ended before.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::logging(arguments, Stdio::inherit())
    }

    /// As [`Dev::start`], with its log somewhere else than in the test's output.
    ///
    /// # Errors
    /// It ended before.
    pub fn logging(arguments: &[&str], log: Stdio) -> Result<Self> {
        Self::of(Command::new(kontiki()?), arguments, log)
    }

    /// As [`Dev::logging`], with a command that runs the binary in circumstances of its own.
    ///
    /// # Errors
    /// It ended before.
    pub fn of(mut command: Command, arguments: &[&str], log: Stdio) -> Result<Self> {
        let mut child = command
            .arg("dev")
            .args(arguments)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("kontiki dev starts")?;
        let stdout = child.stdout.take().context("a piped stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let path = line.strip_prefix("KUBECONFIG=").and_then(|rest| rest.split_whitespace().next());
        let Some(path) = path else { bail!("kontiki dev said {line:?} and not KUBECONFIG=…") };
        Ok(Self { kubeconfig: PathBuf::from(path), child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut of the process would.
    ///
    /// # Errors
    /// It had ended already.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Ctrl-C is how a user ends it; what is left of it is removed by itself.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
