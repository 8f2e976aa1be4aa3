//! The table beside IPVS: the same for every service, but for the rules of those that IPVS cannot serve alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Member;
use crate::compile::nftables::{MASQUERADE_MARK, Networks, Piece, TABLE, Words, short_cuts, words};
use crate::model::Frontend;

/// A script that replaces the whole table by one with these elements, in one transaction.
pub fn base<'a>(networks: &Networks, members: impl Iterator<Item = &'a Member>) -> String {
    let words = words(networks.family);
    let mut script = format!("add table {ip} {TABLE}\ndelete table {ip} {TABLE}\n", ip = words.ip);
    script.push_str(&sets(&words));
    script.push_str(&services(&words));
    script.push_str(&around_ipvs(&words, &networks.pods));
    let mut elements: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for element in members.map(|member| member.element()) {
        if element.family == networks.family {
            elements.entry(element.set).or_default().push(element.text);
        }
    }
    for (set, texts) in elements {
        let _ = writeln!(script, "add element {} {TABLE} {set} {{ {} }}", words.ip, texts.join(", "));
    }
    script
}

/// A service's own rules; none for most.
pub fn service_rules(frontends: &[Frontend], networks: &Networks) -> Piece {
    short_cuts(frontends, networks)
}

fn sets(Words { ip, address, .. }: &Words) -> String {
    let socket = format!("{address} . inet_proto . inet_service");
    format!(
        "table {ip} {TABLE} {{
  comment \"Kubernetes services\"
  set cluster-ips {{ type {address}; }}
  set own-ips {{ type {address}; }}
  set loops {{ type {address} . {address}; }}
  set keep-source {{ type {socket}; }}
  set silent {{ type {socket}; }}
  set silent-outside {{ type {socket}; }}
  map service-ips {{ type {socket} : verdict; }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; }}
  map guarded-ips {{ type {socket} : verdict; }}
}}
"
    )
}

/// For services with rules of their own. Their packets have a backend's address before IPVS looks at them.
fn services(Words { ip, loopback, .. }: &Words) -> String {
    format!(
        "table {ip} {TABLE} {{
  chain mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK}; }}
  chain drop-chain {{ drop; }}
  chain services {{
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local {ip} daddr != {loopback} meta l4proto . th dport vmap @service-nodeports
  }}
  chain guard {{ ct state new {ip} daddr . meta l4proto . th dport vmap @guarded-ips; }}
  chain filter-prerouting {{ type filter hook prerouting priority -110; jump guard; }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
}}
"
    )
}

/// IPVS takes packets of clients elsewhere on their way in (priority 98) and the node's own on their way out (-99).
/// A mark on one that it does not take changes nothing: only what leaves again is looked at.
fn around_ipvs(Words { ip, .. }: &Words, pods: &str) -> String {
    let to = format!("{ip} daddr . meta l4proto . th dport");
    format!(
        "table {ip} {TABLE} {{
  chain arrivals {{
    {to} @silent drop
    {to} @silent-outside drop
    {ip} saddr {pods} {ip} daddr @cluster-ips return
    {to} @keep-source return
    jump mark-for-masquerade
  }}
  chain filter-input {{ type filter hook input priority -110; ct state new jump arrivals; }}
  chain filter-output {{
    type filter hook output priority -110;
    jump guard
    ct state new {to} @silent drop
    ct state new {ip} daddr @own-ips jump mark-for-masquerade
  }}
  chain filter-input-after {{
    type filter hook input priority 110;
    ct state new {ip} daddr @own-ips meta l4proto {{ tcp, udp, sctp }} reject
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat;
    oifname \"lo\" return
    {ip} saddr . {ip} daddr @loops masquerade fully-random
    meta mark and {MASQUERADE_MARK} == 0 return
    meta mark set meta mark xor {MASQUERADE_MARK}
    masquerade fully-random
  }}
}}
"
    )
}
