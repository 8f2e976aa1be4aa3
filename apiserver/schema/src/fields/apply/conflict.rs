//! Conflicts: fields that another manager owns with another value, and how clients read about them.

use super::super::managers::{Manager, Operation};
use super::super::set::Set;
use crate::go::quote;

/// A field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager, as the message calls it: `"m" with subresource "status" using apps/v1`.
    pub manager: String,
    /// The field in its elements.
    pub path: Vec<Box<str>>,
}

impl Conflict {
    /// What a cause says.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }

    /// The field as messages print it.
    pub fn field(&self) -> String {
        Set::describe(&self.path)
    }
}

/// The conflicts about the fields of some managers.
pub(super) fn conflicts(mut owned: Vec<(Manager, Set)>) -> Vec<Conflict> {
    owned.sort_by(|(a, _), (b, _)| identity(a).cmp(&identity(b)));
    let of_one = |(manager, set): (Manager, Set)| {
        let name = called(&manager);
        set.paths_by_level().into_iter().map(move |path| Conflict { manager: name.clone(), path })
    };
    owned.into_iter().flat_map(of_one).collect()
}

fn identity(manager: &Manager) -> (&str, Operation, &str, &str) {
    (&manager.name, manager.operation, &manager.api_version, &manager.subresource)
}

fn called(manager: &Manager) -> String {
    let mut text = quote(&manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(&format!(" with subresource {}", quote(&manager.subresource)));
    }
    if manager.operation == Operation::Update {
        text.push_str(&format!(" using {}", manager.api_version));
    }
    text
}

/// The message of an apply that failed.
pub fn message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", conflict.message(), conflict.field());
    }
    let mut lines: Vec<String> = Vec::new();
    let mut before = None;
    for conflict in conflicts {
        if before != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            before = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.field()));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
