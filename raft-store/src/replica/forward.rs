//! Proposals on their way from a follower to the leader: several in one message, and each at most once in the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mvcc::Command;
use proto::peer as wire;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::supervisor::Replica;
use crate::peers::{PeerReply, PeerRequest};
use crate::proposal;

/// Proposals that wait to be put into a message. The store bounds their bytes.
const WAITING_MAX: usize = 1024;
/// Proposals in one message, and their bytes. One proposal always fits.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Messages under way. More than one, so that a slow one holds up nobody.
const UNDER_WAY_MAX: usize = 8;
/// How long a leader may take to commit a message's proposals.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(8);

/// What became of a proposal that was sent to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// The leader has applied it.
    Appended,
    /// It is in no log and will be in none.
    NotAppended,
    /// Nobody can tell.
    Unknown,
}

struct Waiting {
    command: Arc<Command>,
    answer: oneshot::Sender<Forwarded>,
}

/// The way to the leader. Clones share it.
#[derive(Clone)]
pub(crate) struct Forwarder {
    queue: mpsc::Sender<Waiting>,
}

impl Forwarder {
    /// A way, and the work of walking it.
    pub(crate) fn new(sender: u64) -> (Self, Walk) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        (Self { queue }, Walk { waiting, sender, sequence: AtomicU64::new(1) })
    }

    /// Sends a proposal to the leader and waits for what becomes of it.
    pub(crate) async fn forward(&self, command: Arc<Command>) -> Forwarded {
        let (answer, receiver) = oneshot::channel();
        if self.queue.send(Waiting { command, answer }).await.is_err() {
            return Forwarded::NotAppended;
        }
        receiver.await.unwrap_or(Forwarded::Unknown)
    }
}

/// The far end of a [`Forwarder`].
pub(crate) struct Walk {
    waiting: mpsc::Receiver<Waiting>,
    sender: u64,
    sequence: AtomicU64,
}

impl Walk {
    /// Sends what comes, until nobody is left who could propose.
    pub(crate) async fn run(mut self, replica: Replica) {
        let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        while let Some(first) = self.waiting.recv().await {
            let permit = under_way.clone().acquire_owned().await.expect("never closed");
            let batch = self.fill(first);
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            let (replica, sender) = (replica.clone(), self.sender);
            tokio::spawn(async move {
                send(&replica, batch, sender, sequence).await;
                drop(permit);
            });
        }
    }

    fn fill(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = proposal::cost(&first.command);
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Ok(next) = self.waiting.try_recv() else { break };
            bytes += proposal::cost(&next.command);
            batch.push(next);
        }
        batch
    }
}

async fn send(replica: &Replica, batch: Vec<Waiting>, sender: u64, sequence: u64) {
    use wire::propose_outcome::Outcome;
    let all = |batch: Vec<Waiting>, outcome| {
        for waiting in batch {
            // Its caller may have gone.
            let _ = waiting.answer.send(outcome);
        }
    };
    let Some((client, term)) = replica.leader() else { return all(batch, Forwarded::NotAppended) };
    let commands = batch.iter().map(|waiting| mvcc::wire::command(&waiting.command)).collect();
    let request = wire::ProposeRequest { envelope: client.envelope(), commands, term, sender, sequence };
    let calling = client.call(PeerRequest::Propose(request), REPLY_WAIT_MAX);
    let reply = tokio::select! {
        reply = calling => reply,
        () = replica.leads_no_more(term) => return all(batch, Forwarded::Unknown),
    };
    let outcomes = match reply {
        Ok(PeerReply::Propose(reply)) if reply.outcomes.len() == batch.len() => reply.outcomes,
        Err(error) if !error.may_have_arrived => return all(batch, Forwarded::NotAppended),
        _ => return all(batch, Forwarded::Unknown),
    };
    for (waiting, outcome) in batch.into_iter().zip(outcomes) {
        let forwarded = match outcome.outcome {
            Some(Outcome::Position(_)) => Forwarded::Appended,
            Some(Outcome::NotLeader(_)) => Forwarded::NotAppended,
            Some(Outcome::Unknown(_)) | None => Forwarded::Unknown,
        };
        let _ = waiting.answer.send(forwarded);
    }
}

/// Senders whose requests are remembered. A member has one per start; five members may start a dozen times each before
/// one of them that still runs is forgotten, and then its next request starts a new window.
const SENDERS_MAX: usize = 64;

/// Which requests have arrived, so that one which comes twice is taken once. Of each sender the last 64 are told apart;
/// an older one counts as seen, for a sender has fewer than that under way.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    windows: HashMap<u64, Window>,
}

#[derive(Debug)]
struct Window {
    /// The highest number seen.
    newest: u64,
    /// Bit n: the number n below the newest was seen.
    seen: u64,
    used: Instant,
}

impl Arrivals {
    /// Notes a request; whether it is the first of its number.
    pub(crate) fn is_new(&mut self, sender: u64, sequence: u64) -> bool {
        let now = Instant::now();
        if !self.windows.contains_key(&sender) && self.windows.len() == SENDERS_MAX {
            let oldest = self.windows.iter().min_by_key(|(sender, window)| (window.used, **sender));
            let oldest = *oldest.expect("the map is full").0;
            self.windows.remove(&oldest);
        }
        let window = self.windows.entry(sender).or_insert(Window { newest: 0, seen: 0, used: now });
        window.used = now;
        window.is_new(sequence)
    }
}

impl Window {
    fn is_new(&mut self, sequence: u64) -> bool {
        if sequence > self.newest {
            let ahead = sequence - self.newest;
            self.seen = if ahead < 64 { self.seen << ahead } else { 0 };
            self.newest = sequence;
        }
        let behind = self.newest - sequence;
        if behind >= 64 || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Arrivals;

    /// Numbers in the order they arrive; `!` marks those that must not be taken.
    fn check(arrivals: &str) {
        let mut seen = Arrivals::default();
        for word in arrivals.split_whitespace() {
            let (number, expected) = word.strip_suffix('!').map_or((word, true), |number| (number, false));
            let number: u64 = number.parse().expect("a number");
            assert_eq!(seen.is_new(7, number), expected, "{word} in {arrivals}");
        }
    }

    #[test]
    fn a_request_is_taken_once() {
        check("1 1! 2 2! 1!");
        check("3 1 2 1! 2! 3!");
        check("1 64 1! 65 1! 2 66 2!");
        check("1 100 100! 1! 36! 37 37!");
        check("5 500 5! 499 499!");
    }

    #[test]
    fn senders_do_not_share_numbers() {
        let mut seen = Arrivals::default();
        assert!(seen.is_new(1, 1));
        assert!(seen.is_new(2, 1));
        assert!(!seen.is_new(1, 1));
    }
}
