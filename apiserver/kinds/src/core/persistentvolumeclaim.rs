//! PersistentVolumeClaims: what storage somebody wants, and which volume was found.

use serde_json::{Value, json};

use super::claims::{self, BETA_CLASS};
use super::pod::defaults::round_quantities;
use super::pod::validate::annotations::annotation;
use super::pod::validate::volume_claims::{self, Leniency};
use super::pod::{diff, internal};
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::names::{qualified_name, subdomain_rule};
use crate::quantity;
use crate::selector::validate_label_selector;
use crate::tree::{
    at, at_mut, carry_over, entries_at, map_at, remove, same, same_at, set, set_default, str_at, strings_at,
};
use crate::{Resource, Strategy, Subresource};

const SIZE: &str = "spec.resources.requests.storage";

const FIXED_SPEC: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// How far a resize is, in the order of names.
const RESIZE_STATES: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status", "Whether the claim has a volume."),
    Column::text("Volume", "The volume of the claim."),
    Column::text("Capacity", "How large the volume is."),
    Column::text("Access Modes", "How the volume can be mounted."),
    Column::text("StorageClass", "The class of the claim."),
    Column::text("VolumeAttributesClass", "The class of the volume's changeable parameters."),
    Column::AGE,
    Column::text("VolumeMode", "Whether the volume is a file system or a device.").wide(),
];

/// The strategy of PersistentVolumeClaims.
pub(super) struct PersistentVolumeClaims;

impl Strategy for PersistentVolumeClaims {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "persistentvolumeclaims")
    }

    fn default(&self, obj: &mut Value) {
        if str_at(obj, "status.phase").is_empty() {
            set(obj, "status.phase", "Pending");
        }
        set_default(obj, "spec.volumeMode", "Filesystem");
        for list in [
            "spec.resources.limits",
            "spec.resources.requests",
            "status.capacity",
            "status.allocatedResources",
        ] {
            if let Some(quantities) = at_mut(obj, list) {
                round_quantities(quantities);
            }
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({"phase": "Pending"}));
        settle_sources(obj, None);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            return;
        }
        carry_over(new, old, "status");
        settle_sources(new, Some(old));
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate(obj, Leniency::default())
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub == Subresource::Status {
            errors.extend(status_errors(new));
            return errors;
        }
        errors.extend(validate(new, leniency(old)));
        errors.extend(spec_update_errors(new, old));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if annotation(new, BETA_CLASS).is_some() {
            let path = Path::new("metadata.annotations").key(BETA_CLASS);
            let text = r#"deprecated since v1.8; use "storageClassName" attribute instead"#;
            warnings.push(format!("{path}: {text}"));
        }
        warnings.extend(claims::fractional(new, &Path::new("spec")));
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let volume = str_at(obj, "spec.volumeName");
        let (capacity, modes) = if volume.is_empty() {
            (String::new(), String::new())
        } else {
            let capacity = claims::storage(obj, "status.capacity").to_string();
            (capacity, claims::short_modes(obj, "status.accessModes"))
        };
        vec![
            columns::name(obj),
            json!(claims::phase(obj)),
            json!(volume),
            json!(capacity),
            json!(modes),
            json!(claims::class(obj).unwrap_or("")),
            json!(claims::or_unset(obj, "spec.volumeAttributesClassName")),
            columns::age(obj, now),
            json!(claims::or_unset(obj, "spec.volumeMode")),
        ]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

/// `dataSource` and `dataSourceRef` say the same, unless the reference says more than the other can.
fn settle_sources(claim: &mut Value, old: Option<&Value>) {
    const SOURCE: &str = "spec.dataSource";
    const REFERENCE: &str = "spec.dataSourceRef";
    let old_has = |path: &str| old.is_some_and(|old| at(old, path).is_some());
    if !str_at(claim, "spec.dataSourceRef.namespace").is_empty() && !old_has(REFERENCE) {
        remove(claim, REFERENCE);
    }
    let in_use = old_has(SOURCE) || old_has(REFERENCE);
    if !in_use && at(claim, REFERENCE).is_none() && !is_claim_or_snapshot(claim) {
        remove(claim, SOURCE);
    }
    match (at(claim, SOURCE).cloned(), at(claim, REFERENCE).cloned()) {
        (Some(source), None) => set(claim, REFERENCE, source),
        (None, Some(mut reference)) if str_at(&reference, "namespace").is_empty() => {
            remove(&mut reference, "namespace");
            set(claim, SOURCE, reference);
        }
        _ => {}
    }
}

fn is_claim_or_snapshot(claim: &Value) -> bool {
    let source = (str_at(claim, "spec.dataSource.kind"), str_at(claim, "spec.dataSource.apiGroup"));
    matches!(source, ("PersistentVolumeClaim", "") | ("VolumeSnapshot", "snapshot.storage.k8s.io"))
}

fn validate(obj: &Value, leniency: Leniency) -> Vec<Error> {
    let mut errors = meta::validate(obj, true, subdomain_rule);
    let null = Value::Null;
    let spec = at(obj, "spec").unwrap_or(&null);
    errors.extend(volume_claims::claim_spec(spec, leniency, &Path::new("spec")));
    errors
}

fn leniency(old: &Value) -> Leniency {
    let strict = crate::selector::Leniency::default();
    let null = Value::Null;
    let spec = at(old, "spec").unwrap_or(&null);
    Leniency {
        any_values: !validate_label_selector(spec, "selector", strict, &Path::root()).is_empty(),
        any_groups: ["dataSource.apiGroup", "dataSourceRef.apiGroup"]
            .iter()
            .any(|path| at(spec, path).is_some()),
    }
}

fn spec_update_errors(new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (mut wanted, mut stored) = (new.clone(), old.clone());
    if str_at(old, "spec.volumeName").is_empty() {
        carry_over(&mut stored, new, "spec.volumeName");
    }
    if moves_class_to_field(new, old) {
        remove(&mut wanted, "spec.storageClassName");
    } else {
        errors.extend(fixed_class_annotation(new, old));
        if sets_class_late(new, old) {
            carry_over(&mut wanted, old, "spec.storageClassName");
        }
    }
    if str_at(new, "status.phase") == "Bound" {
        if at(&wanted, "spec.resources.requests").is_some() {
            carry_over(&mut wanted, old, SIZE);
        }
        carry_over(&mut wanted, old, "spec.volumeAttributesClassName");
    }
    if !same_at(&wanted, &stored, "spec") {
        let pretty =
            |claim| internal::pretty("PersistentVolumeClaimSpec", at(claim, "spec").unwrap_or(&Value::Null));
        let diff = diff::unified(&pretty(&stored), &pretty(&wanted));
        errors.push(field::forbidden(&Path::new("spec"), format!("{FIXED_SPEC}\n{diff}")));
    }
    let (now, before) = (claims::requested(new), claims::requested(old));
    if now < before && now <= claims::storage(old, "status.capacity") {
        errors.push(field::forbidden(&Path::new(SIZE), "field can not be less than status.capacity"));
    }
    if !same_at(new, old, "spec.volumeMode") {
        let path = Path::new("volumeMode");
        errors.push(field::invalid(&path, at(new, "spec.volumeMode"), meta::IMMUTABLE));
    }
    errors.extend(attributes_class_stays(new, old));
    errors
}

/// Whether the class leaves the annotation for the field.
fn moves_class_to_field(new: &Value, old: &Value) -> bool {
    let Some(class) = annotation(old, BETA_CLASS) else { return false };
    at(old, "spec.storageClassName").is_none()
        && at(new, "spec.storageClassName").and_then(Value::as_str) == Some(class)
        && annotation(new, BETA_CLASS).is_none_or(|annotated| annotated == class)
}

fn fixed_class_annotation(new: &Value, old: &Value) -> Option<Error> {
    let value = |claim| annotation(claim, BETA_CLASS).unwrap_or("");
    let path = Path::new("metadata.annotations").child(BETA_CLASS);
    (value(new) != value(old)).then(|| field::invalid(&path, value(new), meta::IMMUTABLE))
}

/// A claim without a class may get one later, as when a default class comes to be.
fn sets_class_late(new: &Value, old: &Value) -> bool {
    let class = at(new, "spec.storageClassName").and_then(Value::as_str);
    class.is_some()
        && at(old, "spec.storageClassName").is_none()
        && annotation(old, BETA_CLASS).is_none_or(|annotated| Some(annotated) == class)
}

/// What has been applied to the volume can be changed and not taken away.
fn attributes_class_stays(new: &Value, old: &Value) -> Option<Error> {
    const CLASS: &str = "spec.volumeAttributesClassName";
    if same(at(new, CLASS), at(old, CLASS)) || at(old, "status.currentVolumeAttributesClassName").is_none() {
        return None;
    }
    let what = match at(new, CLASS).and_then(Value::as_str) {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return None,
    };
    let text =
        format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
    Some(field::forbidden(&Path::new(CLASS), text))
}

fn status_errors(new: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    if strings_at(new, "spec.accessModes").is_empty() {
        errors.push(field::required(&Path::new("Spec.accessModes"), ""));
    }
    for (name, amount) in map_at(new, "status.capacity").into_iter().flatten() {
        errors.extend(not_negative(&quantity::of(amount), &Path::new("status.capacity").key(name)));
    }
    let path = Path::new("status.allocatedResourceStatuses");
    for (name, state) in entries_at(new, path.as_str()) {
        errors.extend(resource_name(name, &path));
        if !RESIZE_STATES.contains(&state) {
            errors.push(field::not_supported(&path, name, &RESIZE_STATES));
        }
    }
    let path = Path::new("status.allocatedResources");
    for (name, amount) in map_at(new, path.as_str()).into_iter().flatten() {
        let wrong = resource_name(name, &path);
        if wrong.is_empty() {
            errors.extend(not_negative(&quantity::of(amount), &path.key(name)));
        }
        errors.extend(wrong);
    }
    errors
}

fn not_negative(amount: &quantity::Quantity, path: &Path) -> Option<Error> {
    let value = amount.value();
    (value < 0).then(|| field::invalid(path, value, "must be a valid resource quantity"))
}

/// Of Kubernetes' own resources a claim is only given storage.
fn resource_name(name: &str, path: &Path) -> Vec<Error> {
    let errors: Vec<Error> =
        qualified_name(name).into_iter().map(|text| field::invalid(path, name, text)).collect();
    if errors.is_empty() && super::pod::resource_math::is_native(name) && name != "storage" {
        return vec![field::not_supported(path, name, &["storage"])];
    }
    errors
}
