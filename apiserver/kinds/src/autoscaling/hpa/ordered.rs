//! JSON objects whose fields stand in Go's declared order, for annotations that carry Go's JSON.

use serde_json::Value;

use crate::field::go_json;
use crate::tree::{at, list_at, str_at};

/// An object being written.
#[derive(Default)]
pub(super) struct Fields(Vec<String>);

impl Fields {
    /// Adds a field that is already JSON.
    pub(super) fn raw(&mut self, name: &str, json: &str) {
        self.0.push(format!("\"{name}\":{json}"));
    }

    /// Adds a field, or nothing when there is no value.
    pub(super) fn optional(&mut self, name: &str, value: Option<&Value>) {
        if let Some(value) = value {
            self.raw(name, &go_json(value));
        }
    }

    /// Adds a text that is left out when empty.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.raw(name, &go_json(&Value::from(text)));
        }
    }

    /// The object.
    pub(super) fn finish(self) -> String {
        format!("{{{}}}", self.0.join(","))
    }
}

/// A label selector.
pub(super) fn selector(selector: &Value) -> String {
    let mut fields = Fields::default();
    fields.optional("matchLabels", at(selector, "matchLabels"));
    let expressions: Vec<String> = list_at(selector, "matchExpressions").iter().map(expression).collect();
    if !expressions.is_empty() {
        fields.raw("matchExpressions", &format!("[{}]", expressions.join(",")));
    }
    fields.finish()
}

fn expression(expression: &Value) -> String {
    let mut fields = Fields::default();
    for name in ["key", "operator"] {
        fields.raw(name, &go_json(&Value::from(str_at(expression, name))));
    }
    fields.optional("values", at(expression, "values"));
    fields.finish()
}

/// A reference to an object of any version.
pub(super) fn reference(reference: &Value) -> String {
    let mut fields = Fields::default();
    for name in ["kind", "name"] {
        fields.raw(name, &go_json(&Value::from(str_at(reference, name))));
    }
    fields.text("apiVersion", str_at(reference, "apiVersion"));
    fields.finish()
}
