//! ConfigMaps: keys that fit file names, a bound on size, and immutability by choice.

use serde_json::{Value, json};

use super::secret::{decoded_len, validate_frozen};
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::{config_key, subdomain_rule};
use crate::tree::{entries_at, map_at};
use crate::{Resource, Strategy, Subresource, meta};

/// Bytes all values of a ConfigMap or Secret may have together.
pub(super) const DATA_BYTES_MAX: usize = 1024 * 1024;

const COLUMNS: &[Column] = &[Column::NAME, Column::text("Data", "Number of entries."), Column::AGE];

/// The strategy of ConfigMaps.
pub(super) struct ConfigMaps;

impl Strategy for ConfigMaps {
    fn resource(&self) -> &'static Resource {
        crate::resource!("", "v1", "configmaps")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, true, subdomain_rule);
        let binary = map_at(obj, "binaryData");
        let mut bytes = 0;
        for (key, value) in entries_at(obj, "data") {
            let path = Path::new("data").key(key);
            errors.extend(config_key(key).into_iter().map(|text| field::invalid(&path, key, text)));
            if binary.is_some_and(|binary| binary.contains_key(key)) {
                errors.push(field::invalid(&path, key, "duplicate of key present in binaryData"));
            }
            bytes += value.len();
        }
        for (key, value) in entries_at(obj, "binaryData") {
            let path = Path::new("binaryData").key(key);
            errors.extend(config_key(key).into_iter().map(|text| field::invalid(&path, key, text)));
            bytes += decoded_len(value);
        }
        if bytes > DATA_BYTES_MAX {
            // The whole object is too long, which has no path: upstream prints an empty name so.
            errors.push(field::too_long(&Path::new("[]"), DATA_BYTES_MAX));
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(validate_frozen(new, old, &["data", "binaryData"]));
        errors.extend(self.validate(new));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let entries =
            ["data", "binaryData"].iter().map(|name| map_at(obj, name).map_or(0, serde_json::Map::len));
        vec![columns::name(obj), json!(entries.sum::<usize>()), columns::age(obj, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// client-go's users read the path in front of the words.
    #[test]
    fn what_is_too_large_has_an_empty_path() {
        let large = json!({"metadata": {"name": "a", "namespace": "b"}, "data": {"k": "x".repeat(DATA_BYTES_MAX + 1)}});
        let errors: Vec<String> = ConfigMaps.validate(&large).iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["[]: Too long: may not be more than 1048576 bytes"]);
    }
}
