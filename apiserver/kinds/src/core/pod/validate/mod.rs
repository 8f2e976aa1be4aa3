//! Validation of pods, pod specs and pod templates.
//!
//! Each file is one concept; this one says in which order they speak, because upstream's order is part of its message. It
//! decides nothing about updates: see [`super::update`].

pub(crate) mod annotations;
mod claims;
mod containers;
mod env;
pub(crate) mod mounts;
mod network;
pub(crate) mod options;
mod os;
mod probes;
mod projected;
pub(crate) mod resources;
mod restart;
pub(crate) mod scheduling;
pub(crate) mod security;
pub(crate) mod selectors;
pub(crate) mod volume_claims;
pub(crate) mod volume_sources;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::containers as walk;
use crate::field::{self, Error, Path};
use crate::meta::{self, validate_annotations, validate_labels};
use crate::names::{dns_label, dns_subdomain, inclusive_range, qualified_name, subdomain_rule};
use crate::tree::{at, bool_at, int_at, list_at, str_at};

pub(crate) use options::Options;

/// What the parts of a spec need to know about each other.
struct Scope<'a> {
    spec: &'a Value,
    options: &'a Options,
    /// Volumes without errors, by name.
    volumes: BTreeMap<&'a str, &'a Value>,
    /// Names of the pod's resource claims.
    claims: BTreeSet<&'a str>,
}

impl Scope<'_> {
    fn grace_seconds(&self) -> Option<i64> {
        int_at(self.spec, "terminationGracePeriodSeconds")
    }

    /// Whether the pod shares the host's user namespace, which is the default.
    fn shares_host_users(&self) -> bool {
        bool_at(self.spec, "hostUsers") != Some(false)
    }
}

/// Everything wrong with a new pod.
pub(crate) fn create(pod: &Value, options: &Options) -> Vec<Error> {
    let spec = at(pod, "spec").unwrap_or(&Value::Null);
    let path = Path::new("spec");
    let mut errors = metadata_and_spec(pod, options);
    if !list_at(spec, "ephemeralContainers").is_empty() {
        errors.push(field::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !str_at(spec, "nodeName").is_empty() && !list_at(spec, "schedulingGates").is_empty() {
        let text = "cannot be set until all schedulingGates have been cleared";
        errors.push(field::forbidden(&path.child("nodeName"), text));
    }
    errors.extend(annotations::match_fields(pod, spec, &path));
    errors
}

/// Everything wrong with the metadata and the spec of a pod, new or not.
pub(crate) fn metadata_and_spec(pod: &Value, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(pod, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors = meta::validate(pod, true, subdomain_rule);
    errors.extend(annotations::validate(pod, spec, &Path::new("metadata.annotations"), options));
    errors.extend(pod_spec(spec, at(pod, "metadata"), &path, options));
    if str_at(spec, "serviceAccountName").is_empty() {
        errors.extend(tokens_without_account(spec, &path));
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in list_at(spec, list).iter().enumerate() {
            errors.extend(untrimmed_image(container, &path.child(list).index(index)));
        }
    }
    errors
}

fn tokens_without_account(spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, volume) in list_at(spec, "volumes").iter().enumerate() {
        let sources = path.child("volumes").index(index).child("projected").child("sources");
        for (index, source) in list_at(volume, "projected.sources").iter().enumerate() {
            if at(source, "serviceAccountToken").is_some() {
                let path = sources.index(index).child("serviceAccountToken");
                errors.push(field::forbidden(
                    &path,
                    "must not be specified when serviceAccountName is not set",
                ));
            }
        }
    }
    errors
}

/// Pods refuse blanks around an image's name; templates always took them.
fn untrimmed_image(container: &Value, path: &Path) -> Option<Error> {
    let image = str_at(container, "image");
    (image.trim() != image)
        .then(|| field::invalid(&path.child("image"), image, "must not have leading or trailing whitespace"))
}

/// Everything wrong with the labels and annotations of a pod template.
pub(crate) fn template_metadata(template: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let meta = at(template, "metadata").unwrap_or(&null);
    let spec = at(template, "spec").unwrap_or(&null);
    let mut errors = validate_labels(meta, "labels", &path.child("labels"));
    errors.extend(validate_annotations(meta, &path.child("annotations")));
    errors.extend(annotations::validate(template, spec, &path.child("annotations"), options));
    errors
}

/// Everything wrong with a pod template.
pub(crate) fn template(template: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(template, "spec").unwrap_or(&null);
    let spec_path = path.child("spec");
    let mut errors = template_metadata(template, path, options);
    errors.extend(pod_spec(spec, None, &spec_path, options));
    errors.extend(annotations::match_fields(template, spec, &spec_path));
    if !list_at(spec, "ephemeralContainers").is_empty() {
        let text = "ephemeral containers not allowed in pod template";
        errors.push(field::forbidden(&spec_path.child("ephemeralContainers"), text));
    }
    errors
}

/// Everything wrong with a pod spec. `pod_meta` is the metadata of the pod it belongs to; templates have none.
pub(crate) fn pod_spec(spec: &Value, pod_meta: Option<&Value>, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors = Vec::new();
    if at(spec, "terminationGracePeriodSeconds").is_none() {
        errors.push(field::required(&path.child("terminationGracePeriodSeconds"), ""));
    }
    let (volumes, volume_errors) = volumes::validate(spec, pod_meta, &path.child("volumes"), options);
    errors.extend(volume_errors);
    let scope = Scope { spec, options, volumes, claims: claims::names(spec) };
    errors.extend(claims::validate(spec, pod_meta, &path.child("resourceClaims")));
    errors.extend(containers::main(&scope, &path.child("containers")));
    errors.extend(containers::init(&scope, &path.child("initContainers")));
    errors.extend(containers::ephemeral(&scope, &path.child("ephemeralContainers")));
    errors.extend(resources::pod_level(&scope, path));
    errors.extend(network::host_ports(spec, path, options));
    errors.extend(restart_policy(spec, path));
    errors.extend(network::dns_policy(spec, path));
    errors.extend(validate_labels(spec, "nodeSelector", &path.child("nodeSelector")));
    errors.extend(security::pod(spec, path, options));
    errors.extend(scheduling::affinity(spec, options, &path.child("affinity")));
    errors.extend(network::dns_config(spec, &path.child("dnsConfig")));
    errors.extend(scheduling::readiness_gates(spec, &path.child("readinessGates")));
    errors.extend(scheduling::gates(spec, &path.child("schedulingGates")));
    errors.extend(scheduling::spread_constraints(spec, options, &path.child("topologySpreadConstraints")));
    errors.extend(os::host_process(spec, path));
    errors.extend(security::host_users(spec, path, options));
    errors.extend(network::hostname_override(spec, path));
    errors.extend(names_of_others(spec, path, options));
    errors.extend(os::validate(spec, path));
    errors.extend(scheduling_group(spec, &path.child("schedulingGroup")));
    errors.extend(env::file_volumes(spec, path));
    errors
}

/// Names of other objects, and the plain fields between them.
fn names_of_others(spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors = Vec::new();
    errors.extend(optional_subdomain(spec, path, "serviceAccountName"));
    errors.extend(optional_subdomain(spec, path, "nodeName"));
    if let Some(seconds) =
        int_at(spec, "activeDeadlineSeconds").filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds))
    {
        let text = inclusive_range(1, i64::from(i32::MAX));
        errors.push(field::invalid(&path.child("activeDeadlineSeconds"), seconds, text));
    }
    for name in ["hostname", "subdomain"] {
        let value = str_at(spec, name);
        if !value.is_empty() {
            errors.extend(label(value, &path.child(name)));
        }
    }
    errors.extend(scheduling::tolerations(list_at(spec, "tolerations"), options, &path.child("tolerations")));
    errors.extend(network::host_aliases(spec, &path.child("hostAliases")));
    errors.extend(optional_subdomain(spec, path, "priorityClassName"));
    if let Some(name) = at(spec, "runtimeClassName").and_then(Value::as_str) {
        errors.extend(subdomain(name, &path.child("runtimeClassName")));
    }
    errors.extend(preemption_policy(spec, &path.child("preemptionPolicy")));
    errors.extend(resources::overhead(spec, options, &path.child("overhead")));
    errors
}

fn optional_subdomain(spec: &Value, path: &Path, name: &str) -> Vec<Error> {
    let value = str_at(spec, name);
    if value.is_empty() { Vec::new() } else { subdomain(value, &path.child(name)) }
}

fn restart_policy(spec: &Value, path: &Path) -> Option<Error> {
    let path = path.child("restartPolicy");
    match str_at(spec, "restartPolicy") {
        "Always" | "OnFailure" | "Never" => None,
        "" => Some(field::required(&path, "")),
        other => Some(field::not_supported(&path, other, &["Always", "OnFailure", "Never"])),
    }
}

fn preemption_policy(spec: &Value, path: &Path) -> Option<Error> {
    match at(spec, "preemptionPolicy").and_then(Value::as_str)? {
        "PreemptLowerPriority" | "Never" => None,
        "" => Some(field::required(path, "")),
        other => Some(field::not_supported(path, other, &["PreemptLowerPriority", "Never"])),
    }
}

fn scheduling_group(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(group) = at(spec, "schedulingGroup") else { return Vec::new() };
    match at(group, "podGroupName").and_then(Value::as_str) {
        Some(name) => subdomain(name, &path.child("podGroupName")),
        None => {
            let path = path.child("podGroupName");
            vec![field::invalid(&path, None, "must specify one of: `podGroupName`")]
        }
    }
}

/// One error per text about a value.
fn invalid_each(path: &Path, value: &str, texts: impl IntoIterator<Item = String>) -> Vec<Error> {
    texts.into_iter().map(|text| field::invalid(path, value, text)).collect()
}

fn label(value: &str, path: &Path) -> Vec<Error> {
    invalid_each(path, value, dns_label(value))
}

fn subdomain(value: &str, path: &Path) -> Vec<Error> {
    invalid_each(path, value, dns_subdomain(value))
}

fn qualified(value: &str, path: &Path) -> Vec<Error> {
    invalid_each(path, value, qualified_name(value))
}

fn not_negative(value: i64, path: &Path) -> Option<Error> {
    (value < 0).then(|| field::invalid(path, value, meta::NOT_NEGATIVE))
}

fn positive(value: i64, path: &Path) -> Option<Error> {
    (value <= 0).then(|| field::invalid(path, value, "must be greater than zero"))
}

/// The path of a text about the object as a whole, in the odd form in which upstream prints it.
pub(crate) fn whole() -> Path {
    Path::new("[]")
}
