//! What the kernel has of all services together, and the commands from one service's objects to others.
//!
//! Services share things: two external addresses may be one, a pod may stand behind many services. Each shared thing
//! is counted here, so that a change costs what it changes and never looks at the other services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::{Member, Objects, Server, ServerKey};
use crate::model::{Protocol, ServiceId};

/// One step. In the order they are given, every packet in between is served, refused or lost as before or after the
/// whole change, and never reaches a program of the node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A rule must know something.
    AddMember(Member),
    /// A new virtual server.
    AddServer(ServerKey, Server),
    /// Another affinity; backends are not looked at.
    EditServer(ServerKey, Server),
    /// A backend takes its share, whether new or on its way out.
    AddBackend(ServerKey, SocketAddr),
    /// A backend that was on its way out takes its share again.
    ReviveBackend(ServerKey, SocketAddr),
    /// A backend keeps its connections and gets no new ones.
    DrainBackend(ServerKey, SocketAddr),
    /// A backend is gone.
    RemoveBackend(ServerKey, SocketAddr),
    /// The node takes packets to an address.
    AddAddress(IpAddr),
    /// The node takes them no longer.
    RemoveAddress(IpAddr),
    /// A virtual server is gone with its backends.
    RemoveServer(ServerKey),
    /// A rule must no longer know something.
    RemoveMember(Member),
}

impl Command {
    /// The element it adds, if that is what it does.
    pub fn member(&self) -> Option<Member> {
        match self {
            Self::AddMember(member) => Some(*member),
            _ => None,
        }
    }
}

/// What an earlier run left in the kernel.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Virtual servers with their backends' weights; 0 is on its way out.
    pub servers: BTreeMap<ServerKey, (Server, BTreeSet<SocketAddr>)>,
    /// Addresses of the device.
    pub addresses: BTreeSet<IpAddr>,
}

/// What the kernel was told.
#[derive(Debug, Default)]
pub struct Ledger {
    addresses: BTreeMap<IpAddr, usize>,
    members: BTreeMap<Member, usize>,
    owners: BTreeMap<ServerKey, ServiceId>,
    draining: BTreeMap<ServerKey, BTreeSet<SocketAddr>>,
}

impl Ledger {
    /// From what an earlier run left to these services' objects; what is in both is not touched, so that a new run
    /// of the proxy is seen by no connection. Set elements begin from nothing.
    pub fn begin(found: Found, wanted: &[(ServiceId, Objects)]) -> (Self, Vec<Command>) {
        let mut ledger = Self::default();
        let mut whole = Objects::default();
        for (service, objects) in wanted {
            ledger.count(service, objects, &mut whole);
        }
        let mut left = Objects { addresses: found.addresses, ..Objects::default() };
        for (key, (server, draining)) in found.servers {
            if whole.servers.contains_key(&key) && !draining.is_empty() {
                ledger.draining.insert(key, draining);
            }
            left.servers.insert(key, server);
        }
        let commands = ledger.commands(&left, &whole);
        (ledger, commands)
    }

    /// Counts a service's objects into `whole`.
    fn count(&mut self, service: &ServiceId, objects: &Objects, whole: &mut Objects) {
        for (key, server) in &objects.servers {
            if !self.owners.contains_key(key) {
                self.owners.insert(*key, service.clone());
                whole.servers.insert(*key, server.clone());
            }
        }
        for address in &objects.addresses {
            *self.addresses.entry(*address).or_default() += 1;
            whole.addresses.insert(*address);
        }
        for member in &objects.members {
            *self.members.entry(*member).or_default() += 1;
            whole.members.insert(*member);
        }
    }

    /// From one service's objects to others.
    pub fn change(&mut self, service: &ServiceId, old: &Objects, new: &Objects) -> Vec<Command> {
        let mut from = Objects::default();
        let mut to = Objects::default();
        // The first service that wants an address and port has it; a second one waits until its own next change.
        let owned = |owner: Option<&ServiceId>| owner.is_none_or(|owner| owner == service);
        for (key, server) in old.servers.iter().filter(|(key, _)| owned(self.owners.get(key))) {
            from.servers.insert(*key, server.clone());
        }
        for (key, server) in new.servers.iter().filter(|(key, _)| owned(self.owners.get(key))) {
            to.servers.insert(*key, server.clone());
        }
        for key in from.servers.keys() {
            self.owners.remove(key);
        }
        self.owners.extend(to.servers.keys().map(|key| (*key, service.clone())));
        (to.addresses, from.addresses) = recount(&mut self.addresses, &old.addresses, &new.addresses);
        (to.members, from.members) = recount(&mut self.members, &old.members, &new.members);
        self.commands(&from, &to)
    }

    /// Backends on their way out, which must be asked about from time to time.
    pub fn draining(&self) -> &BTreeMap<ServerKey, BTreeSet<SocketAddr>> {
        &self.draining
    }

    /// These backends of a server have no connection any more.
    pub fn drained(&mut self, key: ServerKey, backends: &BTreeSet<SocketAddr>) -> Vec<Command> {
        let Some(draining) = self.draining.get_mut(&key) else { return Vec::new() };
        let ended: Vec<SocketAddr> = draining.intersection(backends).copied().collect();
        draining.retain(|backend| !backends.contains(backend));
        if draining.is_empty() {
            self.draining.remove(&key);
        }
        ended.into_iter().map(|backend| Command::RemoveBackend(key, backend)).collect()
    }

    fn commands(&mut self, from: &Objects, to: &Objects) -> Vec<Command> {
        let mut commands = Vec::new();
        commands.extend(to.members.difference(&from.members).copied().map(Command::AddMember));
        for (key, server) in &to.servers {
            match from.servers.get(key) {
                None => commands.push(Command::AddServer(*key, server.clone())),
                Some(old) if old.affinity != server.affinity => {
                    commands.push(Command::EditServer(*key, server.clone()));
                }
                Some(_) => {}
            }
            let nothing = Server::default();
            self.backends(&mut commands, *key, from.servers.get(key).unwrap_or(&nothing), server);
        }
        commands.extend(to.addresses.difference(&from.addresses).copied().map(Command::AddAddress));
        commands.extend(from.addresses.difference(&to.addresses).copied().map(Command::RemoveAddress));
        for key in from.servers.keys().filter(|key| !to.servers.contains_key(key)) {
            self.draining.remove(key);
            commands.push(Command::RemoveServer(*key));
        }
        commands.extend(from.members.difference(&to.members).copied().map(Command::RemoveMember));
        commands
    }

    fn backends(&mut self, commands: &mut Vec<Command>, key: ServerKey, old: &Server, new: &Server) {
        let draining = self.draining.entry(key).or_default();
        for backend in new.backends.difference(&old.backends) {
            commands.push(if draining.remove(backend) {
                Command::ReviveBackend(key, *backend)
            } else {
                Command::AddBackend(key, *backend)
            });
        }
        for backend in old.backends.difference(&new.backends) {
            // Datagrams have no connections that could end: the next one must find another backend.
            commands.push(if key.protocol == Protocol::Tcp {
                draining.insert(*backend);
                Command::DrainBackend(key, *backend)
            } else {
                Command::RemoveBackend(key, *backend)
            });
        }
        if draining.is_empty() {
            self.draining.remove(&key);
        }
    }
}

/// Counts `old` down and `new` up; returns what came to be counted and what is counted no more.
fn recount<T: Ord + Copy>(
    counts: &mut BTreeMap<T, usize>,
    old: &BTreeSet<T>,
    new: &BTreeSet<T>,
) -> (BTreeSet<T>, BTreeSet<T>) {
    let mut came = BTreeSet::new();
    let mut went = BTreeSet::new();
    for thing in new.difference(old) {
        let count = counts.entry(*thing).or_default();
        *count += 1;
        if *count == 1 {
            came.insert(*thing);
        }
    }
    for thing in old.difference(new) {
        let count = counts.get_mut(thing).expect("counted when it was wanted");
        *count -= 1;
        if *count == 0 {
            counts.remove(thing);
            went.insert(*thing);
        }
    }
    (came, went)
}

#[cfg(test)]
mod tests;
