//! Volumes that project several sources into one directory.

use std::collections::BTreeSet;

use serde_json::Value;

use super::mounts::unreserved_path;
use super::options::Options;
use super::volume_sources::{downward_item, file_mode, key_to_path};
use super::{Path, invalid_each};
use crate::core::pod::internal;
use crate::field::{self, Error};
use crate::names::dns_subdomain;
use crate::selector::{Leniency, validate_label_selector};
use crate::tree::{at, int_at, list_at, str_at};

/// Seconds a token must at least live.
const TOKEN_SECONDS_MIN: i64 = 10 * 60;

/// Seconds a token may at most live.
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// Everything wrong with a projected volume.
pub(super) fn validate(source: &Value, path: &Path, options: &Options) -> Vec<Error> {
    let mut errors: Vec<Error> = file_mode(source, "defaultMode", path).into_iter().collect();
    let mut files = Files { path, taken: BTreeSet::new() };
    for (index, source) in list_at(source, "sources").iter().enumerate() {
        let path = path.child("sources").index(index);
        errors.extend(projection(source, &path, &mut files, options));
        if source.as_object().is_some_and(|sources| sources.len() > 1) {
            errors.push(field::forbidden(&path, "may not specify more than 1 volume type per source"));
        }
    }
    errors
}

/// The files of one volume, which no two sources may share.
struct Files<'a> {
    path: &'a Path,
    taken: BTreeSet<&'a str>,
}

impl<'a> Files<'a> {
    /// Takes a file; `owner` is what upstream prints when it is taken already.
    fn take(&mut self, file: &'a str, owner: &str) -> Option<Error> {
        (!self.taken.insert(file)).then(|| field::invalid(self.path, owner, "conflicting duplicate paths"))
    }
}

fn projection<'a>(source: &'a Value, path: &Path, files: &mut Files<'a>, options: &Options) -> Vec<Error> {
    let mut errors = Vec::new();
    for name in ["secret", "configMap"] {
        if let Some(keyed) = at(source, name) {
            errors.extend(self::keyed(keyed, &path.child(name), files));
        }
    }
    for item in list_at(source, "downwardAPI.items") {
        errors.extend(downward_item(item, &path.child("downwardAPI")));
        let file = str_at(item, "path");
        if !file.is_empty() {
            errors.extend(files.take(file, file));
        }
    }
    if let Some(token) = at(source, "serviceAccountToken") {
        errors.extend(self::token(token, &path.child("serviceAccountToken"), files.path, options));
    }
    if let Some(bundle) = at(source, "clusterTrustBundle") {
        errors.extend(trust_bundle(bundle, &path.child("clusterTrustBundle"), files));
    }
    if let Some(certificate) = at(source, "podCertificate") {
        errors.extend(pod_certificate(certificate, &path.child("podCertificate"), files));
    }
    errors
}

fn keyed<'a>(source: &'a Value, path: &Path, files: &mut Files<'a>) -> Vec<Error> {
    let name = str_at(source, "name");
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(field::required(&path.child("name"), ""));
    }
    for (index, item) in list_at(source, "items").iter().enumerate() {
        errors.extend(key_to_path(item, &path.child("items").index(index)));
        let file = str_at(item, "path");
        if !file.is_empty() {
            errors.extend(files.take(file, name));
        }
    }
    errors
}

fn token(token: &Value, path: &Path, volume_path: &Path, options: &Options) -> Vec<Error> {
    let seconds = int_at(token, "expirationSeconds").unwrap_or(0);
    let seconds_path = path.child("expirationSeconds");
    let mut errors = Vec::new();
    if seconds < TOKEN_SECONDS_MIN {
        errors.push(field::invalid(
            &seconds_path,
            seconds,
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds > TOKEN_SECONDS_MAX {
        errors.push(field::invalid(
            &seconds_path,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    match str_at(token, "path") {
        "" => errors.push(field::required(&volume_path.child("path"), "")),
        _ if options.any_token_path => {}
        file => errors.extend(unreserved_path(file, &volume_path.child("path"))),
    }
    errors
}

fn trust_bundle<'a>(bundle: &'a Value, path: &Path, files: &mut Files<'a>) -> Vec<Error> {
    let text_of = |name: &str| at(bundle, name).and_then(Value::as_str);
    let mut errors = Vec::new();
    match (text_of("name"), text_of("signerName")) {
        (Some(_), Some(_)) => {
            let value = internal::bad_value("*ClusterTrustBundleProjection", Some(bundle));
            errors.push(field::invalid(path, value, "only one of name and signerName may be used"));
        }
        (Some(name), None) => errors.extend(bundle_name(bundle, name, path)),
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.push(field::required(&path.child("signerName"), "must be a valid signer name"));
            }
            errors.extend(signer_name(signer, &path.child("signerName")));
            let path = path.child("labelSelector");
            errors.extend(validate_label_selector(bundle, "labelSelector", Leniency::default(), &path));
        }
        (None, None) => errors.push(field::required(path, "either name or signerName must be specified")),
    }
    let file = str_at(bundle, "path");
    if file.is_empty() {
        errors.push(field::required(&path.child("path"), ""));
    }
    errors.extend(unreserved_path(file, &path.child("path")));
    errors.extend(files.take(file, file));
    errors
}

fn bundle_name(bundle: &Value, name: &str, path: &Path) -> Vec<Error> {
    let name_path = path.child("name");
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(field::required(&name_path, "must be a valid object name"));
    }
    // A bundle of a signer is named after it: `example.com:signer:name`.
    let own = name.rsplit_once(':').map_or(name, |(_, own)| own);
    let text = |rule| format!("not a valid clustertrustbundlename: {rule}");
    errors.extend(dns_subdomain(own).into_iter().map(|rule| field::invalid(&name_path, name, text(rule))));
    if let Some(selector) = at(bundle, "labelSelector") {
        let text = "labelSelector must be unset if name is specified";
        errors.push(field::invalid(&path.child("labelSelector"), selector, text));
    }
    errors
}

/// A signer is `domain/path`, both halves dotted.
fn signer_name(name: &str, path: &Path) -> Vec<Error> {
    match name.split_once('/') {
        None => vec![field::invalid(
            path,
            name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        )],
        Some((domain, rest)) => {
            let mut errors = invalid_each(path, name, dns_subdomain(domain));
            errors.extend(invalid_each(path, name, dns_subdomain(rest)));
            errors
        }
    }
}

fn pod_certificate<'a>(certificate: &'a Value, path: &Path, files: &mut Files<'a>) -> Vec<Error> {
    const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
    let mut errors = signer_name(str_at(certificate, "signerName"), &path.child("signerName"));
    let key_type = str_at(certificate, "keyType");
    if !KEY_TYPES.contains(&key_type) {
        errors.push(field::not_supported(&path.child("keyType"), key_type, &KEY_TYPES));
    }
    if let Some(seconds) = int_at(certificate, "maxExpirationSeconds") {
        let max =
            if str_at(certificate, "signerName").starts_with("kubernetes.io/") { 86_400 } else { 7_862_400 };
        let path = path.child("maxExpirationSeconds");
        if seconds < 3600 {
            let text = "if provided, maxExpirationSeconds must be >= 3600";
            errors.push(field::invalid(&path, seconds, text));
        }
        if seconds > max {
            let text = format!("if provided, maxExpirationSeconds must be <= {max}");
            errors.push(field::invalid(&path, seconds, text));
        }
    }
    let mut any = false;
    for name in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let file = str_at(certificate, name);
        if !file.is_empty() {
            any = true;
            errors.extend(unreserved_path(file, &path.child(name)));
            errors.extend(files.take(file, file));
        }
    }
    if !any {
        let text = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(field::required(path, text));
    }
    errors
}
