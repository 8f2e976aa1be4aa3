//! Role-based access control: whether the rules of a user's roles allow a request.
//!
//! Decides over [`Roles`], a pinned view of roles and bindings. It never decides that a
//! request is *denied*: without a matching rule it has no opinion, and the chain refuses.
//! [`Index`] is the view the server uses; it finds a user's rules without looking at
//! anybody else's.

mod aggregation;
mod attributes;
mod binding;
mod escalation;
mod index;
mod review;
mod review_faults;
mod rule;

pub use aggregation::aggregated_rules;
pub use attributes::{Attributes, Forbidden, Operator, Requirement, forbidden};
pub use binding::{Binding, Source};
pub use escalation::{Refusal, RoleRef, changes_only_collection, check_binding, check_role, covers};
pub use index::Index;
pub use review::{
    Resolved, Specification, parse_fields, parse_labels, rules_for, rules_review_status, specification,
    status,
};
pub use review_faults::{Fault, FaultKind, review_faults};
pub use rule::Rule;

use std::sync::Arc;

use crate::Tree;
use crate::go;
use crate::user::UserInfo;

/// API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What an authorizer says.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The request may go on, by this binding if it takes one.
    Allow(Option<Source>),
    /// Nothing allows it; the reason is appended to the forbidden text and may be empty.
    NoOpinion(String),
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    /// The refusal of the request this was decided about, unless it is allowed.
    ///
    /// # Errors
    /// It is not; the error is what the 403 says.
    pub fn demand(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Forbidden> {
        match self {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(forbidden(user, attributes, reason)),
        }
    }

    /// Why, in upstream's words; empty when there is nothing to say.
    pub fn reason(&self) -> &str {
        match self {
            Decision::Allow(source) => source.as_ref().map_or("", Source::reason),
            Decision::NoOpinion(reason) => reason,
        }
    }
}

/// One thing found while walking the bindings of a user.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A rule and the binding it comes from.
    Rule {
        /// The rule.
        rule: &'a Rule,
        /// The binding.
        binding: &'a Arc<Binding>,
        /// Where the first subject of the binding stands that is this user.
        subject: usize,
    },
    /// A binding names a role that does not exist.
    Missing {
        /// `Role` or `ClusterRole`.
        kind: &'a str,
        /// The role's name.
        name: &'a str,
    },
}

/// Who a binding is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user name.
    User(String),
    /// A group name.
    Group(String),
    /// A service account; the namespace is the binding's when the subject has none.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A pinned view of roles and bindings.
pub trait Roles {
    /// Calls `visit` for every rule that applies to `user` in `namespace` (empty: cluster-wide),
    /// ClusterRoleBindings first, then the namespace's RoleBindings, each in name order,
    /// until it returns false.
    fn visit(&self, user: &UserInfo, namespace: &str, visit: &mut dyn FnMut(Found<'_>) -> bool);

    /// The rules of the role a reference in a binding of `namespace` (empty: cluster-wide) names.
    fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<Rule>>;
}

/// Decides by role-based access control alone; [`crate::Authorizer`] is the whole chain.
pub fn authorize(roles: &dyn Roles, user: &UserInfo, attributes: &Attributes) -> Decision {
    let mut allowed = None;
    let mut errors = Vec::new();
    roles.visit(user, &attributes.namespace, &mut |found| match found {
        Found::Rule { rule, binding, subject } => {
            let allows = rule.allows(attributes);
            if allows {
                allowed = Some(Source::new(binding, subject));
            }
            !allows
        }
        Found::Missing { kind, name } => {
            errors.push(missing_role(kind, name));
            true
        }
    });
    match allowed {
        Some(source) => Decision::Allow(Some(source)),
        None if errors.is_empty() => Decision::NoOpinion(String::new()),
        None => Decision::NoOpinion(format!("RBAC: {}", go::aggregate(&errors))),
    }
}

/// What a binding to a role that does not exist reports.
fn missing_role(kind: &str, name: &str) -> String {
    match kind {
        "Role" | "ClusterRole" => {
            format!("{}.{GROUP} {} not found", kind.to_ascii_lowercase(), go::quote(name))
        }
        other => format!("unsupported role reference kind: {}", go::quote(other)),
    }
}

fn text<'a>(tree: &'a Tree, field: &str) -> &'a str {
    tree.get(field).and_then(Tree::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
