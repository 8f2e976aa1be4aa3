//! The managers of an object as they look through its scale, and back.
//!
//! A scale shows one field of its object, `spec.replicas`. Whoever owns the object's replicas owns the scale's, under the
//! scale's version; what happens to that ownership in a scale happens to it in the object.

use super::super::managers::{Manager, decode_managers, encode_managers};
use super::super::set::Set;
use crate::Tree;

/// The version that scales are of.
const SCALE: &str = "autoscaling/v1";

/// The `managedFields` of a scale, out of those of its object. `version` is the object's `group/version`.
pub fn of_parent(parent: Option<&Tree>, version: &str) -> Result<Tree, String> {
    let mut managers = decoded(parent)?;
    managers.retain(|manager| manager.api_version == version && owns_replicas(manager));
    for manager in &mut managers {
        manager.fields = replicas();
        manager.api_version = SCALE.to_owned();
    }
    Ok(encode_managers(managers))
}

/// The `managedFields` of the object after those of its scale have changed.
///
/// A manager that comes new through a scale has no time: none is known for it on the object.
pub fn to_parent(parent: Option<&Tree>, scale: Option<&Tree>, version: &str) -> Result<Tree, String> {
    let parents = decoded(parent)?;
    let mut scales = decoded(scale)?;
    let mut managers: Vec<Manager> = Vec::with_capacity(parents.len() + 1);
    for manager in parents {
        if manager.api_version != version {
            continue;
        }
        if !owns_replicas(&manager) {
            managers.push(manager);
            continue;
        }
        match scales.iter().position(|scale| is_seen_as(&manager, scale)) {
            Some(at) => {
                scales.remove(at);
                managers.push(manager);
            }
            None => {
                let fields = manager.fields.difference(&replicas());
                managers.push(Manager { fields, ..manager });
            }
        }
    }
    for manager in scales.into_iter().filter(owns_replicas) {
        managers.push(Manager { fields: replicas(), api_version: version.to_owned(), time: None, ..manager });
    }
    Ok(encode_managers(managers))
}

/// Whether a manager of the scale is this one of the object.
fn is_seen_as(parent: &Manager, scale: &Manager) -> bool {
    parent.operation == scale.operation
        && parent.name == scale.name
        && parent.subresource == scale.subresource
}

fn owns_replicas(manager: &Manager) -> bool {
    manager.fields.contains(&["f:spec".into(), "f:replicas".into()])
}

fn replicas() -> Set {
    Set::of_fields(&[&["spec", "replicas"]])
}

fn decoded(managers: Option<&Tree>) -> Result<Vec<Manager>, String> {
    managers.map_or_else(|| Ok(Vec::new()), decode_managers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(name: &str, operation: &str, version: &str, fields: Tree) -> Tree {
        json!({"apiVersion": version, "fieldsType": "FieldsV1", "manager": name, "operation": operation, "fieldsV1": fields})
    }

    #[test]
    fn owners_of_the_replicas_are_seen() {
        let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let only = json!({"f:spec": {"f:replicas": {}}});
        let parent = json!([
            entry("a", "Apply", "apps/v1", both.clone()),
            entry("b", "Update", "apps/v1", json!({"f:spec": {"f:paused": {}}})),
            entry("c", "Update", "apps/v1", both.clone()),
        ]);
        let seen = of_parent(Some(&parent), "apps/v1").expect("managers");
        let expected = json!([
            entry("a", "Apply", "autoscaling/v1", only.clone()),
            entry("c", "Update", "autoscaling/v1", only.clone())
        ]);
        assert_eq!(seen, expected);
        assert_eq!(to_parent(Some(&parent), Some(&seen), "apps/v1"), Ok(parent.clone()));

        let stolen = json!([entry("m", "Apply", "autoscaling/v1", only.clone())]);
        let expected = json!([
            entry("a", "Apply", "apps/v1", json!({"f:spec": {"f:paused": {}}})),
            entry("m", "Apply", "apps/v1", only),
            entry("b", "Update", "apps/v1", json!({"f:spec": {"f:paused": {}}})),
            entry("c", "Update", "apps/v1", json!({"f:spec": {"f:paused": {}}})),
        ]);
        assert_eq!(to_parent(Some(&parent), Some(&stolen), "apps/v1"), Ok(expected));
    }
}
