//! Addresses of this node, and the device for those of services, over the kernel's routing netlink.

use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::netlink::{Body, Netlink, Request, attribute, messages};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FLAGS: u16 = 8;
/// Whoever sends to it asks nobody whether it is taken: it is ours on every node.
const NO_DUPLICATE_DETECTION: u32 = 2;
const UP: u32 = 1;
const NO_ARP: u32 = 0x80;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// Multicast groups that tell of IPv4 and IPv6 addresses.
const GROUPS: [u32; 2] = [5, 9];

/// A network device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device(u32);

/// The device `name`, which leads nowhere; made where it lacks.
///
/// # Errors
/// The kernel has no such devices.
pub(super) fn ensure_device(route: &mut Netlink, name: &str) -> io::Result<Device> {
    if let Some(device) = find_device(route, name)? {
        return Ok(device);
    }
    let kind = Body::default().text(INFO_KIND, "dummy");
    let body = Body::new(&link_header(0)).text(LINK_NAME, name).nested(LINK_INFO, &kind);
    let request = Request { kind: NEW_LINK, flags: CREATE | EXCLUSIVE, body: body.0 };
    one(route, request).map_err(|error| io::Error::new(error.kind(), format!("dummy devices: {error}")))?;
    find_device(route, name)?.ok_or_else(|| io::Error::other(format!("{name} went away")))
}

/// The device `name`, where there is one.
///
/// # Errors
/// The kernel refused.
pub fn find_device(route: &mut Netlink, name: &str) -> io::Result<Option<Device>> {
    let body = Body::new(&[0; LINK_HEADER]).text(LINK_NAME, name);
    match route.ask(&Request { kind: GET_LINK, flags: 0, body: body.0 }, false) {
        Ok(answers) => Ok(answers.first().and_then(|answer| word(answer, 4)).map(Device)),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes a device away.
pub(super) fn remove_device(route: &mut Netlink, device: Device) -> io::Result<()> {
    one(route, Request { kind: DEL_LINK, flags: 0, body: link_header(device.0).to_vec() })
}

/// Puts an address on a device.
pub(super) fn add(device: Device, address: IpAddr) -> Request {
    Request { kind: NEW_ADDRESS, flags: CREATE | EXCLUSIVE, body: address_body(device, address) }
}

/// Takes an address off a device.
pub(super) fn remove(device: Device, address: IpAddr) -> Request {
    Request { kind: DEL_ADDRESS, flags: 0, body: address_body(device, address) }
}

/// All addresses of this network namespace.
pub(super) fn list(route: &mut Netlink) -> io::Result<Vec<(Device, IpAddr)>> {
    let answers = route.ask(&Request { kind: GET_ADDRESS, flags: 0, body: vec![0; ADDRESS_HEADER] }, true)?;
    Ok(answers.iter().filter_map(|answer| read(answer)).collect())
}

fn read(message: &[u8]) -> Option<(Device, IpAddr)> {
    let attributes = message.get(ADDRESS_HEADER..)?;
    // On a point-to-point device the other attribute is the peer's.
    let bytes = attribute(attributes, LOCAL).or_else(|| attribute(attributes, ADDRESS))?;
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some((Device(word(message, 4)?), address))
}

fn one(route: &mut Netlink, request: Request) -> io::Result<()> {
    route.tell(&[request])?.into_iter().next().unwrap_or(Ok(()))
}

/// A device's number, up and without ARP.
fn link_header(index: u32) -> [u8; LINK_HEADER] {
    let flags = UP | NO_ARP;
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn address_body(device: Device, address: IpAddr) -> Vec<u8> {
    let (family, bits, bytes) = match address {
        IpAddr::V4(address) => (AF_INET, 32, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, 128, address.octets().to_vec()),
    };
    let mut header = vec![family, bits, 0, 0];
    header.extend(device.0.to_ne_bytes());
    Body::new(&header).with(LOCAL, &bytes).with(ADDRESS, &bytes).number(FLAGS, NO_DUPLICATE_DETECTION).0
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Tells when the node's own addresses change.
pub struct Watch {
    socket: TokioSocket,
    ignored: Device,
}

impl Watch {
    /// Begins to watch, but not the addresses of `ignored`, which are those of services.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn open(ignored: Device) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.socket_mut().add_membership(group)?;
        }
        Ok(Self { socket, ignored })
    }

    /// Waits until an address came or went, or some may have: when too much happened at once, nobody knows.
    pub async fn changed(&mut self) {
        loop {
            match self.socket.recv_from_full().await {
                Ok((bytes, _)) if !concerns(&bytes, self.ignored) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn concerns(bytes: &[u8], ignored: Device) -> bool {
    use netlink_packet_core::NetlinkPayload;
    messages(bytes).any(|message| match message.map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(raw)) => read(&raw.body).is_none_or(|(device, _)| device != ignored),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_written() {
        for text in ["10.96.0.7", "fd00::7"] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(read(&add(Device(7), address).body), Some((Device(7), address)));
        }
    }

    #[test]
    fn this_machine_has_a_loopback_address() {
        let mut route = Netlink::open(NETLINK_ROUTE).expect("every kernel has it");
        let addresses = list(&mut route).expect("everybody may look");
        assert!(addresses.iter().any(|(_, address)| address.is_loopback()), "{addresses:?}");
        assert_eq!(find_device(&mut route, "no-such-device").expect("no error"), None);
    }
}
