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
/// with every field set.
#[test]
fn upstream_vectors_decode_and_encode() {
    let Some(folder) = std::env::var_os("KUBERNETES_API_TESTDATA") else {
        println!("KUBERNETES_API_TESTDATA is not set: upstream's vectors are not read");
        return;
    };
    let mut wrong = Vec::new();
    for (group, version, kind) in VECTORS {
        let stem = format!("{}.{version}.{kind}", if group.is_empty() { "core" } else { group });
        let read = |end: &str| std::fs::read(std::path::Path::new(&folder).join(format!("{stem}.{end}")));
        let (Ok(wanted), Ok(bytes)) = (read("json"), read("pb")) else { continue };
        let wanted: crate::Tree = serde_json::from_slice(&wanted).expect("JSON");
        let definition =
            &crate::kind(group, version, kind).unwrap_or_else(|| panic!("{stem} is no known kind")).name;
        let envelope = unwrap(&bytes).expect("an envelope");
        let mut tree = decode(definition, envelope.raw).expect("a message");
        tree["kind"] = envelope.kind.into();
        tree["apiVersion"] = envelope.api_version.into();
        if tree != wanted {
            wrong.push(format!("{stem}: decoded otherwise"));
        }
        if encode(definition, &wanted).expect("a message") != envelope.raw {
            wrong.push(format!("{stem}: encoded otherwise"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const VECTORS: [(&str, &str, &str); 19] = [
    ("", "v1", "Pod"),
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
    ("", "v1", "Namespace"),
    ("", "v1", "Node"),
    ("", "v1", "Event"),
    ("", "v1", "Endpoints"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "PodTemplate"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ReplicaSet"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("events.k8s.io", "v1", "Event"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("authorization.k8s.io", "v1", "SubjectAccessReview"),
    ("authentication.k8s.io", "v1", "TokenReview"),
];
