//! Every served kind through the whole way of a write, without a line here for a kind that comes to be served: the recorded
//! requests, changed a bounded number of times in JSON, YAML and protobuf; and bodies that fill each list, map and text a
//! kind has. `KONTIKI_FUZZ_FILL=3141632` fills them to the limit of a body, which takes an hour.
//!
//! Time is bounded by the processor time of the thread, so that a busy machine changes nothing. Every processor takes part;
//! what one kind is given does not depend on which.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fuzz::chain::chain;
use fuzz::mutate::{Numbers, mutate};
use kinds::Strategy;
use rustix::time::{ClockId, clock_gettime};
use schema::{Child, Schema, Shape, Tree, protobuf};
use serde_json::json;

/// Bytes a place is filled with: enough for what grows with the square to be seen, few enough for every run of the tests.
const FILL_BYTES: usize = 32 << 10;
/// Changed bodies for each recorded one and encoding; `KONTIKI_FUZZ_MUTATIONS` asks for more.
const MUTATIONS: usize = 12;
/// Recorded bodies of a kind that are used.
const BODIES_MAX: usize = 6;
/// Processor time one input may take, in a build without optimization. What is in proportion takes a tenth.
const TIME_MAX: Duration = Duration::from_secs(5);
/// A place is first filled with so much less. What grows with the square or the cube and is too slow at the full size takes
/// longer than [`SUSPICIOUS`] then; the rest need not be filled any further.
const FIRST_PART: usize = 4;
/// `TIME_MAX` by the cube of `FIRST_PART`, and a little less.
const SUSPICIOUS: Duration = Duration::from_millis(75);
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

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("below a second"))
}

/// The processor time an input takes, or that it panics.
fn time_of(input: &[u8]) -> Result<Duration, String> {
    let began = processor_time();
    catch_unwind(|| chain(input)).map_err(|_| "panics".to_owned())?;
    Ok(processor_time() - began)
}

/// Why an input fails, if it does.
fn failure(input: &[u8]) -> Option<String> {
    match time_of(input) {
        Err(why) => Some(why),
        Ok(took) => (took > TIME_MAX).then(|| format!("takes {} s", took.as_secs())),
    }
}

/// Runs work on every processor and returns what it found, in order.
fn each<T: Sync>(work: &[T], find: impl Fn(&T) -> Vec<String> + Sync) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((at, one)) = take(&next, work) {
                    let texts = find(one);
                    found.lock().expect("nothing panics while the lock is held").insert(at, texts);
                }
            });
        }
    });
    found.into_inner().expect("every thread has ended").into_values().flatten().collect()
}

fn take<'a, T>(next: &AtomicUsize, work: &'a [T]) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, work.get(at)?))
}

fn input(line: &str, body: &[u8], patch: &str) -> Vec<u8> {
    [line.as_bytes(), b"\n", body, b"\n----\n", patch.as_bytes()].concat()
}

#[test]
fn every_kind_in_every_encoding_changed() {
    let recorded = recorded();
    let kinds: Vec<(u64, &dyn Strategy)> = (0..).zip(kinds::all().iter().copied()).collect();
    let failed = each(&kinds, |(number, strategy)| changed(&recorded, *strategy, *number));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What fails of a kind's recorded bodies and of changes to them.
fn changed(
    recorded: &BTreeMap<(String, String), Vec<Tree>>,
    strategy: &dyn Strategy,
    number: u64,
) -> Vec<String> {
    let mutations = asked("KONTIKI_FUZZ_MUTATIONS").unwrap_or(MUTATIONS);
    let mut numbers = Numbers::new(7 + (number << 32));
    let mut failed = Vec::new();
    let resource = strategy.resource();
    let line = format!("{} {}", resource.api_version(), resource.kind);
    let schema = schema::kind(&resource.group, &resource.version, &resource.kind).expect("a schema");
    let Some(bodies) = recorded.get(&(resource.api_version(), resource.kind.clone())) else {
        if resource.verbs.iter().any(|verb| verb == "create") {
            failed.push(format!("{line}: no recorded request has one"));
        }
        return failed;
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
    failed
}

/// Every list, map and text of a kind with as much in it as a body can have.
#[test]
fn every_kind_filled_to_the_limit() {
    let mut places: Vec<(String, Place)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for strategy in kinds::all() {
        let resource = strategy.resource();
        let line = format!("{} {}", resource.api_version(), resource.kind);
        let schema = schema::kind(&resource.group, &resource.version, &resource.kind).expect("a schema");
        let mut of_kind = Vec::new();
        collect(schema, &mut Vec::new(), &mut of_kind);
        // A pod's spec is in many kinds, and object metadata in all: once is enough.
        of_kind.retain(|place| seen.insert(place.last_two()));
        places.extend(of_kind.into_iter().map(|place| (line.clone(), place)));
    }
    println!("{} places", places.len());
    let failed = each(&places, |(line, place)| {
        let why = filled(line, place);
        why.map(|why| format!("{line}: {} {why}", place.name())).into_iter().collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Why a filled place fails, if it does.
fn filled(line: &str, place: &Place) -> Option<String> {
    let body = |fill_bytes| {
        let mut tree = json!({"metadata": {"name": "a"}});
        place.fill(&mut tree, fill_bytes);
        input(line, tree.to_string().as_bytes(), r#"{"metadata":{"labels":{"a":"b"}}}"#)
    };
    match time_of(&body(fill_bytes() / FIRST_PART)) {
        Ok(took) if took < SUSPICIOUS && asked("KONTIKI_FUZZ_FILL").is_none() => None,
        Ok(_) => failure(&body(fill_bytes())),
        Err(why) => Some(why),
    }
}

/// A field, and what it is filled with.
struct Place {
    /// Field names from the root; `[]` and `{}` stand for an item of a list and a value of a map.
    path: Vec<String>,
    owner: String,
    schema: &'static Schema,
}

impl Place {
    fn name(&self) -> String {
        self.path.join(".")
    }

    /// The definition a field belongs to and its name.
    fn last_two(&self) -> (String, String) {
        (self.owner.clone(), self.path.last().cloned().unwrap_or_default())
    }

    fn fill(&self, tree: &mut Tree, bytes: usize) {
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
        *at = much(self.schema, bytes);
    }
}

/// All places of a schema.
fn collect(schema: &'static Schema, path: &mut Vec<String>, places: &mut Vec<Place>) {
    let Shape::Struct(inner) = &schema.shape else { return };
    if path.len() > DEPTH_MAX {
        return;
    }
    for field in &inner.fields {
        path.push(field.name.to_string());
        let mut add = || {
            places.push(Place { path: path.clone(), owner: schema.name.to_string(), schema: &field.child });
        };
        match &field.child.shape {
            Shape::List(list) => {
                add();
                descend(&list.item, "[]", path, places);
            }
            Shape::Map(map) => {
                add();
                descend(&map.value, "{}", path, places);
            }
            Shape::String | Shape::Quantity | Shape::IntOrString | Shape::Time | Shape::Bytes => add(),
            Shape::Any | Shape::Embedded => add(),
            _ => collect(&field.child, path, places),
        }
        path.pop();
    }
}

/// So many bytes of what belongs to a schema.
fn much(schema: &Schema, bytes: usize) -> Tree {
    match &schema.shape {
        Shape::List(list) => many(&list.item, bytes),
        Shape::Map(map) => {
            let entry = |at: usize| (format!("k{at}"), small(&map.value));
            let count = bytes / (small(&map.value).to_string().len() + 12);
            Tree::Object((0..count).map(entry).collect())
        }
        Shape::Any | Shape::Embedded => (0..1_000).fold(json!({}), |inner, _| json!({"f:a": inner})),
        _ => json!("a".repeat(bytes)),
    }
}

fn descend(child: &'static Child, step: &str, path: &mut Vec<String>, places: &mut Vec<Place>) {
    path.push(step.to_owned());
    collect(child, path, places);
    path.pop();
}

/// A list of as many items as fit, each other than the next.
fn many(item: &Schema, bytes: usize) -> Tree {
    let one = small(item);
    let count = bytes / (one.to_string().len() + 8);
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
