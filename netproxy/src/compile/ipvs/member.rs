//! Elements of the sets that nftables' few rules look into.

use std::net::IpAddr;

use crate::model::{Family, Protocol};

/// Something a rule must know about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A cluster address: pods keep their source towards it.
    Cluster(IpAddr),
    /// Any address of a service: what no virtual server takes is refused there.
    Service(IpAddr),
    /// A backend: what it sends to itself needs another source, else it would answer itself directly.
    Loop(IpAddr),
    /// Packets to here keep their source whoever sends them.
    KeepSource(Socket),
    /// Packets to here get no answer.
    Silent(Socket),
    /// Packets from elsewhere to here get no answer.
    SilentOutside(Socket),
}

/// A transport address.
pub type Socket = (IpAddr, Protocol, u16);

/// An element as its set holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The table's family.
    pub family: Family,
    /// The set's name.
    pub set: &'static str,
    /// In nftables' words.
    pub text: String,
    /// As the kernel keeps it: every field in network order, filled up to four bytes.
    pub key: Vec<u8>,
}

impl Member {
    /// As its set holds it.
    pub fn element(self) -> Element {
        let (set, address, rest) = match self {
            Self::Cluster(address) => ("cluster-ips", address, Rest::Nothing),
            Self::Service(address) => ("own-ips", address, Rest::Nothing),
            Self::Loop(address) => ("loops", address, Rest::Again),
            Self::KeepSource((address, protocol, port)) => {
                ("keep-source", address, Rest::Port(protocol, port))
            }
            Self::Silent((address, protocol, port)) => ("silent", address, Rest::Port(protocol, port)),
            Self::SilentOutside((address, protocol, port)) => {
                ("silent-outside", address, Rest::Port(protocol, port))
            }
        };
        let mut key = bytes(address);
        let text = match rest {
            Rest::Nothing => address.to_string(),
            Rest::Again => {
                key.extend(bytes(address));
                format!("{address} . {address}")
            }
            Rest::Port(protocol, port) => {
                key.extend([protocol.number(), 0, 0, 0]);
                key.extend(port.to_be_bytes());
                key.extend([0, 0]);
                format!("{address} . {} . {port}", protocol.name())
            }
        };
        Element { family: Family::of(address), set, text, key }
    }
}

enum Rest {
    Nothing,
    Again,
    Port(Protocol, u16),
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_read_as_the_kernel_keeps_them() {
        let socket = ("10.96.0.7".parse().expect("an address"), Protocol::Udp, 80);
        let element = Member::Silent(socket).element();
        assert_eq!((element.set, element.text.as_str()), ("silent", "10.96.0.7 . udp . 80"));
        assert_eq!(element.key, [10, 96, 0, 7, 17, 0, 0, 0, 0, 80, 0, 0]);
        let element = Member::Loop("fd00::1".parse().expect("an address")).element();
        assert_eq!((element.family, element.key.len()), (Family::V6, 32));
    }
}
