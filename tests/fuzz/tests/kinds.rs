//! Every served kind through the whole way of a write, without a line here for a kind that comes to be served: the recorded
//! requests, changed a bounded number of times in JSON, YAML and protobuf; and bodies that fill each list, map and text a
//! kind has. `KONTIKI_FUZZ_FILL=3141632` fills them to the limit of a body, which takes an hour.
//!
//! Time is bounded by the processor time of the thread, so that a busy machine changes nothing.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;

use fuzz::chain::chain;
use fuzz::mutate::{Numbers, mutate};
use rustix::time::{ClockId, clock_gettime};
use schema::{Child, Schema, Shape, Tree, protobuf};
use serde_json::json;

/// Bytes a place is filled with: enough for what grows with the square to be seen, few enough for every run of the tests.
const FILL_BYTES: usize = 32 << 10;
/// Changed bodies for each recorded one and encoding; `KONTIKI_FUZZ_MUTATIONS` asks for more.
const MUTATIONS: usize = 12;
/// Recorded bodies of a kind that are used.
const BODIES_MAX: usize = 6;
/// Processor seconds one input may take, in a build without optimization. What is in proportion takes a tenth.
const SECONDS_MAX: i64 = 5;
/// How deep a place to be filled may lie: below a pod template's containers.
const DEPTH_MAX: usize = 9;

/// Bodies of recorded requests by apiVersion and kind.
fn recorded() -> BTreeMap<(String, String), Vec<Tree>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diff-upstream/scenarios");
    let mut found: BTreeMap<_, Vec<Tree>> = BTreeMap::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the recorded requests")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for file in files.iter().filter(|file| !file.to_string_lossy().contains("answers")) {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let step: Tree = serde_json::from_str(line).expect("JSON");
            let text = |field: &str| step["b"][field].as_str().unwrap_or_default().to_owned();
            if step["b"].is_object() {
                found.entry((text("apiVersion"), text("kind"))).or_default().push(step["b"].clone());
            }
        }
    }
    found
}

fn asked(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn fill_bytes() -> usize {
    asked("KONTIKI_FUZZ_FILL").unwrap_or(FILL_BYTES)
}

fn processor_seconds() -> i64 {
    clock_gettime(ClockId::ThreadCPUTime).tv_sec
}

/// Why an input fails, if it does.
fn failure(input: &[u8]) -> Option<String> {
    let began = processor_seconds();
    if catch_unwind(|| chain(input)).is_err() {
        return Some("panics".to_owned());
    }
    let took = processor_seconds() - began;
    (took > SECONDS_MAX).then(|| format!("takes {took} s"))
}

fn input(line: &str, body: &[u8], patch: &str) -> Vec<u8> {
    [line.as_bytes(), b"\n", body, b"\n----\n", patch.as_bytes()].concat()
}

#[test]
fn every_kind_in_every_encoding_changed() {
    let mutations = asked("KONTIKI_FUZZ_MUTATIONS").unwrap_or(MUTATIONS);
    let recorded = recorded();
    let mut numbers = Numbers::new(7);
    let mut failed = Vec::new();
    for strategy in kinds::all() {
        let resource = strategy.resource();
        let line = format!("{} {}", resource.api_version(), resource.kind);
        let schema = schema::kind(&resource.group, &resource.version, &resource.kind).expect("a schema");
        let key = (resource.api_version(), resource.kind.clone());
        let Some(bodies) = recorded.get(&key) else {
            if resource.verbs.iter().any(|verb| verb == "create") {
                failed.push(format!("{line}: no recorded request has one"));
            }
            continue;
        };
        for body in bodies.iter().take(BODIES_MAX) {
            let raw = protobuf::encode(&schema.name, body).expect("a known definition");
            let encodings = [
                body.to_string().into_bytes(),
                apiserver::untrusted::yaml_of(body).into_bytes(),
                protobuf::wrap(&resource.api_version(), &resource.kind, &raw),
            ];
            let other = bodies[numbers.below(bodies.len())].to_string();
            for encoded in encodings {
                let whole = input(&line, &encoded, &other);
                failed.extend(failure(&whole).map(|why| format!("{line}: {why} as recorded")));
                for _ in 0..mutations {
                    let changed = mutate(&encoded, other.as_bytes(), &mut numbers);
                    let whole = input(&line, &changed, &other);
                    if let Some(why) = failure(&whole) {
                        failed.push(format!("{line} {why}:\n{}", whole.escape_ascii()));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Every list, map and text of a kind with as much in it as a body can have.
#[test]
fn every_kind_filled_to_the_limit() {
    let mut failed = Vec::new();
    let mut filled = 0;
    let mut seen = std::collections::BTreeSet::new();
    for strategy in kinds::all() {
        let resource = strategy.resource();
        let line = format!("{} {}", resource.api_version(), resource.kind);
        let schema = schema::kind(&resource.group, &resource.version, &resource.kind).expect("a schema");
        let mut places = Vec::new();
        collect(schema, &mut Vec::new(), &mut places);
        for place in places {
            // A pod's spec is in many kinds, and object metadata in all: once is enough.
            if !seen.insert(place.last_two()) {
                continue;
            }
            let mut tree = json!({"metadata": {"name": "a"}});
            place.fill(&mut tree);
            filled += 1;
            let whole = input(&line, tree.to_string().as_bytes(), r#"{"metadata":{"labels":{"a":"b"}}}"#);
            failed.extend(failure(&whole).map(|why| format!("{line}: {} {why}", place.name())));
        }
    }
    println!("{filled} places");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A field, and what it is filled with.
struct Place {
    /// Field names from the root; `[]` and `{}` stand for an item of a list and a value of a map.
    path: Vec<String>,
    owner: String,
    content: Tree,
}

impl Place {
    fn name(&self) -> String {
        self.path.join(".")
    }

    /// The definition a field belongs to and its name.
    fn last_two(&self) -> (String, String) {
        (self.owner.clone(), self.path.last().cloned().unwrap_or_default())
    }

    fn fill(&self, tree: &mut Tree) {
        let mut at = tree;
        for step in &self.path {
            at = match step.as_str() {
                "[]" => {
                    *at = json!([null]);
                    &mut at[0]
                }
                "{}" => {
                    *at = json!({"a": null});
                    &mut at["a"]
                }
                field => {
                    if !at.is_object() {
                        *at = json!({});
                    }
                    &mut at[field]
                }
            };
        }
        *at = self.content.clone();
    }
}

/// All places of a schema.
fn collect(schema: &Schema, path: &mut Vec<String>, places: &mut Vec<Place>) {
    let Shape::Struct(inner) = &schema.shape else { return };
    if path.len() > DEPTH_MAX {
        return;
    }
    for field in &inner.fields {
        path.push(field.name.to_string());
        let mut add = |content: Tree| {
            places.push(Place { path: path.clone(), owner: schema.name.to_string(), content });
        };
        match &field.child.shape {
            Shape::List(list) => {
                add(many(&list.item));
                descend(&list.item, "[]", path, places);
            }
            Shape::Map(map) => {
                let entry = |at: usize| (format!("k{at}"), small(&map.value));
                let count = fill_bytes() / (small(&map.value).to_string().len() + 12);
                add(Tree::Object((0..count).map(entry).collect()));
                descend(&map.value, "{}", path, places);
            }
            Shape::String | Shape::Quantity | Shape::IntOrString | Shape::Time | Shape::Bytes => {
                add(json!("a".repeat(fill_bytes())));
            }
            Shape::Any | Shape::Embedded => {
                let nested = (0..1_000).fold(json!({}), |inner, _| json!({"f:a": inner}));
                add(nested);
            }
            _ => collect(&field.child, path, places),
        }
        path.pop();
    }
}

fn descend(child: &Child, step: &str, path: &mut Vec<String>, places: &mut Vec<Place>) {
    path.push(step.to_owned());
    collect(child, path, places);
    path.pop();
}

/// A list of as many items as fit, each other than the next.
fn many(item: &Schema) -> Tree {
    let one = small(item);
    let count = fill_bytes() / (one.to_string().len() + 8);
    let number = |at: usize| match &one {
        Tree::String(_) => json!(format!("a{at}")),
        Tree::Object(fields) if fields.contains_key("name") => {
            let mut item = one.clone();
            item["name"] = json!(format!("a{at}"));
            item
        }
        other => other.clone(),
    };
    (0..count).map(number).collect()
}

/// The least that is something.
fn small(schema: &Schema) -> Tree {
    match &schema.shape {
        Shape::Struct(inner) => {
            let named = inner.fields.iter().find(|field| &*field.name == "name");
            named.map_or_else(|| json!({}), |_| json!({"name": "a"}))
        }
        Shape::Map(_) | Shape::Any | Shape::Embedded | Shape::Either { .. } => json!({}),
        Shape::List(_) => json!([]),
        Shape::Boolean => json!(true),
        Shape::Integer { .. } | Shape::Number => json!(1),
        Shape::Quantity | Shape::IntOrString => json!("1"),
        Shape::Time => json!("2026-01-02T03:04:05Z"),
        Shape::MicroTime => json!("2026-01-02T03:04:05.000006Z"),
        Shape::Bytes => json!("YQ=="),
        Shape::String => json!("a"),
    }
}
