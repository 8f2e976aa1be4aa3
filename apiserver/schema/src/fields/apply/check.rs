//! What is wrong with an applied configuration as a typed value: unknown fields, wrong types, items that stand twice.

use std::fmt::Write as _;

use super::super::element;
use crate::Tree;
use crate::node::{List, ListKind, Schema, Shape};

/// One finding: where, and what.
type Finding = (String, String);

/// Checks a configuration; the error is upstream's text.
pub(super) fn check(schema: &Schema, config: &Tree) -> Result<(), String> {
    let mut findings: Vec<Finding> = Vec::new();
    value(schema, config, "", &mut findings);
    let line =
        |(path, text): &Finding| if path.is_empty() { text.clone() } else { format!("{path}: {text}") };
    match findings.as_slice() {
        [] => Ok(()),
        [one] => Err(line(one)),
        many => {
            let lines: Vec<String> = many.iter().map(|finding| format!("  {}", line(finding))).collect();
            Err(format!("errors:\n{}", lines.join("\n")))
        }
    }
}

fn value(schema: &Schema, tree: &Tree, path: &str, findings: &mut Vec<Finding>) {
    if tree.is_null() {
        return;
    }
    let wrong = match (&schema.shape, tree) {
        (Shape::Any | Shape::Embedded, _)
        | (Shape::String | Shape::Bytes, Tree::String(_))
        | (Shape::Boolean, Tree::Bool(_))
        | (Shape::Integer { .. } | Shape::Number, Tree::Number(_)) => return,
        (
            Shape::IntOrString | Shape::Quantity | Shape::Time | Shape::MicroTime,
            Tree::Number(_) | Tree::String(_) | Tree::Bool(_),
        ) => return,
        (Shape::Either { object, .. }, Tree::Object(_)) => return value(object, tree, path, findings),
        (Shape::Either { other, .. }, _) => return value(other, tree, path, findings),
        (Shape::Struct(_) | Shape::Map(_), Tree::Object(_)) => return members(schema, tree, path, findings),
        (Shape::List(list), Tree::Array(items)) => return list_items(list, items, path, findings),
        (Shape::String | Shape::Bytes, _) => {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(tree))
        }
        (Shape::Boolean, _) => format!("expected boolean, got &{{{}}}", go_value(tree)),
        (Shape::Integer { .. } | Shape::Number, _) => {
            format!("expected numeric (int or float), got {}", go_type(tree))
        }
        (Shape::IntOrString | Shape::Quantity | Shape::Time | Shape::MicroTime, _) => {
            format!("expected any scalar, got &{{{}}}", go_value(tree))
        }
        (Shape::Struct(_) | Shape::Map(_), _) => format!("expected map, got &{{{}}}", go_value(tree)),
        (Shape::List(_), _) => format!("expected list, got &{{{}}}", go_value(tree)),
    };
    findings.push((path.to_owned(), wrong));
}

/// Ends at the first unknown field, as upstream does.
fn members(schema: &Schema, tree: &Tree, path: &str, findings: &mut Vec<Finding>) {
    for (key, member) in tree.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match &schema.shape {
            Shape::Map(map) => value(&map.value, member, &path, findings),
            Shape::Struct(inner) => match inner.field(key) {
                Some(field) => value(&field.child, member, &path, findings),
                None if inner.preserve_unknown => {}
                None => {
                    findings.push((path, "field not declared in schema".to_owned()));
                    return;
                }
            },
            _ => {}
        }
    }
}

fn list_items(list: &List, items: &[Tree], path: &str, findings: &mut Vec<Finding>) {
    let mut seen: Vec<Box<str>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let place = match (&list.kind, element::item(list, item)) {
            (ListKind::Atomic, _) => format!("[{index}]"),
            (kind, None) => {
                findings.push((path.to_owned(), format!("element {index}: {}", no_identity(kind, item))));
                return;
            }
            (_, Some(name)) => {
                let shown = element::describe(&name);
                if seen.contains(&name) {
                    findings.push((path.to_owned(), format!("duplicate entries for key {shown}")));
                }
                seen.push(name);
                shown
            }
        };
        value(&list.item, item, &format!("{path}{place}"), findings);
    }
}

/// Why an item has no identity.
fn no_identity(kind: &ListKind, item: &Tree) -> String {
    match (kind, item) {
        (ListKind::Map(_), Tree::Null) => "associative list with keys may not have a null element".to_owned(),
        (ListKind::Map(keys), Tree::Object(_)) => {
            let keys: Vec<String> = keys.iter().map(|key| crate::go::quote(key)).collect();
            format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            )
        }
        (ListKind::Map(_), _) => "associative list with keys may not have non-map elements".to_owned(),
        (_, Tree::Object(_)) => "associative list without keys has an element that's a map type".to_owned(),
        (_, Tree::Array(_)) => "not supported: associative list with lists as elements".to_owned(),
        _ => "associative list without keys has an element that's an explicit null".to_owned(),
    }
}

fn go_type(tree: &Tree) -> &'static str {
    match tree {
        Tree::Null => "<nil>",
        Tree::Bool(_) => "bool",
        Tree::Number(_) => "float64",
        Tree::String(_) => "string",
        Tree::Array(_) => "[]interface {}",
        Tree::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints it.
fn go_value(tree: &Tree) -> String {
    match tree {
        Tree::Null => "<nil>".to_owned(),
        Tree::Bool(flag) => flag.to_string(),
        Tree::Number(number) => go_float(number.as_f64().unwrap_or_default()),
        Tree::String(text) => text.clone(),
        Tree::Array(items) => {
            format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" "))
        }
        Tree::Object(object) => {
            let pairs: Vec<String> =
                object.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// A value as Go's `%#v` prints it.
fn go_syntax(tree: &Tree) -> String {
    match tree {
        Tree::Null => "interface {}(nil)".to_owned(),
        Tree::String(text) => crate::go::quote(text),
        Tree::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Tree::Object(object) => {
            let pairs: Vec<String> = object
                .iter()
                .map(|(key, value)| format!("{}:{}", crate::go::quote(key), go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        other => go_value(other),
    }
}

/// Every number of a configuration is a double to Go, printed in the shortest form.
fn go_float(number: f64) -> String {
    let short = format!("{number:e}");
    let (digits, exponent) = short.split_once('e').unwrap_or((&short, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let mut out = digits.to_owned();
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "e{sign}{:02}", exponent.abs()).expect("a string takes any text");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(kind: (&str, &str), config: Tree, expected: &str) {
        let schema = crate::kind(kind.0, "v1", kind.1).expect("a built-in kind");
        assert_eq!(check(schema, &config).unwrap_err(), expected, "{config}");
    }

    #[test]
    fn texts() {
        let map = ("", "ConfigMap");
        wrong(map, json!({"foo": {"a": 1}}), ".foo: field not declared in schema");
        wrong(map, json!({"data": ["a"]}), ".data: expected map, got &{[a]}");
        wrong(
            map,
            json!({"data": {"a": 5}}),
            ".data.a: expected string, got &value.valueUnstructured{Value:5}",
        );
        wrong(map, json!({"immutable": "x"}), ".immutable: expected boolean, got &{x}");
        wrong(
            ("apps", "Deployment"),
            json!({"spec": {"replicas": "x"}}),
            ".spec.replicas: expected numeric (int or float), got string",
        );
        let containers = |items: Tree| json!({"spec": {"containers": items}});
        wrong(
            ("", "Pod"),
            containers(json!([{"name": "a"}, {"name": "a"}])),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        );
        wrong(
            ("", "Pod"),
            containers(json!([{"name": "a", "x": 1}, {"name": "b", "image": true}])),
            "errors:\n  .spec.containers[name=\"a\"].x: field not declared in schema\n  .spec.containers[name=\"b\"].image: expected string, got &value.valueUnstructured{Value:true}",
        );
        wrong(
            map,
            json!({"metadata": {"finalizers": ["x", "x"]}}),
            ".metadata.finalizers: duplicate entries for key [=\"x\"]",
        );
    }

    #[test]
    fn an_item_without_its_key_has_the_empty_one() {
        let schema = crate::kind("", "v1", "Pod").expect("a built-in kind");
        assert_eq!(check(schema, &json!({"spec": {"containers": [{"image": "x"}]}})), Ok(()));
    }
}
