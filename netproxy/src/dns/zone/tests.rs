//! The zone's answers as a table.

use super::*;

fn zone() -> Zone {
    let mut zone = Zone::new("cluster.local");
    let id = |name: &str| ServiceId { namespace: "ns".into(), name: name.into() };
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    zone.set_service(
        &id("web"),
        Some(ServiceRecords {
            addresses: vec![address("10.96.0.7"), address("fd00::7")],
            ports: vec![("http".into(), Protocol::Tcp, 80)],
            ..ServiceRecords::default()
        }),
    );
    zone.set_service(&id("db"), Some(ServiceRecords::default()));
    zone.set_service(
        &id("far"),
        Some(ServiceRecords { external_name: Some("example.com".into()), ..ServiceRecords::default() }),
    );
    let endpoint = |host: &str, at: &str, ready| EndpointRecord {
        address: address(at),
        hostname: host.into(),
        ready,
        ports: vec![("sql".into(), Protocol::Tcp, 5432)],
    };
    let endpoints = vec![
        endpoint("db-0", "10.244.0.5", true),
        endpoint("10-244-0-6", "10.244.0.6", true),
        endpoint("db-2", "10.244.0.7", false),
    ];
    zone.set_slice(&id("db"), "db-1", endpoints);
    zone
}

fn check(name: &str, question: Question, wanted: &str) {
    let shown = match zone().answer(name, question) {
        Answer::NotOurs => "not ours".to_owned(),
        Answer::NoName => "no name".to_owned(),
        Answer::Records(records) => {
            let texts: Vec<String> = records
                .iter()
                .map(|data| match data {
                    Data::Address(address) => address.to_string(),
                    Data::Srv { port, weight, target } => format!("{weight} {port} {target}"),
                    Data::Ptr(name) | Data::Txt(name) | Data::Cname(name) => name.clone(),
                })
                .collect();
            texts.join(", ")
        }
    };
    assert_eq!(shown, wanted, "{name} {question:?}");
}

#[test]
fn services_with_an_address() {
    check("web.ns.svc.cluster.local", Question::A, "10.96.0.7");
    check("WEB.ns.svc.Cluster.Local", Question::Aaaa, "fd00::7");
    check("web.ns.svc.cluster.local", Question::Txt, "");
    check("web.ns.svc.cluster.local", Question::Srv, "100 80 web.ns.svc.cluster.local");
    check("_http._tcp.web.ns.svc.cluster.local", Question::Srv, "100 80 web.ns.svc.cluster.local");
    check("_http._udp.web.ns.svc.cluster.local", Question::Srv, "no name");
    check("a.web.ns.svc.cluster.local", Question::A, "no name");
    check("7.0.96.10.in-addr.arpa", Question::Ptr, "web.ns.svc.cluster.local");
}

#[test]
fn headless_services_name_their_endpoints() {
    check("db.ns.svc.cluster.local", Question::A, "10.244.0.5, 10.244.0.6");
    check("db-0.db.ns.svc.cluster.local", Question::A, "10.244.0.5");
    check("10-244-0-6.db.ns.svc.cluster.local", Question::A, "10.244.0.6");
    check("db-2.db.ns.svc.cluster.local", Question::A, "no name");
    check(
        "_sql._tcp.db.ns.svc.cluster.local",
        Question::Srv,
        "50 5432 db-0.db.ns.svc.cluster.local, 50 5432 10-244-0-6.db.ns.svc.cluster.local",
    );
    check("5.0.244.10.in-addr.arpa", Question::Ptr, "db-0.db.ns.svc.cluster.local");
}

#[test]
fn other_names() {
    check("far.ns.svc.cluster.local", Question::A, "example.com");
    check("10-244-0-9.ns.pod.cluster.local", Question::A, "10.244.0.9");
    check("10-244-0-9.nope.pod.cluster.local", Question::A, "no name");
    check("dns-version.cluster.local", Question::Txt, "1.1.0");
    check("nope.ns.svc.cluster.local", Question::A, "no name");
    check("nope.cluster.local", Question::A, "no name");
    check("ns.svc.cluster.local", Question::A, "");
    check("example.com", Question::A, "not ours");
    check("notcluster.local", Question::A, "not ours");
    check("1.1.168.192.in-addr.arpa", Question::Ptr, "not ours");
}

#[test]
fn what_is_forgotten_has_no_name() {
    let mut zone = zone();
    let id = ServiceId { namespace: "ns".into(), name: "db".into() };
    zone.set_slice(&id, "db-1", Vec::new());
    assert_eq!(zone.answer("db.ns.svc.cluster.local", Question::A), Answer::NoName);
    assert_eq!(zone.answer("5.0.244.10.in-addr.arpa", Question::Ptr), Answer::NotOurs);
    zone.set_service(&id, None);
    assert_eq!(zone.answer("db.ns.svc.cluster.local", Question::Srv), Answer::NoName);
}
