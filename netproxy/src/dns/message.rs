//! The wire format: a query's bytes to a question, an answer to a reply's bytes.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::zone::{Answer, Data, Question, Zone};

/// Seconds an answer may be kept; what kubeadm's CoreDNS says.
const TTL: u32 = 30;
/// A reply without EDNS must fit this (RFC 1035); with EDNS we take up to [`EDNS_MAX`].
const PLAIN_MAX: usize = 512;
/// Fits an unfragmented packet on every usual link.
const EDNS_MAX: u16 = 1232;

/// What becomes of a query.
pub enum Outcome {
    /// The reply's bytes.
    Reply(Vec<u8>),
    /// Somebody else's name: ask this machine's resolvers.
    Forward(Message),
    /// Not a query: silence.
    Ignore,
}

/// Answers a query from the zone. `datagram` replies are cut to what the client takes.
pub fn answer(zone: &Zone, query: &[u8], datagram: bool) -> Outcome {
    let Ok(query) = Message::from_vec(query) else { return Outcome::Ignore };
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    if query.metadata.op_code != OpCode::Query || query.queries.len() != 1 {
        return encoded(failure(&query, ResponseCode::NotImp), &query, datagram);
    }
    let asked = query.queries[0].clone();
    match zone.answer(text_of(&asked.name).trim_end_matches('.'), question(asked.query_type)) {
        Answer::NotOurs => Outcome::Forward(query),
        Answer::NoName => {
            let mut reply = failure(&query, ResponseCode::NXDomain);
            reply.metadata.authoritative = true;
            reply.authorities.extend(authority(zone));
            encoded(reply, &query, datagram)
        }
        Answer::Records(records) => {
            let mut reply = failure(&query, ResponseCode::NoError);
            reply.metadata.authoritative = true;
            if records.is_empty() {
                reply.authorities.extend(authority(zone));
            }
            reply.answers.extend(records.iter().filter_map(|data| record(&asked, data)));
            encoded(reply, &query, datagram)
        }
    }
}

/// A reply that only says how it went.
pub fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries.clone_from(&query.queries);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_MAX);
        reply.edns = Some(edns);
    }
    reply
}

/// The bytes of `reply`, cut with the truncation bit when a datagram cannot hold them.
pub fn encoded(reply: Message, query: &Message, datagram: bool) -> Outcome {
    let limit = match (&query.edns, datagram) {
        (_, false) => usize::from(u16::MAX),
        (Some(edns), true) => usize::from(edns.max_payload().min(EDNS_MAX)).max(PLAIN_MAX),
        (None, true) => PLAIN_MAX,
    };
    let Ok(bytes) = reply.to_vec() else { return Outcome::Ignore };
    if bytes.len() <= limit {
        return Outcome::Reply(bytes);
    }
    let mut cut = reply.truncate();
    cut.answers.clear();
    cut.to_vec().map_or(Outcome::Ignore, Outcome::Reply)
}

fn question(record: RecordType) -> Question {
    match record {
        RecordType::A => Question::A,
        RecordType::AAAA => Question::Aaaa,
        RecordType::SRV => Question::Srv,
        RecordType::PTR => Question::Ptr,
        RecordType::TXT => Question::Txt,
        RecordType::CNAME => Question::Cname,
        _ => Question::Other,
    }
}

fn record(asked: &Query, data: &Data) -> Option<Record> {
    let rdata = match data {
        Data::Address(IpAddr::V4(address)) => RData::A((*address).into()),
        Data::Address(IpAddr::V6(address)) => RData::AAAA((*address).into()),
        Data::Srv { port, weight, target } => RData::SRV(SRV::new(0, *weight, *port, name(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
        Data::Cname(target) => RData::CNAME(CNAME(name(target)?)),
    };
    Some(Record::from_rdata(asked.name.clone(), TTL, rdata))
}

/// The zone's start of authority: what tells a client how long a missing name stays missing.
fn authority(zone: &Zone) -> Option<Record> {
    let domain = name(zone.domain())?;
    let server = name(&format!("ns.dns.{}", zone.domain()))?;
    let contact = name(&format!("hostmaster.{}", zone.domain()))?;
    let soa = SOA::new(server, contact, 1, 7200, 1800, 86_400, TTL);
    Some(Record::from_rdata(domain, TTL, RData::SOA(soa)))
}

fn name(text: &str) -> Option<Name> {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).ok()
}

fn text_of(name: &Name) -> String {
    name.to_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::zone::ServiceRecords;
    use crate::model::{Protocol, ServiceId};

    fn ask(zone: &Zone, name: &str, record: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).expect("a name"), record));
        match answer(zone, &query.to_vec().expect("encodes"), true) {
            Outcome::Reply(bytes) => Message::from_vec(&bytes).expect("decodes"),
            Outcome::Forward(_) | Outcome::Ignore => panic!("no reply"),
        }
    }

    fn zone(addresses: usize) -> Zone {
        let mut zone = Zone::new("cluster.local");
        let records = ServiceRecords {
            addresses: (0..addresses)
                .map(|last| IpAddr::from([10, 96, 0, u8::try_from(last).expect("small")]))
                .collect(),
            ports: vec![("http".into(), Protocol::Tcp, 80)],
            ..ServiceRecords::default()
        };
        zone.set_service(&ServiceId { namespace: "ns".into(), name: "web".into() }, Some(records));
        zone
    }

    #[test]
    fn a_reply_names_what_was_asked() {
        let reply = ask(&zone(1), "Web.ns.svc.cluster.local.", RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.answers[0].name.to_ascii(), "Web.ns.svc.cluster.local.");
        assert!(reply.metadata.authoritative);
    }

    #[test]
    fn a_missing_name_says_for_how_long() {
        let reply = ask(&zone(1), "nope.ns.svc.cluster.local.", RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(reply.authorities.len(), 1);
    }

    #[test]
    fn a_large_reply_is_cut_and_says_so() {
        let reply = ask(&zone(100), "web.ns.svc.cluster.local.", RecordType::A);
        assert!(reply.metadata.truncation);
        assert!(reply.answers.is_empty());
    }

    #[test]
    fn noise_is_ignored() {
        assert!(matches!(answer(&zone(1), b"\x00\x01", true), Outcome::Ignore));
    }
}
