//! What is published for which pods, as tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{slices, subsets};
use crate::views::{EndpointSlice, Pod, Service, Whole};

fn service(spec: Value) -> Service {
    let mut tree = json!({
        "metadata": { "name": "web", "namespace": "a", "uid": "svc", "labels": { "app": "web" } },
        "spec": { "clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"], "selector": { "app": "web" }, "ports": [
            { "port": 80, "protocol": "TCP", "targetPort": 8080 },
        ] },
    });
    for (field, value) in spec.as_object().unwrap() {
        tree["spec"][field] = value.clone();
    }
    serde_json::from_value(tree).unwrap()
}

/// `NAME` with marks: `!` ready, `-` terminating, `x` ended, `_` without address, `:N` port `http` is N.
fn pod(word: &str) -> Arc<Pod> {
    let name: String = word.chars().take_while(char::is_ascii_digit).collect();
    let has = |mark: char| word.contains(mark);
    let http: i32 = word.split_once(':').map_or(8080, |(_, port)| port.parse().unwrap());
    let mut tree = json!({
        "metadata": { "name": format!("p{name}"), "namespace": "a", "uid": format!("u{name}") },
        "spec": { "nodeName": "n", "containers": [{ "ports": [{ "name": "http", "protocol": "TCP", "containerPort": http }] }] },
        "status": {
            "phase": if has('x') { "Failed" } else { "Running" },
            "conditions": [{ "type": "Ready", "status": if has('!') { "True" } else { "False" } }],
        },
    });
    if has('-') {
        tree["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    if !has('_') {
        tree["status"]["podIPs"] = json!([{ "ip": format!("10.1.0.{name}") }]);
    }
    Arc::new(serde_json::from_value(tree).unwrap())
}

fn pods(words: &str) -> Vec<Arc<Pod>> {
    words.split_whitespace().map(pod).collect()
}

/// Applies a plan to slices, as a server would.
fn apply(slices: &mut BTreeMap<String, Value>, actions: Vec<slices::Action>) -> usize {
    let count = actions.len();
    for action in actions {
        match action {
            slices::Action::Create(mut tree) => {
                let name = (0..).map(|n| format!("s{n:03}")).find(|name| !slices.contains_key(name)).unwrap();
                tree["metadata"]["name"] = name.as_str().into();
                slices.insert(name, tree);
            }
            slices::Action::Update { name, tree } => {
                slices.insert(name, tree);
            }
            slices::Action::Delete { name, .. } => {
                slices.remove(&name);
            }
        }
    }
    count
}

fn run(service: &Service, words: &str, slices: &mut BTreeMap<String, Value>) -> usize {
    let pods = pods(words);
    let old: Vec<Arc<Whole<EndpointSlice>>> =
        slices.values().map(|tree| Arc::new(serde_json::from_value(tree.clone()).unwrap())).collect();
    let view = slices::View { service, pods: &pods, zones: &BTreeMap::new(), slices: &old, trigger: None };
    apply(slices, slices::plan(&view))
}

/// One line a slice: ports, then each endpoint with `!` ready, `~` serving, `-` terminating.
fn print(slices: &BTreeMap<String, Value>) -> String {
    let lines = slices.values().map(|slice| {
        let ports: Vec<String> =
            slice["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string()).collect();
        let mut words = vec![format!("{}:", ports.join(","))];
        for endpoint in slice["endpoints"].as_array().unwrap() {
            let on =
                |name: &str, mark: &'static str| if endpoint["conditions"][name] == true { mark } else { "" };
            let name = endpoint["targetRef"]["name"].as_str().unwrap();
            words.push(format!("{name}{}{}{}", on("ready", "!"), on("serving", "~"), on("terminating", "-")));
        }
        words.join(" ")
    });
    lines.collect::<Vec<String>>().join(" | ")
}

#[test]
fn slices_follow_pods_with_few_writes() {
    let web = service(json!({}));
    let mut slices = BTreeMap::new();
    assert_eq!(run(&web, "", &mut slices), 1);
    assert_eq!(print(&slices), ":");
    assert_eq!(run(&web, "", &mut slices), 0);
    run(&web, "1 2! 3x 4_", &mut slices);
    assert_eq!(print(&slices), "8080: p1 p2!~");
    assert_eq!(run(&web, "1 2! 3x 4_", &mut slices), 0);
    assert_eq!(run(&web, "1! 2!- 5!", &mut slices), 1);
    assert_eq!(print(&slices), "8080: p1!~ p2~- p5!~");
    assert_eq!(run(&web, "", &mut slices), 2);
    assert_eq!(print(&slices), ":");
}

#[test]
fn slices_hold_a_hundred() {
    let web = service(json!({}));
    let mut slices = BTreeMap::new();
    let words = |range: std::ops::Range<usize>| range.map(|n| format!("{n}! ")).collect::<String>();
    run(&web, &words(0..150), &mut slices);
    let sizes = |slices: &BTreeMap<String, Value>| -> Vec<usize> {
        slices.values().map(|slice| slice["endpoints"].as_array().unwrap().len()).collect()
    };
    assert_eq!(sizes(&slices), [100, 50]);
    assert_eq!(run(&web, &words(0..180), &mut slices), 1);
    assert_eq!(sizes(&slices), [100, 80]);
    assert_eq!(run(&web, &words(0..180), &mut slices), 0);
}

#[test]
fn named_ports_may_differ_and_headless_may_have_none() {
    let named = service(
        json!({ "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": "http" }] }),
    );
    let mut slices = BTreeMap::new();
    run(&named, "1!:81 2!:82", &mut slices);
    assert_eq!(print(&slices), "81: p1!~ | 82: p2!~");
    let headless = service(json!({ "clusterIP": "None", "ports": [], "publishNotReadyAddresses": true }));
    let mut slices = BTreeMap::new();
    run(&headless, "1 2!-", &mut slices);
    assert_eq!(print(&slices), ": p1! p2!~-");
    let slice = slices.values().next().unwrap();
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}

#[test]
fn subsets_group_ports_with_the_same_addresses() {
    let check = |service: &Service, words: &str, expect: Value| {
        let Some(subsets::Action::Create(tree)) = subsets::plan(service, &pods(words), None, None) else {
            panic!("no object")
        };
        let lines: Vec<Value> = tree["subsets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|subset| {
                let ips = |field: &str| -> Vec<Value> {
                    subset[field]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|address| address["ip"].clone())
                        .collect()
                };
                let ports: Vec<Value> = subset["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|port| port["port"].clone())
                    .collect();
                json!([ips("addresses"), ips("notReadyAddresses"), ports])
            })
            .collect();
        assert_eq!(Value::from(lines), expect);
    };
    let two = service(json!({ "ports": [
        { "name": "a", "port": 80, "protocol": "TCP", "targetPort": 8080 },
        { "name": "b", "port": 90, "protocol": "TCP", "targetPort": "http" },
    ] }));
    check(&two, "", json!([]));
    check(&two, "1! 2 3!-", json!([[["10.1.0.1"], ["10.1.0.2"], [8080, 8080]]]));
    check(
        &two,
        "1!:81 2!:82",
        json!([[["10.1.0.1", "10.1.0.2"], [], [8080]], [["10.1.0.1"], [], [81]], [["10.1.0.2"], [], [82]],]),
    );
}
