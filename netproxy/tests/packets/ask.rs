//! Packets from a host, and what comes back.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::net::Net;

/// Longer than any answer in here takes.
const PATIENCE: Duration = Duration::from_secs(3);
/// Long enough for an answer that should not come to be seen.
const SILENCE: Duration = Duration::from_millis(400);
/// With three backends at random, one is missed in 40 tries once in ten million.
const TRIES_MAX: usize = 40;
/// Tries after everybody wanted was seen, for those who are not wanted.
const TRIES_MORE: usize = 6;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A new connection for each try.
    Tcp,
    /// A datagram from a new port for each try.
    Udp,
}

/// An answer: the backend's letter and the address it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who answered.
    pub letter: String,
    /// Whom it saw.
    pub source: IpAddr,
}

/// What `from` sees at `to` in some tries, in the words of `answer`.
pub fn ask(net: &Net, flow: Flow, from: &str, to: SocketAddr, answer: &str) -> String {
    let (letters, sight) = answer.split_once(' ').unwrap_or((answer, ""));
    net.inside(from, || {
        let own = local_address(to);
        let mut seen = BTreeSet::new();
        let mut sights = BTreeSet::new();
        let mut more = TRIES_MORE;
        for _ in 0..TRIES_MAX {
            match tried(flow, to, if letters == "silence" { SILENCE } else { PATIENCE }) {
                Ok(answer) => {
                    sights.insert(if Some(answer.source) == own { "kept" } else { "node" });
                    seen.insert(answer.letter);
                }
                Err(outcome) => return outcome,
            }
            if letters == "one" || letters.chars().all(|letter| seen.contains(&letter.to_string())) {
                more -= 1;
            }
            if more == 0 {
                break;
            }
        }
        let mut outcome: String = seen.into_iter().collect();
        if letters == "one" && outcome.len() == 1 {
            outcome = "one".to_owned();
        }
        if sight.is_empty() { outcome } else { format!("{outcome} {}", Vec::from_iter(sights).join("+")) }
    })
}

/// One try over a connection or port of its own.
///
/// # Errors
/// How it failed: `refused`, `silence` or the error's text.
pub fn once(flow: Flow, to: SocketAddr) -> Result<Seen, String> {
    tried(flow, to, PATIENCE)
}

fn tried(flow: Flow, to: SocketAddr, patience: Duration) -> Result<Seen, String> {
    match flow {
        Flow::Tcp => Connection::patient(to, patience).and_then(|mut connection| connection.ask()),
        Flow::Udp => Datagrams::patient(to, patience).and_then(|datagrams| datagrams.ask()),
    }
    .map_err(|error| outcome(&error))
}

/// A TCP connection that stays open.
pub struct Connection(TcpStream);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// It was refused or nobody answered in time.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        Self::patient(to, PATIENCE)
    }

    fn patient(to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self(stream))
    }

    /// Who answers on it.
    ///
    /// # Errors
    /// It broke, or nobody answered in time.
    pub fn ask(&mut self) -> io::Result<Seen> {
        self.0.write_all(b"?")?;
        let mut bytes = [0; 100];
        let length = self.0.read(&mut bytes)?;
        seen(&bytes[..length])
    }
}

/// Datagrams from one port.
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// Takes a port.
    ///
    /// # Errors
    /// There is no way to `to`.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        Self::patient(to, PATIENCE)
    }

    fn patient(to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self(socket))
    }

    /// Who answers one datagram.
    ///
    /// # Errors
    /// It was refused, or nobody answered in time.
    pub fn ask(&self) -> io::Result<Seen> {
        match self.0.send(b"?") {
            // A rule of this host took it; whether it also told us so is heard below.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            sent => drop(sent?),
        }
        let mut bytes = [0; 100];
        let length = self.0.recv(&mut bytes)?;
        seen(&bytes[..length])
    }
}

/// A failure in a row's words.
pub fn outcome(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "silence".to_owned(),
        _ => error.to_string(),
    }
}

fn seen(bytes: &[u8]) -> io::Result<Seen> {
    let text = String::from_utf8_lossy(bytes);
    let read = text.split_once(' ').and_then(|(letter, source)| {
        Some(Seen { letter: letter.to_owned(), source: source.trim().parse().ok()? })
    });
    read.ok_or_else(|| io::Error::other(format!("a backend said {text:?}")))
}

/// The address this host sends from to `to`.
fn local_address(to: SocketAddr) -> Option<IpAddr> {
    Datagrams::open(to).ok()?.0.local_addr().ok().map(|address| address.ip())
}
