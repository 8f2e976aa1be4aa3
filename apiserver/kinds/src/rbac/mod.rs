//! Kinds of the rbac.authorization.k8s.io group, one file each. Who may grant what is decided elsewhere.

mod binding;
mod role;

use crate::Strategy;

/// The group's name, which its references repeat.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The strategies of this group.
pub(crate) fn strategies() -> Vec<&'static dyn Strategy> {
    vec![&role::Roles, &role::ClusterRoles, &binding::RoleBindings, &binding::ClusterRoleBindings]
}

/// Names of roles and bindings: whatever fits a path segment, even when a suffix follows.
fn name_rule(name: &str, _prefix: bool) -> Vec<String> {
    crate::names::path_segment_rule(name, false)
}
