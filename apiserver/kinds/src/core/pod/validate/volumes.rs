//! Volumes of a pod: their names, and that each has exactly one source.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::options::Options;
use super::{Path, label, mounts, volume_sources};
use crate::field::{self, Error};
use crate::names::dns_subdomain;
use crate::tree::{at, list_at, str_at};

/// Every source, in the order in which upstream looks at them: its JSON name, the name in the text about a second source,
/// and the name in texts about the source itself. Upstream's spelling is not always the same.
const SOURCES: [(&str, &str, &str); 30] = [
    ("emptyDir", "emptyDir", "emptyDir"),
    ("hostPath", "hostPath", "hostPath"),
    ("gitRepo", "gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret", "secret"),
    ("nfs", "nfs", "nfs"),
    ("iscsi", "iscsi", "iscsi"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd", "rbd"),
    ("cinder", "cinder", "cinder"),
    ("cephfs", "cephFS", "cephfs"),
    ("quobyte", "quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI", "downwardAPI"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("configMap", "configMap", "configMap"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("storageos", "storageos", "storageos"),
    ("projected", "projected", "projected"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("csi", "csi", "csi"),
    ("ephemeral", "ephemeral", "ephemeral"),
    ("image", "image", "image"),
];

/// The volumes without errors by name, and everything wrong with the others.
pub(super) fn validate<'a>(
    spec: &'a Value,
    pod_meta: Option<&Value>,
    path: &Path,
    options: &Options,
) -> (BTreeMap<&'a str, &'a Value>, Vec<Error>) {
    let volumes = list_at(spec, "volumes");
    let pod_name = pod_meta.map_or("", |meta| str_at(meta, "name"));
    let created: BTreeSet<String> = volumes
        .iter()
        .filter(|volume| !pod_name.is_empty() && at(volume, "ephemeral").is_some())
        .map(|volume| format!("{pod_name}-{}", str_at(volume, "name")))
        .collect();

    let mut good = BTreeMap::new();
    let mut errors = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let name = str_at(volume, "name");
        let mut own = source(volume, pod_name, &path, options);
        let name_path = path.child("name");
        if name.is_empty() {
            own.push(field::required(&name_path, ""));
        } else {
            own.extend(label(name, &name_path));
        }
        if good.contains_key(name) {
            own.push(field::duplicate(&name_path, name));
        }
        if own.is_empty() {
            good.insert(name, volume);
        }
        errors.extend(own);
        let claim = str_at(volume, "persistentVolumeClaim.claimName");
        if created.contains(claim) {
            let text = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(field::invalid(&path.child("persistentVolumeClaim").child("claimName"), claim, text));
        }
    }
    (good, errors)
}

fn source(volume: &Value, pod_name: &str, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut found = false;
    for (name, second, own) in SOURCES {
        let Some(source) = at(volume, name) else { continue };
        if found {
            errors.push(field::forbidden(&path.child(second), "may not specify more than 1 volume type"));
        } else {
            found = true;
            errors.extend(volume_sources::validate(name, source, &path.child(own), options));
            if name == "ephemeral" {
                errors.extend(claim_name(volume, pod_name, path));
            }
        }
        if name == "iscsi" {
            errors.extend(iscsi_name(volume, source, path));
        }
    }
    if !found {
        errors.push(field::required(path, "must specify a volume type"));
    }
    errors
}

/// The claim made for an ephemeral volume is named after pod and volume.
fn claim_name(volume: &Value, pod_name: &str, path: &Path) -> Vec<Error> {
    let name = str_at(volume, "name");
    if pod_name.is_empty() || name.is_empty() {
        return Vec::new();
    }
    let claim = format!("{pod_name}-{name}");
    let text = |text| format!("PVC name {}: {text}", field::quote(&claim));
    dns_subdomain(&claim)
        .into_iter()
        .map(|rule| field::invalid(&path.child("name"), name, text(rule)))
        .collect()
}

fn iscsi_name(volume: &Value, iscsi: &Value, path: &Path) -> Option<Error> {
    let name = str_at(volume, "name");
    let length = name.len() + 1 + str_at(iscsi, "targetPortal").len();
    let too_long = at(iscsi, "initiatorName").is_some() && length > 64;
    too_long.then(|| field::invalid(&path.child("name"), name, volume_sources::LONG_ISCSI))
}

/// Whether a stored spec projects a token to a path that is refused by now.
pub(super) fn has_outside_token(spec: &Value) -> bool {
    list_at(spec, "volumes")
        .iter()
        .flat_map(|volume| list_at(volume, "projected.sources"))
        .filter_map(|source| at(source, "serviceAccountToken"))
        .any(|token| !mounts::unreserved_path(str_at(token, "path"), &Path::root()).is_empty())
}
