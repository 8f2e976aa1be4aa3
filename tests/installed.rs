//! What an installed server has that a throw-away cluster has not: an administrator whose rights are a role's and can be
//! taken away, and `kube-public/cluster-info`, signed by bootstrap tokens, which let somebody new in.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tests::cluster::{Dev, kontiki, kubectl};

/// Nothing here takes as long: whatever does has hung.
const PATIENCE: Duration = Duration::from_secs(30);

struct Installed {
    folder: tempfile::TempDir,
    server: Option<Child>,
}

impl Installed {
    fn start() -> Result<Self> {
        let mut installed = Self { folder: tempfile::tempdir()?, server: None };
        installed.run()?;
        Ok(installed)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn run(&mut self) -> Result<()> {
        let kubeconfig = self.kubeconfig();
        // Written when the API is ready.
        let _ = std::fs::remove_file(&kubeconfig);
        let log = std::fs::File::create(self.folder.path().join("log"))?;
        let mut command = Command::new(kontiki()?);
        command
            .args(["server", "--no-agent", "--port", "0", "--peer-port", "0"])
            .args(["--bind", "127.0.0.1", "--advertise-address", "127.0.0.1"])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.server = Some(command.spawn()?);
        until("the kubeconfig is written", || Ok(kubeconfig.exists()))
    }

    fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            Command::new("kill").arg(server.id().to_string()).status()?;
            server.wait()?;
        }
        Ok(())
    }

    /// Runs kubectl as the administrator.
    fn admin(&self, arguments: &[&str]) -> Result<String> {
        run(&self.folder, &self.kubeconfig(), arguments)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // The test has its verdict.
        let _ = self.stop();
    }
}

fn run(scratch: &tempfile::TempDir, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let program = kubectl("1.36", scratch.path())?.join("kubectl");
    let output = Command::new(program).arg("--kubeconfig").arg(kubeconfig).args(arguments).output()?;
    if !output.status.success() {
        bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        if began.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn who(json: &str) -> Result<Value> {
    Ok(serde_json::from_str::<Value>(json)?["status"]["userInfo"].take())
}

const WHOAMI: [&str; 4] = ["auth", "whoami", "-o", "json"];

#[test]
fn the_administrator_has_rights_by_a_role() -> Result<()> {
    let dev = Dev::start(&[])?;
    let scratch = tempfile::tempdir()?;
    let privileged = who(&run(&scratch, &dev.kubeconfig, &WHOAMI)?)?;
    assert_eq!(
        privileged["groups"],
        json!(["system:masters", "system:authenticated"]),
        "made to be thrown away"
    );

    let mut installed = Installed::start()?;
    let admin = who(&installed.admin(&WHOAMI)?)?;
    assert_eq!(admin["username"], "kubernetes-admin");
    assert_eq!(admin["groups"], json!(["kontiki:cluster-admins", "system:authenticated"]));
    installed.admin(&["get", "nodes,secrets", "-A"])?;

    installed.admin(&["delete", "clusterrolebinding", "kontiki:cluster-admins"])?;
    let refused = installed.admin(&["get", "nodes"]).expect_err("the rights are gone").to_string();
    assert!(refused.contains("(Forbidden): nodes is forbidden: User \"kubernetes-admin\""), "{refused}");

    installed.stop()?;
    installed.run()?;
    installed.admin(&["get", "nodes"]).context("a start gives them back").map(drop)
}

#[test]
fn a_bootstrap_token_lets_somebody_new_in() -> Result<()> {
    let installed = Installed::start()?;
    let token = |name: &str, more: &[&str]| {
        let mut arguments: Vec<String> =
            ["create", "secret", "generic", "-n", "kube-system", "--type=bootstrap.kubernetes.io/token"]
                .map(str::to_owned)
                .into();
        arguments.push(format!("bootstrap-token-{name}"));
        arguments.push(format!("--from-literal=token-id={name}"));
        let fields = ["token-secret=0123456789abcdef", "usage-bootstrap-signing=true"];
        arguments.extend(fields.iter().chain(more).map(|field| format!("--from-literal={field}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        installed.admin(&arguments)
    };
    token("abcdef", &["usage-bootstrap-authentication=true", "auth-extra-groups=system:bootstrappers:team"])?;
    let info = || -> Result<Value> {
        let text =
            installed.admin(&["get", "configmap", "cluster-info", "-n", "kube-public", "-o", "json"])?;
        Ok(serde_json::from_str::<Value>(&text)?["data"].take())
    };
    until("cluster-info is signed", || Ok(info()?["jws-kubeconfig-abcdef"].is_string()))?;

    let kubeconfig = info()?["kubeconfig"].as_str().context("a kubeconfig")?.to_owned();
    let trusted = installed.folder.path().join("trusted");
    let named = kubeconfig
        .replace("name: \"\"", "name: k")
        .replace("contexts: null", "contexts: [{name: c, context: {cluster: k}}]")
        .replace("current-context: \"\"", "current-context: c");
    std::fs::write(&trusted, named)?;
    let raw = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    let read = installed.admin(&["get", "--raw", raw, "--as", "system:anonymous"])?;
    assert!(read.contains("jws-kubeconfig-abcdef"), "anybody may read it: {read}");
    let shown = [&WHOAMI[..], &["--token", "abcdef.0123456789abcdef"]].concat();
    let user = who(&run(&installed.folder, &trusted, &shown)?)?;
    assert_eq!(user["username"], "system:bootstrap:abcdef");
    let groups = json!(["system:bootstrappers", "system:bootstrappers:team", "system:authenticated"]);
    assert_eq!(user["groups"], groups);

    token("fedcba", &["expiration=2020-01-01T00:00:00Z"])?;
    until("the token whose time is over is deleted", || {
        let names = installed.admin(&["get", "secrets", "-n", "kube-system", "-o", "name"])?;
        Ok(!names.contains("bootstrap-token-fedcba"))
    })?;
    installed.admin(&["delete", "secret", "bootstrap-token-abcdef", "-n", "kube-system"])?;
    until("its signature goes with it", || Ok(info()?["jws-kubeconfig-abcdef"].is_null()))?;
    let refused = run(&installed.folder, &trusted, &shown).expect_err("nobody knows it now").to_string();
    assert!(refused.contains("Unauthorized"), "{refused}");
    Ok(())
}
