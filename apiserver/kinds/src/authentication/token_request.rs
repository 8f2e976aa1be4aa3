//! Requests for a service account's token, a subresource of the account. Issuing the token is not done here.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::tree::{at, int_at, set, str_at};

/// Seconds a token lives when nothing is said.
const SECONDS_DEFAULT: i64 = 3600;

/// Seconds a token lives at least, so that its holder has time to renew it.
const SECONDS_MIN: i64 = 600;

/// Seconds a token lives at most.
const SECONDS_MAX: i64 = 1 << 32;

/// Kind and group by which an Invalid answer calls a token request.
pub const ERROR_KIND: (&str, &str) = ("TokenRequest", "authentication.k8s.io");

/// Fills in how long the token lives.
pub fn default(request: &mut Value) {
    if at(request, "spec.expirationSeconds").is_none() {
        set(request, "spec.expirationSeconds", SECONDS_DEFAULT);
    }
}

/// Whether the request names another account than its URL. Such an answer carries the account's name.
pub fn validate_names(request: &Value, namespace: &str, name: &str) -> Option<Error> {
    let path = Path::new("metadata");
    let (own_name, own_namespace) = (str_at(request, "metadata.name"), str_at(request, "metadata.namespace"));
    if !own_name.is_empty() && own_name != name {
        let text = "must match the service account name if specified";
        return Some(field::invalid(&path.child("name"), own_name, text));
    }
    if !own_namespace.is_empty() && own_namespace != namespace {
        let text = "must match the service account namespace if specified";
        return Some(field::invalid(&path.child("namespace"), own_namespace, text));
    }
    None
}

/// Everything wrong with the rest of the request. Such an answer carries no name.
pub fn validate(request: &Value) -> Vec<Error> {
    let path = Path::new("spec.expirationSeconds");
    let seconds = int_at(request, "spec.expirationSeconds").unwrap_or(0);
    let text = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Vec::new(),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    vec![field::invalid(&path, seconds, text)]
}
