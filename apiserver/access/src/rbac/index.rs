//! Roles and bindings arranged by subject.
//!
//! A user's rules are found by looking up the user's name and each group, so a decision
//! costs what that user's own bindings hold, however many others there are. The maps are
//! persistent: a clone is a pinned view, and the next change does not disturb it.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{HashMap, OrdSet};

use super::{Found, Roles, Rule, Source, Subject};
use crate::Tree;
use crate::user::{self, UserInfo};

/// Namespace and name; the namespace is empty for cluster scope.
type Key = (Arc<str>, Arc<str>);

/// The view of roles and bindings the server authorizes with.
///
/// `ClusterRoleBinding x → ClusterRole r for Group g` puts `x` into `by_subject[("", Group g)]`;
/// the binding points at `r` by name, so a role may come, change and go on its own.
#[derive(Clone, Default)]
pub struct Index {
    roles: HashMap<Key, Arc<[Rule]>>,
    bindings: HashMap<Key, Arc<Binding>>,
    by_subject: HashMap<(Arc<str>, Lookup), OrdSet<Arc<str>>>,
}

/// What a user is looked up by. A service account is its user name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lookup {
    User(String),
    Group(String),
}

struct Binding {
    name: Arc<str>,
    namespace: Arc<str>,
    role_kind: String,
    role: String,
    subjects: Vec<Subject>,
}

impl Index {
    /// An index of all these objects; other kinds are ignored.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Tree>) -> Index {
        let mut index = Index::default();
        for object in objects {
            index.upsert(object);
        }
        index
    }

    /// Takes in a created or changed Role, ClusterRole, RoleBinding or ClusterRoleBinding.
    /// Another kind is ignored. Returns whether it was one of the four.
    pub fn upsert(&mut self, object: &Tree) -> bool {
        let Some((is_role, key)) = identify(object) else { return false };
        if is_role {
            self.roles.insert(key, Rule::of_role(object).into());
        } else {
            self.forget_binding(&key);
            let binding = Binding::read(object, &key);
            for lookup in binding.lookups() {
                self.by_subject.entry((key.0.clone(), lookup)).or_default().insert(key.1.clone());
            }
            self.bindings.insert(key, Arc::new(binding));
        }
        true
    }

    /// Forgets a deleted object; only its kind, namespace and name are looked at.
    pub fn remove(&mut self, object: &Tree) -> bool {
        let Some((is_role, key)) = identify(object) else { return false };
        if is_role {
            self.roles.remove(&key);
        } else {
            self.forget_binding(&key);
        }
        true
    }

    fn forget_binding(&mut self, key: &Key) {
        let Some(binding) = self.bindings.remove(key) else { return };
        for lookup in binding.lookups() {
            let entry = (key.0.clone(), lookup);
            if let Some(names) = self.by_subject.get_mut(&entry) {
                names.remove(&key.1);
                if names.is_empty() {
                    self.by_subject.remove(&entry);
                }
            }
        }
    }

    /// The bindings of `user` in one namespace, in name order.
    fn bindings_of(&self, user: &UserInfo, namespace: &str) -> BTreeMap<Arc<str>, &Arc<Binding>> {
        let namespace: Arc<str> = namespace.into();
        let groups = user.groups.iter().cloned().map(Lookup::Group);
        let mut found = BTreeMap::new();
        for lookup in [Lookup::User(user.name.clone())].into_iter().chain(groups) {
            let Some(names) = self.by_subject.get(&(namespace.clone(), lookup)) else { continue };
            for name in names {
                let binding = self.bindings.get(&(namespace.clone(), name.clone()));
                found.insert(name.clone(), binding.expect("indexed bindings are stored"));
            }
        }
        found
    }

    fn rules(&self, kind: &str, name: &str, namespace: &str) -> Option<&Arc<[Rule]>> {
        let namespace = match kind {
            "Role" if !namespace.is_empty() => namespace,
            "ClusterRole" => "",
            _ => return None,
        };
        self.roles.get(&(Arc::from(namespace), Arc::from(name)))
    }

    fn visit_binding(
        &self,
        binding: &Binding,
        user: &UserInfo,
        visit: &mut dyn FnMut(Found<'_>) -> bool,
    ) -> bool {
        let subject = binding.subjects.iter().find(|subject| subject.is(user));
        let subject = subject.expect("looked up by one of the user's subjects");
        let Some(rules) = self.rules(&binding.role_kind, &binding.role, &binding.namespace) else {
            return visit(Found::Missing { kind: &binding.role_kind, name: &binding.role });
        };
        let source = Source {
            namespace: &binding.namespace,
            binding: &binding.name,
            role_kind: &binding.role_kind,
            role: &binding.role,
            subject,
        };
        rules.iter().all(|rule| visit(Found::Rule { rule, source }))
    }
}

impl Roles for Index {
    fn visit(&self, user: &UserInfo, namespace: &str, visit: &mut dyn FnMut(Found<'_>) -> bool) {
        let scopes: &[&str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for scope in scopes {
            for binding in self.bindings_of(user, scope).values() {
                if !self.visit_binding(binding, user, visit) {
                    return;
                }
            }
        }
    }

    fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Vec<Rule>> {
        self.rules(kind, name, namespace).map(|rules| rules.to_vec())
    }
}

impl Binding {
    fn read(object: &Tree, key: &Key) -> Binding {
        let reference = &object["roleRef"];
        let subjects = object["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
        Binding {
            namespace: key.0.clone(),
            name: key.1.clone(),
            role_kind: text(reference, "kind").to_owned(),
            role: text(reference, "name").to_owned(),
            subjects: subjects.iter().filter_map(|subject| Subject::read(subject, &key.0)).collect(),
        }
    }

    fn lookups(&self) -> impl Iterator<Item = Lookup> + '_ {
        self.subjects.iter().map(|subject| match subject {
            Subject::User(name) => Lookup::User(name.clone()),
            Subject::Group(name) => Lookup::Group(name.clone()),
            Subject::ServiceAccount { namespace, name } => {
                Lookup::User(user::service_account_username(namespace, name))
            }
        })
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
                user.name == user::service_account_username(namespace, name)
            }
        }
    }
}

fn identify(object: &Tree) -> Option<(bool, Key)> {
    let metadata = &object["metadata"];
    let namespace = text(metadata, "namespace");
    let (is_role, namespace) = match text(object, "kind") {
        "ClusterRole" => (true, ""),
        "Role" => (true, namespace),
        "ClusterRoleBinding" => (false, ""),
        "RoleBinding" => (false, namespace),
        _ => return None,
    };
    Some((is_role, (namespace.into(), text(metadata, "name").into())))
}

fn text<'a>(tree: &'a Tree, field: &str) -> &'a str {
    tree.get(field).and_then(Tree::as_str).unwrap_or_default()
}
