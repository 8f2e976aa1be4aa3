//! The network between the computers: messages take their time, and some get lost, late or twice.
//!
//! Everything about a message is drawn when it is sent; whether a wire is cut is looked at when it
//! arrives. A sender that has lost its power sends nothing, and what it sent before goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft_store::peers::{PeerReply, PeerRequest, Transport, Unreached};
use raft_store::{MemberId, Store};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::forgery;
use crate::seed::Stream;

/// After so much silence a connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// Of a hundred messages, those that others overtake though nothing is wrong.
const LATE_PERCENT: u64 = 4;

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
    bug: Option<Bug>,
}

struct Wires {
    draw: Stream,
    network_ms: u64,
    /// By member.
    nodes: BTreeMap<u64, Node>,
    conditions: BTreeMap<u64, Vec<Condition>>,
    installed: u64,
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
    pub fn new(seed: &Stream, network_ms: u64, bug: Option<Bug>) -> Self {
        let (draw, nodes, conditions) = (seed.named("network", 0), BTreeMap::new(), BTreeMap::new());
        let wires = Wires { draw, network_ms, nodes, conditions, installed: 0 };
        Self { wires: Arc::new(Mutex::new(wires)), bug }
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
        self.wires().conditions.clear();
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().expect("no panic while the lock is held")
    }
}

impl Wires {
    fn conditions(&self) -> impl Iterator<Item = Condition> {
        self.conditions.values().flatten().copied()
    }

    fn fate(&mut self, from: usize, to: u64) -> Fate {
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

impl Port {
    /// Brings a request there and its reply back. Dropping the reply's way is silence.
    async fn carry(self, to: u64, request: PeerRequest, reply: Reply) {
        let fate = self.network.wires().fate(self.computer, to);
        if let Some(after) = fate.again_after {
            let (port, request) = (self.clone(), request.clone());
            tokio::spawn(async move {
                sleep(fate.there + after).await;
                // Nobody hears the second reply.
                let _ = port.deliver(to, request).await;
            });
        }
        let invented = forgery::append_reply(self.network.bug, &request);
        sleep(fate.there).await;
        let delivered = if fate.is_lost { None } else { self.deliver(to, request).await };
        let answer = match (delivered, invented) {
            (None | Some(Err(_)), Some(invented)) => Ok(invented),
            (Some(answer), _) => answer,
            (None, None) => return,
        };
        sleep(fate.back).await;
        if fate.is_reply_lost && answer.is_ok() {
            return;
        }
        // The caller may have given up.
        let _ = reply.send(answer);
    }

    /// The answer of a member, `None` if nothing is heard.
    async fn deliver(&self, to: u64, request: PeerRequest) -> Option<Result<PeerReply, Unreached>> {
        let (node, wire) = {
            let wires = self.network.wires();
            let Some(node) = wires.nodes.get(&to).cloned() else {
                return Some(Err(unreached("nobody listens", false)));
            };
            let wire = wires.wire(self.computer, node.computer);
            (node, wire)
        };
        match wire {
            Wire::Open if !node.power.is_cancelled() => {}
            Wire::Open | Wire::Swallows => return None,
            Wire::Refuses => return Some(Err(unreached("no route", false))),
        }
        let request = forgery::request(self.network.bug, request);
        let answer = tokio::select! {
            biased;
            () = node.power.cancelled() => return Some(Err(unreached("reset", true))),
            answer = node.store.answer(request) => answer,
        };
        if node.power.is_cancelled() {
            return Some(Err(unreached("reset", true)));
        }
        match self.network.wires().wire(node.computer, self.computer) {
            Wire::Open => {}
            Wire::Swallows => return None,
            Wire::Refuses => return Some(Err(unreached("reset", true))),
        }
        Some(answer.map_err(|refused| unreached(&refused.to_string(), false)))
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
