//! Which services changed, and from what to what. Pure and free of any kernel's words: each compiler turns a change
//! into its own transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::model::{Backends, Frontend, Protocol, ServiceId};

/// One service's change; an empty side means that it has no frontends there.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Which service.
    pub service: ServiceId,
    /// What the kernel has.
    pub old: Vec<Frontend>,
    /// What it shall have.
    pub new: Vec<Frontend>,
}

/// What the kernel was last told.
#[derive(Debug, Default)]
pub struct Applied {
    frontends: BTreeMap<ServiceId, Vec<Frontend>>,
}

impl Applied {
    /// The changes among `dirty` services; `frontends` gives what each shall have.
    pub fn changes(
        &self,
        dirty: &BTreeSet<ServiceId>,
        frontends: impl Fn(&ServiceId) -> Vec<Frontend>,
    ) -> Vec<Change> {
        dirty
            .iter()
            .map(|service| Change {
                service: service.clone(),
                old: self.frontends.get(service).cloned().unwrap_or_default(),
                new: frontends(service),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }

    /// The kernel took these changes.
    pub fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            if change.new.is_empty() {
                self.frontends.remove(&change.service);
            } else {
                self.frontends.insert(change.service, change.new);
            }
        }
    }
}

/// A UDP flow the kernel may still remember: its clients would go on talking to a backend that is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleFlow {
    /// The address clients use; the node port's flows have none.
    pub frontend: Option<SocketAddr>,
    /// The port of the node, for node ports.
    pub node_port: Option<u16>,
    /// The backend that is gone; `None` when there was none before.
    pub backend: Option<SocketAddr>,
}

/// UDP has no end of a connection: what the kernel remembers of a backend that is gone must be forgotten, and so must
/// flows from before there was any backend.
pub fn stale_flows(change: &Change) -> Vec<StaleFlow> {
    let mut flows = Vec::new();
    for old in change.old.iter().filter(|frontend| frontend.port.protocol == Protocol::Udp) {
        let new = change.new.iter().find(|new| new.port == old.port && new.family == old.family);
        let kept = new.map(|new| backends(&new.internal)).unwrap_or_default();
        let mut gone: Vec<Option<SocketAddr>> = backends(&old.internal)
            .iter()
            .filter(|backend| !kept.contains(backend))
            .copied()
            .map(Some)
            .collect();
        if backends(&old.internal).is_empty() && !kept.is_empty() {
            gone.push(None);
        }
        for backend in gone {
            for address in old.cluster.iter().chain(&old.external) {
                let frontend = Some(SocketAddr::new(*address, old.port.port));
                flows.push(StaleFlow { frontend, node_port: None, backend });
            }
            if old.port.node_port.is_some() {
                flows.push(StaleFlow { frontend: None, node_port: old.port.node_port, backend });
            }
        }
    }
    flows
}

fn backends(backends: &Backends) -> Vec<SocketAddr> {
    match backends {
        Backends::To(to) => to.clone(),
        Backends::Reject | Backends::Drop => Vec::new(),
    }
}
