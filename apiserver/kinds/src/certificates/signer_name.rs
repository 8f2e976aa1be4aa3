//! Names of signers: a domain, and what its owner calls the signer.

use crate::field::{self, Error, Path};
use crate::names::{dns_label, dns_subdomain};

const DOMAIN_BYTES_MAX: usize = 253;
/// A domain, a slash, and a label with a subdomain.
const BYTES_MAX: usize = DOMAIN_BYTES_MAX + 1 + 253 + 63 + 1;

/// Everything wrong with the name of a signer.
pub(super) fn validate(name: &str, at: &Path) -> Vec<Error> {
    if name.is_empty() {
        return vec![field::required(at, "")];
    }
    let segments: Vec<&str> = name.split('/').collect();
    let [domain, path] = segments[..] else {
        let text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![field::invalid(at, name, text)];
    };
    let mut errors = Vec::new();
    if domain.len() > DOMAIN_BYTES_MAX {
        errors.push(field::too_long(at, DOMAIN_BYTES_MAX));
    }
    errors.extend(first_bad_label(domain, dns_label, at));
    if !domain.contains('.') {
        let text = "should be a domain with at least two segments separated by dots";
        errors.push(field::invalid(at, domain, text));
    }
    errors.extend(first_bad_label(path, dns_subdomain, at));
    if name.len() > BYTES_MAX {
        errors.push(field::too_long(at, BYTES_MAX));
    }
    errors
}

fn first_bad_label(segment: &str, rule: fn(&str) -> Vec<String>, at: &Path) -> Vec<Error> {
    let bad = segment.split('.').map(|label| (label, rule(label))).find(|(_, texts)| !texts.is_empty());
    let Some((label, texts)) = bad else { return Vec::new() };
    let label = field::quote(label);
    let errors = texts.into_iter();
    errors.map(|text| field::invalid(at, segment, format!("validating label {label}: {text}"))).collect()
}
