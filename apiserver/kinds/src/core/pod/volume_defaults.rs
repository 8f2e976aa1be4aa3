//! Defaults of volumes.

use serde_json::{Value, json};

use super::defaults::{default_text, field_reference, round_quantities};
use super::image;
use crate::tree::{at_mut, list_at_mut, set, set_default, str_at};

/// File mode of secrets, config maps and the like: 0644.
const FILE_MODE: i64 = 0o644;

/// Validity of a projected service account token.
const TOKEN_SECONDS: i64 = 3600;

/// Defaults of one volume. A volume without a source is an empty directory.
pub(super) fn volume(volume: &mut Value) {
    let has_source = volume
        .as_object()
        .is_some_and(|fields| fields.iter().any(|(name, value)| name != "name" && !value.is_null()));
    if !has_source {
        set(volume, "emptyDir", json!({}));
    }
    host_path(volume);
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = at_mut(volume, source) {
            set_default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = at_mut(volume, "downwardAPI") {
        downward_items(source);
    }
    list_at_mut(volume, "projected.sources").iter_mut().for_each(projection);
    if let Some(image) = at_mut(volume, "image").filter(|image| str_at(image, "pullPolicy").is_empty()) {
        let policy = image::pull_policy(str_at(image, "reference"));
        set(image, "pullPolicy", policy);
    }
    in_tree(volume);
    if let Some(claim) = at_mut(volume, "ephemeral.volumeClaimTemplate") {
        set_default(claim, "metadata", json!({}));
        set_default(claim, "spec.volumeMode", "Filesystem");
        for list in ["spec.resources.limits", "spec.resources.requests"] {
            if let Some(quantities) = at_mut(claim, list) {
                round_quantities(quantities);
            }
        }
    }
}

/// Defaults of the source in the spec of a PersistentVolume.
pub(crate) fn persistent(spec: &mut Value) {
    host_path(spec);
    in_tree(spec);
}

fn host_path(owner: &mut Value) {
    if let Some(host_path) = at_mut(owner, "hostPath") {
        set_default(host_path, "type", "");
    }
}

fn projection(source: &mut Value) {
    if let Some(downward) = at_mut(source, "downwardAPI") {
        downward_items(downward);
    }
    if let Some(token) = at_mut(source, "serviceAccountToken") {
        set_default(token, "expirationSeconds", TOKEN_SECONDS);
    }
}

fn downward_items(source: &mut Value) {
    for item in list_at_mut(source, "items") {
        if let Some(reference) = at_mut(item, "fieldRef") {
            field_reference(reference);
        }
        if let Some(reference) = at_mut(item, "resourceFieldRef") {
            set_default(reference, "divisor", "0");
        }
    }
}

/// Sources whose drivers once lived in the kubelet.
fn in_tree(volume: &mut Value) {
    if let Some(iscsi) = at_mut(volume, "iscsi") {
        default_text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = at_mut(volume, "rbd") {
        default_text(rbd, "pool", "rbd");
        default_text(rbd, "user", "admin");
        default_text(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = at_mut(volume, "azureDisk") {
        set_default(disk, "cachingMode", "ReadWrite");
        set_default(disk, "fsType", "ext4");
        set_default(disk, "readOnly", false);
        set_default(disk, "kind", "Shared");
    }
    if let Some(scale_io) = at_mut(volume, "scaleIO") {
        default_text(scale_io, "storageMode", "ThinProvisioned");
        default_text(scale_io, "fsType", "xfs");
    }
}
