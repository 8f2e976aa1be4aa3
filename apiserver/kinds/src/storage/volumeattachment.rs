//! VolumeAttachments: that a volume shall be attached to a node, and whether it is.

use serde_json::{Value, json};

use super::parameters::driver_name;
use crate::columns::{self, Column};
use crate::core::persistentvolume::spec::{self, Place};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::meta::{self, IMMUTABLE};
use crate::names::{dns_subdomain, inclusive_range, subdomain_rule};
use crate::tree::{at, bool_at, carry_over, entries_at, int_at, same_at, set, str_at};
use crate::{Resource, Strategy, Subresource};

/// Bytes that all keys and values of the attachment's metadata may have together.
const METADATA_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the message of a failure. The error names another bound, as upstream's does.
const MESSAGE_BYTES_MAX: usize = 1024;

const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

/// What an update of the status leaves as it was.
const META_OF_STATUS: [&str; 4] =
    ["metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences"];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column { format: "name", ..Column::text("Attacher", "The driver that attaches.") },
    Column::text("PV", "The volume."),
    Column::text("Node", "The node."),
    Column::boolean("Attached", "Whether the volume is attached."),
    Column::AGE,
];

/// The strategy of VolumeAttachments.
pub(super) struct VolumeAttachments;

impl Strategy for VolumeAttachments {
    fn resource(&self) -> &'static Resource {
        crate::resource!("storage.k8s.io", "v1", "volumeattachments")
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({"attached": false}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            META_OF_STATUS.iter().for_each(|path| carry_over(new, old, path));
        } else {
            carry_over(new, old, "status");
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        let path = Path::new("spec");
        errors.extend(driver_name(str_at(obj, "spec.attacher"), &path.child("attacher")));
        errors.extend(source_errors(obj, &path.child("source")));
        errors.extend(subdomain(str_at(obj, "spec.nodeName"), &path.child("nodeName")));
        errors.extend(status_errors(obj));
        let volume = at(obj, "spec.source.persistentVolumeName").and_then(Value::as_str);
        let path = Path::new("spec.source.persistentVolumeName");
        errors.extend(volume.into_iter().flat_map(|name| subdomain(name, &path)));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        if !same_at(new, old, "spec") {
            let value = internal::bad_value("VolumeAttachmentSpec", at(new, "spec"));
            errors.push(field::invalid(&Path::new("spec"), value, IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            columns::name(obj),
            json!(str_at(obj, "spec.attacher")),
            json!(str_at(obj, "spec.source.persistentVolumeName")),
            json!(str_at(obj, "spec.nodeName")),
            json!(bool_at(obj, "status.attached").unwrap_or(false)),
            columns::age(obj, now),
        ]
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn subdomain(name: &str, path: &Path) -> Vec<Error> {
    dns_subdomain(name).into_iter().map(|text| field::invalid(path, name, text)).collect()
}

fn source_errors(obj: &Value, path: &Path) -> Vec<Error> {
    let inline = at(obj, "spec.source.inlineVolumeSpec");
    match (inline, at(obj, "spec.source.persistentVolumeName")) {
        (None, None) => vec![field::required(path, ONE_SOURCE)],
        (Some(_), Some(_)) => vec![field::forbidden(path, ONE_SOURCE)],
        (None, Some(name)) if name == "" => {
            let text = "must specify non empty persistentVolumeName";
            vec![field::required(&path.child("persistentVolumeName"), text)]
        }
        (None, Some(_)) => Vec::new(),
        (Some(inline), None) => spec::validate(inline, Place::Inline, &path.child("inlineVolumeSpec")),
    }
}

fn status_errors(obj: &Value) -> Vec<Error> {
    let path = Path::new("status");
    let mut errors = Vec::new();
    let entries = entries_at(obj, "status.attachmentMetadata");
    if entries.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > METADATA_BYTES_MAX {
        errors.push(field::too_long(&path.child("attachmentMetadata"), METADATA_BYTES_MAX));
    }
    for name in ["attachError", "detachError"] {
        let Some(failure) = at(obj, &format!("status.{name}")) else { continue };
        let path = path.child(name);
        if str_at(failure, "message").len() > MESSAGE_BYTES_MAX {
            errors.push(field::too_long(&path.child("message"), METADATA_BYTES_MAX));
        }
        if let Some(code) = int_at(failure, "errorCode").filter(|code| *code < 0) {
            let text = inclusive_range(0, i64::from(i32::MAX));
            errors.push(field::invalid(&path.child("errorCode"), code, text));
        }
    }
    errors
}
