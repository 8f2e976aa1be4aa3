//! Names around devices: drivers, pools, attributes.

use crate::field::{self, Error, Path};
use crate::names::{dns_label, dns_subdomain, pattern};

const DRIVER_BYTES_MAX: usize = 63;
const POOL_BYTES_MAX: usize = 253;
const IDENTIFIER_BYTES_MAX: usize = 32;
const IDENTIFIER: &str = "[A-Za-z_][A-Za-z0-9_]*";
const IDENTIFIER_TEXT: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";

fn each(value: &str, path: &Path, texts: Vec<String>) -> Vec<Error> {
    texts.into_iter().map(|text| field::invalid(path, value, text)).collect()
}

/// A label: names of devices, requests and counters.
pub(super) fn label(value: &str, path: &Path) -> Vec<Error> {
    each(value, path, dns_label(value))
}

/// A subdomain.
pub(super) fn subdomain(value: &str, path: &Path) -> Vec<Error> {
    each(value, path, dns_subdomain(value))
}

/// The name of a driver: a short subdomain in any case.
pub(super) fn driver(name: &str, path: &Path) -> Vec<Error> {
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut errors = Vec::new();
    if name.len() > DRIVER_BYTES_MAX {
        errors.push(field::too_long(path, DRIVER_BYTES_MAX));
    }
    errors.extend(each(name, path, dns_subdomain(&name.to_lowercase())));
    errors
}

/// The name of a pool: subdomains between slashes.
pub(super) fn pool(name: &str, path: &Path) -> Vec<Error> {
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let mut errors = Vec::new();
    if name.len() > POOL_BYTES_MAX {
        errors.push(field::too_long(path, POOL_BYTES_MAX));
    }
    errors.extend(name.split('/').flat_map(|part| subdomain(part, path)));
    errors
}

/// The name of an attribute or a capacity: an identifier, with the domain of whoever defines it or without. More than two
/// parts pass, as upstream lets them.
pub(super) fn qualified(name: &str, path: &Path) -> Vec<Error> {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, path),
        [domain, id] => {
            let mut errors = if domain.is_empty() {
                vec![field::invalid(path, "", "the domain must not be empty")]
            } else {
                driver(domain, path)
            };
            errors.extend(if id.is_empty() {
                vec![field::invalid(path, "", "the name must not be empty")]
            } else {
                identifier(id, path)
            });
            errors
        }
        _ => Vec::new(),
    }
}

/// The same with a domain in any case.
pub(super) fn fully_qualified(name: &str, path: &Path) -> Vec<Error> {
    let mut errors = qualified(name, path);
    if !name.contains('/') {
        let text = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(field::invalid(path, name, text));
    }
    errors
}

fn identifier(id: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if id.len() > IDENTIFIER_BYTES_MAX {
        errors.push(field::too_long(path, IDENTIFIER_BYTES_MAX));
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if id.is_empty() || !id.bytes().all(is_word) || id.starts_with(|first: char| first.is_ascii_digit()) {
        let text = pattern(IDENTIFIER_TEXT, IDENTIFIER, &["my_name", "MY_NAME", "MyName"]);
        errors.push(field::invalid(path, id, text));
    }
    errors
}

/// The id of a share: a uuid as Kubernetes writes them.
pub(super) fn share_id(id: &str, path: &Path) -> Vec<Error> {
    let dashes = [8, 13, 18, 23];
    let is_hex = id
        .bytes()
        .enumerate()
        .all(|(at, byte)| if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
    if id.len() != 36 {
        let text = format!("error validating uid: invalid UUID length: {}", id.len());
        return vec![field::invalid(path, id, text)];
    }
    if !is_hex {
        return vec![field::invalid(path, id, "error validating uid: invalid UUID format")];
    }
    if id != id.to_lowercase() {
        let text = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
        return vec![field::invalid(path, id, text)];
    }
    Vec::new()
}
