//! DaemonSets. How often the template changed is counted in an annotation, which the server keeps to itself.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deployment::not_negative;
use super::{amount, collisions, selector, template};
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::core::pod::validate::{self, Options};
use crate::core::podtemplate::container_cell;
use crate::field::{self, BadValue, Error, Path};
use crate::names::subdomain_rule;
use crate::selector::{Leniency, has_invalid_value, validate_label_selector};
use crate::tree::{at, carry_over, int_at, map_at, same_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of DaemonSets.
pub(super) struct DaemonSets;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("apps", "v1", "daemonsets"));

/// The annotation that counts templates.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::integer("Desired", "Nodes that should run a pod."),
    Column::integer("Current", "Nodes that have a pod."),
    Column::integer("Ready", "Nodes whose pod is ready."),
    Column::integer("Up-to-date", "Nodes whose pod is made of the current template."),
    Column::integer("Available", "Nodes whose pod has been ready long enough."),
    Column::text("Node Selector", "Labels of the nodes that should run a pod."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
    Column::text("Selector", "Selector of the pods.").wide(),
];

impl Strategy for DaemonSets {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        template::default(obj);
        if str_at(obj, "spec.updateStrategy.type").is_empty() {
            set(obj, "spec.updateStrategy.type", "RollingUpdate");
        }
        if str_at(obj, "spec.updateStrategy.type") == "RollingUpdate" {
            set_default(obj, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
            set_default(obj, "spec.updateStrategy.rollingUpdate.maxSurge", 0);
        }
        set_default(obj, "spec.revisionHistoryLimit", 10);
        // The count is always shown; one that is no number is refused elsewhere.
        let annotations = map_at(obj, "metadata.annotations");
        if annotations.is_none_or(|annotations| !annotations.contains_key(TEMPLATE_GENERATION)) {
            set_template_generation(obj, 0);
        }
    }

    fn prepare_create(&self, obj: &mut Tree) {
        let status = json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        });
        set(obj, "status", status);
        meta::start_generation(obj);
        set_template_generation(obj, template_generation(obj).max(1));
        template::drop_disabled(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        let before = template_generation(old);
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            set_template_generation(new, before);
            return;
        }
        template::drop_disabled(new, Some(old));
        carry_over(new, old, "status");
        let same = same_at(new, old, "spec.template");
        set_template_generation(new, if same { before } else { meta::next(before) });
        meta::count_generation(new, old, &["spec"]);
    }

    fn bad_request(&self, obj: &Tree) -> Option<String> {
        let text = map_at(obj, "metadata.annotations")?.get(TEMPLATE_GENERATION)?.as_str()?;
        text.parse::<i64>().is_err().then(|| {
            let quoted = field::quote(text);
            format!(
                "DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strconv.ParseInt: parsing {quoted}: invalid syntax"
            )
        })
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        errors.extend(spec_errors(obj, &template::options(None), Leniency::default()));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(status_errors(new));
            errors.extend(collisions::not_decremented(new, old));
            return errors;
        }
        let null = Value::Null;
        let any_values = has_invalid_value(at(old, "spec").unwrap_or(&null), "selector");
        let leniency = Leniency { any_values, ..Leniency::default() };
        errors.extend(selector::immutable(new, old));
        errors.extend(spec_errors(new, &template::options(Some(old)), leniency));
        errors
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        match old {
            Some(old) if template_generation(new) == template_generation(old) => Vec::new(),
            _ => template::content_warnings(new, None),
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        let number = |name: &str| json!(int_at(obj, &format!("status.{name}")).unwrap_or(0));
        vec![
            columns::name(obj),
            number("desiredNumberScheduled"),
            number("currentNumberScheduled"),
            number("numberReady"),
            number("updatedNumberScheduled"),
            number("numberAvailable"),
            json!(columns::labels(obj, "spec.template.spec.nodeSelector")),
            columns::age(obj, now),
            json!(container_cell(obj, "spec.template.spec.containers", "name")),
            json!(container_cell(obj, "spec.template.spec.containers", "image")),
            json!(columns::label_selector(obj, "spec.selector")),
        ]
    }
}

fn template_generation(obj: &Value) -> i64 {
    let annotations = map_at(obj, "metadata.annotations");
    let text =
        annotations.and_then(|annotations| annotations.get(TEMPLATE_GENERATION)).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The annotation's name has dots, so it is not a path.
fn set_template_generation(obj: &mut Value, generation: i64) {
    let mut annotations = map_at(obj, "metadata.annotations").cloned().unwrap_or_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), json!(generation.to_string()));
    set(obj, "metadata.annotations", annotations);
}

fn spec_errors(obj: &Value, options: &Options, leniency: Leniency) -> Vec<Error> {
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    let path = Path::new("spec");
    let selector_path = path.child("selector");
    let mut errors = validate_label_selector(spec, "selector", leniency, &selector_path);
    let template = at(spec, "template").unwrap_or(&null);
    if selector::is_usable(spec) && !selector::matches_template(spec, template) {
        let labels = at(template, "metadata.labels").cloned().unwrap_or(Value::Null);
        let path = path.child("template").child("metadata").child("labels");
        let text = "`selector` does not match template `labels`";
        errors.push(field::invalid(&path, BadValue::Json(labels), text));
    }
    if selector::selects_all(spec) {
        let value = selector::printed(at(spec, "selector"));
        errors.push(field::invalid(&selector_path, value, "empty selector is invalid for daemonset"));
    }
    errors.extend(validate::template(template, &path.child("template"), options));
    errors.extend(template::runs_always(spec, &path.child("template"), "DaemonSet"));
    errors.extend(not_negative(spec, "minReadySeconds", &path));
    errors.extend(strategy_errors(spec, &path.child("updateStrategy")));
    errors.extend(not_negative(spec, "revisionHistoryLimit", &path));
    errors
}

fn strategy_errors(spec: &Value, path: &Path) -> Vec<Error> {
    let null = Value::Null;
    let strategy = at(spec, "updateStrategy").unwrap_or(&null);
    match (str_at(strategy, "type"), at(strategy, "rollingUpdate")) {
        ("OnDelete", _) => Vec::new(),
        ("RollingUpdate", Some(rolling)) => rolling_errors(rolling, &path.child("rollingUpdate")),
        ("RollingUpdate", None) => vec![field::required(&path.child("rollingUpdate"), "")],
        _ => {
            let value = internal::bad_value("DaemonSetUpdateStrategy", Some(strategy));
            vec![field::not_supported(path, value, &["RollingUpdate", "OnDelete"])]
        }
    }
}

fn rolling_errors(rolling: &Value, path: &Path) -> Vec<Error> {
    let (unavailable, surge) = (at(rolling, "maxUnavailable"), at(rolling, "maxSurge"));
    let (unavailable_path, surge_path) = (path.child("maxUnavailable"), path.child("maxSurge"));
    let mut errors = amount::validate(unavailable, &unavailable_path);
    errors.extend(amount::validate(surge, &surge_path));
    errors.extend(amount::at_most_all(unavailable, &unavailable_path));
    errors.extend(amount::at_most_all(surge, &surge_path));
    match (amount::is_zero(unavailable), amount::is_zero(surge)) {
        (false, false) => {
            errors.push(field::invalid(&surge_path, surge, "may not be set when maxUnavailable is non-zero"));
        }
        (true, true) => {
            errors.push(field::required(&unavailable_path, "cannot be 0 when maxSurge is 0"));
        }
        _ => {}
    }
    errors
}

fn status_errors(obj: &Value) -> Vec<Error> {
    let status = Value::Object(map_at(obj, "status").cloned().unwrap_or_default());
    let path = Path::new("status");
    [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ]
    .into_iter()
    .filter_map(|name| not_negative(&status, name, &path))
    .collect()
}
