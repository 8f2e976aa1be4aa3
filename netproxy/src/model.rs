//! What each service wants of this node: frontends (addresses and ports clients use) and the backends behind each.
//!
//! Pure and per service: a change of one service or of one of its slices recomputes that service alone.

mod input;
mod range;
mod state;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use input::{Endpoint, Slice, service, slice};
pub use range::Range;
pub use state::{Place, State};

/// A service's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Transport protocols a service port can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As the kernel's tools and DNS write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// As packets carry it.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A service as the proxy sees it. Headless services and external names are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which service.
    pub id: ServiceId,
    /// Its cluster addresses, one a family.
    pub cluster: Vec<IpAddr>,
    /// External addresses and those of its load balancer that lead here.
    pub external: Vec<IpAddr>,
    /// Those of `external` that its load balancer gave: only they are guarded by source ranges.
    pub balancer: Vec<IpAddr>,
    /// Who may send to its load balancer's addresses; everybody when empty.
    pub source_ranges: Vec<Range>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// How long a client stays with its backend.
    pub affinity: Option<Duration>,
    /// Traffic from inside goes to backends of the same node only.
    pub internal_local: bool,
    /// Traffic from outside goes to backends of this node only and keeps its source address.
    pub external_local: bool,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty for a sole unnamed port.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port at the service's addresses.
    pub port: u16,
    /// The port at every node's addresses.
    pub node_port: Option<u16>,
}

/// Where a frontend's packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backends {
    /// To one of these, sorted.
    To(Vec<SocketAddr>),
    /// Nowhere in the whole cluster: the sender is told at once.
    Reject,
    /// Nowhere on this node, though other nodes have some: silence, so that the sender tries another node.
    Drop,
}

/// Addresses that take packets from some sources only; others get no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The guarded addresses.
    pub addresses: Vec<IpAddr>,
    /// Who may send to them.
    pub sources: Vec<Range>,
}

/// One service port of one family, ready to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    /// Which service.
    pub service: ServiceId,
    /// Which port of it.
    pub port: Port,
    /// The family of every address in here.
    pub family: Family,
    /// Its cluster addresses.
    pub cluster: Vec<IpAddr>,
    /// Its external addresses.
    pub external: Vec<IpAddr>,
    /// Who may send to some of the external addresses.
    pub guard: Option<Guard>,
    /// How long a client stays with its backend.
    pub affinity: Option<Duration>,
    /// For clients inside, at the cluster addresses.
    pub internal: Backends,
    /// For clients outside.
    pub outside: Backends,
    /// For clients inside at the external addresses and node ports, when they are told apart from those outside.
    pub anywhere: Backends,
    /// For clients outside when they are told apart from those inside.
    pub external_local: bool,
}

impl Frontend {
    /// It can be reached from outside.
    pub fn has_outside(&self) -> bool {
        self.port.node_port.is_some() || !self.external.is_empty()
    }
}
