//! What admission does to pods that needs nothing but the pod and the objects it names.
//!
//! The caller finds the service account and the priority class and passes the random suffix of the token volume. An `Err`
//! is the text of a 403 after `pods "name" is forbidden: `.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::containers::each;
use super::validate::annotations::{MIRROR, annotation};
use crate::field::quote;
use crate::tree::{at, bool_at, int_at, list_at, list_at_mut, set, str_at};

/// Where the token of the service account is mounted.
pub const TOKEN_MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Name of the token volume, before the random suffix.
pub const TOKEN_VOLUME_PREFIX: &str = "kube-api-access-";

/// Validity of the token: an hour, and some to tell it from one that was asked for.
const TOKEN_SECONDS: i64 = 3607;

/// Seconds a pod stays on a node that is not ready or not reachable.
const UNREADY_SECONDS: i64 = 300;

/// Whether the pod mirrors one that a node runs by itself. Such pods are not changed.
pub fn is_mirror(pod: &Value) -> bool {
    annotation(pod, MIRROR).is_some()
}

/// The service account the pod runs as, by default `default`; the field is set.
pub fn service_account_name(pod: &mut Value) -> String {
    if str_at(pod, "spec.serviceAccountName").is_empty() {
        set(pod, "spec.serviceAccountName", "default");
    }
    let name = str_at(pod, "spec.serviceAccountName").to_owned();
    set(pod, "spec.serviceAccount", name.clone());
    name
}

/// Refuses mirror pods that name objects: the node has no say in who may read them.
pub fn check_mirror(pod: &Value) -> Result<(), &'static str> {
    if !str_at(pod, "spec.serviceAccountName").is_empty() {
        return Err("a mirror pod may not reference service accounts");
    }
    if names_secrets(pod) {
        return Err("a mirror pod may not reference secrets");
    }
    let projects_token = list_at(pod, "spec.volumes")
        .iter()
        .flat_map(|volume| list_at(volume, "projected.sources"))
        .any(|source| at(source, "serviceAccountToken").is_some());
    if projects_token {
        Err("a mirror pod may not use ServiceAccountToken volume projections")
    } else {
        Ok(())
    }
}

fn names_secrets(pod: &Value) -> bool {
    const OF_VOLUME: [&str; 11] = [
        "secret",
        "azureFile",
        "cephfs.secretRef",
        "cinder.secretRef",
        "csi.nodePublishSecretRef",
        "flexVolume.secretRef",
        "iscsi.secretRef",
        "rbd.secretRef",
        "scaleIO.secretRef",
        "storageos.secretRef",
        "glusterfs.secretRef",
    ];
    let by_volume = |volume: &Value| {
        OF_VOLUME.iter().any(|name| at(volume, name).is_some())
            || list_at(volume, "projected.sources").iter().any(|source| at(source, "secret").is_some())
    };
    let spec = at(pod, "spec").unwrap_or(&Value::Null);
    !list_at(spec, "imagePullSecrets").is_empty()
        || list_at(spec, "volumes").iter().any(by_volume)
        || each(spec).any(|container| {
            list_at(container, "env").iter().any(|variable| at(variable, "valueFrom.secretKeyRef").is_some())
                || list_at(container, "envFrom").iter().any(|source| at(source, "secretRef").is_some())
        })
}

/// Gives the pod what its service account brings along: the token, mounted in every container, and pull secrets.
pub fn apply_service_account(pod: &mut Value, account: &Value, suffix: &str) {
    let automount = bool_at(pod, "spec.automountServiceAccountToken")
        .or_else(|| bool_at(account, "automountServiceAccountToken"))
        .unwrap_or(true);
    if automount {
        mount_token(pod, suffix);
    }
    let secrets = list_at(account, "imagePullSecrets");
    if list_at(pod, "spec.imagePullSecrets").is_empty() && !secrets.is_empty() {
        let names: Vec<Value> =
            secrets.iter().map(|secret| json!({"name": str_at(secret, "name")})).collect();
        set(pod, "spec.imagePullSecrets", names);
    }
}

fn mount_token(pod: &mut Value, suffix: &str) {
    let existing = list_at(pod, "spec.volumes")
        .iter()
        .map(|volume| str_at(volume, "name"))
        .find(|name| name.starts_with(TOKEN_VOLUME_PREFIX))
        .map(str::to_owned);
    let is_new = existing.is_none();
    let name = existing.unwrap_or_else(|| format!("{TOKEN_VOLUME_PREFIX}{suffix}"));
    let mount = json!({"name": name, "readOnly": true, "mountPath": TOKEN_MOUNT_PATH});
    let mut mounted = false;
    for list in ["spec.initContainers", "spec.containers"] {
        for container in list_at_mut(pod, list) {
            let taken = list_at(container, "volumeMounts")
                .iter()
                .any(|mount| str_at(mount, "mountPath") == TOKEN_MOUNT_PATH);
            if !taken {
                push(container, "volumeMounts", mount.clone());
                mounted = true;
            }
        }
    }
    if is_new && mounted {
        push(pod, "spec.volumes", token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}})
}

/// Refuses secrets that a service account with enforced mountable secrets does not list.
pub fn check_mountable_secrets(pod: &Value, account: &Value) -> Result<(), String> {
    if !enforces_mountable_secrets(account) {
        return Ok(());
    }
    let name = str_at(account, "metadata.name");
    let names = |list: &str| -> BTreeSet<&str> {
        list_at(account, list).iter().map(|secret| str_at(secret, "name")).collect()
    };
    let mountable = names("secrets");
    for volume in list_at(pod, "spec.volumes").iter().filter_map(|volume| at(volume, "secret")) {
        let secret = str_at(volume, "secretName");
        if !mountable.contains(secret) {
            return Err(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {name} does not reference that secret"
            ));
        }
    }
    for (list, noun) in [("spec.initContainers", "init container"), ("spec.containers", "container")] {
        check_container_secrets(list_at(pod, list), noun, &mountable, name)?;
    }
    let pullable = names("imagePullSecrets");
    for (index, secret) in list_at(pod, "spec.imagePullSecrets").iter().enumerate() {
        let secret = str_at(secret, "name");
        if !pullable.contains(secret) {
            return Err(format!(
                "imagePullSecrets[{index}].name=\"{secret}\" is not allowed because service account {name} does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

/// The same for ephemeral containers that are added later.
pub fn check_ephemeral_secrets(pod: &Value, account: &Value) -> Result<(), String> {
    if !enforces_mountable_secrets(account) {
        return Ok(());
    }
    let mountable = list_at(account, "secrets").iter().map(|secret| str_at(secret, "name")).collect();
    let containers = list_at(pod, "spec.ephemeralContainers");
    check_container_secrets(containers, "ephemeral container", &mountable, str_at(account, "metadata.name"))
}

fn enforces_mountable_secrets(account: &Value) -> bool {
    annotation(account, "kubernetes.io/enforce-mountable-secrets")
        .is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

fn check_container_secrets(
    containers: &[Value],
    noun: &str,
    mountable: &BTreeSet<&str>,
    account: &str,
) -> Result<(), String> {
    for container in containers {
        let name = str_at(container, "name");
        for variable in list_at(container, "env") {
            let Some(reference) = at(variable, "valueFrom.secretKeyRef") else { continue };
            let (variable, secret) = (str_at(variable, "name"), str_at(reference, "name"));
            if !mountable.contains(secret) {
                return Err(format!(
                    "{noun} {name} with envVar {variable} referencing secret.secretName=\"{secret}\" is not allowed because service account {account} does not reference that secret"
                ));
            }
        }
        for source in list_at(container, "envFrom").iter().filter_map(|source| at(source, "secretRef")) {
            let secret = str_at(source, "name");
            if !mountable.contains(secret) {
                return Err(format!(
                    "{noun} {name} with envFrom referencing secret.secretName=\"{secret}\" is not allowed because service account {account} does not reference that secret"
                ));
            }
        }
    }
    Ok(())
}

/// Lets the pod outlive a short trouble of its node, unless it says itself for how long. For creates and updates.
pub fn default_tolerations(pod: &mut Value) {
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = list_at(pod, "spec.tolerations").iter().any(|toleration| {
            matches!(str_at(toleration, "effect"), "" | "NoExecute")
                && (str_at(toleration, "key").is_empty() || str_at(toleration, "key") == taint)
        });
        if !tolerates {
            missing_toleration(pod, taint);
        }
    }
}

fn missing_toleration(pod: &mut Value, taint: &str) {
    let toleration = json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREADY_SECONDS});
    push(pod, "spec.tolerations", toleration);
}

/// Gives the pod the priority of its class. `class` is the PriorityClass the pod names, or else the global default.
pub fn set_priority(pod: &mut Value, class: Option<&Value>) -> Result<(), String> {
    let computed = class.and_then(|class| int_at(class, "value")).unwrap_or(0);
    let policy = match class {
        Some(class) => str_at(class, "preemptionPolicy").to_owned(),
        None => "PreemptLowerPriority".to_owned(),
    };
    if let Some(class) = class {
        set(pod, "spec.priorityClassName", str_at(class, "metadata.name"));
    }
    if let Some(given) = int_at(pod, "spec.priority").filter(|given| *given != computed) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
        ));
    }
    set(pod, "spec.priority", computed);
    if policy.is_empty() {
        return Ok(());
    }
    let given = str_at(pod, "spec.preemptionPolicy");
    if !given.is_empty() && given != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    set(pod, "spec.preemptionPolicy", policy);
    Ok(())
}

/// On update, what admission has once set stays when the writer leaves it out.
pub fn keep_priority(new: &mut Value, old: &Value) {
    for name in ["spec.priority", "spec.preemptionPolicy"] {
        if let (None, Some(value)) = (at(new, name), at(old, name)) {
            set(new, name, value.clone());
        }
    }
}

/// Gives the pod what its runtime class costs and asks for. `class` is the RuntimeClass the pod names, if any.
pub fn apply_runtime_class(pod: &mut Value, class: Option<&Value>) -> Result<(), String> {
    let overhead = class.and_then(|class| at(class, "overhead.podFixed")).cloned();
    match (at(pod, "spec.overhead"), &overhead) {
        (Some(given), Some(own)) if given != own => {
            return Err(
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned()
            );
        }
        (None, Some(own)) => set(pod, "spec.overhead", own.clone()),
        _ => {}
    }
    let Some(scheduling) = class.and_then(|class| at(class, "scheduling")) else { return Ok(()) };
    let selector = at(scheduling, "nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
    if !selector.is_empty() {
        let mut merged = at(pod, "spec.nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, value) in selector {
            let conflict = merged.get(&key).is_some_and(|given| *given != value);
            if conflict {
                let given = merged[&key].as_str().unwrap_or("");
                let wanted = value.as_str().unwrap_or("");
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {given}"
                ));
            }
            merged.insert(key, value);
        }
        set(pod, "spec.nodeSelector", merged);
    }
    for toleration in list_at(scheduling, "tolerations") {
        if !list_at(pod, "spec.tolerations").contains(toleration) {
            push(pod, "spec.tolerations", toleration.clone());
        }
    }
    Ok(())
}

/// Refuses a valid pod with an overhead that no class has.
pub fn check_overhead(pod: &Value, class: Option<&Value>) -> Result<(), String> {
    let own = class.and_then(|class| at(class, "overhead.podFixed"));
    if at(pod, "spec.overhead").is_some() && own.is_none() {
        let text = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        return Err(text.to_owned());
    }
    Ok(())
}

/// The labels of a node that a pod is given when it is bound there.
pub fn topology_labels(node: &Value) -> Vec<(&str, &str)> {
    const COPIED: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];
    let labels = at(node, "metadata.labels");
    COPIED.iter().filter_map(|name| Some((*name, labels?.get(name)?.as_str()?))).collect()
}

/// The container that a request for logs or a shell means; `Err` is the text of a 400.
pub fn choose_container(pod: &Value, wanted: &str) -> Result<String, String> {
    let spec = at(pod, "spec").unwrap_or(&Value::Null);
    let name = str_at(pod, "metadata.name");
    if !wanted.is_empty() {
        let known = each(spec).any(|container| str_at(container, "name") == wanted);
        return if known {
            Ok(wanted.to_owned())
        } else {
            Err(format!("container {wanted} is not valid for pod {name}"))
        };
    }
    match list_at(spec, "containers") {
        [only] => Ok(str_at(only, "name").to_owned()),
        [] => Err(format!("a container name must be specified for pod {name}")),
        _ => {
            let names: Vec<&str> = each(spec).map(|container| str_at(container, "name")).collect();
            Err(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                names.join(" ")
            ))
        }
    }
}

/// The 403 of a pod whose service account does not exist.
pub fn missing_service_account(namespace: &str, name: &str) -> String {
    format!("error looking up service account {namespace}/{name}: serviceaccount {} not found", quote(name))
}

fn push(owner: &mut Value, list: &str, item: Value) {
    let mut items = list_at(owner, list).to_vec();
    items.push(item);
    set(owner, list, items);
}
