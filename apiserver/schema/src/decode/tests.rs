//! The recorded bodies and what upstream said to them.

use serde_json::json;

use super::*;

fn decoded(kind: (&str, &str), syntax: Syntax, body: &str) -> Result<Decoded, DecodeError> {
    typed(crate::kind(kind.0, "v1", kind.1).expect("a built-in kind"), syntax, body.as_bytes())
}

/// What is wrong with a JSON body: the error, or the strict complaints, or nothing.
fn check(kind: (&str, &str), body: &str, expected: &str) {
    let got = decoded(kind, Syntax::Json, body)
        .map_or_else(|error| error.to_string(), |decoded| decoded.strict.join(", "));
    assert_eq!(got, expected, "{body}");
}

const MAP: (&str, &str) = ("", "ConfigMap");
const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");
const POD: (&str, &str) = ("", "Pod");
const SERVICE: (&str, &str) = ("", "Service");

#[test]
fn syntax_errors_are_go_s() {
    check(MAP, "", "unexpected end of JSON input");
    check(
        MAP,
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x""#,
        "unexpected end of JSON input",
    );
    check(MAP, "hello there", "invalid character 'h' looking for beginning of value");
    check(
        MAP,
        r#"{"metadata":{"name":"x",}}"#,
        "invalid character '}' looking for beginning of object key string",
    );
    check(
        MAP,
        "{'metadata':{'name':'x'}}",
        "invalid character '\\'' looking for beginning of object key string",
    );
    check(MAP, r#"{"metadata":{"name":"x"}} xyz"#, "invalid character 'x' after top-level value");
    check(MAP, r#"{"metadata":{"name":"x"}}{"metadata":{}}"#, "invalid character '{' after top-level value");
    check(MAP, "\u{feff}{}", "invalid character 'ï' looking for beginning of value");
    check(MAP, r#"{"generation":NaN}"#, "invalid character 'N' looking for beginning of value");
    check(MAP, &format!("{{\"q\":{}", "[".repeat(10_001)), "invalid character '[' exceeded max depth");
    check(MAP, "{\"data\":{\"k\":\"a\u{1}b\"}}", "invalid character '\\x01' in string literal");
    check(MAP, r#"{"data":{"k":"\x"}}"#, "invalid character 'x' in string escape code");
    check(MAP, r#"{"data":{"k":"\u00g0"}}"#, "invalid character 'g' in \\u hexadecimal character escape");
    check(MAP, r#"{"immutable":trux}"#, "invalid character 'x' in literal true (expecting 'e')");
    check(MAP, r#"{"data" 1}"#, "invalid character '1' after object key");
    check(MAP, r#"{"data":{} "x"}"#, "invalid character '\"' after object key:value pair");
    check(MAP, r#"[1 2]"#, "invalid character '2' after array element");
    check(MAP, r#"{"a":-x}"#, "invalid character 'x' in numeric literal");
    check(MAP, r#"{"a":1.x}"#, "invalid character 'x' after decimal point in numeric literal");
    check(MAP, r#"{"a":1ex}"#, "invalid character 'x' in exponent of numeric literal");
    check(MAP, r#"{"a":01}"#, "invalid character '1' after object key:value pair");
}

#[test]
fn type_errors_are_go_s() {
    check(
        MAP,
        r#"{"data":"abc"}"#,
        "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
    );
    check(
        MAP,
        r#"{"data":{"k":5}}"#,
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    );
    check(
        MAP,
        r#"{"data":{"k":{}}}"#,
        "json: cannot unmarshal object into Go struct field ConfigMap.data of type string",
    );
    check(
        MAP,
        r#"{"metadata":"x"}"#,
        "json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
    );
    check(
        MAP,
        r#"{"metadata":{"name":5}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
    );
    check(
        MAP,
        r#"{"metadata":{"labels":{"a":1}}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    );
    check(
        MAP,
        r#"{"metadata":{"labels":["a"]}}"#,
        "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
    );
    check(
        MAP,
        r#"{"metadata":{"finalizers":"f"}}"#,
        "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.finalizers of type []string",
    );
    check(
        MAP,
        r#"{"metadata":{"ownerReferences":{}}}"#,
        "json: cannot unmarshal object into Go struct field ObjectMeta.metadata.ownerReferences of type []v1.OwnerReference",
    );
    check(
        MAP,
        r#"{"metadata":{"ownerReferences":[{"controller":"yes"}]}}"#,
        "json: cannot unmarshal string into Go struct field OwnerReference.metadata.ownerReferences.controller of type bool",
    );
    check(
        MAP,
        r#"{"immutable":"true"}"#,
        "json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool",
    );
    check(
        MAP,
        r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
        "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
    );
    check(
        MAP,
        r#"{"metadata":{"deletionTimestamp":5}}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.deletionTimestamp of type string",
    );
    check(MAP, r#"{"binaryData":{"k":"@@"}}"#, "illegal base64 data at input byte 0");
    check(MAP, r#"{"metadata":{"managedFields":[{"fieldsV1":"x"}]}}"#, "");
}

#[test]
fn type_errors_deep_inside_name_the_innermost_struct() {
    check(
        DEPLOYMENT,
        r#"{"spec":{"replicas":"3"}}"#,
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    for number in ["1.5", "2147483648", "99999999999999999999", "1e2", "1.0"] {
        let text = format!(
            "json: cannot unmarshal number {number} into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        check(DEPLOYMENT, &format!("{{\"spec\":{{\"replicas\":{number}}}}}"), &text);
    }
    check(
        DEPLOYMENT,
        r#"{"spec":{"replicas":true}}"#,
        "json: cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32",
    );
    check(
        DEPLOYMENT,
        r#"{"spec":{"template":{"spec":{"containers":[{},{"ports":[{"containerPort":"80"}]}]}}}}"#,
        "json: cannot unmarshal string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
    );
    check(
        POD,
        r#"{"spec":{"containers":{}}}"#,
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    );
    check(
        POD,
        r#"{"spec":{"containers":[{"env":[{"value":5}]}]}}"#,
        "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
    );
    let quantity =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    check(POD, r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1.5.5"}}}]}}"#, quantity);
    check(POD, r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":true}}}]}}"#, quantity);
    check(
        SERVICE,
        r#"{"spec":{"ports":[{"targetPort":true}]}}"#,
        "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
    );
    check(
        SERVICE,
        r#"{"spec":{"ports":[{"targetPort":5000000000}]}}"#,
        "json: cannot unmarshal number 5000000000 into Go struct field ServicePort.spec.ports.targetPort of type int32",
    );
    check(
        SERVICE,
        r#"{"spec":{"ports":[{"protocol":1}]}}"#,
        "json: cannot unmarshal number into Go struct field ServicePort.spec.ports.protocol of type v1.Protocol",
    );
    check(
        ("coordination.k8s.io", "Lease"),
        r#"{"spec":{"renewTime":"2024-13-01T00:00:00Z"}}"#,
        "parsing time \"2024-13-01T00:00:00Z\": month out of range",
    );
}

#[test]
fn the_first_error_in_the_text_counts_unless_a_later_one_stops_the_decoder() {
    check(
        MAP,
        r#"{"metadata":{"name":5},"data":5}"#,
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
    );
    check(
        MAP,
        r#"{"metadata":{"name":5,"creationTimestamp":"x"}}"#,
        "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"",
    );
}

#[test]
fn strict_complaints_stand_in_document_order() {
    check(MAP, r#"{"Metadata":{"Name":"x"}}"#, r#"unknown field "Metadata""#);
    check(
        MAP,
        r#"{"metadata":{"name":"x","foo":1,"labels":{"a":"1","a":"2"}},"data":{"k":"1","k":"2"},"Data":{},"bar":{"baz":1,"baz":2}}"#,
        r#"unknown field "metadata.foo", duplicate field "metadata.labels.a", duplicate field "data.k", unknown field "Data", unknown field "bar""#,
    );
    check(
        DEPLOYMENT,
        r#"{"spec":{"selector":{},"template":{"metadata":{"creationTimestamp":null,"xx":1},"spec":{"containers":[{"name":"c","image":"i","foo":1,"image":"j"},{"ports":[{"containerPort":1,"bar":2}]}]}}},"status":{"what":1}}"#,
        r#"unknown field "spec.template.metadata.xx", unknown field "spec.template.spec.containers[0].foo", duplicate field "spec.template.spec.containers[0].image", unknown field "spec.template.spec.containers[1].ports[0].bar", unknown field "status.what""#,
    );
}

#[test]
fn yaml_is_decoded_as_upstream_does() {
    let check = |body: &str, expected: &str| {
        let got = decoded(MAP, Syntax::Yaml, body)
            .map_or_else(|error| error.to_string(), |decoded| decoded.strict.join(", "));
        assert_eq!(got, expected, "{body}");
    };
    check(
        "metadata: {name: y}",
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.name of type string",
    );
    check(
        "metadata:\n  name: yam\ndata:\n  k: 1\n  b: yes\n",
        "json: cannot unmarshal bool into Go struct field ConfigMap.data of type string",
    );
    check(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  k: \"1\"\n  k: \"2\"\n",
        "yaml: unmarshal errors:\n  line 7: key \"k\" already set in map",
    );
    check("data:\n  k: \"1\"\nfoo: 1\n", "unknown field \"foo\"");
    check("", "");
}

#[test]
fn the_tree_is_what_go_would_print() {
    let check = |kind: (&str, &str), body: Tree, expected: Tree| {
        let mut tree = body.clone();
        conform(crate::kind(kind.0, "v1", kind.1).expect("a built-in kind"), &mut tree).expect("of the kind");
        assert_eq!(tree, expected, "{body}");
    };
    check(
        MAP,
        json!({"data": {}, "immutable": null, "metadata": {"labels": null, "name": ""}}),
        json!({"metadata": {}}),
    );
    check(MAP, json!({"data": {"c": null}}), json!({"data": {"c": ""}, "metadata": {}}));
    check(
        POD,
        json!({"spec": {"containers": [{"name": "a", "tty": false, "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}], "hostNetwork": false}}),
        json!({"metadata": {}, "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}, "status": {}}),
    );
    check(
        SERVICE,
        json!({"spec": {"ports": [{"port": 80}]}}),
        json!({"metadata": {}, "spec": {"ports": [{"port": 80, "targetPort": 0}]}, "status": {"loadBalancer": {}}}),
    );
    check(
        ("rbac.authorization.k8s.io", "Role"),
        json!({"metadata": {"name": "r"}}),
        json!({"metadata": {"name": "r"}, "rules": null}),
    );
    check(
        DEPLOYMENT,
        json!({"spec": {"replicas": 0}}),
        json!({"metadata": {}, "spec": {"replicas": 0, "selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}}),
    );
    check(("", "Secret"), json!({"data": {"a": "Y\nQ=="}}), json!({"data": {"a": "YQ=="}, "metadata": {}}));
    check(
        ("coordination.k8s.io", "Lease"),
        json!({"spec": {"renewTime": "2025-01-31T12:00:00.000000+01:00", "leaseDurationSeconds": 0}, "metadata": {"creationTimestamp": "2025-01-31T12:00:00.5Z"}}),
        json!({"spec": {"renewTime": "2025-01-31T11:00:00.000000Z", "leaseDurationSeconds": 0}, "metadata": {"creationTimestamp": "2025-01-31T12:00:00Z"}}),
    );
}

#[test]
fn kind_and_version_are_read_before_the_rest() {
    let check = |body: Tree, expected: &str| {
        let got = type_meta(&body)
            .map_or_else(|error| error.to_string(), |(version, kind)| format!("{version} {kind}"));
        assert_eq!(got, expected, "{body}");
    };
    check(json!({"apiVersion": "v1", "kind": "Pod"}), "v1 Pod");
    check(json!({"kind": null}), " ");
    check(json!({"kind": 5}), "json: cannot unmarshal number into Go struct field .kind of type string");
    check(
        json!({"apiVersion": ["v1"]}),
        "json: cannot unmarshal array into Go struct field .apiVersion of type string",
    );
    check(
        json!([]),
        "json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
    );
}

#[test]
fn strings_are_repaired_as_go_repairs_them() {
    let check = |body: &[u8], expected: &str| {
        assert_eq!(json(body).map(|(tree, _)| tree), Ok(Tree::from(expected)), "{body:?}")
    };
    check(br#""a\u00e9\n\/""#, "a\u{e9}\n/");
    check(br#""\ud83d\ude00""#, "\u{1f600}");
    check(br#""\ud83dx""#, "\u{fffd}x");
    check(br#""\ude00""#, "\u{fffd}");
    check(b"\"\xff\xfe\"", "\u{fffd}\u{fffd}");
}

/// Every kind's published example, with all fields set, is already what Go prints. The examples are not ours to copy: the
/// variable names the folder where they are present, and without it there is nothing to compare.
#[test]
fn examples_of_every_kind_come_back_unchanged() {
    let Some(folder) = std::env::var_os("KUBERNETES_API_TESTDATA") else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        // Beside the examples stand some of what older versions make of them.
        let name = path.to_string_lossy().into_owned();
        if !name.ends_with(".json") || name.contains("after_roundtrip") {
            continue;
        }
        let tree: Tree = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
        let (version, kind) = type_meta(&tree).expect("has a kind");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let Some(schema) = crate::kind(group, version, kind) else { continue };
        let mut again = tree.clone();
        let unknown = conform(schema, &mut again).expect("of the kind");
        assert_eq!(unknown, Vec::<String>::new(), "{}", path.display());
        assert_eq!(again, tree, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 50, "{seen} examples");
}

/// `serde_json` without `float_roundtrip` reads this number as its neighbour, so that what was stored came back as another
/// double than the one that was sent.
#[test]
fn a_double_of_17_digits_comes_back_from_json_and_protobuf() {
    let (text, double) = ("233270368542233270368549551", 233_270_368_542_233_270_368_549_551_f64);
    let (tree, _) = json(text.as_bytes()).expect("a number");
    assert_eq!(tree.as_f64(), Some(double), "as the request decoder reads it");
    let stored = serde_json::to_vec(&tree).expect("a number");
    let read: crate::Tree = serde_json::from_slice(&stored).expect("our own JSON");
    assert_eq!(read.as_f64(), Some(double), "as trees are read from the store");

    let props = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let bytes = crate::protobuf::encode(props, &json!({"maximum": read})).expect("a known definition");
    let back = crate::protobuf::decode(props, &bytes).expect("our own bytes");
    assert_eq!(back["maximum"].as_f64(), Some(double));
}
