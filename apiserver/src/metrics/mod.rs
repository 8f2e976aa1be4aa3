//! What the server counts about requests, under upstream's names ([`text`] writes them). One lock and one look into a table
//! a request; nothing is decided by a count.

mod flow;
mod process;
mod text;

pub(crate) use text::write;

use crate::catalog::{Kind, Sub};
use crate::request_info::RequestInfo;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Upper bounds of the durations' buckets in milliseconds, as upstream's.
const BUCKETS_MS: [u64; 23] = [
    5, 25, 50, 100, 200, 400, 600, 800, 1000, 1250, 1500, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 15_000,
    20_000, 30_000, 45_000, 60_000,
];

/// What requests are told apart by. Everything in it is one of few values, so the table is bounded; it is its own key, small
/// enough to be hashed at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Labels {
    /// Place in [`VERBS`].
    verb: u8,
    /// Place of the subresource among its kind's, from one on.
    subresource: u8,
    scope: Scope,
    dry_run: bool,
    kind: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    None,
    Resource,
    Namespace,
    Cluster,
}

/// Verbs of requests and their words in labels. The last is that of a stream through to a node, the one before it of
/// everything else.
const VERBS: [(&str, &str); 14] = [
    ("get", "GET"),
    ("list", "LIST"),
    ("watch", "WATCH"),
    ("create", "POST"),
    ("post", "POST"),
    ("update", "PUT"),
    ("put", "PUT"),
    ("patch", "PATCH"),
    ("delete", "DELETE"),
    ("deletecollection", "DELETECOLLECTION"),
    ("head", "HEAD"),
    ("options", "OPTIONS"),
    ("", "other"),
    ("", "CONNECT"),
];

impl Labels {
    /// The labels of a request about a kind, or about a path.
    pub(crate) fn of(info: &RequestInfo, kind: Option<&'static Kind>, dry_run: bool) -> Self {
        let place = |subs: &[&Sub]| subs.iter().position(|sub| sub.name == info.subresource);
        let sub = kind.and_then(|kind| place(&kind.subresources));
        let streams = matches!(&*info.subresource, "attach" | "exec" | "portforward" | "proxy");
        let verb = match sub {
            Some(_) if streams => VERBS.len() - 1,
            _ => VERBS.iter().position(|(verb, _)| *verb == info.verb).unwrap_or(VERBS.len() - 2),
        };
        let scope = match () {
            () if !info.is_resource => Scope::None,
            () if !info.name.is_empty() || info.verb == "create" => Scope::Resource,
            () if !info.namespace.is_empty() => Scope::Namespace,
            () => Scope::Cluster,
        };
        let place = |place: usize| u8::try_from(place).expect("few verbs and subresources");
        let subresource = place(sub.map_or(0, |sub| sub + 1));
        Self { verb: place(verb), kind: kind.map(|kind| kind.id), subresource, scope, dry_run }
    }
}

/// What is counted of requests with the same labels.
#[derive(Default)]
struct Row {
    codes: Vec<(u16, u64)>,
    /// Requests by the bucket they fall into; the last is above every bound.
    buckets: [u64; BUCKETS_MS.len() + 1],
    sum: Duration,
    /// Streams under way.
    running: i64,
}

impl Row {
    fn count(&mut self, code: u16) {
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.codes.push((code, 1)),
        }
    }

    fn measure(&mut self, took: Duration) {
        let bucket = BUCKETS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.buckets[bucket.unwrap_or(BUCKETS_MS.len())] += 1;
        self.sum += took;
    }
}

/// The counts of one server.
#[derive(Default)]
pub(crate) struct Metrics {
    rows: Mutex<HashMap<Labels, Row>>,
    mutating: AtomicI64,
    reading: AtomicI64,
}

impl Metrics {
    fn row<T>(&self, labels: Labels, act: impl FnOnce(&mut Row) -> T) -> T {
        let mut rows = self.rows.lock().expect("no panic while the lock is held");
        act(rows.entry(labels).or_default())
    }

    /// A request was answered. A stream's duration says nothing and is not measured.
    pub(crate) fn answered(&self, labels: Labels, code: u16, took: Option<Duration>) {
        self.row(labels, |row| {
            row.count(code);
            if let Some(took) = took {
                row.measure(took);
            }
        });
    }

    /// A stream begins or ends.
    pub(crate) fn streams(&self, labels: Labels, by: i64) {
        self.row(labels, |row| row.running += by);
    }

    /// A request that is no stream begins or ends.
    pub(crate) fn in_flight(&self, mutating: bool, by: i64) {
        let gauge = if mutating { &self.mutating } else { &self.reading };
        gauge.fetch_add(by, Ordering::Relaxed);
    }
}
