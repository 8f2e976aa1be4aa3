//! Where a volume's bytes are: exactly one source, each with its rules.
//!
//! Most sources are those a pod may also name itself; of the others only the differences are here.

use serde_json::{Map, Value};

use super::spec::Place;
use crate::core::pod::validate::Options;
use crate::core::pod::validate::mounts::no_backsteps;
use crate::core::pod::validate::volume_sources as of_pod;
use crate::field::{self, Error, Path};
use crate::names::{dns_label, dns_subdomain, inclusive_range, label_rule};
use crate::storage::driver_name;
use crate::tree::{at, bool_at, int_at, str_at};

/// Every source, in the order in which upstream looks at them: its JSON name, the name in the text about a second source,
/// and the name in texts about the source itself.
const SOURCES: [(&str, &str, &str); 22] = [
    ("hostPath", "hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    ("nfs", "nfs", "nfs"),
    ("rbd", "rbd", "rbd"),
    ("quobyte", "quobyte", "quobyte"),
    ("cephfs", "cephFS", "cephfs"),
    ("iscsi", "iscsi", "iscsi"),
    ("cinder", "cinder", "cinder"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("local", "local", "local"),
    ("storageos", "storageos", "storageos"),
    ("csi", "csi", "csi"),
];

/// Secrets a CSI source may name that are looked at, in upstream's order.
const CSI_SECRETS: [&str; 4] = [
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
];

/// The source of a volume, without the rest of its spec.
pub(super) fn of(volume: &Value) -> Value {
    let source = |(name, ..): &(&str, &str, &str)| {
        at(volume, &format!("spec.{name}")).map(|source| ((*name).to_owned(), source.clone()))
    };
    Value::Object(SOURCES.iter().filter_map(source).collect::<Map<_, _>>())
}

/// Everything wrong with the sources of a spec.
pub(super) fn validate(spec: &Value, place: Place<'_>, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut found = false;
    for (name, second, own) in SOURCES {
        let Some(source) = at(spec, name) else { continue };
        // Upstream forgets to refuse this one as a second source.
        if found && name != "flexVolume" {
            errors.push(field::forbidden(&path.child(second), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        errors.extend(source_errors(name, source, place, &path.child(own)));
        if name == "local" && at(spec, "nodeAffinity").is_none() {
            let text = "Local volume requires node affinity";
            errors.push(field::required(&path.child("nodeAffinity"), text));
        }
    }
    if !found {
        errors.push(field::required(path, "must specify a volume type"));
    }
    errors
}

fn source_errors(name: &str, source: &Value, place: Place<'_>, path: &Path) -> Vec<Error> {
    match name {
        "iscsi" => iscsi(source, place, path),
        "csi" => csi(source, path),
        "local" => local(source, path),
        "storageos" => storage_os(source, path),
        _ => {
            let mut errors = of_pod::validate(name, source, path, &Options::default());
            errors.extend(match name {
                "glusterfs" => endpoints_namespace(source, &path.child("endpointsNamespace")),
                "azureFile" => secret_namespace(source, &path.child("secretNamespace")),
                "cinder" => reference_namespace(source, path),
                _ => Vec::new(),
            });
            errors
        }
    }
}

fn endpoints_namespace(source: &Value, path: &Path) -> Vec<Error> {
    match at(source, "endpointsNamespace").and_then(Value::as_str) {
        None => Vec::new(),
        Some("") => {
            vec![field::invalid(
                path,
                "",
                "if the endpointnamespace is set, it must be a valid namespace name",
            )]
        }
        Some(name) => {
            label_rule(name, false).into_iter().map(|text| field::invalid(path, name, text)).collect()
        }
    }
}

fn secret_namespace(source: &Value, path: &Path) -> Vec<Error> {
    let empty = at(source, "secretNamespace").is_some() && str_at(source, "secretNamespace").is_empty();
    empty.then(|| field::required(path, "")).into_iter().collect()
}

/// A secret outside any namespace cannot be found.
fn reference_namespace(source: &Value, path: &Path) -> Vec<Error> {
    let missing = at(source, "secretRef").is_some() && str_at(source, "secretRef.namespace").is_empty();
    missing.then(|| field::required(&path.child("secretRef").child("namespace"), "")).into_iter().collect()
}

fn local(source: &Value, path: &Path) -> Vec<Error> {
    match str_at(source, "path") {
        "" => vec![field::required(&path.child("path"), "")],
        place => no_backsteps(place, &path.child("path")).into_iter().collect(),
    }
}

fn storage_os(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = of_pod::validate("storageos", source, path, &Options::default());
    errors.extend(reference_namespace(source, path));
    errors
}

fn iscsi(source: &Value, place: Place<'_>, path: &Path) -> Vec<Error> {
    let portal = str_at(source, "targetPortal");
    let mut errors = Vec::new();
    if portal.is_empty() {
        errors.push(field::required(&path.child("targetPortal"), ""));
    }
    let volume = if let Place::Volume { name, .. } = place { name } else { "" };
    let initiator = at(source, "initiatorName").and_then(Value::as_str);
    if initiator.is_some() && volume.len() + 1 + portal.len() > 64 {
        errors.push(field::invalid(&path.child("targetportal"), portal, of_pod::LONG_ISCSI));
    }
    match str_at(source, "iqn") {
        "" => errors.push(field::required(&path.child("iqn"), "")),
        name => errors.extend(iscsi_name(name, &path.child("iqn"))),
    }
    let lun = int_at(source, "lun").unwrap_or(0);
    if !(0..=255).contains(&lun) {
        errors.push(field::invalid(&path.child("lun"), lun, inclusive_range(0, 255)));
    }
    let authenticates =
        ["chapAuthDiscovery", "chapAuthSession"].iter().any(|name| bool_at(source, name) == Some(true));
    if authenticates && at(source, "secretRef").is_none() {
        errors.push(field::required(&path.child("secretRef"), ""));
    }
    if at(source, "secretRef").is_some() && str_at(source, "secretRef.name").is_empty() {
        errors.push(field::required(&path.child("secretRef").child("name"), ""));
    }
    errors.extend(initiator.and_then(|name| iscsi_name(name, &path.child("initiatorname"))));
    errors
}

/// Here one text tells of every wrong name.
fn iscsi_name(name: &str, path: &Path) -> Option<Error> {
    of_pod::iscsi_name(name, path).map(|_| field::invalid(path, name, "must be valid format"))
}

fn csi(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = driver_name(str_at(source, "driver"), &path.child("driver"));
    if str_at(source, "volumeHandle").is_empty() {
        errors.push(field::required(&path.child("volumeHandle"), ""));
    }
    for name in CSI_SECRETS {
        let Some(secret) = at(source, name) else { continue };
        let path = path.child(name);
        for (part, rule) in
            [("name", dns_subdomain as fn(&str) -> Vec<String>), ("namespace", dns_label as fn(&str) -> _)]
        {
            let (value, path) = (str_at(secret, part), path.child(part));
            if value.is_empty() {
                errors.push(field::required(&path, ""));
            } else {
                errors.extend(rule(value).into_iter().map(|text| field::invalid(&path, value, text)));
            }
        }
    }
    errors
}
