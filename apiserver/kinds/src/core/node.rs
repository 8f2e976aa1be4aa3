//! Nodes: taints, pod networks and capacities, and what may be set once and never changed.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::columns::{self, Column, or_none};
use crate::core::pod::resource_math::is_counted;
use crate::field::{self, BadValue, Error, Path};
use crate::meta::{self, validate_label_name};
use crate::names::{label_value, subdomain_rule};
use crate::network::{Strictness, cidr_warnings, parse_cidr_sloppy, validate_legacy_cidr};
use crate::quantity;
use crate::tree::{
    at, bool_at, carry_over, entries_at, int_at, list_at, map_at, remove, set, str_at, strings_at,
};
use crate::{Resource, Strategy, Subresource};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status", "Whether the node is ready and takes pods."),
    Column::text("Roles", "Roles from the node's labels."),
    Column::AGE,
    Column::text("Version", "Version of the node agent."),
    Column::text("Internal-IP", "Address inside the cluster.").wide(),
    Column::text("External-IP", "Address outside the cluster.").wide(),
    Column::text("OS-Image", "Operating system.").wide(),
    Column::text("Kernel-Version", "Kernel and architecture.").wide(),
    Column::text("Container-Runtime", "Container runtime and its version.").wide(),
];

/// The strategy of Nodes.
pub(super) struct Nodes;

impl Strategy for Nodes {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "nodes")
    }

    fn default(&self, obj: &mut Value) {
        mirror_pod_cidr(obj);
        if at(obj, "status.allocatable").is_none()
            && let Some(capacity) = at(obj, "status.capacity").cloned()
        {
            set(obj, "status.allocatable", capacity);
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        // Configuration through the API is a removed feature; its fields are accepted and dropped.
        remove(obj, "spec.configSource");
        remove(obj, "status.config");
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            if at(old, "status.config").is_none() {
                remove(new, "status.config");
            }
            return;
        }
        carry_over(new, old, "status");
        if at(old, "spec.configSource").is_none() {
            remove(new, "spec.configSource");
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(validate_taints(obj));
        errors.extend(validate_resources(obj));
        let swap = int_at(obj, "status.nodeInfo.swap.capacity");
        if let Some(bytes) = swap.filter(|bytes| *bytes <= 0) {
            let path = Path::new("metadata.nodeSwapStatus.capacity");
            errors.push(field::invalid(&path, bytes, "must be greater than 0"));
        }
        errors.extend(validate_features(obj));
        errors.extend(validate_pod_cidrs(obj));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = if sub == Subresource::Status { Vec::new() } else { self.validate(new) };
        errors.extend(meta::validate_update(new, old));
        errors.extend(validate_resources(new));
        errors.extend(validate_features(new));
        errors.extend(validate_addresses(new));
        errors.extend(validate_fixed(new, old));
        errors.extend(validate_taints(new));
        if str_at(new, "spec.externalID") != str_at(old, "spec.externalID") {
            errors.push(field::forbidden(&Path::new("spec.externalID"), "may not be updated"));
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if at(new, "spec.configSource").is_some() {
            warnings.push("spec.configSource: the feature is removed".to_owned());
        }
        if !str_at(new, "spec.externalID").is_empty() {
            warnings
                .push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        let path = Path::new("spec.podCIDRs");
        for (index, cidr) in strings_at(new, "spec.podCIDRs").into_iter().enumerate() {
            warnings.extend(cidr_warnings(&path.index(index), cidr));
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            columns::name(obj),
            json!(status(obj)),
            json!(or_none(&roles(obj))),
            columns::age(obj, now),
            json!(str_at(obj, "status.nodeInfo.kubeletVersion")),
            json!(address(obj, "InternalIP")),
            json!(address(obj, "ExternalIP")),
            json!(or_unknown(obj, "status.nodeInfo.osImage")),
            json!(kernel(obj)),
            json!(or_unknown(obj, "status.nodeInfo.containerRuntimeVersion")),
        ]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", bool_at(obj, "spec.unschedulable").unwrap_or(false).to_string())]
    }
}

/// The singular is what older clients know; where the two disagree, it wins.
fn mirror_pod_cidr(obj: &mut Value) {
    let single = str_at(obj, "spec.podCIDR").to_owned();
    let first = strings_at(obj, "spec.podCIDRs").first().map(|cidr| (*cidr).to_owned());
    match first {
        Some(first) if first == single => {}
        Some(first) if single.is_empty() => set(obj, "spec.podCIDR", first),
        _ if single.is_empty() => {}
        _ => set(obj, "spec.podCIDRs", json!([single])),
    }
}

fn status(obj: &Value) -> String {
    let ready =
        list_at(obj, "status.conditions").iter().rev().find(|condition| str_at(condition, "type") == "Ready");
    let ready = match ready.map(|condition| str_at(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if bool_at(obj, "spec.unschedulable") == Some(true) {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(obj: &Value) -> String {
    let mut roles: Vec<&str> = entries_at(obj, "metadata.labels")
        .into_iter()
        .filter_map(|(key, value)| key.strip_prefix(ROLE_PREFIX).or((key == ROLE_LABEL).then_some(value)))
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn address<'a>(obj: &'a Value, kind: &str) -> &'a str {
    let addresses = list_at(obj, "status.addresses").iter();
    addresses
        .into_iter()
        .find(|address| str_at(address, "type") == kind)
        .map_or("<none>", |found| str_at(found, "address"))
}

fn or_unknown<'a>(obj: &'a Value, path: &str) -> &'a str {
    match str_at(obj, path) {
        "" => "<unknown>",
        text => text,
    }
}

fn kernel(obj: &Value) -> String {
    let kernel = or_unknown(obj, "status.nodeInfo.kernelVersion");
    match str_at(obj, "status.nodeInfo.architecture") {
        "" => kernel.to_owned(),
        architecture => format!("{kernel} ({architecture})"),
    }
}

fn validate_taints(obj: &Value) -> Vec<Error> {
    // Upstream places the taints under metadata.
    let path = Path::new("metadata.taints");
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, taint) in list_at(obj, "spec.taints").iter().enumerate() {
        let path = path.index(index);
        let (key, value, effect) = (str_at(taint, "key"), str_at(taint, "value"), str_at(taint, "effect"));
        errors.extend(validate_label_name(key, &path.child("key")));
        let texts = label_value(value);
        if !texts.is_empty() {
            errors.push(field::invalid(&path.child("value"), value, texts.join(";")));
        }
        if effect.is_empty() {
            errors.push(field::required(&path.child("effect"), ""));
        } else if !EFFECTS.contains(&effect) {
            errors.push(field::not_supported(&path.child("effect"), effect, EFFECTS));
        }
        if !seen.insert((effect, key)) {
            let mut error = field::duplicate(&path, BadValue::Printed(print_taint(taint)));
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    errors
}

fn print_taint(taint: &Value) -> String {
    let text = |name: &str| field::go_json(&json!(str_at(taint, name)));
    let added = field::go_json(at(taint, "timeAdded").unwrap_or(&Value::Null));
    format!(
        "{{\"Key\":{},\"Value\":{},\"Effect\":{},\"TimeAdded\":{added}}}",
        text("key"),
        text("value"),
        text("effect")
    )
}

fn validate_resources(obj: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    for list in ["capacity", "allocatable"] {
        let path = Path::new("status").child(list);
        for (name, value) in map_at(obj, path.as_str()).into_iter().flatten() {
            let path = path.child(name);
            let amount = quantity::of(value);
            if quantity::is_negative(&amount) {
                errors.push(field::invalid(&path, value, meta::NOT_NEGATIVE));
            }
            if is_counted(name) && !quantity::is_whole(&amount) {
                errors.push(field::invalid(&path, value, "must be an integer"));
            }
        }
    }
    errors
}

fn validate_features(obj: &Value) -> Vec<Error> {
    let path = Path::new("status.declaredFeatures");
    let features = strings_at(obj, "status.declaredFeatures");
    let mut errors: Vec<Error> = features
        .iter()
        .enumerate()
        .filter(|(_, feature)| !is_feature_name(feature))
        .map(|(index, feature)| {
            let quoted = field::quote(feature);
            let text = format!("invalid feature name {quoted}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes");
            field::invalid(&path.index(index), *feature, text)
        })
        .collect();
    for (index, pair) in features.windows(2).enumerate() {
        let path = path.index(index + 1);
        match pair[0].cmp(pair[1]) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => errors.push(field::duplicate(&path, pair[1])),
            std::cmp::Ordering::Greater => {
                errors.push(field::invalid(&path, pair[1], "list must be sorted alphabetically"));
            }
        }
    }
    errors
}

/// `MyFeature` or `MyFeature/mySubFeature`.
fn is_feature_name(name: &str) -> bool {
    let is_segment = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.split('/').all(is_segment)
}

fn validate_pod_cidrs(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec.podCIDRs");
    let cidrs = strings_at(obj, "spec.podCIDRs");
    let mut errors = Vec::new();
    for (index, cidr) in cidrs.iter().enumerate() {
        errors.extend(validate_legacy_cidr(&path.index(index), cidr, Strictness::Strict, &[]));
    }
    if cidrs.len() > 1 {
        let parsed: Vec<_> = cidrs.iter().map(|cidr| parse_cidr_sloppy(cidr)).collect();
        if parsed.iter().any(Option::is_none) {
            let bad =
                cidrs.iter().zip(&parsed).find(|(_, parsed)| parsed.is_none()).map_or("", |(cidr, _)| *cidr);
            let text = format!(
                "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[0]: {bad} (invalid CIDR address: {bad})"
            );
            errors.push(field::internal(&path, text));
        }
        let has = |is_v4: bool| parsed.iter().flatten().any(|(ip, _)| ip.is_ipv4() == is_v4);
        if !(has(true) && has(false)) || cidrs.len() > 2 {
            errors.push(field::invalid(
                &path,
                json!(cidrs),
                "may specify no more than one CIDR for each IP family",
            ));
        }
    }
    errors
}

fn validate_addresses(obj: &Value) -> Vec<Error> {
    let path = Path::new("status.addresses");
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, address) in list_at(obj, "status.addresses").iter().enumerate() {
        let pair = (str_at(address, "type"), str_at(address, "address"));
        if !seen.insert(pair) {
            let printed = format!(
                "{{\"Type\":{},\"Address\":{}}}",
                field::go_json(&json!(pair.0)),
                field::go_json(&json!(pair.1))
            );
            errors.push(field::duplicate(&path.index(index), BadValue::Printed(printed)));
        }
    }
    errors
}

fn validate_fixed(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let text = |name: &str| format!("node updates may not change {name} except from \"\" to valid");
    let (before, after) = (strings_at(old, "spec.podCIDRs"), strings_at(new, "spec.podCIDRs"));
    let path = Path::new("spec.podCIDRs");
    if !before.is_empty() && before.len() != after.len() {
        errors.push(field::forbidden(&path, text("podCIDR")));
    } else {
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
        errors.extend(changed.map(|_| field::forbidden(&path, text("podCIDR"))));
    }
    let provider = str_at(old, "spec.providerID");
    if !provider.is_empty() && provider != str_at(new, "spec.providerID") {
        errors.push(field::forbidden(&Path::new("spec.providerID"), text("providerID")));
    }
    errors
}
