//! What a writer of claims does that needs a right of its own.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::Path;
use crate::tree::{at, bool_at, list_at, str_at, strings_at};

/// Where a claim or a template asks for access as an administrator.
pub fn admin_request(obj: &Value) -> Option<Path> {
    let spec = if at(obj, "spec.spec").is_some() { "spec.spec" } else { "spec" };
    let requests = list_at(obj, &format!("{spec}.devices.requests"));
    let index = requests.iter().position(|request| bool_at(request, "exactly.adminAccess") == Some(true))?;
    Some(Path::new("spec.devices.requests").index(index).child("adminAccess"))
}

/// Where a claim has been given access as an administrator.
pub fn admin_result(claim: &Value) -> Option<Path> {
    const RESULTS: &str = "status.allocation.devices.results";
    let results = list_at(claim, RESULTS);
    let index = results.iter().position(|result| bool_at(result, "adminAccess") == Some(true))?;
    Some(Path::new(RESULTS).index(index).child("adminAccess"))
}

/// The node that the claim's devices are on, when they are on one.
pub fn allocated_node(claim: &Value) -> Option<&str> {
    let [term] = list_at(claim, "status.allocation.nodeSelector.nodeSelectorTerms") else { return None };
    let [requirement] = list_at(term, "matchFields") else { return None };
    let fits = list_at(term, "matchExpressions").is_empty()
        && str_at(requirement, "key") == "metadata.name"
        && str_at(requirement, "operator") == "In";
    match strings_at(requirement, "values")[..] {
        [node] if fits => Some(node),
        _ => None,
    }
}

/// The drivers whose reports differ between the two.
pub fn changed_drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let key = |device: &'a Value| ["driver", "pool", "device", "shareID"].map(|name| str_at(device, name));
    let (after, before) = (list_at(new, "status.devices"), list_at(old, "status.devices"));
    let differs = |device: &'a Value, others: &'a [Value]| {
        let other = others.iter().find(|other| key(other) == key(device));
        other.is_none_or(|other| !crate::tree::same(Some(other), Some(device)))
    };
    let added = after.iter().filter(|device| differs(device, before));
    let removed = before.iter().filter(|device| differs(device, after));
    added.chain(removed).map(|device| str_at(device, "driver")).collect()
}
