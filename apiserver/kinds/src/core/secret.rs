//! Secrets: the data each type must have, and immutability by choice. Their content never enters an error text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::configmap::DATA_BYTES_MAX;
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::{config_key, subdomain_rule};
use crate::tree::{at, bool_at, carry_over, entries_at, map_at, remove, same_at, set, set_default, str_at};
use crate::{Resource, Strategy, Subresource, meta};

/// The annotation that names the account of a token.
const ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Type", "What the secret is for."),
    Column::text("Data", "Number of entries."),
    Column::AGE,
];

/// The strategy of Secrets.
pub(super) struct Secrets;

impl Strategy for Secrets {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "secrets")
    }

    fn default(&self, obj: &mut Value) {
        if str_at(obj, "type").is_empty() {
            set(obj, "type", "Opaque");
        }
        merge_string_data(obj);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        if str_at(new, "type").is_empty() {
            carry_over(new, old, "type");
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        let data = Path::new("data");
        let mut bytes = 0;
        for (key, value) in entries_at(obj, "data") {
            errors.extend(config_key(key).into_iter().map(|text| field::invalid(&data.key(key), key, text)));
            bytes += decoded_len(value);
        }
        if bytes > DATA_BYTES_MAX {
            errors.push(field::too_long(&data, DATA_BYTES_MAX));
        }
        errors.extend(validate_type(obj, &data));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if str_at(new, "type") != str_at(old, "type") {
            // The type prints as a string, but one with JSON's escapes.
            errors.push(field::invalid(&Path::new("type"), at(new, "type"), meta::IMMUTABLE));
        }
        errors.extend(validate_frozen(new, old, &["data"]));
        errors.extend(self.validate(new));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        if str_at(new, "type") != "kubernetes.io/tls" {
            return Vec::new();
        }
        let bytes = |key: &str| decode(entry(new, key).unwrap_or(""));
        super::keypair::check(&bytes("tls.crt"), &bytes("tls.key")).err().into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let entries = map_at(obj, "data").map_or(0, serde_json::Map::len);
        vec![columns::name(obj), json!(str_at(obj, "type")), json!(entries), columns::age(obj, now)]
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn attributes(&self, obj: &Value) -> Vec<(&'static str, String)> {
        vec![("type", str_at(obj, "type").to_owned())]
    }
}

/// What an object that has frozen itself may no longer change.
pub(super) fn validate_frozen(new: &Value, old: &Value, fields: &[&str]) -> Vec<Error> {
    const TEXT: &str = "field is immutable when `immutable` is set";
    if bool_at(old, "immutable") != Some(true) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if bool_at(new, "immutable") != Some(true) {
        errors.push(field::forbidden(&Path::new("immutable"), TEXT));
    }
    let changed = fields.iter().filter(|name| !same_at(new, old, name));
    errors.extend(changed.map(|name| field::forbidden(&Path::new(name), TEXT)));
    errors
}

/// The number of bytes a base64 text stands for.
pub(super) fn decoded_len(text: &str) -> usize {
    let digits = text.trim_end_matches('=').len();
    digits * 3 / 4
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

/// Plain text is a convenience for writers; it is stored as data and never read back.
fn merge_string_data(obj: &mut Value) {
    let Some(Value::Object(texts)) = remove(obj, "stringData") else { return };
    if texts.is_empty() {
        return;
    }
    set_default(obj, "data", json!({}));
    for (key, text) in texts {
        obj["data"][key] = json!(STANDARD.encode(text.as_str().unwrap_or("")));
    }
}

fn entry<'a>(obj: &'a Value, key: &str) -> Option<&'a str> {
    map_at(obj, "data")?.get(key).map(|value| value.as_str().unwrap_or(""))
}

fn validate_type(obj: &Value, data: &Path) -> Vec<Error> {
    let require = |key: &str| entry(obj, key).is_none().then(|| field::required(&data.key(key), ""));
    match str_at(obj, "type") {
        "kubernetes.io/service-account-token" => {
            let annotations = entries_at(obj, "metadata.annotations");
            let is_set =
                annotations.iter().any(|(key, value)| *key == ACCOUNT_ANNOTATION && !value.is_empty());
            let path = Path::new("metadata.annotations").key(ACCOUNT_ANNOTATION);
            if is_set { Vec::new() } else { vec![field::required(&path, "")] }
        }
        "kubernetes.io/dockercfg" => validate_json(obj, ".dockercfg", data),
        "kubernetes.io/dockerconfigjson" => validate_json(obj, ".dockerconfigjson", data),
        "kubernetes.io/basic-auth" => {
            let missing: Vec<Error> = ["username", "password"].into_iter().filter_map(require).collect();
            if missing.len() == 2 { missing } else { Vec::new() }
        }
        "kubernetes.io/ssh-auth" => {
            let key = "ssh-privatekey";
            if entry(obj, key).unwrap_or("").is_empty() {
                vec![field::required(&data.key(key), "")]
            } else {
                Vec::new()
            }
        }
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().filter_map(require).collect(),
        _ => Vec::new(),
    }
}

fn validate_json(obj: &Value, key: &str, data: &Path) -> Vec<Error> {
    let path = data.key(key);
    let Some(text) = entry(obj, key) else { return vec![field::required(&path, "")] };
    match super::gojson::object_error(&decode(text)) {
        Some(error) => vec![field::invalid(&path, "<secret contents redacted>", error)],
        None => Vec::new(),
    }
}
