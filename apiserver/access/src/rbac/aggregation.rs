//! The rules of an aggregated ClusterRole: the union of those its selectors name.

use super::Rule;
use crate::Tree;

/// The rules of `role` gathered from `all` ClusterRoles, or `None` when it does not aggregate.
///
/// Each selector in turn takes the matching roles by name, without `role` itself; a rule that is there
/// already is not added again.
pub fn aggregated_rules<'a>(role: &Tree, all: impl IntoIterator<Item = &'a Tree>) -> Option<Vec<Rule>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let mut others: Vec<&Tree> = all.into_iter().filter(|other| name(other) != name(role)).collect();
    others.sort_by(|left, right| name(left).cmp(name(right)));
    let mut rules: Vec<Rule> = Vec::new();
    for selector in selectors {
        for other in others.iter().filter(|other| selects(selector, &other["metadata"]["labels"])) {
            for rule in Rule::of_role(other) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    Some(rules)
}

fn name(role: &Tree) -> &str {
    role["metadata"]["name"].as_str().unwrap_or_default()
}

fn selects(selector: &Tree, labels: &Tree) -> bool {
    let label = |key: &str| labels.get(key).and_then(Tree::as_str);
    let exact = selector["matchLabels"].as_object();
    let exact = exact.is_none_or(|want| want.iter().all(|(key, value)| label(key) == value.as_str()));
    let expressions = selector["matchExpressions"].as_array().map(Vec::as_slice).unwrap_or_default();
    exact && expressions.iter().all(|expression| holds(expression, &label))
}

fn holds<'a>(expression: &Tree, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
    let value = label(expression["key"].as_str().unwrap_or_default());
    let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|other| other == value));
    match expression["operator"].as_str() {
        Some("In") => listed,
        Some("NotIn") => !listed,
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        _ => false,
    }
}
