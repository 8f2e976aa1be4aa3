//! Evictions, a subresource of pods: whether the request is sound, not whether a budget grants it.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::tree::{bool_at, str_at, strings_at};

/// Kind and group by which an Invalid answer calls an eviction.
pub const ERROR_KIND: (&str, &str) = ("Eviction", "policy");

/// Why the request is not even looked at; `name` is the pod in the URL.
pub fn bad_request(eviction: &Value, name: &str) -> Option<String> {
    (str_at(eviction, "metadata.name") != name)
        .then(|| "name in URL does not match name in Eviction object".to_owned())
}

/// Everything wrong with the options inside the eviction.
pub fn validate(eviction: &Value) -> Vec<Error> {
    let name = "ignoreStoreReadErrorWithClusterBreakingPotential";
    if bool_at(eviction, &format!("deleteOptions.{name}")) != Some(true) {
        return Vec::new();
    }
    let text = "can not be set for pod eviction, try after removing the option";
    vec![field::invalid(&Path::new("deleteOptions").child(name), true, text)]
}

/// Whether this is a rehearsal: said by the request, by the options inside, or by both alike.
pub fn dry_run(eviction: &Value, request: &[&str]) -> Result<bool, String> {
    let inside = strings_at(eviction, "deleteOptions.dryRun");
    if !inside.is_empty() && !request.is_empty() && inside != request {
        let (request, inside) = (request.join(" "), inside.join(" "));
        return Err(format!(
            "Non-matching dry-run options in request and content: [{request}] and [{inside}]"
        ));
    }
    Ok(!inside.is_empty() || !request.is_empty())
}
