//! IPAddresses: who holds an address of the cluster's service ranges. The name is the address.

use serde_json::{Value, json};

use super::ingress::validate_segment;
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::meta::IMMUTABLE;
use crate::names::{dns_subdomain, path_segment_rule};
use crate::network::validate_ip;
use crate::tree::{at, same_at, str_at};
use crate::{Resource, Strategy, Subresource, meta};

/// Upstream declares one column less than it has cells.
const COLUMNS: &[Column] = &[Column::NAME, Column::text("ParentRef", "Who holds the address.")];

/// The strategy of IPAddresses.
pub(super) struct IpAddresses;

impl Strategy for IpAddresses {
    fn resource(&self) -> &'static Resource {
        crate::resource!("networking.k8s.io", "v1", "ipaddresses")
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, address_rule);
        errors.extend(validate_parent(obj));
        errors
    }

    fn validate_update(&self, _sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate(new);
        errors.extend(meta::validate_update(new, old));
        if !same_at(new, old, "spec.parentRef") {
            let value = internal::bad_value("*ParentReference", at(new, "spec.parentRef"));
            errors.push(field::invalid(&Path::new("spec.parentRef"), value, IMMUTABLE));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![columns::name(obj), json!(parent_cell(obj)), columns::age(obj, now)]
    }
}

/// A canonical address; no prefix makes one.
fn address_rule(name: &str, _prefix: bool) -> Vec<String> {
    validate_ip(&Path::root(), name).into_iter().map(|error| error.detail).collect()
}

fn validate_parent(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec.parentRef");
    let Some(parent) = at(obj, "spec.parentRef") else { return vec![field::required(&path, "")] };
    let optional = |name: &str, rule: &dyn Fn(&str) -> Vec<String>| {
        let (value, path) = (str_at(parent, name), path.child(name));
        let texts = if value.is_empty() { Vec::new() } else { rule(value) };
        texts.into_iter().map(|text| field::invalid(&path, value, text)).collect::<Vec<_>>()
    };
    let mut errors = optional("group", &dns_subdomain);
    for name in ["resource", "name"] {
        errors.extend(validate_segment(str_at(parent, name), &path.child(name)));
    }
    errors.extend(optional("namespace", &|value| path_segment_rule(value, false)));
    errors
}

fn parent_cell(obj: &Value) -> String {
    let Some(parent) = at(obj, "spec.parentRef") else { return "<none>".to_owned() };
    let part = |name: &str, mark: &str| match str_at(parent, name) {
        "" => String::new(),
        value => format!("{mark}{value}"),
    };
    let resource = format!("{}{}", str_at(parent, "resource"), part("group", ".")).to_lowercase();
    format!("{resource}{}/{}", part("namespace", "/"), str_at(parent, "name"))
}
