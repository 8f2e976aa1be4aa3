//! What volumes and claims have in common: access modes, class, size.

use serde_json::Value;

use crate::field::{self, Path};
use crate::quantity::{self, Quantity};
use crate::tree::{at, map_at, str_at, strings_at};

/// How a volume can be mounted, in the order of names.
pub(crate) const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The annotation that named a class before there was a field.
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class of a volume or claim, the annotation first; `None` when neither names one.
pub fn class(obj: &Value) -> Option<&str> {
    let annotated = at(obj, "metadata.annotations").and_then(|map| map.get(BETA_CLASS));
    annotated.or_else(|| at(obj, "spec.storageClassName")).and_then(Value::as_str)
}

/// The storage in the quantities at a path, zero when absent.
pub(crate) fn storage(obj: &Value, path: &str) -> Quantity {
    let amount = map_at(obj, path).and_then(|amounts| amounts.get("storage"));
    amount.map_or(Quantity::ZERO, quantity::of)
}

/// How much storage a claim asks for.
pub fn requested(claim: &Value) -> Quantity {
    storage(claim, "spec.resources.requests")
}

/// How much storage a volume has.
pub fn capacity(volume: &Value) -> Quantity {
    storage(volume, "spec.capacity")
}

/// The access modes at a path in short form, each once: `RWO,ROX`.
pub(crate) fn short_modes(obj: &Value, path: &str) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = strings_at(obj, path);
    let short = SHORT.iter().filter(|(mode, _)| modes.contains(mode)).map(|(_, short)| *short);
    short.collect::<Vec<_>>().join(",")
}

/// The phase as a cell: an object that is going is `Terminating`.
pub(crate) fn phase(obj: &Value) -> &str {
    let going = at(obj, "metadata.deletionTimestamp").is_some();
    if going { "Terminating" } else { str_at(obj, "status.phase") }
}

/// The text at a path, `<unset>` when absent.
pub(crate) fn or_unset<'a>(obj: &'a Value, path: &str) -> &'a str {
    at(obj, path).and_then(Value::as_str).unwrap_or("<unset>")
}

/// Warnings about sizes that are no whole number of bytes; `path` is that of the claim's spec.
pub(crate) fn fractional(claim: &Value, path: &Path) -> Vec<String> {
    let amounts =
        ["requests", "limits"].map(|list| (list, storage(claim, &format!("spec.resources.{list}"))));
    let odd = amounts.into_iter().filter(|(_, amount)| !quantity::is_whole(amount));
    odd.map(|(list, amount)| {
        let path = path.child("resources").child(list).key("storage");
        let amount = field::quote(&amount.to_string());
        format!("{path}: fractional byte value {amount} is invalid, must be an integer")
    })
    .collect()
}
