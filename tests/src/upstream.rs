//! Upstream's own control plane as a peer: etcd, kube-apiserver, kube-controller-manager and kube-scheduler from the
//! folder that `UPSTREAM` names (users find them in a Kubernetes release). The stories played there must show the same.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;

/// How long each part may take to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// The administrator's token; the servers listen on loopback and end with the test.
const TOKEN: &str = "upstream-peer-admin";

/// A running control plane, stopped when dropped.
pub struct Upstream {
    parts: Vec<Child>,
    folder: tempfile::TempDir,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// From the API server's start until it was ready.
    pub ready_after: Duration,
    /// The API server's port.
    api: u16,
}

/// The folder of upstream's binaries; `None` when it is not set.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("UPSTREAM").map(PathBuf::from)
}

impl Upstream {
    /// Starts every part and waits until the API is ready.
    ///
    /// # Errors
    /// A binary is missing or a part does not answer.
    pub fn start(binaries: &Path) -> Result<Self> {
        let mut upstream = Self::serve(binaries)?;
        upstream.start_clients(binaries)?;
        // Pods are refused until a controller has made their namespace's account.
        upstream.wait_for(upstream.api, "/api/v1/namespaces/default/serviceaccounts/default", b"\"kind\"")?;
        Ok(upstream)
    }

    /// Starts what holds and serves objects, without controllers and scheduler, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub fn serve(binaries: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let [etcd, peer, api] = free_ports()?;
        let mut upstream = Self { parts: Vec::new(), folder, kubeconfig, ready_after: Duration::ZERO, api };
        upstream.start_etcd(binaries, etcd, peer)?;
        upstream.write_keys()?;
        let began = Instant::now();
        upstream.start_api(binaries, etcd, api)?;
        upstream.wait_for(api, "/readyz", b"ok")?;
        upstream.ready_after = began.elapsed();
        // The API server has made its certificate, with the authority behind it, by now.
        let authority = fs::read(upstream.path("certs/apiserver.crt"))?;
        fs::write(&upstream.kubeconfig, kubeconfig_text(api, &authority))?;
        Ok(upstream)
    }

    /// The processes that hold and serve objects: etcd and kube-apiserver.
    pub fn serving(&self) -> Vec<u32> {
        self.parts.iter().take(2).map(Child::id).collect()
    }

    /// Every process.
    pub fn processes(&self) -> Vec<u32> {
        self.parts.iter().map(Child::id).collect()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn spawn(&mut self, binaries: &Path, name: &str, arguments: &[String]) -> Result<()> {
        let log = fs::File::create(self.folder.path().join(format!("{name}.log")))?;
        let child = Command::new(binaries.join(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} from {}", binaries.display()))?;
        self.parts.push(child);
        Ok(())
    }

    fn start_etcd(&mut self, binaries: &Path, client: u16, peer: u16) -> Result<()> {
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let arguments = [
            format!("--data-dir={}", self.path("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        self.spawn(binaries, "etcd", &arguments)
    }

    fn write_keys(&self) -> Result<()> {
        let key = Command::new("openssl")
            .args(["genrsa", "2048"])
            .output()
            .context("openssl makes the tokens' key")?;
        fs::write(self.path("sa.key"), key.stdout)?;
        let signer = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=upstream-peer",
                "-days",
                "1",
            ])
            .args(["-keyout", &self.path("ca.key"), "-out", &self.path("ca.crt")])
            .output()
            .context("openssl makes the authority of clients")?;
        if !signer.status.success() {
            bail!("openssl: {}", String::from_utf8_lossy(&signer.stderr));
        }
        fs::write(self.path("tokens"), format!("{TOKEN},kubernetes-admin,admin,system:masters\n"))?;
        Ok(())
    }

    fn start_api(&mut self, binaries: &Path, etcd: u16, port: u16) -> Result<()> {
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", self.path("certs")),
            format!("--token-auth-file={}", self.path("tokens")),
            format!("--client-ca-file={}", self.path("ca.crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", self.path("sa.key")),
            format!("--service-account-signing-key-file={}", self.path("sa.key")),
        ];
        self.spawn(binaries, "kube-apiserver", &arguments)
    }

    fn start_clients(&mut self, binaries: &Path) -> Result<()> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let manager = [
            kubeconfig.clone(),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            format!("--service-account-private-key-file={}", self.path("sa.key")),
            format!("--root-ca-file={}", self.path("certs/apiserver.crt")),
            format!("--cluster-signing-cert-file={}", self.path("ca.crt")),
            format!("--cluster-signing-key-file={}", self.path("ca.key")),
            format!("--cert-dir={}", self.path("manager")),
            "--secure-port=0".to_owned(),
        ];
        self.spawn(binaries, "kube-controller-manager", &manager)?;
        let scheduler = [kubeconfig, "--leader-elect=false".to_owned(), "--secure-port=0".to_owned()];
        self.spawn(binaries, "kube-scheduler", &scheduler)
    }

    /// Asks until the answer holds `wanted`.
    fn wait_for(&mut self, port: u16, path: &str, wanted: &[u8]) -> Result<()> {
        let began = Instant::now();
        let url = format!("https://127.0.0.1:{port}{path}");
        loop {
            let answer = Command::new("curl")
                .args(["-skf", "-m", "2", "-H", &format!("Authorization: Bearer {TOKEN}"), &url])
                .output()
                .context("curl asks upstream")?;
            if answer.stdout.windows(wanted.len()).any(|part| part == wanted) {
                return Ok(());
            }
            if began.elapsed() > START_MAX {
                bail!("upstream does not answer {path}:\n{}", self.tail("kube-apiserver"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn tail(&self, name: &str) -> String {
        let mut text = String::new();
        // The log is only for the message of a failure that is reported anyway.
        let _ = fs::File::open(self.path(&format!("{name}.log")))
            .and_then(|mut log| log.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for part in self.parts.iter_mut().rev() {
            // Its data is thrown away, so it need not end in order.
            let _ = part.kill();
            let _ = part.wait();
        }
    }
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let ports = listeners.iter().map(|listener| listener.local_addr().map(|address| address.port()));
    let ports = ports.collect::<Result<Vec<_>, _>>()?;
    ports.try_into().map_err(|_| anyhow::anyhow!("as many ports as listeners"))
}

/// In YAML with a member a line, so that small readers manage too.
fn kubeconfig_text(port: u16, authority: &[u8]) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: upstream\nclusters:\n- name: upstream\n  cluster:\n    \
         server: https://127.0.0.1:{port}\n    certificate-authority-data: {authority}\nusers:\n- name: admin\n  \
         user:\n    token: {TOKEN}\ncontexts:\n- name: upstream\n  context:\n    cluster: upstream\n    user: admin\n"
    )
}
