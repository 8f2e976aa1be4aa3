//! Virtual servers and their backends in the words of IPVS's netlink family.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::netlink::{Body, Netlink, Request, attribute, number, short};
use super::check;
use crate::compile::ipvs::{Command, Server, ServerKey};
use crate::model::Protocol;

/// Every backend in turn: the scheduler kube-proxy takes.
const SCHEDULER: &str = "rr";
const PERSISTENT: u32 = 1;
/// Rewrite the destination.
const MASQUERADING: u32 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The controller of generic netlink, which knows the numbers of families.
mod controller {
    pub(super) const KIND: u16 = 0x10;
    pub(super) const GET_FAMILY: u8 = 3;
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
}

mod command {
    pub(super) const NEW_SERVICE: u8 = 1;
    pub(super) const SET_SERVICE: u8 = 2;
    pub(super) const DEL_SERVICE: u8 = 3;
    pub(super) const GET_SERVICE: u8 = 4;
    pub(super) const NEW_DEST: u8 = 5;
    pub(super) const SET_DEST: u8 = 6;
    pub(super) const DEL_DEST: u8 = 7;
    pub(super) const GET_DEST: u8 = 8;
}

/// What a message is about.
mod subject {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DEST: u16 = 2;
}

mod service {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDRESS: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const SCHEDULER: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
}

mod dest {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const FORWARDING: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const UPPER: u16 = 5;
    pub(super) const LOWER: u16 = 6;
    pub(super) const ACTIVE: u16 = 7;
    pub(super) const INACTIVE: u16 = 8;
    pub(super) const FAMILY: u16 = 11;
}

/// A backend as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connections {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share; 0 takes no new connections.
    pub weight: u32,
    /// Connections it has, those that are ending included.
    pub connections: u32,
}

/// IPVS's number among the families of generic netlink.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family(u16);

impl Family {
    /// Asks for it, which loads the module where there is one.
    ///
    /// # Errors
    /// The kernel has no IPVS.
    pub fn find(generic: &mut Netlink) -> io::Result<Self> {
        let body = Body::new(&[controller::GET_FAMILY, 2, 0, 0]).text(controller::FAMILY_NAME, "IPVS");
        let request = Request { kind: controller::KIND, flags: 0, body: body.0 };
        let answers = generic.ask(&request, false).map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ENOENT) => io::Error::new(error.kind(), "it has no module ip_vs"),
            _ => error,
        })?;
        let id = answers.first().and_then(|answer| short(answer.get(4..)?, controller::FAMILY_ID));
        id.map(Self).ok_or_else(|| io::Error::other("the kernel names no number for IPVS"))
    }

    /// All virtual servers with their affinity, but those chosen by a mark.
    pub(super) fn servers(self, generic: &mut Netlink) -> io::Result<BTreeMap<ServerKey, Option<Duration>>> {
        let answers = generic.ask(&self.request(command::GET_SERVICE, 0, Body::default()), true)?;
        Ok(answers.iter().filter_map(|answer| server(answer.get(4..)?)).collect())
    }

    /// A virtual server's backends; none when it is gone.
    pub(super) fn backends(self, generic: &mut Netlink, key: ServerKey) -> io::Result<Vec<Connections>> {
        let about = Body::default().nested(subject::SERVICE, &named(key));
        let answers = generic.ask(&self.request(command::GET_DEST, 0, about), true)?;
        let family = if key.address.is_ipv4() { AF_INET } else { AF_INET6 };
        Ok(answers.iter().filter_map(|answer| backend(answer.get(4..)?, family)).collect())
    }

    /// Takes steps about servers and backends.
    pub(super) fn change(self, generic: &mut Netlink, commands: &[Command]) -> io::Result<()> {
        let requests: Vec<Request> = commands.iter().map(|command| self.of(command)).collect();
        let outcomes = generic.tell(&requests)?;
        check(commands, outcomes, fine)
    }

    fn of(self, command: &Command) -> Request {
        let about = |key: ServerKey| Body::default().nested(subject::SERVICE, &named(key));
        let whole = |key: ServerKey, server: &Server| {
            Body::default().nested(subject::SERVICE, &described(key, server))
        };
        let with =
            |key, backend: SocketAddr, weight| about(key).nested(subject::DEST, &weighed(backend, weight));
        let (verb, body) = match command {
            Command::AddServer(key, server) => (command::NEW_SERVICE, whole(*key, server)),
            Command::EditServer(key, server) => (command::SET_SERVICE, whole(*key, server)),
            Command::RemoveServer(key) => (command::DEL_SERVICE, about(*key)),
            Command::AddBackend(key, backend) => (command::NEW_DEST, with(*key, *backend, 1)),
            Command::ReviveBackend(key, backend) => (command::SET_DEST, with(*key, *backend, 1)),
            Command::DrainBackend(key, backend) => (command::SET_DEST, with(*key, *backend, 0)),
            Command::RemoveBackend(key, backend) => (command::DEL_DEST, with(*key, *backend, 0)),
            other => unreachable!("{other:?} is about no server"),
        };
        self.request(verb, 0, body)
    }

    fn request(self, verb: u8, flags: u16, attributes: Body) -> Request {
        let mut body = Body::new(&[verb, 1, 0, 0]);
        body.0.extend(attributes.0);
        Request { kind: self.0, flags, body: body.0 }
    }
}

/// Refusals that mean it is so already. Somebody else may have made a server that a service wants, or removed one; but
/// a backend that should take its share and is not there must not pass for one that does.
fn fine(command: &Command) -> &'static [i32] {
    match command {
        Command::AddServer(..) | Command::AddBackend(..) => &[nix::libc::EEXIST],
        Command::RemoveServer(_) => &[nix::libc::ESRCH],
        Command::RemoveBackend(..) | Command::DrainBackend(..) => &[nix::libc::ENOENT, nix::libc::ESRCH],
        _ => &[],
    }
}

fn named(key: ServerKey) -> Body {
    let family = if key.address.is_ipv4() { AF_INET } else { AF_INET6 };
    Body::default()
        .short(service::FAMILY, family)
        .short(service::PROTOCOL, u16::from(key.protocol.number()))
        .with(service::ADDRESS, &wide(key.address.ip()))
        .with(service::PORT, &key.address.port().to_be_bytes())
}

fn described(key: ServerKey, server: &Server) -> Body {
    let (flags, seconds) = match server.affinity {
        Some(affinity) => (PERSISTENT, u32::try_from(affinity.as_secs()).unwrap_or(u32::MAX)),
        None => (0, 0),
    };
    // Every client for itself: all bits of its address count.
    let netmask = if key.address.is_ipv4() { u32::MAX } else { 128 };
    named(key)
        .text(service::SCHEDULER, SCHEDULER)
        .with(service::FLAGS, &[flags.to_ne_bytes(), PERSISTENT.to_ne_bytes()].concat())
        .number(service::TIMEOUT, seconds)
        .number(service::NETMASK, netmask)
}

fn weighed(backend: SocketAddr, weight: u32) -> Body {
    Body::default()
        .with(dest::ADDRESS, &wide(backend.ip()))
        .with(dest::PORT, &backend.port().to_be_bytes())
        .short(dest::FAMILY, if backend.is_ipv4() { AF_INET } else { AF_INET6 })
        .number(dest::FORWARDING, MASQUERADING)
        .number(dest::WEIGHT, weight)
        .number(dest::UPPER, 0)
        .number(dest::LOWER, 0)
}

/// An address in the sixteen bytes that hold either family's.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn narrow(bytes: &[u8], family: u16) -> Option<IpAddr> {
    if family == AF_INET {
        let octets: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        return Some(IpAddr::from(octets));
    }
    let octets: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
    Some(IpAddr::from(octets))
}

fn server(attributes: &[u8]) -> Option<(ServerKey, Option<Duration>)> {
    let about = attribute(attributes, subject::SERVICE)?;
    let address = narrow(attribute(about, service::ADDRESS)?, short(about, service::FAMILY)?)?;
    let port = u16::from_be_bytes(attribute(about, service::PORT)?.try_into().ok()?);
    let protocol = match short(about, service::PROTOCOL)? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    let flags = attribute(about, service::FLAGS)?.get(..4)?.try_into().ok().map(u32::from_ne_bytes)?;
    let seconds = number(about, service::TIMEOUT).map(u64::from).map(Duration::from_secs);
    let affinity = seconds.filter(|_| flags & PERSISTENT != 0);
    Some((ServerKey { protocol, address: SocketAddr::new(address, port) }, affinity))
}

fn backend(attributes: &[u8], family: u16) -> Option<Connections> {
    let about = attribute(attributes, subject::DEST)?;
    let address = narrow(attribute(about, dest::ADDRESS)?, short(about, dest::FAMILY).unwrap_or(family))?;
    let port = u16::from_be_bytes(attribute(about, dest::PORT)?.try_into().ok()?);
    Some(Connections {
        address: SocketAddr::new(address, port),
        weight: number(about, dest::WEIGHT)?,
        connections: number(about, dest::ACTIVE)?.saturating_add(number(about, dest::INACTIVE)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_and_its_backend_are_read_as_they_were_written() {
        for text in ["10.96.0.7:80", "[fd00:10:96::7]:80"] {
            let key = ServerKey { protocol: Protocol::Tcp, address: text.parse().expect("an address") };
            for affinity in [None, Some(Duration::from_secs(10_800))] {
                let wanted = Server { affinity, ..Server::default() };
                let body = Body::default().nested(subject::SERVICE, &described(key, &wanted));
                assert_eq!(server(&body.0), Some((key, affinity)));
            }
            let written = weighed(key.address, 1).number(dest::ACTIVE, 2).number(dest::INACTIVE, 3);
            let body = Body::default().nested(subject::DEST, &written);
            let wanted = Connections { address: key.address, weight: 1, connections: 5 };
            assert_eq!(backend(&body.0, AF_INET6), Some(wanted));
        }
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        assert_eq!(server(&[]), None);
        assert_eq!(backend(&[8, 0, 2, 0, 1, 2, 3, 4], AF_INET), None);
    }
}
