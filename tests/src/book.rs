//! A book of what a server acknowledged, kept by the writers themselves: what faults may do to a cluster is judged by
//! it, and by nothing the server says about itself.
//!
//! A write whose answer a fault cut off may have happened or not, and nothing else.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use tokio::task::JoinHandle;

use crate::api::{Access, Api};
use crate::random::Random;

/// Where the writers write.
pub const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Who writes at the same time.
const WRITERS: u64 = 4;
/// Names per writer: few, so that names are created, changed and deleted again and again.
const NAMES: u64 = 12;

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
/// A book after a shift, and the resourceVersions that were given in it.
type Written = (Book, Vec<u64>);

/// What an answer that refuses a write means to its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A broken promise: nothing this test does gives a reason to refuse.
    Breach,
    /// The end of the shift, when it is the server's failure (5xx): a disk that fails refuses writes. Whether that one
    /// happened is not known.
    Stop,
}

/// All writers' books, and every resourceVersion they were given.
pub struct Ledger {
    books: Vec<Book>,
    given: Revisions,
    random: Random,
    round: u64,
}

/// Writers at work.
pub struct Shift {
    writers: Vec<JoinHandle<Result<Written>>>,
}

impl Ledger {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        let books = (0..WRITERS).map(|_| Book::new()).collect();
        Self { books, given: Revisions::default(), random: Random(seed), round: 0 }
    }

    /// Lets every writer write until its connection breaks or a refusal ends its shift.
    pub fn begin(&mut self, access: &Access, refusal: Refusal) -> Shift {
        let (round, books) = (self.round, std::mem::take(&mut self.books));
        let start = |(book, number)| {
            let writer = Writer { number, round, random: self.random.fork(), refusal };
            tokio::spawn(writer.write(access.clone(), book))
        };
        Shift { writers: books.into_iter().zip(0..).map(start).collect() }
    }

    /// Waits for the writers' end and keeps their books; returns how many writes were acknowledged.
    ///
    /// # Errors
    /// A write was refused that should not have been, or a resourceVersion was given before.
    pub async fn end(&mut self, shift: Shift) -> Result<usize> {
        let mut written = Vec::new();
        for writer in shift.writers {
            let (book, revisions) = writer.await?.with_context(|| format!("round {}", self.round))?;
            self.books.push(book);
            written.extend(revisions);
        }
        let count = written.len();
        self.given.add_all(self.round, written)?;
        self.round += 1;
        Ok(count)
    }

    /// How many writes were acknowledged in all.
    pub fn acknowledged(&self) -> usize {
        self.given.by_round.len()
    }

    /// The content of an object that is there, if any is.
    pub fn some_content(&self) -> Option<&str> {
        self.books.iter().flat_map(BTreeMap::values).find_map(|belief| match &belief.acknowledged {
            State::Present { content, .. } => Some(content.as_str()),
            State::Absent => None,
        })
    }

    /// Compares what is there with the books, and settles what a fault left open.
    ///
    /// # Errors
    /// Something acknowledged is lost, something is there that nobody wrote, or a resourceVersion went back.
    pub async fn check(&mut self, api: &mut Api) -> Result<()> {
        let (status, list) = api.send(Method::GET, CONFIGMAPS, None).await?;
        if status != StatusCode::OK {
            bail!("list: {status} {list}");
        }
        let now = revision_of(&list)?;
        if now < self.given.highest {
            bail!("resourceVersion went back from {} to {now}", self.given.highest);
        }
        self.given.highest = now;
        let mut there = objects(&list)?;
        for (name, belief) in self.books.iter_mut().flat_map(BTreeMap::iter_mut) {
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
}

/// One of those who write.
struct Writer {
    number: u64,
    round: u64,
    random: Random,
    refusal: Refusal,
}

impl Writer {
    /// Creates, changes and deletes; every answer goes into the book and the list of revisions.
    async fn write(mut self, access: Access, mut book: Book) -> Result<Written> {
        let mut revisions = Vec::new();
        let Ok(mut api) = access.connect().await else { return Ok((book, revisions)) };
        for step in 0_u64.. {
            let name = format!("w{}-{}", self.number, self.random.below(NAMES));
            let belief =
                book.entry(name.clone()).or_insert(Belief { acknowledged: State::Absent, attempted: None });
            let content = format!("content-{}-{}-{step}", self.number, self.round);
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"c": content}});
            let path = format!("{CONFIGMAPS}/{name}");
            let delete = self.random.below(3) == 0;
            let (method, path, body, attempted) = match (&belief.acknowledged, delete) {
                (State::Absent, _) => (Method::POST, CONFIGMAPS, Some(&object), Some(content.clone())),
                (State::Present { .. }, true) => (Method::DELETE, path.as_str(), None, None),
                (State::Present { .. }, false) => {
                    (Method::PUT, path.as_str(), Some(&object), Some(content.clone()))
                }
            };
            belief.attempted = Some(attempted.clone());
            let Ok((status, answer)) = api.send(method.clone(), path, body).await else { break };
            if status.is_server_error() && self.refusal == Refusal::Stop {
                break;
            }
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
