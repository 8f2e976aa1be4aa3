//! Clients as their users have them, unmodified, against a cluster that the test starts: client-go, controller-runtime,
//! helm 3 and 4, the official Python and JavaScript clients, and kube-rs.
//!
//! Each program stands in a folder of its own and prints `ok NAME` for what it has compared; a test fails with the first
//! difference that a program names. `KONTIKI_CLIENTS_ON=upstream` plays the same on upstream's control plane (see
//! `tests::upstream`): a check that fails there is wrong itself. What a program needs comes by `.ci/deps clients`; a
//! client that is not there is skipped, and a line says so. `CHECK=pager` runs one check of client-go.

mod helm;
mod https;
mod kube_rs;
mod kubelet;
mod program;
mod target;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use tests::cluster::cache;

use crate::helm::Helm;
use crate::target::Target;

#[test]
fn client_go() -> Result<()> {
    let Some(binary) = go_program("client-go")? else { return Ok(()) };
    let mut target = Target::start()?;
    let mut command = Command::new(binary);
    if !target.restarts() {
        // Upstream forgets where watches were when it starts anew, and compacts by the clock alone.
        command.arg("-ours=false");
    }
    program::run("client-go", &mut command, &mut target)
}

#[test]
fn controller_runtime() -> Result<()> {
    let Some(binary) = go_program("controller-runtime")? else { return Ok(()) };
    program::run("controller-runtime", &mut Command::new(binary), &mut Target::start()?)
}

#[test]
fn helm_3() -> Result<()> {
    helm("helm-3", Helm::Three)
}

#[test]
fn helm_4() -> Result<()> {
    helm("helm-4", Helm::Four)
}

#[test]
fn kube_rs() -> Result<()> {
    let mut target = Target::start()?;
    runtime()?.block_on(kube_rs::play(&mut target))
}

#[test]
fn python() -> Result<()> {
    let Some(packages) = fetched("python")? else { return Ok(()) };
    let mut command = Command::new("python3");
    command.arg(folder("python").join("check.py")).env("PYTHONPATH", packages);
    program::run("python", &mut command, &mut Target::start()?)
}

#[test]
fn javascript() -> Result<()> {
    let Some(packages) = fetched("javascript")? else { return Ok(()) };
    // A module looks for others beside itself only.
    let beside = tempfile::tempdir()?;
    std::fs::copy(folder("javascript").join("check.mjs"), beside.path().join("check.mjs"))?;
    std::os::unix::fs::symlink(packages.join("node_modules"), beside.path().join("node_modules"))?;
    let mut command = Command::new("node");
    command.arg(beside.path().join("check.mjs"));
    program::run("javascript", &mut command, &mut Target::start()?)
}

fn helm(name: &str, helm: Helm) -> Result<()> {
    let Some(binary) = fetched(name)? else { return Ok(()) };
    runtime()?.block_on(helm::play(&binary, helm, &Target::start()?))
}

fn folder(client: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(client)
}

/// What `.ci/deps clients` has put into the cache under this name.
fn fetched(name: &str) -> Result<Option<PathBuf>> {
    let path = cache()?.join("clients").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {name} was not tested: {} is missing (.ci/deps clients)", path.display());
        return Ok(None);
    }
    Ok(Some(path))
}

/// Builds a program of this folder; what it is built with stays in the cache.
fn go_program(name: &str) -> Result<Option<PathBuf>> {
    // Both are made of the same modules: the second finds what the first has compiled.
    static BUILDING: Mutex<()> = Mutex::new(());
    let Some(go) = fetched("go")? else { return Ok(None) };
    let cache = cache()?;
    let _one_at_a_time = BUILDING.lock().map_err(|_| anyhow!("the other program's build panicked"))?;
    let binary = cache.join("clients").join(format!("program-{name}"));
    let built = Command::new(go)
        .args(["build", "-mod=readonly", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(folder(name))
        .env("GOMODCACHE", cache.join("go/mod"))
        .env("GOCACHE", cache.join("go/build"))
        .env("GOTOOLCHAIN", "local")
        .status()
        .context("go build")?;
    if !built.success() {
        bail!("tests/clients/{name} does not build");
    }
    Ok(Some(binary))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
