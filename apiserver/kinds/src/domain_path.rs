//! Names of the form `acme.io/foo`: a domain, and a path its owner chooses.

use crate::field::{self, Error, Path};
use crate::names::{dns_subdomain, pattern};

const PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// Everything wrong with a domain-prefixed path.
pub(crate) fn validate(value: &str, at: &Path) -> Vec<Error> {
    if value.is_empty() {
        return vec![field::required(at, "")];
    }
    let (domain, path) = match value.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => (domain, path),
        _ => {
            let text = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            return vec![field::invalid(at, value, text)];
        }
    };
    let mut errors: Vec<Error> =
        dns_subdomain(domain).into_iter().map(|text| field::invalid(at, domain, text)).collect();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(allowed) {
        errors.push(field::invalid(at, path, pattern("Invalid path", PATH, &[])));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_and_a_path() {
        let details = |value: &str| {
            let errors = validate(value, &Path::new("x"));
            errors.into_iter().map(|error| error.to_string()).collect::<Vec<_>>()
        };
        assert!(details("acme.io/foo/bar").is_empty());
        assert_eq!(details(""), ["x: Required value"]);
        assert_eq!(
            details("foo"),
            [r#"x: Invalid value: "foo": must be a domain-prefixed path (such as "acme.io/foo")"#]
        );
        assert_eq!(
            details("a/b c"),
            [
                r#"x: Invalid value: "b c": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"#
            ]
        );
    }
}
