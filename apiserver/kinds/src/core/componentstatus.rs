//! ComponentStatuses: whether the parts of the control plane are well. Nobody stores them; the API server looks when asked.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::Error;
use crate::tree::{list_at, str_at};
use crate::{Resource, Strategy, Subresource};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status", "Whether the component is healthy."),
    Column::text("Message", "What the component said."),
    Column::text("Error", "What went wrong when it was asked."),
];

/// The strategy of ComponentStatuses.
pub(super) struct ComponentStatuses;

impl Strategy for ComponentStatuses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "componentstatuses")
    }

    fn validate(&self, _obj: &Value) -> Vec<Error> {
        Vec::new()
    }

    fn validate_update(&self, _sub: Subresource, _new: &Value, _old: &Value) -> Vec<Error> {
        Vec::new()
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        let healthy =
            list_at(obj, "conditions").iter().find(|condition| str_at(condition, "type") == "Healthy");
        let Some(condition) = healthy else {
            return vec![columns::name(obj), json!("Unknown"), json!(""), json!("")];
        };
        let status = if str_at(condition, "status") == "True" { "Healthy" } else { "Unhealthy" };
        vec![
            columns::name(obj),
            json!(status),
            json!(str_at(condition, "message")),
            json!(str_at(condition, "error")),
        ]
    }
}
