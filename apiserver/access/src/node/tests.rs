//! What node `n1` may do, in the words of upstream's answers.

use serde_json::{Value, json};

use super::restriction::{Objects, Operation, Refusal, Write, admit};
use super::*;
use crate::Tree;

fn pod(name: &str, node: &str, extra: Value) -> Tree {
    let mut pod = json!({
        "kind": "Pod",
        "metadata": {"namespace": "ns", "name": name, "uid": format!("uid-{name}")},
        "spec": {"nodeName": node, "serviceAccountName": "second"},
    });
    for (field, value) in extra.as_object().expect("an object") {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn relations() -> Relations {
    let mut relations = Relations::default();
    let own = pod(
        "own",
        "n1",
        json!({
            "volumes": [
                {"name": "s", "secret": {"secretName": "own-secret"}},
                {"name": "p", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {}},
            ],
            "containers": [{"envFrom": [{"configMapRef": {"name": "own-map"}}]}],
            "imagePullSecrets": [{"name": "pull"}],
        }),
    );
    let foreign =
        pod("foreign", "n2", json!({"volumes": [{"name": "s", "secret": {"secretName": "foreign-secret"}}]}));
    let mut mirror =
        pod("mirror", "n1", json!({"volumes": [{"name": "s", "secret": {"secretName": "mirror-secret"}}]}));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let volume = json!({
        "kind": "PersistentVolume",
        "metadata": {"name": "pv"},
        "spec": {
            "claimRef": {"namespace": "ns", "name": "claim"},
            "csi": {"nodePublishSecretRef": {"namespace": "storage", "name": "pv-secret"}},
        },
    });
    for object in [own, foreign, mirror, volume] {
        relations.upsert(&object);
    }
    relations
}

/// `verb [namespace/]resource[.group][/sub] [name]`
fn request(text: &str) -> Attributes {
    let words: Vec<&str> = text.split(' ').collect();
    let (namespace, resource) = words[1].split_once(':').unwrap_or(("", words[1]));
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let name = words.get(2).copied().unwrap_or_default();
    Attributes::resource(words[0], group, resource).in_namespace(namespace).subresource(sub).named(name)
}

#[test]
fn a_node_reads_what_its_pods_need() {
    let relations = relations();
    let check = |asked: &str, want: Result<(), &str>| {
        let got = match authorize(&relations, &UserInfo::node("n1"), &request(asked)) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(reason),
        };
        assert_eq!(got, want.map_err(str::to_owned), "{asked}");
    };
    let unrelated = Err("no relationship found between node 'n1' and this object");
    check("get ns:secrets own-secret", Ok(()));
    check("watch ns:secrets own-secret", Ok(()));
    check("get ns:secrets pull", Ok(()));
    check("get ns:secrets foreign-secret", unrelated);
    check("get ns:secrets mirror-secret", unrelated);
    check("get storage:secrets pv-secret", Ok(()));
    check("get ns:configmaps own-map", Ok(()));
    check("get ns:configmaps nope", unrelated);
    check("list ns:secrets", Err("No Object name found"));
    check("update ns:secrets own-secret", Err("can only read resources of this type"));
    check("get ns:persistentvolumeclaims claim", Ok(()));
    check("get ns:persistentvolumeclaims own-e", Ok(()));
    check("patch ns:persistentvolumeclaims/status claim", Ok(()));
    check("get persistentvolumes pv", Ok(()));
    check("get persistentvolumes nope", unrelated);
    check("list persistentvolumes", Err("can only get individual resources of this type"));
    check("get ns:pods own", Ok(()));
    check("get ns:pods mirror", Ok(()));
    check("get ns:pods foreign", unrelated);
    check("list ns:pods", Err("can only list/watch pods with spec.nodeName field selector"));
    check("patch ns:pods own", Err(""));
    check("patch ns:pods/status foreign", Ok(()));
    check("create ns:pods/eviction own", Ok(()));
    check("get nodes n1", Ok(()));
    check("get nodes n2", Err("node 'n1' cannot read 'n2', only its own Node object"));
    check("list nodes", Err("node 'n1' cannot read all nodes, only its own Node object"));
    check("delete nodes n1", Err(""));
    check("patch nodes/status n2", Ok(()));
    check("create ns:serviceaccounts/token second", Ok(()));
    check("create ns:serviceaccounts/token default", unrelated);
    check("create kube-node-lease:leases.coordination.k8s.io", Ok(()));
    check(
        "update kube-node-lease:leases.coordination.k8s.io n2",
        Err("can only access node lease with the same name as the requesting node"),
    );
    check(
        "create ns:leases.coordination.k8s.io",
        Err("can only access leases in the \"kube-node-lease\" system namespace"),
    );
    check("get default:services kubernetes", Ok(()));
    check("create certificatesigningrequests.certificates.k8s.io", Ok(()));
    check("create ns:events", Ok(()));
    check("list ns:deployments.apps", Err(""));
}

#[test]
fn a_list_of_pods_needs_the_node_name() {
    let relations = relations();
    let mut asked = request("list pods");
    asked.fields = crate::rbac::parse_fields("spec.nodeName=n1").expect("a selector");
    assert!(authorize(&relations, &UserInfo::node("n1"), &asked).is_allowed());
    assert!(!authorize(&relations, &UserInfo::node("n2"), &asked).is_allowed());
}

#[test]
fn relations_follow_changes() {
    let mut relations = relations();
    let relates = |relations: &Relations| relations.relates("n1", Related::Secret, "ns", "own-secret");
    let other = pod("other", "n1", json!({"imagePullSecrets": [{"name": "own-secret"}]}));
    relations.upsert(&other);
    relations.upsert(&other);
    relations.remove(&pod("own", "", json!({})));
    assert!(relates(&relations), "another pod names it");
    assert!(!relations.relates("n1", Related::Volume, "", "pv"), "the claim's pod is gone");
    relations.remove(&other);
    assert!(!relates(&relations));
    relations.remove(&other);
}

#[test]
fn only_nodes_are_nodes() {
    let check = |user: UserInfo, want: Option<&str>| assert_eq!(identity(&user), want);
    check(UserInfo::node("n1"), Some("n1"));
    check(UserInfo::new("someone", &[groups::NODES]), None);
    check(UserInfo::new("system:node:n1", &[]), None);
    let nameless = UserInfo::new("system:node:", &[groups::NODES]);
    let decision = authorize(&Relations::default(), &nameless, &request("get nodes n1"));
    assert_eq!(decision.reason(), "unknown node for user \"system:node:\"");
}

struct Fixture;

impl Objects for Fixture {
    fn pod(&self, _: &str, name: &str) -> Option<Tree> {
        let volumes = json!([{"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
        match name {
            "own" => Some(pod("own", "n1", json!({"volumes": volumes}))),
            "foreign" => Some(pod("foreign", "n2", json!({}))),
            _ => None,
        }
    }

    fn node(&self, name: &str) -> Option<Tree> {
        (name == "n1").then(|| json!({"metadata": {"name": "n1", "uid": "node-uid"}}))
    }

    fn driver_audiences(&self, _: &Tree) -> Vec<String> {
        Vec::new()
    }

    fn authorize(&self, _: &UserInfo, _: &Attributes) -> Decision {
        Decision::NoOpinion(String::new())
    }
}

/// What node n1 hears when it writes `resource[.group][/sub] name`.
fn write(operation: Operation, resource: &str, name: &str, object: Value, old: Value) -> Result<(), String> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let namespace = match resource {
        "leases" => "kube-node-lease",
        "nodes" | "csinodes" => "",
        _ => "ns",
    };
    let write =
        Write { operation, group, resource, subresource, namespace, name, object: &object, old: &old };
    admit(&Fixture, &UserInfo::node("n1"), &write).map_err(|refusal| match refusal {
        Refusal::Forbidden(forbidden) => {
            let (_, why) = forbidden.message.split_once("is forbidden: ").expect("a refusal");
            why.to_owned()
        }
        other => other.to_string(),
    })
}

#[test]
fn a_node_writes_only_about_itself() {
    let check = |got: Result<(), String>, want: &str| assert_eq!(got.err().unwrap_or_default(), want);
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let create = |resource: &str, name: &str, object: Value| {
        write(Operation::Create, resource, name, object, Value::Null)
    };
    let update = |resource: &str, name: &str, object: Value, old: Value| {
        write(Operation::Update, resource, name, object, old)
    };

    check(create("nodes", "n2", json!({})), r#"node "n1" is not allowed to modify node "n2""#);
    check(
        create("nodes", "n1", labels(json!({"node-restriction.kubernetes.io/x": "y"}))),
        r#"node "n1" is not allowed to set the following labels: node-restriction.kubernetes.io/x"#,
    );
    check(
        create("nodes", "n1", labels(json!({"foo.kubernetes.io/x": "", "a.k8s.io/b": ""}))),
        r#"node "n1" is not allowed to set the following labels: a.k8s.io/b, foo.kubernetes.io/x"#,
    );
    check(
        create(
            "nodes",
            "n1",
            labels(
                json!({"kubernetes.io/hostname": "n1", "example.com/z": "1", "x.node.kubernetes.io/y": ""}),
            ),
        ),
        "",
    );
    check(
        update("nodes", "n1", labels(json!({"kubernetes.io/role": "x"})), labels(json!({}))),
        "is not allowed to modify labels: kubernetes.io/role",
    );
    check(
        update("nodes", "n1", json!({"spec": {"taints": [{"key": "a"}]}}), json!({"spec": {}})),
        r#"node "n1" is not allowed to modify taints"#,
    );
    check(
        update("nodes", "n1", json!({"metadata": {"ownerReferences": [{"uid": "1"}]}}), json!({})),
        r#"node "n1" is not allowed to modify ownerReferences"#,
    );
    check(
        update("nodes/status", "n2", json!({}), json!({})),
        r#"node "n1" is not allowed to modify node "n2""#,
    );
    check(create("leases.coordination.k8s.io", "n1", json!({})), "");
    check(
        create("leases.coordination.k8s.io", "n2", json!({})),
        "can only access node lease with the same name as the requesting node",
    );
    check(
        create("csinodes.storage.k8s.io", "n2", json!({})),
        "can only access CSINode with the same name as the requesting node",
    );
    check(create("configmaps", "x", json!({})), "");
}

#[test]
fn a_node_makes_only_mirrors_of_its_own_files() {
    let check = |object: Value, want: &str| {
        let got = write(Operation::Create, "pods", "mir", object, Value::Null);
        assert_eq!(got.err().unwrap_or_default(), want);
    };
    let mirror = |spec: Value, owners: Value| json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": owners}, "spec": spec});
    let owner =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-uid", "controller": true}]);
    let on_n1 = json!({"nodeName": "n1"});

    check(
        json!({"spec": on_n1}),
        r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#,
    );
    check(
        mirror(json!({"nodeName": "n2"}), Value::Null),
        r#"node "n1" can only create pods with spec.nodeName set to itself"#,
    );
    check(
        mirror(on_n1.clone(), Value::Null),
        r#"node "n1" can only create pods with an owner reference set to itself"#,
    );
    check(mirror(on_n1.clone(), owner.clone()), "");
    let mut other = owner.clone();
    other[0]["uid"] = "x".into();
    check(mirror(on_n1, other), "node n1 UID mismatch: expected x got node-uid");
    check(
        mirror(
            json!({"nodeName": "n1", "volumes": [{"name": "s", "secret": {"secretName": "x"}}]}),
            owner.clone(),
        ),
        r#"node "n1" can not create pods that reference secrets"#,
    );
    check(
        mirror(json!({"nodeName": "n1", "volumes": [{"name": "h", "hostPath": {"path": "/"}}]}), owner),
        "",
    );
}

#[test]
fn a_node_touches_only_its_own_pods() {
    let check = |got: Result<(), String>, want: &str| assert_eq!(got.err().unwrap_or_default(), want);
    let status = |object: Value, node: &str| {
        write(Operation::Update, "pods/status", "p", object, pod("p", node, json!({})))
    };
    check(status(pod("p", "n1", json!({})), "n1"), "");
    check(
        status(json!({}), "n2"),
        r#"node "n1" can only update pod status for pods with spec.nodeName set to itself"#,
    );
    check(
        status(json!({"metadata": {"labels": {"a": "b"}}}), "n1"),
        r#"node "n1" cannot update labels through pod status"#,
    );
    let delete = |name: &str| write(Operation::Delete, "pods", name, Value::Null, Value::Null);
    check(delete("own"), "");
    check(delete("foreign"), r#"node "n1" can only delete pods with spec.nodeName set to itself"#);
    check(delete("nope"), r#"pods "nope" not found"#);
    let evict = |name: &str| write(Operation::Create, "pods/eviction", name, json!({}), Value::Null);
    check(evict("own"), "");
    check(evict("foreign"), "node n1 can only evict pods with spec.nodeName set to itself");
}

#[test]
fn a_node_gets_tokens_only_for_its_pods() {
    let check = |spec: Value, want: &str| {
        let got =
            write(Operation::Create, "serviceaccounts/token", "second", json!({"spec": spec}), Value::Null);
        assert_eq!(got.err().unwrap_or_default(), want);
    };
    let bound = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    check(json!({}), "node requested token not bound to a pod");
    check(
        json!({"boundObjectRef": bound("own", "")}),
        "node requested token with a pod binding without a uid",
    );
    check(json!({"boundObjectRef": bound("own", "uid-own")}), "");
    check(
        json!({"boundObjectRef": bound("foreign", "uid-foreign")}),
        "node requested token bound to a pod scheduled on a different node",
    );
    check(
        json!({"boundObjectRef": bound("own", "uid-own"), "audiences": ["vault"]}),
        r#"audience "vault" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"#,
    );
}
