//! Warnings about pods and pod templates: what is accepted and still a mistake.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::containers as walk;
use super::overlaps;
use super::validate::annotations::{APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD, annotation};
use crate::field::{Path, quote};
use crate::names::label_value;
use crate::network::ip_warning;
use crate::quantity;
use crate::tree::{at, entries_at, int_at, list_at, str_at, strings_at};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Labels of nodes that have newer names, and what to say about them.
const OLD_NODE_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#,
    ),
    (
        "beta.kubernetes.io/instance-type",
        r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#,
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", r#"use "node-role.kubernetes.io/control-plane" instead"#),
];

/// Annotations that do nothing any more, and the field that does.
const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    ("security.alpha.kubernetes.io/sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        r#"non-functional in v1.11+; use the "sysctls" field instead"#,
    ),
];

/// Volume sources without a driver: JSON name, printed name, what happened.
const OLD_VOLUMES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about a pod.
pub(super) fn pod(pod: &Value) -> Vec<String> {
    collect(pod, &Path::root(), false)
}

/// Warnings about the template at `path`.
pub(crate) fn template(template: &Value, path: &Path) -> Vec<String> {
    collect(template, path, true)
}

fn collect(owner: &Value, path: &Path, is_template: bool) -> Vec<String> {
    let spec = at(owner, "spec").unwrap_or(&Value::Null);
    let spec_path = path.child("spec");
    let annotations_path = path.child("metadata").child("annotations");
    let mut warnings = node_labels(spec, &spec_path);
    warnings.extend(spread(spec, &spec_path.child("topologySpreadConstraints")));
    for (name, text) in OLD_ANNOTATIONS.iter().filter(|(name, _)| annotation(owner, name).is_some()) {
        warnings.push(format!("{}: {text}", annotations_path.key(name)));
    }
    warnings.extend(volumes(spec, &spec_path.child("volumes")));
    warnings.extend(overlaps::warnings(list_at(spec, "volumes")));
    warnings.extend(repeated(spec, &spec_path));
    if let Some(overhead) = at(spec, "overhead") {
        warnings.extend(fractions(overhead, &spec_path.child("overhead")));
    }
    if annotation(owner, SECCOMP_POD).is_some() && at(spec, "securityContext.seccompProfile").is_none() {
        warnings.push(format!("{}: {OLD_SECCOMP}", annotations_path.key(SECCOMP_POD)));
    }
    for (path, container) in walk::all(spec, &spec_path) {
        warnings.extend(profile_annotations(owner, spec, container, is_template, &annotations_path));
        for name in ["memory", "ephemeral-storage"] {
            for list in ["resources.limits", "resources.requests"] {
                warnings.extend(
                    at(container, list).and_then(|amounts| fraction(amounts, name, &path.child(list))),
                );
            }
        }
        warnings.extend(hidden_variables(container, &path.child("env")));
    }
    warnings.extend(ports(spec, &spec_path));
    if int_at(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let path = spec_path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings.extend(affinity(spec, &spec_path.child("affinity")));
    warnings.extend(addresses(spec, &spec_path));
    warnings
}

const OLD_SECCOMP: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;

/// What to say about a label of nodes.
pub(crate) fn old_node_label(label: &str) -> Option<&'static str> {
    OLD_NODE_LABELS.iter().find(|(name, _)| *name == label).map(|(_, text)| *text)
}

fn node_labels(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (label, _) in entries_at(spec, "nodeSelector") {
        if let Some(text) = old_node_label(label) {
            warnings.push(format!("{}: {text}", path.child("nodeSelector").key(label)));
        }
    }
    let Some(affinity) = at(spec, "affinity.nodeAffinity") else { return warnings };
    let path = path.child("affinity").child("nodeAffinity");
    let terms_path = path.child(REQUIRED).child("nodeSelectorTerms");
    let terms = list_at(affinity, &format!("{REQUIRED}.nodeSelectorTerms"));
    for (index, term) in terms.iter().enumerate() {
        warnings.extend(node_term(term, false, &terms_path.index(index)));
    }
    for (index, term) in list_at(affinity, PREFERRED).iter().enumerate() {
        let preference = at(term, "preference").unwrap_or(&Value::Null);
        warnings.extend(node_term(preference, true, &path.child(PREFERRED).index(index).child("preference")));
    }
    warnings
}

pub(crate) fn node_term(term: &Value, check_values: bool, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, expression) in list_at(term, "matchExpressions").iter().enumerate() {
        let (key, path) = (str_at(expression, "key"), path.child("matchExpressions").index(index));
        if let Some(text) = old_node_label(key) {
            warnings.push(format!("{}: {key} is {text}", path.child("key")));
        }
        if check_values {
            for (index, value) in strings_at(expression, "values").into_iter().enumerate() {
                let path = path.child("values").index(index);
                warnings.extend(
                    label_value(value).into_iter().map(|text| format!("{path}: {value} is invalid, {text}")),
                );
            }
        }
    }
    warnings
}

fn spread(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, constraint) in list_at(spec, "topologySpreadConstraints").iter().enumerate() {
        let (key, path) = (str_at(constraint, "topologyKey"), path.index(index));
        if let Some(text) = old_node_label(key) {
            warnings.push(format!("{}: {key} is {text}", path.child("topologyKey")));
        }
        if at(constraint, "labelSelector").is_none() {
            warnings.push(no_selector(&path.child("labelSelector")));
        }
    }
    warnings
}

fn no_selector(path: &Path) -> String {
    format!("{path}: a null labelSelector results in matching no pod")
}

fn volumes(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, volume) in list_at(spec, "volumes").iter().enumerate() {
        let path = path.index(index);
        for (_, printed, text) in OLD_VOLUMES.iter().filter(|(name, ..)| at(volume, name).is_some()) {
            warnings.push(format!("{}: {text}", path.child(printed)));
        }
        if let Some(claim) = at(volume, "ephemeral.volumeClaimTemplate.spec") {
            let path = path.child("ephemeral").child("volumeClaimTemplate").child("spec").child("resources");
            for list in ["requests", "limits"] {
                if let Some(amounts) = at(claim, &format!("resources.{list}")) {
                    warnings.extend(fraction(amounts, "storage", &path.child(list)));
                }
            }
        }
    }
    warnings
}

/// Entries that say the same thing twice, and pull secrets without a name.
fn repeated(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (list, name) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = BTreeSet::new();
        for (index, item) in list_at(spec, list).iter().enumerate() {
            let value = str_at(item, name);
            if !seen.insert(value) {
                let path = path.child(list).index(index).child(name);
                warnings.push(format!("{path}: duplicate {name} {}", quote(value)));
            }
        }
    }
    for (index, secret) in list_at(spec, "imagePullSecrets").iter().enumerate() {
        if str_at(secret, "name").is_empty() {
            let path = path.child("imagePullSecrets").index(index).child("name");
            warnings.push(format!("{path}: invalid empty name \"\""));
        }
    }
    warnings
}

fn fractions(amounts: &Value, path: &Path) -> Vec<String> {
    ["memory", "ephemeral-storage"].iter().filter_map(|name| fraction(amounts, name, path)).collect()
}

/// Nobody can have a part of a byte.
fn fraction(amounts: &Value, name: &str, path: &Path) -> Option<String> {
    let amount = quantity::of(amounts.get(name)?);
    (!quantity::is_whole(&amount)).then(|| {
        format!(
            "{}: fractional byte value {} is invalid, must be an integer",
            path.key(name),
            quote(&amount.to_string())
        )
    })
}

fn profile_annotations(
    owner: &Value,
    spec: &Value,
    container: &Value,
    is_template: bool,
    path: &Path,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = str_at(container, "name");
    let seccomp = format!("{SECCOMP_CONTAINER}{name}");
    if annotation(owner, &seccomp).is_some() && at(container, "securityContext.seccompProfile").is_none() {
        warnings.push(format!("{}: {OLD_SECCOMP}", path.key(&seccomp)));
    }
    // Pods are warned when the annotation is copied into the field, which validation of templates does not do.
    let app_armor = format!("{APP_ARMOR}{name}");
    let unset = at(container, "securityContext.appArmorProfile").is_none();
    if let Some(text) = annotation(owner, &app_armor).filter(|_| is_template && unset) {
        let of_pod = at(spec, "securityContext.appArmorProfile");
        if of_pod.is_none() || of_pod != super::app_armor::profile_of(text).as_ref() {
            warnings.push(super::app_armor::deprecated(&path.key(&app_armor)));
        }
    }
    warnings
}

/// A variable that replaces an earlier one without building on it.
fn hidden_variables(container: &Value, path: &Path) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut warnings = Vec::new();
    for (index, variable) in list_at(container, "env").iter().enumerate() {
        let (name, value) = (str_at(variable, "name"), str_at(variable, "value"));
        if seen.insert(name) {
            continue;
        }
        let reference = format!("$({name})");
        let builds_on =
            at(variable, "valueFrom").is_none() && value != reference && value.contains(&reference);
        if !builds_on {
            let text = format!(
                "hides previous definition of {}, which may be dropped when using apply",
                quote(name)
            );
            warnings.push(format!("{}: {text}", path.index(index)));
        }
    }
    warnings
}

/// One port of a container, for comparing.
struct Port<'a> {
    path: Path,
    host_ip: &'a str,
    host_port: i64,
}

fn ports(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut by_number: BTreeMap<(i64, &str), Vec<Port<'_>>> = BTreeMap::new();
    for (path, container) in walk::all(spec, path) {
        for (index, port) in list_at(container, "ports").iter().enumerate() {
            let path = path.child("ports").index(index);
            let number = int_at(port, "containerPort").unwrap_or(0);
            let protocol = str_at(port, "protocol");
            let (host_ip, host_port) = (str_at(port, "hostIP"), int_at(port, "hostPort").unwrap_or(0));
            if !host_ip.is_empty() && host_port == 0 {
                let name = str_at(port, "name");
                let printed = format!(
                    "{{Name:{name} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{host_ip}}}"
                );
                warnings.push(format!("{path}: hostIP set without hostPort: {printed}"));
            }
            let others = by_number.entry((number, protocol)).or_default();
            let own = Port { path, host_ip, host_port };
            warnings.extend(others.iter().filter_map(|other| clash(&own, other)));
            others.push(own);
        }
    }
    warnings.extend(port_names(spec, path));
    warnings
}

fn clash(own: &Port<'_>, other: &Port<'_>) -> Option<String> {
    let what = if own.host_ip == other.host_ip && own.host_port == other.host_port {
        "duplicate"
    } else if own.host_port == 0 || other.host_port == 0 {
        "overlapping"
    } else if own.host_port == other.host_port && own.host_ip.is_empty() != other.host_ip.is_empty() {
        "dangerously ambiguous"
    } else {
        return None;
    };
    Some(format!("{}: {what} port definition with {}", own.path, other.path))
}

fn port_names(spec: &Value, path: &Path) -> Vec<String> {
    let mut first: BTreeMap<&str, Path> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (path, container) in walk::all(spec, path) {
        for (index, port) in list_at(container, "ports").iter().enumerate() {
            let (name, path) = (str_at(port, "name"), path.child("ports").index(index));
            match first.get(name) {
                _ if name.is_empty() => {}
                Some(other) => warnings.push(format!(
                    "{path}: duplicate port name {} with {other}, services and probes that select ports by name will use {other}",
                    quote(name)
                )),
                None => drop(first.insert(name, path)),
            }
        }
    }
    warnings
}

fn affinity(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = at(spec, &format!("affinity.{kind}")) else { continue };
        let path = path.child(kind);
        for (index, term) in list_at(affinity, REQUIRED).iter().enumerate() {
            if at(term, "labelSelector").is_none() {
                warnings.push(no_selector(&path.child(REQUIRED).index(index).child("labelSelector")));
            }
        }
        for (index, term) in list_at(affinity, PREFERRED).iter().enumerate() {
            if at(term, "podAffinityTerm.labelSelector").is_none() {
                let path = path.child(PREFERRED).index(index).child("podAffinityTerm").child("labelSelector");
                warnings.push(no_selector(&path));
            }
        }
    }
    warnings
}

fn addresses(spec: &Value, path: &Path) -> Vec<String> {
    let nameservers_path = path.child("dnsConfig").child("nameservers");
    let nameservers = strings_at(spec, "dnsConfig.nameservers").into_iter().enumerate();
    let aliases = list_at(spec, "hostAliases").iter().enumerate();
    nameservers
        .filter_map(|(index, ip)| ip_warning(&nameservers_path.index(index), ip))
        .chain(aliases.filter_map(|(index, alias)| {
            ip_warning(&path.child("hostAliases").index(index).child("ip"), str_at(alias, "ip"))
        }))
        .collect()
}

/// Warnings about the addresses in a new status.
pub(super) fn status(pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for list in ["podIPs", "hostIPs"] {
        let path = Path::new("status").child(list);
        for (index, entry) in list_at(pod, &format!("status.{list}")).iter().enumerate() {
            warnings.extend(ip_warning(&path.index(index).child("ip"), str_at(entry, "ip")));
        }
    }
    warnings
}
