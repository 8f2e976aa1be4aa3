//! PodDisruptionBudgets: how many of some pods must stay, or may go, at a time.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apps::amount;
use crate::apps::deployment::not_negative;
use crate::columns::{self, Column};
use crate::conditions;
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::selector::{Leniency, has_invalid_value, validate_label_selector};
use crate::tree::{at, carry_over, int_at, set};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of PodDisruptionBudgets.
pub(super) struct PodDisruptionBudgets;

static RESOURCE: LazyLock<&'static Resource> =
    LazyLock::new(|| Resource::known("policy", "v1", "poddisruptionbudgets"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Min Available", "Pods that must stay."),
    Column::text("Max Unavailable", "Pods that may be away."),
    Column::integer("Allowed Disruptions", "Pods that may go now."),
    Column::AGE,
];

const UNHEALTHY_POLICIES: [&str; 2] = ["AlwaysAllow", "IfHealthyBudget"];

impl Strategy for PodDisruptionBudgets {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn prepare_create(&self, obj: &mut Tree) {
        let status =
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        set(obj, "status", status);
        meta::start_generation(obj);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        spec_errors(obj, Leniency::default())
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        if sub == Subresource::Status {
            return status_errors(new);
        }
        let null = Value::Null;
        let any_values = has_invalid_value(at(old, "spec").unwrap_or(&null), "selector");
        spec_errors(new, Leniency { any_values, ..Leniency::default() })
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let bound = |name: &str| match at(obj, name) {
            Some(Value::String(share)) => json!(share),
            Some(number) => json!(number.to_string()),
            None => json!("N/A"),
        };
        vec![
            columns::name(obj),
            bound("spec.minAvailable"),
            bound("spec.maxUnavailable"),
            json!(int_at(obj, "status.disruptionsAllowed").unwrap_or(0)),
            columns::age(obj, now),
        ]
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

fn spec_errors(obj: &Value, leniency: Leniency) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let bounds = ["minAvailable", "maxUnavailable"].map(|name| (name, at(spec, name)));
    let mut errors = Vec::new();
    if bounds.iter().all(|(_, bound)| bound.is_some()) {
        let value = internal::bad_value("PodDisruptionBudgetSpec", Some(spec));
        errors.push(field::invalid(&path, value, "minAvailable and maxUnavailable cannot be both set"));
    }
    for (name, bound) in bounds.into_iter().filter(|(_, bound)| bound.is_some()) {
        errors.extend(amount::validate(bound, &path.child(name)));
        errors.extend(amount::at_most_all(bound, &path.child(name)));
    }
    errors.extend(validate_label_selector(spec, "selector", leniency, &path.child("selector")));
    let policy = at(spec, "unhealthyPodEvictionPolicy").and_then(Value::as_str);
    if let Some(policy) = policy.filter(|policy| !UNHEALTHY_POLICIES.contains(policy)) {
        errors.push(field::not_supported(
            &path.child("unhealthyPodEvictionPolicy"),
            policy,
            &UNHEALTHY_POLICIES,
        ));
    }
    errors
}

fn status_errors(obj: &Value) -> Vec<Error> {
    let null = Value::Null;
    let status = at(obj, "status").unwrap_or(&null);
    let path = Path::new("status");
    let mut errors = conditions::validate(status, &path.child("conditions"));
    for name in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.extend(not_negative(status, name, &path));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_one_bound() {
        let check = |spec: Value, errors: &[&str]| {
            let budget = json!({"metadata": {"name": "b", "namespace": "n"}, "spec": spec});
            let texts: Vec<String> =
                PodDisruptionBudgets.validate(&budget).iter().map(Error::to_string).collect();
            assert_eq!(texts, errors);
        };
        check(json!({}), &[]);
        check(json!({"minAvailable": "50%", "selector": {}}), &[]);
        check(
            json!({"minAvailable": 1, "maxUnavailable": "5%", "selector": {"matchLabels": {"a": "b"}}}),
            &[
                r#"spec: Invalid value: {"MinAvailable":1,"Selector":{"matchLabels":{"a":"b"}},"MaxUnavailable":"5%","UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set"#,
            ],
        );
        check(
            json!({"maxUnavailable": -1}),
            &["spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"],
        );
    }

    #[test]
    fn a_table_shows_the_bound_that_is_set() {
        let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": "30%"}, "status": {"disruptionsAllowed": 2}});
        let cells = PodDisruptionBudgets.row(&budget, Timestamp::UNIX_EPOCH);
        assert_eq!(cells[..4], [json!("b"), json!("N/A"), json!("30%"), json!(2)]);
    }
}
