//! Facts of Kubernetes 1.36 about the roles of a fresh cluster.

use super::*;

fn find<'a>(objects: &'a [Tree], kind: &str, name: &str) -> &'a Tree {
    let found = objects.iter().find(|tree| tree["kind"] == kind && tree["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn there_are_as_many_objects_as_upstream_makes() {
    let objects = objects();
    let check = |kind: &str, want: usize| {
        let of_kind: Vec<&Tree> = objects.iter().filter(|tree| tree["kind"] == kind).collect();
        let names: std::collections::BTreeSet<String> = of_kind
            .iter()
            .map(|tree| format!("{}{}", tree["metadata"]["namespace"], tree["metadata"]["name"]))
            .collect();
        assert_eq!(of_kind.len(), want, "{kind}");
        assert_eq!(names.len(), want, "names of {kind} are unique");
    };
    check("ClusterRole", 69);
    check("ClusterRoleBinding", 50);
    check("Role", 7);
    check("RoleBinding", 7);
    for tree in &objects {
        assert_eq!(tree["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
        assert_eq!(tree["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"], "true");
    }
}

#[test]
fn aggregated_roles_hold_what_they_gather() {
    let objects = objects();
    let check = |name: &str, want: usize| {
        let role = find(&objects, "ClusterRole", name);
        assert_eq!(role["rules"].as_array().map(Vec::len), Some(want), "{name}");
        assert!(role["aggregationRule"].is_object());
    };
    check("view", 12);
    check("edit", 27);
    check("admin", 29);
    assert_eq!(
        find(&objects, "ClusterRole", "edit")["metadata"]["labels"],
        json!({
            "kubernetes.io/bootstrapping": "rbac-defaults",
            "rbac.authorization.k8s.io/aggregate-to-admin": "true",
        }),
    );
    let admin = Rule::of_role(find(&objects, "ClusterRole", "admin"));
    assert_eq!(admin[0].resources[0], "pods/attach", "edit comes before system:aggregate-to-admin");
    assert!(admin[28].api_groups == [GROUP]);
}

#[test]
fn some_objects_in_full() {
    let objects = objects();
    let rules = |kind: &str, name: &str| find(&objects, kind, name)["rules"].clone();
    assert_eq!(
        rules("ClusterRole", "cluster-admin"),
        json!([
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ]),
    );
    assert_eq!(
        rules("Role", "extension-apiserver-authentication-reader"),
        json!([{
            "verbs": ["get", "list", "watch"],
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["extension-apiserver-authentication"],
        }]),
    );
    assert_eq!(
        rules("ClusterRole", "system:public-info-viewer"),
        json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}]),
    );
    let binding = |name: &str| {
        let tree = find(&objects, "ClusterRoleBinding", name);
        (tree["roleRef"].clone(), tree["subjects"].clone())
    };
    assert_eq!(
        binding("system:controller:namespace-controller"),
        (
            json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": "system:controller:namespace-controller"}),
            json!([{"kind": "ServiceAccount", "name": "namespace-controller", "namespace": "kube-system"}]),
        ),
    );
    assert_eq!(binding("system:node").1, Tree::Null);
    let leader = find(&objects, "RoleBinding", "system::leader-locking-kube-scheduler");
    assert_eq!(leader["subjects"].as_array().map(Vec::len), Some(2));
}

#[test]
fn namespaces_are_the_four_of_every_cluster() {
    let names: Vec<Tree> = namespaces().iter().map(|tree| tree["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
}

#[test]
fn what_is_missing_is_put_back_and_what_was_added_stays() {
    let objects = objects();
    let shipped = find(&objects, "ClusterRole", "system:node-bootstrapper");
    let check = |kind: &str, name: &str, change: &dyn Fn(&mut Tree), want: &dyn Fn(&mut Tree)| {
        let shipped = find(&objects, kind, name);
        let (mut stored, mut wanted) = (shipped.clone(), shipped.clone());
        change(&mut stored);
        want(&mut wanted);
        let got = match reconcile(&stored, shipped) {
            Reconciled::Keep => stored,
            Reconciled::Update(tree) | Reconciled::Recreate(tree) => tree,
        };
        assert_eq!(got, wanted, "{name}");
    };
    let same = |_: &mut Tree| {};
    assert_eq!(reconcile(shipped, shipped), Reconciled::Keep);
    let role = "system:node-bootstrapper";
    let extra = |tree: &mut Tree| tree["metadata"]["labels"]["mine"] = "1".into();
    check("ClusterRole", role, &extra, &extra);
    check("ClusterRole", role, &|tree| tree["metadata"]["labels"] = json!({}), &same);
    let one_verb = |tree: &mut Tree| tree["rules"][0]["verbs"] = json!(["create", "get", "watch"]);
    let put_back = |tree: &mut Tree| {
        one_verb(tree);
        let missing = json!({"verbs": ["list"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]});
        tree["rules"].as_array_mut().expect("rules").push(missing);
    };
    check("ClusterRole", role, &one_verb, &put_back);
    let protected = |tree: &mut Tree| {
        tree["rules"] = json!([]);
        tree["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    };
    check("ClusterRole", role, &protected, &protected);
    let gathered = |tree: &mut Tree| tree["rules"] = json!([]);
    check("ClusterRole", "admin", &gathered, &gathered);
    check(
        "ClusterRole",
        "admin",
        &|tree| tree["aggregationRule"] = json!({"clusterRoleSelectors": []}),
        &same,
    );
    check("ClusterRoleBinding", "cluster-admin", &|tree| tree["subjects"] = json!([]), &same);
    check("ClusterRoleBinding", "cluster-admin", &|tree| tree["roleRef"]["name"] = "view".into(), &same);
}
