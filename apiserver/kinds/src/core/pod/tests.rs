//! Pods as tables: an object in, its defaults, faults, verdicts and cells out.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{admission, binding, eviction};
use crate::tree::{at, list_at, set, str_at};
use crate::{Strategy, Subresource};

fn pods() -> &'static dyn Strategy {
    crate::strategy("", "v1", "pods").expect("registered")
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a timestamp")
}

/// A defaulted pod with these fields of the spec.
fn pod(spec: Value) -> Value {
    let mut obj = json!({
        "metadata": {"name": "p", "namespace": "n", "resourceVersion": "1"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    for (name, value) in spec.as_object().expect("an object") {
        set(&mut obj, &format!("spec.{name}"), value.clone());
    }
    pods().default(&mut obj);
    obj
}

fn check(spec: Value, errors: &[&str]) {
    let texts: Vec<String> = pods().validate(&pod(spec)).iter().map(ToString::to_string).collect();
    assert_eq!(texts, errors);
}

fn check_container(container: Value, errors: &[&str]) {
    let mut full = json!({"name": "c", "image": "i"});
    for (name, value) in container.as_object().expect("an object") {
        set(&mut full, name, value.clone());
    }
    check(json!({"containers": [full]}), errors);
}

#[test]
fn grace_depends_on_whether_the_pod_runs() {
    let running = pod(json!({"nodeName": "node"}));
    assert_eq!(pods().graceful_period(&running, None), Some(30));
    assert_eq!(pods().graceful_period(&running, Some(5)), Some(5));
    assert_eq!(pods().graceful_period(&running, Some(-5)), Some(1));
    assert_eq!(pods().graceful_period(&pod(json!({})), Some(5)), Some(0));

    let mut ended = running;
    set(&mut ended, "status.phase", "Succeeded");
    assert_eq!(pods().graceful_period(&ended, Some(5)), Some(0));
}

#[test]
fn addresses_of_the_status_agree() {
    for (status, ips, ip) in [
        (json!({"podIP": "1.1.1.1"}), json!(["1.1.1.1"]), "1.1.1.1"),
        (json!({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "::1"}]}), json!(["1.1.1.1", "::1"]), "1.1.1.1"),
        (json!({"podIP": "2.2.2.2", "podIPs": [{"ip": "1.1.1.1"}]}), json!(["2.2.2.2"]), "2.2.2.2"),
    ] {
        let mut obj = pod(json!({}));
        set(&mut obj, "status", status);
        pods().default(&mut obj);
        let given: Vec<&str> =
            list_at(&obj, "status.podIPs").iter().map(|entry| str_at(entry, "ip")).collect();
        assert_eq!(json!(given), ips);
        assert_eq!(str_at(&obj, "status.podIP"), ip);
    }
}

#[test]
fn environment_comes_from_files_of_empty_directories() {
    let env =
        json!([{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "f", "key": "K"}}}]);
    let container = json!([{"name": "c", "image": "i", "env": env}]);
    check(json!({"containers": container, "volumes": [{"name": "v", "emptyDir": {}}]}), &[]);
    check(
        json!({"containers": container, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
        &[
            "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: \"v\": referenced volume must be of type emptyDir",
        ],
    );
    check(
        json!({"containers": container}),
        &["spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\""],
    );
}

#[test]
fn restart_rules_need_a_policy_and_exit_codes() {
    check_container(
        json!({"restartPolicy": "Never", "restartPolicyRules": [
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]}),
        &[],
    );
    check_container(
        json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Stop"}]}),
        &[
            "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
            "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
        ],
    );
}

#[test]
fn resources_have_units() {
    check_container(
        json!({"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}}),
        &[
            "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
            "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
        ],
    );
    check(
        json!({"resources": {"limits": {"ephemeral-storage": "1Gi"}}}),
        &[
            "spec.resources.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
        ],
    );
}

#[test]
fn windows_names_and_processes() {
    let user = |name: &str| json!({"windowsOptions": {"runAsUserName": name}});
    let path = "spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value";
    check_container(json!({"securityContext": user("DOMAIN\\me")}), &[]);
    let text = format!("{path}: \"..\": runAsUserName's User cannot contain only periods or spaces");
    check_container(json!({"securityContext": user("..")}), &[&text]);
    let text = format!("{path}: \"a\\\\b\\\\c\": runAsUserName cannot contain more than one backslash");
    check_container(json!({"securityContext": user("a\\b\\c")}), &[&text]);
    check(
        json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
        &[
            "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
        ],
    );
}

#[test]
fn what_is_stored_already_may_stay() {
    let sysctl =
        json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.x", "value": "1"}]}});
    let stored = pod(sysctl);
    assert_eq!(pods().validate(&stored).len(), 1);
    let mut new = stored.clone();
    set(&mut new, "metadata.labels", json!({"a": "b"}));
    assert_eq!(pods().validate_update(Subresource::None, &new, &stored), []);
}

#[test]
fn annotations_and_fields_must_agree() {
    let mut obj = pod(json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}));
    let name = "container.apparmor.security.beta.kubernetes.io/c";
    set(&mut obj, "metadata.annotations", json!({name: "runtime/default"}));
    let texts: Vec<String> = pods().validate(&obj).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match"
        ]
    );

    let mut old_style = pod(json!({}));
    set(&mut old_style, "metadata.annotations", json!({name: "localhost/x"}));
    assert_eq!(
        pods().warnings(&old_style, None),
        [format!(
            "metadata.annotations[{name}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
        )]
    );
    pods().prepare_create(&mut old_style);
    assert_eq!(
        at(&list_at(&old_style, "spec.containers")[0], "securityContext.appArmorProfile"),
        Some(&json!({"type": "Localhost", "localhostProfile": "x"}))
    );
}

#[test]
fn a_container_that_has_ended_stays_ended() {
    let mut old = pod(json!({"restartPolicy": "OnFailure"}));
    let status =
        |state: Value| json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": state}]});
    let check = |old: &Value, refused: bool| {
        let mut new = old.clone();
        set(&mut new, "status", status(json!({"running": {}})));
        let errors = pods().validate_update(Subresource::Status, &new, old);
        assert_eq!(!errors.is_empty(), refused, "{errors:?}");
    };
    set(&mut old, "status", status(json!({"terminated": {"exitCode": 1}})));
    check(&old, false);
    set(&mut old, "status", status(json!({"terminated": {"exitCode": 0}})));
    check(&old, true);
}

#[test]
fn a_pod_is_bound_once() {
    let node = json!({"metadata": {"name": "p", "labels": {"topology.kubernetes.io/zone": "z"}}, "target": {"name": "n1"}});
    let mut obj = pod(json!({}));
    set(&mut obj, "status.nominatedNodeName", "n0");
    binding::bind(&mut obj, &node, now()).expect("not bound yet");
    assert_eq!(str_at(&obj, "spec.nodeName"), "n1");
    assert_eq!(at(&obj, "status.nominatedNodeName"), None);
    assert_eq!(at(&obj, "metadata.labels"), at(&node, "metadata.labels"));
    assert_eq!(
        at(&obj, "status.conditions"),
        Some(
            &json!([{"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        )
    );
    let again = binding::bind(&mut obj, &node, now());
    assert_eq!(again, Err("pod p is already assigned to node \"n1\"".to_owned()));

    let mut gated = pod(json!({"schedulingGates": [{"name": "g"}]}));
    let refused = binding::bind(&mut gated, &node, now());
    assert_eq!(refused, Err("pod p has non-empty .spec.schedulingGates".to_owned()));
}

#[test]
fn budgets_decide_over_running_pods() {
    let mut running = pod(json!({"nodeName": "n"}));
    set(
        &mut running,
        "status",
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
    );
    let budget = |allowed: i64, healthy: i64, desired: i64| {
        json!({"metadata": {"name": "b"}, "status": {
            "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired}})
    };
    let decide = |pod: &Value, budgets: &[Value]| eviction::decide(pod, budgets, now());

    assert_eq!(decide(&running, &[]), eviction::Verdict::Delete { at_this_revision: false });
    assert_eq!(decide(&running, &[budget(1, 2, 1), budget(1, 2, 1)]), eviction::Verdict::SeveralBudgets);
    let cause = "The disruption budget b needs 2 healthy pods and has 2 currently".to_owned();
    let refused = eviction::Verdict::TooManyRequests { cause, retry_after_seconds: None };
    assert_eq!(decide(&running, &[budget(0, 2, 2)]), refused);
    match decide(&running, &[budget(1, 2, 1)]) {
        eviction::Verdict::Charge(charged) => {
            assert_eq!(at(&charged, "status.disruptionsAllowed"), Some(&json!(0)));
            assert_eq!(at(&charged, "status.disruptedPods"), Some(&json!({"p": "2026-01-01T00:00:00Z"})));
        }
        other => panic!("{other:?}"),
    }

    let mut unready = running.clone();
    set(&mut unready, "status.conditions", json!([]));
    assert_eq!(decide(&unready, &[budget(0, 2, 2)]), eviction::Verdict::Delete { at_this_revision: true });
    let mut pending = running;
    set(&mut pending, "status.phase", "Pending");
    assert_eq!(decide(&pending, &[budget(0, 0, 2)]), eviction::Verdict::Delete { at_this_revision: true });
}

#[test]
fn a_token_is_mounted_once_and_only_where_nothing_is() {
    let account = json!({"metadata": {"name": "a"}, "imagePullSecrets": [{"name": "pull"}]});
    let mut obj = pod(json!({"containers": [
        {"name": "c", "image": "i"},
        {"name": "d", "image": "i", "volumeMounts": [{"name": "own", "mountPath": admission::TOKEN_MOUNT_PATH}]},
    ]}));
    admission::apply_service_account(&mut obj, &account, "abcde");
    let containers = list_at(&obj, "spec.containers");
    assert_eq!(str_at(&list_at(&containers[0], "volumeMounts")[0], "name"), "kube-api-access-abcde");
    assert_eq!(list_at(&containers[1], "volumeMounts").len(), 1);
    assert_eq!(str_at(&list_at(&obj, "spec.volumes")[0], "name"), "kube-api-access-abcde");
    assert_eq!(at(&obj, "spec.imagePullSecrets"), Some(&json!([{"name": "pull"}])));

    let mut declined = pod(json!({"automountServiceAccountToken": false}));
    admission::apply_service_account(&mut declined, &account, "abcde");
    assert!(list_at(&declined, "spec.volumes").is_empty());
}

#[test]
fn enforced_accounts_limit_secrets() {
    let account = json!({
        "metadata": {"name": "a", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "known"}],
    });
    let with = |name: &str| pod(json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]}));
    assert_eq!(admission::check_mountable_secrets(&with("known"), &account), Ok(()));
    assert_eq!(
        admission::check_mountable_secrets(&with("other"), &account),
        Err("volume with secret.secretName=\"other\" is not allowed because service account a does not reference that secret".to_owned())
    );
}

#[test]
fn a_container_is_chosen_or_asked_for() {
    let two = pod(json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}));
    assert_eq!(admission::choose_container(&two, "b"), Ok("b".to_owned()));
    assert_eq!(
        admission::choose_container(&two, ""),
        Err("a container name must be specified for pod p, choose one of: [a b]".to_owned())
    );
    assert_eq!(admission::choose_container(&two, "x"), Err("container x is not valid for pod p".to_owned()));
    assert_eq!(admission::choose_container(&pod(json!({})), ""), Ok("c".to_owned()));
}

#[test]
fn attributes_carry_every_selectable_field() {
    let obj = pod(json!({"nodeName": "n", "hostNetwork": true, "serviceAccount": "s"}));
    let attributes = pods().attributes(&obj);
    let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, pods().selectable());
    assert!(attributes.contains(&("spec.hostNetwork", "true".to_owned())));
    assert!(attributes.contains(&("spec.serviceAccountName", "s".to_owned())));
}
