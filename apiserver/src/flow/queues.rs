//! The seats of one priority level and the queues before them: which request runs, which waits and which is refused. Pure;
//! time and hashes come in.
//!
//! Fair queuing: the level has a clock that runs as fast as its busy queues are served. A queue's next request may begin at
//! the queue's own start on that clock, which moves on by what the queue uses; of several queues the one that would be done
//! first is served. Shuffle sharding: a flow may use a few of the queues, and takes the emptiest of them, so that one noisy
//! flow shares few queues with any other.
//!
//! ```text
//! two seats, queues a and b: a1 a2 a3 arrive, then b1
//! run a1 a2, wait a3 b1; a1 ends: b1 runs, since a has used two seats and b none
//! ```

use std::collections::VecDeque;
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

/// A request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// A request that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    queue: Option<usize>,
    width: u32,
    began: Duration,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The level has no queues and no seat.
    ConcurrencyLimit,
    /// Every queue of the flow is full.
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
    width: u32,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Seats its requests hold.
    running: u32,
    /// When its next request may begin, on the level's clock in seconds times seats.
    start: f64,
}

impl Queue {
    fn is_busy(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }

    fn seats_wanted(&self) -> u32 {
        self.running + self.waiting.iter().map(|waiting| waiting.width).sum::<u32>()
    }
}

/// A level's state.
pub(super) struct Queues {
    queuing: Option<Queuing>,
    seats_max: u32,
    running: u32,
    queues: Vec<Queue>,
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
}

impl Queues {
    pub(super) fn new(queuing: Option<Queuing>, seats_max: u32, now: Duration) -> Self {
        let count = queuing.map_or(0, |queuing| queuing.queues);
        Self {
            queuing,
            seats_max,
            running: 0,
            queues: (0..count).map(|_| Queue::default()).collect(),
            clock: 0.0,
            set_at: now,
            next_ticket: 0,
            turn: 0,
            peak: 0,
            ready: VecDeque::new(),
        }
    }

    /// A request of a flow comes that needs `width` seats.
    pub(super) fn arrive(&mut self, flow: u64, width: u32, now: Duration) -> Arrival {
        self.advance(now);
        // Wider than the level is as wide as the level.
        let width = width.clamp(1, self.seats_max.max(1));
        let Some(queuing) = self.queuing else {
            if self.running + width > self.seats_max {
                return Arrival::Refused(Refusal::ConcurrencyLimit);
            }
            self.running += width;
            self.note_peak();
            return Arrival::Runs(Seat { queue: None, width, began: now });
        };
        let index = self.emptiest(flow, queuing);
        if self.queues[index].waiting.len() >= queuing.length_max {
            return Arrival::Refused(Refusal::QueueFull);
        }
        if !self.queues[index].is_busy() {
            self.queues[index].start = self.clock;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queues[index].waiting.push_back(Waiting { ticket, width });
        self.note_peak();
        // Whoever waits goes first: it runs only if its turn is now.
        match self.dispatch(now) {
            Some((first, seat)) if first == ticket => Arrival::Runs(seat),
            // Somebody who gave up stood in the way of another until now.
            Some(other) => {
                self.ready.push_back(other);
                Arrival::Waits(ticket)
            }
            None => Arrival::Waits(ticket),
        }
    }

    /// A request has ended. What may run now comes from [`Self::next`].
    pub(super) fn leave(&mut self, seat: Seat, now: Duration) {
        self.advance(now);
        self.running -= seat.width;
        if let Some(queue) = seat.queue.and_then(|index| self.queues.get_mut(index)) {
            queue.running -= seat.width;
            // The guess is replaced by what it took.
            let took = now.saturating_sub(seat.began).as_secs_f64();
            queue.start += (took - GUESSED.as_secs_f64()) * f64::from(seat.width);
        }
    }

    /// A request that waits for nobody any more; false when it runs already.
    pub(super) fn give_up(&mut self, ticket: Ticket, now: Duration) -> bool {
        self.advance(now);
        for queue in &mut self.queues {
            if let Some(at) = queue.waiting.iter().position(|waiting| waiting.ticket == ticket) {
                queue.waiting.remove(at);
                return true;
            }
        }
        false
    }

    /// The next request that may run, if there is one.
    pub(super) fn next(&mut self, now: Duration) -> Option<(Ticket, Seat)> {
        self.advance(now);
        self.ready.pop_front().or_else(|| self.dispatch(now))
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
    pub(super) fn running(&self) -> u32 {
        self.running
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queues.iter().map(|queue| queue.waiting.len()).sum()
    }

    /// Most seats wanted at once since the last look.
    pub(super) fn take_peak(&mut self) -> u32 {
        let wanted = self.seats_wanted();
        std::mem::replace(&mut self.peak, wanted)
    }

    fn seats_wanted(&self) -> u32 {
        if self.queues.is_empty() { self.running } else { self.queues.iter().map(Queue::seats_wanted).sum() }
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.seats_wanted());
    }

    /// Sets the level's clock. With as many seats as are wanted it runs as fast as the world's for each seat of a queue;
    /// with fewer, the busy queues share them.
    fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.set_at).as_secs_f64();
        self.set_at = self.set_at.max(now);
        let busy = self.queues.iter().filter(|queue| queue.is_busy()).count();
        if busy > 0 && passed > 0.0 {
            let seats = self.seats_wanted().min(self.seats_max);
            // A level has far fewer queues than 2^32.
            self.clock += passed * f64::from(seats) / f64::from(u32::try_from(busy).unwrap_or(u32::MAX));
        }
    }

    fn emptiest(&self, flow: u64, queuing: Queuing) -> usize {
        let hand = deal(flow, queuing.queues, queuing.hand);
        let wanted = |index: &usize| self.queues[*index].seats_wanted();
        hand.into_iter().min_by_key(wanted).expect("a hand has a queue")
    }

    /// Lets the first request of the queue whose turn it is run, if it fits.
    fn dispatch(&mut self, now: Duration) -> Option<(Ticket, Seat)> {
        let count = self.queues.len();
        let done = |queue: &Queue| {
            let first = queue.waiting.front()?;
            Some(queue.start + GUESSED.as_secs_f64() * f64::from(first.width))
        };
        let mut best: Option<(f64, usize)> = None;
        for index in (0..count).map(|step| (self.turn + step) % count) {
            if let Some(done) = done(&self.queues[index])
                && best.is_none_or(|(least, _)| done < least)
            {
                best = Some((done, index));
            }
        }
        let (_, index) = best?;
        let queue = &mut self.queues[index];
        let first = *queue.waiting.front()?;
        // What became wider than the level when it shrank runs alone.
        if self.running + first.width > self.seats_max && self.running > 0 {
            return None;
        }
        queue.waiting.pop_front();
        queue.start += GUESSED.as_secs_f64() * f64::from(first.width);
        queue.running += first.width;
        self.running += first.width;
        self.turn = (index + 1) % count;
        Some((first.ticket, Seat { queue: Some(index), width: first.width, began: now }))
    }
}

/// The queues a flow may use: `hand` different ones of `queues`, told by its hash alone.
fn deal(mut hash: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..queues).collect();
    let mut dealt = Vec::with_capacity(hand);
    while dealt.len() < hand.max(1) && !left.is_empty() {
        let count = left.len() as u64;
        let card = usize::try_from(hash % count).expect("below the number of queues");
        hash /= count;
        dealt.push(left.remove(card));
    }
    dealt
}

#[cfg(test)]
mod tests;
