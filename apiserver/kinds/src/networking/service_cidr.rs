//! ServiceCIDRs: the ranges that addresses of Services come from.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::meta::IMMUTABLE;
use crate::names::subdomain_rule;
use crate::network::{parse_cidr_sloppy, validate_cidr};
use crate::tree::{at, carry_over, list_at, set, str_at, strings_at};
use crate::{Resource, Strategy, Subresource, meta};

/// The range every cluster begins with.
pub const DEFAULT: &str = "kubernetes";

/// Keeps a range while addresses of it are in use.
pub const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

const CIDRS_MAX: usize = 2;

const COLUMNS: &[Column] =
    &[Column::NAME, Column::text("CIDRs", "The ranges, at most one of each family."), Column::AGE];

/// The strategy of ServiceCIDRs.
pub(super) struct ServiceCidrs;

impl Strategy for ServiceCidrs {
    fn resource(&self) -> &'static Resource {
        crate::resource!("networking.k8s.io", "v1", "servicecidrs")
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({}));
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            carry_over(new, old, "spec");
            meta::keep_for_status(new, old);
        } else {
            carry_over(new, old, "status");
        }
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(validate_cidrs(obj));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = meta::validate_update(new, old);
        if sub != Subresource::Status {
            errors.extend(validate_change(new, old));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let ranges = strings_at(obj, "spec.cidrs").join(",");
        vec![columns::name(obj), json!(ranges), columns::age(obj, now)]
    }
}

/// The ranges of a ServiceCIDR, as parsed.
pub fn ranges(obj: &Value) -> Vec<(IpAddr, u8)> {
    strings_at(obj, "spec.cidrs").into_iter().filter_map(parse_cidr_sloppy).collect()
}

/// Whether new addresses may come from it: it is not on its way out, and nobody has called it unready.
pub fn is_usable(obj: &Value) -> bool {
    let conditions = list_at(obj, "status.conditions").iter();
    let mut ready = conditions.filter(|condition| str_at(condition, "type") == "Ready");
    at(obj, "metadata.deletionTimestamp").is_none()
        && ready.all(|condition| str_at(condition, "status") == "True")
}

fn validate_cidrs(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec.cidrs");
    let cidrs = strings_at(obj, "spec.cidrs");
    if cidrs.is_empty() {
        return vec![field::required(&path, "at least one CIDR required")];
    }
    if cidrs.len() > CIDRS_MAX {
        let spec = internal::bad_value("ServiceCIDRSpec", at(obj, "spec"));
        return vec![field::invalid(&path, spec, "may only hold up to 2 values")];
    }
    let each = cidrs.iter().enumerate();
    let mut errors: Vec<Error> =
        each.flat_map(|(index, cidr)| validate_cidr(&path.index(index), cidr)).collect();
    let family = |cidr: &str| parse_cidr_sloppy(cidr).map(|(ip, _)| ip.is_ipv4());
    if let [first, second] = cidrs[..]
        && let (Some(first), Some(second)) = (family(first), family(second))
        && first == second
    {
        let text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(field::invalid(&path, at(obj, "spec.cidrs"), text));
    }
    errors
}

/// Ranges stay; a second one may be added.
fn validate_change(new: &Value, old: &Value) -> Vec<Error> {
    let path = Path::new("spec.cidrs");
    let (after, before) = (strings_at(new, "spec.cidrs"), strings_at(old, "spec.cidrs"));
    let changed = |(index, (after, before)): (usize, (&&str, &&str))| {
        (after != before).then(|| field::invalid(&path.index(index), *after, IMMUTABLE))
    };
    match (before.len(), after.len()) {
        (before_count, after_count) if before_count == after_count => {
            after.iter().zip(&before).enumerate().filter_map(changed).collect()
        }
        (1, 2) => {
            let mut errors: Vec<Error> = after.iter().zip(&before).enumerate().filter_map(changed).collect();
            errors.extend(validate_cidrs(new));
            errors
        }
        _ => vec![field::invalid(&path, at(new, "spec.cidrs"), IMMUTABLE)],
    }
}
