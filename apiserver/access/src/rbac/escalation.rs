//! Nobody grants what they do not hold.
//!
//! A role may be written by those who hold each of its rules, or the verb `escalate` on it;
//! a binding by those who hold each rule of its role, or the verb `bind` on the role.
//! Members of `system:masters` are never asked.

use std::collections::BTreeSet;

use super::{Attributes, Forbidden, Found, GROUP, Roles, Rule, missing_role};
use crate::Tree;
use crate::chain::Authorizer;
use crate::go;
use crate::user::UserInfo;

/// The role a binding names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// The role's name.
    pub name: String,
}

/// Why a role or binding may not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// 404, in the words of the *binding's* resource with the *role's* name.
    #[error("{resource}.rbac.authorization.k8s.io {name:?} not found")]
    RoleNotFound {
        /// Resource of the request: `rolebindings` or `clusterrolebindings`.
        resource: &'static str,
        /// Name of the missing role.
        name: String,
    },
}

/// Whether `user` may write this Role or ClusterRole. `old` is the stored one on update.
pub fn check_role(
    authorizer: &Authorizer<'_>,
    user: &UserInfo,
    role: &Tree,
    old: Option<&Tree>,
) -> Result<(), Refusal> {
    let is_cluster_role = role["kind"] == "ClusterRole";
    let resource = if is_cluster_role { "clusterroles" } else { "roles" };
    let name = role["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = match is_cluster_role {
        true => "",
        false => role["metadata"]["namespace"].as_str().unwrap_or_default(),
    };
    if old.is_some_and(|old| changes_only_collection(role, old)) {
        return Ok(());
    }
    // The name is that of the request: a create has none.
    let request_name = if old.is_some() { name } else { "" };
    let escalate =
        Attributes::resource("escalate", GROUP, resource).in_namespace(namespace).named(request_name);
    if user.is_privileged() || authorizer.authorize(user, &escalate).is_allowed() {
        return Ok(());
    }

    confirm(authorizer.roles, user, namespace, &Rule::of_role(role))
        .map_err(|why| Forbidden::rbac(resource, name, &why))?;
    let aggregates = has_aggregation(role) || old.is_some_and(has_aggregation);
    if is_cluster_role
        && aggregates
        && confirm(authorizer.roles, user, namespace, &Rule::full_authority()).is_err()
    {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        return Err(Forbidden::rbac(resource, name, why).into());
    }
    Ok(())
}

/// Whether `user` may write this RoleBinding or ClusterRoleBinding. For an update, ask
/// [`changes_only_collection`] first: such a change is not checked.
pub fn check_binding(authorizer: &Authorizer<'_>, user: &UserInfo, binding: &Tree) -> Result<(), Refusal> {
    let (resource, namespace) = match binding["kind"] == "ClusterRoleBinding" {
        true => ("clusterrolebindings", ""),
        false => ("rolebindings", binding["metadata"]["namespace"].as_str().unwrap_or_default()),
    };
    let reference = RoleRef::of_binding(binding);
    let role_resource = if reference.kind == "ClusterRole" { "clusterroles" } else { "roles" };
    let bind =
        Attributes::resource("bind", GROUP, role_resource).in_namespace(namespace).named(&reference.name);
    if user.is_privileged() || authorizer.authorize(user, &bind).is_allowed() {
        return Ok(());
    }

    let rules = authorizer.roles.role_rules(&reference.kind, &reference.name, namespace);
    let rules = rules.ok_or_else(|| Refusal::RoleNotFound { resource, name: reference.name.clone() })?;
    let name = binding["metadata"]["name"].as_str().unwrap_or_default();
    confirm(authorizer.roles, user, namespace, &rules)
        .map_err(|why| Forbidden::rbac(resource, name, &why).into())
}

/// Whether an update changes only what garbage collection works with: owners and finalizers. Who
/// cannot grant a role must still be able to let it go.
pub fn changes_only_collection(new: &Tree, old: &Tree) -> bool {
    let rest = |object: &Tree| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields", "selfLink", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        object
    };
    rest(new) == rest(old)
}

impl RoleRef {
    /// The reference of a binding.
    pub fn of_binding(binding: &Tree) -> RoleRef {
        let field = |name: &str| binding["roleRef"][name].as_str().unwrap_or_default().to_owned();
        RoleRef { kind: field("kind"), name: field("name") }
    }
}

fn has_aggregation(role: &Tree) -> bool {
    role["aggregationRule"]["clusterRoleSelectors"].as_array().is_some_and(|selectors| !selectors.is_empty())
}

/// `Err` lists the rules `user` lacks, one a line.
fn confirm(roles: &dyn Roles, user: &UserInfo, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
    let mut held = Vec::new();
    let mut errors = Vec::new();
    roles.visit(user, namespace, &mut |found| {
        match found {
            Found::Rule { rule, .. } => held.push(rule.clone()),
            Found::Missing { kind, name } => errors.push(missing_role(kind, name)),
        }
        true
    });
    let missing = covers(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }

    let lines: BTreeSet<String> = join_verbs(missing).iter().map(Rule::compact).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut why = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        go::quote(&user.name),
        go::quote_list(&user.groups),
        lines.join("\n"),
    );
    if !errors.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", go::aggregate(&errors)));
    }
    Err(why)
}

/// The parts of `wanted`, one verb on one thing each, that no rule of `held` covers.
pub fn covers(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(break_down);
    parts.filter(|part| !held.iter().any(|rule| rule_covers(rule, part))).collect()
}

fn break_down(rule: &Rule) -> Vec<Rule> {
    let one = |value: &String| vec![value.clone()];
    let mut parts = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let part = Rule {
                    api_groups: one(group),
                    resources: one(resource),
                    verbs: one(verb),
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    parts.push(part);
                } else {
                    let named = |name: &String| Rule { resource_names: one(name), ..part.clone() };
                    parts.extend(rule.resource_names.iter().map(named));
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        let part = |verb: &String| Rule { non_resource_urls: one(url), verbs: one(verb), ..Rule::default() };
        parts.extend(rule.verbs.iter().map(part));
    }
    parts
}

/// Whether a rule covers a part (at most one value in each field).
fn rule_covers(rule: &Rule, part: &Rule) -> bool {
    let has = |set: &[String], wanted: &[String]| {
        set.iter().any(|have| have == "*") || wanted.iter().all(|value| set.contains(value))
    };
    let resources = part.resources.iter().all(|wanted| {
        let any_parent = wanted.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        rule.resources.iter().any(|have| have == "*" || have == wanted || Some(have) == any_parent.as_ref())
    });
    let urls = part.non_resource_urls.iter().all(|wanted| {
        let covers = |have: &String| {
            have == wanted || (have.ends_with('*') && wanted.starts_with(have.trim_end_matches('*')))
        };
        rule.non_resource_urls.iter().any(covers)
    });
    // A part for all names is covered only by a rule for all names.
    let names = rule.resource_names.is_empty()
        || (!part.resource_names.is_empty()
            && part.resource_names.iter().all(|name| rule.resource_names.contains(name)));
    has(&rule.verbs, &part.verbs) && has(&rule.api_groups, &part.api_groups) && resources && urls && names
}

/// Parts that differ only in the verb become one rule; paths stay apart, as upstream lists them.
fn join_verbs(parts: Vec<Rule>) -> Vec<Rule> {
    let mut joined: Vec<Rule> = Vec::new();
    for part in parts {
        let same = |have: &&mut Rule| {
            part.non_resource_urls.is_empty()
                && have.api_groups == part.api_groups
                && have.resources == part.resources
                && have.resource_names == part.resource_names
                && have.non_resource_urls.is_empty()
        };
        match joined.iter_mut().find(same) {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => joined.push(part),
        }
    }
    joined
}
