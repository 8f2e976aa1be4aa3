//! Standards against pods, as tables.

use serde_json::{Value, json};

use super::*;

fn policy(labels: &str) -> Policy {
    let keys: Vec<(String, &str)> = labels
        .split_whitespace()
        .map(|label| label.split_once('=').expect("key=value"))
        .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value))
        .collect();
    Policy::of(keys.iter().map(|(key, value)| (key.as_str(), *value)))
}

/// `ENFORCE WARN [errors]` of labels written without their prefix.
fn check_labels(labels: &str, expect: &str) {
    let policy = policy(labels);
    let errors: Vec<String> = policy.errors.iter().map(ToString::to_string).collect();
    let got = format!("{} {} {}", policy.enforce, policy.warn, errors.join(", "));
    assert_eq!(got.trim_end(), expect, "{labels}");
}

#[test]
fn labels_ask_for_standards() {
    check_labels("", "privileged:latest privileged:latest");
    check_labels("enforce=baseline", "baseline:latest baseline:latest");
    check_labels("enforce=restricted enforce-version=v1.20", "restricted:v1.20 restricted:v1.20");
    check_labels(
        "enforce=restricted enforce-version=v1.20 warn-version=latest",
        "restricted:v1.20 restricted:latest",
    );
    check_labels("enforce=restricted warn=baseline", "restricted:latest baseline:latest");
    check_labels("nonsense=x", "privileged:latest privileged:latest");
    let level = "must be one of privileged, baseline, restricted";
    let version = "must be \"latest\" or \"v1.x\"";
    let at = |key: &str, value: &str, text: &str| {
        format!("metadata.labels[pod-security.kubernetes.io/{key}]: Invalid value: \"{value}\": {text}")
    };
    check_labels("enforce=x", &format!("restricted:latest privileged:latest {}", at("enforce", "x", level)));
    check_labels("audit=x", &format!("privileged:latest privileged:latest {}", at("audit", "x", level)));
    for wrong in ["1.2", "v1.02", "v1.", "v2.1", "v1.x"] {
        check_labels(
            &format!("warn-version={wrong}"),
            &format!("privileged:latest privileged:latest {}", at("warn-version", wrong, version)),
        );
    }
}

#[test]
fn a_standard_asks_more_than_another() {
    for (old, new, expect) in [
        ("enforce=baseline", "enforce=restricted", true),
        ("enforce=restricted", "enforce=baseline", false),
        ("enforce=baseline", "enforce=baseline", false),
        ("enforce=restricted", "enforce=privileged", false),
        ("enforce=baseline", "enforce=baseline enforce-version=v1.20", true),
    ] {
        assert_eq!(policy(new).enforce.asks_more_than(policy(old).enforce), expect, "{old} -> {new}");
    }
}

/// What a standard says to a pod with this spec; `ok` if nothing.
fn check(standard: &str, spec: Value, expect: &str) {
    check_pod(standard, &json!({"spec": spec}), expect);
}

fn check_pod(standard: &str, pod: &Value, expect: &str) {
    let (level, version) = standard.split_once(' ').unwrap_or((standard, "latest"));
    let standard = policy(&format!("enforce={level} enforce-version={version}")).enforce;
    let got = details(&violations(standard, &Subject::of(pod)));
    assert_eq!(if got.is_empty() { "ok" } else { &got }, expect, "{standard} {pod}");
}

fn one(security: Value) -> Value {
    json!({"containers": [{"name": "c", "securityContext": security}]})
}

#[test]
fn the_baseline_keeps_a_pod_in_its_box() {
    check("baseline", one(json!({})), "ok");
    check("privileged", json!({"hostPID": true}), "ok");
    check(
        "baseline",
        json!({"hostPID": true, "hostIPC": true}),
        "host namespaces (hostPID=true, hostIPC=true)",
    );
    check(
        "baseline",
        json!({"initContainers": [{"name": "i", "securityContext": {"privileged": true}}], "ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}),
        "privileged (containers \"i\", \"e\" must not set securityContext.privileged=true)",
    );
    check(
        "baseline",
        one(json!({"capabilities": {"add": ["SYS_TIME", "CHOWN", "NET_ADMIN"]}})),
        "non-default capabilities (container \"c\" must not include \"NET_ADMIN\", \"SYS_TIME\" in securityContext.capabilities.add)",
    );
    check("baseline", json!({"volumes": [{"name": "v", "hostPath": {}}]}), "hostPath volumes (volume \"v\")");
    check(
        "baseline",
        json!({"containers": [{"name": "c", "ports": [{"hostPort": 2}, {"hostPort": 1}, {"hostPort": 0}]}]}),
        "hostPort (container \"c\" uses hostPorts 1, 2)",
    );
    check(
        "baseline",
        one(json!({"seLinuxOptions": {"type": "spc_t", "role": "r"}})),
        "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; role may not be set)",
    );
    check(
        "baseline",
        json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    );
    let key = "container.apparmor.security.beta.kubernetes.io/c";
    check_pod(
        "baseline",
        &json!({"metadata": {"annotations": {key: "unconfined"}}, "spec": one(json!({"appArmorProfile": {"type": "Unconfined"}}))}),
        &format!(
            "forbidden AppArmor profiles (container \"c\" and annotation must not set AppArmor profile type to \"Unconfined\", \"{key}=\"unconfined\"\")"
        ),
    );
}

#[test]
fn rules_change_with_versions() {
    let probe = json!({"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"host": "h"}}}]});
    check("baseline v1.33", probe.clone(), "ok");
    check(
        "baseline v1.34",
        probe,
        "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")",
    );
    let unmasked = |users: bool| json!({"hostUsers": users, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]});
    let refused = "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")";
    check("baseline", unmasked(true), refused);
    check("baseline", unmasked(false), "ok");
    check("baseline v1.34", unmasked(false), refused);
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name}]}});
    check("baseline v1.31", sysctl("net.ipv4.tcp_rmem"), "forbidden sysctls (net.ipv4.tcp_rmem)");
    check("baseline v1.32", sysctl("net.ipv4.tcp_rmem"), "ok");
    let annotated = json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}, "spec": {}});
    check_pod(
        "baseline v1.18",
        &annotated,
        "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")",
    );
    check_pod("baseline v1.19", &annotated, "ok");
    check("restricted v1.0", one(json!({"runAsNonRoot": true, "runAsUser": 0})), "ok");
    check("restricted v1.99", one(json!({})), FOUR);
}

/// What a plain container lacks.
const FOUR: &str = "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
    unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
    runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
    seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

#[test]
fn the_restricted_level_asks_for_four_things() {
    check("restricted", one(json!({})), FOUR);
    let hard = |more: Value| {
        let mut security = json!({"allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "Localhost"}});
        for (key, value) in more.as_object().expect("an object") {
            security[key] = value.clone();
        }
        one(security)
    };
    check("restricted", hard(json!({})), "ok");
    check(
        "restricted",
        hard(json!({"runAsUser": 0})),
        "runAsUser=0 (container \"c\" must not set runAsUser=0)",
    );
    check(
        "restricted",
        hard(json!({"runAsNonRoot": false})),
        "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
    );
    check(
        "restricted",
        hard(json!({"capabilities": {"add": ["CHOWN", "NET_BIND_SERVICE"]}})),
        "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; \
         container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    let mut volumes = hard(json!({}));
    volumes["volumes"] =
        json!([{"name": "n", "nfs": {}}, {"name": "h", "hostPath": {}}, {"name": "e", "emptyDir": {}}]);
    check(
        "restricted",
        volumes,
        "restricted volume types (volumes \"n\", \"h\" use restricted volume types \"hostPath\", \"nfs\")",
    );
    let mut users = hard(json!({"runAsNonRoot": false, "runAsUser": 0}));
    users["hostUsers"] = json!(false);
    check("restricted", users.clone(), "ok");
    users["hostUsers"] = json!(true);
    users["os"] = json!({"name": "windows"});
    check(
        "restricted v1.24",
        users,
        "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false), runAsUser=0 (container \"c\" must not set runAsUser=0)",
    );
}

#[test]
fn only_images_and_containers_matter_in_an_update() {
    let pod = |image: &str, ephemeral: &[&str]| {
        let ephemeral: Vec<Value> =
            ephemeral.iter().map(|name| json!({"name": name, "image": "e"})).collect();
        json!({"metadata": {"labels": {"i": image}}, "spec": {"containers": [{"name": "c", "image": image}], "ephemeralContainers": ephemeral}})
    };
    assert!(!is_significant(&pod("a", &["x"]), &pod("a", &["x"])));
    assert!(is_significant(&pod("b", &[]), &pod("a", &[])));
    assert!(is_significant(&pod("a", &["x", "y"]), &pod("a", &["x"])));
}
