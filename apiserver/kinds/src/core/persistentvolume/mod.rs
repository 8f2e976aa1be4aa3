//! PersistentVolumes: pieces of storage, whoever made them.

mod sources;
pub(crate) mod spec;

use serde_json::{Value, json};

use super::claims::{self, BETA_CLASS};
use super::pod::defaults::round_quantities;
use super::pod::internal;
use super::pod::validate::annotations::annotation;
use super::pod::{diff, volume_defaults, warnings};
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::meta;
use crate::names::subdomain_rule;
use crate::tree::{at, at_mut, carry_over, list_at, list_at_mut, same, same_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource};
use spec::Place;

const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

/// Annotations that a field has replaced.
const OLD_ANNOTATIONS: [(&str, &str); 2] = [
    (BETA_CLASS, r#"deprecated since v1.8; use "storageClassName" attribute instead"#),
    (MOUNT_OPTIONS, r#"deprecated since v1.31; use "mountOptions" attribute instead"#),
];

/// Sources without a driver: JSON name, printed name, what happened.
const OLD_SOURCES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const OLD_RECYCLE: &str = "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";

/// Sources whose mount options may stand in the annotation.
const MOUNTED: [&str; 13] = [
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "cinder",
    "cephfs",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
];

/// Node labels that a volume's affinity may change to their newer names.
const RENAMED_LABELS: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Capacity", "How large the volume is."),
    Column::text("Access Modes", "How the volume can be mounted."),
    Column::text("Reclaim Policy", "What becomes of the volume when its claim is gone."),
    Column::text("Status", "Whether the volume is free, bound, or left by its claim."),
    Column::text("Claim", "The claim the volume belongs to."),
    Column::text("StorageClass", "The class of the volume."),
    Column::text("VolumeAttributesClass", "The class of the volume's changeable parameters."),
    Column::text("Reason", "Why the volume is in this state."),
    Column::AGE,
    Column::text("VolumeMode", "Whether the volume is a file system or a device.").wide(),
];

/// The strategy of PersistentVolumes.
pub(super) struct PersistentVolumes;

impl Strategy for PersistentVolumes {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "persistentvolumes")
    }

    fn default(&self, obj: &mut Value) {
        if str_at(obj, "status.phase").is_empty() {
            set(obj, "status.phase", "Pending");
        }
        if str_at(obj, "spec.persistentVolumeReclaimPolicy").is_empty() {
            set(obj, "spec.persistentVolumeReclaimPolicy", "Retain");
        }
        set_default(obj, "spec.volumeMode", "Filesystem");
        if let Some(capacity) = at_mut(obj, "spec.capacity") {
            round_quantities(capacity);
        }
        if let Some(spec) = at_mut(obj, "spec") {
            volume_defaults::persistent(spec);
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({"phase": "Pending"}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        carry_over(new, old, if sub == Subresource::Status { "spec" } else { "status" });
    }

    fn stamp(&self, sub: Subresource, new: &mut Value, old: Option<&Value>, now: &str) {
        const TIME: &str = "status.lastPhaseTransitionTime";
        let Some(old) = old else { return set(new, TIME, now) };
        if sub != Subresource::Status {
            return;
        }
        let moved = str_at(new, "status.phase") != str_at(old, "status.phase");
        match at(new, TIME) {
            None if !moved => carry_over(new, old, TIME),
            time if moved && (time.is_none() || time == at(old, TIME)) => set(new, TIME, now),
            _ => {}
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta_and_spec(obj, false);
        errors.extend(mount_options(obj));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        if sub == Subresource::Status {
            return meta::validate_update(new, old);
        }
        let any_values = spec::has_odd_affinity_value(old);
        let mut errors = meta_and_spec(new, any_values);
        errors.extend(mount_options(new));
        errors.extend(meta_and_spec(new, any_values));
        errors.extend(fixed_source(new, old));
        if !same_at(new, old, "spec.volumeMode") {
            let path = Path::new("volumeMode");
            errors.push(field::invalid(&path, at(new, "spec.volumeMode"), meta::IMMUTABLE));
        }
        errors.extend(fixed_affinity(new, old));
        let class = "spec.volumeAttributesClassName";
        if at(old, class).is_some() && at(new, class).is_none() {
            errors.push(field::forbidden(&Path::new(class), "update from non-nil value to nil is forbidden"));
        }
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let annotations = Path::new("metadata.annotations");
        let mut warnings: Vec<String> = OLD_ANNOTATIONS
            .iter()
            .filter(|(name, _)| annotation(new, name).is_some())
            .map(|(name, text)| format!("{}: {text}", annotations.key(name)))
            .collect();
        if str_at(new, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
            warnings.push(OLD_RECYCLE.to_owned());
        }
        let path = Path::new("spec.nodeAffinity.required.nodeSelectorTerms");
        for (index, term) in list_at(new, path.as_str()).iter().enumerate() {
            warnings.extend(warnings::node_term(term, false, &path.index(index)));
        }
        let old = OLD_SOURCES.iter().filter(|(name, ..)| at(new, &format!("spec.{name}")).is_some());
        warnings.extend(old.map(|(_, printed, text)| format!("spec.{printed}: {text}")));
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let claim = at(obj, "spec.claimRef").map_or_else(String::new, |claim| {
            format!("{}/{}", str_at(claim, "namespace"), str_at(claim, "name"))
        });
        vec![
            columns::name(obj),
            json!(claims::storage(obj, "spec.capacity").to_string()),
            json!(claims::short_modes(obj, "spec.accessModes")),
            json!(str_at(obj, "spec.persistentVolumeReclaimPolicy")),
            json!(claims::phase(obj)),
            json!(claim),
            json!(claims::class(obj).unwrap_or("")),
            json!(claims::or_unset(obj, "spec.volumeAttributesClassName")),
            json!(str_at(obj, "status.reason")),
            columns::age(obj, now),
            json!(claims::or_unset(obj, "spec.volumeMode")),
        ]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn meta_and_spec(obj: &Value, any_values: bool) -> Vec<Error> {
    let mut errors = meta::validate(obj, false, subdomain_rule);
    let place = Place::Volume { name: str_at(obj, "metadata.name"), any_values };
    let null = Value::Null;
    errors.extend(spec::validate(at(obj, "spec").unwrap_or(&null), place, &Path::new("spec")));
    errors
}

fn mount_options(obj: &Value) -> Option<Error> {
    annotation(obj, MOUNT_OPTIONS)?;
    let mounted = MOUNTED.iter().any(|name| at(obj, &format!("spec.{name}")).is_some());
    let path = Path::new("metadata.annotations").child(MOUNT_OPTIONS);
    (!mounted).then(|| field::forbidden(&path, "may not specify mount options for this volume type"))
}

/// The volume's source stays, but for the secret to expand it with, which may be added.
fn fixed_source(new: &Value, old: &Value) -> Option<Error> {
    const SECRET: &str = "csi.controllerExpandSecretRef";
    let (mut new, old) = (sources::of(new), sources::of(old));
    if at(&old, "csi").is_some() && at(&old, SECRET).is_none() {
        crate::tree::remove(&mut new, SECRET);
    }
    if same(Some(&new), Some(&old)) {
        return None;
    }
    let pretty = |source| internal::pretty("PersistentVolumeSource", source);
    let path = Path::new("spec.persistentvolumesource");
    let diff = diff::unified(&pretty(&old), &pretty(&new));
    Some(field::forbidden(&path, format!("{path} is immutable after creation\n{diff}")))
}

/// Once set, the nodes a volume can be reached from stay, but for newer names of labels.
fn fixed_affinity(new: &Value, old: &Value) -> Option<Error> {
    let mut before = at(old, "spec.nodeAffinity")?.clone();
    let now = at(new, "spec.nodeAffinity");
    let newer = |now: Option<&Value>| now.cloned().unwrap_or_default();
    let terms = "required.nodeSelectorTerms";
    for (before, now) in list_at_mut(&mut before, terms).iter_mut().zip(list_at(&newer(now), terms)) {
        let expressions = list_at_mut(before, "matchExpressions").iter_mut();
        for (before, now) in expressions.zip(list_at(now, "matchExpressions")) {
            let renamed = (str_at(before, "key"), str_at(now, "key"));
            // Upstream takes no key for the newer name of every label that has none.
            if renamed.1.is_empty() || RENAMED_LABELS.contains(&renamed) {
                carry_over(before, now, "key");
            }
        }
    }
    let text = format!("{}, except for updating from beta label to GA", meta::IMMUTABLE);
    let value = || internal::bad_value("*VolumeNodeAffinity", now);
    (!same(now, Some(&before))).then(|| field::invalid(&Path::new("nodeAffinity"), value(), text))
}
