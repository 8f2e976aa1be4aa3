//! Cluster addresses and node ports of Services. Addresses are objects of their
//! own, see [`super::service_addresses`]. Of ports there is no allocator object:
//! a Service holds what is in it, the store indexes that, and the transaction
//! is refused if anybody else took the same port since the view was pinned.

use super::{Operation, Review, service_addresses};
use crate::status::{ApiError, ApiResult};
use kinds::core::service::allocation::{self, Family, PORT_TAKEN, Refusal};
use mvcc::{Interest, Precondition};
use schema::Tree;
use std::sync::Arc;

/// Attribute under which the store indexes a held port: `held.port.30080`.
const HELD: &str = "held.";
/// Value of those attributes.
const YES: &str = "1";
/// Random places tried before the pool is searched in order.
const PROBES: u64 = 32;

/// The attributes of the ports a service holds, to be indexed beside its selectable fields.
pub(crate) fn attributes(service: &Tree) -> Vec<(Arc<str>, Arc<str>)> {
    let held = allocation::held(service);
    held.ports.iter().map(|port| (format!("{HELD}port.{port}").into(), YES.into())).collect()
}

pub(super) fn allocate(review: &mut Review<'_>, object: &mut Tree, old: Option<&Tree>) -> ApiResult<()> {
    if !review.is_core("services") || review.operation == Operation::Delete {
        return Ok(());
    }
    let families = families(review);
    let needs = allocation::begin(object, old, &families).map_err(|refusal| match refusal {
        Refusal::Invalid(errors) => invalid(object, &errors),
        Refusal::DuplicateNodePort(text) => ApiError::Plain(text),
    })?;
    service_addresses::claim(review, object, &needs.addresses).map_err(|error| invalid(object, &[error]))?;
    if let Some(old) = old {
        service_addresses::release(review, Some(object), old);
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

/// The cluster's address families, its default first.
fn families(review: &Review<'_>) -> Vec<Family> {
    let ranges = review.context.server.config.service_cidrs.iter();
    ranges.map(|(base, _)| if base.is_ipv4() { Family::V4 } else { Family::V6 }).collect()
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
