//! AppArmor profiles: once annotations of the pod, now fields of its containers. An old writer's annotation becomes a field.

use serde_json::{Value, json};

use super::containers;
use super::validate::annotations::{APP_ARMOR, annotation};
use super::validate::security::app_armor_profile;
use crate::field::Path;
use crate::tree::{at, set, str_at};

/// The profile that an annotation's value names.
pub(super) fn profile_of(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => annotation
            .strip_prefix("localhost/")
            .filter(|profile| !profile.is_empty())
            .map(|profile| json!({"type": "Localhost", "localhostProfile": profile})),
    }
}

/// What to say about the annotation at `path`.
pub(super) fn deprecated(path: &Path) -> String {
    format!("{path}: deprecated since v1.30; use the \"appArmorProfile\" field instead")
}

/// Copies annotations into the fields that containers leave open. Not for Windows pods.
pub(super) fn annotations_to_fields(pod: &mut Value) {
    for (container, profile) in pending(pod) {
        let Some(profile) = profile else { continue };
        let Some(spec) = pod.get_mut("spec") else { return };
        containers::change_each(spec, |candidate| {
            if str_at(candidate, "name") == container {
                set(candidate, "securityContext.appArmorProfile", profile.clone());
            }
        });
    }
}

/// Warnings about annotations that stand for fields. The pod is the one the writer sent, before they were copied.
pub(super) fn warnings(pod: &Value) -> Vec<String> {
    let path = Path::new("metadata.annotations");
    pending(pod)
        .into_iter()
        .map(|(container, _)| deprecated(&path.key(&format!("{APP_ARMOR}{container}"))))
        .collect()
}

/// The containers with an annotation and no field, and the profile they get. Annotations that say what the pod says anyway
/// are left out; those that say nothing sensible have no profile.
fn pending(pod: &Value) -> Vec<(String, Option<Value>)> {
    let spec = at(pod, "spec").unwrap_or(&Value::Null);
    if str_at(spec, "os.name") == "windows" {
        return Vec::new();
    }
    let of_pod = at(spec, "securityContext.appArmorProfile");
    containers::each(spec)
        .filter(|container| at(container, "securityContext.appArmorProfile").is_none())
        .filter_map(|container| {
            let name = str_at(container, "name");
            let text = annotation(pod, &format!("{APP_ARMOR}{name}"))?;
            let profile =
                profile_of(text).filter(|profile| app_armor_profile(profile, &Path::root()).is_empty());
            let says_more = profile.is_none() || profile.as_ref() != of_pod;
            says_more.then(|| (name.to_owned(), profile))
        })
        .collect()
}
