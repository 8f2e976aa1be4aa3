//! What one service needs of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Member;
use crate::model::{Backends, Family, Frontend, Protocol};

/// Which virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where clients send.
    pub address: SocketAddr,
}

/// A virtual server.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Server {
    /// How long a client stays with its backend.
    pub affinity: Option<Duration>,
    /// Where its packets go; without any, senders are refused.
    pub backends: BTreeSet<SocketAddr>,
}

/// The objects a service needs. Equal objects need no change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Objects {
    /// Its virtual servers.
    pub servers: BTreeMap<ServerKey, Server>,
    /// Its addresses, which the node must take for its own.
    pub addresses: BTreeSet<IpAddr>,
    /// What rules must know of it.
    pub members: BTreeSet<Member>,
}

/// Compiles the frontends of one service, on a node that has the addresses `node`.
pub fn objects(frontends: &[Frontend], node: &BTreeSet<IpAddr>) -> Objects {
    let mut objects = Objects::default();
    for frontend in frontends {
        Compiler { frontend, node, objects: &mut objects }.compile();
    }
    objects
}

struct Compiler<'a> {
    frontend: &'a Frontend,
    node: &'a BTreeSet<IpAddr>,
    objects: &'a mut Objects,
}

impl Compiler<'_> {
    fn compile(&mut self) {
        let Frontend { cluster, external, internal, outside, port, .. } = self.frontend;
        for address in cluster {
            self.own(*address);
            self.objects.members.insert(Member::Cluster(*address));
            self.serve(*address, port.port, internal, Member::Silent);
        }
        for address in external {
            self.own(*address);
            self.serve_outside(*address, port.port);
        }
        if let Some(node_port) = port.node_port {
            let family = self.frontend.family;
            for address in self.node.iter().filter(|address| Family::of(**address) == family) {
                self.serve_outside(*address, node_port);
            }
        }
        for backends in [internal, outside] {
            if let Backends::To(backends) = backends {
                let loops = backends.iter().map(|backend| Member::Loop(backend.ip()));
                self.objects.members.extend(loops);
            }
        }
    }

    fn own(&mut self, address: IpAddr) {
        self.objects.addresses.insert(address);
        self.objects.members.insert(Member::Service(address));
    }

    fn serve_outside(&mut self, address: IpAddr, port: u16) {
        if self.frontend.external_local {
            self.objects.members.insert(Member::KeepSource((address, self.frontend.port.protocol, port)));
        }
        self.serve(address, port, &self.frontend.outside, Member::SilentOutside);
    }

    /// A server without backends refuses; where silence is wanted, a rule takes the packets before it.
    fn serve(
        &mut self,
        address: IpAddr,
        port: u16,
        backends: &Backends,
        silent: fn((IpAddr, Protocol, u16)) -> Member,
    ) {
        let protocol = self.frontend.port.protocol;
        let mut server = Server { affinity: self.frontend.affinity, backends: BTreeSet::new() };
        match backends {
            Backends::To(to) => server.backends.extend(to),
            Backends::Reject => {}
            Backends::Drop => {
                self.objects.members.insert(silent((address, protocol, port)));
            }
        }
        let key = ServerKey { protocol, address: SocketAddr::new(address, port) };
        self.objects.servers.insert(key, server);
    }
}
