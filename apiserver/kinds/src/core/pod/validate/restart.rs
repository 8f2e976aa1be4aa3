//! When a container is restarted: policies, rules by exit code, and what a resize does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Path, Scope};
use crate::field::{self, Error};
use crate::tree::{at, list_at, str_at};

/// Rules one container may have.
const RULES_MAX: usize = 20;

/// Exit codes one rule may list.
const EXIT_CODES_MAX: usize = 255;

/// Everything wrong with the restart policy and rules of a main container.
pub(super) fn container_policy(container: &Value, path: &Path) -> Vec<Error> {
    let rules = list_at(container, "restartPolicyRules");
    let policy_path = path.child("restartPolicy");
    let mut errors = Vec::new();
    match at(container, "restartPolicy").and_then(Value::as_str) {
        None if rules.is_empty() => return errors,
        None => errors
            .push(field::required(&policy_path, "must specify restartPolicy when restart rules are used")),
        Some("Always" | "Never" | "OnFailure") => {}
        Some(other) => {
            errors.push(field::not_supported(&policy_path, other, &["Always", "Never", "OnFailure"]));
        }
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.push(field::too_many(&path, rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        errors.extend(self::rule(rule, &path.index(index)));
    }
    errors
}

/// Everything wrong with the restart policy and rules of an init container.
pub(super) fn init_container_policy(container: &Value, path: &Path) -> Vec<Error> {
    let mut errors = container_policy(container, path);
    if at(container, "restartPolicy").is_none() {
        // Without a policy nobody looks at the rules.
        errors.truncate(1);
    }
    errors
}

fn rule(rule: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let action = str_at(rule, "action");
    if !matches!(action, "Restart" | "RestartAllContainers") {
        errors.push(field::not_supported(
            &path.child("action"),
            action,
            &["Restart", "RestartAllContainers"],
        ));
    }
    let path = path.child("exitCodes");
    let Some(exit_codes) = at(rule, "exitCodes") else {
        errors.push(field::required(&path, "must be specified"));
        return errors;
    };
    let operator = str_at(exit_codes, "operator");
    if !matches!(operator, "In" | "NotIn") {
        errors.push(field::not_supported(&path.child("operator"), operator, &["In", "NotIn"]));
    }
    let values = list_at(exit_codes, "values").len();
    if values > EXIT_CODES_MAX {
        errors.push(field::too_many(&path.child("values"), values, EXIT_CODES_MAX));
    }
    errors
}

/// Everything wrong with what a resize of each resource does to the container.
pub(super) fn resize_policy(container: &Value, scope: &Scope<'_>, path: &Path) -> Vec<Error> {
    let never = str_at(scope.spec, "restartPolicy") == "Never";
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, policy) in list_at(container, "resizePolicy").iter().enumerate() {
        let (resource, restart) = (str_at(policy, "resourceName"), str_at(policy, "restartPolicy"));
        if !seen.insert(resource) {
            errors.push(field::duplicate(&path.index(index), resource));
        }
        match resource {
            "cpu" | "memory" => {}
            "" => errors.push(field::required(path, "")),
            other => errors.push(field::not_supported(path, other, &["cpu", "memory"])),
        }
        match restart {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.push(field::required(path, "")),
            other => errors.push(field::not_supported(path, other, &["NotRequired", "RestartContainer"])),
        }
        if never && restart != "NotRequired" {
            let text = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(field::invalid(path, restart, text));
        }
    }
    errors
}

/// An init container that ends cannot be restarted by a resize.
pub(super) fn no_restart_on_resize(container: &Value, path: &Path) -> Vec<Error> {
    let restarts = |policy: &Value| str_at(policy, "restartPolicy") == "RestartContainer";
    list_at(container, "resizePolicy")
        .iter()
        .enumerate()
        .filter(|(_, policy)| restarts(policy))
        .map(|(index, _)| {
            let path = path.child("resizePolicy").index(index).child("restartPolicy");
            let text = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            field::invalid(&path, "RestartContainer", text)
        })
        .collect()
}
