//! What `kill -9` may not do: lose an acknowledged write, bring back a deleted object, give a resourceVersion twice or
//! go back, restart a container, or leave a Secret's value readable anywhere.
//!
//! Writers keep their own book of what was acknowledged. A write whose answer the kill cut off may have happened or not,
//! and nothing else. `KONTIKI_KILLS` says how often; continuous integration kills twenty times.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};
use tests::api::{Access, Api};
use tests::book::{Ledger, Refusal};
use tests::cluster::Dev;
use tests::local::Local;
use tests::random::{Random, seed};

const KILLS: u64 = 20;
/// Pods that must not notice, and how long they may take to become ready.
const PODS: usize = 3;
const READY_MAX: Duration = Duration::from_secs(60);
/// A kill comes between these many milliseconds after the writers began.
const LIFE_MS: (u64, u64) = (100, 900);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let (kills, seed) = (kills(KILLS), seed());
    eprintln!("seed {seed}, {kills} kills");
    rig(kills, seed).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
}

async fn rig(kills: u64, seed: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut random = Random(seed);
    let canary = format!("canary-{:016x}{:016x}", random.draw(), random.draw());
    let mut ledger = Ledger::new(random.draw());
    for round in 0..kills {
        let dev = start(folder.path())?;
        let access = Access::read(&dev.kubeconfig)?;
        let mut api = access.connect().await?;
        ledger.check(&mut api).await.with_context(|| format!("after kill {round}"))?;
        secret(&mut api, &canary, round == 0).await?;
        let shift = ledger.begin(&access, Refusal::Breach);
        let life = LIFE_MS.0 + random.below(LIFE_MS.1 - LIFE_MS.0);
        tokio::time::sleep(Duration::from_millis(life)).await;
        dev.kill()?;
        let written = ledger.end(shift).await?;
        eprintln!("round {round}: killed after {life} ms and {written} acknowledged writes");
    }
    let dev = start(folder.path())?;
    let mut api = Access::read(&dev.kubeconfig)?.connect().await?;
    ledger.check(&mut api).await.context("after the last kill")?;
    secret(&mut api, &canary, false).await?;
    drop(dev);
    if ledger.acknowledged() < usize::try_from(kills * 4)? {
        bail!("only {} writes were acknowledged: this proves little", ledger.acknowledged());
    }
    let control = ledger.some_content().context("no ConfigMap is left to look for")?;
    find_no_secret(folder.path(), &canary, control)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_outlive_their_node_agent() {
    if let Some(reason) = Local::unfit() {
        eprintln!("skipped: containers outlive their node agent ({reason})");
        return;
    }
    survive(kills(KILLS)).await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Kills a node's process again and again: its containers are the same ones afterwards, and none was restarted.
async fn survive(kills: u64) -> Result<()> {
    let local = Local::create("kill9")?;
    let pods = "/api/v1/namespaces/default/pods";
    let mut api = Access::read(&local.kubeconfig)?.connect().await?;
    let mut random = Random(seed());
    let canary = format!("canary-{:016x}{:016x}", random.draw(), random.draw());
    let control = format!("control-{:016x}", random.draw());
    secret(&mut api, &canary, true).await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "control"}, "data": {"v": control}});
    let (status, answer) =
        api.send(Method::POST, "/api/v1/namespaces/default/configmaps", Some(&map)).await?;
    if !status.is_success() {
        bail!("the ConfigMap: {status} {answer}");
    }
    for number in 0..PODS {
        let container = json!({"name": "main", "image": "busybox:1.36", "volumeMounts":
            [{"name": "secret", "mountPath": "/secret"}, {"name": "control", "mountPath": "/control"}],
            "command": ["sh", "-c", "grep -q canary- /secret/v && grep -q control- /control/v && exec sleep 3600"]});
        let volumes = json!([{"name": "secret", "secret": {"secretName": "canary"}},
            {"name": "control", "configMap": {"name": "control"}}]);
        let spec = json!({"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{number}")}, "spec": spec});
        let (status, answer) = api.send(Method::POST, pods, Some(&pod)).await?;
        if !status.is_success() {
            bail!("pod {number}: {status} {answer}");
        }
    }
    let before = running(&mut api, pods).await?;
    for round in 0..kills {
        local.kill()?;
        local.start(&[])?;
        let mut api = Access::read(&local.kubeconfig)?.connect().await?;
        // Long enough for an agent that did not recognise its containers to replace them.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = running(&mut api, pods).await?;
        if after != before {
            bail!("kill {round}: containers were {before:?} and are {after:?}");
        }
    }
    find_no_secret(&local.folder(), &canary, &control)
}

/// Container ids and restart counts, once every container is ready.
async fn running(api: &mut Api, pods: &str) -> Result<Vec<(String, u64)>> {
    let began = std::time::Instant::now();
    while began.elapsed() < READY_MAX {
        let (_, list) = api.send(Method::GET, pods, None).await?;
        let statuses: Vec<&Value> = list["items"]
            .as_array()
            .context("a list has items")?
            .iter()
            .map(|pod| &pod["status"]["containerStatuses"][0])
            .filter(|status| status["ready"] == true)
            .collect();
        if statuses.len() == PODS {
            let id = |status: &Value| status["containerID"].as_str().unwrap_or_default().to_owned();
            let restarts = |status: &Value| status["restartCount"].as_u64().unwrap_or_default();
            return Ok(statuses.into_iter().map(|status| (id(status), restarts(status))).collect());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("the pods are not ready after {READY_MAX:?}")
}

fn kills(otherwise: u64) -> u64 {
    std::env::var("KONTIKI_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(otherwise)
}

fn start(folder: &Path) -> Result<Dev> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let (data, kubeconfig) = (folder.join("data"), folder.join("kubeconfig"));
    let paths = [data.to_string_lossy(), kubeconfig.to_string_lossy()];
    Dev::logging(&["-vv", "--data-dir", &paths[0], "--kubeconfig", &paths[1]], Stdio::from(log))
}

/// Writes the canary once, and reads it back from then on.
async fn secret(api: &mut Api, canary: &str, create: bool) -> Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(canary);
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "canary"}, "data": {"v": encoded}});
    let collection = "/api/v1/namespaces/default/secrets";
    let (status, answer) = if create {
        api.send(Method::POST, collection, Some(&secret)).await?
    } else {
        api.send(Method::GET, &format!("{collection}/canary"), None).await?
    };
    if !status.is_success() || answer["data"]["v"] != encoded.as_str() {
        bail!("the Secret: {status} {answer}");
    }
    Ok(())
}

/// Looks for the canary, as it is and as base64, in every file; a ConfigMap's content is found, so the search works.
fn find_no_secret(folder: &Path, canary: &str, control: &str) -> Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(canary);
    let encoded = &encoded[..encoded.len() - 1];
    let mut control_found = false;
    for file in files(folder)? {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for needle in [canary, encoded] {
            if contains(&bytes, needle) {
                bail!("the Secret's value is in {}", file.display());
            }
        }
        control_found |= contains(&bytes, control);
    }
    if !control_found {
        bail!("{control} is in no file: this search would not find a Secret either");
    }
    Ok(())
}

fn contains(bytes: &[u8], needle: &str) -> bool {
    let pattern = regex::bytes::Regex::new(&regex::escape(needle)).expect("an escaped text is a pattern");
    pattern.is_match(bytes)
}

/// Files of the folder's own file system: what is mounted below it, such as a pod's tmpfs, is not on the disk.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let device = std::fs::symlink_metadata(folder)?.dev();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // A node that works takes files away meanwhile.
        let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() && kind.dev() == device {
            found.extend(files(&path)?);
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}
