//! The sources of volumes, one by one.

use serde_json::Value;

use super::mounts::{no_backsteps, relative_path, unreserved_path};
use super::options::Options;
use super::{Path, containers, env, label, projected, subdomain, volume_claims};
use crate::field::{self, Error};
use crate::names::inclusive_range;
use crate::quantity;
use crate::storage::driver_name;
use crate::tree::{at, bool_at, entries_at, int_at, list_at, str_at, strings_at};

/// What is said of a target and a volume whose names are too long together.
pub(crate) const LONG_ISCSI: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// The last file mode: 0777.
const FILE_MODE_MAX: i64 = 0o777;

/// Everything wrong with the source of this name.
pub(crate) fn validate(name: &str, source: &Value, path: &Path, options: &Options) -> Vec<Error> {
    match name {
        "emptyDir" => empty_dir(source, path),
        "hostPath" => host_path(source, path),
        "gitRepo" => git_repo(source, path),
        "gcePersistentDisk" => disk(source, "pdName", path),
        "awsElasticBlockStore" => disk(source, "volumeID", path),
        "secret" => keyed(source, "secretName", path),
        "configMap" => keyed(source, "name", path),
        "nfs" => nfs(source, path),
        "iscsi" => iscsi(source, path),
        "glusterfs" => required(source, &["endpoints", "path"], path),
        "flocker" => flocker(source, path),
        "persistentVolumeClaim" => required(source, &["claimName"], path),
        "rbd" => [list_required(source, "monitors", path), required(source, &["image"], path)].concat(),
        "cinder" => [required(source, &["volumeID"], path), secret_reference(source, path)].concat(),
        "cephfs" => list_required(source, "monitors", path),
        "quobyte" => quobyte(source, path),
        "downwardAPI" => downward_api(source, path),
        "fc" => fibre_channel(source, path),
        "flexVolume" => flex_volume(source, path),
        "azureFile" => required(source, &["secretName", "shareName"], path),
        "vsphereVolume" => required(source, &["volumePath"], path),
        "photonPersistentDisk" => required(source, &["pdID"], path),
        "portworxVolume" => required(source, &["volumeID"], path),
        "azureDisk" => azure_disk(source, path),
        "storageos" => storage_os(source, path),
        "projected" => projected::validate(source, path, options),
        "scaleIO" => required(source, &["gateway", "system", "volumeName"], path),
        "csi" => csi(source, path),
        "ephemeral" => match at(source, "volumeClaimTemplate") {
            Some(template) => volume_claims::template(template, &path.child("volumeClaimTemplate")),
            None => vec![field::required(&path.child("volumeClaimTemplate"), "")],
        },
        "image" => image(source, path, options),
        _ => Vec::new(),
    }
}

fn required(source: &Value, names: &[&str], path: &Path) -> Vec<Error> {
    let missing = names.iter().filter(|name| str_at(source, name).is_empty());
    missing.map(|name| field::required(&path.child(name), "")).collect()
}

fn list_required(source: &Value, name: &str, path: &Path) -> Vec<Error> {
    list_at(source, name).is_empty().then(|| field::required(&path.child(name), "")).into_iter().collect()
}

fn secret_reference(source: &Value, path: &Path) -> Vec<Error> {
    let nameless = at(source, "secretRef").is_some() && str_at(source, "secretRef.name").is_empty();
    nameless.then(|| field::required(&path.child("secretRef").child("name"), "")).into_iter().collect()
}

fn empty_dir(source: &Value, path: &Path) -> Vec<Error> {
    let negative = at(source, "sizeLimit").is_some_and(|limit| quantity::is_negative(&quantity::of(limit)));
    let text = "SizeLimit field must be a valid resource quantity";
    negative.then(|| field::forbidden(&path.child("sizeLimit"), text)).into_iter().collect()
}

fn host_path(source: &Value, path: &Path) -> Vec<Error> {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let place = str_at(source, "path");
    if place.is_empty() {
        return vec![field::required(&path.child("path"), "")];
    }
    let mut errors: Vec<Error> = no_backsteps(place, &path.child("path")).into_iter().collect();
    let ty = str_at(source, "type");
    if !TYPES.contains(&ty) {
        errors.push(field::not_supported(&path.child("type"), ty, &TYPES));
    }
    errors
}

fn git_repo(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &["repository"], path);
    errors.extend(relative_path(str_at(source, "directory"), &path.child("directory")));
    errors
}

fn disk(source: &Value, name: &str, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &[name], path);
    let partition = int_at(source, "partition").unwrap_or(0);
    if !(0..=255).contains(&partition) {
        errors.push(field::invalid(&path.child("partition"), partition, inclusive_range(1, 255)));
    }
    errors
}

/// A volume made of the keys of a Secret or ConfigMap.
fn keyed(source: &Value, name: &str, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &[name], path);
    errors.extend(file_mode(source, "defaultMode", path));
    for (index, item) in list_at(source, "items").iter().enumerate() {
        errors.extend(key_to_path(item, &path.child("items").index(index)));
    }
    errors
}

/// Everything wrong with one key and the file it goes to.
pub(super) fn key_to_path(item: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(item, &["key", "path"], path);
    errors.extend(unreserved_path(str_at(item, "path"), &path.child("path")));
    errors.extend(file_mode(item, "mode", path));
    errors
}

/// What is wrong with the file mode of this name.
pub(super) fn file_mode(owner: &Value, name: &str, path: &Path) -> Option<Error> {
    let mode = int_at(owner, name)?;
    let text = "must be a number between 0 and 0777 (octal), both inclusive";
    (!(0..=FILE_MODE_MAX).contains(&mode)).then(|| field::invalid(&path.child(name), mode, text))
}

fn nfs(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &["server", "path"], path);
    let place = str_at(source, "path");
    if !place.starts_with('/') {
        errors.push(field::invalid(&path.child("path"), place, "must be an absolute path"));
    }
    errors
}

fn iscsi(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &["targetPortal", "iqn"], path);
    let name = str_at(source, "iqn");
    if !name.is_empty() {
        errors.extend(iscsi_name(name, &path.child("iqn")));
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
    if let Some(initiator) = at(source, "initiatorName").and_then(Value::as_str) {
        errors.extend(iscsi_name(initiator, &path.child("initiatorname")));
    }
    errors
}

/// What is wrong with the name of an iSCSI target or initiator.
pub(crate) fn iscsi_name(name: &str, path: &Path) -> Option<Error> {
    let alphanumeric =
        |rest: &str, length: usize| rest.len() == length && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    // Upstream's pattern has a dot for any character after the prefix.
    let after_prefix = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.get(1..));
    let good = if name.starts_with("iqn") {
        name.find("iqn.").is_some_and(|start| is_iqn(&name[start + 4..]))
    } else if name.starts_with("eui") {
        after_prefix("eui").is_some_and(|rest| alphanumeric(rest, 16))
    } else if name.starts_with("naa") {
        after_prefix("naa").is_some_and(|rest| alphanumeric(rest, 32))
    } else {
        return Some(field::invalid(path, name, "must be valid format starting with iqn, eui, or naa"));
    };
    (!good).then(|| field::invalid(path, name, "must be valid format"))
}

/// `2001-04.com.example:disk`: a month, a reversed domain, and a name.
fn is_iqn(rest: &str) -> bool {
    let bytes = rest.as_bytes();
    let date = bytes.len() > 8
        && bytes[..4].iter().chain(&bytes[5..7]).all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[7] == b'.';
    date && rest[8..].split_once(':').is_some_and(|(authority, name)| {
        !authority.is_empty()
            && authority.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
            && !name.is_empty()
            && !name.contains(|c: char| c.is_whitespace() || ",;*&$|".contains(c))
    })
}

fn flocker(source: &Value, path: &Path) -> Vec<Error> {
    let (name, uuid) = (str_at(source, "datasetName"), str_at(source, "datasetUUID"));
    let mut errors = Vec::new();
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => errors.push(field::required(path, "one of datasetName and datasetUUID is required")),
        (false, false) => {
            let text = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(field::invalid(path, "resource", text));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.push(field::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
    errors
}

fn quobyte(source: &Value, path: &Path) -> Vec<Error> {
    let registry = str_at(source, "registry");
    let text = "must be a host:port pair or multiple pairs separated by commas";
    let mut errors = Vec::new();
    if registry.is_empty() {
        errors.push(field::required(&path.child("registry"), text));
    } else if str_at(source, "tenant").len() >= 65 {
        let text = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(field::required(&path.child("tenant"), text));
    } else {
        let bad = registry.split(',').filter(|pair| !is_host_port(pair));
        errors.extend(bad.map(|_| field::invalid(&path.child("registry"), registry, text)));
    }
    errors.extend(required(source, &["volume"], path));
    errors
}

fn is_host_port(pair: &str) -> bool {
    pair.rsplit_once(':')
        .is_some_and(|(host, _)| !host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
}

fn downward_api(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors: Vec<Error> = file_mode(source, "defaultMode", path).into_iter().collect();
    // Upstream names the volume and not the item.
    errors.extend(list_at(source, "items").iter().flat_map(|item| downward_item(item, path)));
    errors
}

/// Everything wrong with one file that shows a field of the pod.
pub(super) fn downward_item(item: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(item, &["path"], path);
    errors.extend(unreserved_path(str_at(item, "path"), &path.child("path")));
    match (at(item, "fieldRef"), at(item, "resourceFieldRef")) {
        (Some(reference), resource) => {
            errors.extend(env::field_reference(reference, &env::FILE_FIELDS, &path.child("fieldRef")));
            if resource.is_some() {
                let text = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(field::invalid(path, "resource", text));
            }
        }
        (None, Some(reference)) => {
            let path = path.child("resourceFieldRef");
            errors.extend(env::resource_reference(reference, env::Container::Named, &path));
        }
        (None, None) => {
            errors.push(field::required(path, "one of fieldRef and resourceFieldRef is required"))
        }
    }
    errors.extend(file_mode(item, "mode", path));
    errors
}

fn fibre_channel(source: &Value, path: &Path) -> Vec<Error> {
    let (targets, ids) = (strings_at(source, "targetWWNs"), strings_at(source, "wwids"));
    let targets_path = path.child("targetWWNs");
    let mut errors = Vec::new();
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => {
            let text = "must specify either targetWWNs or wwids, but not both";
            errors.push(field::required(&targets_path, text));
        }
        (false, false) => {
            let text = "targetWWNs and wwids can not be specified simultaneously";
            errors.push(field::invalid(&targets_path, at(source, "targetWWNs"), text));
        }
        _ => {}
    }
    if !targets.is_empty() {
        match int_at(source, "lun") {
            None => {
                errors.push(field::required(&path.child("lun"), "lun is required if targetWWNs is specified"))
            }
            Some(lun) if !(0..=255).contains(&lun) => {
                errors.push(field::invalid(&path.child("lun"), lun, inclusive_range(0, 255)));
            }
            Some(_) => {}
        }
    }
    errors
}

fn flex_volume(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &["driver"], path);
    for (key, _) in entries_at(source, "options") {
        let namespace =
            format!(".{}", key.split_once('/').map_or(key, |(namespace, _)| namespace).to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let text = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(field::invalid(&path.child("options").key(key), key, text));
        }
    }
    errors
}

fn azure_disk(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &["diskName", "diskURI"], path);
    for (name, supported) in
        [("cachingMode", ["None", "ReadOnly", "ReadWrite"]), ("kind", ["Dedicated", "Managed", "Shared"])]
    {
        if let Some(value) =
            at(source, name).and_then(Value::as_str).filter(|value| !supported.contains(value))
        {
            errors.push(field::not_supported(&path.child(name), value, &supported));
        }
    }
    let uri = str_at(source, "diskURI");
    let (prefix, form) = match at(source, "kind").and_then(Value::as_str) {
        None => return errors,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        Some(_) => {
            ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
        }
    };
    if !uri.starts_with(prefix) {
        errors.push(field::not_supported(&path.child("diskURI"), uri, &[form]));
    }
    errors
}

fn storage_os(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = required(source, &["volumeName"], path);
    for name in ["volumeName", "volumeNamespace"] {
        let value = str_at(source, name);
        if !value.is_empty() {
            errors.extend(label(value, &path.child(name)));
        }
    }
    errors.extend(secret_reference(source, path));
    errors
}

fn csi(source: &Value, path: &Path) -> Vec<Error> {
    let mut errors = driver_name(str_at(source, "driver"), &path.child("driver"));
    if let Some(secret) = at(source, "nodePublishSecretRef") {
        match str_at(secret, "name") {
            "" => errors.push(field::required(&path.child("nodePublishSecretRef").child("name"), "")),
            name => errors.extend(subdomain(name, &path.child("name"))),
        }
    }
    errors
}

fn image(source: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors = Vec::new();
    if options.is_pod {
        errors.extend(required(source, &["reference"], path));
    }
    errors.extend(containers::pull_policy(str_at(source, "pullPolicy"), &path.child("pullPolicy")));
    errors
}
