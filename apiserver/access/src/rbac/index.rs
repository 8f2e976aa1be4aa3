//! Roles and bindings arranged by namespace and subject.
//!
//! A user's rules are found by looking up the user's name and each group, so a decision
//! costs what that user's own bindings hold, however many others there are. The maps are
//! persistent: a clone is a pinned view, and the next change does not disturb it.

use std::sync::Arc;

use imbl::HashMap;

use super::{Binding, Found, Roles, Rule, Subject, text};
use crate::Tree;
use crate::user::{self, UserInfo};

/// The view of roles and bindings the server authorizes with.
///
/// `ClusterRoleBinding x → ClusterRole r for Group g` stands in the scope of no namespace, under
/// its name and under the group `g`; it points at `r` by name, so a role may come, change and go
/// on its own.
#[derive(Clone, Default)]
pub struct Index {
    /// By namespace; the empty one is the cluster's.
    scopes: HashMap<Arc<str>, Scope>,
}

/// Roles and bindings of one namespace.
#[derive(Clone, Default)]
struct Scope {
    roles: HashMap<Arc<str>, Arc<[Rule]>>,
    bindings: HashMap<Arc<str>, Arc<Binding>>,
    /// By user name, which a service account has as well.
    users: HashMap<Arc<str>, Bindings>,
    groups: HashMap<Arc<str>, Bindings>,
}

/// The bindings of one subject in one namespace, in name order. Few, so that a change makes them anew.
type Bindings = Arc<[Arc<Binding>]>;

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
        let Some(identity) = Identity::of(object) else { return false };
        let namespace: Arc<str> = identity.namespace.into();
        let scope = self.scopes.entry(namespace.clone()).or_default();
        if identity.is_role {
            scope.roles.insert(identity.name.into(), Rule::of_role(object).into());
        } else {
            scope.forget_binding(identity.name);
            scope.add_binding(Binding::read(object, namespace, identity.name.into()));
        }
        true
    }

    /// Forgets a deleted object; only its kind, namespace and name are looked at.
    pub fn remove(&mut self, object: &Tree) -> bool {
        let Some(identity) = Identity::of(object) else { return false };
        let Some(scope) = self.scopes.get_mut(identity.namespace) else { return true };
        if identity.is_role {
            scope.roles.remove(identity.name);
        } else {
            scope.forget_binding(identity.name);
        }
        if scope.roles.is_empty() && scope.bindings.is_empty() {
            self.scopes.remove(identity.namespace);
        }
        true
    }

    fn rules(&self, kind: &str, name: &str, namespace: &str) -> Option<&Arc<[Rule]>> {
        let namespace = match kind {
            "Role" if !namespace.is_empty() => namespace,
            "ClusterRole" => "",
            _ => return None,
        };
        self.scopes.get(namespace)?.roles.get(name)
    }

    fn visit_binding(
        &self,
        binding: &Arc<Binding>,
        user: &UserInfo,
        visit: &mut dyn FnMut(Found<'_>) -> bool,
    ) -> bool {
        let subject = binding.subject_of(user).expect("looked up by one of the user's subjects");
        let Some(rules) = self.rules(&binding.role_kind, &binding.role, &binding.namespace) else {
            return visit(Found::Missing { kind: &binding.role_kind, name: &binding.role });
        };
        rules.iter().all(|rule| visit(Found::Rule { rule, binding, subject }))
    }
}

impl Roles for Index {
    fn visit(&self, user: &UserInfo, namespace: &str, visit: &mut dyn FnMut(Found<'_>) -> bool) {
        let namespaced = Some(namespace).filter(|namespace| !namespace.is_empty());
        for scope in [""].into_iter().chain(namespaced).filter_map(|namespace| self.scopes.get(namespace)) {
            for binding in scope.bindings_of(user) {
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

impl Scope {
    fn add_binding(&mut self, binding: Binding) {
        let binding = Arc::new(binding);
        for subject in &binding.subjects {
            let (map, name) = self.map_of(subject);
            let had = map.get(&name).map(|bindings| &**bindings).unwrap_or_default();
            let before = had.partition_point(|other| other.name < binding.name);
            // A subject may stand in a binding twice.
            if had.get(before).is_none_or(|other| other.name != binding.name) {
                let new = [&had[..before], std::slice::from_ref(&binding), &had[before..]].concat();
                map.insert(name, new.into());
            }
        }
        self.bindings.insert(binding.name.clone(), binding);
    }

    fn forget_binding(&mut self, name: &str) {
        let Some(binding) = self.bindings.remove(name) else { return };
        for subject in &binding.subjects {
            let (map, subject) = self.map_of(subject);
            let had = map.get(&subject).map(|bindings| &**bindings).unwrap_or_default();
            let left: Bindings = had.iter().filter(|other| *other.name != *name).cloned().collect();
            if left.is_empty() {
                map.remove(&subject);
            } else {
                map.insert(subject, left);
            }
        }
    }

    /// Where a subject is looked up, and as what.
    fn map_of(&mut self, subject: &Subject) -> (&mut HashMap<Arc<str>, Bindings>, Arc<str>) {
        match subject {
            Subject::User(name) => (&mut self.users, name.as_str().into()),
            Subject::Group(name) => (&mut self.groups, name.as_str().into()),
            Subject::ServiceAccount { namespace, name } => {
                (&mut self.users, user::service_account_username(namespace, name).into())
            }
        }
    }

    /// The bindings of `user`, each once, in name order.
    fn bindings_of(&self, user: &UserInfo) -> Vec<&Arc<Binding>> {
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let own = self.users.get(user.name.as_str());
        let mut found: Vec<&Arc<Binding>> = own.into_iter().chain(groups).flat_map(|list| &**list).collect();
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        found.dedup_by(|one, other| one.name == other.name);
        found
    }
}

/// Which of the four kinds an object is, and which object.
struct Identity<'a> {
    is_role: bool,
    /// Empty for cluster scope.
    namespace: &'a str,
    name: &'a str,
}

impl Identity<'_> {
    fn of(object: &Tree) -> Option<Identity<'_>> {
        let metadata = &object["metadata"];
        let (is_role, is_namespaced) = match text(object, "kind") {
            "ClusterRole" => (true, false),
            "Role" => (true, true),
            "ClusterRoleBinding" => (false, false),
            "RoleBinding" => (false, true),
            _ => return None,
        };
        let namespace = if is_namespaced { text(metadata, "namespace") } else { "" };
        Some(Identity { is_role, namespace, name: text(metadata, "name") })
    }
}
