//! Protobuf messages by package and name, and what Go's JSON encoder does with an empty field.

use super::text::block;

static FIELDS: &str = include_str!("../../tables/proto-fields.tsv");

/// One field of a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRow {
    /// The JSON name; `(inline)x` for an embedded message whose fields stand in the parent's JSON object, `-` for the whole value.
    pub name: &'static str,
    /// Field number.
    pub number: u32,
    /// `bytes` (length-delimited) or `varint`; doubles are `fixed64`.
    pub wire: &'static str,
    /// Type column: `string`, `int32`, `[]T`, `map<string,T>` or `package.Message`.
    pub ty: &'static str,
    /// Whether the field repeats on the wire (lists and maps).
    pub repeated: bool,
    /// What an empty field looks like in JSON.
    pub omission: Omission,
}

/// What Go's JSON encoder does with an empty field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omission {
    /// Left out when empty (zero number, empty string, list or map, nil pointer); structs are never empty.
    pub omit_empty: bool,
    /// Left out when the type says it is zero, structs included.
    pub omit_zero: bool,
    /// A pointer: absent and zero are two things.
    pub pointer: bool,
}

/// The rows of a message (`k8s.io.api.core.v1`, `Pod`) in the table's order; empty when there is no such message.
pub fn message(package: &str, name: &str) -> impl Iterator<Item = MessageRow> + use<> {
    block(FIELDS, &format!("{package}\t{name}")).lines().filter_map(row)
}

/// Splits a definition's OpenAPI name (`io.k8s.api.core.v1.Pod`) into protobuf package (`k8s.io.api.core.v1`) and message.
pub fn message_name(definition: &str) -> Option<(String, &str)> {
    let (package, name) = definition.strip_prefix("io.k8s.")?.rsplit_once('.')?;
    Some((format!("k8s.io.{package}"), name))
}

/// The Go structs between a definition and a field that it embeds, outermost first; none for a field of its own.
pub fn embedded_in(definition: &str, field: &str) -> Vec<&'static str> {
    let found = message_name(definition).and_then(|(package, name)| embedding(&package, name, field));
    match found {
        Some(structs) => structs,
        // What an object is stands in no message.
        None if matches!(field, "apiVersion" | "kind") => vec!["TypeMeta"],
        None => Vec::new(),
    }
}

fn embedding(package: &str, name: &str, field: &str) -> Option<Vec<&'static str>> {
    let rows: Vec<MessageRow> = message(package, name).collect();
    if rows.iter().any(|row| row.name == field) {
        return Some(Vec::new());
    }
    rows.iter().filter(|row| row.is_embedded()).find_map(|row| {
        let (package, name) = row.ty.rsplit_once('.')?;
        let inner = embedding(package, name, field)?;
        Some(std::iter::once(name).chain(inner).collect())
    })
}

impl MessageRow {
    /// Whether the fields of the message stand in the parent's JSON object.
    pub fn is_embedded(&self) -> bool {
        self.name.is_empty() || self.name.starts_with("(inline)")
    }
}

fn row(line: &'static str) -> Option<MessageRow> {
    let mut columns = line.split('\t').skip(2);
    let name = columns.next()?;
    let number = columns.next()?.parse().expect("field numbers are numbers");
    columns.next();
    let wire = columns.next()?;
    let ty = columns.next()?;
    let omit = columns.next().unwrap_or("");
    Some(MessageRow {
        name,
        number,
        wire,
        ty,
        repeated: ty.starts_with("[]") || ty.starts_with("map<"),
        omission: Omission {
            omit_empty: omit.contains("omitempty"),
            omit_zero: omit.contains("omitzero"),
            pointer: omit.contains("pointer"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_knows_numbers_and_emptiness() {
        let (package, name) = message_name("io.k8s.api.core.v1.ServicePort").expect("a definition name");
        let rows: Vec<_> = message(&package, name).collect();
        let port = rows.iter().find(|row| row.name == "port").expect("ports have a port");
        assert_eq!((port.number, port.wire, port.omission.omit_empty), (3, "varint", false));
        assert!(message(&package, "Nothing").next().is_none());
    }

    #[test]
    fn embedded_fields_know_what_embeds_them() {
        let check = |kind: &str, field: &str, structs: &[&str]| {
            assert_eq!(embedded_in(&format!("io.k8s.api.core.v1.{kind}"), field), structs);
        };
        check("Volume", "nfs", &["VolumeSource"]);
        check("Volume", "name", &[]);
        check("Probe", "httpGet", &["ProbeHandler"]);
        check("EphemeralContainer", "image", &["EphemeralContainerCommon"]);
        check("Volume", "none", &[]);
        check("PersistentVolumeClaim", "kind", &["TypeMeta"]);
        check("ObjectReference", "kind", &[]);
    }
}
