//! Changes of services as commands, in the shortest words that tell them apart.

use std::time::Duration;

use super::super::objects;
use super::*;
use crate::model::{Backends, Family, Frontend, Port};

/// A service in words: `web` or `dns` (TCP or UDP port 80 of 10.96.0.7), last octets of its backends or `reject` or
/// `drop`, then `x` with an external address, `n` with a node port, `l` with the local policy outside, `s` sticky.
/// Nothing is no service.
fn frontends(words: &str) -> Vec<Frontend> {
    let mut words = words.split(' ').filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return Vec::new() };
    let to = match words.next().expect("backends") {
        "reject" => Backends::Reject,
        "drop" => Backends::Drop,
        octets => Backends::To(octets.split(',').map(backend).collect()),
    };
    let flags: Vec<&str> = words.collect();
    let protocol = if name == "dns" { Protocol::Udp } else { Protocol::Tcp };
    vec![Frontend {
        service: id(name),
        port: Port {
            name: String::new(),
            protocol,
            port: 80,
            node_port: flags.contains(&"n").then_some(30_080),
        },
        family: Family::V4,
        cluster: vec![address("10.96.0.7")],
        external: flags.contains(&"x").then(|| address("203.0.113.9")).into_iter().collect(),
        guard: None,
        affinity: flags.contains(&"s").then_some(Duration::from_secs(60)),
        internal: to.clone(),
        outside: to.clone(),
        anywhere: to,
        external_local: flags.contains(&"l"),
    }]
}

fn backend(octet: &str) -> SocketAddr {
    format!("10.244.0.{octet}:8080").parse().expect("an address")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn id(name: &str) -> ServiceId {
    ServiceId { namespace: "ns".into(), name: name.into() }
}

fn compiled(words: &str) -> Objects {
    let node = BTreeSet::from([address("192.0.2.1"), address("2001:db8::1")]);
    objects(&frontends(words), &node)
}

fn name_of(words: &str) -> &str {
    words.split(' ').next().unwrap_or_default()
}

#[derive(Default)]
struct Kernel(Ledger);

impl Kernel {
    /// The commands from `old` to `new` of one service must read as `wanted`.
    fn check(&mut self, old: &str, new: &str, wanted: &str) {
        let name = if new.is_empty() { name_of(old) } else { name_of(new) };
        let commands = self.0.change(&id(name), &compiled(old), &compiled(new));
        assert_eq!(shown(&commands), wanted, "{old:?} → {new:?}");
    }
}

fn shown(commands: &[Command]) -> String {
    let key = |key: &ServerKey| format!("{}{}", &key.protocol.name()[..1], key.address);
    let octet =
        |backend: &SocketAddr| backend.ip().to_string().rsplit('.').next().unwrap_or_default().to_owned();
    let words = commands.iter().map(|command| match command {
        Command::AddMember(member) => {
            let element = member.element();
            format!("+{}({})", element.set, element.text)
        }
        Command::RemoveMember(member) => {
            let element = member.element();
            format!("-{}({})", element.set, element.text)
        }
        Command::AddServer(server, with) => {
            format!("+{}{}", key(server), if with.affinity.is_some() { " sticky" } else { "" })
        }
        Command::EditServer(server, with) => {
            format!("={}{}", key(server), if with.affinity.is_some() { " sticky" } else { " free" })
        }
        Command::RemoveServer(server) => format!("-{}", key(server)),
        Command::AddBackend(_, backend) => format!("+{}", octet(backend)),
        Command::ReviveBackend(_, backend) => format!("^{}", octet(backend)),
        Command::DrainBackend(_, backend) => format!("~{}", octet(backend)),
        Command::RemoveBackend(_, backend) => format!("-{}", octet(backend)),
        Command::AddAddress(address) => format!("+{address}"),
        Command::RemoveAddress(address) => format!("-{address}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_service_comes_changes_and_goes() {
    let mut kernel = Kernel::default();
    kernel.check(
        "",
        "web 5",
        "+cluster-ips(10.96.0.7) +own-ips(10.96.0.7) +loops(10.244.0.5 . 10.244.0.5) +t10.96.0.7:80 +5 +10.96.0.7",
    );
    kernel.check("web 5", "web 5", "");
    kernel.check("web 5", "web 5,6", "+loops(10.244.0.6 . 10.244.0.6) +6");
    kernel.check("web 5,6", "web 5,6 s", "=t10.96.0.7:80 sticky");
    kernel.check("web 5,6 s", "web 5,6", "=t10.96.0.7:80 free");
    kernel.check(
        "web 5,6",
        "",
        "-10.96.0.7 -t10.96.0.7:80 -cluster-ips(10.96.0.7) -own-ips(10.96.0.7) \
         -loops(10.244.0.5 . 10.244.0.5) -loops(10.244.0.6 . 10.244.0.6)",
    );
    assert!(kernel.0.draining().is_empty());
}

#[test]
fn a_backend_keeps_its_connections_until_they_end() {
    let mut kernel = Kernel::default();
    kernel.0.change(&id("web"), &compiled(""), &compiled("web 5,6"));
    kernel.check("web 5,6", "web 6", "~5 -loops(10.244.0.5 . 10.244.0.5)");
    kernel.check("web 6", "web reject", "~6 -loops(10.244.0.6 . 10.244.0.6)");
    kernel.check("web reject", "web 5", "+loops(10.244.0.5 . 10.244.0.5) ^5");
    let key = *kernel.0.draining().keys().next().expect("6 is on its way out");
    assert_eq!(shown(&kernel.0.drained(key, &BTreeSet::from([backend("5")]))), "");
    assert_eq!(shown(&kernel.0.drained(key, &BTreeSet::from([backend("5"), backend("6")]))), "-6");
    assert!(kernel.0.draining().is_empty());
    // Datagrams know no connection.
    kernel.0.change(&id("dns"), &compiled(""), &compiled("dns 5,6"));
    kernel.check("dns 5,6", "dns 6", "-5");
}

#[test]
fn nobody_answers_or_nobody_here() {
    let mut kernel = Kernel::default();
    kernel.0.change(&id("web"), &compiled(""), &compiled("web 5 x"));
    kernel.check("web 5 x", "web reject x", "~5 ~5 -loops(10.244.0.5 . 10.244.0.5)");
    kernel.check(
        "web reject x",
        "web drop x",
        "+silent(10.96.0.7 . tcp . 80) +silent-outside(203.0.113.9 . tcp . 80)",
    );
}

#[test]
fn node_ports_are_at_every_address_of_the_node() {
    let mut kernel = Kernel::default();
    kernel.0.change(&id("web"), &compiled(""), &compiled("web 5"));
    kernel.check("web 5", "web 5 n", "+t192.0.2.1:30080 +5");
    kernel.check("web 5 n", "web 5 n l", "+keep-source(192.0.2.1 . tcp . 30080)");
}

#[test]
fn what_two_services_share_goes_with_the_last() {
    let mut kernel = Kernel::default();
    kernel.0.change(&id("web"), &compiled(""), &compiled("web 5 x"));
    kernel.check("", "dns 5 x", "+u10.96.0.7:80 +5 +u203.0.113.9:80 +5");
    kernel.check("web 5 x", "", "-t10.96.0.7:80 -t203.0.113.9:80");
    // Of two services that want the same server, the first has it.
    kernel.0.change(&id("web"), &compiled(""), &compiled("web 5 x"));
    let second = kernel.0.change(&id("other"), &compiled(""), &compiled("web 6 x"));
    assert_eq!(shown(&second), "+loops(10.244.0.6 . 10.244.0.6)");
    let second = kernel.0.change(&id("other"), &compiled("web 6 x"), &compiled(""));
    assert_eq!(shown(&second), "-loops(10.244.0.6 . 10.244.0.6)");
}

#[test]
fn a_new_run_touches_only_what_differs() {
    let wanted = [(id("web"), compiled("web 5,6 x"))];
    let server = |octets: &[&str]| Server {
        backends: octets.iter().map(|octet| backend(octet)).collect(),
        ..Server::default()
    };
    let key = |text: &str| ServerKey { protocol: Protocol::Tcp, address: text.parse().expect("an address") };
    let found = Found {
        servers: BTreeMap::from([
            (key("10.96.0.7:80"), (server(&["5"]), BTreeSet::from([backend("6"), backend("7")]))),
            (key("10.96.0.8:80"), (server(&["5"]), BTreeSet::new())),
        ]),
        addresses: BTreeSet::from([address("10.96.0.7"), address("10.96.0.8")]),
    };
    let (ledger, commands) = Ledger::begin(found, &wanted);
    let without_members: Vec<Command> =
        commands.into_iter().filter(|command| !matches!(command, Command::AddMember(_))).collect();
    assert_eq!(shown(&without_members), "^6 +t203.0.113.9:80 +5 +6 +203.0.113.9 -10.96.0.8 -t10.96.0.8:80");
    assert_eq!(ledger.draining().values().next(), Some(&BTreeSet::from([backend("7")])));
}
