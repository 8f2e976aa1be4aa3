//! Starts kontiki and ends it. Everything it writes lies in a temporary folder that goes with it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take to end after it was asked to.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A running kontiki.
pub struct Kontiki {
    child: Child,
    /// Where its kubeconfig is.
    pub kubeconfig: PathBuf,
    /// When it was executed.
    pub began: Instant,
    _folder: TempDir,
}

impl Kontiki {
    /// `kontiki dev`; returns when it has printed its kubeconfig's path.
    pub fn dev(program: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        Self::spawn(Command::new(program).arg("dev"), folder)
    }

    /// `kontiki server --no-agent` on a data directory of its own: everything written is durable, as upstream's.
    pub fn server(program: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        // Its own way to any free port would not be known to the kubeconfig; the port is taken again at once.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["server", "--no-agent", "--bind", "127.0.0.1", "--tls-san", "127.0.0.1"]);
        // Loopback may not stand in the endpoints of the service `kubernetes`; nobody dials this one.
        command.args(["--advertise-address", "192.0.2.1", "--port", &port.to_string()]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.arg("--kubeconfig").arg(folder.path().join("kubeconfig"));
        let kontiki = Self::spawn(&mut command, folder)?;
        let text = std::fs::read_to_string(&kontiki.kubeconfig)?;
        std::fs::write(&kontiki.kubeconfig, text.replace("192.0.2.1", "127.0.0.1"))?;
        Ok(kontiki)
    }

    fn spawn(command: &mut Command, folder: TempDir) -> anyhow::Result<Self> {
        let log = folder.path().join("log");
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a piped stdout")).read_line(&mut line)?;
        let said = line.trim_start_matches("export ").strip_prefix("KUBECONFIG=");
        let Some(path) = said.and_then(|rest| rest.split_whitespace().next()) else {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            stop(&mut child);
            bail!("kontiki did not get ready: {line:?} {}", log.trim());
        };
        Ok(Self { child, kubeconfig: path.into(), began, _folder: folder })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Kontiki {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have ended already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let asked = Instant::now();
    while asked.elapsed() < STOP_MAX {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}
