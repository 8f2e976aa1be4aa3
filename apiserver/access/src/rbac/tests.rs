//! What rules allow, where the reasons come from, and what may be granted.

use serde_json::json;

use super::*;
use crate::Tree;
use crate::bootstrap;
use crate::chain::Authorizer;
use crate::node::Relations;

/// `verbs groups resources names`, comma-separated; `-` is the core group or no names; or `verbs /path,...`.
fn rule(text: &str) -> Rule {
    let words: Vec<Vec<String>> = text
        .split(' ')
        .map(|word| word.split(',').filter(|part| *part != "-").map(str::to_owned).collect())
        .collect();
    match words.as_slice() {
        [verbs, urls] => Rule { verbs: verbs.clone(), non_resource_urls: urls.clone(), ..Rule::default() },
        [verbs, groups, resources, names] => Rule {
            verbs: verbs.clone(),
            api_groups: if groups.is_empty() { vec![String::new()] } else { groups.clone() },
            resources: resources.clone(),
            resource_names: names.clone(),
            ..Rule::default()
        },
        _ => panic!("no rule: {text}"),
    }
}

/// `verb group resource[/sub] [name]`, or `verb /path`.
fn request(text: &str) -> Attributes {
    let words: Vec<&str> = text.split(' ').collect();
    if let [verb, path] = words.as_slice() {
        return Attributes::path(verb, path);
    }
    let group = if words[1] == "-" { "" } else { words[1] };
    let (resource, sub) = words[2].split_once('/').unwrap_or((words[2], ""));
    Attributes::resource(words[0], group, resource)
        .subresource(sub)
        .named(words.get(3).copied().unwrap_or_default())
}

#[test]
fn rules_match_as_upstream_matches() {
    let check = |text: &str, asked: &str, want: bool| {
        assert_eq!(rule(text).allows(&request(asked)), want, "{text} | {asked}");
    };
    check("get,list - pods -", "get - pods a", true);
    check("get,list - pods -", "watch - pods", false);
    check("get - pods -", "get apps pods a", false);
    check("* * * -", "delete apps deployments/scale d", true);
    check("get - pods -", "get - pods/log a", false);
    check("get - pods/log -", "get - pods/log a", true);
    check("get - pods/* -", "get - pods/log a", false);
    check("get * */scale -", "get apps deployments/scale d", true);
    check("get * */scale -", "get apps deployments d", false);
    check("update - configmaps a,b", "update - configmaps b", true);
    check("update - configmaps a,b", "update - configmaps c", false);
    check("list - configmaps a", "list - configmaps", false);
    check("get /healthz,/livez/*", "get /livez/ping", true);
    check("get /healthz,/livez/*", "get /livez", false);
    check("get /healthz", "post /healthz", false);
    check("get *", "get /anything", true);
    check("* * * -", "get /api", false);
    check("* *", "get - pods a", false);
}

fn role(kind: &str, namespace: &str, name: &str, rules: &[&str]) -> Tree {
    let rules: Vec<Tree> = rules.iter().map(|text| rule(text).to_tree()).collect();
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}, "rules": rules})
}

/// Subjects are `User:x`, `Group:x`, `ServiceAccount:x` or `ServiceAccount:ns/x`.
fn binding(kind: &str, namespace: &str, name: &str, role_kind: &str, role: &str, subjects: &[&str]) -> Tree {
    let subject = |text: &&str| {
        let (kind, name) = text.split_once(':').expect("kind:name");
        match name.split_once('/') {
            Some((namespace, name)) => json!({"kind": kind, "namespace": namespace, "name": name}),
            None => json!({"kind": kind, "name": name}),
        }
    };
    json!({
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
        "subjects": subjects.iter().map(subject).collect::<Vec<_>>(),
    })
}

/// A fresh cluster and the roles of a few people.
fn cluster() -> Index {
    let mut index = Index::of(&bootstrap::objects());
    for object in [
        role(
            "ClusterRole",
            "",
            "editor",
            &[
                "get,list,create,update,patch,delete rbac.authorization.k8s.io roles,rolebindings,clusterroles,clusterrolebindings -",
                "get,list - pods -",
            ],
        ),
        binding("ClusterRoleBinding", "", "editor", "ClusterRole", "editor", &["User:alice"]),
        role(
            "ClusterRole",
            "",
            "escalator",
            &["escalate,bind rbac.authorization.k8s.io clusterroles,roles -"],
        ),
        binding("ClusterRoleBinding", "", "escalator", "ClusterRole", "escalator", &["User:bob"]),
        role("Role", "ns", "r", &["get,list - pods,pods/log -", "update - configmaps a"]),
        binding("RoleBinding", "ns", "dave", "Role", "r", &["User:dave", "ServiceAccount:default"]),
        binding("RoleBinding", "ns", "lost", "ClusterRole", "nope", &["User:lost"]),
        binding("RoleBinding", "ns", "lost-too", "Role", "gone", &["User:lost"]),
        binding("RoleBinding", "ns", "mixed", "Role", "nope", &["Group:mixed"]),
    ] {
        assert!(index.upsert(&object));
    }
    index
}

#[test]
fn the_reason_names_binding_role_and_subject() {
    let index = cluster();
    let check = |user: UserInfo, asked: Attributes, want: (bool, String)| {
        let decision = authorize(&index, &user, &asked);
        assert_eq!((decision.is_allowed(), decision.reason().to_owned()), want, "{} {asked:?}", user.name);
    };
    let allow = |reason: &str| (true, format!("RBAC: allowed by {reason}"));
    let none = |reason: &str| (false, reason.to_owned());
    let user = |name: &str| UserInfo::authenticated(name, &[]);
    let pods = || request("list - pods").in_namespace("ns");

    check(
        user("alice"),
        pods(),
        allow(r#"ClusterRoleBinding "editor" of ClusterRole "editor" to User "alice""#),
    );
    check(
        user("alice"),
        request("list - pods"),
        allow(r#"ClusterRoleBinding "editor" of ClusterRole "editor" to User "alice""#),
    );
    check(user("dave"), pods(), allow(r#"RoleBinding "dave/ns" of Role "r" to User "dave""#));
    check(user("dave"), pods().in_namespace("other"), none(""));
    check(user("dave"), request("list - pods"), none(""));
    check(
        UserInfo::service_account("ns", "default", "1"),
        pods(),
        allow(r#"RoleBinding "dave/ns" of Role "r" to ServiceAccount "default/ns""#),
    );
    check(UserInfo::service_account("other", "default", "1"), pods(), none(""));
    check(
        UserInfo::anonymous(),
        request("get /healthz"),
        allow(
            r#"ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated""#,
        ),
    );
    check(UserInfo::anonymous(), request("get /api"), none(""));
    check(
        user("carol"),
        request("get /api"),
        allow(
            r#"ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#,
        ),
    );
    check(
        user("lost"),
        pods(),
        none(
            r#"RBAC: [clusterrole.rbac.authorization.k8s.io "nope" not found, role.rbac.authorization.k8s.io "gone" not found]"#,
        ),
    );
    check(
        UserInfo::new("m", &["mixed"]),
        pods(),
        none(r#"RBAC: role.rbac.authorization.k8s.io "nope" not found"#),
    );
}

#[test]
fn an_index_follows_changes_and_its_clones_do_not() {
    let mut index = cluster();
    let pinned = index.clone();
    let dave = UserInfo::authenticated("dave", &[]);
    let pods = request("list - pods").in_namespace("ns");
    let allowed = |index: &Index, user: &UserInfo| authorize(index, user, &pods).is_allowed();
    assert!(allowed(&index, &dave));

    index.upsert(&binding("RoleBinding", "ns", "dave", "Role", "r", &["User:erin"]));
    assert!(!allowed(&index, &dave), "no longer a subject");
    assert!(allowed(&index, &UserInfo::authenticated("erin", &[])));
    assert!(allowed(&pinned, &dave), "the pinned view stays");

    // A subject that stands in a binding twice, beside another binding of its own.
    index.upsert(&binding("RoleBinding", "ns", "also", "Role", "none", &["User:erin", "User:erin"]));
    assert!(allowed(&index, &UserInfo::authenticated("erin", &[])));
    index.remove(&json!({"kind": "RoleBinding", "metadata": {"namespace": "ns", "name": "also"}}));
    assert!(allowed(&index, &UserInfo::authenticated("erin", &[])), "its other binding stays");

    index.upsert(&role("Role", "ns", "r", &["get - pods -"]));
    assert!(!allowed(&index, &UserInfo::authenticated("erin", &[])), "the role lost list");
    index.upsert(&role("Role", "ns", "r", &["list - pods -"]));
    index.remove(&json!({"kind": "RoleBinding", "metadata": {"namespace": "ns", "name": "dave"}}));
    assert!(!allowed(&index, &UserInfo::authenticated("erin", &[])), "the binding is gone");
    assert!(!index.upsert(&json!({"kind": "Pod", "metadata": {"name": "x"}})));
}

#[test]
fn forbidden_texts_are_upstream_s() {
    let carol = UserInfo::authenticated("carol", &[]);
    let check = |asked: Attributes, reason: &str, want: &str| {
        assert_eq!(forbidden(&carol, &asked, reason).message, want);
    };
    check(
        request("get - pods/log p").in_namespace("ns"),
        "",
        r#"pods "p" is forbidden: User "carol" cannot get resource "pods/log" in API group "" in the namespace "ns""#,
    );
    check(
        request("list apps deployments"),
        "why",
        r#"deployments.apps is forbidden: User "carol" cannot list resource "deployments" in API group "apps" at the cluster scope: why"#,
    );
    check(request("get /metrics"), "", r#"forbidden: User "carol" cannot get path "/metrics""#);
}

#[test]
fn nobody_grants_a_role_they_do_not_hold() {
    let (index, graph) = (cluster(), Relations::default());
    let chain = Authorizer::new(&index, &graph);
    let check = |user: &str, role: Tree, want: &str| {
        let user = UserInfo::authenticated(user, &[]);
        let got = check_role(&chain, &user, &role, None).map_err(|refusal| refusal.to_string());
        assert_eq!(got.err().unwrap_or_default(), want);
    };
    let held = "is attempting to grant RBAC permissions not currently held:";
    let alice = format!(r#"user "alice" (groups=["system:authenticated"]) {held}"#);

    check(
        "alice",
        role("Role", "ns", "esc", &["get,list,watch - pods -", "get - secrets -"]),
        &format!(
            "roles.rbac.authorization.k8s.io \"esc\" is forbidden: {alice}\n\
         {{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\"]}}\n\
         {{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}}"
        ),
    );
    check("alice", role("Role", "ns", "ok", &["get - pods -"]), "");
    check(
        "alice",
        role("Role", "ns", "r", &["get,list - pods,pods/log -", "update - configmaps a"]),
        &format!(
            "roles.rbac.authorization.k8s.io \"r\" is forbidden: {alice}\n\
         {{APIGroups:[\"\"], Resources:[\"configmaps\"], ResourceNames:[\"a\"], Verbs:[\"update\"]}}\n\
         {{APIGroups:[\"\"], Resources:[\"pods/log\"], Verbs:[\"get\" \"list\"]}}"
        ),
    );
    check(
        "alice",
        role("ClusterRole", "", "esc", &["get /metrics"]),
        &format!(
            "clusterroles.rbac.authorization.k8s.io \"esc\" is forbidden: {alice}\n\
         {{NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}}"
        ),
    );
    check(
        "alice",
        role("ClusterRole", "", "esc", &["* * * -"]),
        &format!(
            "clusterroles.rbac.authorization.k8s.io \"esc\" is forbidden: {alice}\n\
         {{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}}"
        ),
    );
    let mut aggregated = role("ClusterRole", "", "esc", &[]);
    aggregated["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    check(
        "alice",
        aggregated,
        "clusterroles.rbac.authorization.k8s.io \"esc\" is forbidden: must have cluster-admin privileges to use the aggregationRule",
    );
    let strong = role("Role", "ns", "r", &["get - secrets -"]);
    let mut owned = strong.clone();
    owned["metadata"]["finalizers"] = json!(["x"]);
    let user = UserInfo::authenticated("alice", &[]);
    assert_eq!(check_role(&chain, &user, &owned, Some(&strong)), Ok(()), "finalizers are not checked");
    owned["metadata"]["labels"] = json!({"a": "b"});
    assert!(check_role(&chain, &user, &owned, Some(&strong)).is_err(), "labels are, though the rules stay");
    check("bob", role("Role", "ns", "escalated", &["* - secrets -"]), "");
    let root = UserInfo::authenticated("root", &[crate::groups::MASTERS]);
    assert_eq!(check_role(&chain, &root, &role("ClusterRole", "", "x", &["* * * -"]), None), Ok(()));
}

#[test]
fn nobody_binds_a_role_they_do_not_hold() {
    let (index, graph) = (cluster(), Relations::default());
    let chain = Authorizer::new(&index, &graph);
    let check = |user: &str, binding: Tree, want: &str| {
        let user = UserInfo::authenticated(user, &[]);
        let got = check_binding(&chain, &user, &binding).map_err(|refusal| refusal.to_string());
        let got = got.err().unwrap_or_default();
        assert!(got.starts_with(want) && got.is_empty() == want.is_empty(), "{got}");
    };
    let to = |role_kind: &str, role: &str| binding("RoleBinding", "ns", "b", role_kind, role, &["User:x"]);
    check(
        "alice",
        to("Role", "r"),
        "rolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"alice\" (groups=[\"system:authenticated\"]) is attempting",
    );
    check("alice", to("Role", "nope"), "rolebindings.rbac.authorization.k8s.io \"nope\" not found");
    check(
        "alice",
        binding("ClusterRoleBinding", "", "b", "ClusterRole", "system:basic-user", &["User:x"]),
        "",
    );
    check("bob", to("ClusterRole", "cluster-admin"), "");
}

#[test]
fn a_rule_review_lists_rules_in_order() {
    let status = rules_review_status(&cluster(), &UserInfo::authenticated("dave", &[]), "ns");
    assert_eq!(
        status["resourceRules"],
        json!([
            {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
            {"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]},
        ]),
    );
    assert_eq!(status["incomplete"], false);
    assert!(status.get("evaluationError").is_none());
    let node = rules_review_status(&cluster(), &UserInfo::node("n1"), "ns");
    assert_eq!(node["incomplete"], true);
    assert_eq!(node["evaluationError"], "node authorizer does not support user rule resolution");
}

#[test]
fn an_access_review_says_why() {
    let (index, graph) = (cluster(), Relations::default());
    let check = |spec: Tree, want: Tree| {
        let asked = specification(&spec, None);
        let decision = Authorizer::new(&index, &graph).authorize(&asked.user, &asked.attributes);
        assert_eq!(status(&asked, &decision), want, "{spec}");
    };
    check(
        json!({"user": "x", "groups": ["system:masters"], "resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}}),
        json!({"allowed": true}),
    );
    check(
        json!({"user": "x", "resourceAttributes": {"verb": "list", "resource": "pods"}}),
        json!({"allowed": false}),
    );
    check(
        json!({"user": "alice", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "ns"}}),
        json!({"allowed": true, "reason": r#"RBAC: allowed by ClusterRoleBinding "editor" of ClusterRole "editor" to User "alice""#}),
    );
    check(
        json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default", "name": "s"}}),
        json!({"allowed": false, "reason": "no relationship found between node 'n1' and this object"}),
    );
    check(
        json!({"user": "x", "resourceAttributes": {"verb": "list", "resource": "pods", "labelSelector": {"rawSelector": "bad selector ==="}}}),
        json!({"allowed": false, "evaluationError": "spec.resourceAttributes.labelSelector ignored due to parse error"}),
    );
}

#[test]
fn selectors_are_read() {
    let fields = parse_fields("spec.nodeName=n1,status.phase!=Running").expect("a selector");
    assert_eq!(
        fields.iter().map(|field| (field.key.as_str(), field.operator)).collect::<Vec<_>>(),
        [("spec.nodeName", Operator::Equals), ("status.phase", Operator::NotEquals),]
    );
    assert_eq!(parse_fields("nonsense"), None);
    let labels = parse_labels("a=b, c in (x, y),!d,e,f!=g,h notin (z)").expect("a selector");
    assert_eq!(labels.len(), 6);
    assert_eq!(labels[1].values, ["x", "y"]);
    for bad in ["bad selector ===", "a b", "a in x", "-a", "a=b c"] {
        assert_eq!(parse_labels(bad), None, "{bad}");
    }
    assert_eq!(parse_labels(""), Some(Vec::new()));
}

#[test]
fn a_review_is_refused_for_its_spec() {
    let check = |kind: &str, review: Tree, want: &[(&str, &str)]| {
        let faults = review_faults(kind, &review, "ns");
        let got: Vec<(&str, &str)> =
            faults.iter().map(|fault| (fault.field.as_str(), fault.detail.as_str())).collect();
        assert_eq!(got, want, "{review}");
    };
    let neither = (
        "spec.resourceAttributes",
        "exactly one of nonResourceAttributes or resourceAttributes must be specified",
    );
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "ns"});
    check(
        "SubjectAccessReview",
        json!({"spec": {}}),
        &[neither, ("spec.user", "at least one of user or group must be specified")],
    );
    check("SelfSubjectAccessReview", json!({"spec": {}}), &[neither]);
    check(
        "SubjectAccessReview",
        json!({"spec": {"user": "x", "nonResourceAttributes": {"path": "/"}, "resourceAttributes": pods}}),
        &[("spec.nonResourceAttributes", "cannot be specified in combination with resourceAttributes")],
    );
    let selector =
        json!({"rawSelector": "a=b", "requirements": [{"key": "k", "operator": "In", "values": ["v"]}]});
    check(
        "SubjectAccessReview",
        json!({"spec": {"user": "x", "resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": selector}}}),
        &[(
            "spec.resourceAttributes.fieldSelector.rawSelector",
            "may not specified at the same time as requirements",
        )],
    );
    check(
        "SubjectAccessReview",
        json!({"metadata": {"name": "n", "managedFields": []}, "spec": {"user": "x", "resourceAttributes": pods}}),
        &[("metadata", "must be empty")],
    );
    let local = "LocalSubjectAccessReview";
    check(
        local,
        json!({"metadata": {"namespace": "ns"}, "spec": {"user": "x", "resourceAttributes": pods}}),
        &[],
    );
    check(
        local,
        json!({"metadata": {"namespace": "ns"}, "spec": {"user": "x", "resourceAttributes": {"namespace": "other"}}}),
        &[("spec.resourceAttributes.namespace", "must match metadata.namespace")],
    );
    check(
        local,
        json!({"spec": {"user": "x", "nonResourceAttributes": {"path": "/", "verb": "get"}}}),
        &[("spec.nonResourceAttributes", "disallowed on this kind of request")],
    );
}
