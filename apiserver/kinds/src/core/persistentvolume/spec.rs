//! Specs of volumes, of PersistentVolumes and of those that only an attachment knows.

use serde_json::Value;

use super::sources;
use crate::core::claims::ACCESS_MODES;
use crate::core::pod::validate::scheduling::node_selector;
use crate::field::{self, BadValue, Error, Path};
use crate::names::{dns_subdomain, label_value};
use crate::quantity;
use crate::tree::{at, list_at, map_at, str_at, strings_at};

/// Where a spec stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In a PersistentVolume.
    Volume {
        /// Its name.
        name: &'a str,
        /// Affinity to values that are no label values passes, because what is stored has some.
        any_values: bool,
    },
    /// In an attachment, where all but the driver's own part is left out.
    Inline,
}

/// Everything wrong with a spec.
pub(crate) fn validate(spec: &Value, place: Place<'_>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if let Place::Inline = place {
        errors.extend(inline(spec, path));
    }
    errors.extend(access_modes(spec, &path.child("accessModes")));
    if let Place::Volume { .. } = place {
        errors.extend(capacity(spec, &path.child("capacity")));
    }
    errors.extend(reclaim_policy(spec, place, &path.child("persistentVolumeReclaimPolicy")));
    errors.extend(node_affinity(spec, place, &path.child("nodeAffinity")));
    errors.extend(sources::validate(spec, place, path));
    if is_root(str_at(spec, "hostPath.path")) && str_at(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let text = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(field::forbidden(&path.child("persistentVolumeReclaimPolicy"), text));
    }
    errors.extend(class(spec, place, &path.child("storageClassName")));
    errors.extend(volume_mode(spec, place, &path.child("volumeMode")));
    if let Place::Volume { .. } = place {
        errors.extend(attributes_class(spec, path));
    }
    errors
}

/// Whether a stored volume has affinity to values that are no label values.
pub(super) fn has_odd_affinity_value(volume: &Value) -> bool {
    list_at(volume, "spec.nodeAffinity.required.nodeSelectorTerms")
        .iter()
        .flat_map(|term| list_at(term, "matchExpressions"))
        .flat_map(|expression| strings_at(expression, "values"))
        .any(|value| !label_value(value).is_empty())
}

const INLINE: &str = "may not be specified in the context of inline volumes";

fn inline(spec: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if at(spec, "claimRef").is_some() {
        errors.push(field::forbidden(&path.child("claimRef"), INLINE));
    }
    if map_at(spec, "capacity").is_some_and(|capacity| !capacity.is_empty()) {
        errors.push(field::forbidden(&path.child("capacity"), INLINE));
    }
    if at(spec, "csi").is_none() {
        errors.push(field::required(
            &path.child("csi"),
            "has to be specified in the context of inline volumes",
        ));
    }
    errors
}

fn access_modes(spec: &Value, path: &Path) -> Vec<Error> {
    let modes = strings_at(spec, "accessModes");
    let mut errors = Vec::new();
    if modes.is_empty() {
        errors.push(field::required(path, ""));
    }
    let unknown = modes.iter().filter(|mode| !ACCESS_MODES.contains(mode));
    errors.extend(unknown.map(|mode| field::not_supported(path, *mode, &ACCESS_MODES)));
    let alone = modes.contains(&"ReadWriteOncePod");
    if alone && modes.iter().any(|mode| *mode != "ReadWriteOncePod" && ACCESS_MODES.contains(mode)) {
        errors.push(field::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
    errors
}

fn capacity(spec: &Value, path: &Path) -> Vec<Error> {
    let none = serde_json::Map::new();
    let capacity = map_at(spec, "capacity").unwrap_or(&none);
    let mut errors = Vec::new();
    if capacity.is_empty() {
        errors.push(field::required(path, ""));
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let value = at(spec, "capacity").cloned().unwrap_or_default();
        errors.push(field::not_supported(path, BadValue::Json(value), &["storage"]));
    }
    for (name, amount) in capacity {
        let (path, amount) = (path.key(name), quantity::of(amount));
        if amount.value() < 0 {
            errors.push(field::invalid(&path, amount.value(), "must be a valid resource quantity"));
        }
        if amount.sign() <= 0 {
            errors.push(field::invalid(&path, amount.to_string(), "must be greater than zero"));
        }
    }
    errors
}

fn reclaim_policy(spec: &Value, place: Place<'_>, path: &Path) -> Option<Error> {
    let policies = ["Delete", "Recycle", "Retain"];
    match (str_at(spec, "persistentVolumeReclaimPolicy"), place) {
        ("" | "Retain", _) => None,
        (_, Place::Inline) => {
            Some(field::forbidden(path, "may only be Retain in the context of inline volumes"))
        }
        (policy, _) if policies.contains(&policy) => None,
        (policy, _) => Some(field::not_supported(path, policy, &policies)),
    }
}

fn node_affinity(spec: &Value, place: Place<'_>, path: &Path) -> Vec<Error> {
    let Some(affinity) = at(spec, "nodeAffinity") else { return Vec::new() };
    let Place::Volume { any_values, .. } = place else { return vec![field::forbidden(path, INLINE)] };
    match at(affinity, "required") {
        Some(selector) => node_selector(selector, any_values, &path.child("required")),
        None => vec![field::required(&path.child("required"), "must specify required node constraints")],
    }
}

/// Whether a path means the root, however it is written.
fn is_root(place: &str) -> bool {
    let mut depth = 0usize;
    for part in place.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    place.starts_with('/') && depth == 0
}

fn class(spec: &Value, place: Place<'_>, path: &Path) -> Vec<Error> {
    match (str_at(spec, "storageClassName"), place) {
        ("", _) => Vec::new(),
        (_, Place::Inline) => vec![field::forbidden(path, INLINE)],
        (class, _) => {
            dns_subdomain(class).into_iter().map(|text| field::invalid(path, class, text)).collect()
        }
    }
}

fn volume_mode(spec: &Value, place: Place<'_>, path: &Path) -> Option<Error> {
    let mode = at(spec, "volumeMode").and_then(Value::as_str)?;
    match (mode, place) {
        ("Filesystem", _) | ("Block", Place::Volume { .. }) => None,
        (_, Place::Inline) => {
            let text = "may not specify volumeMode other than Filesystem in the context of inline volumes";
            Some(field::forbidden(path, text))
        }
        (mode, _) => Some(field::not_supported(path, mode, &["Block", "Filesystem"])),
    }
}

fn attributes_class(spec: &Value, path: &Path) -> Vec<Error> {
    let Some(class) = at(spec, "volumeAttributesClassName").and_then(Value::as_str) else {
        return Vec::new();
    };
    let class_path = path.child("volumeAttributesClassName");
    let mut errors = match class {
        "" => vec![field::required(&class_path, "an empty string is disallowed")],
        class => {
            dns_subdomain(class).into_iter().map(|text| field::invalid(&class_path, class, text)).collect()
        }
    };
    if at(spec, "csi").is_none() {
        let text = "has to be specified when using volumeAttributesClassName";
        errors.push(field::required(&path.child("csi"), text));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_many_names() {
        for (place, root) in [
            ("/", true),
            ("//", true),
            ("/a/..", true),
            ("/../.", true),
            ("/a", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(is_root(place), root, "{place}");
        }
    }
}
