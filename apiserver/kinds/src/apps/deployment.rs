//! Deployments.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{amount, collisions, selector, template};
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::core::pod::validate::Options;
use crate::core::podtemplate::container_cell;
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, carry_over, int_at, same_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of Deployments.
pub(super) struct Deployments;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("apps", "v1", "deployments"));

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Pods that are ready, of all that should be."),
    Column::text("Up-to-date", "Pods made of the current template."),
    Column::text("Available", "Pods that have been ready long enough."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
    Column::text("Selector", "Selector of the pods.").wide(),
];

impl Strategy for Deployments {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        set_default(obj, "spec.replicas", 1);
        if str_at(obj, "spec.strategy.type").is_empty() {
            set(obj, "spec.strategy.type", "RollingUpdate");
        }
        if str_at(obj, "spec.strategy.type") == "RollingUpdate" {
            set_default(obj, "spec.strategy.rollingUpdate.maxUnavailable", "25%");
            set_default(obj, "spec.strategy.rollingUpdate.maxSurge", "25%");
        }
        set_default(obj, "spec.revisionHistoryLimit", 10);
        set_default(obj, "spec.progressDeadlineSeconds", 600);
        template::default(obj);
    }

    fn prepare_create(&self, obj: &mut Tree) {
        set(obj, "status", json!({}));
        set(obj, "metadata.generation", 1);
        template::drop_disabled(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            carry_over(new, old, "metadata.labels");
            return;
        }
        carry_over(new, old, "status");
        template::drop_disabled(new, Some(old));
        // Annotations count too: they are copied to the replica sets.
        if !same_at(new, old, "spec") || !same_at(new, old, "metadata.annotations") {
            set(new, "metadata.generation", meta::next(meta::generation(old)));
        }
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(spec_errors(obj, &template::options(None)));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(status_errors(new, old));
        } else {
            errors.extend(spec_errors(new, &template::options(Some(old))));
            errors.extend(selector::immutable(new, old));
        }
        errors
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        template::warnings(new, old)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let number = |name: &str| int_at(obj, name).unwrap_or(0);
        let selector = match columns::label_selector(obj, "spec.selector").as_str() {
            "<none>" => String::new(),
            "<error>" => "<invalid>".to_owned(),
            text => text.to_owned(),
        };
        vec![
            columns::name(obj),
            json!(format!("{}/{}", number("status.readyReplicas"), number("spec.replicas"))),
            json!(number("status.updatedReplicas")),
            json!(number("status.availableReplicas")),
            columns::age(obj, now),
            json!(container_cell(obj, "spec.template.spec.containers", "name")),
            json!(container_cell(obj, "spec.template.spec.containers", "image")),
            json!(selector),
        ]
    }
}

fn spec_errors(obj: &Value, options: &Options) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let mut errors: Vec<Error> = not_negative(spec, "replicas", &path).into_iter().collect();
    errors.extend(template::selected(spec, &path, options));
    errors.extend(strategy_errors(spec, &path.child("strategy")));
    for name in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        errors.extend(not_negative(spec, name, &path));
    }
    if let Some(deadline) = int_at(spec, "progressDeadlineSeconds")
        && deadline <= int_at(spec, "minReadySeconds").unwrap_or(0)
    {
        let path = path.child("progressDeadlineSeconds");
        errors.push(field::invalid(&path, deadline, "must be greater than minReadySeconds"));
    }
    errors
}

/// What is wrong with a number that counts something.
pub(crate) fn not_negative(owner: &Value, name: &str, path: &Path) -> Option<Error> {
    let number = int_at(owner, name)?;
    (number < 0).then(|| field::invalid(&path.child(name), number, meta::NOT_NEGATIVE))
}

fn strategy_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let null = Value::Null;
    let strategy = at(spec, "strategy").unwrap_or(&null);
    let rolling = at(strategy, "rollingUpdate");
    let rolling_path = path.child("rollingUpdate");
    match (str_at(strategy, "type"), rolling) {
        ("Recreate", Some(_)) => {
            vec![field::forbidden(&rolling_path, "may not be specified when strategy `type` is 'Recreate'")]
        }
        ("Recreate", None) => Vec::new(),
        ("RollingUpdate", Some(rolling)) => rolling_errors(rolling, &rolling_path),
        ("RollingUpdate", None) => {
            vec![field::required(&rolling_path, "this should be defaulted and never be nil")]
        }
        _ => {
            let value = internal::bad_value("DeploymentStrategy", Some(strategy));
            vec![field::not_supported(path, value, &["Recreate", "RollingUpdate"])]
        }
    }
}

fn rolling_errors(rolling: &Value, path: &Path) -> Vec<Error> {
    let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
    let unavailable_path = path.child("maxUnavailable");
    let mut errors = amount::validate(unavailable, &unavailable_path);
    errors.extend(amount::validate(surge, &path.child("maxSurge")));
    if amount::is_zero(unavailable) && amount::is_zero(surge) {
        errors.push(field::invalid(&unavailable_path, unavailable, "may not be 0 when `maxSurge` is 0"));
    }
    errors.extend(amount::at_most_all(unavailable, &unavailable_path));
    errors
}

fn status_errors(new: &Value, old: &Value) -> Vec<Error> {
    let null = Value::Null;
    let status = at(new, "status").unwrap_or(&null);
    let path = Path::new("status");
    let number = |name: &str| int_at(status, name).unwrap_or(0);
    let mut errors = Vec::new();
    for name in [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ] {
        errors.extend(not_negative(status, name, &path));
    }
    for name in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        if number(name) > number("replicas") {
            errors.push(field::invalid(
                &path.child(name),
                number(name),
                "cannot be greater than status.replicas",
            ));
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        let text = "cannot be greater than readyReplicas";
        errors.push(field::invalid(&path.child("availableReplicas"), number("availableReplicas"), text));
    }
    errors.extend(collisions::not_decremented(new, old));
    errors
}
