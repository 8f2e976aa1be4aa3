//! Bindings as the index keeps them, and what they give as the reason of a decision.
//!
//! A reason is a reference until somebody reads it: every request has one.

use std::sync::{Arc, OnceLock};

use super::{Subject, text};
use crate::Tree;
use crate::go;
use crate::user::{self, UserInfo};

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug)]
pub struct Binding {
    /// The binding's name.
    pub(super) name: Arc<str>,
    /// Its namespace; empty for a ClusterRoleBinding.
    pub(super) namespace: Arc<str>,
    /// `Role` or `ClusterRole`.
    pub(super) role_kind: String,
    /// The role's name.
    pub(super) role: String,
    pub(super) subjects: Vec<Subject>,
    /// For each subject the reason it gives, once somebody has asked for it: an audit log asks again
    /// and again.
    reasons: Box<[OnceLock<Box<str>>]>,
}

impl Binding {
    /// Reads one of this name; subjects that cannot be anybody are left out.
    pub(super) fn read(object: &Tree, namespace: Arc<str>, name: Arc<str>) -> Binding {
        let reference = &object["roleRef"];
        let subjects = object["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
        let subjects: Vec<Subject> =
            subjects.iter().filter_map(|subject| Subject::read(subject, &namespace)).collect();
        Binding {
            role_kind: text(reference, "kind").to_owned(),
            role: text(reference, "name").to_owned(),
            reasons: subjects.iter().map(|_| OnceLock::new()).collect(),
            subjects,
            namespace,
            name,
        }
    }

    /// Where the first subject stands that is this user.
    pub(super) fn subject_of(&self, user: &UserInfo) -> Option<usize> {
        self.subjects.iter().position(|subject| subject.is(user))
    }

    fn reason(&self, subject: usize) -> String {
        let (kind, binding) = match &*self.namespace {
            "" => ("ClusterRoleBinding", self.name.to_string()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let (subject_kind, subject) = match &self.subjects[subject] {
            Subject::User(name) => ("User", name.clone()),
            Subject::Group(name) => ("Group", name.clone()),
            Subject::ServiceAccount { namespace, name } => ("ServiceAccount", format!("{name}/{namespace}")),
        };
        let [binding, role, subject] = [&binding, &self.role, &subject].map(|text| go::quote(text));
        let role_kind = &self.role_kind;
        format!("RBAC: allowed by {kind} {binding} of {role_kind} {role} to {subject_kind} {subject}")
    }
}

impl Subject {
    fn read(subject: &Tree, binding_namespace: &str) -> Option<Subject> {
        let name = text(subject, "name").to_owned();
        match text(subject, "kind") {
            "User" => Some(Subject::User(name)),
            "Group" => Some(Subject::Group(name)),
            "ServiceAccount" => {
                let namespace = match text(subject, "namespace") {
                    "" => binding_namespace,
                    namespace => namespace,
                };
                (!namespace.is_empty())
                    .then(|| Subject::ServiceAccount { namespace: namespace.to_owned(), name })
            }
            _ => None,
        }
    }

    fn is(&self, user: &UserInfo) -> bool {
        match self {
            Subject::User(name) => *name == user.name,
            Subject::Group(name) => user.in_group(name),
            Subject::ServiceAccount { namespace, name } => {
                user::is_service_account(&user.name, namespace, name)
            }
        }
    }
}

/// What a user's rule comes from.
#[derive(Clone, Debug)]
pub struct Source {
    binding: Arc<Binding>,
    /// The first subject of the binding that is the user.
    subject: usize,
}

impl Source {
    pub(super) fn new(binding: &Arc<Binding>, subject: usize) -> Source {
        Source { binding: binding.clone(), subject }
    }

    /// The reason of a decision, in upstream's words.
    pub(super) fn reason(&self) -> &str {
        self.binding.reasons[self.subject].get_or_init(|| self.binding.reason(self.subject).into())
    }
}
