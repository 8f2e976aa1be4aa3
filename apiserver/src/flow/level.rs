//! A priority level in use: seats are taken, waited for and given back.

use super::counts::Counts;
use super::patience::Patience;
use super::queues::{Arrival, Queues, Refusal, Seat, Shown, Ticket, Work};
use super::roll::{About, Entry, Roll};
use super::seats::{self, Share};
use super::table::{self, Limited};
use super::watches::Watched;
use super::{Flows, TooMany};
use http::header::HeaderValue;
use raft_store::Clock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

/// A priority level in use.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) header: Option<HeaderValue>,
    /// `None` when it is exempt: nobody waits, and what runs is counted with the schemas only.
    pub(super) limited: Option<Bounded>,
}

/// What a level that is not exempt has.
pub(super) struct Bounded {
    config: Limited,
    pub(super) share: Share,
    state: Mutex<State>,
}

/// What changes as requests come and go.
pub(super) struct State {
    queues: Queues,
    /// Who waits, and how they are called.
    callers: HashMap<Ticket, Caller>,
    roll: Roll,
    patience: Patience,
    refused: u64,
    gave_up: u64,
    /// Whether somebody looks when seats get free by themselves.
    is_looked_after: bool,
}

struct Caller {
    entry: Option<Waiting>,
    call: oneshot::Sender<Place>,
}

/// A request that waits, for the pages that show it.
pub(super) struct Waiting {
    pub(super) flows: Arc<Flows>,
    pub(super) about: About,
    pub(super) came: Duration,
}

/// Seats that were taken, and where the roll has them.
#[derive(Clone, Copy)]
struct Place {
    seat: Seat,
    place: usize,
}

/// Seats of a level.
pub(crate) struct Seats {
    pub(crate) level: String,
    /// Seats by its shares, and the bounds between which it lends and borrows.
    pub(crate) nominal: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// Seats it has now.
    pub(crate) now: u32,
    /// Its clock.
    pub(crate) clock: f64,
}

/// Seats that a request holds until this is dropped.
pub(crate) struct Granted {
    flows: Arc<Flows>,
    watched: Option<Watched>,
    is_watch: bool,
    seats: i64,
    began: Duration,
    held: Option<Place>,
    clock: Arc<dyn Clock>,
}

/// A page's view of a level.
pub(super) struct View {
    pub(super) queues: Vec<Shown>,
    pub(super) executing: u32,
    pub(super) waiting: usize,
    pub(super) refused: u64,
    pub(super) gave_up: u64,
}

/// Takes seats for a request, waiting for them at most so long.
pub(super) async fn seat(
    flows: Arc<Flows>,
    about: About,
    work: Work,
    watched: Option<Watched>,
    clock: &Arc<dyn Clock>,
    wait_max: Duration,
) -> Result<Granted, TooMany> {
    let came = clock.now();
    let is_watch = about.info.verb == "watch";
    let held = match &flows.level.limited {
        None => None,
        Some(bounded) => match bounded.wait(&flows, about, work, clock, wait_max, came).await {
            Ok(place) => Some(place),
            Err(refusal) => {
                flows.counts.refuse(refusal);
                flows.counts.waited_in_vain.observe_time(clock.now().saturating_sub(came));
                let retry_after = bounded.refuse(refusal, clock.now());
                return Err(TooMany { flows: Some(flows), retry_after });
            }
        },
    };
    let began = held.map_or(came, |place| place.seat.began());
    let seats = i64::from(held.map_or(work, |place| place.seat.work()).seats());
    let counts = &flows.counts;
    if held.is_some() {
        counts.waited.observe_time(began.saturating_sub(came));
    }
    counts.dispatched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    counts.execute(1, seats);
    Ok(Granted { clock: clock.clone(), flows, watched, is_watch, seats, began, held })
}

impl Granted {
    /// Under which schema.
    pub(crate) fn flows(&self) -> &Arc<Flows> {
        &self.flows
    }

    /// The watch that is counted, which outlives the seats.
    pub(crate) fn take_watched(&mut self) -> Option<Watched> {
        self.watched.take()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let (now, counts) = (self.clock.now(), &self.flows.counts);
        counts.execute(-1, -self.seats);
        let took = if self.is_watch { &counts.began_watching } else { &counts.executed };
        took.observe_time(now.saturating_sub(self.began));
        if let (Some(bounded), Some(place)) = (&self.flows.level.limited, self.held) {
            let (entry, alarm) = {
                let mut state = bounded.state();
                state.queues.leave(place.seat, now);
                let entry = state.roll.leave(place.place);
                (entry, state.call(now))
            };
            drop(entry);
            look_after(&self.flows.level, alarm, &self.clock);
        }
    }
}

/// Looks again when seats get free by themselves, for as long as somebody waits for them.
fn look_after(level: &Arc<Level>, alarm: Option<Duration>, clock: &Arc<dyn Clock>) {
    let Some(mut at) = alarm else { return };
    let (level, clock) = (level.clone(), clock.clone());
    tokio::spawn(async move {
        let bounded = level.limited.as_ref().expect("only a level with seats has somebody waiting");
        loop {
            // Timers are as exact as a millisecond.
            let soon = at.saturating_sub(clock.now()).max(Duration::from_millis(1));
            tokio::time::sleep(soon).await;
            let mut state = bounded.state();
            state.is_looked_after = false;
            match state.call(clock.now()) {
                Some(next) => at = next,
                None => return,
            }
        }
    });
}

/// A place in a queue. Whoever goes away leaves it, and what it was given meanwhile goes to the next.
struct Queued<'a> {
    level: &'a Arc<Level>,
    bounded: &'a Bounded,
    ticket: Ticket,
    called: oneshot::Receiver<Place>,
    clock: &'a Arc<dyn Clock>,
    counts: &'a Counts,
    seats: i64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.counts.wait(-1, -self.seats);
        let alarm = {
            let mut state = self.bounded.state();
            let now = self.clock.now();
            if state.callers.remove(&self.ticket).is_some() {
                state.queues.give_up(self.ticket, now);
                state.gave_up += 1;
            } else if let Ok(place) = self.called.try_recv() {
                state.leave(place, now);
            }
            state.call(now)
        };
        look_after(self.level, alarm, self.clock);
    }
}

impl Bounded {
    async fn wait(
        &self,
        flows: &Arc<Flows>,
        about: About,
        work: Work,
        clock: &Arc<dyn Clock>,
        wait_max: Duration,
        now: Duration,
    ) -> Result<Place, Refusal> {
        let flow = match self.config.queuing {
            Some(queuing) if queuing.queues > 1 => flows.schema.flow(&about.user, &about.info),
            _ => 0,
        };
        let (ticket, called, alarm) = {
            let mut state = self.state();
            match state.queues.arrive(flow, work, now) {
                Arrival::Runs(seat) => {
                    let entry = Entry { flows: flows.clone(), about, seat, came: now };
                    return Ok(Place { seat, place: state.roll.enter(entry) });
                }
                Arrival::Refused(refusal) => return Err(refusal),
                Arrival::Waits(ticket) => {
                    let (call, called) = oneshot::channel();
                    let entry = Some(Waiting { flows: flows.clone(), about, came: now });
                    state.callers.insert(ticket, Caller { entry, call });
                    flows.counts.lengths.observe(state.queues.waiting() as u64);
                    (ticket, called, state.call(now))
                }
            }
        };
        look_after(&flows.level, alarm, clock);
        let (counts, seats) = (&flows.counts, i64::from(work.seats()));
        counts.wait(1, seats);
        let mut queued = Queued { level: &flows.level, bounded: self, ticket, called, clock, counts, seats };
        match tokio::time::timeout(wait_max, &mut queued.called).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Refusal::TimeOut),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    /// Notes a refusal and gives the seconds the client should stay away.
    fn refuse(&self, refusal: Refusal, now: Duration) -> u64 {
        let mut state = self.state();
        // Who waited in vain was counted when it gave up its place.
        state.refused += u64::from(refusal != Refusal::TimeOut);
        state.patience.refuse(now.as_secs())
    }
}

impl State {
    /// Calls everybody who may run. Gives when to look again, if nobody else does.
    fn call(&mut self, now: Duration) -> Option<Duration> {
        while let Some((ticket, seat)) = self.queues.next(now) {
            let Some(Caller { entry: Some(Waiting { flows, about, came }), call }) =
                self.callers.remove(&ticket)
            else {
                self.queues.leave(seat, now);
                continue;
            };
            let place = Place { seat, place: self.roll.enter(Entry { flows, about, seat, came }) };
            if let Err(place) = call.send(place) {
                self.leave(place, now);
            }
        }
        let due = self.queues.due().filter(|_| !self.is_looked_after)?;
        self.is_looked_after = true;
        Some(due)
    }

    fn leave(&mut self, place: Place, now: Duration) {
        self.queues.leave(place.seat, now);
        self.roll.leave(place.place);
    }

    pub(super) fn take_peak(&mut self) -> u32 {
        self.queues.take_peak()
    }

    /// Everything a page shows of the level.
    pub(super) fn view(&self) -> View {
        View {
            queues: self.queues.shown().collect(),
            executing: self.queues.executing(),
            waiting: self.queues.waiting(),
            refused: self.refused + self.gave_up,
            gave_up: self.gave_up,
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Entry> {
        self.roll.iter()
    }

    pub(super) fn waiting(&self, ticket: Ticket) -> Option<&Waiting> {
        self.callers.get(&ticket)?.entry.as_ref()
    }
}

impl Level {
    /// A level as its object has it, of so many shares in all; the known one if that says the same.
    pub(super) fn new(level: table::Level, sum: u32, known: &[Arc<Self>], now: Duration) -> Arc<Self> {
        let limited = level.limited.map(|config| {
            let (lent, borrowed) = (config.lendable_percent, config.borrowing_percent);
            (config, Share::of(seats::TOTAL, config.shares, sum, lent, borrowed))
        });
        let same = |known: &&Arc<Self>| {
            let bounds = known.limited.as_ref().map(|bounded| (bounded.config, bounded.share));
            known.name == level.name && known.uid == level.uid && bounds == limited
        };
        if let Some(known) = known.iter().find(same) {
            return known.clone();
        }
        let limited = limited.map(|(config, share)| {
            let state = State {
                queues: Queues::new(config.queuing, share.nominal, now),
                callers: HashMap::new(),
                roll: Roll::default(),
                patience: Patience::default(),
                refused: 0,
                gave_up: 0,
                is_looked_after: false,
            };
            Bounded { config, share, state: Mutex::new(state) }
        });
        let header = HeaderValue::from_str(&level.uid).ok().filter(|uid| !uid.is_empty());
        Arc::new(Self { name: level.name, uid: level.uid, header, limited })
    }

    /// Changes the number of seats; an exempt level has none.
    pub(super) fn resize(self: &Arc<Self>, seats: u32, clock: &Arc<dyn Clock>) {
        let Some(bounded) = &self.limited else { return };
        let alarm = {
            let mut state = bounded.state();
            let now = clock.now();
            state.queues.resize(seats, now);
            state.call(now)
        };
        look_after(self, alarm, clock);
    }

    /// Most seats of one request, if the level bounds them.
    pub(super) fn request_max(&self) -> Option<u32> {
        let bounded = self.limited.as_ref()?;
        Some(bounded.share.request_max(bounded.config.queuing?.hand))
    }

    /// Its seats, unless it is exempt.
    pub(super) fn seats(&self) -> Option<Seats> {
        let bounded = self.limited.as_ref()?;
        let Share { nominal, min, max } = bounded.share;
        let queues = &bounded.state().queues;
        let (now, clock) = (queues.seats_max(), queues.clock());
        Some(Seats { level: self.name.clone(), nominal, min, max, now, clock })
    }
}

#[cfg(test)]
impl Level {
    /// Seats held and requests waiting.
    pub(super) fn told(&self) -> (u32, usize) {
        let state = self.limited.as_ref().expect("a level with seats").state();
        (state.queues.held(), state.queues.waiting())
    }
}
