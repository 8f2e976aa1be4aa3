//! Defaults of pods and pod templates that depend on other fields.
//!
//! Constants the schema knows are set here too: the result does not depend on what ran before.

use serde_json::{Value, json};

use super::containers;
use super::image;
use super::resource_defaults;
use crate::quantity;
use crate::tree::{at, at_mut, bool_at, int_at, list_at, list_at_mut, remove, set, set_default, str_at};

/// Annotations that carried init containers before they had a field. They are dropped on sight.
const INIT_CONTAINER_ANNOTATIONS: [&str; 4] = [
    "pod.beta.kubernetes.io/init-container-statuses",
    "pod.alpha.kubernetes.io/init-container-statuses",
    "pod.beta.kubernetes.io/init-containers",
    "pod.alpha.kubernetes.io/init-containers",
];

/// Defaults of a Pod.
pub(crate) fn pod(pod: &mut Value) {
    drop_init_container_annotations(pod);
    status_addresses(pod);
    let Some(spec) = spec_of(pod) else { return };

    resource_defaults::pod(spec);
    set_default(spec, "enableServiceLinks", true);
    if bool_at(spec, "hostNetwork") == Some(true) {
        host_ports(list_at_mut(spec, "containers"));
        host_ports(list_at_mut(spec, "initContainers"));
    }
    self::spec(spec);
    if int_at(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        set(spec, "terminationGracePeriodSeconds", 1);
    }
}

/// Defaults of a pod template. Requests are not derived from limits here: that happens when a pod is made of it.
pub(crate) fn template(template: &mut Value) {
    drop_init_container_annotations(template);
    if let Some(spec) = spec_of(template) {
        self::spec(spec);
    }
}

/// The spec, made when it is missing: Go's structs are never absent.
fn spec_of(owner: &mut Value) -> Option<&mut Value> {
    if !owner.is_object() {
        return None;
    }
    set_default(owner, "spec", json!({}));
    at_mut(owner, "spec")
}

fn spec(spec: &mut Value) {
    service_account(spec);
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default_text(spec, "schedulerName", "default-scheduler");
    set_default(spec, "securityContext", json!({}));
    set_default(spec, "terminationGracePeriodSeconds", 30);
    list_at_mut(spec, "volumes").iter_mut().for_each(super::volume_defaults::volume);
    containers::change_each(spec, container);
    if let Some(overhead) = at_mut(spec, "overhead") {
        round_quantities(overhead);
    }
    for list in ["resources.limits", "resources.requests"] {
        if let Some(quantities) = at_mut(spec, list) {
            round_quantities(quantities);
        }
    }
}

/// `serviceAccount` is an old name of `serviceAccountName`; both always show the same value.
fn service_account(spec: &mut Value) {
    let name = match str_at(spec, "serviceAccountName") {
        "" => str_at(spec, "serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if name.is_empty() {
        remove(spec, "serviceAccount");
        remove(spec, "serviceAccountName");
    } else {
        set(spec, "serviceAccount", name.clone());
        set(spec, "serviceAccountName", name);
    }
}

fn container(container: &mut Value) {
    if str_at(container, "imagePullPolicy").is_empty() {
        let policy = image::pull_policy(str_at(container, "image"));
        set(container, "imagePullPolicy", policy);
    }
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    set_default(container, "resources", json!({}));
    list_at_mut(container, "ports").iter_mut().for_each(|port| default_text(port, "protocol", "TCP"));
    list_at_mut(container, "env").iter_mut().for_each(variable);
    for list in ["resources.limits", "resources.requests"] {
        if let Some(quantities) = at_mut(container, list) {
            round_quantities(quantities);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = at_mut(container, name) {
            self::probe(probe);
        }
    }
    for name in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
        if let Some(action) = at_mut(container, name) {
            http_get(action);
        }
    }
}

fn variable(variable: &mut Value) {
    if let Some(reference) = at_mut(variable, "valueFrom.fieldRef") {
        field_reference(reference);
    }
    if let Some(reference) = at_mut(variable, "valueFrom.fileKeyRef") {
        set_default(reference, "optional", false);
    }
    if let Some(reference) = at_mut(variable, "valueFrom.resourceFieldRef") {
        set_default(reference, "divisor", "0");
    }
}

/// Defaults of a reference to a field of the pod.
pub(super) fn field_reference(reference: &mut Value) {
    default_text(reference, "apiVersion", "v1");
}

fn probe(probe: &mut Value) {
    for (name, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if int_at(probe, name).unwrap_or(0) == 0 {
            set(probe, name, value);
        }
    }
    if let Some(action) = at_mut(probe, "httpGet") {
        http_get(action);
    }
    if let Some(action) = at_mut(probe, "grpc") {
        set_default(action, "service", "");
    }
}

fn http_get(action: &mut Value) {
    default_text(action, "path", "/");
    default_text(action, "scheme", "HTTP");
}

/// On the host's network every container port is a host port.
fn host_ports(containers: &mut [Value]) {
    for port in containers.iter_mut().flat_map(|container| list_at_mut(container, "ports")) {
        let number = int_at(port, "containerPort").unwrap_or(0);
        if int_at(port, "hostPort").unwrap_or(0) == 0 && number != 0 {
            set(port, "hostPort", number);
        }
    }
}

/// Quantities finer than a thousandth are rounded up.
pub(crate) fn round_quantities(quantities: &mut Value) {
    for value in quantities.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        let exact = quantity::of(value);
        let rounded = quantity::rounded_to_milli(&exact);
        if rounded != exact {
            *value = json!(rounded.to_string());
        }
    }
}

/// `podIP` is the first of `podIPs`; when a writer sends only one of them, or both and different ones, `podIP` wins.
fn status_addresses(pod: &mut Value) {
    let single = str_at(pod, "status.podIP").to_owned();
    let first = list_at(pod, "status.podIPs").first().map(|entry| str_at(entry, "ip").to_owned());
    match first {
        _ if at(pod, "status").is_none() => {}
        Some(first) if first == single => {}
        Some(first) if single.is_empty() => set(pod, "status.podIP", first),
        _ if single.is_empty() => {}
        _ => set(pod, "status.podIPs", json!([{"ip": single}])),
    }
}

fn drop_init_container_annotations(owner: &mut Value) {
    if let Some(annotations) = at_mut(owner, "metadata.annotations").and_then(Value::as_object_mut) {
        for name in INIT_CONTAINER_ANNOTATIONS {
            annotations.remove(name);
        }
    }
}

/// Sets a text that is absent or empty: Go's strings do not tell the two apart.
pub(super) fn default_text(owner: &mut Value, name: &str, text: &str) {
    if str_at(owner, name).is_empty() {
        set(owner, name, text);
    }
}
