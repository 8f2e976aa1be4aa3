//! Annotations of pods that once were fields, or still are beside a field of the same meaning.

use serde_json::Value;

use super::mounts::relative_path;
use super::options::Options;
use super::scheduling;
use super::{Path, walk};
use crate::field::{self, Error};
use crate::tree::{at, entries_at, str_at};

pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
pub(crate) const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub(crate) const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(crate) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const LOCALHOST: &str = "localhost/";

/// The annotation of this name; `None` when the owner does not have it.
pub(crate) fn annotation<'a>(owner: &'a Value, name: &str) -> Option<&'a str> {
    at(owner, "metadata.annotations")?.get(name)?.as_str()
}

/// Everything wrong with the annotations that pods give a meaning to. `owner` is the pod or template.
pub(crate) fn validate(owner: &Value, spec: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(mirror) = annotation(owner, MIRROR).filter(|_| str_at(spec, "nodeName").is_empty()) {
        let text = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(field::invalid(&path.key(MIRROR), mirror, text));
    }
    errors.extend(tolerations(owner, path, options));
    if !options.any_deletion_cost {
        errors.extend(deletion_cost_error(owner, path));
    }
    errors.extend(seccomp(owner, path));
    errors.extend(app_armor(owner, spec, path));
    errors
}

fn tolerations(owner: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let Some(text) = annotation(owner, TOLERATIONS).filter(|text| !text.is_empty()) else {
        return Vec::new();
    };
    match serde_json::from_str::<Vec<Value>>(text) {
        Ok(tolerations) => scheduling::tolerations(&tolerations, options, &path.child(TOLERATIONS)),
        Err(error) => vec![field::invalid(path, TOLERATIONS, error.to_string())],
    }
}

/// What is wrong with the deletion cost, if the owner has one.
pub(super) fn deletion_cost_error(owner: &Value, path: &Path) -> Option<Error> {
    let cost = annotation(owner, DELETION_COST)?;
    let starts_well =
        cost == "0" || cost.starts_with('-') || cost.starts_with(|c: char| matches!(c, '1'..='9'));
    let good = starts_well && cost.parse::<i32>().is_ok();
    (!good).then(|| field::invalid(&path.key(DELETION_COST), cost, "must be a 32bit integer"))
}

fn seccomp(owner: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Some(profile) = annotation(owner, SECCOMP_POD) {
        errors.extend(seccomp_profile(profile, &path.child(SECCOMP_POD)));
    }
    for (name, profile) in entries_at(owner, "metadata.annotations") {
        if name.starts_with(SECCOMP_CONTAINER) {
            errors.extend(seccomp_profile(profile, &path.child(name)));
        }
    }
    errors
}

fn seccomp_profile(profile: &str, path: &Path) -> Vec<Error> {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => Vec::new(),
        _ => match profile.strip_prefix(LOCALHOST) {
            Some(file) => relative_path(file, path),
            None => vec![field::invalid(path, profile, "must be a valid seccomp profile")],
        },
    }
}

fn app_armor(owner: &Value, spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (name, profile) in entries_at(owner, "metadata.annotations") {
        let Some(container) = name.strip_prefix(APP_ARMOR) else { continue };
        if !walk::each(spec).any(|candidate| str_at(candidate, "name") == container) {
            errors.push(field::invalid(&path.key(name), container, "container not found"));
        }
        let known =
            matches!(profile, "" | "runtime/default" | "unconfined") || profile.starts_with(LOCALHOST);
        if !known {
            let text = format!("invalid AppArmor profile name: {}", field::quote(profile));
            errors.push(field::invalid(&path.key(name), profile, text));
        }
    }
    errors
}

/// Everything that an annotation and the field it became say differently.
pub(super) fn match_fields(owner: &Value, spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let (Some(profile), Some(text)) =
        (at(spec, "securityContext.seccompProfile"), annotation(owner, SECCOMP_POD))
    {
        let path = path.child("securityContext").child("seccompProfile");
        errors.extend(profile_matches("seccomp", text, profile, &path));
    }
    for (path, container) in walk::all(spec, path) {
        let name = format!("{SECCOMP_CONTAINER}{}", str_at(container, "name"));
        if let (Some(profile), Some(text)) =
            (at(container, "securityContext.seccompProfile"), annotation(owner, &name))
        {
            let path = path.child("securityContext").child("seccompProfile");
            errors.extend(profile_matches("seccomp", text, profile, &path));
        }
    }
    if str_at(spec, "os.name") != "windows" {
        errors.extend(app_armor_matches(owner, spec, path));
    }
    errors
}

fn app_armor_matches(owner: &Value, spec: &Value, path: &Path) -> Vec<Error> {
    let of_pod = at(spec, "securityContext.appArmorProfile");
    let mut errors = Vec::new();
    for (path, container) in walk::all(spec, path) {
        let profile = at(container, "securityContext.appArmorProfile").or(of_pod);
        let name = format!("{APP_ARMOR}{}", str_at(container, "name"));
        if let (Some(profile), Some(text)) = (profile, annotation(owner, &name)) {
            let path = path.child("securityContext").child("appArmorProfile");
            errors.extend(profile_matches("apparmor", text, profile, &path));
        }
    }
    errors
}

fn profile_matches(what: &str, text: &str, profile: &Value, path: &Path) -> Option<Error> {
    let differs = |name: &str| {
        let noun = if name == "type" { "type" } else { "profile" };
        Some(field::forbidden(&path.child(name), format!("{what} {noun} in annotation and field must match")))
    };
    match str_at(profile, "type") {
        "Unconfined" if text != "unconfined" => differs("type"),
        "RuntimeDefault" if text == "docker/default" && what == "seccomp" => None,
        "RuntimeDefault" if text != "runtime/default" => differs("type"),
        "Localhost" => match text.strip_prefix(LOCALHOST) {
            None => differs("type"),
            Some(file) if at(profile, "localhostProfile").and_then(Value::as_str) != Some(file) => {
                differs("localhostProfile")
            }
            Some(_) => None,
        },
        _ => None,
    }
}
