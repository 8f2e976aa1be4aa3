//! How long from nothing to an API that answers, and to a node that is Ready?

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use crate::client::{Call, Target};
use crate::process::Kontiki;
use crate::table::Table;
use crate::{Options, kubeconfig};

/// Starts; the median is reported.
const RUNS: usize = 5;
/// The cluster the node's row makes and deletes.
const CLUSTER: &str = "kontiki-bench";

/// `kontiki dev`: exec until /readyz answers.
pub(super) async fn dev_ready(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let mut seconds = Vec::new();
    for _ in 0..if options.quick { 1 } else { RUNS } {
        let kontiki = Kontiki::dev(&options.kontiki)?;
        let mut connection = Target::new(&kubeconfig::read(&kontiki.kubeconfig)?)?.connect().await?;
        let answer = connection.send(&Call::get("/readyz")).await?;
        ensure!(answer.head == b"ok", "/readyz says {}", String::from_utf8_lossy(&answer.head));
        seconds.push(kontiki.began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    table.value("dev_ready", seconds[seconds.len() / 2], "s");
    Ok(())
}

/// `kontiki local create`: exec until it says that the node is Ready.
pub(super) fn node_ready(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    if let Some(why) = unfit() {
        table.skipped("node_ready", why);
        return Ok(());
    }
    let run = |verb: &str| {
        let mut command = Command::new(&options.kontiki);
        command
            .args(["local", verb, CLUSTER])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.output()
    };
    let began = Instant::now();
    let created = run("create")?;
    let seconds = began.elapsed().as_secs_f64();
    let deleted = run("delete")?;
    ensure!(created.status.success(), "local create: {}", String::from_utf8_lossy(&created.stderr).trim());
    ensure!(deleted.status.success(), "local delete: {}", String::from_utf8_lossy(&deleted.stderr).trim());
    table.value("node_ready", seconds, "s");
    Ok(())
}

fn unfit() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("a node needs root");
    }
    let there = |name: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
            || Path::new("/usr/sbin").join(name).exists()
    };
    ["containerd", "runc"].iter().any(|name| !there(name)).then_some("containerd or runc is missing")
}
