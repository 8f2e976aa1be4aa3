//! Fills the rules of ClusterRoles that gather those of others.
//!
//! Decides which rules such a role has: each selector in turn takes the matching roles by name, and a rule that is there
//! already is not added again. Never touches a role without `aggregationRule`, and never anything but rules.

use std::sync::Arc;

use runtime::{Cache, Client, LabelSelector, Metadata, Next, Queue, Reconcile, Source, View};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{House, resources};

/// Owner of the rules, and the controller's name.
const NAME: &str = "clusterrole-aggregation-controller";
/// The roles are few and each may gather from any, so that they are looked at together, under one key.
const ALL: &str = "clusterroles";

/// A ClusterRole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClusterRole {
    metadata: Metadata,
    /// Null when there are none.
    rules: Option<Vec<Value>>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AggregationRule {
    cluster_role_selectors: Vec<LabelSelector>,
}

impl View for ClusterRole {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl ClusterRole {
    fn rules(&self) -> &[Value] {
        self.rules.as_deref().unwrap_or_default()
    }
}

/// The roles whose rules are not those they gather, with the rules they should have. `roles` are sorted by name.
fn plan(roles: &[Arc<ClusterRole>]) -> Vec<(String, Vec<Value>)> {
    let gathering = roles.iter().filter_map(|role| Some((role, role.aggregation_rule.as_ref()?)));
    let wanted = gathering.map(|(role, rule)| (role, gathered(role, rule, roles)));
    let changed = wanted.filter(|(role, rules)| role.rules() != rules.as_slice());
    changed.map(|(role, rules)| (role.metadata.name.clone(), rules)).collect()
}

fn gathered(role: &ClusterRole, rule: &AggregationRule, roles: &[Arc<ClusterRole>]) -> Vec<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for selector in &rule.cluster_role_selectors {
        let others = roles.iter().filter(|other| other.metadata.name != role.metadata.name);
        for other in others.filter(|other| selector.matches(&other.metadata.labels)) {
            for rule in other.rules() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

/// What is applied: the rules, or nothing to own when there are none.
fn applied(name: &str, rules: Vec<Value>) -> Value {
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
    });
    if !rules.is_empty() {
        role["rules"] = rules.into();
    }
    role
}

struct Aggregation {
    client: Client,
    roles: Cache<ClusterRole>,
}

pub(crate) fn start(house: &mut House<'_>) {
    let queue = Queue::<&'static str>::new();
    let roles = Cache::<ClusterRole>::new();
    let changed = queue.clone();
    roles.on_change(move |_| changed.add(ALL));
    house.follow(&roles, Source::all(&resources::CLUSTER_ROLES));
    let controller = Arc::new(Aggregation { client: house.client(NAME), roles: roles.clone() });
    house.work(controller, queue, 1, async move { roles.synced().await });
}

impl Reconcile for Aggregation {
    type Key = &'static str;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, _: &&'static str) -> Result<Next, kube::Error> {
        let mut outcome = Ok(Next::Change);
        for (name, rules) in plan(&self.roles.all()) {
            let role = applied(&name, rules);
            // One role that cannot be written does not keep the others from their rules.
            if let Err(error) = self.client.apply(&resources::CLUSTER_ROLES, ("", &name), NAME, &role).await {
                outcome = Err(error);
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, labels: &Value, rules: &[&str], selectors: Option<Value>) -> Arc<ClusterRole> {
        let rules: Vec<Value> = rules.iter().map(|verb| json!({ "verbs": [verb] })).collect();
        let mut tree = json!({ "metadata": { "name": name, "labels": labels }, "rules": rules });
        if rules.is_empty() {
            tree["rules"] = Value::Null;
        }
        if let Some(selectors) = selectors {
            tree["aggregationRule"] = json!({ "clusterRoleSelectors": selectors });
        }
        Arc::new(serde_json::from_value(tree).expect("a role"))
    }

    /// The verbs each role is to have, `NAME: VERB VERB`, a line a role.
    fn check(roles: &[Arc<ClusterRole>], expected: &str) {
        let line = |(name, rules): (String, Vec<Value>)| {
            let verbs: Vec<&str> = rules.iter().filter_map(|rule| rule["verbs"][0].as_str()).collect();
            format!("{name}: {}", verbs.join(" ")).trim_end().to_owned()
        };
        assert_eq!(plan(roles).into_iter().map(line).collect::<Vec<_>>().join("\n"), expected);
    }

    #[test]
    fn selectors_gather_in_their_order_and_roles_by_name() {
        let (x, y) = (json!({ "x": "1" }), json!({ "y": "1" }));
        let selectors = || Some(json!([{ "matchLabels": y }, { "matchLabels": x }]));
        let parts = [
            role("a", &x, &["get", "list"], None),
            role("b", &y, &["watch", "get"], None),
            role("c", &y, &["list"], None),
        ];
        let with = |all: Arc<ClusterRole>| [&parts[..], &[all]].concat();
        check(&with(role("z", &json!({}), &[], selectors())), "z: watch get list");
        check(&with(role("z", &json!({}), &["watch", "get", "list"], selectors())), "");
        check(&with(role("z", &json!({}), &["get", "list", "watch"], selectors())), "z: watch get list");
        // It does not gather from itself.
        check(&with(role("z", &x, &["delete"], selectors())), "z: watch get list");
    }

    #[test]
    fn who_gathers_nothing_has_no_rules() {
        check(
            &[role("a", &json!({}), &["get"], None), role("z", &json!({}), &["get"], Some(json!([])))],
            "z:",
        );
        check(&[role("z", &json!({}), &[], Some(json!([{ "matchLabels": { "x": "1" } }])))], "");
        assert!(applied("z", Vec::new()).get("rules").is_none());
    }
}
