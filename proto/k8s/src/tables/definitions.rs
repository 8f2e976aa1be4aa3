//! Definitions by their OpenAPI name (`io.k8s.api.core.v1.Pod`): fields, types, defaults and extensions.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::text::block;

static FIELDS: &str = include_str!("../../tables/openapi-fields.tsv");
static GO_TYPES: &str = include_str!("../../tables/go-types.tsv");

/// One row of the definitions table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRow {
    /// Name of the field in JSON; `-` is the definition itself.
    pub name: &'static str,
    /// `string`, `integer:int32`, `[]T`, `map:T`, or the name of another definition.
    pub ty: &'static str,
    /// Whether the published schema lists the field as required.
    pub required: bool,
    /// The static default as JSON text (a bare word is a string); empty when there is none.
    pub default: &'static str,
    /// The `x-kubernetes-` extensions and the enum as a JSON object without the prefix; may be empty.
    pub extensions: &'static str,
}

/// The rows of a definition, itself first; empty when there is no such definition.
pub fn definition(name: &str) -> impl Iterator<Item = FieldRow> + use<> {
    block(FIELDS, name).lines().map(field_row)
}

fn field_row(line: &'static str) -> FieldRow {
    let mut columns = line.split('\t').skip(1);
    let mut next = || columns.next().unwrap_or("");
    FieldRow { name: next(), ty: next(), required: next() == "required", default: next(), extensions: next() }
}

/// The table's own copy of a definition's name; `None` when there is no such definition.
pub fn static_name(name: &str) -> Option<&'static str> {
    let block = block(FIELDS, name);
    block.split_once('\t').map(|(name, _)| name)
}

/// Every definition's name, in ascending order.
pub fn definition_names() -> impl Iterator<Item = &'static str> {
    FIELDS.lines().skip(1).filter_map(|line| {
        let (name, rest) = line.split_once('\t')?;
        rest.starts_with("-\t").then_some(name)
    })
}

/// The name of the definition that a group, version and kind stand for.
pub fn definition_of_kind(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    static KINDS: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    let kinds = KINDS.get_or_init(|| {
        let mut kinds = HashMap::new();
        for line in FIELDS.lines() {
            let Some((name, rest)) = line.split_once("\t-\t") else { continue };
            let Some((_, list)) = rest.split_once("\"gvk\":[") else { continue };
            let Some((list, _)) = list.split_once(']') else { continue };
            for gvk in list.split(',') {
                kinds.entry(gvk.trim_matches('"')).or_insert(name);
            }
        }
        kinds
    });
    // Options are of every group and version, but stand in the table once.
    let (group, version) = if kind == "DeleteOptions" { ("", "v1") } else { (group, version) };
    kinds.get(format!("{group}/{version}/{kind}").as_str()).copied()
}

/// The Go type of a field, as decode errors print it, where it does not follow from the definition's own type column.
pub fn go_type(definition: &str, field: &str) -> Option<&'static str> {
    block(GO_TYPES, definition).lines().find_map(|line| {
        let mut columns = line.split('\t').skip(1);
        (columns.next()? == field).then(|| columns.next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_found_by_its_name() {
        let mut count = 0;
        for name in definition_names() {
            assert_eq!(definition(name).next().map(|row| row.name), Some("-"), "{name}");
            count += 1;
        }
        assert_eq!(count, 581);
    }

    #[test]
    fn kinds_lead_to_definitions() {
        assert_eq!(definition_of_kind("", "v1", "Pod"), Some("io.k8s.api.core.v1.Pod"));
        assert_eq!(definition_of_kind("apps", "v1", "Deployment"), Some("io.k8s.api.apps.v1.Deployment"));
        assert_eq!(
            definition_of_kind("apps", "v1", "DeleteOptions"),
            Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        );
        assert_eq!(definition_of_kind("apps", "v2", "Deployment"), None);
    }

    #[test]
    fn go_types_name_the_string_types() {
        assert_eq!(go_type("io.k8s.api.core.v1.ServicePort", "protocol"), Some("v1.Protocol"));
        assert_eq!(go_type("io.k8s.api.core.v1.ServicePort", "name"), None);
    }
}
