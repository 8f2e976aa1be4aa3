//! Cluster addresses and node ports of Services. There is no allocator object:
//! a Service holds what is in it, the store indexes that, and the transaction
//! is refused if anybody else took the same value since the view was pinned.

use super::{Operation, Review};
use crate::status::{ApiError, ApiResult};
use kinds::core::service::allocation::{self, ADDRESS_TAKEN, Family, PORT_TAKEN, Refusal};
use mvcc::{Interest, Precondition};
use schema::Tree;
use std::net::IpAddr;
use std::sync::Arc;

/// Attribute under which the store indexes a held value: `held.address.10.96.0.7` or `held.port.30080`.
const HELD: &str = "held.";
/// Value of those attributes.
const YES: &str = "1";
/// Random places tried before the pool is searched in order.
const PROBES: u64 = 32;

/// The attributes of what a service holds, to be indexed beside its selectable fields.
pub(crate) fn attributes(service: &Tree) -> Vec<(Arc<str>, Arc<str>)> {
    let held = allocation::held(service);
    let addresses = held.addresses.iter().map(|address| format!("{HELD}address.{address}"));
    let ports = held.ports.iter().map(|port| format!("{HELD}port.{port}"));
    addresses.chain(ports).map(|name| (name.into(), YES.into())).collect()
}

pub(super) fn allocate(review: &mut Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    if !review.is_core("services") || review.operation == Operation::Delete {
        return Ok(());
    }
    let ranges = ranges(review);
    let families: Vec<Family> = ranges.iter().map(|range| range.family).collect();
    let needs = allocation::begin(object, old, &families).map_err(|refusal| match refusal {
        Refusal::Invalid(errors) => invalid(object, &errors),
        Refusal::DuplicateNodePort(text) => ApiError::Plain(text),
    })?;
    for need in &needs.addresses {
        let range = ranges.iter().find(|range| range.family == need.family);
        let Some(range) = range else { continue };
        let address = match &need.requested {
            Some(wanted) => claim_address(review, range, wanted)
                .map_err(|why| invalid(object, &[need.refused(object, &why)]))?,
            None => free_address(review, range)
                .ok_or_else(|| invalid(object, &[need.refused(object, "range is full")]))?,
        };
        hold(review, &format!("{HELD}address.{address}"));
        need.assign(object, &address);
    }
    let mut taken: Vec<i64> = Vec::new();
    for need in &needs.node_ports {
        let port = match need.requested {
            Some(wanted) => {
                claim_port(review, wanted, &taken).map_err(|why| invalid(object, &[need.refused(&why)]))?
            }
            None => free_port(review, &taken)
                .ok_or_else(|| ApiError::Internal("failed to allocate a nodePort: range is full".into()))?,
        };
        taken.push(port);
        hold(review, &format!("{HELD}port.{port}"));
        need.assign(object, port);
    }
    health_check(review, object, needs.health_check, &taken)
}

fn health_check(
    review: &mut Review<'_>,
    object: &mut Tree,
    need: Option<Option<i64>>,
    taken: &[i64],
) -> ApiResult<()> {
    let port = match need {
        None => return Ok(()),
        Some(Some(wanted)) => claim_port(review, wanted, taken).map_err(|why| {
            ApiError::Internal(format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}"))
        })?,
        Some(None) => free_port(review, taken).ok_or_else(|| {
            ApiError::Internal("failed to allocate a HealthCheck NodePort 0: range is full".into())
        })?,
    };
    hold(review, &format!("{HELD}port.{port}"));
    kinds::tree::set(object, "spec.healthCheckNodePort", port);
    Ok(())
}

fn invalid(service: &Tree, errors: &[kinds::field::Error]) -> ApiError {
    ApiError::invalid("", "Service", kinds::tree::str_at(service, "metadata.name"), errors)
}

/// Nobody may have taken the value since the view was pinned.
fn hold(review: &mut Review<'_>, name: &str) {
    let range = Interest::Attribute { resource: "services".into(), name: name.into(), value: YES.into() };
    let since = review.view.revision();
    review.require(Precondition::Unchanged { range, since });
}

fn is_held(review: &Review<'_>, name: &str) -> bool {
    review.view.by_attribute("services", name, YES).next().is_some()
}

/// One family's addresses: `first + 1 ..= first + size - 1`, the last one of IPv4 left out as broadcast.
struct Range {
    family: Family,
    first: u128,
    size: u128,
    text: String,
}

impl Range {
    fn address(&self, offset: u128) -> String {
        let value = self.first + offset;
        match self.family {
            Family::V4 => {
                IpAddr::from((u32::try_from(value).expect("a v4 range lies within v4")).to_be_bytes())
                    .to_string()
            }
            Family::V6 => IpAddr::from(value.to_be_bytes()).to_string(),
        }
    }

    /// Offsets below this are left to those who ask for an address.
    fn reserved(&self) -> u128 {
        (self.size / 16).clamp(16, 256).min(self.size)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn ranges(review: &Review<'_>) -> Vec<Range> {
    let make = |(base, length): &(IpAddr, u8)| {
        let (family, bits) = if base.is_ipv4() { (Family::V4, 32) } else { (Family::V6, 128) };
        // A v6 range larger than this is used up to here: nobody has 2^20 services.
        let size = 1u128 << u32::from(bits - length.min(&bits)).min(20);
        let size = if base.is_ipv4() { size.saturating_sub(1) } else { size };
        Range { family, first: number(*base), size, text: format!("{base}/{length}") }
    };
    review.context.server.config.service_cidrs.iter().map(make).collect()
}

fn claim_address(review: &Review<'_>, range: &Range, wanted: &str) -> Result<String, String> {
    let address: Option<IpAddr> = wanted.parse().ok();
    let offset = address.and_then(|ip| number(ip).checked_sub(range.first));
    if !offset.is_some_and(|offset| offset > 0 && offset < range.size) {
        return Err(allocation::address_out_of_range(wanted, &range.text));
    }
    if !review.dry_run && is_held(review, &format!("{HELD}address.{wanted}")) {
        return Err(ADDRESS_TAKEN.to_owned());
    }
    Ok(wanted.to_owned())
}

fn free_address(review: &Review<'_>, range: &Range) -> Option<String> {
    let from = range.reserved();
    let upper = u64::try_from(range.size - from).unwrap_or(u64::MAX);
    let free = |offset: &u128| !is_held(review, &format!("{HELD}address.{}", range.address(*offset)));
    let random = &review.context.server.seams.random;
    let probes = (0..if upper == 0 { 0 } else { PROBES }).map(|_| from + u128::from(random.next() % upper));
    let offset = probes.chain(from..range.size).chain(2..from).find(free)?;
    Some(range.address(offset))
}

fn claim_port(review: &Review<'_>, wanted: i64, taken: &[i64]) -> Result<i64, String> {
    let (low, high) = review.context.server.config.node_ports;
    // A dry run asks the pool only whether the port is taken.
    if !review.dry_run && (wanted < i64::from(low) || wanted > i64::from(high)) {
        return Err(allocation::port_out_of_range(&format!("{low}-{high}")));
    }
    if taken.contains(&wanted) || is_held(review, &format!("{HELD}port.{wanted}")) {
        return Err(PORT_TAKEN.to_owned());
    }
    Ok(wanted)
}

fn free_port(review: &Review<'_>, taken: &[i64]) -> Option<i64> {
    let (low, high) = review.context.server.config.node_ports;
    let (low, high) = (i64::from(low), i64::from(high));
    let size = high - low + 1;
    let from = low + (size / 32).clamp(16, 128).min(size - 1);
    let upper = u64::try_from(high - from + 1).ok()?;
    let free = |port: &i64| !taken.contains(port) && !is_held(review, &format!("{HELD}port.{port}"));
    let random = &review.context.server.seams.random;
    let probes = (0..PROBES).map(|_| from + i64::try_from(random.next() % upper).unwrap_or(0));
    probes.chain(from..=high).chain(low..from).find(free)
}
