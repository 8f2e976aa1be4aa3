//! Recorded writes and what they leave in `managedFields`.

use serde_json::json;

use super::*;

/// An object that is written again and again. `write` books a write and shows who owns what then.
struct Written {
    kind: (&'static str, &'static str),
    live: Option<Tree>,
    clock: u32,
}

impl Written {
    fn new(group: &'static str, kind: &'static str) -> Self {
        Self { kind: (group, kind), live: None, clock: 0 }
    }

    fn write_as(
        &mut self,
        manager: &str,
        subresource: &str,
        reset: &[&[&str]],
        body: Tree,
    ) -> Vec<(String, Tree)> {
        let (group, kind) = self.kind;
        let schema = crate::kind(group, "v1", kind).expect("a built-in kind");
        let mut new = body;
        crate::decode::conform(schema, &mut new).expect("of the kind");
        crate::default::apply(schema, &mut new);
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        self.clock += 1;
        let time = format!("2025-01-01T00:00:{:02}Z", self.clock);
        let reset = Set::of_fields(reset);
        let write = Write {
            manager,
            api_version: &api_version,
            subresource,
            time: &time,
            reset: &reset,
            others: &[],
        };
        update_managers(schema, self.live.as_ref(), &mut new, &write);
        new["metadata"]["uid"] = json!("u");
        self.live = Some(new.clone());
        let managers = decoded(new.pointer("/metadata/managedFields"));
        managers.iter().map(|manager| (manager.name.clone(), manager.fields.to_tree())).collect()
    }

    fn write(&mut self, manager: &str, body: Tree) -> Vec<(String, Tree)> {
        self.write_as(manager, "", &[&["status"]], body)
    }
}

fn owned(pairs: &[(&str, Tree)]) -> Vec<(String, Tree)> {
    pairs.iter().map(|(name, fields)| ((*name).to_owned(), fields.clone())).collect()
}

#[test]
fn a_create_owns_what_it_sets() {
    let check = |kind: (&'static str, &'static str), body: Tree, fields: Tree| {
        assert_eq!(Written::new(kind.0, kind.1).write("replay", body), owned(&[("replay", fields)]));
    };
    check(
        ("", "ConfigMap"),
        json!({"metadata": {"name": "a", "labels": {"app": "x"}, "annotations": {"note": "1"}}, "data": {"k": "v", "e": ""}}),
        json!({"f:data": {".": {}, "f:e": {}, "f:k": {}}, "f:metadata": {"f:annotations": {".": {}, "f:note": {}}, "f:labels": {".": {}, "f:app": {}}}}),
    );
    check(
        ("", "ConfigMap"),
        json!({"metadata": {"name": "b", "generateName": "gen-"}}),
        json!({"f:metadata": {"f:generateName": {}}}),
    );
    check(
        ("", "PodTemplate"),
        json!({"metadata": {"name": "t"}, "template": {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "A", "value": "1"}], "args": ["x"]}]}}}),
        json!({"f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {
            ".": {}, "f:args": {}, "f:env": {".": {}, "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}}, "f:image": {}, "f:name": {},
            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}}}, "f:resources": {}}}}}}),
    );
    check(
        ("", "Service"),
        json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "None", "ports": [{"name": "a", "port": 53, "protocol": "UDP", "targetPort": 53}], "selector": {"s": "1"}}}),
        json!({"f:spec": {"f:clusterIP": {}, "f:ports": {".": {}, "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}}, "f:selector": {}}}),
    );
    check(
        ("apps", "Deployment"),
        json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}}),
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}}}}),
    );
}

#[test]
fn a_write_takes_what_it_changes() {
    let mut map = Written::new("", "ConfigMap");
    map.write(
        "mine",
        json!({"metadata": {"name": "fm", "annotations": {"x": "1"}}, "data": {"k": "v", "l": "w"}}),
    );
    let got = map
        .write("other", json!({"metadata": {"name": "fm"}, "data": {"k": "v", "l": "changed", "m": "new"}}));
    assert_eq!(
        got,
        owned(&[
            ("mine", json!({"f:data": {".": {}, "f:k": {}}})),
            ("other", json!({"f:data": {"f:l": {}, "f:m": {}}}))
        ])
    );

    let got = map.write("third", json!({"metadata": {"name": "fm", "finalizers": ["example.com/f"], "labels": {"a": "b"}}, "data": {"k": "v", "l": "again", "m": "new"}}));
    let third = json!({"f:data": {"f:l": {}}, "f:metadata": {"f:finalizers": {".": {}, "v:\"example.com/f\"": {}}, "f:labels": {".": {}, "f:a": {}}}});
    assert_eq!(
        got,
        owned(&[
            ("mine", json!({"f:data": {".": {}, "f:k": {}}})),
            ("other", json!({"f:data": {"f:m": {}}})),
            ("third", third)
        ])
    );

    let got = map.write("third", json!({"metadata": {"name": "fm", "finalizers": ["example.com/f"], "labels": {"a": "c"}}, "data": {"k": "v", "l": "again", "m": "newer"}}));
    let third = json!({"f:data": {"f:l": {}, "f:m": {}}, "f:metadata": {"f:finalizers": {".": {}, "v:\"example.com/f\"": {}}, "f:labels": {".": {}, "f:a": {}}}});
    assert_eq!(got, owned(&[("mine", json!({"f:data": {".": {}, "f:k": {}}})), ("third", third)]));
}

#[test]
fn a_write_that_changes_nothing_leaves_everything() {
    let mut map = Written::new("", "ConfigMap");
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    map.write("mine", body.clone());
    let before = map.live.clone();
    map.write("other", body);
    assert_eq!(map.live, before);
}

#[test]
fn status_is_nobody_s_on_the_main_resource() {
    let mut deployment = Written::new("apps", "Deployment");
    let spec = json!({"replicas": 1});
    deployment.write("a", json!({"metadata": {"name": "d"}, "spec": spec, "status": {"replicas": 7}}));
    let status = json!({"metadata": {"name": "d"}, "spec": spec, "status": {"replicas": 8, "conditions": [{"type": "Available", "status": "True"}]}});
    let got = deployment.write_as("b", "status", &[&["spec"], &["metadata"]], status);
    let fields = json!({"f:status": {"f:replicas": {}, "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:lastTransitionTime": {}, "f:lastUpdateTime": {}, "f:status": {}, "f:type": {}}}}});
    assert_eq!(got[1], ("b".to_owned(), fields));
    assert_eq!(got[0].0, "a");
    assert_eq!(
        deployment.live.as_ref().and_then(|live| live.pointer("/metadata/managedFields/1/subresource")),
        Some(&json!("status"))
    );
}

#[test]
fn clients_may_edit_and_end_the_bookkeeping() {
    let mut map = Written::new("", "ConfigMap");
    map.write("mine", json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
    let kept = map.write(
        "other",
        json!({"metadata": {"name": "a", "managedFields": [{"operation": "Foo"}]}, "data": {"k": "v"}}),
    );
    assert_eq!(kept, owned(&[("mine", json!({"f:data": {".": {}, "f:k": {}}}))]));
    let edited = json!([{"manager": "me", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}}}]);
    let got =
        map.write("other", json!({"metadata": {"name": "a", "managedFields": edited}, "data": {"k": "v"}}));
    assert_eq!(got, owned(&[("me", json!({"f:data": {"f:k": {}}}))]));
    for reset in [json!([{}]), json!([])] {
        assert_eq!(
            map.write(
                "other",
                json!({"metadata": {"name": "a", "managedFields": reset}, "data": {"k": "w"}})
            ),
            vec![]
        );
        assert_eq!(map.write("other", json!({"metadata": {"name": "a"}, "data": {"k": "x"}})), vec![]);
    }
}

#[test]
fn what_a_client_claims_at_create_is_taken_back() {
    let mut map = Written::new("", "ConfigMap");
    let claimed = json!([{"manager": "me", "operation": "Update", "apiVersion": "v1", "time": "2001-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}}}]);
    let got = map
        .write("replay", json!({"metadata": {"name": "mf", "managedFields": claimed}, "data": {"k": "v"}}));
    assert_eq!(got, owned(&[("replay", json!({"f:data": {".": {}, "f:k": {}}}))]));
}

#[test]
fn the_oldest_of_many_managers_become_ancient() {
    let mut map = Written::new("", "ConfigMap");
    let mut data = Object::new();
    let mut got = Vec::new();
    for number in 0..12 {
        data.insert(format!("k{number:02}"), json!("v"));
        got = map.write(&format!("u{number:02}"), json!({"metadata": {"name": "an"}, "data": data}));
    }
    let names: Vec<&str> = got.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ancient-changes", "u03", "u04", "u05", "u06", "u07", "u08", "u09", "u10", "u11"]);
    assert_eq!(got[0].1, json!({"f:data": {".": {}, "f:k00": {}, "f:k01": {}, "f:k02": {}}}));
}

/// A manager that has not been heard of for longer than the bucket stays by itself until its turn comes.
#[test]
fn an_older_manager_stands_before_the_bucket() {
    let manager = |name: &str, time: u32| Manager {
        name: name.to_owned(),
        operation: Operation::Update,
        api_version: "v1".to_owned(),
        subresource: String::new(),
        time: Some(format!("2025-01-01T00:00:{time:02}Z")),
        fields: Set::of_fields(&[&["data", name]]),
    };
    let mut bookings: Vec<Booking> = vec![manager("old", 1).into(), manager(ANCIENT, 2).into()];
    bookings.extend((3..12).map(|number| Booking::from(manager(&format!("u{number:02}"), number))));
    cap(&mut bookings);
    let managers: Vec<Manager> = bookings.into_iter().map(|booking| booking.manager).collect();
    let names: Vec<&str> = managers.iter().map(|manager| manager.name.as_str()).collect();
    assert_eq!(names, ["old", ANCIENT, "u04", "u05", "u06", "u07", "u08", "u09", "u10", "u11"]);
    assert_eq!(managers[1].fields.to_tree(), json!({"f:data": {"f:ancient-changes": {}, "f:u03": {}}}));
}

#[test]
fn an_unnamed_writer_is_unknown() {
    let got = Written::new("", "ConfigMap").write("", json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
    assert_eq!(got[0].0, "unknown");
}
