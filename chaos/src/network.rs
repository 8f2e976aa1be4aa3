//! The network between the computers: messages take their time, and some get lost, late or twice.
//!
//! Everything about a message is drawn when it is sent; whether a wire is cut is looked at when it
//! arrives. A sender that has lost its power sends nothing, and what it sent before goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft_store::peers::{PeerReply, PeerRequest, Transport, Unreached, message};
use raft_store::{MemberId, Store};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::forgery;
use crate::seed::Stream;
use crate::tally::{ANSWERED, CUT_OFF, LOST, MESSAGES, REPLY_LOST, RESET, SENT, TWICE};
use crate::trace::Recorder;

/// The name of the cluster.
pub const CLUSTER: &str = "sim";

/// After so much silence a connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// Of a hundred messages, those that others overtake though nothing is wrong.
const LATE_PERCENT: u64 = 4;

/// A snapshot is sent so rarely that what is wrong now and then would hardly ever meet one: while things go wrong, so many of
/// a hundred are lost, arrive twice, or are slow enough that something else happens on the way.
const SNAPSHOT_LOST_PERCENT: u64 = 12;
const SNAPSHOT_TWICE_PERCENT: u64 = 20;
const SNAPSHOT_SLOW_PERCENT: u64 = 30;

/// How slow.
const SNAPSHOT_SLOW_MS: u64 = 500;

/// How late they are.
const LATE_MS: u64 = 60;

/// Something that is wrong with the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing that one computer sends reaches another.
    Cut {
        /// The sender.
        from: usize,
        /// The other.
        to: usize,
        /// Whether the sender is not told.
        is_silent: bool,
    },
    /// What one computer sends to anybody, or anybody to it, takes up to so much longer.
    Slow {
        /// Which.
        computer: usize,
        /// How much.
        delay_ms: u64,
    },
    /// So many of a hundred messages are lost.
    Lossy(u64),
    /// So many of a hundred messages arrive twice.
    Doubling(u64),
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Network {
    wires: Arc<Mutex<Wires>>,
    recorder: Recorder,
    bug: Option<Bug>,
}

struct Wires {
    draw: Stream,
    network_ms: u64,
    /// By member.
    nodes: BTreeMap<u64, Node>,
    conditions: BTreeMap<u64, Vec<Condition>>,
    installed: u64,
    /// Until [`Network::heal`].
    is_rough: bool,
}

#[derive(Clone)]
struct Node {
    computer: usize,
    store: Store,
    power: CancellationToken,
}

/// What was drawn for a message.
struct Fate {
    there: Duration,
    back: Duration,
    is_lost: bool,
    is_reply_lost: bool,
    again_after: Option<Duration>,
}

/// What a wire does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Open,
    Refuses,
    Swallows,
}

/// The end of the network at one computer, for one start of its store.
#[derive(Clone)]
pub struct Port {
    network: Network,
    computer: usize,
    power: CancellationToken,
}

impl Network {
    /// A network in order, with nobody on it.
    pub fn new(seed: &Stream, network_ms: u64, recorder: &Recorder, bug: Option<Bug>) -> Self {
        let (draw, nodes, conditions) = (seed.named("network", 0), BTreeMap::new(), BTreeMap::new());
        let wires = Wires { draw, network_ms, nodes, conditions, installed: 0, is_rough: true };
        Self { wires: Arc::new(Mutex::new(wires)), recorder: recorder.clone(), bug }
    }

    /// A computer's end, for as long as it has power.
    pub fn port(&self, computer: usize, power: CancellationToken) -> Port {
        Port { network: self.clone(), computer, power }
    }

    /// Lets a store be reached.
    pub fn join(&self, member: u64, computer: usize, store: Store, power: CancellationToken) {
        self.wires().nodes.insert(member, Node { computer, store, power });
    }

    /// Nobody listens there any more.
    pub fn leave(&self, member: u64) {
        self.wires().nodes.remove(&member);
    }

    /// Makes something wrong, until [`Network::mend`].
    pub fn spoil(&self, conditions: Vec<Condition>) -> u64 {
        let mut wires = self.wires();
        wires.installed += 1;
        let number = wires.installed;
        wires.conditions.insert(number, conditions);
        number
    }

    /// Ends what was installed under a number.
    pub fn mend(&self, number: u64) {
        self.wires().conditions.remove(&number);
    }

    /// Ends everything that is wrong.
    pub fn heal(&self) {
        let mut wires = self.wires();
        wires.conditions.clear();
        wires.is_rough = false;
    }

    /// What a member hears that asks another one to admit it.
    pub async fn ask_to_admit(&self, member: u64, address: String, whom: u64) -> &'static str {
        let Some(node) = self.wires().nodes.get(&member).cloned() else { return "off" };
        let envelope = message::Envelope { cluster: CLUSTER.into(), from: member, to: whom };
        let newcomer = raft_store::peers::Member { id: member, address };
        let request = message::AdmitRequest { envelope: Some(envelope), member: Some(newcomer) };
        let port = self.port(node.computer, node.power.clone());
        let asking = port.call(MemberId(whom), "", PeerRequest::Admit(request));
        match node.power.run_until_cancelled(asking).await {
            None => "power",
            Some(Ok(PeerReply::Admit(reply))) if reply.admitted => "done",
            Some(Ok(_)) => "not admitted",
            Some(Err(_)) => "unknown",
        }
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().expect("no panic while the lock is held")
    }
}

impl Wires {
    fn conditions(&self) -> impl Iterator<Item = Condition> {
        self.conditions.values().flatten().copied()
    }

    fn fate(&mut self, from: usize, to: u64, is_snapshot: bool) -> Fate {
        let to = self.nodes.get(&to).map_or(from, |node| node.computer);
        let (mut slow_ms, mut lossy, mut doubling) = (0, 0, 0);
        for condition in self.conditions() {
            match condition {
                Condition::Slow { computer, delay_ms } if computer == from || computer == to => {
                    slow_ms = slow_ms.max(delay_ms);
                }
                Condition::Lossy(percent) => lossy = lossy.max(percent),
                Condition::Doubling(percent) => doubling = doubling.max(percent),
                Condition::Slow { .. } | Condition::Cut { .. } => {}
            }
        }
        if is_snapshot && self.is_rough {
            lossy = lossy.max(SNAPSHOT_LOST_PERCENT);
            doubling = doubling.max(SNAPSHOT_TWICE_PERCENT);
            if self.draw.percent(SNAPSHOT_SLOW_PERCENT) {
                slow_ms = slow_ms.max(SNAPSHOT_SLOW_MS);
            }
        }
        let mut way = || {
            let late_ms = if self.draw.percent(LATE_PERCENT) { self.draw.within(0..=LATE_MS) } else { 0 };
            let slow_ms = if slow_ms == 0 { 0 } else { self.draw.within(slow_ms / 2..=slow_ms) };
            Duration::from_millis(self.draw.within(0..=self.network_ms) + late_ms + slow_ms)
        };
        let (there, back, again) = (way(), way(), way());
        Fate {
            there,
            back,
            is_lost: self.draw.percent(lossy),
            is_reply_lost: self.draw.percent(lossy),
            again_after: self.draw.percent(doubling).then_some(again * 2),
        }
    }

    fn wire(&self, from: usize, to: usize) -> Wire {
        let mut wire = Wire::Open;
        for condition in self.conditions() {
            match condition {
                Condition::Cut { from: cut, to: off, is_silent } if (cut, off) == (from, to) => {
                    if is_silent {
                        return Wire::Swallows;
                    }
                    wire = Wire::Refuses;
                }
                _ => {}
            }
        }
        wire
    }
}

impl Transport for Port {
    fn call(
        &self,
        to: MemberId,
        _address: &str,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerReply, Unreached>> {
        let (reply, receiver) = oneshot::channel();
        if !self.power.is_cancelled() {
            // A task of its own: a caller that gives up does not take its message back.
            tokio::spawn(self.clone().carry(to.0, request, reply));
        }
        async move {
            match receiver.await {
                Ok(answer) => answer,
                Err(_) => {
                    sleep(SILENCE_MAX).await;
                    Err(unreached("silence", true))
                }
            }
        }
        .boxed()
    }
}

type Reply = oneshot::Sender<Result<PeerReply, Unreached>>;

/// An answer, or an error that the sender is told of, or nothing.
type Heard = Option<Result<PeerReply, Unreached>>;

impl Port {
    /// Brings a request there and its reply back. Dropping the reply's way is silence.
    async fn carry(self, to: u64, request: PeerRequest, reply: Reply) {
        let kind = kind(&request);
        let is_snapshot = matches!(request, PeerRequest::Snapshot(..));
        let fate = self.network.wires().fate(self.computer, to, is_snapshot);
        self.count(kind, SENT);
        let is_refused = Arc::new(AtomicBool::new(false));
        if let Some(after) = fate.again_after {
            let (port, request, is_refused) = (self.clone(), request.clone(), is_refused.clone());
            tokio::spawn(async move {
                sleep(fate.there + after).await;
                // No network brings a copy of what its sender was told has not arrived.
                if is_refused.load(Ordering::Relaxed) {
                    return;
                }
                // Nobody hears the second reply.
                if let Some(Ok(_)) = port.deliver(to, request).await {
                    port.count(kind, TWICE);
                }
            });
        }
        let invented = forgery::append_reply(self.network.bug, &request);
        sleep(fate.there).await;
        let delivered = if fate.is_lost {
            self.count(kind, LOST);
            if let Some(request) = forgery::cut_short(request) {
                let _ = self.deliver(to, request).await;
            }
            None
        } else {
            self.deliver(to, request).await
        };
        if let Some(Err(error)) = &delivered {
            is_refused.store(!error.may_have_arrived, Ordering::Relaxed);
        }
        let answer = match (delivered, invented) {
            (None | Some(Err(_)), Some(invented)) => Ok(invented),
            (Some(answer), _) => answer,
            (None, None) => return,
        };
        sleep(fate.back).await;
        if fate.is_reply_lost && answer.is_ok() {
            self.count(kind, REPLY_LOST);
            return;
        }
        if answer.is_ok() {
            self.count(kind, ANSWERED);
        }
        // The caller may have given up.
        let _ = reply.send(answer);
    }

    /// The answer of a member, `None` if nothing is heard.
    async fn deliver(&self, to: u64, request: PeerRequest) -> Heard {
        let kind = kind(&request);
        let (node, wire) = {
            let wires = self.network.wires();
            let Some(node) = wires.nodes.get(&to).cloned() else {
                self.count(kind, CUT_OFF);
                return Some(Err(unreached("nobody listens", false)));
            };
            let wire = wires.wire(self.computer, node.computer);
            (node, wire)
        };
        if let Some(error) = self.cut_off(kind, wire, "no route", false) {
            return error;
        }
        if node.power.is_cancelled() {
            self.count(kind, CUT_OFF);
            return None;
        }
        let request = forgery::request(self.network.bug, request);
        let answer = tokio::select! {
            biased;
            () = node.power.cancelled() => None,
            answer = node.store.answer(request) => Some(answer),
        };
        let Some(answer) = answer.filter(|_| !node.power.is_cancelled()) else {
            self.count(kind, RESET);
            return Some(Err(unreached("reset", true)));
        };
        let wire = self.network.wires().wire(node.computer, self.computer);
        if let Some(error) = self.cut_off(kind, wire, "reset", true) {
            return error;
        }
        let answer = answer.map(|reply| forgery::reply(self.network.bug, reply));
        Some(answer.map_err(|refused| unreached(&refused.to_string(), false)))
    }

    /// What is heard of a message on a wire that is not open.
    fn cut_off(&self, kind: &'static str, wire: Wire, reason: &str, may_have_arrived: bool) -> Option<Heard> {
        if wire != Wire::Open {
            self.count(kind, CUT_OFF);
        }
        match wire {
            Wire::Open => None,
            Wire::Swallows => Some(None),
            Wire::Refuses => Some(Some(Err(unreached(reason, may_have_arrived)))),
        }
    }

    fn count(&self, kind: &'static str, column: &'static str) {
        self.network.recorder.count(MESSAGES, kind, column);
    }
}

/// What a request is counted as.
fn kind(request: &PeerRequest) -> &'static str {
    match request {
        PeerRequest::Append(append) if append.entries.is_empty() => "heartbeat",
        PeerRequest::Append(_) => "append",
        PeerRequest::Vote(_) => "vote",
        PeerRequest::PreVote(_) => "pre-vote",
        PeerRequest::Snapshot(..) => "snapshot",
        PeerRequest::Transfer(_) => "transfer",
        PeerRequest::ReadIndex(_) => "read index",
        PeerRequest::Propose(_) => "propose",
        PeerRequest::Admit(_) => "admit",
        PeerRequest::Remove(_) => "remove",
        PeerRequest::Fetch(..) => "fetch",
    }
}

fn unreached(reason: &str, may_have_arrived: bool) -> Unreached {
    Unreached { reason: reason.to_owned(), may_have_arrived }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Network")
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Port of {}", self.computer)
    }
}
