//! A plane under test, fed as the proxy's loop feeds it.

use std::collections::BTreeSet;
use std::time::Duration;

use netproxy::compile::nftables::Networks;
use netproxy::diff::Applied;
use netproxy::kernel::Nft;
use netproxy::model::{Family, Place, State};
use netproxy::plane::{NftablesPlane, Plane};
use tokio::runtime::Runtime;

use crate::net::Net;
use crate::service;

/// A plane with its state, working in the namespace of the thread that made it.
pub struct Proxied<'a, P> {
    net: &'a Net,
    plane: P,
    state: State,
    applied: Applied,
    runtime: Runtime,
}

impl<'a> Proxied<'a, NftablesPlane<Nft>> {
    /// Services in nftables.
    pub fn nftables(net: &'a Net) -> Self {
        Self::new(net, NftablesPlane::new(Nft, networks()))
    }
}

impl<'a, P: Plane> Proxied<'a, P> {
    fn new(net: &'a Net, mut plane: P) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(plane.begin(&[], &[])).expect("the kernel is made ready");
        Self { net, plane, state: State::default(), applied: Applied::default(), runtime }
    }

    /// Makes the service what `words` say; an empty text removes it.
    pub fn set(&mut self, words: &str) {
        let id = service::id();
        if words.is_empty() {
            self.state.set_service(id.clone(), None);
        } else {
            let (service, slice) = service::objects(self.net, words);
            self.state.set_service(id.clone(), Some(service));
            self.state.set_slice(slice);
        }
        let place = Place { node: "here".into() };
        let changes = self.applied.changes(&BTreeSet::from([id]), |id| self.state.frontends(id, &place));
        self.runtime.block_on(self.plane.change(&changes)).expect("the kernel takes the change");
        self.applied.take(changes);
    }

    /// How long the kernel may remember a client beyond the affinity's time.
    pub fn affinity_rest(&self) -> Duration {
        Duration::ZERO
    }

    /// Waits until removed backends are gone from the kernel.
    ///
    /// # Errors
    /// They are not.
    pub fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// What a removed service left in the kernel.
    pub fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        for family in ["ip", "ip6"] {
            let table = self.net.on_node("nft", &format!("list table {family} kontiki"));
            left.extend(table.lines().filter(|line| line.contains("default/web")).map(str::to_owned));
        }
        left
    }
}

fn networks() -> Vec<Networks> {
    vec![
        Networks { family: Family::V4, pods: "10.244.0.0/16".into() },
        Networks { family: Family::V6, pods: "fd00:10:244::/56".into() },
    ]
}
