//! Applies and plain writes in turn, and who owns what afterwards.

use proptest::prelude::*;
use serde_json::json;

use super::super::{Write, update_managers};
use super::*;

/// An object that several managers write.
struct Story {
    group: &'static str,
    kind: &'static str,
    live: Option<Tree>,
    clock: u32,
}

impl Story {
    fn new(group: &'static str, kind: &'static str) -> Self {
        Self { group, kind, live: None, clock: 0 }
    }

    fn schema(&self) -> &'static Schema {
        crate::kind(self.group, "v1", self.kind).expect("a built-in kind")
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    fn tick(&mut self) -> String {
        self.clock += 1;
        format!("2025-01-01T00:00:{:02}Z", self.clock)
    }

    fn try_apply(&mut self, manager: &str, force: bool, config: Tree) -> Result<bool, ApplyError> {
        let time = self.tick();
        let reset = Set::of_fields(&[&["status"]]);
        let mut config = config;
        config["apiVersion"] = json!(self.api_version());
        config["kind"] = json!(self.kind);
        config["metadata"]["name"] = json!("x");
        let request = Apply {
            manager,
            force,
            group: self.group,
            version: "v1",
            kind: self.kind,
            subresource: "",
            time: &time,
            reset: &reset,
            convert: &|_, _, _| None,
        };
        let live = self.live.clone().unwrap_or_else(|| decode::zero(self.schema()));
        let mut applied = apply(self.schema(), &live, &config, &request)?;
        if applied.changed {
            crate::default::apply(self.schema(), &mut applied.object);
        }
        applied.object["metadata"]["uid"] = json!("u");
        self.live = Some(applied.object);
        Ok(applied.changed)
    }

    fn apply(&mut self, manager: &str, config: Tree) -> &mut Self {
        self.try_apply(manager, false, config).expect("applies");
        self
    }

    fn force(&mut self, manager: &str, config: Tree) -> &mut Self {
        self.try_apply(manager, true, config).expect("applies by force");
        self
    }

    fn refused(&mut self, manager: &str, config: Tree) -> String {
        self.try_apply(manager, false, config).expect_err("does not apply").to_string()
    }

    /// A plain write: `change` edits the live object.
    fn write(&mut self, manager: &str, change: impl FnOnce(&mut Tree)) -> &mut Self {
        let mut new = self.live.clone().unwrap_or_else(|| {
            json!({"apiVersion": self.api_version(), "kind": self.kind, "metadata": {"name": "x", "uid": "u"}})
        });
        change(&mut new);
        decode::conform(self.schema(), &mut new).expect("of the kind");
        crate::default::apply(self.schema(), &mut new);
        let (time, reset) = (self.tick(), Set::default());
        let api_version = self.api_version();
        let write = Write {
            manager,
            api_version: &api_version,
            subresource: "",
            time: &time,
            reset: &reset,
            others: &[],
        };
        update_managers(self.schema(), self.live.as_ref(), &mut new, &write);
        self.live = Some(new);
        self
    }

    fn live(&self) -> &Tree {
        self.live.as_ref().expect("written")
    }

    fn at(&self, pointer: &str) -> Tree {
        self.live().pointer(pointer).cloned().unwrap_or_default()
    }

    /// `manager operation: paths` of every entry; a `!` after the operation says that no time is known.
    fn owners(&self) -> Vec<String> {
        let managers = decode_managers(&self.at("/metadata/managedFields")).expect("managers");
        let shown = managers.iter().map(|manager| {
            let paths: Vec<String> =
                manager.fields.paths_by_level().iter().map(|path| Set::describe(path)).collect();
            let no_time = if manager.time.is_none() { "!" } else { "" };
            format!("{} {:?}{no_time}: {}", manager.name, manager.operation, paths.join(" "))
        });
        shown.collect()
    }
}

#[test]
fn fields_are_owned_shared_taken_and_given_up() {
    let data = |data: Tree| json!({"data": data});
    let mut story = Story::new("", "ConfigMap");
    story.apply("m1", data(json!({"a": "1", "b": "2"})));
    assert_eq!(story.owners(), ["m1 Apply: .data.a .data.b"]);

    assert_eq!(
        story.refused("m2", data(json!({"a": "9", "c": "3"}))),
        "Apply failed with 1 conflict: conflict with \"m1\": .data.a"
    );
    assert_eq!(
        story.refused("m2", data(json!({"a": "9", "b": "9"}))),
        "Apply failed with 2 conflicts: conflicts with \"m1\":\n- .data.a\n- .data.b"
    );
    story.apply("m2", data(json!({"a": "1", "c": "3"})));
    assert_eq!(story.owners(), ["m1 Apply: .data.a .data.b", "m2 Apply: .data.a .data.c"]);

    story.force("m3", data(json!({"a": "9", "b": "9", "c": "3"})));
    assert_eq!(story.owners(), ["m2 Apply: .data.c", "m3 Apply: .data.a .data.b .data.c"]);

    story.apply("m3", data(json!({"b": "9"})));
    assert_eq!(story.at("/data"), json!({"b": "9", "c": "3"}));
    story.apply("m3", json!({}));
    assert_eq!(story.at("/data"), json!({"c": "3"}));
    assert_eq!(story.owners(), ["m2 Apply: .data.c"]);
}

#[test]
fn an_apply_that_changes_only_ownership_has_no_time() {
    let mut story = Story::new("", "ConfigMap");
    story.apply("m1", json!({"data": {"a": "1"}}));
    assert_eq!(story.try_apply("m2", false, json!({"data": {"a": "1"}})), Ok(false));
    assert_eq!(story.owners(), ["m2 Apply!: .data.a", "m1 Apply: .data.a"]);

    let before = story.live().clone();
    assert_eq!(story.try_apply("m1", false, json!({"data": {"a": "1"}})), Ok(false));
    assert_eq!(story.live(), &before);
}

#[test]
fn conflicts_with_plain_writes_name_their_version() {
    let mut story = Story::new("apps", "Deployment");
    story.write("creator", |new| new["spec"] = json!({"replicas": 1}));
    assert_eq!(
        story.refused("m", json!({"spec": {"replicas": 2}})),
        "Apply failed with 1 conflict: conflict with \"creator\" using apps/v1: .spec.replicas"
    );
    let at = "/spec/replicas";
    story.force("m", json!({"spec": {"replicas": 2}}));
    assert_eq!(story.at(at), 2);
    assert_eq!(story.owners()[0], "m Apply: .spec.replicas");
    story.write("creator", |new| new["spec"]["replicas"] = json!(5));
    assert!(!story.owners().iter().any(|owner| owner.starts_with("m ")));
}

#[test]
fn what_was_there_before_the_first_apply_has_an_owner() {
    let mut story = Story::new("", "ConfigMap");
    story.write("creator", |new| new["data"] = json!({"a": "1", "b": "2"}));
    story.write("creator", |new| new["metadata"]["managedFields"] = json!([]));
    assert_eq!(
        story.refused("m1", json!({"data": {"a": "9"}})),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
    story.force("m1", json!({"data": {"a": "9"}}));
    assert_eq!(story.owners(), ["m1 Apply: .data.a", "before-first-apply Update: .data .data.b"]);
}

#[test]
fn kubectl_takes_over_what_it_applied_before() {
    let last = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":"1","b":"2"}}"#;
    let annotation = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    let mut story = Story::new("", "ConfigMap");
    story.write("kubectl-client-side-apply", |new| {
        new["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
        new["data"] = json!({"a": "1", "b": "2"});
    });
    assert!(story.refused("m1", json!({"data": {"a": "9"}})).contains("kubectl-client-side-apply"));
    story.apply("kubectl", json!({"data": {"a": "9"}}));
    assert_eq!(story.at("/data"), json!({"a": "9", "b": "2"}));
    assert_eq!(
        story.at(annotation),
        "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"9\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}\n"
    );
    assert_eq!(story.owners()[0], "kubectl Apply: .data.a");
    assert!(story.owners()[1].starts_with("kubectl-client-side-apply Update: .data .data.b"));

    // Someone else has changed b since: that is theirs.
    story.write("other", |new| new["data"]["b"] = json!("7"));
    assert_eq!(
        story.refused("kubectl", json!({"data": {"b": "8"}})),
        "Apply failed with 1 conflict: conflict with \"other\" using v1: .data.b"
    );
}

#[test]
fn lists_merge_by_their_keys() {
    let template = |spec: Tree| json!({"template": {"spec": spec}});
    let mut story = Story::new("", "PodTemplate");
    let first = template(json!({
        "containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}]}],
        "tolerations": [{"key": "k1", "operator": "Exists"}],
        "nodeSelector": {"n1": "1"},
    }));
    story.apply("m1", first.clone());
    assert_eq!(story.try_apply("m1", false, first), Ok(false));
    story.apply(
        "m2",
        template(json!({"containers": [{"name": "b", "image": "b:1"}, {"name": "a", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]})),
    );
    let names = |story: &Story| {
        let containers = story.at("/template/spec/containers");
        let names =
            containers.as_array().into_iter().flatten().map(|c| c["name"].as_str().unwrap_or_default());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&story), "b a");
    assert_eq!(story.at("/template/spec/containers/1/ports").as_array().map(Vec::len), Some(2));

    let refused = |story: &mut Story, spec: Tree| story.refused("m3", template(spec));
    let one = "Apply failed with 1 conflict: conflict with \"m1\": .template.spec";
    assert_eq!(
        refused(&mut story, json!({"tolerations": [{"key": "k2", "operator": "Exists"}]})),
        format!("{one}.tolerations")
    );
    assert_eq!(refused(&mut story, json!({"nodeSelector": {"n2": "2"}})), format!("{one}.nodeSelector"));
    assert_eq!(
        refused(
            &mut story,
            json!({"containers": [{"name": "a", "image": "a:2", "env": [{"name": "A", "value": "2"}]}]})
        ),
        "Apply failed with 2 conflicts: conflicts with \"m1\":\n- .template.spec.containers[name=\"a\"].image\n- .template.spec.containers[name=\"a\"].env[name=\"A\"].value"
    );
    assert_eq!(
        refused(&mut story, json!({"containers": [{"name": "a"}, {"name": "a"}]})),
        "failed to create typed patch object (/x; /v1, Kind=PodTemplate): .template.spec.containers: duplicate entries for key [name=\"a\"]"
    );

    // A default is nobody's.
    story.apply("m3", template(json!({"containers": [{"name": "a", "imagePullPolicy": "Always"}]})));
    story.apply("m2", template(json!({"containers": [{"name": "b", "image": "b:1"}]})));
    assert_eq!(names(&story), "b a");
    assert_eq!(story.at("/template/spec/containers/1/ports").as_array().map(Vec::len), Some(1));
    story.apply("m2", template(json!({})));
    assert_eq!(names(&story), "a");
}

#[test]
fn sets_keep_what_others_want() {
    let finalizers = |values: &[&str]| json!({"metadata": {"finalizers": values}});
    let mut story = Story::new("", "ConfigMap");
    story.apply("m1", finalizers(&["x/a", "x/b"]));
    story.apply("m2", finalizers(&["x/c", "x/a"]));
    assert_eq!(story.at("/metadata/finalizers"), json!(["x/c", "x/a", "x/b"]));
    story.apply("m2", finalizers(&[]));
    assert_eq!(story.at("/metadata/finalizers"), json!(["x/a", "x/b"]));
    assert_eq!(story.owners().len(), 1);
}

#[test]
fn nulls_are_values() {
    let mut story = Story::new("", "ConfigMap");
    story.apply("m1", json!({"metadata": {"labels": null}, "data": {"a": null}}));
    assert_eq!(story.at("/data"), json!({"a": ""}));
    assert_eq!(story.owners(), ["m1 Apply: .data.a .metadata.labels"]);
}

#[test]
fn a_struct_goes_when_its_last_owner_lets_go() {
    let spec = |spec: Tree| json!({"spec": {"template": {"spec": spec}}});
    let mut story = Story::new("apps", "Deployment");
    story.apply("m1", spec(json!({"containers": [{"name": "a"}], "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}, "priority": 1})));
    story.apply(
        "m1",
        spec(json!({"containers": [{"name": "a", "livenessProbe": {"exec": {"command": ["x"]}}}]})),
    );
    assert_eq!(story.at("/spec/template/spec/affinity"), Tree::Null);
    assert_eq!(story.at("/spec/template/spec/priority"), Tree::Null);
    story.apply("m1", spec(json!({"containers": [{"name": "a"}]})));
    assert_eq!(story.at("/spec/template/spec/containers/0/livenessProbe"), Tree::Null);
}

#[test]
fn managers_and_other_kinds_in_a_configuration_are_refused() {
    let mut story = Story::new("", "ConfigMap");
    for managers in [json!([]), json!([{"manager": "x"}])] {
        let refused = story.refused("m", json!({"metadata": {"managedFields": managers}}));
        assert_eq!(refused, "metadata.managedFields must be nil");
    }
    let check = |config: Tree, expected: &str| {
        let reset = Set::default();
        let request = Apply {
            manager: "m",
            force: false,
            group: "",
            version: "v1",
            kind: "ConfigMap",
            subresource: "",
            time: "",
            reset: &reset,
            convert: &|_, _, _| None,
        };
        let schema = crate::kind("", "v1", "ConfigMap").expect("a built-in kind");
        let refused = apply(schema, &decode::zero(schema), &config, &request).expect_err("another kind");
        assert_eq!(refused.to_string(), format!("invalid object type: {expected}"));
    };
    check(json!({}), "/, Kind=");
    check(json!({"kind": "ConfigMap"}), "/, Kind=ConfigMap");
    check(json!({"apiVersion": "v1", "kind": "Secret"}), "/v1, Kind=Secret");
    check(json!({"apiVersion": "apps/v1", "kind": "Deployment"}), "apps/v1, Kind=Deployment");
    check(json!({"apiVersion": "a/b/c", "kind": "ConfigMap"}), "/, Kind=");
}

/// Configurations of a pod template with the given container and label names. An empty map or list would say something about
/// the whole of it, so it is left out.
fn any_config(letters: &'static [&'static str]) -> impl Strategy<Value = Tree> {
    let label = (prop::sample::select(letters), "[0-9]");
    let env = prop::collection::btree_map(prop::sample::select(letters), "[0-9]", 0..3);
    let container = (prop::sample::select(letters), prop::option::of("[a-z]"), env);
    let labels = prop::collection::vec(label, 0..3);
    let containers = prop::collection::vec(container, 0..3);
    let finalizers = prop::collection::btree_set(prop::sample::select(letters), 0..3);
    (labels, containers, finalizers).prop_map(|(labels, containers, finalizers)| {
        let labels: Object = labels.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let mut items: Vec<Tree> = Vec::new();
        for (name, image, env) in containers {
            if items.iter().any(|item| item["name"] == name) {
                continue;
            }
            let env: Vec<Tree> =
                env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            let mut item = json!({"name": name, "env": env});
            if let Some(image) = image {
                item["image"] = json!(image);
            }
            items.push(item);
        }
        let mut config = json!({"metadata": {"labels": labels, "finalizers": finalizers}, "template": {"spec": {"containers": items}}});
        leave_out_empty(&mut config);
        config
    })
}

fn leave_out_empty(tree: &mut Tree) {
    match tree {
        Tree::Object(object) => {
            object.values_mut().for_each(leave_out_empty);
            object.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty) && *value != json!({}));
        }
        Tree::Array(items) => items.iter_mut().for_each(leave_out_empty),
        _ => {}
    }
}

proptest! {
    /// The same configuration again changes nothing, not even ownership or times.
    #[test]
    fn apply_is_idempotent(
        first in any_config(&["a", "b", "c"]),
        other in any_config(&["a", "b", "c"]),
        last in any_config(&["a", "b", "c"]),
    ) {
        let mut story = Story::new("", "PodTemplate");
        story.apply("m1", first).force("m2", other).force("m1", last.clone());
        let before = story.live().clone();
        prop_assert_eq!(story.try_apply("m1", false, last), Ok(false));
        prop_assert_eq!(story.live(), &before);
    }

    /// Who applies other fields than everybody else has no conflicts, and gets and keeps what it asks for.
    #[test]
    fn disjoint_appliers_never_conflict(
        configs in prop::collection::vec((any_config(&["a", "b"]), any_config(&["c", "d"])), 1..4),
    ) {
        let mut story = Story::new("", "PodTemplate");
        let mut both: Option<(Tree, Tree)> = None;
        for (mine, theirs) in configs {
            prop_assert!(story.try_apply("m1", false, mine.clone()).is_ok());
            prop_assert!(story.try_apply("m2", false, theirs.clone()).is_ok());
            both = Some((mine, theirs));
        }
        let (mine, theirs) = both.expect("at least one round");
        let mut fresh = Story::new("", "PodTemplate");
        fresh.apply("m1", mine).apply("m2", theirs);
        let labels = "/metadata/labels";
        prop_assert_eq!(story.at(labels), fresh.at(labels));
        let count = |story: &Story| story.at("/template/spec/containers").as_array().map(Vec::len);
        prop_assert_eq!(count(&story), count(&fresh));
    }
}
