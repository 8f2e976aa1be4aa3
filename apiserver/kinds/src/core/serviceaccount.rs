//! Service accounts. Of the secrets they name, only the name is kept.

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::field::Error;
use crate::names::subdomain_rule;
use crate::tree::{at, list_at_mut, map_at, str_at};
use crate::{Resource, Strategy, Subresource, meta};

const MOUNTABLE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

const COLUMNS: &[Column] = &[Column::NAME, Column::AGE];

/// The strategy of service accounts.
pub(super) struct ServiceAccounts;

impl Strategy for ServiceAccounts {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "serviceaccounts")
    }

    fn prepare_create(&self, obj: &mut Value) {
        keep_secret_names(obj);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, _old: &Value) {
        keep_secret_names(new);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        meta::validate(obj, true, subdomain_rule)
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(self.validate(new));
        errors
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let has = |obj: &Value| {
            map_at(obj, "metadata.annotations").is_some_and(|map| map.contains_key(MOUNTABLE_SECRETS))
        };
        if !has(new) || old.is_some_and(has) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{MOUNTABLE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), columns::age(obj, now)]
    }

    fn returns_deleted_object(&self) -> bool {
        true
    }
}

fn keep_secret_names(obj: &mut Value) {
    if at(obj, "secrets").is_none() {
        return;
    }
    for secret in list_at_mut(obj, "secrets") {
        let name = str_at(secret, "name");
        *secret = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    }
}
