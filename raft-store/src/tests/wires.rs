//! Three members in one process, with wires between them that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::fixture::Computer;
use crate::log::FaultyBackend;
use crate::peers::{Begin, PeerReply, PeerRequest, Peering, SnapshotBody, Transport, Unreached, message};
use crate::{Limits, Medium, MemberId, Options, Seams, Store};

/// A message's way; there and back it is 2 ms.
const DELAY: Duration = Duration::from_millis(1);

/// Who is connected. Clones are the same wires.
#[derive(Clone, Default)]
pub(super) struct Wires {
    stores: Arc<Mutex<BTreeMap<u64, Store>>>,
    /// Members that hear nobody and are heard by nobody.
    cut: Arc<Mutex<BTreeSet<u64>>>,
    /// Members whose messages vanish: nobody learns that they are gone but by waiting.
    silent: Arc<Mutex<BTreeSet<u64>>>,
    /// Every proposal's message arrives twice.
    pub(super) twice: Arc<AtomicBool>,
    /// A bit of every snapshot is flipped on its way.
    pub(super) garbled: Arc<AtomicBool>,
    /// Snapshots that arrived damaged.
    pub(super) damaged: Arc<AtomicUsize>,
    /// What leaders have sent.
    pub(super) sent: Arc<Mutex<Sent>>,
}

/// Requests of leaders, to be sent again by hand.
#[derive(Default)]
pub(super) struct Sent {
    /// The last append, with every entry that was ever in one.
    pub(super) append: message::AppendRequest,
    /// The last snapshot.
    pub(super) snapshot: Option<(message::SnapshotOffer, SnapshotBody)>,
}

impl Sent {
    fn note(&mut self, request: &PeerRequest) {
        match request {
            PeerRequest::Append(append) => {
                let mut entries = std::mem::take(&mut self.append.entries);
                for entry in &append.entries {
                    let index =
                        |entry: &proto::store::LogEntry| entry.position.map(|position| position.index);
                    entries.retain(|known| index(known) < index(entry));
                    entries.push(entry.clone());
                }
                self.append = message::AppendRequest { entries, ..append.clone() };
            }
            PeerRequest::Snapshot(offer, body) => self.snapshot = Some((offer.clone(), body.clone())),
            _ => {}
        }
    }
}

/// One end of the wires.
struct End {
    wires: Wires,
    me: u64,
}

impl Transport for End {
    fn call(
        &self,
        to: MemberId,
        _address: &str,
        request: PeerRequest,
    ) -> BoxFuture<'static, Result<PeerReply, Unreached>> {
        let (wires, me) = (self.wires.clone(), self.me);
        let lost = |may_have_arrived| Unreached { reason: "cut".into(), may_have_arrived };
        async move {
            tokio::time::sleep(DELAY).await;
            wires.swallow(me, to.0).await;
            if wires.is_cut(me) || wires.is_cut(to.0) {
                return Err(lost(false));
            }
            wires.sent.lock().expect("not poisoned").note(&request);
            let store = wires.stores.lock().expect("not poisoned").get(&to.0).cloned();
            let store = store.ok_or_else(|| lost(false))?;
            let request = wires.garble(request);
            let is_doubled =
                wires.twice.load(Ordering::Relaxed) && matches!(request, PeerRequest::Propose(_));
            if is_doubled {
                let (again, store) = (request.clone(), store.clone());
                tokio::spawn(async move { store.answer(again).await });
            }
            let reply = store.answer(request).await;
            tokio::time::sleep(DELAY).await;
            wires.swallow(me, to.0).await;
            if wires.is_cut(me) || wires.is_cut(to.0) {
                return Err(lost(true));
            }
            reply.map_err(|refused| Unreached { reason: refused.to_string(), may_have_arrived: false })
        }
        .boxed()
    }
}

impl Wires {
    fn garble(&self, request: PeerRequest) -> PeerRequest {
        match request {
            PeerRequest::Snapshot(offer, body) if self.garbled.load(Ordering::Relaxed) => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                let mut bytes = body.bytes().expect("in memory").to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                PeerRequest::Snapshot(offer, SnapshotBody::from(Bytes::from(bytes)))
            }
            other => other,
        }
    }

    fn is_cut(&self, member: u64) -> bool {
        self.cut.lock().expect("not poisoned").contains(&member)
    }

    /// Never returns if one of the two is silent.
    async fn swallow(&self, one: u64, other: u64) {
        let silent = |member| self.silent.lock().expect("not poisoned").contains(&member);
        if silent(one) || silent(other) {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn silence(&self, member: MemberId) {
        self.silent.lock().expect("not poisoned").insert(member.0);
    }

    pub(super) fn cut(&self, member: MemberId) {
        self.cut.lock().expect("not poisoned").insert(member.0);
    }

    pub(super) fn mend(&self, member: MemberId) {
        self.cut.lock().expect("not poisoned").remove(&member.0);
    }

    /// Starts a member on a computer.
    pub(super) async fn boot(&self, computer: &Computer, member: u64, begin: Begin) -> Store {
        let (disk, shelf) = (computer.disk.clone(), computer.shelf.clone());
        let medium = move || Ok(Medium::new(Box::new(FaultyBackend::open(&disk)), &shelf));
        let end = End { wires: self.clone(), me: member };
        let peering = Peering {
            cluster: "test".into(),
            address: format!("member-{member}").into(),
            transport: Arc::new(end),
            begin,
        };
        let options = Options {
            data_dir: None,
            member: MemberId(member),
            peering: Some(peering),
            // A few entries.
            limits: Limits { log_held_bytes_max: 2000, ..Limits::default() },
        };
        let store = Store::open_on(medium, options, Seams::seeded(member)).await.expect("a readable disk");
        self.stores.lock().expect("not poisoned").insert(member, store.clone());
        store
    }

    /// A member's process ends at once; its computer's disk stays.
    pub(super) async fn kill(&self, store: &Store, member: MemberId) {
        self.cut(member);
        self.stores.lock().expect("not poisoned").remove(&member.0);
        store.shutdown().await;
        self.mend(member);
    }
}

/// Three voters.
pub(super) struct Trio {
    pub(super) wires: Wires,
    pub(super) computers: [Computer; 3],
    pub(super) stores: [Store; 3],
}

impl Trio {
    pub(super) async fn new() -> Self {
        let (wires, computers) = (Wires::default(), <[Computer; 3]>::default());
        let first = wires.boot(&computers[0], 1, Begin::Found).await;
        let second = wires.boot(&computers[1], 2, Begin::Join).await;
        let third = wires.boot(&computers[2], 3, Begin::Join).await;
        for member in [2, 3] {
            first.admit(MemberId(member), format!("member-{member}")).await.expect("it catches up");
        }
        Self { wires, computers, stores: [first, second, third] }
    }

    /// The store that leads, among those that are named.
    pub(super) async fn leader(&self, among: &[usize]) -> usize {
        loop {
            if let Some(leader) = among.iter().find(|index| self.stores[**index].term().is_some()) {
                return *leader;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
