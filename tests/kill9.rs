//! What `kill -9` may not do: lose an acknowledged write, bring back a deleted object, give a resourceVersion twice or
//! go back, restart a container, or leave a Secret's value readable anywhere.
//!
//! Writers keep their own book of what was acknowledged. A write whose answer the kill cut off may have happened or not,
//! and nothing else. `KONTIKI_KILLS` says how often; continuous integration kills twenty times.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::api::{Access, Api};
use tests::cluster::Dev;
use tests::local::Local;

const KILLS: u64 = 20;
/// Pods that must not notice, and how long they may take to become ready.
const PODS: usize = 3;
const READY_MAX: Duration = Duration::from_secs(60);
const WRITERS: u64 = 4;
/// Names per writer: few, so that names are created, changed and deleted again and again.
const NAMES: u64 = 12;
/// A kill comes between these many milliseconds after the writers began.
const LIFE_MS: (u64, u64) = (100, 900);
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What an object is, as far as its writer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Absent,
    Present { content: String, revision: u64 },
}

/// What a name may show after the next start: one state, or the two sides of a write without an answer.
#[derive(Debug, Clone)]
struct Belief {
    acknowledged: State,
    /// The content a cut-off write would have left; `Some(None)`: a deletion.
    attempted: Option<Option<String>>,
}

type Book = BTreeMap<String, Belief>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    let (kills, seed) = (kills(KILLS), seed());
    eprintln!("seed {seed}, {kills} kills");
    rig(kills, seed).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
}

async fn rig(kills: u64, seed: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut random = Random(seed);
    let canary = format!("canary-{:016x}{:016x}", random.next(), random.next());
    let mut books: Vec<Book> = (0..WRITERS).map(|_| Book::new()).collect();
    let mut given = Revisions::default();
    for round in 0..kills {
        let dev = start(folder.path())?;
        let access = Access::read(&dev.kubeconfig)?;
        let mut api = access.connect().await?;
        check(&mut api, &mut books, &mut given).await.with_context(|| format!("after kill {round}"))?;
        secret(&mut api, &canary, round == 0).await?;
        let writers: Vec<_> = books
            .into_iter()
            .enumerate()
            .map(|(number, book)| {
                tokio::spawn(write(access.clone(), number as u64, round, book, random.fork()))
            })
            .collect();
        let life = LIFE_MS.0 + random.below(LIFE_MS.1 - LIFE_MS.0);
        tokio::time::sleep(Duration::from_millis(life)).await;
        dev.kill()?;
        books = Vec::new();
        let mut written = Vec::new();
        for writer in writers {
            let (book, revisions) = writer.await?.with_context(|| format!("round {round}"))?;
            books.push(book);
            written.extend(revisions);
        }
        eprintln!("round {round}: killed after {life} ms and {} acknowledged writes", written.len());
        given.add_all(round, written)?;
    }
    let dev = start(folder.path())?;
    let mut api = Access::read(&dev.kubeconfig)?.connect().await?;
    check(&mut api, &mut books, &mut given).await.context("after the last kill")?;
    secret(&mut api, &canary, false).await?;
    drop(dev);
    if given.by_round.len() < usize::try_from(kills * WRITERS)? {
        bail!("only {} writes were acknowledged: this proves little", given.by_round.len());
    }
    find_no_secret(folder.path(), &canary, &books)
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
    for number in 0..PODS {
        let container = json!({"name": "main", "image": "busybox:1.36", "command": ["sleep", "3600"]});
        let spec = json!({"containers": [container], "terminationGracePeriodSeconds": 0});
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
    Ok(())
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

/// Creates, changes and deletes until the connection breaks; every answer goes into the book and the list of revisions.
async fn write(
    access: Access,
    writer: u64,
    round: u64,
    mut book: Book,
    mut random: Random,
) -> Result<(Book, Vec<u64>)> {
    let mut revisions = Vec::new();
    let Ok(mut api) = access.connect().await else { return Ok((book, revisions)) };
    for step in 0_u64.. {
        let name = format!("w{writer}-{}", random.below(NAMES));
        let belief =
            book.entry(name.clone()).or_insert(Belief { acknowledged: State::Absent, attempted: None });
        let content = format!("content-{writer}-{round}-{step}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"c": content}});
        let path = format!("{CONFIGMAPS}/{name}");
        let delete = random.below(3) == 0;
        let (method, path, body, attempted) = match (&belief.acknowledged, delete) {
            (State::Absent, _) => (Method::POST, CONFIGMAPS, Some(&object), Some(content.clone())),
            (State::Present { .. }, true) => (Method::DELETE, path.as_str(), None, None),
            (State::Present { .. }, false) => {
                (Method::PUT, path.as_str(), Some(&object), Some(content.clone()))
            }
        };
        belief.attempted = Some(attempted.clone());
        let Ok((status, answer)) = api.send(method.clone(), path, body).await else { break };
        if !status.is_success() {
            bail!("{method} {path}: {status} {answer}");
        }
        belief.attempted = None;
        belief.acknowledged = match attempted {
            None => State::Absent,
            Some(content) => {
                let revision = revision_of(&answer)?;
                revisions.push(revision);
                State::Present { content, revision }
            }
        };
    }
    Ok((book, revisions))
}

/// Compares what is there with the books, and settles what a kill left open.
async fn check(api: &mut Api, books: &mut [Book], given: &mut Revisions) -> Result<()> {
    let (status, list) = api.send(Method::GET, CONFIGMAPS, None).await?;
    if status != StatusCode::OK {
        bail!("list: {status} {list}");
    }
    let now = revision_of(&list)?;
    if now < given.highest {
        bail!("resourceVersion went back from {} to {now}", given.highest);
    }
    given.highest = now;
    let mut there = objects(&list)?;
    for (name, belief) in books.iter_mut().flat_map(BTreeMap::iter_mut) {
        let seen = there.remove(name).unwrap_or(State::Absent);
        let attempted = belief.attempted.take();
        let took_effect = attempted.is_some_and(|attempted| match (&seen, attempted) {
            (State::Absent, None) => true,
            (State::Present { content, .. }, Some(attempted)) => *content == attempted,
            _ => false,
        });
        if seen != belief.acknowledged && !took_effect {
            bail!("{name}: acknowledged {:?}, and now it is {seen:?}", belief.acknowledged);
        }
        if let State::Present { revision, .. } = &seen
            && *revision > now
        {
            bail!("{name}: revision {revision} is newer than the list's {now}");
        }
        belief.acknowledged = seen;
    }
    there.retain(|name, _| name.starts_with('w'));
    if !there.is_empty() {
        bail!("nobody wrote {there:?}");
    }
    Ok(())
}

fn objects(list: &Value) -> Result<HashMap<String, State>> {
    let items = list["items"].as_array().context("a list has items")?;
    items
        .iter()
        .map(|item| {
            let name = item["metadata"]["name"].as_str().context("an object has a name")?.to_owned();
            let content = item["data"]["c"].as_str().unwrap_or_default().to_owned();
            Ok((name, State::Present { content, revision: revision_of(item)? }))
        })
        .collect()
}

fn revision_of(object: &Value) -> Result<u64> {
    let text = object["metadata"]["resourceVersion"].as_str().context("an object has a resourceVersion")?;
    Ok(text.parse()?)
}

/// Every resourceVersion that a write was answered with.
#[derive(Default)]
struct Revisions {
    by_round: HashMap<u64, u64>,
    highest: u64,
}

impl Revisions {
    /// A revision of this round is new, and higher than all that were known when the round began.
    fn add_all(&mut self, round: u64, revisions: Vec<u64>) -> Result<()> {
        let known = self.highest;
        for revision in revisions {
            if revision <= known {
                bail!("round {round} was given {revision}, though {known} was given before");
            }
            if let Some(before) = self.by_round.insert(revision, round) {
                bail!("{revision} was given in round {before} and again in round {round}");
            }
            self.highest = self.highest.max(revision);
        }
        Ok(())
    }
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
fn find_no_secret(folder: &Path, canary: &str, books: &[Book]) -> Result<()> {
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(canary);
    let encoded = &encoded[..encoded.len() - 1];
    let control = books.iter().flat_map(BTreeMap::values).find_map(|belief| match &belief.acknowledged {
        State::Present { content, .. } => Some(content.as_str()),
        State::Absent => None,
    });
    let control = control.context("no ConfigMap is left to look for")?;
    let mut control_found = false;
    for file in files(folder)? {
        let bytes = std::fs::read(&file)?;
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

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

/// `KONTIKI_SEED`, or another one each time.
fn seed() -> u64 {
    let given = std::env::var("KONTIKI_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_nanos() % u128::from(u64::MAX)).unwrap_or_default()
    })
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
