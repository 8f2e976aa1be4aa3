//! Names of services and their endpoints, as the Kubernetes DNS specification 1.1 has them. Pure: a question in, an
//! answer out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::model::{Protocol, ServiceId};

/// What one service contributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceRecords {
    /// Its cluster addresses; none when headless.
    pub addresses: Vec<IpAddr>,
    /// Its ports' names, protocols and numbers.
    pub ports: Vec<(String, Protocol, u16)>,
    /// The name it stands for instead of addresses.
    pub external_name: Option<String>,
    /// Endpoints that are not ready have names too.
    pub publish_not_ready: bool,
}

/// One endpoint of a headless service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRecord {
    /// Its address.
    pub address: IpAddr,
    /// Its own name, else its address with dashes.
    pub hostname: String,
    /// It takes traffic.
    pub ready: bool,
    /// Its ports' names, protocols and numbers.
    pub ports: Vec<(String, Protocol, u16)>,
}

/// Record types the zone has answers of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A service's port.
    Srv,
    /// A name of an address.
    Ptr,
    /// Text.
    Txt,
    /// Another name.
    Cname,
    /// Anything else: the name may exist, the record does not.
    Other,
}

/// One record's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// A port and the name it is at.
    Srv {
        /// The port.
        port: u16,
        /// The share of each, as CoreDNS computes it: 100 over their number.
        weight: u16,
        /// Where.
        target: String,
    },
    /// A name.
    Ptr(String),
    /// Text.
    Txt(String),
    /// Another name to look up.
    Cname(String),
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cluster does not own this name.
    NotOurs,
    /// No such name.
    NoName,
    /// The name exists; these are its records of the type asked, perhaps none.
    Records(Vec<Data>),
}

/// The names of a cluster.
#[derive(Debug)]
pub struct Zone {
    domain: String,
    services: BTreeMap<ServiceId, ServiceRecords>,
    endpoints: BTreeMap<ServiceId, BTreeMap<String, Vec<EndpointRecord>>>,
    names_of_address: HashMap<IpAddr, BTreeSet<(ServiceId, Option<String>)>>,
}

/// The version of the DNS specification that is followed.
const SCHEMA_VERSION: &str = "1.1.0";
const WEIGHT_SUM: usize = 100;

impl Zone {
    /// A zone without services; `domain` is "cluster.local".
    pub fn new(domain: &str) -> Self {
        Self {
            domain: domain.trim_end_matches('.').to_ascii_lowercase(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            names_of_address: HashMap::new(),
        }
    }

    /// The zone's own name.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Takes over a service; `None` forgets it.
    pub fn set_service(&mut self, id: &ServiceId, records: Option<ServiceRecords>) {
        if let Some(old) = self.services.remove(id) {
            for address in old.addresses {
                self.unname(address, &(id.clone(), None));
            }
        }
        if let Some(records) = records {
            for address in &records.addresses {
                self.names_of_address.entry(*address).or_default().insert((id.clone(), None));
            }
            self.services.insert(id.clone(), records);
        }
    }

    /// Takes over a slice's endpoints; an empty list forgets the slice.
    pub fn set_slice(&mut self, id: &ServiceId, slice: &str, endpoints: Vec<EndpointRecord>) {
        let slices = self.endpoints.entry(id.clone()).or_default();
        for old in slices.remove(slice).unwrap_or_default() {
            unname(&mut self.names_of_address, old.address, &(id.clone(), Some(old.hostname)));
        }
        for endpoint in &endpoints {
            let name = (id.clone(), Some(endpoint.hostname.clone()));
            self.names_of_address.entry(endpoint.address).or_default().insert(name);
        }
        if !endpoints.is_empty() {
            slices.insert(slice.to_owned(), endpoints);
        } else if slices.is_empty() {
            self.endpoints.remove(id);
        }
    }

    fn unname(&mut self, address: IpAddr, name: &(ServiceId, Option<String>)) {
        unname(&mut self.names_of_address, address, name);
    }

    /// Answers a question; `name` has no trailing dot and any case.
    pub fn answer(&self, name: &str, question: Question) -> Answer {
        let name = name.to_ascii_lowercase();
        if let Some(address) = reverse(&name) {
            return self.reverse_names(address, question);
        }
        let Some(inside) = name.strip_suffix(&self.domain) else { return Answer::NotOurs };
        if !inside.is_empty() && !inside.ends_with('.') {
            return Answer::NotOurs;
        }
        let labels: Vec<&str> =
            inside.trim_end_matches('.').rsplit('.').filter(|label| !label.is_empty()).collect();
        match labels.as_slice() {
            [] | ["svc" | "pod"] => Answer::Records(Vec::new()),
            ["dns-version"] => {
                records(question == Question::Txt, || vec![Data::Txt(SCHEMA_VERSION.to_owned())])
            }
            ["pod", namespace, address] => self.pod(namespace, address, question),
            ["pod" | "svc", namespace] => self.namespace(namespace),
            ["svc", namespace, service, rest @ ..] => {
                let id = ServiceId { namespace: (*namespace).to_owned(), name: (*service).to_owned() };
                match self.services.get(&id) {
                    Some(records) => self.service(&id, records, rest, question),
                    None => Answer::NoName,
                }
            }
            _ => Answer::NoName,
        }
    }

    fn namespace(&self, namespace: &str) -> Answer {
        let known = self.services.keys().any(|id| id.namespace == namespace);
        if known { Answer::Records(Vec::new()) } else { Answer::NoName }
    }

    fn pod(&self, namespace: &str, dashed: &str, question: Question) -> Answer {
        let address =
            dashed.replace('-', ".").parse().or_else(|_| dashed.replace('-', ":").parse::<IpAddr>());
        match address {
            Ok(address) if self.namespace(namespace) != Answer::NoName => {
                Answer::Records(of_family([address].into_iter(), question))
            }
            _ => Answer::NoName,
        }
    }

    fn service(&self, id: &ServiceId, records: &ServiceRecords, rest: &[&str], question: Question) -> Answer {
        if let Some(target) = &records.external_name {
            let shown = matches!(question, Question::A | Question::Aaaa | Question::Cname) && rest.is_empty();
            return if rest.is_empty() {
                Answer::Records(if shown { vec![Data::Cname(target.clone())] } else { Vec::new() })
            } else {
                Answer::NoName
            };
        }
        match rest {
            [] if records.addresses.is_empty() => self.headless(id, records, question),
            [] => Answer::Records(if question == Question::Srv {
                self.ports(id, records, None)
            } else {
                of_family(records.addresses.iter().copied(), question)
            }),
            [hostname] if !hostname.starts_with('_') => self.hostname(id, records, hostname, question),
            [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                let found = self.ports(id, records, Some((&port[1..], &protocol[1..])));
                if found.is_empty() {
                    return Answer::NoName;
                }
                Answer::Records(if question == Question::Srv { found } else { Vec::new() })
            }
            _ => Answer::NoName,
        }
    }

    fn headless(&self, id: &ServiceId, records: &ServiceRecords, question: Question) -> Answer {
        let endpoints: Vec<&EndpointRecord> = self.published(id, records).collect();
        if endpoints.is_empty() {
            return Answer::NoName;
        }
        Answer::Records(if question == Question::Srv {
            self.ports(id, records, None)
        } else {
            of_family(endpoints.iter().map(|endpoint| endpoint.address), question)
        })
    }

    fn hostname(
        &self,
        id: &ServiceId,
        records: &ServiceRecords,
        hostname: &str,
        question: Question,
    ) -> Answer {
        let named: Vec<IpAddr> = self
            .published(id, records)
            .filter(|endpoint| endpoint.hostname == hostname)
            .map(|endpoint| endpoint.address)
            .collect();
        if named.is_empty() || !records.addresses.is_empty() {
            return Answer::NoName;
        }
        Answer::Records(of_family(named.into_iter(), question))
    }

    /// SRV records; `wanted` is (port name, protocol), else every named port.
    fn ports(&self, id: &ServiceId, records: &ServiceRecords, wanted: Option<(&str, &str)>) -> Vec<Data> {
        let fits = |name: &str, protocol: Protocol| match wanted {
            Some((port, wanted)) => name == port && protocol.name() == wanted,
            None => true,
        };
        let mut found: Vec<(u16, String)> = Vec::new();
        if records.addresses.is_empty() {
            for endpoint in self.published(id, records) {
                for (_, _, port) in endpoint.ports.iter().filter(|(name, protocol, _)| fits(name, *protocol))
                {
                    found.push((*port, format!("{}.{}", endpoint.hostname, self.name_of(id))));
                }
            }
        } else {
            for (_, _, port) in records.ports.iter().filter(|(name, protocol, _)| fits(name, *protocol)) {
                found.push((*port, self.name_of(id)));
            }
        }
        let weight = u16::try_from(WEIGHT_SUM / found.len().max(1)).unwrap_or(1).max(1);
        found.into_iter().map(|(port, target)| Data::Srv { port, weight, target }).collect()
    }

    fn published<'a>(
        &'a self,
        id: &ServiceId,
        records: &'a ServiceRecords,
    ) -> impl Iterator<Item = &'a EndpointRecord> {
        let slices = self.endpoints.get(id).into_iter().flat_map(BTreeMap::values).flatten();
        slices.filter(|endpoint| endpoint.ready || records.publish_not_ready)
    }

    fn reverse_names(&self, address: IpAddr, question: Question) -> Answer {
        // An address that is no service's may be anybody's: the machine's own resolver knows.
        let Some(names) = self.names_of_address.get(&address) else { return Answer::NotOurs };
        let shown = names.iter().filter_map(|(id, hostname)| match hostname {
            None => Some(self.name_of(id)),
            Some(hostname) => {
                let headless = self.services.get(id).is_some_and(|records| records.addresses.is_empty());
                headless.then(|| format!("{hostname}.{}", self.name_of(id)))
            }
        });
        let shown: Vec<Data> = shown.map(Data::Ptr).collect();
        if shown.is_empty() {
            return Answer::NotOurs;
        }
        Answer::Records(if question == Question::Ptr { shown } else { Vec::new() })
    }

    fn name_of(&self, id: &ServiceId) -> String {
        format!("{}.{}.svc.{}", id.name, id.namespace, self.domain)
    }
}

fn unname(
    names: &mut HashMap<IpAddr, BTreeSet<(ServiceId, Option<String>)>>,
    address: IpAddr,
    name: &(ServiceId, Option<String>),
) {
    if let Some(all) = names.get_mut(&address) {
        all.remove(name);
        if all.is_empty() {
            names.remove(&address);
        }
    }
}

fn records(shown: bool, data: impl Fn() -> Vec<Data>) -> Answer {
    Answer::Records(if shown { data() } else { Vec::new() })
}

fn of_family(addresses: impl Iterator<Item = IpAddr>, question: Question) -> Vec<Data> {
    let mut found: Vec<IpAddr> = addresses
        .filter(|address| match question {
            Question::A => address.is_ipv4(),
            Question::Aaaa => address.is_ipv6(),
            _ => false,
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(Data::Address).collect()
}

/// The address a reverse name stands for.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<&str> = octets.rsplit('.').collect();
        return octets.join(".").parse().ok().filter(|_| octets.len() == 4);
    }
    let nibbles: Vec<&str> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    let groups: Vec<String> = nibbles.chunks(4).map(<[&str]>::concat).collect();
    groups.join(":").parse().ok().filter(|_| nibbles.len() == 32)
}

#[cfg(test)]
mod tests;
