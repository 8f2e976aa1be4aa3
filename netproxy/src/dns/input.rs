//! From the API's Service and EndpointSlice to the zone's records.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::zone::{EndpointRecord, ServiceRecords};
use crate::model::{self, Protocol};

/// A service's records.
pub fn records_of_service(service: &Service) -> ServiceRecords {
    let Some(spec) = &service.spec else { return ServiceRecords::default() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return ServiceRecords { external_name: spec.external_name.clone(), ..ServiceRecords::default() };
    }
    let addresses = spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.iter());
    let mut addresses: Vec<IpAddr> = addresses.filter_map(|text| text.parse().ok()).collect();
    addresses.sort();
    addresses.dedup();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        Some((port.name.clone()?, protocol(port.protocol.as_deref())?, number))
    });
    ServiceRecords {
        addresses,
        ports: ports.collect(),
        external_name: None,
        publish_not_ready: spec.publish_not_ready_addresses == Some(true),
    }
}

/// A slice's endpoints, with the service and the slice's name.
pub fn records_of_slice(slice: &EndpointSlice) -> Option<(model::ServiceId, String, Vec<EndpointRecord>)> {
    let model::Slice { service, name, .. } = model::slice(slice)?;
    let ports: Vec<(String, Protocol, u16)> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            Some((
                port.name.clone().filter(|name| !name.is_empty())?,
                protocol(port.protocol.as_deref())?,
                number,
            ))
        })
        .collect();
    let endpoints = slice.endpoints.iter().flatten().flat_map(|endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
        endpoint
            .addresses
            .iter()
            .filter_map(|text| text.parse::<IpAddr>().ok())
            .map(move |address| (endpoint, ready, address))
    });
    let records = endpoints.map(|(endpoint, ready, address)| EndpointRecord {
        address,
        hostname: endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace(['.', ':'], "-")),
        ready,
        ports: ports.clone(),
    });
    Some((service, name, records.collect()))
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}
