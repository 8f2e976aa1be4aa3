//! All services and slices this node knows, and the frontends of one of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Backends, Endpoint, Family, Frontend, Guard, Port, Service, ServiceId, Slice};

/// Where this proxy runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The node's name: which backends are local.
    pub node: String,
}

/// Services and their slices.
#[derive(Debug, Default)]
pub struct State {
    services: BTreeMap<ServiceId, Service>,
    slices: BTreeMap<ServiceId, BTreeMap<String, Slice>>,
}

impl State {
    /// Takes over a service; `None` forgets it.
    pub fn set_service(&mut self, id: ServiceId, service: Option<Service>) {
        match service {
            Some(service) => self.services.insert(id, service),
            None => self.services.remove(&id),
        };
    }

    /// Takes over a slice.
    pub fn set_slice(&mut self, slice: Slice) {
        self.slices.entry(slice.service.clone()).or_default().insert(slice.name.clone(), slice);
    }

    /// Forgets a slice.
    pub fn remove_slice(&mut self, service: &ServiceId, name: &str) {
        if let Some(slices) = self.slices.get_mut(service) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(service);
            }
        }
    }

    /// Every service that is known.
    pub fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.keys()
    }

    /// The frontends of one service, one a port and family; none when it is not known.
    pub fn frontends(&self, id: &ServiceId, place: &Place) -> Vec<Frontend> {
        let Some(service) = self.services.get(id) else { return Vec::new() };
        let mut frontends = Vec::new();
        for port in &service.ports {
            for family in [Family::V4, Family::V6] {
                frontends.extend(self.frontend(service, port, family, place));
            }
        }
        frontends
    }

    fn frontend(&self, service: &Service, port: &Port, family: Family, place: &Place) -> Option<Frontend> {
        let of_family = |addresses: &[std::net::IpAddr]| {
            addresses.iter().copied().filter(|address| Family::of(*address) == family).collect::<Vec<_>>()
        };
        let cluster = of_family(&service.cluster);
        if cluster.is_empty() {
            return None;
        }
        let endpoints: Vec<&Endpoint> = self.endpoints(service, port, family).collect();
        let all = usable(&endpoints);
        let local: Vec<&Endpoint> = endpoints
            .iter()
            .copied()
            .filter(|endpoint| endpoint.node.as_ref() == Some(&place.node))
            .collect();
        let local = usable(&local);
        let chosen = |only_local: bool| match (only_local, all.is_empty(), local.is_empty()) {
            (_, true, _) => Backends::Reject,
            (false, false, _) => Backends::To(all.clone()),
            (true, false, true) => Backends::Drop,
            (true, false, false) => Backends::To(local.clone()),
        };
        Some(Frontend {
            service: service.id.clone(),
            port: port.clone(),
            family,
            external: of_family(&service.external),
            guard: guard(service, family),
            cluster,
            affinity: service.affinity,
            internal: chosen(service.internal_local),
            outside: chosen(service.external_local),
            anywhere: chosen(false),
            external_local: service.external_local,
        })
    }

    fn endpoints<'a>(
        &'a self,
        service: &'a Service,
        port: &'a Port,
        family: Family,
    ) -> impl Iterator<Item = &'a Endpoint> {
        self.slices
            .get(&service.id)
            .into_iter()
            .flat_map(BTreeMap::values)
            .flat_map(|slice| &slice.endpoints)
            .filter(move |endpoint| {
                endpoint.port_name == port.name
                    && endpoint.protocol == port.protocol
                    && Family::of(endpoint.address.ip()) == family
            })
    }
}

/// Ranges of the other family guard nothing here, as upstream has it.
fn guard(service: &Service, family: Family) -> Option<Guard> {
    let sources: Vec<_> =
        service.source_ranges.iter().copied().filter(|range| range.family() == family).collect();
    let addresses: Vec<_> =
        service.balancer.iter().copied().filter(|address| Family::of(*address) == family).collect();
    (!sources.is_empty() && !addresses.is_empty()).then_some(Guard { addresses, sources })
}

/// Ready backends; when there is none, those that still answer while they end, so that a last pod on its way out is
/// better than an error.
fn usable(endpoints: &[&Endpoint]) -> Vec<SocketAddr> {
    let addresses = |wanted: fn(&Endpoint) -> bool| {
        let mut found: Vec<SocketAddr> =
            endpoints.iter().filter(|endpoint| wanted(endpoint)).map(|endpoint| endpoint.address).collect();
        found.sort();
        found.dedup();
        found
    };
    let ready = addresses(|endpoint| endpoint.ready);
    if ready.is_empty() { addresses(|endpoint| endpoint.serving_while_terminating) } else { ready }
}

#[cfg(test)]
mod tests {
    use super::super::Protocol;
    use super::*;

    /// `check("a1 b2! c3~", local_policy)`: backends by node letter and last octet; `!` not ready, `~` terminating but
    /// serving. The node is `a`. Result: the backends' last octets, or reject or drop.
    fn check(endpoints: &str, local: bool, wanted: &str) {
        let id = ServiceId { namespace: "ns".into(), name: "web".into() };
        let port = Port { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: Some(30080) };
        let mut state = State::default();
        let service = Service {
            id: id.clone(),
            cluster: vec!["10.96.0.7".parse().expect("an address")],
            external: vec![],
            balancer: vec![],
            source_ranges: vec![],
            ports: vec![port],
            affinity: None,
            internal_local: false,
            external_local: local,
        };
        state.set_service(id.clone(), Some(service));
        let endpoints = endpoints.split_whitespace().map(|text| {
            let octet: u8 = text[1..].trim_end_matches(['!', '~']).parse().expect("an octet");
            Endpoint {
                port_name: "http".into(),
                protocol: Protocol::Tcp,
                address: SocketAddr::from(([10, 244, 0, octet], 8080)),
                node: Some(text[..1].to_owned()),
                ready: !text.ends_with(['!', '~']),
                serving_while_terminating: text.ends_with('~'),
            }
        });
        state.set_slice(Slice { service: id.clone(), name: "web-1".into(), endpoints: endpoints.collect() });
        let frontends = state.frontends(&id, &Place { node: "a".into() });
        assert_eq!(frontends.len(), 1);
        let shown = match &frontends[0].outside {
            Backends::Reject => "reject".to_owned(),
            Backends::Drop => "drop".to_owned(),
            Backends::To(to) => {
                let octets: Vec<String> = to
                    .iter()
                    .map(|to| to.ip().to_string().rsplit('.').next().unwrap_or_default().to_owned())
                    .collect();
                octets.join(" ")
            }
        };
        assert_eq!(shown, wanted, "local={local}");
    }

    #[test]
    fn backends_follow_readiness_and_place() {
        check("", false, "reject");
        check("a1 b2", false, "1 2");
        check("a1! b2", false, "2");
        check("a1! b2!", false, "reject");
        check("a1~ b2~", false, "1 2");
        check("a1~ b2", false, "2");
        check("a1 b2", true, "1");
        check("b2", true, "drop");
        check("a1~ b2", true, "1");
        check("a1!", true, "reject");
    }
}
