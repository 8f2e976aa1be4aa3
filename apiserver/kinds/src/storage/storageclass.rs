//! StorageClasses: how volumes are made, and which class a claim gets that names none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::parameters::{self, Emptiness};
use crate::columns::{self, Column};
use crate::core::pod::warnings::old_node_label;
use crate::field::{self, Error, Path};
use crate::meta::{self, validate_immutable, validate_label_name};
use crate::names::subdomain_rule;
use crate::tree::{at, bool_at, list_at, set_default, str_at, strings_at};
use crate::{Resource, Strategy, Subresource};

/// Annotations that make a class the default one, the current name first.
const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// Under which default classes are indexed, with the value `true`.
pub const IS_DEFAULT: &str = "isDefault";

/// What an update may not change.
const FIXED: [&str; 4] = ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Provisioner", "The driver that makes the volumes."),
    Column::text("ReclaimPolicy", "What becomes of a volume when its claim is gone."),
    Column::text("VolumeBindingMode", "When a claim gets its volume."),
    Column::text("AllowVolumeExpansion", "Whether claims may grow."),
    Column::AGE,
];

/// The strategy of StorageClasses.
pub(super) struct StorageClasses;

impl Strategy for StorageClasses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("storage.k8s.io", "v1", "storageclasses")
    }

    fn default(&self, obj: &mut Value) {
        set_default(obj, "reclaimPolicy", "Delete");
        set_default(obj, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(parameters::provisioner(str_at(obj, "provisioner"), &Path::new("provisioner")));
        errors.extend(parameters::validate(obj, Emptiness::Allowed));
        let policy = str_at(obj, "reclaimPolicy");
        if !matches!(policy, "" | "Delete" | "Retain") {
            errors.push(field::not_supported(&Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]));
        }
        errors.extend(binding_mode(obj));
        errors.extend(allowed_topologies(obj));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(meta::validate_update(new, old));
        errors.extend(FIXED.iter().filter_map(|name| validate_immutable(new, old, name)));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, term) in list_at(new, "allowedTopologies").iter().enumerate() {
            let path = Path::new("allowedTopologies").index(index).child("matchLabelExpressions");
            for (index, expression) in list_at(term, "matchLabelExpressions").iter().enumerate() {
                if let Some(text) = old_node_label(str_at(expression, "key")) {
                    warnings.push(format!("{}: {text}", path.index(index).child("key")));
                }
            }
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let mark = if is_default(obj) { " (default)" } else { "" };
        let or = |name: &str, default: &'static str| match at(obj, name) {
            Some(value) => value.clone(),
            None => json!(default),
        };
        vec![
            json!(format!("{}{mark}", str_at(obj, "metadata.name"))),
            json!(str_at(obj, "provisioner")),
            or("reclaimPolicy", "Delete"),
            or("volumeBindingMode", "Immediate"),
            json!(bool_at(obj, "allowVolumeExpansion").unwrap_or(false)),
            columns::age(obj, now),
        ]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        if is_default(obj) { vec![(IS_DEFAULT, "true".to_owned())] } else { Vec::new() }
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

/// Whether claims that name no class get this one.
pub fn is_default(class: &Value) -> bool {
    let annotations = at(class, "metadata.annotations");
    DEFAULT_ANNOTATIONS.iter().any(|name| {
        annotations
            .and_then(|map| map.get(*name))
            .and_then(Value::as_str)
            .is_some_and(|value| value == "true")
    })
}

/// Of several default classes the newest counts; of equally old ones the first by name.
pub fn choose_default(classes: &[Value]) -> Option<&Value> {
    let age = |class: &&Value| {
        let created = str_at(class, "metadata.creationTimestamp").to_owned();
        (std::cmp::Reverse(created), str_at(class, "metadata.name").to_owned())
    };
    classes.iter().filter(|class| is_default(class)).min_by_key(age)
}

fn binding_mode(obj: &Value) -> Option<Error> {
    let path = Path::new("volumeBindingMode");
    match at(obj, "volumeBindingMode").and_then(Value::as_str) {
        None => Some(field::required(&path, "")),
        Some("Immediate" | "WaitForFirstConsumer") => None,
        Some(mode) => Some(field::not_supported(&path, mode, &["Immediate", "WaitForFirstConsumer"])),
    }
}

/// The values a term allows for each of its keys.
type Allowed<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Errors about terms that stand twice, at most: their number grows with the square of that of the terms, and a body of
/// 3 MiB has a million.
const REPEATS_MAX: usize = 10_000;

fn allowed_topologies(obj: &Value) -> Vec<Error> {
    let terms = list_at(obj, "allowedTopologies");
    // Upstream compares each term with as many empty ones as there are terms, so one without expressions repeats them.
    let mut seen: BTreeMap<Allowed<'_>, usize> = BTreeMap::from([(Allowed::new(), terms.len())]);
    let mut left = REPEATS_MAX;
    let mut errors = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let path = Path::new("allowedTopologies").index(index).child("matchLabelExpressions");
        let (allowed, own) = topology_term(term, &path);
        errors.extend(own);
        let times = seen.entry(allowed).or_default();
        let told = left.min(*times);
        errors.extend((0..told).map(|_| field::duplicate(&path, "")));
        left -= told;
        *times += 1;
    }
    errors
}

fn topology_term<'a>(term: &'a Value, path: &Path) -> (Allowed<'a>, Vec<Error>) {
    let mut allowed = Allowed::new();
    let mut errors = Vec::new();
    for (index, expression) in list_at(term, "matchLabelExpressions").iter().enumerate() {
        let path = path.index(index);
        let key = str_at(expression, "key");
        let listed = strings_at(expression, "values");
        let mut values = BTreeSet::new();
        if listed.is_empty() {
            errors.push(field::required(&path.child("values"), ""));
        }
        for (index, value) in listed.into_iter().enumerate() {
            if !values.insert(value) {
                errors.push(field::duplicate(&path.child("values").index(index), value));
            }
        }
        errors.extend(validate_label_name(key, &path.child("key")));
        if allowed.insert(key, values).is_some() {
            errors.push(field::duplicate(&path.child("key"), key));
        }
    }
    (allowed, errors)
}
