//! Inputs that are large or deep and not clever: what a fuzzer, which prefers small ones, never tries.
//!
//! Each is below the body limit of 3 MiB. None may panic, overflow the stack (a test thread has 2 MiB, as a worker of the
//! server) or take more than in proportion; time is bounded by the suite's own limit.

use schema::decode::{self, Syntax};
use schema::selectors::{fields, labels};
use schema::{Schema, patch, protobuf};
use serde_json::json;

const BODY_BYTES_MAX: usize = 3 << 20;

fn pod() -> &'static Schema {
    schema::kind("", "v1", "Pod").expect("a built-in kind")
}

fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
}

/// Reads a body in every way there is; what it comes to is another test's business.
fn read(body: &str) {
    assert!(body.len() <= BODY_BYTES_MAX, "{} bytes", body.len());
    for syntax in [Syntax::Json, Syntax::Yaml] {
        let _ = decode::typed(pod(), syntax, body.as_bytes());
    }
    for definition in ["io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.ConfigMap"] {
        let _ = protobuf::decode(definition, body.as_bytes());
        let mut out = Vec::new();
        let _ = protobuf::Encoder::of(definition).expect("a known one").encode(body.as_bytes(), &mut out);
    }
}

fn read_selector(text: &str) {
    let _ = labels::Selector::parse(text);
    let _ = fields::Selector::parse(text);
}

#[test]
fn brackets_without_an_end() {
    read(&"[".repeat(BODY_BYTES_MAX));
    read(&"{\"a\":".repeat(BODY_BYTES_MAX / 5));
    read(&"- ".repeat(BODY_BYTES_MAX / 2));
    read_selector(&"(".repeat(BODY_BYTES_MAX));
}

#[test]
fn a_hundred_thousand_levels() {
    read(&nested("[", "1", "]", 100_000));
    read(&nested("{\"a\":", "1", "}", 100_000));
    read(&format!("{{\"spec\":{}}}", nested("{\"a\":", "1", "}", 100_000)));
    read(&format!(
        "{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{}}}]}}}}",
        nested("{\"f:a\":", "{}", "}", 100_000)
    ));
}

/// As deep as Go reads: a tree that is accepted must also be compared, patched, written and dropped.
#[test]
fn as_deep_as_accepted() {
    for depth in [100, 1_000, 5_000, 9_990] {
        let fields = nested("{\"f:a\":", "{}", "}", depth);
        let body = format!("{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{fields}}}]}}}}");
        read(&body);
        let Ok((tree, _)) = decode::json(body.as_bytes()) else { continue };
        let _ = tree.to_string();
        let _ = patch::merge(&tree, &tree);
        let _ = patch::strategic(pod(), &tree, &tree);
        let _ = patch::json(&tree, &json!([{"op": "copy", "from": "/metadata", "path": "/spec"}]));
        let _ = patch::go_text(&tree);
        let _ = schema::fields::Set::from_tree(&tree);
        let _ = schema::fields::of(pod(), &tree);
        let _ = schema::semantic_equal(&tree, &tree.clone());
    }
}

#[test]
fn many_keys() {
    let same = "\"a\":1,".repeat(BODY_BYTES_MAX / 6 - 2);
    read(&format!("{{{same}\"a\":1}}"));
    let others: String = (0..200_000).map(|key| format!("\"k{key}\":1,")).collect();
    read(&format!("{{{others}\"a\":1}}"));
    read(&format!("{{\"spec\":{{{others}\"a\":1}}}}"));
    let lines: String = (0..200_000).map(|key| format!("k{key}: 1\n")).collect();
    read(&lines);
}

#[test]
fn long_lists() {
    read(&format!("{{\"metadata\":{{\"finalizers\":[{}\"a\"]}}}}", "\"a\",".repeat(BODY_BYTES_MAX / 4 - 20)));
    read(&format!("{{\"spec\":{{\"containers\":[{}{{}}]}}}}", "{},".repeat(BODY_BYTES_MAX / 3 - 20)));
    read_selector(&format!("a in ({}b)", "b,".repeat(BODY_BYTES_MAX / 2 - 10)));
    read_selector(&"a=b,".repeat(BODY_BYTES_MAX / 4));
    read_selector(&"a,".repeat(BODY_BYTES_MAX / 2));
}

/// A merge of two long lists whose elements are found by a key.
#[test]
fn long_lists_meet() {
    let containers = |from: usize| -> Vec<_> {
        (from..from + 10_000).map(|name| json!({"name": format!("c{name}"), "image": "a"})).collect()
    };
    let old = json!({"spec": {"containers": containers(0)}});
    let new = json!({"spec": {"containers": containers(5_000)}});
    let merged = patch::strategic(pod(), &old, &new).expect("two lists of containers");
    assert_eq!(merged["spec"]["containers"].as_array().map(Vec::len), Some(15_000));
}

/// An order that names nothing, on a list of old and new items: the new ones have no place among the old, and a comparison
/// that calls them equal to everything is none that a sort may be given.
#[test]
fn an_order_of_nothing() {
    let container = |name: usize| json!({"name": format!("c{name}"), "image": "a"});
    let old: Vec<_> = (0..60).map(container).collect();
    let new: Vec<_> = (0..60).flat_map(|at| [container(at * 37 % 60), container(60 + at)]).collect();
    let old = json!({"spec": {"containers": old}});
    let new = json!({"spec": {"$setElementOrder/containers": [], "containers": new}});
    let merged = patch::strategic(pod(), &old, &new).expect("two lists of containers");
    assert_eq!(merged["spec"]["containers"].as_array().map(Vec::len), Some(120));
}

#[test]
fn long_texts() {
    read(&format!("\"{}\"", "\\ud800".repeat(BODY_BYTES_MAX / 6 - 1)));
    read(&format!("\"{}\"", "\\".repeat(BODY_BYTES_MAX - 3)));
    read(&"9".repeat(BODY_BYTES_MAX));
    read(&format!("1e{}", "9".repeat(BODY_BYTES_MAX - 2)));
    read(&format!(
        "{{\"spec\":{{\"containers\":[{{\"resources\":{{\"limits\":{{\"cpu\":\"1e{}\"}}}}}}]}}}}",
        "9".repeat(1 << 20)
    ));
    read(&" ".repeat(BODY_BYTES_MAX));
    read(&"a: >\n".repeat(BODY_BYTES_MAX / 5));
    read(&"#".repeat(BODY_BYTES_MAX));
}

/// Aliases that double what they name, line by line.
#[test]
fn a_billion_laughs() {
    let mut text = String::from("a0: &a0 [\"lol\",\"lol\"]\n");
    for level in 1..40 {
        text += &format!("a{level}: &a{level} [*a{},*a{}]\n", level - 1, level - 1);
    }
    assert!(decode::yaml(text.as_bytes()).is_err());
}

/// A patch that copies the object into itself again and again.
#[test]
fn copies_of_copies() {
    let operations: Vec<_> =
        (0..1_000).map(|at| json!({"op": "copy", "from": "", "path": format!("/a{at}")})).collect();
    let old = json!({"a": "b"});
    assert!(patch::json(&old, &json!(operations)).is_err(), "two to the thousandth");
}

/// Lengths that promise much more than there is.
#[test]
fn lengths_that_lie() {
    let lie = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for definition in ["io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.Secret"] {
        assert!(protobuf::decode(definition, &lie).is_err());
        let repeated = lie.repeat(BODY_BYTES_MAX / lie.len());
        let _ = protobuf::decode(definition, &repeated);
    }
    for definition in ["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"] {
        let mut message = Vec::new();
        for _ in 0..10_000 {
            let length = u32::try_from(message.len()).expect("small");
            let mut outer = vec![
                0xf2,
                0x01,
                0x80 | (length & 0x7f) as u8,
                0x80 | (length >> 7 & 0x7f) as u8,
                (length >> 14) as u8,
            ];
            outer.extend_from_slice(&message);
            message = outer;
        }
        let _ = protobuf::decode(definition, &message);
    }
}
