//! What the server counts about requests, under upstream's names ([`text`] writes them). One lock and one look into a table
//! a request; nothing is decided by a count.

mod flow;
mod process;
mod text;

pub(crate) use text::write;

use crate::catalog::Kind;
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

/// What requests are told apart by. Everything in it is one of few values, so the table is bounded.
#[derive(Clone, Copy)]
pub(crate) struct Labels {
    verb: &'static str,
    kind: Option<&'static Kind>,
    subresource: &'static str,
    scope: &'static str,
    dry_run: bool,
}

type RowKey = (&'static str, Option<u32>, &'static str, &'static str, bool);

impl Labels {
    /// The labels of a request about a kind, or about a path.
    pub(crate) fn of(info: &RequestInfo, kind: Option<&'static Kind>, dry_run: bool) -> Self {
        let subresource =
            kind.and_then(|kind| kind.subresource(&info.subresource)).map_or("", |sub| sub.name);
        let scope = match () {
            () if !info.is_resource => "",
            () if !info.name.is_empty() || info.verb == "create" => "resource",
            () if !info.namespace.is_empty() => "namespace",
            () => "cluster",
        };
        Self { verb: verb(info, subresource), kind, subresource, scope, dry_run }
    }

    fn key(&self) -> RowKey {
        (self.verb, self.kind.map(|kind| kind.id), self.subresource, self.scope, self.dry_run)
    }
}

/// The word of a verb in labels.
fn verb(info: &RequestInfo, subresource: &str) -> &'static str {
    if matches!(subresource, "attach" | "exec" | "portforward" | "proxy") {
        return "CONNECT";
    }
    match info.verb.as_str() {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "head" => "HEAD",
        "options" => "OPTIONS",
        _ => "other",
    }
}

/// What is counted of requests with the same labels.
struct Row {
    labels: Labels,
    codes: Vec<(u16, u64)>,
    /// Requests by the bucket they fall into; the last is above every bound.
    buckets: [u64; BUCKETS_MS.len() + 1],
    sum: Duration,
    /// Streams under way.
    running: i64,
}

impl Row {
    fn new(labels: Labels) -> Self {
        Self {
            labels,
            codes: Vec::new(),
            buckets: [0; BUCKETS_MS.len() + 1],
            sum: Duration::ZERO,
            running: 0,
        }
    }

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
    rows: Mutex<HashMap<RowKey, Row>>,
    mutating: AtomicI64,
    reading: AtomicI64,
}

impl Metrics {
    fn row<T>(&self, labels: Labels, act: impl FnOnce(&mut Row) -> T) -> T {
        let mut rows = self.rows.lock().expect("no panic while the lock is held");
        act(rows.entry(labels.key()).or_insert_with(|| Row::new(labels)))
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
