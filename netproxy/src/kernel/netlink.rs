//! Netlink: many requests in one system call, and an answer for each.
//!
//! The kernel handles requests while they are sent, so their answers wait when the call returns and nothing here
//! blocks. A socket belongs to the network namespace of the thread that opened it, whoever uses it later.

use std::io;

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

/// Requests in one system call: their answers must fit into the socket's buffer, 200 KiB by default, where each
/// takes less than 1 KiB.
const TOGETHER_MAX: usize = 64;

/// One request's type, its flags beyond those of every request, and what follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The message type.
    pub kind: u16,
    /// Flags such as `NLM_F_CREATE`.
    pub flags: u16,
    /// The payload.
    pub body: Vec<u8>,
}

/// A netlink socket.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    sent_bytes: u64,
}

impl Netlink {
    /// Opens a socket of `protocol` in this thread's network namespace.
    ///
    /// # Errors
    /// The kernel does not speak it.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, sequence: 0, sent_bytes: 0 })
    }

    /// Bytes sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Sends requests in their order; each has its own outcome, and one that is refused does not stop the next.
    ///
    /// # Errors
    /// The socket failed, or a request got no answer.
    pub fn tell(&mut self, requests: &[Request]) -> io::Result<Vec<io::Result<()>>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for together in requests.chunks(TOGETHER_MAX) {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            for request in together {
                self.put(&mut bytes, request, NLM_F_ACK);
            }
            self.send(&bytes)?;
            let mut answers: Vec<Option<io::Result<()>>> = together.iter().map(|_| None).collect();
            self.receive(|message| {
                let at = message.header.sequence_number.wrapping_sub(first) as usize;
                if let (NetlinkPayload::Error(error), Some(answer)) = (message.payload, answers.get_mut(at)) {
                    *answer = Some(error.code.map_or(Ok(()), |_| Err(error.to_io())));
                }
            })?;
            for answer in answers {
                outcomes.push(answer.ok_or_else(|| io::Error::other("the kernel gave no answer"))?);
            }
        }
        Ok(outcomes)
    }

    /// Sends requests that the kernel takes all or none of, between the two messages that bound them.
    ///
    /// # Errors
    /// The kernel refused one, and so all.
    pub fn tell_whole(&mut self, first: &Request, requests: &[Request], last: &Request) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.put(&mut bytes, first, 0);
        for request in requests {
            self.put(&mut bytes, request, 0);
        }
        // Whether all were taken is told by the last request's answer; one that is refused answers without being asked.
        self.put(&mut bytes, last, 0);
        self.send(&bytes)?;
        let mut refused = None;
        self.receive(|message| {
            if let NetlinkPayload::Error(error) = message.payload
                && error.code.is_some()
            {
                refused.get_or_insert_with(|| error.to_io());
            }
        })?;
        refused.map_or(Ok(()), Err)
    }

    /// Asks for one answer, or for everything of a kind: the payloads of what came.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn ask(&mut self, request: &Request, everything: bool) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.put(&mut bytes, request, if everything { NLM_F_DUMP } else { 0 });
        self.send(&bytes)?;
        let mut payloads = Vec::new();
        let mut refused = None;
        self.receive(|message| match message.payload {
            NetlinkPayload::InnerMessage(Raw { body, .. }) => payloads.push(body),
            NetlinkPayload::Error(error) if error.code.is_some() => refused = Some(error.to_io()),
            _ => {}
        })?;
        refused.map_or(Ok(payloads), Err)
    }

    fn put(&mut self, bytes: &mut Vec<u8>, request: &Request, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = NLM_F_REQUEST | request.flags | flags;
        let raw = Raw { kind: request.kind, body: request.body.clone() };
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(raw));
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What an earlier request left unread is nobody's answer now.
        self.receive(|_| {})?;
        self.sent_bytes += bytes.len() as u64;
        let sent = self.socket.send(bytes, 0)?;
        assert_eq!(sent, bytes.len(), "netlink takes a datagram whole");
        Ok(())
    }

    /// Every message that waits. The kernel makes the next part of a long answer when one is taken, so the end of
    /// what waits is the end of the answer.
    fn receive(&mut self, mut take: impl FnMut(NetlinkMessage<Raw>)) -> io::Result<()> {
        loop {
            let bytes = match self.socket.recv_from_full() {
                Ok((bytes, _)) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for message in messages(&bytes) {
                take(message?);
            }
        }
    }
}

/// The messages of a datagram.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<Raw>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<Raw>::deserialize(rest).map_err(io::Error::other);
        let length = message.as_ref().map_or(rest.len(), |message| message.header.length as usize);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A message whose payload somebody else reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    kind: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.body.len()].copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self { kind: header.message_type, body: payload.to_vec() })
    }
}

/// A payload under construction: a family's own header, then attributes.
#[derive(Debug, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// Begins with a family's own header.
    pub fn new(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    /// Adds an attribute.
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let attribute = DefaultNla::new(kind, value.to_vec());
        let start = self.0.len();
        self.0.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut self.0[start..]);
        self
    }

    /// Adds an attribute that holds attributes.
    pub fn nested(self, kind: u16, inner: &Self) -> Self {
        self.with(kind | netlink_packet_core::NLA_F_NESTED, &inner.0)
    }

    /// Adds a number in the machine's order.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// Adds a short number in the machine's order.
    pub fn short(self, kind: u16, value: u16) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// Adds a text, ended by a zero.
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.with(kind, &[value.as_bytes(), &[0]].concat())
    }
}

/// The value of the first attribute of a kind.
pub fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut found = NlasIterator::new(attributes).flatten().filter(|attribute| attribute.kind() == kind);
    let attribute = found.next()?;
    let inner: &[u8] = attribute.into_inner();
    let length = usize::from(u16::from_ne_bytes([inner[0], inner[1]]));
    inner.get(4..length)
}

/// A number in the machine's order.
pub fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    attribute(attributes, kind)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A short number in the machine's order.
pub fn short(attributes: &[u8], kind: u16) -> Option<u16> {
    attribute(attributes, kind)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let inner = Body::default().short(3, 7).text(4, "rr");
        let body = Body::default().number(1, 9).nested(2, &inner);
        assert_eq!(number(&body.0, 1), Some(9));
        let nested = attribute(&body.0, 2).expect("the nested one");
        assert_eq!(short(nested, 3), Some(7));
        assert_eq!(attribute(nested, 4), Some(b"rr\0".as_slice()));
        assert_eq!(attribute(nested, 5), None);
        assert_eq!(number(nested, 3), None, "of another length");
    }

    #[test]
    fn a_request_is_answered() {
        let mut netlink = Netlink::open(netlink_sys::protocols::NETLINK_ROUTE).expect("every kernel has it");
        const GET_LINK: u16 = 18;
        let request = Request { kind: GET_LINK, flags: 0, body: vec![0; 16] };
        let links = netlink.ask(&request, true).expect("everybody may look");
        assert!(!links.is_empty(), "there is always a loopback device");
        let missing = Body::new(&[0; 16]).text(3, "no-such-device");
        let refused = netlink.ask(&Request { kind: GET_LINK, flags: 0, body: missing.0 }, false);
        assert_eq!(refused.expect_err("no such device").raw_os_error(), Some(nix::libc::ENODEV));
        assert!(netlink.sent_bytes() > 64);
    }
}
