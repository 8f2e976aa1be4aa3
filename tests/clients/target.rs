//! The cluster under a client: `kontiki dev` with its data in a folder, so that it can be killed and started again at the
//! same address, or upstream's control plane.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tests::cluster::Dev;
use tests::upstream::{self, Upstream};

/// A running cluster.
pub(crate) enum Target {
    /// The server under test.
    Kontiki(Kontiki),
    /// The judge of the checks.
    Upstream(Upstream),
}

/// `kontiki dev`, and what it takes to start it again.
pub(crate) struct Kontiki {
    /// `None` between a kill and the next start only.
    dev: Option<Dev>,
    folder: tempfile::TempDir,
    port: String,
}

impl Target {
    /// Starts the cluster that `KONTIKI_CLIENTS_ON` names.
    pub(crate) fn start() -> Result<Self> {
        match std::env::var("KONTIKI_CLIENTS_ON").as_deref() {
            Ok("upstream") => {
                let binaries =
                    upstream::folder().context("UPSTREAM names the folder of upstream's binaries")?;
                Ok(Self::Upstream(Upstream::start(&binaries)?))
            }
            Ok("kontiki") | Err(_) => Ok(Self::Kontiki(Kontiki::start()?)),
            Ok(other) => bail!("KONTIKI_CLIENTS_ON is kontiki or upstream, not {other:?}"),
        }
    }

    /// The administrator's kubeconfig; it stays valid over restarts.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        match self {
            Self::Kontiki(kontiki) => kontiki.kubeconfig(),
            Self::Upstream(upstream) => upstream.kubeconfig.clone(),
        }
    }

    /// Whether it can be killed and started again.
    pub(crate) fn restarts(&self) -> bool {
        matches!(self, Self::Kontiki(_))
    }

    /// Kills it with -9 and starts it again with the same data, at the same address.
    pub(crate) fn restart(&mut self) -> Result<()> {
        match self {
            Self::Kontiki(kontiki) => kontiki.restart(),
            Self::Upstream(_) => bail!("upstream is not restarted here"),
        }
    }
}

impl Kontiki {
    fn start() -> Result<Self> {
        let mut kontiki = Self { dev: None, folder: tempfile::tempdir()?, port: "0".to_owned() };
        kontiki.run()?;
        kontiki.port = port(&kontiki.kubeconfig())?;
        Ok(kontiki)
    }

    fn restart(&mut self) -> Result<()> {
        self.dev.take().context("it runs")?.kill()?;
        self.run()
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn run(&mut self) -> Result<()> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let arguments =
            ["--data-dir", &path("data"), "--kubeconfig", &path("kubeconfig"), "--port", &self.port];
        let log = std::fs::File::options().create(true).append(true).open(path("log"))?;
        self.dev = Some(Dev::logging(&arguments, Stdio::from(log)).with_context(|| self.log())?);
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// The port of the server that a kubeconfig names.
fn port(kubeconfig: &Path) -> Result<String> {
    let text = std::fs::read_to_string(kubeconfig)?;
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: ")).context("a server")?;
    let (_, port) = server.trim_matches('"').rsplit_once(':').context("a port")?;
    Ok(port.to_owned())
}
