//! API priority and fairness: every request that is no stream takes seats of a priority level while it is answered, waits
//! for them in one of the level's queues, or is refused with 429; a watch takes them until it has sent its first state. What a
//! level, a flow and a seat are is decided by the pure [`table`], [`queues`], [`seats`] and [`estimate`]; here they are kept,
//! fed from the store and waited for.
//!
//! A level's lock is held for a few steps of its queues and never across an await.

mod beginning;
mod counts;
mod dump;
mod estimate;
mod level;
mod patience;
mod queues;
mod roll;
mod seats;
mod table;
mod watches;

pub(crate) use beginning::Beginning;
pub(crate) use counts::{Counts, Histogram};
pub(crate) use level::{Granted, Seats};
pub(crate) use watches::Watched;

use crate::catalog::{self, Kind};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Inner;
use access::UserInfo;
use arc_swap::ArcSwap;
use estimate::{Cost, Stored};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use kinds::flowcontrol::bootstrap::shipped;
use kinds::tree::str_at;
use level::{Bounded, Level};
use mvcc::Interest;
use queues::Work;
use raft_store::{Clock, Watcher};
use roll::About;
use schema::Tree;
use seats::Share;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use table::Schema;
use watches::Watches;

/// How often seats are given out anew.
const BORROWING_PERIOD_MS: u64 = 10_000;
/// How long until the store is asked again when it could not be watched.
const RETRY: Duration = Duration::from_secs(1);
/// Objects whose size stands for all of their kind.
const SAMPLE: usize = 10;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// The schema of whoever no other fits.
const CATCH_ALL: &str = "catch-all";
static SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
static LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// A schema in use.
pub(crate) struct Flows {
    schema: Schema,
    level: Arc<Level>,
    counts: Arc<Counts>,
    uid: Option<HeaderValue>,
}

/// Schemas by precedence.
struct Table {
    flows: Vec<Arc<Flows>>,
    levels: Vec<Arc<Level>>,
}

/// Priority and fairness of one server.
pub(crate) struct Flow {
    table: ArcSwap<Table>,
    clock: Arc<dyn Clock>,
    watches: Watches,
    /// When seats were last given out anew, in milliseconds.
    given_out: AtomicU64,
}

/// The request is one too many.
pub(crate) struct TooMany {
    /// Where it belongs, unless it belongs nowhere.
    pub(crate) flows: Option<Arc<Flows>>,
    /// Seconds to stay away.
    pub(crate) retry_after: u64,
}

impl Flow {
    /// As every cluster begins; what the store has comes with [`follow`].
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let table = Table::new(shipped().iter().map(|shipped| &shipped.object), None, clock.now());
        let given_out = AtomicU64::new(milliseconds(clock.now()));
        Self { table: ArcSwap::from_pointee(table), watches: Watches::default(), given_out, clock }
    }

    /// Takes seats for a request, waiting for them at most for a while. `stored` is asked only of lists.
    pub(crate) async fn admit(
        &self,
        user: &Arc<UserInfo>,
        info: &Arc<RequestInfo>,
        query: &Query,
        wait_max: Duration,
        stored: impl FnOnce() -> Option<Stored>,
    ) -> Result<Granted, TooMany> {
        let flows = {
            let table = self.table.load();
            self.give_out(&table);
            table.find(user, info).cloned()
        };
        let Some(flows) = flows else { return Err(TooMany { flows: None, retry_after: 1 }) };
        let work = self.work(&flows, info, query, stored);
        let watched = (info.verb == "watch").then(|| self.watches.begin(info, query)).flatten();
        let about = About { user: user.clone(), info: info.clone() };
        level::seat(flows, about, work, watched, &self.clock, wait_max).await
    }

    fn work(
        &self,
        flows: &Flows,
        info: &RequestInfo,
        query: &Query,
        stored: impl FnOnce() -> Option<Stored>,
    ) -> Work {
        let most = flows.level.request_max();
        let work = match Cost::of(info, query) {
            Cost::Plain => Work::of(1),
            Cost::List => stored().map_or(Work::of(1), |stored| estimate::list(info, query, stored, most)),
            Cost::Write => {
                let watchers = self.watches.of(info);
                flows.counts.watches.observe(u64::from(watchers));
                estimate::write(watchers, most)
            }
        };
        flows.counts.seats.observe(u64::from(work.seats()));
        work
    }

    /// Gives out seats anew when it is time.
    fn give_out(&self, table: &Table) {
        let now = self.clock.now();
        let (last, at) = (self.given_out.load(Ordering::Relaxed), milliseconds(now));
        let is_time = at.saturating_sub(last) >= BORROWING_PERIOD_MS;
        // Whoever sets the time does it.
        if !is_time
            || self.given_out.compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let limited: Vec<(&Arc<Level>, &Bounded)> =
            table.levels.iter().filter_map(|level| Some((level, level.limited.as_ref()?))).collect();
        let wanted: Vec<(Share, u32)> =
            limited.iter().map(|(_, bounded)| (bounded.share, bounded.state().take_peak())).collect();
        for ((level, _), seats) in limited.iter().zip(seats::allocate(seats::TOTAL, &wanted)) {
            level.resize(seats, &self.clock);
        }
    }

    /// Whether the table is the store's and no more the one every cluster begins with.
    pub(crate) fn is_fed(&self) -> bool {
        self.table.load().levels.iter().any(|level| !level.uid.is_empty())
    }

    /// What is counted, by schema and level.
    pub(crate) fn counts(&self) -> Vec<(String, String, Arc<Counts>)> {
        let table = self.table.load();
        let told =
            |flows: &Arc<Flows>| (flows.schema.name.clone(), flows.level.name.clone(), flows.counts.clone());
        table.flows.iter().map(told).collect()
    }

    /// The seats of each level.
    pub(crate) fn seats(&self) -> Vec<Seats> {
        self.table.load().levels.iter().filter_map(|level| level.seats()).collect()
    }

    /// A page for whoever looks for trouble, if there is one of this name.
    pub(crate) fn dump(&self, page: &str, details: bool) -> Option<String> {
        dump::page(&self.table.load(), page, details)
    }
}

impl Flows {
    /// Tells the client under which schema and level it was served.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for (name, uid) in [(&LEVEL_UID, &self.level.header), (&SCHEMA_UID, &self.uid)] {
            if let Some(uid) = uid {
                headers.insert(name.clone(), uid.clone());
            }
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Table {
    /// A table of these objects. Levels and counts that have not changed go on as they are.
    fn new<'a>(objects: impl Iterator<Item = &'a Tree>, before: Option<&Self>, now: Duration) -> Self {
        let (schemas, levels): (Vec<&Tree>, Vec<&Tree>) =
            objects.partition(|object| str_at(object, "kind") == "FlowSchema");
        let levels: Vec<table::Level> = levels.into_iter().map(table::Level::read).collect();
        let sum = levels.iter().filter_map(|level| level.limited).map(|limited| limited.shares).sum();
        let known = before.map_or(&[][..], |table| &table.levels);
        let levels: Vec<Arc<Level>> =
            levels.into_iter().map(|level| Level::new(level, sum, known, now)).collect();
        let mut schemas: Vec<Schema> = schemas.into_iter().map(Schema::read).collect();
        schemas.sort_by(|one, other| (one.precedence, &one.name).cmp(&(other.precedence, &other.name)));
        let flows = schemas.into_iter().filter_map(|schema| {
            let level = levels.iter().find(|level| level.name == schema.level)?.clone();
            let known =
                before.and_then(|table| table.flows.iter().find(|flows| flows.schema.name == schema.name));
            let counts = known.map(|flows| flows.counts.clone()).unwrap_or_default();
            let uid = HeaderValue::from_str(&schema.uid).ok();
            Some(Arc::new(Flows { schema, level, counts, uid }))
        });
        Self { flows: flows.collect(), levels }
    }

    /// The first schema that fits a request.
    fn find(&self, user: &UserInfo, info: &RequestInfo) -> Option<&Arc<Flows>> {
        let first = self.flows.iter().find(|flows| flows.schema.matches(user, info));
        first.or_else(|| self.flows.iter().find(|flows| flows.schema.name == CATCH_ALL))
    }
}

/// Keeps the table as the store has it, until the server stops.
pub(crate) async fn follow(server: Arc<Inner>) {
    let kinds: Vec<&'static Kind> = ["flowschemas", "prioritylevelconfigurations"]
        .iter()
        .filter_map(|plural| catalog::find(GROUP, "v1", plural))
        .collect();
    while !server.stopping.is_cancelled() {
        let view = server.store.view();
        let objects: Vec<Tree> = kinds
            .iter()
            .flat_map(|kind| view.list(&kind.stored_as, None, None).map(move |entry| (kind, entry)))
            .filter_map(|(kind, entry)| server.codec.tree(kind, entry, entry.revision).ok())
            .collect();
        if !objects.is_empty() {
            let table = Table::new(objects.iter(), Some(&server.flow.table.load()), server.flow.clock.now());
            server.flow.table.store(Arc::new(table));
        }
        let mut watchers: Vec<Watcher> = kinds
            .iter()
            .filter_map(|kind| {
                server.store.watch(Interest::Resource(kind.stored_as.clone()), view.revision()).ok()
            })
            .collect();
        let changes = watchers.iter_mut().map(|watcher| Box::pin(watcher.next()));
        let changes: Vec<_> = changes.collect();
        // A view that history has left behind already cannot be watched from: read a newer one.
        if changes.len() < kinds.len() || changes.is_empty() {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        // Whatever it is, a change or a watch that ended: everything is read again.
        tokio::select! {
            _ = futures::future::select_all(changes) => {}
            () = server.stopping.cancelled() => return,
        }
    }
}

/// What is stored of a kind, whatever the namespace.
pub(crate) fn stored(server: &Inner, kind: Option<&Kind>) -> Option<Stored> {
    let kind = kind?;
    let view = server.store.view();
    let objects = view.count(&kind.stored_as, None) as u64;
    let sizes =
        view.list(&kind.stored_as, None, None).take(SAMPLE).map(|entry| entry.object.bytes.len() as u64);
    let (count, sum) = sizes.fold((0_u64, 0_u64), |(count, sum), size| (count + 1, sum + size));
    Some(Stored { objects, mean_bytes: sum / count.max(1) })
}

#[cfg(test)]
mod tests;
