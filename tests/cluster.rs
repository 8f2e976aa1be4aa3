//! Three servers are one cluster: what one acknowledges all show, and any one of them may go.
//!
//! The servers are real processes on hosts of their own, whose cables can be pulled. The client keeps its own book: a
//! write whose answer was lost may have happened or not, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::api::{Access, Api};
use tests::book::CONFIGMAPS;
use tests::cluster::kontiki;
use tests::hosts::Hosts;

/// Nothing here takes as long: whatever does has hung.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_are_one_cluster() {
    if let Some(reason) = Hosts::unfit() {
        eprintln!("skipped: three servers are one cluster ({reason})");
        return;
    }
    story().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn story() -> Result<()> {
    let mut cluster = Cluster::found()?;
    cluster.ready(0).await?;
    for host in [1, 2] {
        let began = Instant::now();
        cluster.start(host)?;
        cluster.ready(host).await?;
        eprintln!("server {host} joined after {:?}", began.elapsed());
    }
    everything_is_everywhere(&cluster).await?;
    endpoints_name_all(&cluster).await?;
    let load = Load::begin(&cluster).await?;
    leader_is_killed(&mut cluster, &load).await?;
    leader_is_cut_off(&cluster, &load).await?;
    leader_stops(&mut cluster, &load).await?;
    load.end(&cluster).await?;
    strangers_stay_out(&mut cluster)?;
    lost_server_is_replaced(&mut cluster).await?;
    leader_is_removed(&mut cluster).await
}

/// Written on any, read on any other at once.
async fn everything_is_everywhere(cluster: &Cluster) -> Result<()> {
    for round in 0..30 {
        let (writer, reader) = (round % 3, (round + 1 + round / 3 % 2) % 3);
        let name = format!("everywhere-{round}");
        create(&mut cluster.api(writer).await?, &name).await?;
        let path = format!("{CONFIGMAPS}/{name}");
        let (status, answer) = cluster.api(reader).await?.send(Method::GET, &path, None).await?;
        if status != StatusCode::OK {
            bail!("{name}, written on {writer}, read on {reader}: {status} {answer}");
        }
    }
    Ok(())
}

async fn endpoints_name_all(cluster: &Cluster) -> Result<()> {
    endpoints_name(cluster, 2, &[0, 1, 2]).await
}

/// Asks one server for the addresses of the `kubernetes` Service, in both kinds, until they are those.
async fn endpoints_name(cluster: &Cluster, asked: usize, hosts: &[usize]) -> Result<()> {
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let endpoints = "/api/v1/namespaces/default/endpoints/kubernetes";
    let expected: Vec<String> = hosts.iter().map(|host| Hosts::address(*host)).collect();
    until(&format!("the kubernetes endpoints name {hosts:?}"), async || {
        let mut api = cluster.api(asked).await?;
        let (_, slice) = api.send(Method::GET, slices, None).await?;
        let (_, endpoints) = api.send(Method::GET, endpoints, None).await?;
        let addresses = endpoints["subsets"][0]["addresses"].as_array().context("addresses")?;
        let addresses: Vec<&str> = addresses.iter().filter_map(|address| address["ip"].as_str()).collect();
        Ok(slice["endpoints"][0]["addresses"] == json!(expected) && addresses == expected)
    })
    .await
}

/// One that is gone leaves the endpoints by itself, and the cluster when somebody says so.
async fn lost_server_is_replaced(cluster: &mut Cluster) -> Result<()> {
    let leader = cluster.leader(&[0, 1, 2]).await?;
    // Not the first: it is the one that others join at.
    let lost = if leader == 2 { 1 } else { 2 };
    let kept: Vec<usize> = others(lost);
    cluster.kill(lost)?;
    endpoints_name(cluster, kept[0], &kept).await?;
    let (listed, code) = cluster.member(leader, &["list", "-o", "json"])?;
    let listed: Value = serde_json::from_str(&listed).with_context(|| format!("{code:?}: {listed}"))?;
    let silent = listed["members"]
        .as_array()
        .context("members")?
        .iter()
        .filter(|member| member["silentSeconds"].as_u64().is_some_and(|seconds| seconds > 10));
    let silent: Vec<&str> = silent.filter_map(|member| member["address"].as_str()).collect();
    anyhow::ensure!(
        silent == [format!("{}:6444", Hosts::address(lost))],
        "silent are {silent:?} of {listed}"
    );
    let (said, code) = cluster.member(kept[0], &["remove", &Hosts::address(kept[1])])?;
    anyhow::ensure!(code == Some(7) && said.contains("no quorum"), "one is needed: {code:?} and {said}");
    cluster.start(3)?;
    let (said, code) =
        cluster.member(kept[0], &["replace", &Hosts::address(lost), "--with", &Hosts::address(3)])?;
    anyhow::ensure!(code == Some(0) && said.contains("3 are left"), "replacing: {code:?} and {said}");
    cluster.ready(3).await?;
    create(&mut cluster.api(3).await?, "through-the-new-server").await?;
    endpoints_name(cluster, 3, &[kept[0], kept[1], 3]).await
}

/// Any server may be asked, also for the one that leads.
async fn leader_is_removed(cluster: &mut Cluster) -> Result<()> {
    let members: Vec<usize> =
        [0, 1, 2, 3].into_iter().filter(|host| cluster.servers[*host].is_some()).collect();
    let leader = cluster.leader(&members).await?;
    let left: Vec<usize> = members.into_iter().filter(|host| *host != leader).collect();
    let (said, code) = cluster.member(left[0], &["remove", &Hosts::address(leader)])?;
    anyhow::ensure!(code == Some(0), "removing the leader: {code:?} and {said}");
    let new = cluster.leader(&left).await?;
    create(&mut cluster.api(new).await?, "without-the-old-leader").await?;
    endpoints_name(cluster, new, &left).await?;
    until("the removed server is not ready", async || {
        let ready = cluster.api(leader).await?.fetch(Method::GET, "/readyz", None).await?;
        Ok(ready.0 != StatusCode::OK)
    })
    .await
}

/// kill -9: the others go on, and the killed one comes back and knows everything.
async fn leader_is_killed(cluster: &mut Cluster, load: &Load) -> Result<()> {
    let leader = cluster.leader(&[0, 1, 2]).await?;
    load.clear_gap();
    cluster.kill(leader)?;
    let new = cluster.leader(&others(leader)).await?;
    load.has_progress().await?;
    eprintln!("leader {leader} killed: {new} leads, writes stood still for {:?}", load.gap());
    let written = load.written();
    cluster.start(leader)?;
    cluster.ready(leader).await?;
    let (status, list) = cluster.api(leader).await?.send(Method::GET, CONFIGMAPS, None).await?;
    let seen = names(&list);
    let missing: Vec<&String> = written.difference(&seen).collect();
    if status != StatusCode::OK || !missing.is_empty() {
        bail!("server {leader}, started again, lacks {missing:?} ({status})");
    }
    Ok(())
}

/// No cable: the others elect another, and the old leader neither takes writes nor shows what may be old.
async fn leader_is_cut_off(cluster: &Cluster, load: &Load) -> Result<()> {
    let leader = cluster.leader(&[0, 1, 2]).await?;
    load.clear_gap();
    cluster.hosts.cut(leader)?;
    let new = cluster.leader(&others(leader)).await?;
    load.has_progress().await?;
    eprintln!("leader {leader} cut off: {new} leads, writes stood still for {:?}", load.gap());
    create(&mut cluster.api(new).await?, "after-the-cut").await?;
    until("the server without a cable is not ready", async || {
        let ready = cluster.api(leader).await?.fetch(Method::GET, "/readyz", None).await?;
        Ok(ready.0 != StatusCode::OK)
    })
    .await?;
    let mut alone = cluster.api(leader).await?;
    let path = format!("{CONFIGMAPS}/everywhere-0");
    let (status, answer) = alone.send(Method::GET, &path, None).await?;
    if status != StatusCode::SERVICE_UNAVAILABLE {
        bail!("a read without a leader: {status} {answer}");
    }
    let (status, answer) = alone.send(Method::GET, &format!("{path}?resourceVersion=0"), None).await?;
    if status != StatusCode::OK {
        bail!("a read of whatever there is: {status} {answer}");
    }
    let (status, answer) = alone.send(Method::POST, CONFIGMAPS, Some(&object("alone"))).await?;
    if !status.is_server_error() {
        bail!("a write without a leader: {status} {answer}");
    }
    cluster.hosts.mend(leader)?;
    cluster.ready(leader).await?;
    let path = format!("{CONFIGMAPS}/after-the-cut");
    let (status, answer) = cluster.api(leader).await?.send(Method::GET, &path, None).await?;
    if status != StatusCode::OK {
        bail!("what the others wrote: {status} {answer}");
    }
    Ok(())
}

/// SIGTERM: it hands over first, so that writes hardly stop.
async fn leader_stops(cluster: &mut Cluster, load: &Load) -> Result<()> {
    let leader = cluster.leader(&[0, 1, 2]).await?;
    load.clear_gap();
    let began = Instant::now();
    cluster.terminate(leader)?;
    let took = began.elapsed();
    cluster.leader(&others(leader)).await?;
    load.has_progress().await?;
    eprintln!("leader {leader} stopped in {took:?}, writes stood still for {:?}", load.gap());
    cluster.start(leader)?;
    cluster.ready(leader).await
}

/// Who has another token, or belongs elsewhere, is told so and changes nothing.
fn strangers_stay_out(cluster: &mut Cluster) -> Result<()> {
    let token = std::fs::read_to_string(cluster.data(0).join("server/join-token"))?;
    let (head, secret) = token.trim().rsplit_once('.').context("a token has three parts")?;
    let digit = if secret.starts_with('0') { "1" } else { "0" };
    let wrong_secret = format!("{head}.{digit}{}", &secret[1..]);
    let (prefix, pin) = head.rsplit_once('.').context("a token has three parts")?;
    let digit = if pin.starts_with('0') { "1" } else { "0" };
    let wrong_pin = format!("{prefix}.{digit}{}.{secret}", &pin[1..]);
    for (token, code, what) in [
        (&*wrong_secret, 8, "does not take this token"),
        (&*wrong_pin, 8, "is not the cluster of this token"),
        ("KT1.short", 2, "the token is not complete"),
    ] {
        let output = cluster.joining(1, &cluster.folder.path().join("stranger"), token).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(code) || !said.contains(what) {
            bail!("joining with {token}: {} and {said}", output.status);
        }
    }
    Ok(())
}

fn others(host: usize) -> Vec<usize> {
    (0..3).filter(|other| *other != host).collect()
}

fn object(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"c": name}})
}

async fn create(api: &mut Api, name: &str) -> Result<u64> {
    let (status, answer) = api.send(Method::POST, CONFIGMAPS, Some(&object(name))).await?;
    if status != StatusCode::CREATED {
        bail!("{name}: {status} {answer}");
    }
    Ok(answer["metadata"]["resourceVersion"].as_str().context("a resourceVersion")?.parse()?)
}

fn names(list: &Value) -> BTreeSet<String> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

/// Asks until it is so. A server that does not answer counts as not yet.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    loop {
        let now = holds().await;
        if matches!(now, Ok(true)) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what} ({now:?})");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The servers.
struct Cluster {
    hosts: Hosts,
    folder: tempfile::TempDir,
    servers: [Option<Child>; 4],
}

impl Cluster {
    fn found() -> Result<Self> {
        let mut cluster =
            Self { hosts: Hosts::make(4)?, folder: tempfile::tempdir()?, servers: [const { None }; 4] };
        cluster.start(0)?;
        Ok(cluster)
    }

    fn data(&self, host: usize) -> PathBuf {
        self.folder.path().join(format!("server-{host}"))
    }

    fn kubeconfig(&self, host: usize) -> PathBuf {
        self.folder.path().join(format!("kubeconfig-{host}"))
    }

    fn server(&self, host: usize, data: &Path) -> Result<Command> {
        let mut command = self.hosts.command(host, &kontiki()?);
        command
            .args(["server", "--no-agent", "--advertise-address", &Hosts::address(host)])
            .arg("--data-dir")
            .arg(data)
            .arg("--kubeconfig")
            .arg(self.kubeconfig(host))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// What `kontiki member` says on a server's host, and its exit code.
    fn member(&self, host: usize, arguments: &[&str]) -> Result<(String, Option<i32>)> {
        let mut command = self.hosts.command(host, &kontiki()?);
        command.arg("member").args(arguments).arg("--data-dir").arg(self.data(host));
        command.arg("--server").arg(format!("https://{}:6443", Hosts::address(host)));
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((String::from_utf8_lossy(&said).into_owned(), output.status.code()))
    }

    /// A server that asks the first one to let it in.
    fn joining(&self, host: usize, data: &Path, token: &str) -> Command {
        let mut command = self.server(host, data).expect("found before");
        command
            .args([
                "--join",
                &format!("https://{}:6443", Hosts::address(0)),
                "--port",
                "7443",
                "--peer-port",
                "7444",
            ])
            .env("KONTIKI_TOKEN", token);
        command
    }

    fn start(&mut self, host: usize) -> Result<()> {
        let mut command = self.server(host, &self.data(host))?;
        if host != 0 {
            let token = self.data(0).join("server/join-token");
            command
                .args(["--join", &format!("https://{}:6443", Hosts::address(0))])
                .arg("--token-file")
                .arg(token);
        }
        let log = self.folder.path().join(format!("log-{host}"));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        self.servers[host] = Some(command.stderr(log).spawn()?);
        Ok(())
    }

    fn kill(&mut self, host: usize) -> Result<()> {
        let mut server = self.servers[host].take().context("it runs")?;
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    fn terminate(&mut self, host: usize) -> Result<()> {
        let mut server = self.servers[host].take().context("it runs")?;
        Command::new("kill").arg(server.id().to_string()).status()?;
        let status = server.wait()?;
        if !status.success() {
            bail!("server {host} ended with {status}: {}", self.log(host));
        }
        Ok(())
    }

    fn log(&self, host: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("log-{host}"))).unwrap_or_default()
    }

    /// A connection to a server, from its own host.
    async fn api(&self, host: usize) -> Result<Api> {
        let access = Access::read(&self.kubeconfig(host))?;
        let tcp = self.hosts.connect(host, access.address()).await?;
        access.over(tcp).await
    }

    async fn ready(&self, host: usize) -> Result<()> {
        let what = format!("server {host} is ready");
        let ready = until(&what, async || {
            let (status, _) = self.api(host).await?.fetch(Method::GET, "/readyz", None).await?;
            Ok(status == StatusCode::OK)
        });
        ready.await.with_context(|| self.log(host))
    }

    async fn leads(&self, host: usize) -> Result<bool> {
        let (_, text) = self.api(host).await?.fetch(Method::GET, "/metrics", None).await?;
        Ok(String::from_utf8_lossy(&text).lines().any(|line| line == "kontiki_raft_is_leader 1"))
    }

    async fn leader(&self, among: &[usize]) -> Result<usize> {
        let mut found = None;
        until("somebody leads", async || {
            for host in among {
                if self.leads(*host).await? {
                    found = Some(*host);
                }
            }
            Ok(found.is_some())
        })
        .await?;
        found.context("waited for above")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in self.servers.iter_mut().flatten() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Somebody at each server who writes all the time, and somebody who watches.
struct Load {
    book: Arc<Mutex<Book>>,
    over: Arc<AtomicBool>,
    /// One at each server.
    writers: Vec<tokio::task::JoinHandle<Result<()>>>,
    watcher: tokio::task::JoinHandle<Result<Vec<(u64, String)>>>,
}

#[derive(Default)]
struct Book {
    /// Acknowledged: name and revision.
    written: BTreeMap<String, u64>,
    /// Without an answer.
    unknown: BTreeSet<String>,
    last: Option<Instant>,
    gap: Duration,
}

impl Book {
    /// Compares it with what was watched; returns the names that must be there and those that may be.
    fn judge(&self, seen: &[(u64, String)]) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let revisions: BTreeSet<u64> = self.written.values().copied().collect();
        if revisions.len() != self.written.len() {
            bail!("a revision was given twice");
        }
        if !seen.is_sorted_by(|one, next| one.0 < next.0) {
            bail!("the watcher saw revisions out of order, or one twice");
        }
        let by_name: BTreeMap<&String, u64> = seen.iter().map(|(revision, name)| (name, *revision)).collect();
        for (name, revision) in &self.written {
            if by_name.get(name) != Some(revision) {
                bail!("{name}, acknowledged at {revision}, was watched at {:?}", by_name.get(name));
            }
        }
        Ok((self.written.keys().cloned().collect(), self.unknown.clone()))
    }
}

/// What writer and watcher need to reach the servers.
#[derive(Clone)]
struct Doors(Vec<(PathBuf, PathBuf)>);

impl Load {
    async fn begin(cluster: &Cluster) -> Result<Self> {
        let (_, list) = cluster.api(0).await?.send(Method::GET, CONFIGMAPS, None).await?;
        let after = list["metadata"]["resourceVersion"].as_str().context("a list has a revision")?.to_owned();
        let (book, over) = (Arc::<Mutex<Book>>::default(), Arc::<AtomicBool>::default());
        let doors = Doors::of(cluster);
        let writer = |host| tokio::spawn(write(doors.clone(), host, book.clone(), over.clone()));
        let writers = (0..3).map(writer).collect();
        let watcher = tokio::spawn(watch(doors, after, over.clone()));
        Ok(Self { book, over, writers, watcher })
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no panic while the lock is held")
    }

    fn written(&self) -> BTreeSet<String> {
        self.book().written.keys().cloned().collect()
    }

    fn clear_gap(&self) {
        self.book().gap = Duration::ZERO;
    }

    /// The longest time without an acknowledged write.
    fn gap(&self) -> Duration {
        self.book().gap
    }

    async fn has_progress(&self) -> Result<()> {
        let before = self.written().len();
        until("writes work again", async || Ok(self.written().len() > before + 5)).await
    }

    /// Compares the book with every server and with what the watcher saw.
    async fn end(self, cluster: &Cluster) -> Result<()> {
        self.over.store(true, Ordering::Release);
        for writer in self.writers {
            writer.await??;
        }
        let seen = self.watcher.await??;
        let (written, unknown) = self.book.lock().expect("no panic while the lock is held").judge(&seen)?;
        for host in 0..3 {
            let (_, list) = cluster.api(host).await?.send(Method::GET, CONFIGMAPS, None).await?;
            let mut there = names(&list);
            there.retain(|name| name.starts_with("load-"));
            if let Some(lost) = written.difference(&there).next() {
                bail!("{lost} was acknowledged and is not on server {host}");
            }
            if let Some(strange) =
                there.iter().find(|name| !written.contains(*name) && !unknown.contains(*name))
            {
                bail!("{strange} is on server {host}, and nobody wrote it");
            }
        }
        eprintln!("{} writes were acknowledged, {} had no answer", written.len(), unknown.len());
        Ok(())
    }
}

impl Doors {
    fn of(cluster: &Cluster) -> Self {
        let door = |host| (cluster.kubeconfig(host), cluster.hosts.entrance(host));
        Self((0..3).map(door).collect())
    }

    async fn open(&self, host: usize) -> Result<Api> {
        let (kubeconfig, entrance) = &self.0[host];
        let access = Access::read(kubeconfig)?;
        let tcp = Hosts::connect_through(entrance, access.address()).await?;
        access.over(tcp).await
    }
}

/// Writes new names at a server without end; after a failure it connects again.
async fn write(doors: Doors, host: usize, book: Arc<Mutex<Book>>, over: Arc<AtomicBool>) -> Result<()> {
    let mut number = 0_u64;
    while !over.load(Ordering::Acquire) {
        let Ok(mut api) = doors.open(host).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !over.load(Ordering::Acquire) {
            number += 1;
            let name = format!("load-{host}-{number}");
            let body = object(&name);
            let sending = api.send(Method::POST, CONFIGMAPS, Some(&body));
            let answer = tokio::time::timeout(Duration::from_millis(500), sending).await;
            let mut book = book.lock().expect("no panic while the lock is held");
            match answer {
                Ok(Ok((StatusCode::CREATED, answer))) => {
                    let revision = answer["metadata"]["resourceVersion"].as_str();
                    book.written.insert(name, revision.context("a resourceVersion")?.parse()?);
                    let now = Instant::now();
                    if let Some(last) = book.last.replace(now) {
                        book.gap = book.gap.max(now - last);
                    }
                }
                Ok(Ok((status, answer))) if !status.is_server_error() => bail!("{name}: {status} {answer}"),
                Ok(Ok(_) | Err(_)) | Err(_) => {
                    book.unknown.insert(name);
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Watches from a revision on, at one server after another, each time after the last event it saw.
async fn watch(doors: Doors, mut after: String, over: Arc<AtomicBool>) -> Result<Vec<(u64, String)>> {
    let mut seen = Vec::new();
    let mut host = 0;
    let mut silent = 0;
    // After the end, until nothing has come for a while.
    while silent < 3 {
        host = (host + 1) % 3;
        let Ok(api) = doors.open(host).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(mut watch) = api.watch(&format!("{CONFIGMAPS}?watch=1&resourceVersion={after}")).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut came = false;
        loop {
            let event = match tokio::time::timeout(Duration::from_secs(1), watch.next()).await {
                Ok(Ok(Some(event))) => event,
                _ => break,
            };
            if event["type"] == "ERROR" {
                bail!("the watch after {after} ends with {event}");
            }
            let metadata = &event["object"]["metadata"];
            let revision = metadata["resourceVersion"].as_str().context("an event has a revision")?;
            after = revision.to_owned();
            came = true;
            let name = metadata["name"].as_str().context("an object has a name")?;
            seen.push((revision.parse()?, name.to_owned()));
        }
        silent = if over.load(Ordering::Acquire) && !came { silent + 1 } else { 0 };
    }
    Ok(seen)
}
