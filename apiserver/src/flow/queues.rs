//! The seats of one priority level and the queues before them: which request runs, which waits and which is refused. Pure;
//! time and hashes come in.
//!
//! Fair queuing: the level has a clock that runs as fast as its busy queues are served. A queue's next request may begin at
//! the queue's own start on that clock, which moves on by what the queue uses; of several queues the one that would be done
//! first is served. Shuffle sharding: a flow may use a few of the queues, and takes the one with the least work waiting, so
//! that one noisy flow shares few queues with any other.
//!
//! A request may keep seats for a while after it has ended: what it changed is still on its way to watchers.
//!
//! ```text
//! two seats, queues a and b: a1 a2 a3 arrive, then b1
//! run a1 a2, wait a3 b1; a1 ends: b1 runs, since a has used two seats and b none
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// What a request is thought to take before it has ended, as upstream's guess.
const GUESSED: Duration = Duration::from_millis(3);

/// How a level queues; `None` in its place refuses what cannot run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queuing {
    pub(super) queues: usize,
    /// Queues a flow may use.
    pub(super) hand: usize,
    /// Requests a queue holds.
    pub(super) length_max: usize,
}

/// The work of a request: seats while it is answered, and seats afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) initial: u32,
    /// Seats that stay taken after the answer.
    pub(super) last: u32,
    /// For how long they do.
    pub(super) lingers: Duration,
}

impl Work {
    /// So many seats until it is answered.
    pub(super) const fn of(initial: u32) -> Self {
        Self { initial, last: 0, lingers: Duration::ZERO }
    }

    /// Seats it holds in both parts of its life: they are not given away in between.
    pub(super) fn seats(&self) -> u32 {
        self.initial.max(self.last)
    }

    /// Seconds times seats.
    fn total(&self) -> f64 {
        f64::from(self.initial) * GUESSED.as_secs_f64() + self.after()
    }

    fn after(&self) -> f64 {
        f64::from(self.last) * self.lingers.as_secs_f64()
    }

    /// The same work on at most so many seats, for longer.
    fn narrowed(self, seats_max: u32) -> Self {
        if self.last <= seats_max {
            return self;
        }
        let last = seats_max.max(1);
        Self { last, lingers: Duration::from_secs_f64(self.after() / f64::from(last)), ..self }
    }
}

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// A request that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    queue: Option<usize>,
    work: Work,
    began: Duration,
}

impl Seat {
    /// The queue it came through.
    pub(super) fn queue(&self) -> Option<usize> {
        self.queue
    }

    pub(super) fn work(&self) -> Work {
        self.work
    }

    /// When it began.
    pub(super) fn began(&self) -> Duration {
        self.began
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The level has no queues and no seat.
    ConcurrencyLimit,
    /// The queue of the flow is full.
    QueueFull,
    /// It has waited too long.
    TimeOut,
}

impl Refusal {
    /// The word in metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// What becomes of a request that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Runs(Seat),
    Waits(Ticket),
    Refused(Refusal),
}

#[derive(Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    work: Work,
    /// The level's clock when it came.
    came: f64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Requests of it that are being answered.
    executing: u32,
    /// Seats its requests hold, those that were answered included.
    held: u32,
    /// What waits: seats while answered, seats held, work.
    sums: Sums,
    /// When its next request may begin, on the level's clock in seconds times seats.
    start: f64,
}

/// Sums over what waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) initial: u32,
    pub(super) seats: u32,
    pub(super) work: f64,
}

impl Queue {
    fn is_busy(&self) -> bool {
        self.executing > 0 || !self.waiting.is_empty()
    }

    fn push(&mut self, waiting: Waiting) {
        self.sums.initial += waiting.work.initial;
        self.sums.seats += waiting.work.seats();
        self.sums.work += waiting.work.total();
        self.waiting.push_back(waiting);
    }

    fn remove(&mut self, at: usize) -> Option<Waiting> {
        let waiting = self.waiting.remove(at)?;
        self.sums.initial -= waiting.work.initial;
        self.sums.seats -= waiting.work.seats();
        self.sums.work -= waiting.work.total();
        if self.waiting.is_empty() {
            // What adding and taking away has left of fractions is forgotten.
            self.sums = Sums::default();
        }
        Some(waiting)
    }

    /// A queue does not save up for later what it did not use before its first request came.
    fn bound_start(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.start = self.start.max(first.came);
        }
    }

    /// Where the queue would be once its first request were answered.
    fn finish(&self) -> Option<f64> {
        Some(self.start + self.waiting.front()?.work.total())
    }
}

/// One queue as somebody who looks for trouble sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) waiting: Vec<(Ticket, Work)>,
    pub(super) executing: u32,
    pub(super) held: u32,
    pub(super) start: f64,
    pub(super) sums: Sums,
}

/// A level's state.
pub(super) struct Queues {
    queuing: Option<Queuing>,
    seats_max: u32,
    /// Seats held, those of answered requests included.
    held: u32,
    executing: u32,
    waiting: usize,
    waiting_seats: u32,
    /// Queues with a request that waits or is being answered.
    busy: u32,
    queues: Vec<Queue>,
    /// Seats that are free again later: when, of which queue, how many.
    lingering: BinaryHeap<Reverse<(Duration, Option<usize>, u32)>>,
    /// The level's clock, and when it was last set.
    clock: f64,
    set_at: Duration,
    next_ticket: u64,
    /// Where the search for the next queue begins, so that equal queues take turns.
    turn: usize,
    /// Most seats wanted at once since somebody asked.
    peak: u32,
    /// Who may run and was not told yet.
    ready: VecDeque<(Ticket, Seat)>,
    /// Where a hand is dealt; kept so that no request allocates.
    hand: Vec<usize>,
}

impl Queues {
    pub(super) fn new(queuing: Option<Queuing>, seats_max: u32, now: Duration) -> Self {
        let count = queuing.map_or(0, |queuing| queuing.queues);
        Self {
            queuing,
            seats_max,
            held: 0,
            executing: 0,
            waiting: 0,
            waiting_seats: 0,
            busy: 0,
            queues: (0..count).map(|_| Queue::default()).collect(),
            lingering: BinaryHeap::new(),
            clock: 0.0,
            set_at: now,
            next_ticket: 0,
            turn: 0,
            peak: 0,
            ready: VecDeque::new(),
            hand: Vec::new(),
        }
    }

    /// A request of a flow comes.
    pub(super) fn arrive(&mut self, flow: u64, work: Work, now: Duration) -> Arrival {
        self.advance(now);
        let Some(queuing) = self.queuing else {
            if !self.has_room(work.seats()) {
                return Arrival::Refused(Refusal::ConcurrencyLimit);
            }
            return Arrival::Runs(self.run(None, work, now));
        };
        let index = self.choose(flow, queuing);
        if self.held >= self.seats_max && self.queues[index].waiting.len() >= queuing.length_max {
            return Arrival::Refused(Refusal::QueueFull);
        }
        let ticket = self.enqueue(index, work);
        let mut mine = None;
        // Whoever waits goes first: it runs only if its turn is now.
        while let Some((first, seat)) = self.dispatch(index, now) {
            if first == ticket {
                mine = Some(seat);
            } else {
                self.ready.push_back((first, seat));
            }
        }
        mine.map_or(Arrival::Waits(ticket), Arrival::Runs)
    }

    /// A request has ended. What may run now comes from [`Self::next`].
    pub(super) fn leave(&mut self, seat: Seat, now: Duration) {
        self.advance(now);
        self.executing -= 1;
        if let Some(queue) = seat.queue.and_then(|index| self.queues.get_mut(index)) {
            queue.executing -= 1;
            self.busy -= u32::from(!queue.is_busy());
            // The guess is replaced by what it took.
            let took = now.saturating_sub(seat.began).as_secs_f64();
            queue.start += (took - GUESSED.as_secs_f64()) * f64::from(seat.work.initial);
            queue.bound_start();
        }
        let seats = seat.work.seats();
        if seat.work.lingers.is_zero() {
            self.release(seat.queue, seats);
        } else {
            self.lingering.push(Reverse((now + seat.work.lingers, seat.queue, seats)));
        }
    }

    /// A request that waits for nobody any more; false when it runs already.
    pub(super) fn give_up(&mut self, ticket: Ticket, now: Duration) -> bool {
        self.advance(now);
        for queue in &mut self.queues {
            if let Some(at) = queue.waiting.iter().position(|waiting| waiting.ticket == ticket) {
                let waiting = queue.remove(at).expect("found above");
                queue.bound_start();
                self.waiting -= 1;
                self.waiting_seats -= waiting.work.seats();
                self.busy -= u32::from(!queue.is_busy());
                return true;
            }
        }
        false
    }

    /// The next request that may run, if there is one.
    pub(super) fn next(&mut self, now: Duration) -> Option<(Ticket, Seat)> {
        self.advance(now);
        self.ready.pop_front().or_else(|| self.dispatch(0, now))
    }

    /// When seats get free without anybody's doing, if somebody waits for them.
    pub(super) fn due(&self) -> Option<Duration> {
        let Reverse((at, ..)) = self.lingering.peek().filter(|_| self.waiting > 0)?;
        Some(*at)
    }

    /// Changes the number of seats; whoever runs goes on.
    pub(super) fn resize(&mut self, seats_max: u32, now: Duration) {
        self.advance(now);
        self.seats_max = seats_max;
    }

    pub(super) fn seats_max(&self) -> u32 {
        self.seats_max
    }

    /// Seats held.
    #[cfg(test)]
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// Requests being answered.
    pub(super) fn executing(&self) -> u32 {
        self.executing
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The level's clock, in seconds times seats.
    pub(super) fn clock(&self) -> f64 {
        self.clock
    }

    /// Most seats wanted at once since the last look.
    pub(super) fn take_peak(&mut self) -> u32 {
        std::mem::replace(&mut self.peak, self.held + self.waiting_seats)
    }

    /// Every queue, in order.
    pub(super) fn shown(&self) -> impl Iterator<Item = Shown> {
        self.queues.iter().map(|queue| Shown {
            waiting: queue.waiting.iter().map(|waiting| (waiting.ticket, waiting.work)).collect(),
            executing: queue.executing,
            held: queue.held,
            start: queue.start,
            sums: queue.sums,
        })
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.held + self.waiting_seats);
    }

    fn has_room(&self, seats: u32) -> bool {
        // What is wider than the level runs alone.
        if seats > self.seats_max { self.executing == 0 } else { self.held + seats <= self.seats_max }
    }

    fn release(&mut self, queue: Option<usize>, seats: u32) {
        self.held -= seats;
        if let Some(queue) = queue.and_then(|index| self.queues.get_mut(index)) {
            queue.held -= seats;
        }
    }

    /// Brings the level to a time: seats that are due are free from when they were.
    fn advance(&mut self, now: Duration) {
        while let Some(Reverse((at, queue, seats))) = self.lingering.peek().copied() {
            if at > now {
                break;
            }
            self.tick(at);
            self.lingering.pop();
            self.release(queue, seats);
        }
        self.tick(now);
    }

    /// Sets the level's clock. With as many seats as are wanted it runs as fast as the world's for each seat of a queue;
    /// with fewer, the busy queues share them.
    fn tick(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.set_at);
        self.set_at = self.set_at.max(now);
        if self.busy > 0 && !passed.is_zero() {
            let seats = (self.held + self.waiting_seats).min(self.seats_max);
            self.clock += passed.as_secs_f64() * f64::from(seats) / f64::from(self.busy);
        }
    }

    /// Of the flow's queues the one with the least work waiting; of equal ones they take turns.
    fn choose(&mut self, flow: u64, queuing: Queuing) -> usize {
        let mut hand = std::mem::take(&mut self.hand);
        deal(flow, queuing.queues, queuing.hand, &mut hand);
        let first = usize::try_from(self.next_ticket).unwrap_or_default() % hand.len();
        let (before, after) = hand.split_at(first);
        let work = |index: &&usize| self.queues[**index].sums.work;
        let least = after.iter().chain(before).min_by(|one, other| work(one).total_cmp(&work(other)));
        let least = *least.expect("a hand has a queue");
        self.hand = hand;
        least
    }

    fn enqueue(&mut self, index: usize, work: Work) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let queue = &mut self.queues[index];
        if !queue.is_busy() {
            queue.start = self.clock;
            self.busy += 1;
        }
        queue.push(Waiting { ticket, work, came: self.clock });
        queue.bound_start();
        self.waiting += 1;
        self.waiting_seats += work.seats();
        self.note_peak();
        ticket
    }

    /// Lets the first request of the queue whose turn it is run, if it fits. `newest` has a request if any queue has just one.
    fn dispatch(&mut self, newest: usize, now: Duration) -> Option<(Ticket, Seat)> {
        if self.waiting == 0 || self.held >= self.seats_max {
            return None;
        }
        let alone = self.waiting == 1 && !self.queues[newest].waiting.is_empty();
        let index = if alone { newest } else { self.next_queue()? };
        let first = *self.queues[index].waiting.front()?;
        if !self.has_room(first.work.seats()) {
            return None;
        }
        self.queues[index].remove(0);
        self.waiting -= 1;
        self.waiting_seats -= first.work.seats();
        self.turn = (index + 1) % self.queues.len();
        Some((first.ticket, self.run(Some(index), first.work, now)))
    }

    fn next_queue(&self) -> Option<usize> {
        let count = self.queues.len();
        let mut best: Option<(f64, usize)> = None;
        for index in (0..count).map(|step| (self.turn + step) % count) {
            if let Some(finish) = self.queues[index].finish()
                && best.is_none_or(|(least, _)| finish < least)
            {
                best = Some((finish, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// Takes the seats of a request.
    fn run(&mut self, index: Option<usize>, work: Work, now: Duration) -> Seat {
        let work = work.narrowed(self.seats_max);
        self.executing += 1;
        self.held += work.seats();
        if let Some(queue) = index.map(|index| &mut self.queues[index]) {
            queue.executing += 1;
            queue.held += work.seats();
            queue.start += work.total();
            queue.bound_start();
        }
        self.note_peak();
        Seat { queue: index, work, began: now }
    }
}

/// The queues a flow may use: `hand` different ones of `queues` in rising order, told by its hash alone.
fn deal(mut hash: u64, queues: usize, hand: usize, dealt: &mut Vec<usize>) {
    dealt.clear();
    for left in (1..=queues).rev().take(hand.max(1)) {
        let count = left as u64;
        let mut card = usize::try_from(hash % count).expect("below the number of queues");
        hash /= count;
        // Cards are counted among those that are left.
        let mut at = 0;
        while dealt.get(at).is_some_and(|known| *known <= card) {
            card += 1;
            at += 1;
        }
        dealt.insert(at, card);
    }
}

#[cfg(test)]
mod tests;
