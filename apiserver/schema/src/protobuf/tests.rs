//! Round trips, hostile bytes, and upstream's own vectors where they are at hand.

use serde_json::json;

use super::*;

fn there_and_back(definition: &str, tree: crate::Tree) {
    let bytes = encode(definition, &tree).expect("a known definition");
    let back = decode(definition, &bytes).expect("own bytes");
    for (field, value) in tree.as_object().expect("an object") {
        assert_eq!(back.get(field), Some(value), "{definition}.{field}");
    }
}

#[test]
fn every_odd_type_survives() {
    there_and_back(
        "io.k8s.api.core.v1.ConfigMap",
        json!({"data": {"a": "1", "": ""}, "binaryData": {"b": "AAEC"}, "immutable": true}),
    );
    there_and_back(
        "io.k8s.api.core.v1.ServicePort",
        json!({"port": -1, "targetPort": "http", "protocol": "TCP", "name": "", "nodePort": 0}),
    );
    there_and_back(
        "io.k8s.api.coordination.v1.LeaseSpec",
        json!({"renewTime": "2026-01-02T03:04:05.000006Z"}),
    );
    there_and_back(
        "io.k8s.api.core.v1.ResourceRequirements",
        json!({"limits": {"cpu": "500m", "memory": "1Gi"}}),
    );
    there_and_back(
        "io.k8s.api.authentication.v1.UserInfo",
        json!({"extra": {"scopes": ["a", "b"], "none": []}}),
    );
    there_and_back(
        "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
        json!({"fieldsV1": {"f:data": {".": {}}}, "time": "2026-01-02T03:04:05Z"}),
    );
}

#[test]
fn inlined_messages_stand_in_their_parent() {
    there_and_back(
        "io.k8s.api.core.v1.Volume",
        json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}),
    );
}

#[test]
fn parts_of_custom_schemas_are_one_of_two() {
    let props = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    for tree in [
        json!({"additionalProperties": true}),
        json!({"additionalProperties": false}),
        json!({"additionalProperties": {"type": "string"}}),
        json!({"items": {"type": "string"}}),
        json!({"items": [{"type": "string"}, {"type": "object"}]}),
        json!({"dependencies": {"a": ["b", "c"], "d": {"type": "string"}}}),
        json!({"default": {"a": [1, null]}, "enum": ["x", 1]}),
    ] {
        let bytes = encode(props, &tree).expect("a known definition");
        let mut back = decode(props, &bytes).expect("own bytes");
        // A schema that stands in another one is no less a message with its zeros.
        crate::decode::conform(crate::definition(props).expect("a definition"), &mut back).expect("its form");
        assert_eq!(back, tree);
    }
    // Go writes that a schema allows what it describes.
    let bytes = encode(props, &json!({"additionalItems": {}})).expect("a known definition");
    let wanted = [&[0x8a, 0x02][..], &[4, 0x08, 1, 0x12]].concat();
    let found =
        bytes.windows(wanted.len()).any(|window| window[..2] == wanted[..2] && window[3..] == wanted[3..]);
    assert!(found, "{bytes:x?}");
}

#[test]
fn a_time_that_was_never_set_is_an_entry_of_a_map() {
    let status = "io.k8s.api.policy.v1.PodDisruptionBudgetStatus";
    let bytes = encode(status, &json!({"disruptedPods": {"p": null}})).expect("a known definition");
    assert!(bytes.windows(7).any(|window| window == b"\x12\x05\x0a\x01p\x12\x00"), "{bytes:x?}");
    there_and_back(status, json!({"disruptedPods": {"p": null, "q": "2026-01-02T03:04:05Z"}}));
}

#[test]
fn hostile_bytes_are_refused() {
    let pod = "io.k8s.api.core.v1.Pod";
    for (bytes, wanted) in [
        (&b"\x0a"[..], ProtobufError::Truncated),
        (b"\x0a\x05ab", ProtobufError::Truncated),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ProtobufError::Malformed { message: "Pod" }),
        (b"\x00\x00", ProtobufError::Malformed { message: "Pod" }),
        (b"\x08\x01", ProtobufError::Malformed { message: "Pod" }),
        (b"\x0a\x03\x0a\x01\xff", ProtobufError::NotText { message: "ObjectMeta", field: "name" }),
    ] {
        assert_eq!(decode(pod, bytes).expect_err("hostile"), wanted, "{bytes:?}");
    }
    assert_eq!(unwrap(b"{}"), Err(ProtobufError::NoMagic));
    assert_eq!(
        decode("io.k8s.api.core.v1.Nope", b""),
        Err(ProtobufError::UnknownMessage("io.k8s.api.core.v1.Nope".into()))
    );
}

#[test]
fn an_envelope_says_what_is_inside() {
    let bytes = wrap("apps/v1", "Deployment", b"raw");
    let envelope = unwrap(&bytes).expect("own bytes");
    assert_eq!(
        (envelope.api_version.as_str(), envelope.kind.as_str(), envelope.raw),
        ("apps/v1", "Deployment", &b"raw"[..])
    );
}

/// `KUBERNETES_API_TESTDATA` names the folder of the published API module's test data, `GROUP.VERSION.KIND.{json,pb}`
/// with every field set: a vector for every kind of the tables, which becomes its JSON and the same bytes again.
#[test]
fn upstream_vectors_decode_and_encode() {
    let Some(folder) = std::env::var_os("KUBERNETES_API_TESTDATA") else {
        println!("KUBERNETES_API_TESTDATA is not set: upstream's vectors are not read");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let (mut wrong, mut read) = (Vec::new(), std::collections::BTreeSet::new());
    for entry in std::fs::read_dir(&folder).expect("the folder").flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let is_vector = path.extension().is_some_and(|end| end == "pb");
        if is_vector && let Some(found) = definition_of(&stem) {
            wrong.extend(vector_faults(&stem, found, &path));
            read.insert(found);
        }
    }
    for resource in k8s::tables::resources() {
        let found = k8s::tables::definition_of_kind(resource.group, resource.version, resource.kind);
        let definition = found.unwrap_or_else(|| panic!("{} has no definition", resource.kind));
        if !read.contains(definition) && !WITHOUT_VECTOR.contains(&resource.kind) {
            wrong.push(format!("{definition}: no vector was read"));
        }
    }
    println!("{} vectors", read.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Kinds of modules whose test data is published elsewhere.
const WITHOUT_VECTOR: [&str; 2] = ["APIService", "CustomResourceDefinition"];

/// The definition a vector is of: `apps.v1.Deployment`, `core.v1.Pod`, `core.v1.Status`.
fn definition_of(stem: &str) -> Option<&'static str> {
    let (head, kind) = stem.rsplit_once('.')?;
    let (group, version) = head.rsplit_once('.')?;
    let group = if group == "core" { "" } else { group };
    let meta = || k8s::tables::static_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"));
    k8s::tables::definition_of_kind(group, version, kind).or_else(meta)
}

fn vector_faults(stem: &str, definition: &str, pb: &std::path::Path) -> Vec<String> {
    let bytes = std::fs::read(pb).expect("a vector");
    let wanted = std::fs::read(pb.with_extension("json")).expect("its JSON");
    let wanted: crate::Tree = serde_json::from_slice(&wanted).expect("JSON");
    let envelope = unwrap(&bytes).expect("an envelope");
    let mut tree = match decode(definition, envelope.raw) {
        Ok(tree) => tree,
        Err(error) => return vec![format!("{stem}: {error}")],
    };
    for (field, value) in [("kind", envelope.kind), ("apiVersion", envelope.api_version)] {
        // A watch event has no type.
        if !value.is_empty() {
            tree[field] = value.into();
        }
    }
    let mut faults = Vec::new();
    if tree != wanted {
        faults.push(format!("{stem}: decoded otherwise: {}", first_difference(&tree, &wanted, "")));
    }
    if encode(definition, &wanted).expect("a message") != envelope.raw {
        faults.push(format!("{stem}: encoded otherwise"));
    }
    faults
}

fn first_difference(got: &crate::Tree, wanted: &crate::Tree, path: &str) -> String {
    if let (Some(a), Some(b)) = (got.as_object(), wanted.as_object()) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let differs = keys.into_iter().find(|key| a.get(*key) != b.get(*key));
        if let Some(key) = differs {
            let null = crate::Tree::Null;
            let (a, b) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
            return first_difference(a, b, &format!("{path}.{key}"));
        }
    }
    if let (Some(a), Some(b)) = (got.as_array(), wanted.as_array())
        && a.len() == b.len()
        && let Some(at) = (0..a.len()).find(|&at| a[at] != b[at])
    {
        return first_difference(&a[at], &b[at], &format!("{path}[{at}]"));
    }
    format!("{path} is {got}, not {wanted}")
}

/// Our own corpus: every kind of the tables with every field set to something, there and back.
#[test]
fn every_kind_survives_with_all_its_fields() {
    let mut wrong = Vec::new();
    for resource in k8s::tables::resources() {
        let schema = crate::kind(resource.group, resource.version, resource.kind).expect("a built-in kind");
        let filled = filled(schema, 0);
        let bytes = encode(&schema.name, &filled).expect("a message");
        let back = decode(&schema.name, &bytes).expect("our own bytes");
        let missing: Vec<String> = missing(&filled, &back, "");
        if !missing.is_empty() {
            wrong.push(format!("{}: {}", schema.name, missing.join(", ")));
        }
        if encode(&schema.name, &back).expect("a message") != bytes {
            wrong.push(format!("{}: encoded otherwise the second time", schema.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// JSON schemas contain themselves; six levels of them have every form in every place.
const FILL_DEPTH_MAX: usize = 14;

/// A value with every field set, type meta excepted, which is no part of a message.
fn filled(schema: &crate::Schema, depth: usize) -> crate::Tree {
    use crate::Shape;
    let is_object = matches!(&schema.shape, Shape::Struct(inner) if inner.fields.iter().any(|field| &*field.name == "metadata"));
    match &schema.shape {
        Shape::Struct(inner) => inner
            .fields
            .iter()
            .filter(|field| !(is_object && matches!(&*field.name, "kind" | "apiVersion")))
            .filter(|_| depth < FILL_DEPTH_MAX)
            .map(|field| (field.name.to_string(), filled(&field.child, depth + 1)))
            .collect::<crate::Object>()
            .into(),
        Shape::Map(map) => json!({"key": filled(&map.value, depth + 1)}),
        Shape::List(list) => json!([filled(&list.item, depth + 1)]),
        Shape::Boolean => json!(true),
        Shape::Integer { .. } => json!(7),
        Shape::Number => json!(1.5),
        Shape::Any => json!({"a": 1}),
        Shape::Embedded => json!({"kind": "K", "apiVersion": "g/v1"}),
        Shape::IntOrString => json!("50%"),
        Shape::Quantity => json!("1500m"),
        Shape::Time => json!("2026-01-02T03:04:05Z"),
        Shape::MicroTime => json!("2026-01-02T03:04:05.000006Z"),
        Shape::Bytes => json!("YQ=="),
        Shape::Either { other, .. } => filled(other, depth + 1),
        Shape::String => json!("text"),
    }
}

/// Places of `filled` that `back` does not have.
fn missing(filled: &crate::Tree, back: &crate::Tree, path: &str) -> Vec<String> {
    match (filled, back) {
        (crate::Tree::Object(a), crate::Tree::Object(b)) => a
            .iter()
            .flat_map(|(key, value)| {
                let path = format!("{path}.{key}");
                b.get(key).map_or_else(|| vec![path.clone()], |back| missing(value, back, &path))
            })
            .collect(),
        (crate::Tree::Array(a), crate::Tree::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).flat_map(|(a, b)| missing(a, b, &format!("{path}[]"))).collect()
        }
        _ if filled == back => Vec::new(),
        _ => vec![format!("{path}: {filled} became {back}")],
    }
}
