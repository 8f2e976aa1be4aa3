//! Roles and ClusterRoles: rules about resources or about paths, and aggregation.

use serde_json::Value;

use super::name_rule;
use crate::field::{self, BadValue, Error, Path};
use crate::selector::{Leniency, has_invalid_value, validate_label_selector};
use crate::tree::{at, list_at, map_at, str_at};
use crate::{Resource, Strategy, Subresource, meta};

/// The strategy of Roles.
pub(super) struct Roles;

impl Strategy for Roles {
    fn resource(&self) -> &'static Resource {
        crate::resource!("rbac.authorization.k8s.io", "v1", "roles")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, name_rule);
        errors.extend(validate_rules(obj, true));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(meta::validate_update(new, old));
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

/// The strategy of ClusterRoles.
pub(super) struct ClusterRoles;

impl Strategy for ClusterRoles {
    fn resource(&self) -> &'static Resource {
        crate::resource!("rbac.authorization.k8s.io", "v1", "clusterroles")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate_cluster_role(obj, Leniency::default())
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let any_values = selectors(old).iter().any(|selector| has_invalid_value(&wrap(selector), "selector"));
        let mut errors = validate_cluster_role(new, Leniency { any_values, any_operator: false });
        errors.extend(meta::validate_update(new, old));
        errors
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn selectors(obj: &Value) -> &[Value] {
    list_at(obj, "aggregationRule.clusterRoleSelectors")
}

/// Selector checks look a selector up in its parent, which a list element does not have.
fn wrap(selector: &Value) -> Value {
    serde_json::json!({ "selector": selector })
}

fn validate_cluster_role(obj: &Value, leniency: Leniency) -> Vec<Error> {
    let mut errors = meta::validate(obj, false, name_rule);
    errors.extend(validate_rules(obj, false));
    if at(obj, "aggregationRule").is_none() {
        return errors;
    }
    let path = Path::new("aggregationRule.clusterRoleSelectors");
    let selectors = selectors(obj);
    if selectors.is_empty() {
        errors.push(field::required(
            &path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        ));
    }
    for (index, selector) in selectors.iter().enumerate() {
        let path = path.index(index);
        let broken = validate_label_selector(&wrap(selector), "selector", leniency, &path);
        let unusable = !broken.is_empty() && !is_usable(selector);
        errors.extend(broken);
        if unusable {
            errors.push(field::invalid(&path, BadValue::Json(Value::Null), "invalid label selector."));
        }
    }
    errors
}

/// Whether a selector can be evaluated, however odd its values are.
fn is_usable(selector: &Value) -> bool {
    let strict = Leniency::default();
    let has_labels = map_at(selector, "matchLabels").is_some();
    let known = |requirement: &Value| {
        matches!(str_at(requirement, "operator"), "In" | "NotIn" | "Exists" | "DoesNotExist")
    };
    list_at(selector, "matchExpressions").iter().all(known)
        && (!has_labels
            || validate_label_selector(&wrap(selector), "selector", strict, &Path::root()).is_empty())
}

fn validate_rules(obj: &Value, namespaced: bool) -> Vec<Error> {
    let rules = list_at(obj, "rules").iter().enumerate();
    rules
        .flat_map(|(index, rule)| validate_rule(rule, namespaced, &Path::new("rules").index(index)))
        .collect()
}

fn validate_rule(rule: &Value, namespaced: bool, path: &Path) -> Vec<Error> {
    let is_empty = |name: &str| list_at(rule, name).is_empty();
    let mut errors = Vec::new();
    if is_empty("verbs") {
        errors.push(field::required(&path.child("verbs"), "verbs must contain at least one value"));
    }
    if !is_empty("nonResourceURLs") {
        let path = path.child("nonResourceURLs");
        let urls = at(rule, "nonResourceURLs");
        if namespaced {
            errors.push(field::invalid(&path, urls, "namespaced rules cannot apply to non-resource URLs"));
        }
        if !(is_empty("apiGroups") && is_empty("resources") && is_empty("resourceNames")) {
            let text = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(field::invalid(&path, urls, text));
        }
        return errors;
    }
    if is_empty("apiGroups") {
        errors.push(field::required(
            &path.child("apiGroups"),
            "resource rules must supply at least one api group",
        ));
    }
    if is_empty("resources") {
        errors.push(field::required(
            &path.child("resources"),
            "resource rules must supply at least one resource",
        ));
    }
    errors
}
