//! The recorded strategic merge patches of a PodTemplate, a Service and a Deployment, on smaller objects.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn template() -> Tree {
    json!({
        "metadata": {"finalizers": ["a", "b"]},
        "template": {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {
            "containers": [
                {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}, {"containerPort": 443, "protocol": "TCP"}],
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x", "y"]},
                {"name": "b", "image": "b:1"}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "x"}}],
            "nodeSelector": {"n1": "1", "n2": "2"},
            "tolerations": [{"key": "k1", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "s1"}, {"name": "s2"}],
        }},
    })
}

/// Patches the template and compares what stands at `pointer`; errors are compared as text.
fn check(patch: Tree, pointer: &str, expected: Tree) {
    let schema = crate::kind("", "v1", "PodTemplate").expect("a built-in kind");
    let got = match strategic(schema, &template(), &patch) {
        Ok(patched) => patched.pointer(pointer).cloned().unwrap_or(Tree::Null),
        Err(error) => Tree::String(error.to_string()),
    };
    assert_eq!(got, expected, "{patch}");
}

fn spec(patch: Tree) -> Tree {
    json!({"template": {"spec": patch}})
}

fn of_a(patch: Tree) -> Tree {
    let mut container = patch;
    container["name"] = json!("a");
    spec(json!({"containers": [container]}))
}

const NAMES: &str = "/template/spec/containers";

fn names(patch: Tree, expected: &str) {
    let schema = crate::kind("", "v1", "PodTemplate").expect("a built-in kind");
    let patched = strategic(schema, &template(), &patch).expect("the patch applies");
    let containers = patched.pointer(NAMES).and_then(Tree::as_array).expect("a list");
    let names: Vec<String> = containers
        .iter()
        .map(|c| format!("{}={}", c["name"].as_str().unwrap_or(""), c["image"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(names.join(" "), expected, "{patch}");
}

#[test]
fn lists_merge_by_key_and_new_items_come_first() {
    names(spec(json!({"containers": [{"name": "a", "image": "a:2"}]})), "a=a:2 b=b:1");
    names(spec(json!({"containers": [{"name": "c", "image": "c:1"}]})), "c=c:1 a=a:1 b=b:1");
    names(spec(json!({"containers": [{"name": "b", "$patch": "delete"}]})), "a=a:1");
    names(spec(json!({"containers": [{"name": "zz", "$patch": "delete"}]})), "a=a:1 b=b:1");
    names(spec(json!({"containers": [{"$patch": "replace"}, {"name": "z", "image": "z:1"}]})), "z=z:1");
    names(spec(json!({"containers": [{"name": "a", "$patch": "replace", "image": "a:3"}]})), "");
    let ports = json!([{"containerPort": 80, "name": "web", "protocol": "TCP"}, {"containerPort": 81}, {"containerPort": 443, "protocol": "TCP"}]);
    check(
        of_a(json!({"ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]})),
        "/template/spec/containers/0/ports",
        ports,
    );
    let env = json!([{"name": "A", "value": "9"}, {"name": "C", "value": "3"}]);
    check(
        of_a(
            json!({"env": [{"name": "A", "value": "9"}, {"name": "C", "value": "3"}, {"name": "B", "$patch": "delete"}]}),
        ),
        "/template/spec/containers/0/env",
        env,
    );
    check(
        spec(json!({"imagePullSecrets": [{"name": "s3"}, {"name": "s1", "$patch": "delete"}]})),
        "/template/spec/imagePullSecrets",
        json!([{"name": "s3"}, {"name": "s2"}]),
    );
}

#[test]
fn other_lists_are_replaced_and_scalars_form_a_set() {
    check(of_a(json!({"args": ["z"]})), "/template/spec/containers/0/args", json!(["z"]));
    check(
        of_a(json!({"$deleteFromPrimitiveList/args": ["x"]})),
        "/template/spec/containers/0/args",
        json!(["y"]),
    );
    check(
        spec(json!({"tolerations": [{"key": "k3"}]})),
        "/template/spec/tolerations",
        json!([{"key": "k3"}]),
    );
    check(json!({"metadata": {"finalizers": ["c", "a"]}}), "/metadata/finalizers", json!(["c", "a", "b"]));
    check(
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "zz"]}}),
        "/metadata/finalizers",
        json!(["b"]),
    );
    check(
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}),
        "/metadata/finalizers",
        json!(["a", "b"]),
    );
    check(
        json!({"metadata": {"$setElementOrder/finalizers": ["b", "c", "a"], "finalizers": ["c"]}}),
        "/metadata/finalizers",
        json!(["b", "c", "a"]),
    );
}

#[test]
fn maps_merge_and_nulls_remove() {
    check(
        spec(json!({"nodeSelector": {"$patch": "replace", "n3": "3"}})),
        "/template/spec/nodeSelector",
        json!({"n3": "3"}),
    );
    check(spec(json!({"nodeSelector": {"$patch": "delete"}})), "/template/spec/nodeSelector", json!({}));
    check(
        spec(json!({"tolerations": null, "nodeSelector": {"n1": null}})),
        "/template/spec/nodeSelector",
        json!({"n2": "2"}),
    );
    check(
        json!({"template": {"metadata": {"labels": {"a": null, "c": "3"}}}}),
        "/template/metadata/labels",
        json!({"b": "2", "c": "3"}),
    );
    check(json!({"$patch": "delete"}), "", json!({}));
    check(json!({"$patch": "replace", "metadata": {"name": "t"}}), "", json!({"metadata": {"name": "t"}}));
}

#[test]
fn element_order_is_kept_and_checked() {
    names(
        spec(
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "b:2"}]}),
        ),
        "b=b:2 a=a:1",
    );
    names(
        spec(
            json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "n"}, {"name": "b"}], "containers": [{"name": "n", "image": "n:1"}]}),
        ),
        "a=a:1 n=n:1 b=b:1",
    );
    names(spec(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]})), "b=b:1 a=a:1");
    names(
        spec(
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "b", "image": "b:2"}]}),
        ),
        "a=a:1 b=b:2",
    );
    let patch = spec(
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b", "image": "b:2"}]}),
    );
    check(
        patch,
        "",
        json!(
            "The order in patch list:\n[map[image:b:2 name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n"
        ),
    );
}

#[test]
fn retained_keys_are_all_that_stays() {
    let volumes =
        json!([{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "configMap": {"name": "x"}}]);
    check(
        spec(
            json!({"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}),
        ),
        "/template/spec/volumes",
        volumes,
    );
    let malformed = json!("invalid patch format of retainKeys");
    check(
        spec(json!({"volumes": [{"$retainKeys": ["name"], "name": "v", "hostPath": {"path": "/x"}}]})),
        "",
        malformed.clone(),
    );
    check(spec(json!({"volumes": [{"$retainKeys": "name", "name": "v"}]})), "", malformed);
}

#[test]
fn what_cannot_be_done_is_said_in_upstream_s_words() {
    check(
        spec(json!({"nodeSelector": {"$patch": "merge", "n3": "3"}})),
        "",
        json!("unknown patch type: merge in map: map[$patch:merge n3:3]"),
    );
    check(
        spec(json!({"nodeSelector": {"$patch": "explode"}})),
        "",
        json!("unknown patch type: explode in map: map[$patch:explode]"),
    );
    check(
        spec(json!({"containers": [{"image": "x"}]})),
        "",
        json!("map: map[image:x] does not contain declared merge key: name"),
    );
    check(
        spec(json!({"imagePullSecrets": [null]})),
        "",
        json!("list element types are not identical: [[map[name:s1] map[name:s2]] [<nil>]]"),
    );
}

#[test]
fn a_service_s_ports_merge_by_port_alone() {
    let schema = crate::kind("", "v1", "Service").expect("a built-in kind");
    let service = json!({"spec": {"ports": [{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}]}});
    let patched =
        strategic(schema, &service, &json!({"spec": {"ports": [{"port": 53, "targetPort": 5353}]}}))
            .expect("applies");
    assert_eq!(
        patched["spec"]["ports"][0],
        json!({"name": "a", "port": 53, "protocol": "UDP", "targetPort": 5353})
    );
    let patched =
        strategic(schema, &service, &json!({"spec": {"ports": [{"port": 53, "$patch": "delete"}]}}))
            .expect("applies");
    assert_eq!(patched["spec"]["ports"], json!([]));
}

#[test]
fn results_that_do_not_fit_are_refused_in_the_converter_s_words() {
    let schema = crate::kind("", "v1", "PodTemplate").expect("a built-in kind");
    let check = |patch: Tree, expected: &str| {
        let mut patched = strategic(schema, &template(), &patch).expect("the patch applies");
        assert_eq!(
            super::super::restore(schema, &mut patched).map_err(|error| error.to_string()),
            Err(expected.to_owned()),
            "{patch}"
        );
    };
    check(spec(json!({"containers": {"a": 1}})), "cannot restore slice from map");
    check(json!({"template": "x"}), "cannot restore struct from: string");
    check(of_a(json!({"image": 5})), "cannot convert int64 to string");
    check(of_a(json!({"image": true})), "unrecognized type: string");
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Tree::from),
        any::<i32>().prop_map(Tree::from),
        "[a-c]{0,2}".prop_map(Tree::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Tree::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Tree::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// An empty patch changes nothing, and a merge patch applied twice is applied once.
    #[test]
    fn patches_are_idempotent(tree in any_tree(), patch in any_tree()) {
        let object = json!({ "x": tree });
        let patch = json!({ "x": patch });
        prop_assert_eq!(super::super::merge(&object, &json!({})), Ok(object.clone()));
        prop_assert_eq!(super::super::json(&object, &json!([])), Ok(object.clone()));
        let once = super::super::merge(&object, &patch).expect("an object");
        prop_assert_eq!(super::super::merge(&once, &patch), Ok(once));
    }
}
