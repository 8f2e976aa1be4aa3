//! PriorityClasses: how important a pod is, as a number with a name.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta::{self, validate_immutable};
use crate::names::subdomain_rule;
use crate::tree::{at, bool_at, int_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource};

/// The classes every cluster has: name, value, description. Nobody may delete them.
pub const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// The highest value a class may have that is not the system's.
const VALUE_MAX: i64 = 1_000_000_000;

/// What the names of the system's classes begin with.
const SYSTEM_PREFIX: &str = "system-";

/// The field that makes a class the default one, as it is indexed.
pub const GLOBAL_DEFAULT: &str = "globalDefault";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::integer("Value", "The priority of pods of this class."),
    Column::boolean("Global-Default", "Whether pods that name no class get this one."),
    Column::AGE,
    Column::text("PreemptionPolicy", "Whether pods of this class push others out."),
];

/// The strategy of PriorityClasses.
pub(super) struct PriorityClasses;

impl Strategy for PriorityClasses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("scheduling.k8s.io", "v1", "priorityclasses")
    }

    fn default(&self, obj: &mut Value) {
        set_default(obj, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "metadata.generation", 1);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(reserved(obj));
        let path = Path::new("preemptionPolicy");
        match at(obj, "preemptionPolicy").and_then(Value::as_str) {
            None | Some("PreemptLowerPriority" | "Never") => {}
            Some("") => errors.push(field::required(&path, "")),
            Some(policy) => {
                errors.push(field::not_supported(&path, policy, &["PreemptLowerPriority", "Never"]));
            }
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if int_at(new, "value").unwrap_or(0) != int_at(old, "value").unwrap_or(0) {
            errors.push(field::forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        errors.extend(validate_immutable(new, old, "preemptionPolicy"));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            columns::name(obj),
            json!(int_at(obj, "value").unwrap_or(0)),
            json!(bool_at(obj, "globalDefault").unwrap_or(false)),
            columns::age(obj, now),
            json!(str_at(obj, "preemptionPolicy")),
        ]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        if is_default(obj) { vec![(GLOBAL_DEFAULT, "true".to_owned())] } else { Vec::new() }
    }
}

/// Whether pods that name no class get this one.
pub fn is_default(class: &Value) -> bool {
    bool_at(class, "globalDefault") == Some(true)
}

/// Whether the class is one that every cluster has.
pub fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|(known, ..)| *known == name)
}

/// A class every cluster has, as an object.
pub fn system_objects() -> Vec<Value> {
    let class = |(name, value, description): &(&str, i64, &str)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        })
    };
    SYSTEM.iter().map(class).collect()
}

fn reserved(obj: &Value) -> Option<Error> {
    let name = str_at(obj, "metadata.name");
    let value = int_at(obj, "value").unwrap_or(0);
    if !name.starts_with(SYSTEM_PREFIX) {
        let text = format!("maximum allowed value of a user defined priority is {VALUE_MAX}");
        return (value > VALUE_MAX).then(|| field::forbidden(&Path::new("value"), text));
    }
    let reason = match SYSTEM.iter().find(|(known, ..)| *known == name) {
        None => format!("{name} is not a known system priority class"),
        Some((_, known, _)) if *known != value => format!("value of {name} PriorityClass must be {known}"),
        Some(_) if is_default(obj) => format!("globalDefault of {name} PriorityClass must be false"),
        Some(_) => return None,
    };
    let text = format!(
        "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {reason}"
    );
    Some(field::forbidden(&Path::new("metadata.name"), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: i64, default: bool, text: &str) {
        let class = json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
        let errors: Vec<String> =
            PriorityClasses.validate(&class).iter().map(|error| error.detail.clone()).collect();
        let texts: Vec<&str> = text.split('|').filter(|text| !text.is_empty()).collect();
        assert_eq!(errors.len(), texts.len(), "{errors:?}");
        assert!(errors.iter().zip(texts).all(|(error, text)| error.ends_with(text)), "{errors:?}");
    }

    #[test]
    fn names_and_values_of_the_system_are_reserved() {
        check("a", VALUE_MAX, true, "");
        check("a", VALUE_MAX + 1, false, "is 1000000000");
        check("a", -5, false, "");
        check("system-node-critical", 2_000_001_000, false, "");
        check(
            "system-node-critical",
            1,
            false,
            "error: value of system-node-critical PriorityClass must be 2000001000",
        );
        check(
            "system-node-critical",
            2_000_001_000,
            true,
            "error: globalDefault of system-node-critical PriorityClass must be false",
        );
        check("system-x", 1, false, "error: system-x is not a known system priority class");
    }
}
