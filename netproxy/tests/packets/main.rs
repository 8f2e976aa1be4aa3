//! Services are judged by packets: one table of cases and a few stories, sent through the kernel in network
//! namespaces, whichever plane carries them.
//!
//! `cases` is the table, `stories` are sequences that a row cannot tell, `cost` is what a change costs, `service` turns a row's words into objects,
//! `net` wires the hosts, `ask` sends. Needs root, `ip` and `nft`; says so and passes where they lack.

mod ask;
mod cases;
mod cost;
mod net;
mod planes;
mod service;
mod stories;

use net::Net;
use netproxy::kernel::Ipvs;
use planes::Proxied;

#[test]
fn nftables_carries_every_case() {
    let Some(net) = Net::new("nft", &["ip", "nft", "conntrack"]) else { return };
    net.inside("node", || drop(judge(&net, Proxied::new(&net, planes::nftables()))));
}

#[test]
fn ipvs_carries_every_case() {
    let Some(net) = Net::new("ipvs", &["ip", "nft", "conntrack"]) else { return };
    net.inside("node", || match planes::ipvs() {
        Ok(plane) => {
            judge(&net, Proxied::new(&net, plane))
                .into_plane()
                .retire()
                .expect("the kernel lets everything go");
            assert!(!Ipvs::left_behind().expect("the kernel answers"));
        }
        Err(error) => net::skip(&format!("this kernel has no IPVS: {error}")),
    });
}

#[test]
fn nftables_is_told_what_changed() {
    let Some(net) = Net::new("cost", &["ip", "nft", "conntrack"]) else { return };
    net.inside("node", || {
        let (runtime, mut plane) = planes::nftables();
        no_growth(&cost::measure("nftables", &runtime, &mut plane));
    });
}

#[test]
fn ipvs_is_told_what_changed() {
    let Some(net) = Net::new("costi", &["ip", "nft", "conntrack"]) else { return };
    net.inside("node", || match planes::ipvs() {
        Ok((runtime, mut plane)) => no_growth(&cost::measure("ipvs", &runtime, &mut plane)),
        Err(error) => net::skip(&format!("this kernel has no IPVS: {error}")),
    });
}

/// Names and numbers may be a few digits longer.
fn no_growth(bytes: &[u64]) {
    let (least, most) = (bytes.iter().min().expect("a size"), bytes.iter().max().expect("a size"));
    assert!(most - least <= least / 10, "{bytes:?}");
}

fn judge<'a, P: planes::Judged>(net: &'a Net, mut proxied: Proxied<'a, P>) -> Proxied<'a, P> {
    let mut wrong = cases::play(net, &mut proxied);
    wrong.extend(stories::play(net, &mut proxied));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    proxied
}
