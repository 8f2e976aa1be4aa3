//! What a failed request means to a controller.

use kube::Error;
use kube::core::Status;

fn status(error: &Error) -> Option<&Status> {
    match error {
        Error::Api(status) => Some(status),
        _ => None,
    }
}

fn has_reason(error: &Error, reason: &str) -> bool {
    status(error).is_some_and(|status| status.reason == reason)
}

/// The object, or its collection, is not there.
pub fn is_not_found(error: &Error) -> bool {
    status(error).is_some_and(|status| status.code == 404)
}

/// A precondition or the resource version did not hold.
pub fn is_conflict(error: &Error) -> bool {
    has_reason(error, "Conflict")
}

/// The name is taken.
pub fn is_already_exists(error: &Error) -> bool {
    has_reason(error, "AlreadyExists")
}

/// The server does not serve this verb here.
pub fn is_method_not_allowed(error: &Error) -> bool {
    status(error).is_some_and(|status| status.code == 405)
}

/// The patch type is not served for this kind.
pub fn is_unsupported_media_type(error: &Error) -> bool {
    status(error).is_some_and(|status| status.code == 415)
}

/// The object was refused by validation.
pub fn is_invalid(error: &Error) -> bool {
    has_reason(error, "Invalid")
}

/// The position asked for is no longer in the server's history.
pub fn is_expired(error: &Error) -> bool {
    status(error).is_some_and(|status| status.code == 410)
}

/// A create was refused because its namespace is being deleted.
pub fn is_namespace_terminating(error: &Error) -> bool {
    status(error)
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}

/// A write came too late to matter: somebody else made the object, or it goes, or its namespace does.
pub fn is_overtaken(error: &Error) -> bool {
    is_already_exists(error) || is_not_found(error) || is_namespace_terminating(error)
}

/// The server's own words, or what kept us from getting any.
pub fn message(error: &Error) -> String {
    match status(error) {
        Some(status) => status.message.clone(),
        None => error.to_string(),
    }
}
