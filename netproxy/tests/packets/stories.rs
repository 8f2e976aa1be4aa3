//! Sequences that one row of the table cannot tell.

use netproxy::model::Family;

use crate::ask::{Connection, Datagrams, Flow, ask, once, outcome};
use crate::net::{FAMILIES, Net};
use crate::planes::{Judged, Proxied};
use crate::service::{AFFINITY, NODE_PORT};

/// Tries until a datagram's flow has moved on: the one that meets the old flow may be lost.
const DATAGRAMS_LOST_MAX: usize = 3;
/// With two backends at random, the same one is chosen this often once in 65,000 times.
const CHOICES_MAX: usize = 16;

/// Plays every story; what went wrong is returned.
pub fn play<P: Judged>(net: &Net, proxied: &mut Proxied<'_, P>) -> Vec<String> {
    let mut wrong = Vec::new();
    for family in FAMILIES {
        let stories = [
            ("a connection outlives its backend", removal_is_graceful(net, proxied, family)),
            ("datagrams move on", datagrams_move_on(net, proxied, family)),
            ("affinity ends", affinity_ends(net, proxied, family)),
            ("a new run is not noticed", new_run_is_not_noticed(net, proxied, family)),
        ];
        for (title, result) in stories {
            wrong.extend(result.err().map(|why| format!("{title} over {family:?}: {why}")));
        }
    }
    wrong.extend(node_ports_follow(net, proxied).err().map(|why| format!("node ports follow: {why}")));
    proxied.set("");
    wrong.extend(proxied.left_behind());
    wrong
}

/// A backend that is taken away gets no new connections and keeps those it has; so it is when it was the last.
fn removal_is_graceful<P: Judged>(
    net: &Net,
    proxied: &mut Proxied<'_, P>,
    family: Family,
) -> Result<(), String> {
    let to = net.destination("cluster", family);
    proxied.set("a");
    let mut connection = net.inside("client", || Connection::open(to)).map_err(|error| outcome(&error))?;
    for (service, answer) in [("b", "b node"), ("-", "refused"), ("bc", "bc node")] {
        proxied.set(service);
        expect(&ask(net, Flow::Tcp, "client", to, answer), answer)?;
        let seen = connection.ask().map_err(|error| format!("while {service:?}: {error}"))?;
        expect(&seen.letter, "a")?;
    }
    drop(connection);
    proxied.settle()
}

/// A flow of datagrams has no end: it follows when its backend goes, and when a first one comes.
fn datagrams_move_on<P: Judged>(
    net: &Net,
    proxied: &mut Proxied<'_, P>,
    family: Family,
) -> Result<(), String> {
    for to in ["cluster", "nodeport", "external"] {
        let to = net.destination(to, family);
        proxied.set("-");
        let flow = net.inside("client", || Datagrams::open(to)).map_err(|error| outcome(&error))?;
        for (service, answer) in [("-", "refused"), ("a", "a"), ("b", "b"), ("-", "refused"), ("c", "c")] {
            proxied.set(service);
            let mut seen = String::new();
            for _ in 0..DATAGRAMS_LOST_MAX {
                seen = flow.ask().map_or_else(|error| outcome(&error), |seen| seen.letter);
                if seen == answer {
                    break;
                }
            }
            expect(&seen, answer).map_err(|why| format!("{to}, {service:?}: {why}"))?;
        }
    }
    Ok(())
}

/// A client stays with its backend, and no longer than the service says.
fn affinity_ends<P: Judged>(net: &Net, proxied: &mut Proxied<'_, P>, family: Family) -> Result<(), String> {
    let to = net.destination("cluster", family);
    proxied.set("ab affinity");
    let first = net.inside("client", || once(Flow::Tcp, to))?;
    for _ in 0..CHOICES_MAX {
        std::thread::sleep(proxied.plane().affinity_rest() + AFFINITY * 2);
        if net.inside("client", || once(Flow::Tcp, to))? != first {
            return Ok(());
        }
    }
    Err(format!("always {first:?}"))
}

/// The proxy may be stopped and started under traffic. What happened in between is caught up with.
fn new_run_is_not_noticed<P: Judged>(
    net: &Net,
    proxied: &mut Proxied<'_, P>,
    family: Family,
) -> Result<(), String> {
    let to = net.destination("cluster", family);
    proxied.set("a");
    let mut connection = net.inside("client", || Connection::open(to)).map_err(|error| outcome(&error))?;
    proxied.start_again();
    let seen = connection.ask().map_err(|error| outcome(&error))?;
    expect(&seen.letter, "a")?;
    expect(&ask(net, Flow::Tcp, "client", to, "a node"), "a node")?;
    proxied.change_unseen("bc");
    proxied.start_again();
    expect(&ask(net, Flow::Tcp, "client", to, "bc node"), "bc node")?;
    let seen = connection.ask().map_err(|error| outcome(&error))?;
    expect(&seen.letter, "a")
}

/// A node port is at addresses the node gets later, too.
fn node_ports_follow<P: Judged>(net: &Net, proxied: &mut Proxied<'_, P>) -> Result<(), String> {
    proxied.set("ab");
    net.give_node("192.0.2.77/24");
    if P::FOLLOWS_NODE {
        proxied.tend();
    }
    let to = (std::net::Ipv4Addr::new(192, 0, 2, 77), NODE_PORT).into();
    expect(&ask(net, Flow::Tcp, "client", to, "ab node"), "ab node")
}

fn expect(seen: &str, wanted: &str) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("want {wanted}, got {seen}")) }
}
