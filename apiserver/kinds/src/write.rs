//! The order in which a strategy's parts run around a write, and the metadata the server keeps to itself.
//!
//! Callers set uid, creationTimestamp and a generated name before, and check resourceVersion, namespace and URL themselves.

use serde_json::Value;

use crate::field::Error;
use crate::names::path_segment_rule;
use crate::tree::{at, carry_over, remove, set, str_at};
use crate::{Strategy, Subresource, meta};

/// Gives the object the namespace of its URL (`""` for none), or tells why a request with another one is bad.
pub fn match_namespace(obj: &mut Value, requested: &str) -> Result<(), String> {
    let own = str_at(obj, "metadata.namespace");
    match (own, requested) {
        (own, requested) if own == requested => {}
        (_, "") => drop(remove(obj, "metadata.namespace")),
        ("", requested) => set(obj, "metadata.namespace", requested),
        _ => {
            let text =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(text.to_owned());
        }
    }
    Ok(())
}

/// Makes a decoded object ready to be validated as a new one.
pub fn prepare_create(strategy: &dyn Strategy, obj: &mut Value) {
    for name in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        remove(obj, &format!("metadata.{name}"));
    }
    strategy.prepare_create(obj);
}

/// Everything wrong with a new object. The kind's own words come first; the rules every name obeys are only asked when it
/// has none.
pub fn validate_create(strategy: &dyn Strategy, obj: &Value) -> Vec<Error> {
    let errors = strategy.validate(obj);
    if !errors.is_empty() || !strategy.resource().is_stored() {
        return errors;
    }
    meta::validate_plain(obj, strategy.resource().namespaced, path_segment_rule)
}

/// Makes a decoded object ready to be validated as the successor of `old`: the server's metadata comes from `old`.
///
/// `new` keeps a resourceVersion or uid it brought along; an absent one is taken from `old`.
pub fn prepare_update(strategy: &dyn Strategy, sub: Subresource, new: &mut Value, old: &Value) {
    carry_over(new, old, "metadata.generation");
    strategy.prepare_update(sub, new, old);

    for name in ["uid", "resourceVersion"] {
        let path = format!("metadata.{name}");
        if str_at(new, &path).is_empty() {
            carry_over(new, old, &path);
        }
    }
    remove(new, "metadata.selfLink");
    for name in ["creationTimestamp", "deletionTimestamp"] {
        let path = format!("metadata.{name}");
        if let Some(value) = at(old, &path) {
            set(new, &path, value.clone());
        }
    }
    if at(new, "metadata.deletionGracePeriodSeconds").is_none() {
        carry_over(new, old, "metadata.deletionGracePeriodSeconds");
    }
}

/// Everything wrong with replacing `old` by `new`. The rules common to all kinds are told again by the kind's own, as
/// upstream does; [`crate::field::summary`] drops the repeats from the message, while the causes keep them.
pub fn validate_update(strategy: &dyn Strategy, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
    let mut errors = meta::validate_plain(new, strategy.resource().namespaced, path_segment_rule);
    errors.extend(meta::validate_update(new, old));
    errors.extend(strategy.validate_update(sub, new, old));
    errors
}
