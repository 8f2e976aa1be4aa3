//! The table: a service, who sends to which of its addresses, and what answers.
//!
//! Every row is sent over TCP and UDP, IPv4 and IPv6.

use crate::ask::{Flow, ask};
use crate::net::{FAMILIES, Net};
use crate::planes::{Judged, Proxied};

/// `(service, from, to, answer)`.
///
/// - service: letters of its backends (`a` and `b` are pods of this node, `c` of another, `n` a program of the node
///   itself; `-` none), then policies
/// - from: `client` outside the cluster, the `node` itself, or a pod
/// - to: `cluster`, `external` and `balancer` are its addresses, `nodeport` its port at the node's address, `bridge`
///   its port at the node's address among pods; `:81` is a port that it does not have,
///   `:8080` one where programs of the node listen
/// - answer: all letters that must be seen, `one` of them each time, `refused` or `silence`; then whether the backend
///   sees the sender's own address (`kept`) or another (`node`)
const CASES: &[(&str, &str, &str, &str)] = &[
    // Cluster addresses. Who is not a pod is seen as the node, so that answers return through it.
    ("ab", "client", "cluster", "ab node"),
    ("ab", "node", "cluster", "ab"),
    ("ab", "a", "cluster", "ab"),
    ("abc", "client", "cluster", "abc node"),
    ("abc", "b", "cluster", "abc"),
    ("b", "a", "cluster", "b kept"),
    ("c", "a", "cluster", "c kept"),
    ("ab", "c", "cluster", "ab kept"),
    // A pod that reaches itself.
    ("a", "a", "cluster", "a node"),
    ("a", "a", "nodeport", "a node"),
    ("a", "a", "external", "a node"),
    // Node ports, at every address of the node.
    ("ab", "client", "nodeport", "ab node"),
    ("abc", "client", "nodeport", "abc node"),
    ("ab", "node", "nodeport", "ab"),
    ("ab", "a", "nodeport", "ab node"),
    ("ab", "a", "bridge", "ab node"),
    ("ab", "c", "nodeport", "ab node"),
    // External addresses and those of load balancers.
    ("abc", "client", "external", "abc node"),
    ("abc", "a", "external", "abc node"),
    ("abc", "node", "external", "abc"),
    ("abc", "client", "balancer", "abc node"),
    ("ab client-only", "client", "balancer", "ab node"),
    ("ab client-only", "a", "balancer", "silence"),
    ("ab client-only", "a", "external", "ab node"),
    ("ab a-only", "client", "balancer", "silence"),
    ("ab a-only", "client", "nodeport", "ab node"),
    // Nobody answers: the sender is told at once.
    ("-", "client", "cluster", "refused"),
    ("-", "node", "cluster", "refused"),
    ("-", "a", "cluster", "refused"),
    ("-", "client", "nodeport", "refused"),
    ("-", "client", "external", "refused"),
    ("ab", "client", "cluster:81", "refused"),
    ("ab", "a", "cluster:81", "refused"),
    ("ab", "node", "cluster:81", "refused"),
    ("ab", "client", "cluster:8080", "refused"),
    ("ab", "node", "cluster:8080", "refused"),
    // A backend that is the node itself, as the API server and the resolver are.
    ("n", "client", "cluster", "n"),
    ("n", "a", "cluster", "n kept"),
    ("n", "node", "cluster", "n"),
    ("an", "client", "nodeport", "an"),
    ("an", "node", "nodeport", "an"),
    // Affinity.
    ("ab affinity", "client", "cluster", "one"),
    ("ab affinity", "client", "nodeport", "one"),
    ("ab affinity", "a", "cluster", "one"),
    // Traffic from outside stays on the node and keeps its source; clients inside have every backend.
    ("abc external-local", "client", "nodeport", "ab kept"),
    ("abc external-local", "client", "external", "ab kept"),
    ("abc external-local", "client", "cluster", "abc node"),
    ("abc external-local", "node", "nodeport", "abc"),
    ("c external-local", "client", "nodeport", "silence"),
    ("c external-local", "client", "external", "silence"),
    ("c external-local", "a", "external", "c"),
    ("c external-local", "node", "nodeport", "c"),
    // Traffic from inside stays on the node.
    ("abc internal-local", "b", "cluster", "ab"),
    ("abc internal-local", "client", "nodeport", "abc node"),
    ("c internal-local", "a", "cluster", "silence"),
    ("c internal-local", "node", "cluster", "silence"),
];

/// Plays every row; what differs is returned.
pub fn play<P: Judged>(net: &Net, proxied: &mut Proxied<'_, P>) -> Vec<String> {
    let mut wrong = Vec::new();
    for &(service, from, to, answer) in CASES {
        proxied.set(service);
        for family in FAMILIES {
            for flow in [Flow::Tcp, Flow::Udp] {
                net.forget_flows();
                let seen = ask(net, flow, from, net.destination(to, family), answer);
                if seen != answer {
                    wrong.push(format!(
                        "{service:?}: {from} → {to} over {flow:?} {family:?}: want {answer}, got {seen}"
                    ));
                }
            }
        }
    }
    wrong
}
