//! A disk that is slow, and one that fails to sync for a while, under the real server.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::api::{Access, Api};
use tests::book::{Ledger, Refusal};
use tests::cluster::{Dev, kontiki};
use tests::random::seed;

use super::RECOVERY_MAX;

/// Where what is not in the writers' books is written.
const ASIDE: &str = "/api/v1/namespaces/kube-public/configmaps";
/// How often the disk fails.
const FAILURES: u64 = 3;
/// How long the writers have a healthy disk.
const HEALTHY: Duration = Duration::from_millis(500);
/// How long the disk fails at most: the server tries to open its log every two seconds, and some attempts must fail.
const FAILING: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_to_sync_loses_nothing_acknowledged() {
    failing().await.unwrap_or_else(|error| panic!("{error:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_do_not_wait_for_a_slow_disk() {
    slow().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Where the server works, and what its disk is told to do.
struct Sick {
    folder: tempfile::TempDir,
    shim: PathBuf,
}

impl Sick {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (source, shim) = (folder.path().join("sick.c"), folder.path().join("sick.so"));
        std::fs::write(&source, include_str!("sick.c"))?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl");
        let built = cc.status().context("running cc")?;
        if !built.success() {
            bail!("cc: {built}");
        }
        Ok(Self { folder, shim })
    }

    fn is(&self, what: &str) -> Result<()> {
        // Replaced as a whole: the server reads it at every sync.
        let (new, file) = (self.path("disk.new"), self.path("disk"));
        std::fs::write(&new, what)?;
        Ok(std::fs::rename(new, file)?)
    }

    fn start(&self) -> Result<Dev> {
        let mut command = Command::new(kontiki()?);
        command.env("LD_PRELOAD", &self.shim).env("SICK_DISK", self.path("disk"));
        let (data, kubeconfig) = (self.path("data"), self.path("kubeconfig"));
        let log = std::fs::File::options().create(true).append(true).open(self.path("log"))?;
        let paths = [data.to_string_lossy(), kubeconfig.to_string_lossy()];
        Dev::of(command, &["--data-dir", &paths[0], "--kubeconfig", &paths[1]], Stdio::from(log))
            .with_context(|| self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder the log lies in, which a copy replaces.
    fn log_folder(&self) -> Result<u64> {
        let found = find(&self.path("data"), "raft")?.context("there is no log")?;
        Ok(std::fs::metadata(found)?.ino())
    }
}

fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with(name) {
            return Ok(Some(path));
        }
        if path.is_dir()
            && let Some(found) = find(&path, name)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Syncs fail while writers write: what is acknowledged before and after is there, reads go on meanwhile, and the files
/// whose syncs failed are replaced.
async fn failing() -> Result<()> {
    let sick = Sick::new()?;
    let mut ledger = Ledger::new(seed());
    let mut dev = sick.start()?;
    for failure in 0..FAILURES {
        let access = Access::read(&dev.kubeconfig)?;
        let mut api = access.connect().await?;
        ledger.check(&mut api).await.with_context(|| format!("before failure {failure}"))?;
        let before = sick.log_folder()?;
        let shift = ledger.begin(&access, Refusal::Stop);
        tokio::time::sleep(HEALTHY).await;
        sick.is("fail")?;
        let written = ledger.end(shift).await?;
        let (status, answer) = create(&mut api, &format!("refused-{failure}")).await?;
        if !status.is_server_error() || answer["kind"] != "Status" {
            bail!("a failing disk is told as {status} {answer}");
        }
        eprintln!("failure {failure}: {written} acknowledged writes, then: {status} {answer}");
        let (status, answer) = api.send(Method::GET, ASIDE, None).await?;
        if status != StatusCode::OK {
            bail!("reads do not go on: {status} {answer}");
        }
        tokio::time::sleep(FAILING * u32::try_from(failure)? / u32::try_from(FAILURES - 1)?).await;
        sick.is("healthy")?;
        recovered(&mut api, &format!("after-{failure}")).await.with_context(|| sick.log())?;
        ledger.check(&mut api).await.with_context(|| format!("after failure {failure}"))?;
        if sick.log_folder()? == before {
            bail!("the log goes on in files whose sync has failed\n{}", sick.log());
        }
        dev.kill()?;
        dev = sick.start()?;
    }
    let mut api = Access::read(&dev.kubeconfig)?.connect().await?;
    ledger.check(&mut api).await.context("after the last start")
}

async fn create(api: &mut Api, name: &str) -> Result<(StatusCode, Value)> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    api.send(Method::POST, ASIDE, Some(&object)).await
}

async fn recovered(api: &mut Api, name: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let (status, answer) = create(api, name).await?;
        if status == StatusCode::CREATED || status == StatusCode::CONFLICT {
            return Ok(());
        }
        if began.elapsed() > RECOVERY_MAX {
            bail!("writes do not go on: {status} {answer}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A write waits for its sync; nobody who reads does.
async fn slow() -> Result<()> {
    let sick = Sick::new()?;
    let dev = sick.start()?;
    let access = Access::read(&dev.kubeconfig)?;
    let (mut writer, mut reader) = (access.connect().await?, access.connect().await?);
    create(&mut writer, "before").await?;
    sick.is("slow 1000000")?;
    let writing = tokio::spawn(async move { create(&mut writer, "slowly").await });
    let mut reads = 0;
    while !writing.is_finished() {
        let (status, answer) = reader.send(Method::GET, &format!("{ASIDE}/before"), None).await?;
        if status != StatusCode::OK {
            bail!("reads do not go on: {status} {answer}");
        }
        reads += 1;
    }
    let (status, answer) = writing.await??;
    eprintln!("{reads} reads while a write waited for the disk");
    if status != StatusCode::CREATED {
        bail!("a slow disk is told as {status} {answer}");
    }
    if reads < 10 {
        bail!("only {reads} reads while a write waited a second for the disk");
    }
    Ok(())
}
