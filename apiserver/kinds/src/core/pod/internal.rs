//! Objects in upstream's internal form: every field present, Go's names, Go's order.
//!
//! Upstream prints structs in this form in `Invalid value: {...}` and in the diffs of refused updates, so it is part of the
//! wire format of errors. It is used for nothing else.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::field::{BadValue, go_json};
use crate::tree::at;

/// The value as a compact internal struct, for an error's bad value. `ty` is a type of the table, such as `PodIP`,
/// `*SecurityContext` or `[]PodIP`.
pub(crate) fn bad_value(ty: &'static str, value: Option<&Value>) -> BadValue {
    let mut text = String::new();
    node(&Type::parse(ty), value, &Value::Null).compact(&mut text);
    BadValue::Printed(text)
}

/// The value as an indented internal struct, for diffs.
pub(crate) fn pretty(ty: &'static str, value: &Value) -> String {
    let mut text = String::new();
    node(&Type::parse(ty), Some(value), &Value::Null).pretty(&mut text, 0);
    text
}

/// A printed value whose fields keep their order.
enum Node {
    Leaf(String),
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
}

/// A type of the table.
#[derive(Debug, Clone)]
enum Type {
    /// Prints as its zero value when absent.
    Scalar(&'static str),
    AsIs,
    Selector,
    Struct(&'static str),
    Pointer(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    Optional,
}

/// One field of a struct.
struct Field {
    name: &'static str,
    ty: Type,
    /// Dotted JSON path.
    json: String,
    /// Whether the path starts at the enclosing object.
    enclosing: bool,
}

/// The table of every group. Its comment is in the first.
const TABLES: &[&str] = &[
    include_str!("internal.txt"),
    include_str!("../../flowcontrol/internal.txt"),
    include_str!("../../networking/internal.txt"),
    include_str!("../../resource_claims/internal.txt"),
];

static STRUCTS: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let mut structs: HashMap<&str, Vec<Field>> = HashMap::new();
    let mut current = "";
    let lines = TABLES.iter().flat_map(|table| table.lines()).filter(|line| !line.starts_with('#'));
    for line in lines {
        match line.strip_prefix(' ') {
            Some(field) => structs.entry(current).or_default().push(Field::parse(field)),
            None => current = line,
        }
    }
    structs
});

impl Field {
    fn parse(line: &'static str) -> Field {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or("");
        let ty = Type::parse(words.next().unwrap_or("v"));
        let json = words.next().map_or_else(|| lower_first(name), str::to_owned);
        match json.strip_prefix('^') {
            Some(json) => Field { name, ty, json: json.to_owned(), enclosing: true },
            None => Field { name, ty, json, enclosing: false },
        }
    }
}

impl Type {
    fn parse(text: &'static str) -> Type {
        if let Some(inner) = text.strip_prefix('*') {
            return Type::Pointer(Box::new(Type::parse(inner)));
        }
        if let Some(inner) = text.strip_prefix("[]") {
            return Type::List(Box::new(Type::parse(inner)));
        }
        if let Some(inner) = text.strip_prefix("{}") {
            return Type::Map(Box::new(Type::parse(inner)));
        }
        match text {
            "s" => Type::Scalar("\"\""),
            "i" => Type::Scalar("0"),
            "b" => Type::Scalar("false"),
            "q" => Type::Scalar("\"0\""),
            "t" => Type::Scalar("null"),
            "v" => Type::AsIs,
            "l" => Type::Selector,
            "o" => Type::Optional,
            name => Type::Struct(name),
        }
    }
}

fn lower_first(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn node(ty: &Type, value: Option<&Value>, enclosing: &Value) -> Node {
    let value = value.filter(|value| !value.is_null());
    match (ty, value) {
        (Type::Scalar(zero), None) => Node::Leaf((*zero).to_owned()),
        (Type::Struct(name), value) => fields(name, value.unwrap_or(&Value::Null), enclosing),
        (_, None) => Node::Leaf("null".to_owned()),
        (Type::Pointer(inner), value) => node(inner, value, enclosing),
        (Type::List(inner), Some(Value::Array(items))) => {
            Node::List(items.iter().map(|item| node(inner, Some(item), enclosing)).collect())
        }
        (Type::Map(inner), Some(Value::Object(entries))) => {
            let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Node::Fields(
                entries
                    .into_iter()
                    .map(|(key, item)| (key.clone(), node(inner, Some(item), enclosing)))
                    .collect(),
            )
        }
        (Type::Selector, Some(selector)) => selector_node(selector),
        (_, Some(value)) => plain(value),
    }
}

fn fields(name: &'static str, value: &Value, enclosing: &Value) -> Node {
    let declared = STRUCTS.get(name).map_or(&[][..], Vec::as_slice);
    let mut printed = Vec::with_capacity(declared.len());
    for field in declared {
        let source = if field.enclosing { enclosing } else { value };
        let content = at(source, &field.json);
        if matches!(field.ty, Type::Optional) && content.is_none() {
            continue;
        }
        printed.push((field.name.to_owned(), node(&field.ty, content, value)));
    }
    Node::Fields(printed)
}

/// A label selector has JSON names even in internal structs, labels first.
fn selector_node(selector: &Value) -> Node {
    let part = |name: &str| at(selector, name).map(|value| (name.to_owned(), plain(value)));
    Node::Fields([part("matchLabels"), part("matchExpressions")].into_iter().flatten().collect())
}

fn plain(value: &Value) -> Node {
    match value {
        Value::Array(items) => Node::List(items.iter().map(plain).collect()),
        Value::Object(entries) => {
            Node::Fields(entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        scalar => Node::Leaf(go_json(scalar)),
    }
}

impl Node {
    fn compact(&self, text: &mut String) {
        match self {
            Node::Leaf(leaf) => text.push_str(leaf),
            Node::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(text, index);
                    item.compact(text);
                }
                text.push(']');
            }
            Node::Fields(fields) => {
                text.push('{');
                for (index, (name, item)) in fields.iter().enumerate() {
                    separate(text, index);
                    text.push_str(&go_json(&Value::from(name.as_str())));
                    text.push(':');
                    item.compact(text);
                }
                text.push('}');
            }
        }
    }

    fn pretty(&self, text: &mut String, depth: usize) {
        match self {
            Node::List(items) if !items.is_empty() => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(text, index);
                    new_line(text, depth + 1);
                    item.pretty(text, depth + 1);
                }
                new_line(text, depth);
                text.push(']');
            }
            Node::Fields(fields) if !fields.is_empty() => {
                text.push('{');
                for (index, (name, item)) in fields.iter().enumerate() {
                    separate(text, index);
                    new_line(text, depth + 1);
                    text.push_str(&go_json(&Value::from(name.as_str())));
                    text.push_str(": ");
                    item.pretty(text, depth + 1);
                }
                new_line(text, depth);
                text.push('}');
            }
            flat => flat.compact(text),
        }
    }
}

fn separate(text: &mut String, index: usize) {
    if index > 0 {
        text.push(',');
    }
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', depth));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_struct_the_table_mentions_is_in_it() {
        fn mentioned(ty: &Type) -> Option<&'static str> {
            match ty {
                Type::Struct(name) => Some(name),
                Type::Pointer(inner) | Type::List(inner) | Type::Map(inner) => mentioned(inner),
                _ => None,
            }
        }
        for field in STRUCTS.values().flatten() {
            if let Some(name) = mentioned(&field.ty) {
                assert!(STRUCTS.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn structs_print_every_field_in_order() {
        let context = json!({"runAsGroup": -1, "seccompProfile": {"type": "X"}});
        assert_eq!(
            bad_value("*SecurityContext", Some(&context)),
            BadValue::Printed(
                r#"{"Capabilities":null,"Privileged":null,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":-1,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":null,"ProcMount":null,"SeccompProfile":{"Type":"X","LocalhostProfile":null},"AppArmorProfile":null}"#
                    .to_owned()
            )
        );
        assert_eq!(
            bad_value("[]PodIP", Some(&json!([{"ip": "a"}]))),
            BadValue::Printed(r#"[{"IP":"a"}]"#.to_owned())
        );
        assert_eq!(bad_value("*SecurityContext", None), BadValue::Printed("null".to_owned()));
    }

    #[test]
    fn host_namespaces_print_inside_the_security_context() {
        let text = pretty("PodSpec", &json!({"hostNetwork": true}));
        assert!(
            text.contains(" \"SecurityContext\": {\n  \"HostNetwork\": true,\n  \"HostPID\": false,"),
            "{text}"
        );
        assert!(text.starts_with("{\n \"Volumes\": null,\n"));
    }
}
