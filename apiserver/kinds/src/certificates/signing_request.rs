//! CertificateSigningRequests: somebody asks for a certificate, somebody approves, a signer signs.
//!
//! Who asks and when conditions changed, the server adds around this strategy.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{request, signer_name, signers};
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::tree::{at, carry_over, int_at, list_at, list_at_mut, remove, set, str_at, strings_at};
use crate::{Resource, Strategy, Subresource, meta};

const DURATION_SECONDS_MIN: i64 = 600;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::AGE,
    Column::text("SignerName", "Who shall sign."),
    Column::text("Requestor", "Who asks."),
    Column::text("RequestedDuration", "How long the certificate shall be valid."),
    Column::text("Condition", "Whether it is approved, denied, failed or issued."),
];

/// The strategy of CertificateSigningRequests.
pub(super) struct CertificateSigningRequests;

impl Strategy for CertificateSigningRequests {
    fn resource(&self) -> &'static Resource {
        crate::resource!("certificates.k8s.io", "v1", "certificatesigningrequests")
    }

    fn prepare_create(&self, obj: &mut Value) {
        for name in ["username", "uid", "groups", "extra"] {
            remove(obj, &format!("spec.{name}"));
        }
        set(obj, "status", json!({}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        carry_over(new, old, "spec");
        match sub {
            Subresource::Status => {
                keep_conditions(new, old, "Approved");
                keep_conditions(new, old, "Denied");
            }
            Subresource::Approval => {
                let conditions = at(new, "status.conditions").cloned();
                carry_over(new, old, "status");
                match conditions {
                    Some(conditions) => set(new, "status.conditions", conditions),
                    None => drop(remove(new, "status.conditions")),
                }
            }
            _ => carry_over(new, old, "status"),
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        validate_whole(obj, None)
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = validate_whole(new, Some(old));
        errors.extend(validate_changes(sub, new, old));
        errors.extend(meta::validate_update(new, old));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let seconds = int_at(obj, "spec.expirationSeconds");
        let duration = seconds.map(|seconds| columns::human_duration(seconds.saturating_mul(1_000_000_000)));
        vec![
            columns::name(obj),
            columns::age(obj, now),
            json!(columns::or_none(str_at(obj, "spec.signerName"))),
            json!(str_at(obj, "spec.username")),
            json!(duration.unwrap_or_else(|| "<none>".to_owned())),
            json!(condition_cell(obj)),
        ]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", str_at(obj, "spec.signerName").to_owned())]
    }
}

fn conditions(obj: &Value) -> &[Value] {
    list_at(obj, "status.conditions")
}

fn of_type<'a>(obj: &'a Value, name: &str) -> Vec<&'a Value> {
    conditions(obj).iter().filter(|condition| str_at(condition, "type") == name).collect()
}

fn condition_cell(obj: &Value) -> String {
    let has = |name: &str| !of_type(obj, name).is_empty();
    let mut cell = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        cell += ",Failed";
    }
    if !str_at(obj, "status.certificate").is_empty() {
        cell += ",Issued";
    }
    cell
}

/// A signer repeats the decision it has read; only how many there are says that it meant to change one.
fn keep_conditions(new: &mut Value, old: &Value, name: &str) {
    let kept: Vec<Value> = of_type(old, name).into_iter().cloned().collect();
    if kept.len() != of_type(new, name).len() {
        return;
    }
    let places = list_at_mut(new, "status.conditions").iter_mut();
    let places = places.filter(|condition| str_at(condition, "type") == name);
    places.zip(kept).for_each(|(place, kept)| *place = kept);
}

/// What passes because it is stored already.
struct Leniency {
    both_decisions: bool,
    legacy_signer: bool,
    repeated_conditions: bool,
    unnamed_conditions: bool,
    any_certificate: bool,
    repeated_usages: bool,
    unknown_usages: bool,
}

impl Leniency {
    fn of(new: &Value, old: Option<&Value>) -> Leniency {
        let stored = |holds: &dyn Fn(&Value) -> bool| old.is_some_and(holds);
        let certificate = |obj: &Value| str_at(obj, "status.certificate").to_owned();
        Leniency {
            both_decisions: stored(&|old| {
                !of_type(old, "Approved").is_empty() && !of_type(old, "Denied").is_empty()
            }),
            legacy_signer: stored(&|old| str_at(old, "spec.signerName") == signers::LEGACY),
            repeated_conditions: stored(&|old| {
                let mut seen = HashSet::new();
                conditions(old).iter().any(|condition| !seen.insert(str_at(condition, "type")))
            }),
            unnamed_conditions: stored(&|old| {
                conditions(old).iter().any(|condition| str_at(condition, "type").is_empty())
            }),
            any_certificate: stored(&|old| {
                certificate(old) == certificate(new)
                    || request::certificate_problem(&certificate(old)).is_some()
            }),
            repeated_usages: stored(&|old| {
                let mut seen = HashSet::new();
                strings_at(old, "spec.usages").into_iter().any(|usage| !seen.insert(usage))
            }),
            unknown_usages: stored(&|old| {
                strings_at(old, "spec.usages").iter().any(|usage| !USAGES.contains(usage))
            }),
        }
    }
}

fn validate_whole(obj: &Value, old: Option<&Value>) -> Vec<Error> {
    let leniency = Leniency::of(obj, old);
    let path = Path::new("spec");
    let mut errors = meta::validate(obj, false, |_, _| Vec::new());
    if let Err(text) = request::parse(obj) {
        errors.push(field::invalid(&path.child("request"), at(obj, "spec.request"), text));
    }
    errors.extend(validate_usages(obj, &leniency, &path.child("usages")));
    let (signer, signer_path) = (str_at(obj, "spec.signerName"), path.child("signerName"));
    if signer == signers::LEGACY && !leniency.legacy_signer {
        let text = "the legacy signerName is not allowed via this API version";
        errors.push(field::invalid(&signer_path, signer, text));
    } else {
        errors.extend(signer_name::validate(signer, &signer_path));
    }
    let seconds = int_at(obj, "spec.expirationSeconds");
    errors.extend(seconds.filter(|seconds| *seconds < DURATION_SECONDS_MIN).map(|seconds| {
        let text = "may not specify a duration less than 600 seconds (10 minutes)";
        field::invalid(&path.child("expirationSeconds"), seconds, text)
    }));
    errors.extend(validate_conditions(obj, &leniency, &Path::new("status.conditions")));
    if !leniency.any_certificate
        && let Some(text) = request::certificate_problem(str_at(obj, "status.certificate"))
    {
        errors.push(field::invalid(&Path::new("status.certificate"), "<certificate data>", text));
    }
    errors
}

fn validate_usages(obj: &Value, leniency: &Leniency, path: &Path) -> Vec<Error> {
    let usages = strings_at(obj, "spec.usages");
    let mut errors = Vec::new();
    if usages.is_empty() {
        errors.push(field::required(path, ""));
    }
    let each = || usages.iter().enumerate();
    if !leniency.unknown_usages {
        let unknown = each().filter(|(_, usage)| !USAGES.contains(usage));
        errors.extend(unknown.map(|(index, usage)| field::not_supported(&path.index(index), *usage, USAGES)));
    }
    if !leniency.repeated_usages {
        let mut seen = HashSet::new();
        let repeated = each().filter(|(_, usage)| !seen.insert(**usage));
        errors.extend(repeated.map(|(index, usage)| field::duplicate(&path.index(index), *usage)));
    }
    errors
}

fn validate_conditions(obj: &Value, leniency: &Leniency, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for (index, condition) in conditions(obj).iter().enumerate() {
        let (name, type_path) = (str_at(condition, "type"), path.index(index).child("type"));
        if name.is_empty() && !leniency.unnamed_conditions {
            errors.push(field::required(&type_path, ""));
        }
        errors.extend(validate_condition_status(condition, &path.index(index).child("status")));
        let other = match name {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !leniency.both_decisions && !other.is_empty() && seen.contains(other) {
            let text = "Approved and Denied conditions are mutually exclusive";
            errors.push(field::invalid(path, name, text));
        }
        if !seen.insert(name) && !leniency.repeated_conditions {
            errors.push(field::duplicate(&type_path, name));
        }
    }
    errors
}

fn validate_condition_status(condition: &Value, path: &Path) -> Option<Error> {
    let is_decision = matches!(str_at(condition, "type"), "Approved" | "Denied" | "Failed");
    let allowed: &[&str] = if is_decision { &["True"] } else { &["False", "True", "Unknown"] };
    match str_at(condition, "status") {
        "" => Some(field::required(path, "")),
        status if allowed.contains(&status) => None,
        status => Some(field::not_supported(path, status, allowed)),
    }
}

/// Decisions are made once, through the approval; a certificate is given once, through the status.
fn validate_changes(sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
    let path = Path::new("status.conditions");
    let count = |obj: &Value, name: &str| of_type(obj, name).len();
    let mut errors = Vec::new();
    for name in ["Approved", "Denied", "Failed"] {
        if count(new, name) < count(old, name) {
            let text = format!("updates may not remove a condition of type \"{name}\"");
            errors.push(field::forbidden(&path, text));
        }
    }
    if sub != Subresource::Approval {
        for name in ["Approved", "Denied"] {
            if count(new, name) > count(old, name) {
                let text = format!("updates may not add a condition of type \"{name}\"");
                errors.push(field::forbidden(&path, text));
            }
        }
    }
    let (after, before) = (str_at(new, "status.certificate"), str_at(old, "status.certificate"));
    if after != before {
        let path = Path::new("status.certificate");
        if sub != Subresource::Status {
            errors.push(field::forbidden(&path, "updates may not set certificate content"));
        } else if !before.is_empty() {
            let text = "updates may not modify existing certificate content";
            errors.push(field::forbidden(&path, text));
        }
    }
    errors
}
