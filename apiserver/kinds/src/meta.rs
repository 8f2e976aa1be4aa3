//! Rules of object metadata, the same for every kind: names, labels, annotations, finalizers, owners, managed fields, and
//! what an update may not change. The name's own syntax is the kind's and comes in as a [`NameRule`].

use serde_json::Value;

use crate::field::{self, BadValue, Error, Path};
use crate::names::{NameRule, label_rule, label_value, qualified_name};
use crate::tree::{at, bool_at, carry_over, entries_at, int_at, list_at, same_at, set, str_at, strings_at};

/// Bytes that all annotation keys and values of an object may have together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a field manager's name.
const FIELD_MANAGER_BYTES_MAX: usize = 128;

/// Bytes of the subresource in a managed fields entry.
const MANAGED_SUBRESOURCE_BYTES_MAX: usize = 256;

/// The finalizer with which dependents survive their owner.
pub const ORPHAN: &str = "orphan";

/// The finalizer with which dependents go before their owner.
pub const FOREGROUND: &str = "foregroundDeletion";

/// What an update says when it changes a field that is fixed.
pub const IMMUTABLE: &str = "field is immutable";

/// What a negative number is told.
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Everything wrong with the metadata of a new object: the rules of the built-in groups, which want finalizers qualified.
pub fn validate(obj: &Value, namespaced: bool, name_rule: NameRule) -> Vec<Error> {
    let mut errors = validate_plain(obj, namespaced, name_rule);
    let path = Path::new("metadata.finalizers");
    let finalizers = strings_at(obj, "metadata.finalizers").into_iter().enumerate();
    errors.extend(finalizers.filter_map(|(index, name)| validate_legacy_finalizer(name, &path.index(index))));
    errors
}

/// A finalizer without a domain must be one of the old, well-known ones.
pub fn validate_legacy_finalizer(name: &str, path: &Path) -> Option<Error> {
    let is_known = name.contains('/') || ["kubernetes", ORPHAN, FOREGROUND].contains(&name);
    (!is_known).then(|| {
        field::invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")
    })
}

/// Everything wrong with the metadata of a new object: the rules every group shares.
pub fn validate_plain(obj: &Value, namespaced: bool, name_rule: NameRule) -> Vec<Error> {
    validate_at(obj, "metadata", namespaced, name_rule)
}

/// Like [`validate_plain`], for metadata at another path.
pub fn validate_at(obj: &Value, path: &str, namespaced: bool, name_rule: NameRule) -> Vec<Error> {
    let empty = Value::Null;
    let meta = at(obj, path).unwrap_or(&empty);
    let path = Path::new(path);

    let mut errors = validate_names(meta, &path, name_rule);
    errors.extend(validate_namespace(meta, &path, namespaced));
    let generation = int_at(meta, "generation").unwrap_or(0);
    if generation < 0 {
        errors.push(field::invalid(&path.child("generation"), generation, NOT_NEGATIVE));
    }
    errors.extend(validate_labels(meta, "labels", &path.child("labels")));
    errors.extend(validate_annotations(meta, &path.child("annotations")));
    errors.extend(validate_owners(meta, &path.child("ownerReferences")));
    errors.extend(validate_finalizers(meta, &path.child("finalizers")));
    errors.extend(validate_managed_fields(meta, &path.child("managedFields")));
    errors
}

fn validate_names(meta: &Value, path: &Path, name_rule: NameRule) -> Vec<Error> {
    let mut errors = Vec::new();
    let (name, generate_name) = (str_at(meta, "name"), str_at(meta, "generateName"));
    if !generate_name.is_empty() {
        let at = path.child("generateName");
        errors.extend(
            name_rule(generate_name, true).into_iter().map(|text| field::invalid(&at, generate_name, text)),
        );
    }
    let at = path.child("name");
    if name.is_empty() {
        errors.push(field::required(&at, "name or generateName is required"));
    } else {
        errors.extend(name_rule(name, false).into_iter().map(|text| field::invalid(&at, name, text)));
    }
    errors
}

fn validate_namespace(meta: &Value, path: &Path, namespaced: bool) -> Vec<Error> {
    let (namespace, path) = (str_at(meta, "namespace"), path.child("namespace"));
    match (namespaced, namespace.is_empty()) {
        (true, true) => vec![field::required(&path, "")],
        (true, false) => label_rule(namespace, false)
            .into_iter()
            .map(|text| field::invalid(&path, namespace, text))
            .collect(),
        (false, true) => Vec::new(),
        (false, false) => vec![field::forbidden(&path, "not allowed on this type")],
    }
}

/// Everything wrong with the label map at `name` of `parent`.
pub fn validate_labels(parent: &Value, name: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (key, value) in entries_at(parent, name) {
        errors.extend(validate_label_name(key, path));
        errors.extend(label_value(value).into_iter().map(|text| field::invalid(path, value, text)));
    }
    errors
}

/// Everything wrong with a label key.
pub fn validate_label_name(key: &str, path: &Path) -> Vec<Error> {
    qualified_name(key).into_iter().map(|text| field::invalid(path, key, text)).collect()
}

/// Everything wrong with the annotations of `meta`.
pub fn validate_annotations(meta: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (key, value) in entries_at(meta, "annotations") {
        bytes += key.len() + value.len();
        let texts = qualified_name(&key.to_lowercase());
        errors.extend(texts.into_iter().map(|text| field::invalid(path, key, text)));
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(field::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
    errors
}

fn validate_owners(meta: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for owner in list_at(meta, "ownerReferences") {
        errors.extend(validate_owner(owner, path));
        if bool_at(owner, "controller") != Some(true) {
            continue;
        }
        let name = format!("{}/{}", str_at(owner, "kind"), str_at(owner, "name"));
        match &controller {
            Some(first) => {
                let text = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(field::invalid(path, print_owners(list_at(meta, "ownerReferences")), text));
            }
            None => controller = Some(name),
        }
    }
    errors
}

fn validate_owner(owner: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let api_version = str_at(owner, "apiVersion");
    // `group/version` or a version alone; more slashes leave nothing usable.
    let version = match api_version.split('/').collect::<Vec<_>>().as_slice() {
        [version] | [_, version] => *version,
        _ => "",
    };
    if version.is_empty() {
        errors.push(field::invalid(&path.child("apiVersion"), api_version, "version must not be empty"));
    }
    for name in ["kind", "name", "uid"] {
        if str_at(owner, name).is_empty() {
            errors.push(field::invalid(&path.child(name), "", "must not be empty"));
        }
    }
    if api_version == "v1" && str_at(owner, "kind") == "Event" {
        let text = "/v1, Kind=Event is disallowed from being an owner";
        errors.push(field::invalid(path, BadValue::Printed(print_owner(owner)), text));
    }
    errors
}

/// Owner references print in their declared field order, not in the order of names.
fn print_owner(owner: &Value) -> String {
    let mut fields = Vec::new();
    for name in ["apiVersion", "kind", "name", "uid"] {
        fields.push(format!("\"{name}\":{}", field::go_json(&str_at(owner, name).into())));
    }
    for name in ["controller", "blockOwnerDeletion"] {
        if let Some(value) = bool_at(owner, name) {
            fields.push(format!("\"{name}\":{value}"));
        }
    }
    format!("{{{}}}", fields.join(","))
}

fn print_owners(owners: &[Value]) -> BadValue {
    let owners: Vec<String> = owners.iter().map(print_owner).collect();
    BadValue::Printed(format!("[{}]", owners.join(",")))
}

fn validate_finalizers(meta: &Value, path: &Path) -> Vec<Error> {
    let finalizers = strings_at(meta, "finalizers");
    let mut errors = Vec::new();
    for finalizer in &finalizers {
        errors.extend(validate_label_name(finalizer, path));
    }
    if finalizers.contains(&ORPHAN) && finalizers.contains(&FOREGROUND) {
        let text = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(field::invalid(path, at(meta, "finalizers"), text));
    }
    errors
}

fn validate_managed_fields(meta: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, entry) in list_at(meta, "managedFields").iter().enumerate() {
        let path = path.index(index);
        let operation = str_at(entry, "operation");
        if operation != "Apply" && operation != "Update" {
            errors.push(field::invalid(&path.child("operation"), operation, "must be `Apply` or `Update`"));
        }
        let fields_type = str_at(entry, "fieldsType");
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            errors.push(field::invalid(&path.child("fieldsType"), fields_type, "must be `FieldsV1`"));
        }
        errors.extend(validate_field_manager(str_at(entry, "manager"), &path.child("manager")));
        if str_at(entry, "subresource").len() > MANAGED_SUBRESOURCE_BYTES_MAX {
            errors.push(field::too_long(&path.child("subresource"), MANAGED_SUBRESOURCE_BYTES_MAX));
        }
    }
    errors
}

/// Everything wrong with a field manager's name, in an object or in a request's options.
pub fn validate_field_manager(manager: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    if manager.len() > FIELD_MANAGER_BYTES_MAX {
        errors.push(field::too_long(path, FIELD_MANAGER_BYTES_MAX));
    }
    for (position, character) in manager.char_indices() {
        if !field::is_printable(character) {
            let code = format!("U+{:04X}", u32::from(character));
            let text = format!("invalid character {code} (at position {position})");
            errors.push(field::invalid(path, manager, text));
        }
    }
    errors
}

/// Drops owner references that repeat an earlier one, and tells the writer.
pub fn dedup_owners(obj: &mut Value) -> Option<String> {
    let owners = list_at(obj, "metadata.ownerReferences");
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut repeated: Vec<&str> = Vec::new();
    for owner in owners {
        if kept.contains(owner) {
            repeated.push(str_at(owner, "uid"));
        } else {
            kept.push(owner.clone());
        }
    }
    if repeated.is_empty() {
        return None;
    }
    let warning = format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    );
    set(obj, "metadata.ownerReferences", Value::Array(kept));
    Some(warning)
}

/// Everything wrong with replacing the metadata of `old` by that of `new`.
pub fn validate_update(new: &Value, old: &Value) -> Vec<Error> {
    let path = Path::new("metadata");
    let mut errors = Vec::new();
    if at(old, "metadata.deletionTimestamp").is_some() {
        errors.extend(validate_no_new_finalizers(new, old, &path.child("finalizers")));
    }
    if str_at(new, "metadata.resourceVersion").is_empty() {
        errors.push(field::invalid(&path.child("resourceVersion"), "", "must be specified for an update"));
    }
    let generation = int_at(new, "metadata.generation").unwrap_or(0);
    if generation < int_at(old, "metadata.generation").unwrap_or(0) {
        errors.push(field::invalid(&path.child("generation"), generation, "must not be decremented"));
    }
    for name in ["name", "namespace", "uid"] {
        let value = str_at(new, &format!("metadata.{name}"));
        if value != str_at(old, &format!("metadata.{name}")) {
            errors.push(field::invalid(&path.child(name), value, IMMUTABLE));
        }
    }
    for name in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        errors.extend(validate_immutable(new, old, &format!("metadata.{name}")));
    }
    let empty = Value::Null;
    let meta = at(new, "metadata").unwrap_or(&empty);
    errors.extend(validate_labels(meta, "labels", &path.child("labels")));
    errors.extend(validate_annotations(meta, &path.child("annotations")));
    errors.extend(validate_owners(meta, &path.child("ownerReferences")));
    errors.extend(validate_managed_fields(meta, &path.child("managedFields")));
    errors
}

fn validate_no_new_finalizers(new: &Value, old: &Value, path: &Path) -> Vec<Error> {
    let before = strings_at(old, "metadata.finalizers");
    let mut extra: Vec<&str> = strings_at(new, "metadata.finalizers")
        .into_iter()
        .filter(|finalizer| !before.contains(finalizer))
        .collect();
    if extra.is_empty() {
        return Vec::new();
    }
    extra.sort_unstable();
    extra.dedup();
    let extra: Vec<String> = extra.into_iter().map(field::quote).collect();
    let text = "no new finalizers can be added if the object is being deleted, found new finalizers";
    vec![field::forbidden(path, format!("{text} []string{{{}}}", extra.join(", ")))]
}

/// One error when the value at a path differs between the two.
pub fn validate_immutable(new: &Value, old: &Value, path: &str) -> Option<Error> {
    (!same_at(new, old, path)).then(|| field::invalid(&Path::new(path), at(new, path), IMMUTABLE))
}

/// Like [`validate_immutable`], for a text whose absence is the empty text.
pub fn validate_immutable_text(new: &Value, old: &Value, path: &str) -> Option<Error> {
    (!same_at(new, old, path)).then(|| field::invalid(&Path::new(path), str_at(new, path), IMMUTABLE))
}

/// The error of an update without a resourceVersion, for kinds that insist on one.
pub fn missing_resource_version() -> Error {
    let path = Path::new("metadata.resourceVersion");
    field::invalid(&path, 0i64, "must be specified for an update")
}

/// The metadata as Go prints it: in declared field order.
pub(crate) fn print(obj: &Value) -> String {
    const ORDER: &[&str] = &[
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ];
    const ENTRY_ORDER: &[&str] =
        &["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];
    let empty = Value::Null;
    let metadata = at(obj, "metadata").unwrap_or(&empty);
    print_fields(metadata, ORDER, |name, value| match (name, value) {
        ("managedFields", Value::Array(entries)) => {
            let print_entry = |entry| print_fields(entry, ENTRY_ORDER, |_, value| field::go_json(value));
            let entries: Vec<String> = entries.iter().map(print_entry).collect();
            format!("[{}]", entries.join(","))
        }
        ("ownerReferences", Value::Array(owners)) => {
            let owners: Vec<String> = owners.iter().map(print_owner).collect();
            format!("[{}]", owners.join(","))
        }
        (_, value) => field::go_json(value),
    })
}

fn print_fields(obj: &Value, order: &[&str], print_value: impl Fn(&str, &Value) -> String) -> String {
    let present = order.iter().filter_map(|name| at(obj, name).map(|value| (*name, value)));
    let fields: Vec<String> =
        present.map(|(name, value)| format!("\"{name}\":{}", print_value(name, value))).collect();
    format!("{{{}}}", fields.join(","))
}

/// The metadata's generation, 0 when absent.
pub fn generation(obj: &Value) -> i64 {
    int_at(obj, "metadata.generation").unwrap_or(0)
}

/// Takes from `old` the metadata that a writer of some kinds' status may not change.
pub fn keep_for_status(new: &mut Value, old: &Value) {
    for name in ["labels", "annotations", "finalizers", "ownerReferences"] {
        carry_over(new, old, &format!("metadata.{name}"));
    }
}

/// Sets the generation a new object starts with.
pub fn start_generation(obj: &mut Value) {
    set(obj, "metadata.generation", 1);
}

/// Counts the generation up when one of `paths` differs between the two.
pub fn count_generation(new: &mut Value, old: &Value, paths: &[&str]) {
    if paths.iter().any(|path| !same_at(new, old, path)) {
        set(new, "metadata.generation", next(generation(old)));
    }
}

/// The generation after one. Some kinds begin with what a client sent; behind the largest comes, as upstream, the smallest,
/// which validation refuses.
pub fn next(generation: i64) -> i64 {
    generation.wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::subdomain_rule;

    fn check(meta: Value, texts: &[&str]) {
        let errors: Vec<String> =
            validate(&json!({"metadata": meta}), true, subdomain_rule).iter().map(Error::to_string).collect();
        assert_eq!(errors, texts);
    }

    #[test]
    fn new_metadata() {
        check(json!({"name": "a", "namespace": "b"}), &[]);
        check(
            json!({}),
            &[
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ],
        );
        check(
            json!({"name": "a", "namespace": "b", "generation": -1}),
            &["metadata.generation: Invalid value: -1: must be greater than or equal to 0"],
        );
        check(
            json!({"name": "a", "namespace": "b", "finalizers": ["orphan", "foregroundDeletion"]}),
            &[
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
            ],
        );
        check(
            json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]}),
            &[
                r#"metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner"#,
            ],
        );
        check(
            json!({"name": "a", "namespace": "b", "managedFields": [{"operation": "Eat", "fieldsType": "X"}]}),
            &[
                "metadata.managedFields[0].operation: Invalid value: \"Eat\": must be `Apply` or `Update`",
                "metadata.managedFields[0].fieldsType: Invalid value: \"X\": must be `FieldsV1`",
            ],
        );
    }

    #[test]
    fn updated_metadata() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "2024-01-01T00:00:00Z"}});
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["x/y"]);
        new["metadata"]["uid"] = json!("2");
        let errors: Vec<String> = validate_update(&new, &old).iter().map(Error::to_string).collect();
        assert_eq!(
            errors,
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/y\"}",
                "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
                "metadata.uid: Invalid value: \"2\": field is immutable",
            ]
        );
        assert_eq!(
            missing_resource_version().to_string(),
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        );
    }
}
