//! RuntimeClasses: with which runtime a pod's containers run, what that costs, and where it can be done.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::core::pod::defaults::round_quantities;
use crate::core::pod::internal;
use crate::core::pod::validate::{Options, resources, scheduling};
use crate::core::pod::warnings::old_node_label;
use crate::field::{self, Error, Path};
use crate::meta::{self, validate_immutable, validate_labels};
use crate::names::{label_rule, subdomain_rule};
use crate::tree::{at, at_mut, entries_at, list_at, str_at};
use crate::{Resource, Strategy, Subresource};

const COLUMNS: &[Column] =
    &[Column::NAME, Column::text("Handler", "The runtime's name on the nodes."), Column::AGE];

/// The strategy of RuntimeClasses.
pub(super) struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("node.k8s.io", "v1", "runtimeclasses")
    }

    fn default(&self, obj: &mut Value) {
        if let Some(overhead) = at_mut(obj, "overhead.podFixed") {
            round_quantities(overhead);
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        let (handler, path) = (str_at(obj, "handler"), Path::new("handler"));
        if handler.is_empty() {
            errors.push(field::required(&path, ""));
        } else {
            errors.extend(
                label_rule(handler, false).into_iter().map(|text| field::invalid(&path, handler, text)),
            );
        }
        if let Some(overhead) = at(obj, "overhead") {
            let limits = at(overhead, "podFixed").cloned().unwrap_or_default();
            errors.extend(resources::limits(&limits, &Options::default(), &Path::new("overhead")));
        }
        if let Some(scheduling) = at(obj, "scheduling") {
            errors.extend(scheduling_errors(scheduling, &Path::new("scheduling")));
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(meta::validate_update(new, old));
        errors.extend(validate_immutable(new, old, "handler"));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let texts = entries_at(new, "scheduling.nodeSelector").into_iter();
        texts
            .filter_map(|(key, _)| old_node_label(key))
            .map(|text| format!("scheduling.nodeSelector: {text}"))
            .collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(str_at(obj, "handler")), columns::age(obj, now)]
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn scheduling_errors(scheduling: &Value, path: &Path) -> Vec<Error> {
    let mut errors = validate_labels(scheduling, "nodeSelector", &path.child("nodeSelector"));
    let tolerations = list_at(scheduling, "tolerations");
    let path = path.child("tolerations");
    errors.extend(scheduling::tolerations(tolerations, &Options::default(), &path));
    let mut seen = BTreeSet::new();
    for (index, toleration) in tolerations.iter().enumerate() {
        let key = ["key", "operator", "value", "effect"].map(|name| str_at(toleration, name));
        if !seen.insert(key) {
            let value = internal::bad_value("Toleration", Some(toleration));
            errors.push(field::duplicate(&path.index(index), value));
        }
    }
    errors
}
