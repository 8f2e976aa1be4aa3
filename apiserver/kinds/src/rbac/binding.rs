//! RoleBindings and ClusterRoleBindings: one role, never to be exchanged, and its subjects.

use serde_json::{Value, json};

use super::{GROUP, name_rule};
use crate::columns::{self, Column};
use crate::field::{self, BadValue, Error, Path};
use crate::names::{path_segment_rule, subdomain_rule};
use crate::tree::{list_at, list_at_mut, set, str_at};
use crate::{Resource, Strategy, Subresource, meta};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Role", "The role that is granted."),
    Column::AGE,
    Column::text("Users", "Users it is granted to.").wide(),
    Column::text("Groups", "Groups it is granted to.").wide(),
    Column::text("ServiceAccounts", "Service accounts it is granted to.").wide(),
];

/// The strategy of RoleBindings.
pub(super) struct RoleBindings;

impl Strategy for RoleBindings {
    fn resource(&self) -> &'static Resource {
        crate::resource!("rbac.authorization.k8s.io", "v1", "rolebindings")
    }

    fn default(&self, obj: &mut Value) {
        default_groups(obj);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate(obj, true, &["Role", "ClusterRole"])
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(validate_change(new, old));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        row(obj, now)
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

/// The strategy of ClusterRoleBindings.
pub(super) struct ClusterRoleBindings;

impl Strategy for ClusterRoleBindings {
    fn resource(&self) -> &'static Resource {
        crate::resource!("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
    }

    fn default(&self, obj: &mut Value) {
        default_groups(obj);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate(obj, false, &["ClusterRole"])
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(validate_change(new, old));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        row(obj, now)
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn default_groups(obj: &mut Value) {
    if str_at(obj, "roleRef.apiGroup").is_empty() {
        set(obj, "roleRef.apiGroup", GROUP);
    }
    for subject in list_at_mut(obj, "subjects") {
        let is_group_kind = matches!(str_at(subject, "kind"), "User" | "Group");
        if is_group_kind && str_at(subject, "apiGroup").is_empty() {
            set(subject, "apiGroup", GROUP);
        }
    }
}

fn row(obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let role = format!("{}/{}", str_at(obj, "roleRef.kind"), str_at(obj, "roleRef.name"));
    let names = |kind: &str| {
        let of_kind = list_at(obj, "subjects").iter().filter(|subject| str_at(subject, "kind") == kind);
        let names: Vec<String> = of_kind.map(print_subject).collect();
        json!(names.join(", "))
    };
    vec![
        columns::name(obj),
        json!(role),
        columns::age(obj, now),
        names("User"),
        names("Group"),
        names("ServiceAccount"),
    ]
}

fn print_subject(subject: &Value) -> String {
    let name = str_at(subject, "name");
    match str_at(subject, "kind") {
        "ServiceAccount" => format!("{}/{name}", str_at(subject, "namespace")),
        _ => name.to_owned(),
    }
}

fn validate(obj: &Value, namespaced: bool, kinds: &[&str]) -> Vec<Error> {
    let mut errors = meta::validate(obj, namespaced, name_rule);
    let path = Path::new("roleRef");
    let (group, kind, name) =
        (str_at(obj, "roleRef.apiGroup"), str_at(obj, "roleRef.kind"), str_at(obj, "roleRef.name"));
    if group != GROUP {
        errors.push(field::not_supported(&path.child("apiGroup"), group, &[GROUP]));
    }
    if !kinds.contains(&kind) {
        errors.push(field::not_supported(&path.child("kind"), kind, kinds));
    }
    let path = path.child("name");
    if name.is_empty() {
        errors.push(field::required(&path, ""));
    } else {
        errors
            .extend(path_segment_rule(name, false).into_iter().map(|text| field::invalid(&path, name, text)));
    }
    for (index, subject) in list_at(obj, "subjects").iter().enumerate() {
        errors.extend(validate_subject(subject, namespaced, &Path::new("subjects").index(index)));
    }
    errors
}

fn validate_subject(subject: &Value, namespaced: bool, path: &Path) -> Vec<Error> {
    let (name, group) = (str_at(subject, "name"), str_at(subject, "apiGroup"));
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(field::required(&path.child("name"), ""));
    }
    match str_at(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                let path = path.child("name");
                errors.extend(
                    subdomain_rule(name, false).into_iter().map(|text| field::invalid(&path, name, text)),
                );
            }
            if !group.is_empty() {
                errors.push(field::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && str_at(subject, "namespace").is_empty() {
                errors.push(field::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.push(field::not_supported(&path.child("apiGroup"), group, &[GROUP]));
        }
        "User" | "Group" => {}
        kind => {
            errors.push(field::not_supported(&path.child("kind"), kind, &["ServiceAccount", "User", "Group"]))
        }
    }
    errors
}

fn validate_change(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = meta::validate_update(new, old);
    let part = |obj: &Value, name: &str| str_at(obj, &format!("roleRef.{name}")).to_owned();
    if ["apiGroup", "kind", "name"].iter().any(|name| part(new, name) != part(old, name)) {
        let json = |name: &str| field::go_json(&json!(part(new, name)));
        let printed = format!(
            "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
            json("apiGroup"),
            json("kind"),
            json("name")
        );
        errors.push(field::invalid(
            &Path::new("roleRef"),
            BadValue::Printed(printed),
            "cannot change roleRef",
        ));
    }
    errors
}
