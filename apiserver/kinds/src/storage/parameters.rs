//! Names of drivers and the parameters given to them, as several kinds have them.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::names::{dns_subdomain, qualified_name};
use crate::tree::entries_at;

/// Entries a map of parameters may have.
const ENTRIES_MAX: usize = 512;

/// Bytes that all keys and values of a map of parameters may have together.
const BYTES_MAX: usize = 256 * 1024;

/// Bytes of a CSI driver's name.
const DRIVER_BYTES_MAX: usize = 63;

/// Whether a map of parameters may have no entry at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptiness {
    Allowed,
    Refused,
}

/// Everything wrong with the name of a provisioner, which may be a driver of any kind.
pub(super) fn provisioner(name: &str, path: &Path) -> Vec<Error> {
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let lower = name.to_lowercase();
    qualified_name(&lower).into_iter().map(|text| field::invalid(path, lower.as_str(), text)).collect()
}

/// Everything wrong with the parameters of a class.
pub(super) fn validate(class: &Value, emptiness: Emptiness) -> Vec<Error> {
    let path = Path::new("parameters");
    let entries = entries_at(class, "parameters");
    if entries.len() > ENTRIES_MAX {
        return vec![field::too_long(&path, ENTRIES_MAX)];
    }
    let mut errors: Vec<Error> = entries
        .iter()
        .filter(|(key, _)| key.is_empty())
        .map(|(key, _)| field::invalid(&path, *key, "field can not be empty."))
        .collect();
    if entries.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > BYTES_MAX {
        errors.push(field::too_long(&path, BYTES_MAX));
    }
    if entries.is_empty() && emptiness == Emptiness::Refused {
        errors.push(field::required(&path, "must contain at least one key/value pair"));
    }
    errors
}

/// Everything wrong with the name of a CSI driver, wherever it is named.
pub(crate) fn driver_name(name: &str, path: &Path) -> Vec<Error> {
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut errors = Vec::new();
    if name.len() > DRIVER_BYTES_MAX {
        errors.push(field::too_long(path, DRIVER_BYTES_MAX));
    }
    let texts = dns_subdomain(&name.to_lowercase());
    errors.extend(texts.into_iter().map(|text| field::invalid(path, name, text)));
    errors
}
