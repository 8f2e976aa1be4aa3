//! Kinds of the flowcontrol.apiserver.k8s.io group, and the objects of it that every cluster has.

pub mod bootstrap;
mod flow_schema;
mod priority_level;
mod rules;

use std::collections::HashSet;

use serde_json::Value;

use crate::Strategy;
use crate::field::{self, Error, Path};
use crate::tree::{at, carry_over, list_at, set, str_at};

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&flow_schema::FlowSchemas, &priority_level::PriorityLevelConfigurations]
}

/// A writer of the status changes nothing else.
fn keep_all_but_status(new: &mut Value, old: &Value) {
    carry_over(new, old, "spec");
    let managed = at(new, "metadata.managedFields").cloned();
    carry_over(new, old, "metadata");
    if let Some(managed) = managed {
        set(new, "metadata.managedFields", managed);
    }
}

fn validate_conditions(obj: &Value) -> Vec<Error> {
    let path = Path::new("status.conditions");
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, condition) in list_at(obj, "status.conditions").iter().enumerate() {
        let (name, path) = (str_at(condition, "type"), path.index(index).child("type"));
        if !seen.insert(name) {
            errors.push(field::duplicate(&path, name));
        }
        if name.is_empty() {
            errors.push(field::required(&path, ""));
        }
    }
    errors
}

#[cfg(test)]
mod tests;
