//! What fits into a quota, what is counted, and what upstream says about the rest.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn create<'a>(group: &'a str, plural: &'a str, object: &'a Value) -> Write<'a> {
    Write { group, plural, sub: Subresource::None, object, old: None, now: now() }
}

fn quota(hard: Value, used: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

fn outcome(quota: &Value, write: &Write<'_>) -> String {
    match check(std::slice::from_ref(quota), write) {
        Ok(changes) => changes.iter().map(|(_, quota)| quota["status"]["used"].to_string()).collect(),
        Err(text) => text,
    }
}

fn pod(requests: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}})
}

#[test]
fn what_fits_is_charged_and_what_does_not_is_told() {
    let hard = json!({"pods": "2", "requests.cpu": "1"});
    let check = |used: Value, pod: Value, expected: &str| {
        assert_eq!(outcome(&quota(hard.clone(), used), &create("", "pods", &pod)), expected);
    };
    let used = || json!({"pods": "1", "requests.cpu": "500m"});
    check(used(), pod(json!({"cpu": "500m"})), r#"{"pods":"2","requests.cpu":"1"}"#);
    check(
        used(),
        pod(json!({"cpu": "600m"})),
        "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1",
    );
    check(
        json!({"pods": "2", "requests.cpu": "1"}),
        pod(json!({"cpu": "1"})),
        "exceeded quota: q, requested: pods=1,requests.cpu=1, used: pods=2,requests.cpu=1, limited: pods=2,requests.cpu=1",
    );
    check(used(), pod(json!({})), "failed quota: q: must specify requests.cpu for: c");
    check(
        json!({"pods": "1"}),
        pod(json!({"cpu": "1"})),
        "status unknown for quota: q, resources: pods,requests.cpu",
    );
}

#[test]
fn an_update_pays_for_what_it_adds() {
    let service = |ty: &str| json!({"spec": {"type": ty, "ports": [{"port": 1}, {"port": 2}]}});
    let hard = json!({"services": "1", "services.nodeports": "2", "services.loadbalancers": "0"});
    let used = json!({"services": "1", "services.nodeports": "0", "services.loadbalancers": "0"});
    let quota = quota(hard, used);
    let check = |from: &str, to: &str, expected: &str| {
        let (old, new) = (service(from), service(to));
        let write = Write { old: Some(&old), ..create("", "services", &new) };
        assert_eq!(outcome(&quota, &write), expected);
    };
    check("ClusterIP", "ClusterIP", "");
    check(
        "ClusterIP",
        "NodePort",
        r#"{"services":"1","services.loadbalancers":"0","services.nodeports":"2"}"#,
    );
    check("NodePort", "ClusterIP", "");
    check(
        "NodePort",
        "LoadBalancer",
        "exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0",
    );
}

#[test]
fn objects_are_counted_by_plural_and_group() {
    let object = json!({});
    let check = |group: &str, plural: &str, name: &str, counted: bool| {
        let quota = quota(json!({name: "5"}), json!({name: "0"}));
        assert_eq!(!outcome(&quota, &create(group, plural, &object)).is_empty(), counted, "{plural} {name}");
    };
    check("", "secrets", "secrets", true);
    check("", "secrets", "count/secrets", true);
    check("apps", "deployments", "count/deployments.apps", true);
    check("apps", "deployments", "count/deployments", false);
    check("", "events", "count/events", false);
    check("", "services", "count/services", true);
    check("", "pods", "count/pods", true);
}

#[test]
fn scopes_narrow_a_quota() {
    let check = |spec: Value, pod: Value, covered: bool| {
        let mut quota = quota(json!({"pods": "9"}), json!({"pods": "0"}));
        quota["spec"]["scopeSelector"] = json!({"matchExpressions": [spec]});
        assert_eq!(!outcome(&quota, &create("", "pods", &pod)).is_empty(), covered, "{spec} {pod}");
    };
    let scope = |name: &str| json!({"scopeName": name, "operator": "Exists"});
    let busy = || pod(json!({"cpu": "1"}));
    check(scope("BestEffort"), pod(json!({})), true);
    check(scope("BestEffort"), busy(), false);
    check(scope("NotBestEffort"), busy(), true);
    let limited = json!({"spec": {"activeDeadlineSeconds": 5, "containers": []}});
    check(scope("Terminating"), limited.clone(), true);
    check(scope("NotTerminating"), limited, false);
    let important = json!({"spec": {"priorityClassName": "high", "containers": []}});
    let class = |operator: &str, values: Value| json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
    check(class("In", json!(["high"])), important.clone(), true);
    check(class("In", json!(["high"])), busy(), false);
    check(class("NotIn", json!(["high"])), busy(), true);
    check(class("Exists", json!([])), important.clone(), true);
    check(class("DoesNotExist", json!([])), important, false);
    check(scope("CrossNamespacePodAffinity"), busy(), false);
}

#[test]
fn an_update_may_move_a_pod_into_a_scope() {
    let mut quota = quota(json!({"pods": "1"}), json!({"pods": "0"}));
    quota["spec"]["scopes"] = json!(["Terminating"]);
    let (old, new) = (pod(json!({})), json!({"spec": {"activeDeadlineSeconds": 5, "containers": []}}));
    let write = Write { old: Some(&old), ..create("", "pods", &new) };
    assert_eq!(outcome(&quota, &write), r#"{"pods":"1"}"#);
}

/// Pods, and a number for everything else.
struct Namespace(Vec<Value>, Option<u64>);

impl Counted for Namespace {
    fn objects(&self, _group: &str, plural: &str) -> Vec<&Value> {
        if plural == "pods" { self.0.iter().collect() } else { Vec::new() }
    }

    fn count(&self, _group: &str, _plural: &str) -> Option<u64> {
        self.1
    }
}

#[test]
fn counting_again_finds_what_is_there() {
    let ended = json!({"spec": {"containers": []}, "status": {"phase": "Succeeded"}});
    let stuck = json!({"metadata": {"deletionTimestamp": "2025-12-31T23:00:00Z", "deletionGracePeriodSeconds": 30}, "spec": {}});
    let pods = || vec![pod(json!({"cpu": "300m"})), pod(json!({"cpu": "1"})), ended.clone(), stuck.clone()];
    let hard = json!({"pods": "5", "requests.cpu": "2", "count/pods": "9", "count/jobs.batch": "1", "secrets": "3", "services": "1"});
    let quota = quota(hard.clone(), json!({}));
    let status = recount(&quota, &Namespace(pods(), Some(7)), now());
    assert_eq!(
        status,
        json!({"hard": hard, "used": {"pods": "2", "requests.cpu": "1300m", "count/pods": "4", "count/jobs.batch": "7", "secrets": "7", "services": "0"}})
    );
    let unknown = recount(&quota, &Namespace(pods(), None), now());
    assert_eq!(
        unknown["used"],
        json!({"pods": "2", "requests.cpu": "1300m", "count/pods": "4", "services": "0"})
    );
}

#[test]
fn claims_pay_for_their_class_too() {
    let claim =
        json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}}});
    let used = usage("", "persistentvolumeclaims", &claim, now());
    let printed: Vec<String> = used.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    assert_eq!(
        printed,
        [
            "count/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims=1",
            "gold.storageclass.storage.k8s.io/requests.storage=2",
            "persistentvolumeclaims=1",
            "requests.storage=2",
        ]
    );
}
