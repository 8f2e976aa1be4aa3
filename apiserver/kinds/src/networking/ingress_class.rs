//! IngressClasses: which controller serves an Ingress, and with which parameters.

use serde_json::{Value, json};

use super::ingress::validate_reference;
use crate::columns::{self, Column};
use crate::field::{self, Error, Path};
use crate::names::{label_rule, subdomain_rule};
use crate::tree::{at, set_default, str_at};
use crate::{Resource, Strategy, Subresource, domain_path, meta};

/// The annotation of the class that Ingresses without one get.
pub const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

const CONTROLLER_BYTES_MAX: usize = 250;

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Controller", "Who serves this class."),
    Column::text("Parameters", "Where the class is configured."),
    Column::AGE,
];

/// The strategy of IngressClasses.
pub(super) struct IngressClasses;

impl Strategy for IngressClasses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("networking.k8s.io", "v1", "ingressclasses")
    }

    fn default(&self, obj: &mut Value) {
        if at(obj, "spec.parameters").is_some() {
            set_default(obj, "spec.parameters.scope", "Cluster");
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        meta::start_generation(obj);
    }

    fn prepare_update(&self, _sub: Subresource, new: &mut Value, old: &Value) {
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        let (controller, path) = (str_at(obj, "spec.controller"), Path::new("spec.controller"));
        if controller.len() > CONTROLLER_BYTES_MAX {
            errors.push(field::too_long(&path, CONTROLLER_BYTES_MAX));
        }
        errors.extend(domain_path::validate(controller, &path));
        if let Some(parameters) = at(obj, "spec.parameters") {
            errors.extend(validate_parameters(parameters, &Path::new("spec.parameters")));
        }
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        errors.extend(meta::validate_immutable_text(new, old, "spec.controller"));
        errors.extend(self.validate(new));
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let mark = if is_default(obj) { " (default)" } else { "" };
        vec![
            json!(format!("{}{mark}", str_at(obj, "metadata.name"))),
            json!(str_at(obj, "spec.controller")),
            json!(parameters_cell(obj)),
            columns::age(obj, now),
        ]
    }
}

/// Whether Ingresses without a class get this one.
pub fn is_default(obj: &Value) -> bool {
    let annotations = at(obj, "metadata.annotations");
    annotations.and_then(|annotations| annotations.get(DEFAULT_ANNOTATION)).and_then(Value::as_str)
        == Some("true")
}

fn parameters_cell(obj: &Value) -> String {
    let Some(parameters) = at(obj, "spec.parameters") else { return "<none>".to_owned() };
    let group = at(parameters, "apiGroup").and_then(Value::as_str);
    let group = group.map(|group| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", str_at(parameters, "kind"), str_at(parameters, "name"))
}

fn validate_parameters(parameters: &Value, path: &Path) -> Vec<Error> {
    let mut errors = validate_reference(parameters, path);
    let (scope, namespace_path) = (path.child("scope"), path.child("namespace"));
    let namespace = at(parameters, "namespace").and_then(Value::as_str);
    match (at(parameters, "scope").and_then(Value::as_str), namespace) {
        (None, _) => errors.push(field::required(&scope, "")),
        (Some("Namespace"), None) => {
            errors.push(field::required(&namespace_path, "`parameters.scope` is set to 'Namespace'"));
        }
        (Some("Namespace"), Some(name)) => errors.extend(
            label_rule(name, false).into_iter().map(|text| field::invalid(&namespace_path, name, text)),
        ),
        (Some("Cluster"), None) => {}
        (Some("Cluster"), Some(_)) => {
            errors.push(field::forbidden(&namespace_path, "`parameters.scope` is set to 'Cluster'"));
        }
        (Some(other), _) => errors.push(field::not_supported(&scope, other, &["Cluster", "Namespace"])),
    }
    errors
}
