//! The hosts of a run, in network namespaces that are gone when it ends.
//!
//! ```text
//!   client 192.0.2.2 ── 192.0.2.1 node 10.244.0.1 ── pod a 10.244.0.5, pod b 10.244.0.6 (a bridge with hairpin)
//!                            node 10.244.1.1 ── pod c 10.244.1.7, as if on another node
//! ```
//! Every host has an IPv6 address beside. Pods, and a program `n` of the node itself, answer TCP and UDP on one port with their letter and
//! whom they see.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use netproxy::model::Family;
use nix::sched::{CloneFlags, setns};

use crate::service::{NODE_PORT, SERVICE_PORT};

/// Every case is sent over both.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Where pods listen.
pub const PORT: u16 = 8080;

const HOSTS: [(&str, &str, &str); 5] = [
    ("client", "192.0.2.2", "2001:db8:2::2"),
    ("node", "192.0.2.1", "2001:db8:2::1"),
    ("a", "10.244.0.5", "fd00:10:244::5"),
    ("b", "10.244.0.6", "fd00:10:244::6"),
    ("c", "10.244.1.7", "fd00:10:244:1::7"),
];

/// Destinations that are addresses of the service, or of the node.
const DESTINATIONS: [(&str, &str, &str, u16); 7] = [
    ("cluster", "10.96.0.7", "fd00:10:96::7", SERVICE_PORT),
    ("cluster:81", "10.96.0.7", "fd00:10:96::7", 81),
    ("cluster:8080", "10.96.0.7", "fd00:10:96::7", PORT),
    ("external", "203.0.113.9", "2001:db8:9::9", SERVICE_PORT),
    ("balancer", "203.0.113.10", "2001:db8:9::10", SERVICE_PORT),
    ("nodeport", "192.0.2.1", "2001:db8:2::1", NODE_PORT),
    ("bridge", "10.244.0.1", "fd00:10:244::1", NODE_PORT),
];

/// A redirect to the client would use up the very token that the refusal's ICMP message needs.
const SETTINGS: [&str; 6] = [
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
    "net.ipv4.icmp_ratelimit=0",
    "net.ipv6.icmp.ratelimit=0",
];

/// The namespaces of one run.
pub struct Net {
    prefix: String,
}

impl Net {
    /// Wires the hosts and starts the pods' servers; `None` where root or one of `tools` lacks.
    pub fn new(name: &str, tools: &[&str]) -> Option<Self> {
        let root = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("Uid:\t0"));
        let missing: Vec<_> = tools.iter().filter(|tool| !in_path(tool)).collect();
        if !root || !missing.is_empty() {
            skip(&format!("that needs root and {missing:?}"));
            return None;
        }
        let net = Self { prefix: format!("np{}{name}", std::process::id()) };
        net.wire();
        for (host, letter) in [("a", "a"), ("b", "b"), ("c", "c"), ("node", "n")] {
            let addresses = FAMILIES.map(|family| net.address(host, family));
            net.inside(host, || serve(letter, addresses));
        }
        Some(net)
    }

    /// A host's address.
    pub fn address(&self, host: &str, family: Family) -> IpAddr {
        let (_, v4, v6) = HOSTS.iter().find(|(name, ..)| *name == host).expect("a host");
        pick(family, v4, v6)
    }

    /// Where a row's destination is.
    pub fn destination(&self, to: &str, family: Family) -> SocketAddr {
        let (_, v4, v6, port) = DESTINATIONS.iter().find(|(name, ..)| *name == to).expect("a destination");
        (pick(family, v4, v6), *port).into()
    }

    /// Runs `act` on `host`, in a thread of its own.
    pub fn inside<T: Send>(&self, host: &str, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(host))).expect("the host's namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("root enters a namespace");
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Connections of earlier cases must not decide this one.
    pub fn forget_flows(&self) {
        // It answers 1 when there is nothing to forget.
        self.inside("node", || Command::new("conntrack").arg("-F").output().expect("conntrack runs"));
    }

    /// Gives the node another address, which the client has on its cable.
    pub fn give_node(&self, address: &str) {
        self.ip("node", &format!("addr add {address} dev to-client"));
    }

    /// What a program on the node prints.
    pub fn on_node(&self, program: &str, words: &str) -> String {
        let output = self.inside("node", || {
            Command::new(program).args(words.split_whitespace()).output().expect("the program runs")
        });
        assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn wire(&self) {
        for (host, ..) in HOSTS {
            ip(&format!("netns add {}", self.name(host)));
            self.ip(host, "link set lo up");
        }
        for setting in SETTINGS {
            let (name, value) = setting.split_once('=').expect("a value");
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            self.inside("node", || std::fs::write(&file, value).expect("a setting of the namespace"));
        }
        self.ip("node", "link add cni0 type bridge");
        self.ip("node", "link set cni0 up");
        self.give("node", "cni0", "10.244.0.1/24", "fd00:10:244::1/64");
        for (host, ..) in HOSTS.iter().filter(|(host, ..)| *host != "node") {
            self.cable(host);
        }
        self.give("node", "to-client", "192.0.2.1/24", "2001:db8:2::1/64");
        self.give("node", "to-c", "10.244.1.1/24", "fd00:10:244:1::1/64");
        for pod in ["a", "b"] {
            self.ip("node", &format!("link set to-{pod} master cni0"));
            self.ip("node", &format!("link set to-{pod} type bridge_slave hairpin on"));
        }
        for (host, v4, v6) in [
            ("client", "192.0.2.1", "2001:db8:2::1"),
            // Where nothing is: a packet needs some route before rules see it.
            ("node", "192.0.2.2", "2001:db8:2::2"),
            ("a", "10.244.0.1", "fd00:10:244::1"),
            ("b", "10.244.0.1", "fd00:10:244::1"),
            ("c", "10.244.1.1", "fd00:10:244:1::1"),
        ] {
            self.ip(host, &format!("route add default via {v4}"));
            self.ip(host, &format!("-6 route add default via {v6}"));
        }
    }

    fn cable(&self, host: &str) {
        let name = self.name(host);
        self.ip("node", &format!("link add to-{host} type veth peer name eth0 netns {name}"));
        self.ip("node", &format!("link set to-{host} up"));
        self.ip(host, "link set eth0 up");
        let (v4, v6) = (self.address(host, Family::V4), self.address(host, Family::V6));
        self.give(host, "eth0", &format!("{v4}/24"), &format!("{v6}/64"));
    }

    fn give(&self, host: &str, device: &str, v4: &str, v6: &str) {
        self.ip(host, &format!("addr add {v4} dev {device}"));
        self.ip(host, &format!("addr add {v6} dev {device} nodad"));
    }

    fn ip(&self, host: &str, words: &str) {
        ip(&format!("-n {} {words}", self.name(host)));
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for (host, ..) in HOSTS {
            let _ = Command::new("ip").args(["netns", "del", &self.name(host)]).status();
        }
    }
}

/// Says what was not tested, so that a green line does not pretend.
#[allow(clippy::print_stderr, reason = "people must see that nothing was tested")]
pub fn skip(why: &str) {
    eprintln!("SKIPPED: no packet was sent, because {why}");
}

fn pick(family: Family, v4: &str, v6: &str) -> IpAddr {
    let text = if family == Family::V4 { v4 } else { v6 };
    text.parse().expect("an address")
}

/// Answers for as long as the test process lives. Datagrams are answered from the address they were sent to, which a
/// host with several must take care of.
fn serve(letter: &'static str, addresses: [IpAddr; 2]) {
    let listener = TcpListener::bind(("::", PORT)).expect("a free port in a new namespace");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_stream(letter, stream));
        }
    });
    for address in addresses {
        let socket = UdpSocket::bind((address, PORT)).expect("a free port in a new namespace");
        std::thread::spawn(move || {
            let mut bytes = [0; 100];
            while let Ok((_, peer)) = socket.recv_from(&mut bytes) {
                // A client that went away is no reason to stop.
                let _ = socket.send_to(answer(letter, peer).as_bytes(), peer);
            }
        });
    }
}

fn answer_stream(letter: &str, mut stream: TcpStream) {
    let Ok(peer) = stream.peer_addr() else { return };
    let mut bytes = [0; 100];
    while stream.read(&mut bytes).is_ok_and(|length| length > 0) {
        if stream.write_all(answer(letter, peer).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(letter: &str, peer: SocketAddr) -> String {
    format!("{letter} {}", peer.ip().to_canonical())
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

fn in_path(tool: &str) -> bool {
    std::env::var("PATH")
        .is_ok_and(|path| path.split(':').any(|folder| std::path::Path::new(folder).join(tool).exists()))
}
