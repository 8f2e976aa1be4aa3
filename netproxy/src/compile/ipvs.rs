//! Frontends as IPVS virtual servers, and changes as commands.
//!
//! A virtual server takes packets that are addressed to this node, so every address of a service is put on a device
//! that leads nowhere. Choosing a backend is a hash lookup in the kernel, whatever the number of services; a few
//! nftables rules, the same for all services, decide whose source is rewritten by looking into sets.
//!
//! ```text
//! on kube-ipvs0      10.96.0.7
//! virtual server     tcp 10.96.0.7:80, round robin → 10.244.0.5:8080, 10.244.1.7:8080
//! virtual server     tcp 192.0.2.1:30080           → …   (the node port, at every address of the node)
//! set elements       cluster-ips 10.96.0.7 · own-ips 10.96.0.7 · loops 10.244.0.5 . 10.244.0.5
//! ```
//! What IPVS cannot tell apart, clients inside that use an external address whose traffic from outside stays local,
//! is led past it by nftables rules of that service alone; so are the guards of balancers' addresses.

mod base;
mod ledger;
mod member;
mod objects;

pub use base::{base, service_rules};
pub use ledger::{Command, Found, Ledger};
pub use member::{Element, Member};
pub use objects::{Objects, Server, ServerKey, objects};

/// The device that holds the services' addresses; the name kube-proxy gave it.
pub const DEVICE: &str = "kube-ipvs0";
