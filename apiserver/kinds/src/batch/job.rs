//! Jobs. Unless told otherwise a job makes its selector itself, out of its uid.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{spec, status, update};
use crate::apps::template;
use crate::columns::{self, Column};
use crate::core::podtemplate::container_cell;
use crate::field::{self, BadValue, Error, Path};
use crate::names::{dns_label, subdomain_rule};
use crate::tree::{at, bool_at, carry_over, int_at, list_at, map_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, Tree, meta};

/// The strategy of Jobs.
pub(super) struct Jobs;

static RESOURCE: LazyLock<&'static Resource> = LazyLock::new(|| Resource::known("batch", "v1", "jobs"));

const UID_LABELS: [&str; 2] = ["controller-uid", UID_LABEL];
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status", "Whether the job runs, waits or has ended, and how."),
    Column::text("Completions", "Pods that have succeeded, of all that must."),
    Column::text("Duration", "Time from the start to the end, or until now."),
    Column::AGE,
    Column::text("Containers", "Names of the template's containers.").wide(),
    Column::text("Images", "Images of the template's containers.").wide(),
    Column::text("Selector", "Selector of the pods.").wide(),
];

impl Strategy for Jobs {
    fn resource(&self) -> &'static Resource {
        &RESOURCE
    }

    fn default(&self, obj: &mut Tree) {
        if at(obj, "spec.completions").is_none() && at(obj, "spec.parallelism").is_none() {
            set(obj, "spec.completions", 1);
        }
        set_default(obj, "spec.parallelism", 1);
        let per_index = at(obj, "spec.backoffLimitPerIndex").is_some();
        set_default(obj, "spec.backoffLimit", if per_index { i32::MAX } else { 6 });
        set_default(obj, "spec.completionMode", "NonIndexed");
        set_default(obj, "spec.suspend", false);
        let has_policy = at(obj, "spec.podFailurePolicy").is_some();
        let replacement = if has_policy { "Failed" } else { "TerminatingOrFailed" };
        set_default(obj, "spec.podReplacementPolicy", replacement);
        set_default(obj, "spec.manualSelector", false);
        set_default(obj, "spec", json!({}));
        spec::default_template(&mut obj["spec"]);
        self.settle(obj);
    }

    fn settle(&self, obj: &mut Tree) {
        if map_at(obj, "metadata.labels").is_none_or(Map::is_empty) {
            take_labels(obj);
        }
    }

    fn prepare_create(&self, obj: &mut Tree) {
        if bool_at(obj, "spec.manualSelector") != Some(true) {
            // Labels that were taken over from the template are the template's own, the generated ones included. Those that
            // a writer gave to both alike cannot be told from them here.
            let are_the_templates = at(obj, "metadata.labels") == at(obj, "spec.template.metadata.labels");
            let has_labels = at(obj, "metadata.labels").is_some();
            generate_selector(obj);
            if has_labels && are_the_templates {
                take_labels(obj);
            }
        }
        set(obj, "status", json!({}));
        meta::start_generation(obj);
        template::drop_disabled(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Tree, old: &Tree) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        template::drop_disabled(new, Some(old));
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Tree) -> Vec<Error> {
        job_errors(obj, &spec::Waivers::default())
    }

    fn validate_update(&self, sub: Subresource, new: &Tree, old: &Tree) -> Vec<Error> {
        if sub == Subresource::Status {
            let mut errors = meta::validate_update(new, old);
            errors.extend(status::update_errors(new, old));
            return errors;
        }
        let waivers = spec::Waivers::of(old);
        let mut errors = job_errors(new, &waivers);
        errors.extend(meta::validate_update(new, old));
        errors.extend(spec::errors(new, &waivers));
        errors.extend(update::errors(new, old));
        errors
    }

    fn warnings(&self, new: &Tree, old: Option<&Tree>) -> Vec<String> {
        let mut warnings = Vec::new();
        match old {
            Some(old) if meta::generation(old) == meta::generation(new) => return warnings,
            Some(_) => {}
            None => warnings.extend(template::name_warning(new)),
        }
        if let Some(spec) = at(new, "spec") {
            warnings.extend(spec::warnings(spec, &Path::new("spec")));
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Tree, now: Timestamp) -> Vec<Tree> {
        vec![
            columns::name(obj),
            json!(phase(obj)),
            json!(completions(obj)),
            json!(duration(obj, now)),
            columns::age(obj, now),
            json!(container_cell(obj, "spec.template.spec.containers", "name")),
            json!(container_cell(obj, "spec.template.spec.containers", "image")),
            json!(columns::label_selector(obj, "spec.selector")),
        ]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn attributes(&self, obj: &Tree) -> Vec<(&'static str, String)> {
        vec![("status.successful", int_at(obj, "status.succeeded").unwrap_or(0).to_string())]
    }

    fn orphans_by_default(&self) -> bool {
        true
    }

    fn orphaning_warning(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        )
    }
}

/// Gives a job the labels of its template.
fn take_labels(obj: &mut Value) {
    if let Some(labels) = map_at(obj, "spec.template.metadata.labels").cloned() {
        set(obj, "metadata.labels", labels);
    }
}

/// Labels the template with name and uid, and selects the uid. Labels that are there already stay; validation refuses wrong
/// ones.
fn generate_selector(obj: &mut Value) {
    let (name, uid) = (str_at(obj, "metadata.name").to_owned(), str_at(obj, "metadata.uid").to_owned());
    let mut labels = map_at(obj, "spec.template.metadata.labels").cloned().unwrap_or_default();
    for label in NAME_LABELS {
        labels.entry(label).or_insert_with(|| json!(name));
    }
    for label in UID_LABELS {
        labels.entry(label).or_insert_with(|| json!(uid));
    }
    set(obj, "spec.template.metadata.labels", labels);
    let mut selected = map_at(obj, "spec.selector.matchLabels").cloned().unwrap_or_default();
    selected.entry(UID_LABEL).or_insert_with(|| json!(uid));
    set(obj, "spec.selector.matchLabels", selected);
}

fn job_errors(obj: &Value, waivers: &spec::Waivers) -> Vec<Error> {
    let mut errors = meta::validate(obj, true, subdomain_rule);
    errors.extend(generated_errors(obj, waivers));
    errors.extend(spec::errors(obj, waivers));
    let completions = int_at(obj, "spec.completions").unwrap_or(0);
    if str_at(obj, "spec.completionMode") == "Indexed" && completions > 0 {
        let name = str_at(obj, "metadata.name");
        let hostname = format!("{name}-{}", completions - 1);
        if !dns_label(&hostname).is_empty() {
            let text = format!("will not able to create pod with invalid DNS label: {hostname}");
            errors.push(field::invalid(&Path::new("metadata.name"), name, text));
        }
    }
    errors
}

/// What is wrong with labels and selector that the server should have made.
fn generated_errors(obj: &Value, waivers: &spec::Waivers) -> Vec<Error> {
    if bool_at(obj, "spec.manualSelector") == Some(true) || at(obj, "spec.selector").is_none() {
        return Vec::new();
    }
    let (name, uid) = (str_at(obj, "metadata.name"), str_at(obj, "metadata.uid"));
    let mut errors = Vec::new();
    if uid.is_empty() {
        errors.push(field::required(&Path::new("metadata.uid"), ""));
    }
    let (legacy_uid, legacy_name) = (UID_LABELS[0], NAME_LABELS[0]);
    let mut expected = vec![(legacy_uid, uid), (legacy_name, name)];
    if !waivers.old_labels {
        expected.extend([(UID_LABELS[1], uid), (NAME_LABELS[1], name)]);
    }
    for (label, value) in &expected {
        errors.extend(label_error(obj, label, value));
    }
    let labels: Map<String, Value> =
        expected.iter().map(|(label, value)| ((*label).to_owned(), json!(value))).collect();
    let selector = schema::selectors::labels::Selector::from_tree(at(obj, "spec.selector"));
    if selector.is_ok_and(|selector| !selector.matches(|key| labels.get(key)?.as_str())) {
        let value = crate::apps::selector::printed(at(obj, "spec.selector"));
        errors.push(field::invalid(&Path::new("spec.selector"), value, "`selector` not auto-generated"));
    }
    errors
}

fn label_error(obj: &Value, label: &str, expected: &str) -> Option<Error> {
    let path = Path::new("spec.template.metadata.labels").key(label);
    let labels = map_at(obj, "spec.template.metadata.labels");
    match labels.and_then(|labels| labels.get(label)).and_then(Value::as_str) {
        None => Some(field::required(&path, format!("must be '{expected}'"))),
        Some(value) if value != expected => {
            let value = BadValue::Json(Value::Object(labels.cloned().unwrap_or_default()));
            Some(field::invalid(&path, value, format!("must be '{expected}'")))
        }
        Some(_) => None,
    }
}

/// Whether a condition of a job is true.
pub(super) fn has_condition(obj: &Value, ty: &str) -> bool {
    has_condition_status(obj, ty, "True")
}

/// Whether a condition of a job has a status.
pub(super) fn has_condition_status(obj: &Value, ty: &str, status: &str) -> bool {
    list_at(obj, "status.conditions")
        .iter()
        .any(|condition| str_at(condition, "type") == ty && str_at(condition, "status") == status)
}

fn phase(obj: &Value) -> &'static str {
    let first = |words: &[&'static str]| words.iter().copied().find(|word| has_condition(obj, word));
    if let Some(end) = first(&["Complete", "Failed"]) {
        return end;
    }
    if at(obj, "metadata.deletionTimestamp").is_some() {
        return "Terminating";
    }
    first(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]).unwrap_or("Running")
}

fn completions(obj: &Value) -> String {
    let succeeded = int_at(obj, "status.succeeded").unwrap_or(0);
    match (int_at(obj, "spec.completions"), int_at(obj, "spec.parallelism").unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(obj: &Value, now: Timestamp) -> String {
    let (start, end) = (str_at(obj, "status.startTime"), str_at(obj, "status.completionTime"));
    match (start.is_empty(), end.parse::<Timestamp>()) {
        (true, _) => String::new(),
        (false, Ok(end)) => columns::since(start, end),
        (false, Err(_)) => columns::since(start, now),
    }
}
