//! Bodies: JSON, YAML and protobuf to objects of every kind served, through defaults and validation.

use schema::decode::{self, Syntax};
use schema::protobuf::{self, Encoder};
use schema::quantity::Quantity;
use schema::{Tree, default, time};
use serde_json::json;

use crate::document::{Kind, two};

/// What Go and `serde_json` both read without a doubt.
const PLAIN_DEPTH: usize = 100;

/// Any JSON. What `serde_json` reads is read, and as the same; what is read survives being written.
pub fn json(data: &[u8]) {
    let ours = decode::json(data);
    let theirs = serde_json::from_slice::<Tree>(data);
    if let Ok((tree, _)) = &ours {
        let again = decode::json(&bytes(tree)).expect("what was written is read");
        assert_eq!(again, (tree.clone(), Vec::new()));
    }
    match (&ours, &theirs) {
        (Ok((ours, _)), Ok(theirs)) => assert!(same_but_numbers(ours, theirs), "{ours} and {theirs}"),
        (Err(error), Ok(theirs)) => panic!("{error}, but it is {theirs}"),
        // Half a surrogate pair and broken UTF-8 are replaced in Go; a number beyond a double is the largest one here.
        (Ok((ours, _)), Err(error)) if depth(ours) < PLAIN_DEPTH => {
            let text = String::from_utf8_lossy(data);
            let is_doubtful = text.contains("\\u")
                || text.contains('\u{fffd}')
                || error.to_string().starts_with("number out of range");
            assert!(is_doubtful, "{error}, but it was read as {ours}");
        }
        _ => {}
    }
}

/// Any YAML. What is read survives being written, as JSON and as YAML.
pub fn yaml(data: &[u8]) {
    let Ok((tree, _)) = decode::yaml(data) else { return };
    let as_json = decode::json(&bytes(&tree)).expect("what was written is read");
    assert_eq!(as_json.0, tree, "through JSON");
    survives_yaml(&tree);
}

fn survives_yaml(tree: &Tree) {
    let text = apiserver::untrusted::yaml_of(tree);
    let (again, complaints) = match decode::yaml(text.as_bytes()) {
        Ok(again) => again,
        Err(error) => panic!("{error} in what was written for {tree}:\n{text}"),
    };
    assert_eq!((&again, complaints.len()), (tree, 0), "through YAML:\n{text}");
}

/// A JSON body of any kind.
pub fn body_json(data: &[u8]) {
    let (kind, body) = Kind::of(data);
    body_of(kind, Syntax::Json, body);
}

/// A YAML body of any kind.
pub fn body_yaml(data: &[u8]) {
    let (kind, body) = Kind::of(data);
    body_of(kind, Syntax::Yaml, body);
}

fn body_of(kind: Kind, syntax: Syntax, body: &[u8]) {
    let Some(tree) = conformed(kind, syntax, body) else { return };
    is_conformed(kind, &tree);
    survives_protobuf(kind, &tree);
    survives_yaml(&tree);
    let tree = defaulted(kind, tree);
    create(kind, tree);
}

/// Replaces a valid object by any other.
pub fn update(data: &[u8]) {
    let (kind, body) = Kind::of(data);
    let (old, new) = two(body);
    let Some(old) = object(kind, old).and_then(|old| create(kind, old)) else { return };
    unchanged(kind, &old);
    if let Some(mut new) = object(kind, new) {
        kinds::write::prepare_update(kind.strategy, kinds::Subresource::None, &mut new, &old);
        let errors = kinds::write::validate_update(kind.strategy, kinds::Subresource::None, &new, &old);
        kind.strategy.warnings(&new, Some(&old));
        if errors.is_empty() {
            unchanged(kind, &new);
        }
    }
}

/// An object may always be replaced by itself.
fn unchanged(kind: Kind, tree: &Tree) {
    let mut new = tree.clone();
    kinds::write::prepare_update(kind.strategy, kinds::Subresource::None, &mut new, tree);
    assert_eq!(&new, tree, "an update that changes nothing");
    let errors = kinds::write::validate_update(kind.strategy, kinds::Subresource::None, &new, tree);
    // An object that nobody stores has no successor, and a name must have a resourceVersion behind it.
    let other = errors.iter().find(|error| error.field != "metadata.resourceVersion");
    assert!(other.is_none() || !kind.strategy.resource().is_stored(), "{errors:?} for {tree}");
}

/// A body as far as it is an object of the kind, with its defaults.
pub(crate) fn object(kind: Kind, body: &[u8]) -> Option<Tree> {
    conformed(kind, Syntax::Json, body).map(|tree| defaulted(kind, tree))
}

pub(crate) fn conformed(kind: Kind, syntax: Syntax, body: &[u8]) -> Option<Tree> {
    let mut tree = decode::typed(kind.schema, syntax, body).ok()?.tree;
    if tree.is_null() {
        tree = decode::zero(kind.schema);
    }
    let (version, name) = decode::type_meta(&tree).ok()?;
    let resource = kind.strategy.resource();
    let is_other = |have: &str, want: &str| !have.is_empty() && have != want;
    if is_other(version, &resource.api_version()) || is_other(name, &resource.kind) {
        return None;
    }
    tree["apiVersion"] = json!(resource.api_version());
    tree["kind"] = json!(resource.kind);
    Some(tree)
}

fn defaulted(kind: Kind, mut tree: Tree) -> Tree {
    default::apply(kind.schema, &mut tree);
    kind.strategy.default(&mut tree);
    is_conformed(kind, &tree);
    let mut twice = tree.clone();
    default::apply(kind.schema, &mut twice);
    kind.strategy.default(&mut twice);
    assert_eq!(twice, tree, "defaults of defaults");
    tree
}

/// A conformed tree is written and read as itself, and nobody complains.
fn is_conformed(kind: Kind, tree: &Tree) {
    let again = decode::typed(kind.schema, Syntax::Json, &bytes(tree)).expect("what was written is read");
    assert_eq!(again.tree, *tree);
    assert_eq!(again.strict, Vec::<String>::new());
}

/// Creates the object as far as a strategy decides; the object, if it is valid.
pub(crate) fn create(kind: Kind, mut tree: Tree) -> Option<Tree> {
    let strategy = kind.strategy;
    if strategy.bad_request(&tree).is_some() {
        return None;
    }
    kinds::write::prepare_create(strategy, &mut tree);
    let errors = kinds::write::validate_create(strategy, &tree);
    strategy.warnings(&tree, None);
    if !errors.is_empty() {
        return None;
    }
    let stored = strategy.to_stored(tree.clone());
    strategy.attributes(&stored);
    let row = strategy.row(&stored, jiff::Timestamp::UNIX_EPOCH);
    if strategy.resource().is_stored() {
        // Upstream forgot to declare the age of an IPAddress.
        let undeclared = usize::from(strategy.resource().kind == "IPAddress");
        assert_eq!(row.len(), strategy.columns().len() + undeclared, "cells of {tree}");
    }
    strategy.row_conditions(&stored);
    Some(tree)
}

/// A message of any kind. What is read survives being written, and both encoders agree.
pub fn protobuf(data: &[u8]) {
    let (kind, message) = Kind::of(data);
    if let Ok(envelope) = protobuf::unwrap(message) {
        let again = protobuf::wrap(&envelope.api_version, &envelope.kind, envelope.raw);
        assert_eq!(protobuf::unwrap(&again).expect("own envelope").raw, envelope.raw);
    }
    let Ok(tree) = protobuf::decode(&kind.schema.name, message) else { return };
    let written = encoded(kind, &tree);
    let again = protobuf::decode(&kind.schema.name, &written).expect("own message");
    assert_eq!(encoded(kind, &again), written, "{tree} and {again}");
    let mut form = tree;
    if decode::conform(kind.schema, &mut form).is_ok() {
        is_conformed(kind, &form);
        survives_protobuf(kind, &form);
    }
}

fn survives_protobuf(kind: Kind, tree: &Tree) {
    let mut again = protobuf::decode(&kind.schema.name, &encoded(kind, tree)).expect("own message");
    for name in ["apiVersion", "kind"] {
        if let Some(value) = tree.get(name) {
            again[name] = value.clone();
        }
    }
    decode::conform(kind.schema, &mut again).expect("what fits before fits after");
    assert!(same_in_protobuf(&again, tree), "{tree}\nbecomes in protobuf\n{again}");
}

/// A message has no empty lists and maps: where they are always printed, they come back as null.
fn same_in_protobuf(a: &Tree, b: &Tree) -> bool {
    let is_nothing = |tree: &Tree| tree.is_null() || tree.as_array().is_some_and(Vec::is_empty);
    let is_empty = |tree: &Tree| tree.as_object().is_some_and(schema::Object::is_empty);
    match (a, b) {
        (Tree::Object(a), Tree::Object(b)) => {
            let same = |key: &String| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => same_in_protobuf(a, b),
                // An empty struct that a pointer leads to is something else than none.
                (one, other) => one.or(other).is_none_or(is_nothing),
            };
            a.keys().chain(b.keys()).all(same)
        }
        (Tree::Array(a), Tree::Array(b)) if !a.is_empty() => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_in_protobuf(a, b))
        }
        (Tree::Null, other) | (other, Tree::Null) => is_nothing(other) || is_empty(other),
        _ => a == b || (is_nothing(a) && is_nothing(b)),
    }
}

/// The message of a tree, which is the message of its text.
fn encoded(kind: Kind, tree: &Tree) -> Vec<u8> {
    let from_tree = protobuf::encode(&kind.schema.name, tree).expect("a known definition");
    let mut from_text = Vec::new();
    let encoder = Encoder::of(&kind.schema.name).expect("a known definition");
    encoder.encode(&bytes(tree), &mut from_text).expect("JSON");
    assert_eq!(from_text, from_tree, "text and tree of {tree}");
    from_tree
}

/// Quantities and times.
pub fn scalars(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(quantity) = Quantity::parse(&text) {
        let written = quantity.to_string();
        let again = Quantity::parse(&written).expect("a quantity that was written");
        assert_eq!(again.to_string(), written, "from {text}");
        assert_eq!((again.value(), again.sign()), (quantity.value(), quantity.sign()), "{text} as {written}");
        assert_eq!(quantity.plus(&quantity).sign(), quantity.sign());
    }
    for micro in [false, true] {
        if let Ok(at) = time::parse(&text, micro) {
            let written = if micro { time::format_micro(at) } else { time::format(at) };
            let again = time::parse(&written, micro).expect("a time that was written");
            let twice = if micro { time::format_micro(again) } else { time::format(again) };
            assert_eq!(twice, written, "from {text}");
        }
    }
}

pub(crate) fn bytes(tree: &Tree) -> Vec<u8> {
    serde_json::to_vec(tree).expect("trees encode into memory")
}

fn depth(tree: &Tree) -> usize {
    match tree {
        Tree::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Tree::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn same_but_numbers(a: &Tree, b: &Tree) -> bool {
    match (a, b) {
        (Tree::Number(a), Tree::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Tree::Array(a), Tree::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_but_numbers(a, b))
        }
        (Tree::Object(a), Tree::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && same_but_numbers(a, b))
        }
        _ => a == b,
    }
}
