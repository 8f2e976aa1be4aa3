//! Bindings, a subresource of pods: where a pod is to run.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::tree::str_at;

/// Why the request is not even looked at; `name` is the pod in the URL.
pub fn bad_request(binding: &Value, name: &str) -> Option<String> {
    (str_at(binding, "metadata.name") != name)
        .then(|| "name in URL does not match name in Binding object".to_owned())
}

/// Everything wrong with the target. Upstream answers these errors with a bare 500 whose message is their summary.
pub fn validate(binding: &Value) -> Vec<Error> {
    let path = Path::new("target");
    let kind = str_at(binding, "target.kind");
    let mut errors = Vec::new();
    if !kind.is_empty() && kind != "Node" {
        errors.push(field::not_supported(&path.child("kind"), kind, &["Node", "<empty>"]));
    }
    if str_at(binding, "target.name").is_empty() {
        errors.push(field::required(&path.child("name"), ""));
    }
    errors
}
