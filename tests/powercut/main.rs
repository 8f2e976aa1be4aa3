//! What a power cut may not do: lose an acknowledged write, bring back a deleted object, give a resourceVersion twice or
//! go back, or keep the server from starting.
//!
//! The real server works on a small disk of its own; the writers' books are on another. `KONTIKI_CUTS` says how often the
//! power goes. The second test is the check of the check: on a kernel that only says it has synced, writes must be lost.

mod sick;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::{Method, StatusCode};
use serde_json::json;
use tests::api::{Access, Api};
use tests::book::{CONFIGMAPS, Ledger, Refusal};
use tests::cluster::{Dev, kontiki};
use tests::disk::Disk;
use tests::random::{Random, seed};

const CUTS: u64 = 8;
/// How often the power may go before a kernel that lies has to be found out.
const CUTS_OF_A_LIAR: u64 = 8;
const DISK_MEBIBYTES: u64 = 512;
/// The power goes between these many milliseconds after the writers began.
const LIFE_MS: (u64, u64) = (100, 900);
/// Recovery is tried every two seconds; a busy machine may be late.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    if let Some(reason) = Disk::unfit() {
        eprintln!("skipped: power cuts ({reason})");
        return;
    }
    let cuts = std::env::var("KONTIKI_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(CUTS);
    let seed = seed();
    eprintln!("seed {seed}, {cuts} power cuts");
    let written = rig(cuts, seed, None).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert!(written as u64 > cuts * 4, "only {written} writes were acknowledged: this proves little");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_does_not_sync_is_found_out() {
    if let Some(reason) = Disk::unfit() {
        eprintln!("skipped: power cuts without sync ({reason})");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let liar = build_liar(folder.path()).expect("a C compiler");
    match rig(CUTS_OF_A_LIAR, seed(), Some(&liar)).await {
        Ok(written) => panic!("{CUTS_OF_A_LIAR} cuts lost none of {written} writes that were never synced"),
        Err(error) => eprintln!("found out, as it should be: {error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_recovers() {
    if let Some(reason) = Disk::unfit() {
        eprintln!("skipped: a full disk ({reason})");
        return;
    }
    full_disk().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Cuts the power again and again; returns how many writes were acknowledged and kept.
async fn rig(cuts: u64, seed: u64, kernel: Option<&Path>) -> Result<usize> {
    let (mut disk, aside) = (Disk::make(DISK_MEBIBYTES)?, tempfile::tempdir()?);
    let mut random = Random(seed);
    let mut ledger = Ledger::new(random.draw());
    for cut in 0..cuts {
        let dev = start(&disk, aside.path(), kernel)?;
        let access = Access::read(&dev.kubeconfig)?;
        let mut api = access.connect().await?;
        ledger.check(&mut api).await.with_context(|| format!("after cut {cut}"))?;
        let shift = ledger.begin(&access, Refusal::Stop);
        let life = LIFE_MS.0 + random.below(LIFE_MS.1 - LIFE_MS.0);
        tokio::time::sleep(Duration::from_millis(life)).await;
        disk.cut()?;
        dev.kill()?;
        let written = ledger.end(shift).await?;
        eprintln!("cut {cut}: after {life} ms and {written} acknowledged writes");
        disk.unmount()?;
        disk.mount()?;
    }
    let dev = start(&disk, aside.path(), kernel)?;
    let mut api = Access::read(&dev.kubeconfig)?.connect().await?;
    ledger.check(&mut api).await.context("after the last cut")?;
    drop(dev);
    disk.unmount()?;
    Ok(ledger.acknowledged())
}

/// Fills the disk under a running server: writes are refused with a Status, reads go on, and writes go on when there is
/// space again.
async fn full_disk() -> Result<()> {
    let (mut disk, aside) = (Disk::make(256)?, tempfile::tempdir()?);
    let dev = start(&disk, aside.path(), None)?;
    let mut api = Access::read(&dev.kubeconfig)?.connect().await?;
    let (status, answer) = create(&mut api, "before", 10).await?;
    if status != StatusCode::CREATED {
        bail!("before: {status} {answer}");
    }
    let filler = disk.root().join("filler");
    fill(&filler)?;
    let mut acknowledged = 1_usize;
    let refused = loop {
        let (status, answer) = create(&mut api, &format!("big-{acknowledged}"), 500_000).await?;
        if status != StatusCode::CREATED {
            break (status, answer);
        }
        acknowledged += 1;
        if acknowledged > 200 {
            bail!("100 MB were written to a full disk");
        }
    };
    eprintln!("{acknowledged} objects were written, then: {} {}", refused.0, refused.1);
    if !refused.0.is_server_error() || refused.1["kind"] != "Status" {
        bail!("a full disk is told as {} {}", refused.0, refused.1);
    }
    let (status, answer) = api.send(Method::GET, &format!("{CONFIGMAPS}/before"), None).await?;
    if status != StatusCode::OK {
        bail!("reads do not go on: {status} {answer}");
    }
    std::fs::remove_file(filler)?;
    let began = std::time::Instant::now();
    loop {
        let (status, answer) = create(&mut api, "after", 10).await?;
        if status == StatusCode::CREATED || status == StatusCode::CONFLICT {
            break;
        }
        if began.elapsed() > RECOVERY_MAX {
            bail!("writes do not go on: {status} {answer}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let count = count(&mut api).await?;
    drop(dev);
    let dev = start(&disk, aside.path(), None)?;
    let again = self::count(&mut Access::read(&dev.kubeconfig)?.connect().await?).await?;
    drop(dev);
    disk.unmount()?;
    if count < acknowledged + 1 || again != count {
        bail!(
            "{acknowledged} objects and one more were acknowledged, {count} were there, and {again} after a restart"
        );
    }
    Ok(())
}

async fn create(api: &mut Api, name: &str, bytes: usize) -> Result<(StatusCode, serde_json::Value)> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"c": "x".repeat(bytes)}});
    api.send(Method::POST, CONFIGMAPS, Some(&object)).await
}

/// How many ConfigMaps this test has made.
async fn count(api: &mut Api) -> Result<usize> {
    let (_, list) = api.send(Method::GET, CONFIGMAPS, None).await?;
    let names = list["items"].as_array().context("a list has items")?.iter();
    let names = names.filter_map(|item| item["metadata"]["name"].as_str());
    Ok(names.filter(|name| *name != "kube-root-ca.crt").count())
}

/// Writes until there is no space left.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = File::create(path)?;
    for size in [1 << 20, 4096] {
        let block = vec![b'f'; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

fn start(disk: &Disk, aside: &Path, kernel: Option<&Path>) -> Result<Dev> {
    let log = File::options().create(true).append(true).open(aside.join("log"))?;
    let (data, kubeconfig) = (disk.root().join("data"), aside.join("kubeconfig"));
    let paths = [data.to_string_lossy(), kubeconfig.to_string_lossy()];
    let command = match kernel {
        None => Command::new(kontiki()?),
        Some(liar) => {
            let mut command = Command::new(liar);
            command.arg(kontiki()?);
            command
        }
    };
    let dev = Dev::of(command, &["--data-dir", &paths[0], "--kubeconfig", &paths[1]], Stdio::from(log));
    dev.with_context(|| std::fs::read_to_string(aside.join("log")).unwrap_or_default())
}

fn build_liar(folder: &Path) -> Result<PathBuf> {
    let (source, program) = (folder.join("liar.c"), folder.join("liar"));
    std::fs::write(&source, include_str!("liar.c"))?;
    let built = Command::new("cc").arg("-o").arg(&program).arg(&source).status().context("running cc")?;
    if !built.success() {
        bail!("cc: {built}");
    }
    Ok(program)
}
