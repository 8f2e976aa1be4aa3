//! API priority and fairness: every request that is no stream takes seats of a priority level while it is answered, waits
//! for them in one of the level's queues, or is refused with 429. What a level, a flow and a seat are is decided by the pure
//! [`table`], [`queues`] and [`seats`]; here they are kept, fed from the store and waited for.
//!
//! A level's lock is held for a few steps of its queues and never across an await.

mod queues;
mod seats;
mod table;

use crate::catalog::{self, Kind};
use crate::request_info::RequestInfo;
use crate::server::Inner;
use access::UserInfo;
use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use kinds::flowcontrol::bootstrap::shipped;
use kinds::tree::str_at;
use mvcc::Interest;
use queues::{Arrival, Queues, Refusal, Seat, Ticket};
use raft_store::{Clock, Watcher};
use schema::Tree;
use seats::Share;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use table::{Limited, Schema};
use tokio::sync::oneshot;

/// How long a request may wait for its seats: a quarter of what it may take.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How often seats are given out anew.
const BORROWING_PERIOD: Duration = Duration::from_secs(10);
/// How long until the store is asked again when it could not be watched.
const RETRY: Duration = Duration::from_secs(1);
/// Objects whose size stands for all of their kind.
const SAMPLE: usize = 10;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
static SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
static LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// What is counted of a schema's requests.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) dispatched: AtomicU64,
    pub(crate) executing: AtomicI64,
    pub(crate) waiting: AtomicI64,
    /// By reason: no seat, full queue, waited too long.
    pub(crate) rejected: [AtomicU64; 3],
}

const REFUSALS: [Refusal; 3] = [Refusal::ConcurrencyLimit, Refusal::QueueFull, Refusal::TimeOut];

/// A schema in use.
struct Flows {
    schema: Schema,
    level: Arc<Level>,
    counts: Arc<Counts>,
}

/// A priority level in use.
struct Level {
    name: String,
    uid: String,
    /// `None` when it is exempt.
    limited: Option<Bounded>,
}

struct Bounded {
    config: Limited,
    share: Share,
    state: Mutex<State>,
}

struct State {
    queues: Queues,
    /// Who waits, and how they are called.
    callers: HashMap<Ticket, oneshot::Sender<Seat>>,
}

/// Schemas by precedence.
struct Table {
    flows: Vec<Flows>,
    levels: Vec<Arc<Level>>,
}

/// Priority and fairness of one server.
pub(crate) struct Flow {
    table: ArcSwap<Table>,
    clock: Arc<dyn Clock>,
    /// When seats were last given out anew.
    given_out: Mutex<Duration>,
}

/// Seats that a request holds until this is dropped.
pub(crate) struct Granted {
    level: Arc<Level>,
    counts: Arc<Counts>,
    schema_uid: String,
    seat: Option<Seat>,
    clock: Arc<dyn Clock>,
}

/// The request is one too many.
pub(crate) struct TooMany;

impl Flow {
    /// As every cluster begins; what the store has comes with [`follow`].
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let table = Table::new(shipped().iter().map(|shipped| &shipped.object), None, clock.now());
        Self { table: ArcSwap::from_pointee(table), given_out: Mutex::new(clock.now()), clock }
    }

    /// Takes seats for a request, waiting for them if it must. `width` is asked only of requests that count.
    pub(crate) async fn admit(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        width: impl FnOnce() -> u32,
    ) -> Result<Granted, TooMany> {
        let table = self.table.load_full();
        let Some(flows) = table.flows.iter().find(|flows| flows.schema.matches(user, info)) else {
            return Err(TooMany);
        };
        let granted = |seat| Granted {
            level: flows.level.clone(),
            counts: flows.counts.clone(),
            schema_uid: flows.schema.uid.clone(),
            seat,
            clock: self.clock.clone(),
        };
        let seat = match &flows.level.limited {
            None => None,
            Some(bounded) => {
                self.give_out(&table);
                let flow = flows.schema.flow(user, info);
                match self.wait(bounded, flow, width(), &flows.counts).await {
                    Ok(seat) => Some(seat),
                    Err(refusal) => {
                        flows.counts.rejected[refusal as usize].fetch_add(1, Ordering::Relaxed);
                        return Err(TooMany);
                    }
                }
            }
        };
        flows.counts.dispatched.fetch_add(1, Ordering::Relaxed);
        flows.counts.executing.fetch_add(1, Ordering::Relaxed);
        Ok(granted(seat))
    }

    async fn wait(&self, bounded: &Bounded, flow: u64, width: u32, counts: &Counts) -> Result<Seat, Refusal> {
        let (ticket, called) = {
            let mut state = bounded.state();
            let now = self.clock.now();
            match state.queues.arrive(flow, width, now) {
                Arrival::Runs(seat) => return Ok(seat),
                Arrival::Refused(refusal) => return Err(refusal),
                Arrival::Waits(ticket) => {
                    let (sender, called) = oneshot::channel();
                    state.callers.insert(ticket, sender);
                    state.call(now);
                    (ticket, called)
                }
            }
        };
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { bounded, ticket, called, clock: &*self.clock, counts };
        match tokio::time::timeout(WAIT_MAX, &mut place.called).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(Refusal::TimeOut),
        }
    }

    /// Gives out seats anew when it is time.
    fn give_out(&self, table: &Table) {
        let now = self.clock.now();
        let Ok(mut given_out) = self.given_out.try_lock() else { return };
        if now.saturating_sub(*given_out) < BORROWING_PERIOD {
            return;
        }
        *given_out = now;
        let bounded: Vec<&Bounded> = table.levels.iter().filter_map(|level| level.limited.as_ref()).collect();
        let wanted: Vec<(Share, u32)> =
            bounded.iter().map(|level| (level.share, level.state().queues.take_peak())).collect();
        for (level, seats) in bounded.iter().zip(seats::allocate(seats::TOTAL, &wanted)) {
            let mut state = level.state();
            state.queues.resize(seats, now);
            state.call(now);
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
            |flows: &Flows| (flows.schema.name.clone(), flows.level.name.clone(), flows.counts.clone());
        table.flows.iter().map(told).collect()
    }

    /// Seats of each level: name, seats it has by its shares, seats it has now, seats held, requests waiting.
    pub(crate) fn seats(&self) -> Vec<(String, u32, u32, u32, usize)> {
        let table = self.table.load();
        let told = |level: &Arc<Level>| {
            let bounded = level.limited.as_ref()?;
            let queues = &bounded.state().queues;
            let (now, held) = (queues.seats_max(), queues.running());
            Some((level.name.clone(), bounded.share.nominal, now, held, queues.waiting()))
        };
        table.levels.iter().filter_map(told).collect()
    }
}

/// The words of refusals beside their counts.
pub(crate) fn rejections(counts: &Counts) -> impl Iterator<Item = (&'static str, u64)> {
    REFUSALS
        .iter()
        .zip(&counts.rejected)
        .map(|(refusal, count)| (refusal.reason(), count.load(Ordering::Relaxed)))
}

/// A place in a queue. Whoever goes away leaves it, and what it was given meanwhile goes to the next.
struct Place<'a> {
    bounded: &'a Bounded,
    ticket: Ticket,
    called: oneshot::Receiver<Seat>,
    clock: &'a dyn Clock,
    counts: &'a Counts,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.bounded.state();
        let now = self.clock.now();
        if state.callers.remove(&self.ticket).is_some() {
            state.queues.give_up(self.ticket, now);
        } else if let Ok(seat) = self.called.try_recv() {
            state.queues.leave(seat, now);
        }
        state.call(now);
    }
}

impl Bounded {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

impl State {
    /// Calls everybody who may run.
    fn call(&mut self, now: Duration) {
        while let Some((ticket, seat)) = self.queues.next(now) {
            let caller = self.callers.remove(&ticket);
            if caller.is_none_or(|caller| caller.send(seat).is_err()) {
                self.queues.leave(seat, now);
            }
        }
    }
}

impl Granted {
    /// Tells the client under which schema and level it was served.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for (name, uid) in [(&SCHEMA_UID, &self.schema_uid), (&LEVEL_UID, &self.level.uid)] {
            if let Ok(value) = HeaderValue::from_str(uid) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.counts.executing.fetch_sub(1, Ordering::Relaxed);
        if let (Some(bounded), Some(seat)) = (&self.level.limited, self.seat) {
            let (mut state, now) = (bounded.state(), self.clock.now());
            state.queues.leave(seat, now);
            state.call(now);
        }
    }
}

impl Table {
    /// A table of these objects. Levels and counts that have not changed go on as they are.
    fn new<'a>(objects: impl Iterator<Item = &'a Tree>, before: Option<&Self>, now: Duration) -> Self {
        let (schemas, levels): (Vec<&Tree>, Vec<&Tree>) =
            objects.partition(|object| str_at(object, "kind") == "FlowSchema");
        let levels: Vec<table::Level> = levels.into_iter().map(table::Level::read).collect();
        let sum = levels.iter().filter_map(|level| level.limited).map(|limited| limited.shares).sum();
        let levels: Vec<Arc<Level>> =
            levels.into_iter().map(|level| Level::new(level, sum, before, now)).collect();
        let mut schemas: Vec<Schema> = schemas.into_iter().map(Schema::read).collect();
        schemas.sort_by(|one, other| (one.precedence, &one.name).cmp(&(other.precedence, &other.name)));
        let flows = schemas.into_iter().filter_map(|schema| {
            let level = levels.iter().find(|level| level.name == schema.level)?.clone();
            let known =
                before.and_then(|table| table.flows.iter().find(|flows| flows.schema.name == schema.name));
            let counts = known.map(|flows| flows.counts.clone()).unwrap_or_default();
            Some(Flows { schema, level, counts })
        });
        Self { flows: flows.collect(), levels }
    }
}

impl Level {
    fn new(level: table::Level, sum: u32, before: Option<&Table>, now: Duration) -> Arc<Self> {
        let limited = level.limited.map(|config| {
            let (lent, borrowed) = (config.lendable_percent, config.borrowing_percent);
            (config, Share::of(seats::TOTAL, config.shares, sum, lent, borrowed))
        });
        let same = |known: &&Arc<Self>| {
            let bounds = known.limited.as_ref().map(|bounded| (bounded.config, bounded.share));
            known.name == level.name && known.uid == level.uid && bounds == limited
        };
        if let Some(known) = before.and_then(|table| table.levels.iter().find(same)) {
            return known.clone();
        }
        let limited = limited.map(|(config, share)| {
            let queues = Queues::new(config.queuing, share.nominal, now);
            Bounded { config, share, state: Mutex::new(State { queues, callers: HashMap::new() }) }
        });
        Arc::new(Self { name: level.name, uid: level.uid, limited })
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

/// The seats a request needs: a list as many as its bytes ask for, everything else one.
pub(crate) fn width(server: &Inner, info: &RequestInfo, limit: u64) -> u32 {
    let whole = matches!(&*info.verb, "list" | "watch") && info.name.is_empty();
    let Some(kind) = catalog::find(&info.group, &info.version, &info.resource).filter(|_| whole) else {
        return 1;
    };
    let view = server.store.view();
    let namespace = info.in_namespace.then_some(info.namespace.as_str());
    let count = view.count(&kind.stored_as, namespace) as u64;
    if count == 0 {
        return 1;
    }
    let sizes: Vec<usize> = view
        .list(&kind.stored_as, namespace, None)
        .take(SAMPLE)
        .map(|entry| entry.object.bytes.len())
        .collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len().max(1);
    seats::list_width(count, mean as u64, limit)
}

#[cfg(test)]
mod tests;
