//! One policy rule and whether it matches a request.

use serde::{Deserialize, Serialize};

use super::Attributes;
use crate::Tree;
use crate::go;

/// Verbs on resources or on paths. `*` stands for all of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// What may be done.
    pub verbs: Vec<String>,
    /// Groups of the resources; the core group is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only these names; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths outside resources; a trailing `*` matches what follows.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// Everything on every resource, and everything on every path.
    pub fn full_authority() -> [Rule; 2] {
        let all = || vec!["*".to_owned()];
        [
            Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
            Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
        ]
    }

    /// The rules of a Role or ClusterRole. A rule of a wrong shape counts as none: validation
    /// keeps such roles out of the store.
    pub fn of_role(role: &Tree) -> Vec<Rule> {
        let rules = role.get("rules").and_then(Tree::as_array);
        rules.map(|rules| rules.iter().filter_map(Rule::from_tree).collect()).unwrap_or_default()
    }

    /// The rule in a role's list.
    pub fn from_tree(tree: &Tree) -> Option<Rule> {
        serde_json::from_value(tree.clone()).ok()
    }

    /// The rule as a role lists it.
    pub fn to_tree(&self) -> Tree {
        serde_json::to_value(self).unwrap_or(Tree::Null)
    }

    /// Whether the rule allows the request.
    pub fn allows(&self, request: &Attributes) -> bool {
        if !has_or_all(&self.verbs, &request.verb) {
            return false;
        }
        if !request.is_resource {
            return self.non_resource_urls.iter().any(|url| path_matches(url, &request.path));
        }
        has_or_all(&self.api_groups, &request.group)
            && self
                .resources
                .iter()
                .any(|rule| resource_matches(rule, &request.resource, &request.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&request.name))
    }

    /// `{APIGroups:["a"], Resources:["b"], Verbs:["c"]}`, as escalation errors list rules.
    pub(super) fn compact(&self) -> String {
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = fields
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| format!("{name}:{}", go::quote_list(values)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn has_or_all(set: &[String], wanted: &str) -> bool {
    set.iter().any(|have| have == "*" || have == wanted)
}

/// `*` covers subresources too; `*/scale` covers that subresource of every resource;
/// `pods/*` is a name like any other and matches nothing.
fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match subresource {
        "" => rule == resource,
        sub => {
            rule.split_once('/').is_some_and(|(have, rest)| rest == sub && (have == resource || have == "*"))
        }
    }
}

pub(super) fn path_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}
