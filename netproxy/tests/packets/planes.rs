//! A plane under test, fed as the proxy's loop feeds it.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use netproxy::compile::nftables::Networks;
use netproxy::diff::Applied;
use netproxy::kernel::Nft;
use netproxy::model::{Family, Place, State};
use netproxy::plane::{IpvsPlane, NftablesPlane, Plane};
use tokio::runtime::Runtime;

use crate::net::Net;
use crate::service;

/// A closed connection is remembered for two minutes.
const SETTLED_MAX: Duration = Duration::from_secs(200);

/// What a test must know of a plane beyond what the proxy does.
pub trait Judged: Plane {
    /// How long the kernel may remember a client after its last connection ended, beyond the affinity's time.
    fn affinity_rest(&self) -> Duration;
    /// Backends on their way out.
    fn draining(&self) -> usize;
    /// It must be told when the node's addresses change.
    const FOLLOWS_NODE: bool;
}

impl Judged for NftablesPlane<Nft> {
    const FOLLOWS_NODE: bool = false;

    fn affinity_rest(&self) -> Duration {
        Duration::ZERO
    }

    fn draining(&self) -> usize {
        0
    }
}

impl Judged for IpvsPlane {
    const FOLLOWS_NODE: bool = true;

    /// A connection that ended is remembered for two minutes and holds its client's affinity, which is looked at once
    /// a minute from then on.
    fn affinity_rest(&self) -> Duration {
        Duration::from_secs(190)
    }

    fn draining(&self) -> usize {
        self.draining()
    }
}

/// A plane with its state, working in the namespace of the thread that made it.
pub struct Proxied<'a, P> {
    net: &'a Net,
    plane: P,
    state: State,
    applied: Applied,
    runtime: Runtime,
}

/// nftables, and a runtime for it.
pub fn nftables() -> (Runtime, NftablesPlane<Nft>) {
    (runtime(), NftablesPlane::new(Nft, networks()))
}

/// IPVS, and a runtime for it.
///
/// # Errors
/// The kernel has none.
pub fn ipvs() -> io::Result<(Runtime, IpvsPlane)> {
    let runtime = runtime();
    let plane = {
        let _inside = runtime.enter();
        IpvsPlane::open(networks())?
    };
    Ok((runtime, plane))
}

impl<'a, P: Judged> Proxied<'a, P> {
    /// Feeds a plane from nothing.
    pub fn new(net: &'a Net, (runtime, mut plane): (Runtime, P)) -> Self {
        runtime.block_on(plane.begin(&[], &[])).expect("the kernel is made ready");
        Self { net, plane, state: State::default(), applied: Applied::default(), runtime }
    }

    /// As `set`, while no proxy runs.
    pub fn change_unseen(&mut self, words: &str) {
        let id = service::id();
        if words.is_empty() {
            self.state.set_service(id.clone(), None);
        } else {
            let (service, slice) = service::objects(self.net, words);
            self.state.set_service(id.clone(), Some(service));
            self.state.set_slice(slice);
        }
    }

    /// Makes the service what `words` say; an empty text removes it.
    pub fn set(&mut self, words: &str) {
        self.change_unseen(words);
        let id = service::id();
        let place = Place { node: "here".into() };
        let changes = self.applied.changes(&BTreeSet::from([id]), |id| self.state.frontends(id, &place));
        self.runtime.block_on(self.plane.change(&changes)).expect("the kernel takes the change");
        self.applied.take(changes);
    }

    /// Lets the plane do what it wakes for, a few times: several things may wake it.
    pub fn tend(&mut self) {
        for _ in 0..3 {
            self.tend_once(Duration::from_secs(1));
        }
    }

    fn tend_once(&mut self, patience: Duration) {
        self.runtime.block_on(async {
            if tokio::time::timeout(patience, self.plane.wake()).await.is_ok() {
                self.plane.tend().await.expect("the kernel answers");
            }
        });
    }

    /// The proxy is started anew over what the last one told the kernel.
    pub fn start_again(&mut self) {
        let all: BTreeSet<_> = self.state.services().cloned().collect();
        self.applied = Applied::default();
        let place = Place { node: "here".into() };
        let changes = self.applied.changes(&all, |id| self.state.frontends(id, &place));
        self.runtime.block_on(self.plane.begin(&[], &changes)).expect("the kernel is made ready");
        self.applied.take(changes);
    }

    /// Takes the plane out.
    pub fn into_plane(self) -> P {
        self.plane
    }

    /// What the plane is.
    pub fn plane(&self) -> &P {
        &self.plane
    }

    /// Waits until removed backends are gone from the kernel.
    ///
    /// # Errors
    /// They are not, long after their last connection ended.
    pub fn settle(&mut self) -> Result<(), String> {
        let end = Instant::now() + SETTLED_MAX;
        while self.plane.draining() > 0 {
            if Instant::now() > end {
                return Err(format!("{} backends are still on their way out", self.plane.draining()));
            }
            self.tend_once(Duration::from_secs(5));
        }
        Ok(())
    }

    /// What a removed service left in the kernel.
    pub fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        for family in ["ip", "ip6"] {
            let table = self.net.on_node("nft", &format!("list table {family} kontiki"));
            let of_it = |line: &&str| {
                ["default/web", "10.96.0.7", "fd00:10:96::7", "203.0.113.9"]
                    .iter()
                    .any(|word| line.contains(word))
            };
            left.extend(table.lines().filter(of_it).map(str::to_owned));
        }
        let addresses = self.net.on_node("ip", "-o addr show");
        left.extend(addresses.lines().filter(|line| line.contains("10.96.0.7")).map(str::to_owned));
        left
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn networks() -> Vec<Networks> {
    vec![
        Networks { family: Family::V4, pods: "10.244.0.0/16".into() },
        Networks { family: Family::V6, pods: "fd00:10:244::/56".into() },
    ]
}
