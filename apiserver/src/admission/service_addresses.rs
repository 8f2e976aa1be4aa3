//! The addresses of Services, each an IPAddress object that is made and removed in the transaction that makes, changes or
//! removes its Service. An address is free when there is no such object; the ranges are those of the ServiceCIDRs.

use super::Review;
use crate::catalog::{self, Kind};
use crate::{clock, codec};
use kinds::core::service::allocation::{self, ADDRESS_TAKEN, AddressNeed, Family};
use kinds::field;
use kinds::networking::service_cidr;
use kinds::tree;
use mvcc::{Key, Operation, Precondition};
use schema::Tree;
use schema::fields::{self, Set, Write};
use serde_json::json;
use std::net::IpAddr;

const GROUP: &str = "networking.k8s.io";
/// The label that says which family an address is of.
pub(crate) const FAMILY_LABEL: &str = "ipaddress.kubernetes.io/ip-family";
/// The label that says who made the object.
pub(crate) const MANAGED_BY_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
/// The value of that label for addresses of Services.
pub(crate) const ALLOCATOR: &str = "ipallocator.k8s.io";
/// Random places tried before a range is searched in order.
const PROBES: u64 = 32;

const WRONG_NETWORK: &str = "the provided network does not match the current range";

/// Gives the service every address it needs.
pub(super) fn claim(
    review: &mut Review<'_>,
    service: &mut Tree,
    needs: &[AddressNeed],
) -> Result<(), field::Error> {
    if needs.is_empty() {
        return Ok(());
    }
    let ranges = ranges(review);
    for need in needs {
        let address = match &need.requested {
            Some(wanted) => claim_address(review, &ranges, need.family, wanted)
                .map_err(|why| need.refused(service, &why))?,
            None => free_address(review, &ranges, need.family)
                .ok_or_else(|| need.refused(service, "range is full"))?,
        };
        let address = address.to_string();
        need.assign(service, &address);
        if !review.dry_run {
            hold(review, service, &address);
        }
    }
    Ok(())
}

/// Gives back what `old` held and `new` no longer does; without `new`, everything.
pub(super) fn release(review: &mut Review<'_>, new: Option<&Tree>, old: &Tree) {
    if !review.is_core("services") || review.dry_run {
        return;
    }
    let Some(kind) = catalog::find(GROUP, "v1", "ipaddresses") else { return };
    for address in allocation::released(new, old).addresses {
        let key = key(kind, &address);
        let Some(entry) = review.view.entry(&key) else { continue };
        let Ok(object) = review.context.server.codec.tree(kind, entry, entry.revision) else { continue };
        // An address somebody has given to another, or protects, is not this service's to remove.
        if is_parent(&object, old) && tree::list_at(&object, "metadata.finalizers").is_empty() {
            let revision = entry.revision;
            review.require(Precondition::AtRevision(key.clone(), revision));
            review.also(Operation::Delete(key));
        }
    }
}

/// The object that keeps an address for a service.
pub(crate) fn object(service: &Tree, address: &str) -> Tree {
    let family = if address.contains(':') { Family::V6 } else { Family::V4 };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address,
            "labels": {FAMILY_LABEL: family.as_str(), MANAGED_BY_LABEL: ALLOCATOR},
        },
        "spec": {"parentRef": {
            "resource": "services",
            "namespace": tree::str_at(service, "metadata.namespace"),
            "name": tree::str_at(service, "metadata.name"),
        }},
    })
}

fn is_parent(address: &Tree, service: &Tree) -> bool {
    let same = |part: &str, of: &str| {
        tree::str_at(address, &format!("spec.parentRef.{part}")) == tree::str_at(service, of)
    };
    tree::str_at(address, "spec.parentRef.resource") == "services"
        && same("namespace", "metadata.namespace")
        && same("name", "metadata.name")
}

fn key(kind: &Kind, address: &str) -> Key {
    Key::new(kind.stored_as.clone(), "", address)
}

/// Makes the object in the service's own transaction; nobody may have made it since the view was pinned.
fn hold(review: &mut Review<'_>, service: &Tree, address: &str) {
    let Some(kind) = catalog::find(GROUP, "v1", "ipaddresses") else { return };
    let mut object = object(service, address);
    let server = &review.context.server;
    let write = Write {
        manager: "kube-apiserver",
        api_version: &kind.api_version,
        subresource: "",
        time: &clock::seconds(review.context.now),
        reset: &Set::default(),
        others: &[],
    };
    fields::update_managers(kind.schema, None, &mut object, &write);
    tree::set(&mut object, "metadata.uid", clock::uid(&server.seams));
    tree::set(&mut object, "metadata.creationTimestamp", clock::seconds(review.context.now));
    let key = key(kind, address);
    let stored = server.codec.object(kind, key.clone(), &object).expect("an object of ours encodes");
    review.require(Precondition::Absent(key));
    review.also(Operation::Put(stored));
}

fn is_held(review: &Review<'_>, address: IpAddr) -> bool {
    let kind = catalog::find(GROUP, "v1", "ipaddresses");
    kind.is_some_and(|kind| review.view.entry(&key(kind, &address.to_string())).is_some())
}

/// One range of addresses. The base is never given, of IPv4 neither is the last one.
struct Range {
    family: Family,
    first: u128,
    last: u128,
    /// Addresses at the beginning that are left to those who ask for one.
    reserved: u128,
    usable: bool,
    text: String,
}

impl Range {
    fn new((base, length): (IpAddr, u8), usable: bool) -> Range {
        let (family, bits) = if base.is_ipv4() { (Family::V4, 32u8) } else { (Family::V6, 128) };
        let (base, text) = (number(base), format!("{base}/{length}"));
        let end = base | 1u128.checked_shl(u32::from(bits - length)).map_or(u128::MAX, |size| size - 1);
        let size = end - base + 1;
        let last = if family == Family::V4 { end - 1 } else { end };
        let reserved = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        Range { family, first: base + 1, last, reserved, usable, text }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let same_family = (self.family == Family::V4) == address.is_ipv4();
        // The base and the broadcast address are in the network, though nobody gets them.
        same_family && (self.first - 1..=self.last + 1).contains(&number(address))
    }

    fn address(&self, value: u128) -> IpAddr {
        match self.family {
            Family::V4 => {
                IpAddr::from(u32::try_from(value).expect("a v4 range lies within v4").to_be_bytes())
            }
            Family::V6 => IpAddr::from(value.to_be_bytes()),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The ranges of all ServiceCIDRs, the default one first. Without any, those the server was started with.
fn ranges(review: &Review<'_>) -> Vec<Range> {
    let mut objects = review.objects().all(GROUP, "servicecidrs");
    if objects.is_empty() {
        let configured = &review.context.server.config.service_cidrs;
        return configured.iter().map(|range| Range::new(*range, true)).collect();
    }
    objects.sort_by_key(|object| tree::str_at(object, "metadata.name") != service_cidr::DEFAULT);
    let of_object = |object: &Tree| {
        let usable = service_cidr::is_usable(object);
        service_cidr::ranges(object).into_iter().map(move |range| Range::new(range, usable))
    };
    objects.iter().flat_map(of_object).collect()
}

fn claim_address(
    review: &Review<'_>,
    ranges: &[Range],
    family: Family,
    wanted: &str,
) -> Result<IpAddr, String> {
    let address: IpAddr = wanted.parse().map_err(|_| WRONG_NETWORK.to_owned())?;
    let mut candidates = ranges.iter().filter(|range| range.family == family);
    let range = candidates.clone().find(|range| range.usable && range.contains(address));
    // A dry run asks any range, whether the address could be its.
    let range = range.or_else(|| candidates.next().filter(|_| review.dry_run)).ok_or(WRONG_NETWORK)?;
    if !(range.first..=range.last).contains(&number(address)) || !range.contains(address) {
        return Err(allocation::address_out_of_range(wanted, &range.text));
    }
    if !review.dry_run && is_held(review, address) {
        return Err(ADDRESS_TAKEN.to_owned());
    }
    Ok(address)
}

fn free_address(review: &Review<'_>, ranges: &[Range], family: Family) -> Option<IpAddr> {
    let mut usable = ranges.iter().filter(|range| range.family == family && range.usable);
    usable.find_map(|range| free_in(review, range))
}

fn free_in(review: &Review<'_>, range: &Range) -> Option<IpAddr> {
    let open = range.first + range.reserved;
    let size = (range.last + 1).saturating_sub(open);
    let random = &review.context.server.seams.random;
    let probes = if size == 0 { 0 } else { PROBES };
    let random = (0..probes).map(|_| open + u128::from(random.next()) % size);
    let ordered = (open..=range.last).chain(range.first..open);
    let free = |value: &u128| !is_held(review, range.address(*value));
    random.chain(ordered).find(free).map(|value| range.address(value))
}

/// The IPAddress objects that services of an older data folder lack.
pub(crate) fn missing(codec: &codec::Codec, view: &mvcc::View) -> Vec<Tree> {
    let (Some(services), Some(addresses)) =
        (catalog::find("", "v1", "services"), catalog::find(GROUP, "v1", "ipaddresses"))
    else {
        return Vec::new();
    };
    let mut missing = Vec::new();
    for entry in view.list(&services.stored_as, None, None) {
        let Ok(service) = codec.tree(services, entry, entry.revision) else { continue };
        let held = allocation::held(&service).addresses;
        let lacking = held.iter().filter(|address| view.entry(&key(addresses, address)).is_none());
        missing.extend(lacking.map(|address| object(&service, address)));
    }
    missing
}
