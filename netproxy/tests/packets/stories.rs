//! Sequences that one row of the table cannot tell.

use netproxy::model::Family;
use netproxy::plane::Plane;

use crate::ask::{Connection, Datagrams, Flow, ask, once, outcome};
use crate::net::{FAMILIES, Net};
use crate::planes::Proxied;
use crate::service::AFFINITY;

/// Tries until a datagram's flow has moved on: the one that meets the old flow may be lost.
const DATAGRAMS_LOST_MAX: usize = 3;
/// With two backends at random, the same one is chosen this often once in 65,000 times.
const CHOICES_MAX: usize = 16;

/// Plays every story; what went wrong is returned.
pub fn play<P: Plane>(net: &Net, proxied: &mut Proxied<'_, P>) -> Vec<String> {
    let mut wrong = Vec::new();
    for family in FAMILIES {
        let stories = [
            ("a connection outlives its backend", removal_is_graceful(net, proxied, family)),
            ("datagrams move on", datagrams_move_on(net, proxied, family)),
            ("affinity ends", affinity_ends(net, proxied, family)),
        ];
        for (title, result) in stories {
            wrong.extend(result.err().map(|why| format!("{title} over {family:?}: {why}")));
        }
    }
    proxied.set("");
    wrong.extend(proxied.left_behind());
    wrong
}

/// A backend that is taken away gets no new connections and keeps those it has; so it is when it was the last.
fn removal_is_graceful<P: Plane>(
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
fn datagrams_move_on<P: Plane>(
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
fn affinity_ends<P: Plane>(net: &Net, proxied: &mut Proxied<'_, P>, family: Family) -> Result<(), String> {
    let to = net.destination("cluster", family);
    proxied.set("ab affinity");
    let first = net.inside("client", || once(Flow::Tcp, to))?;
    for _ in 0..CHOICES_MAX {
        std::thread::sleep(proxied.affinity_rest() + AFFINITY * 2);
        if net.inside("client", || once(Flow::Tcp, to))? != first {
            return Ok(());
        }
    }
    Err(format!("always {first:?}"))
}

fn expect(seen: &str, wanted: &str) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("want {wanted}, got {seen}")) }
}
