//! Path elements in the form they have on the wire: `f:name`, `k:{"name":"a"}`, `v:"x"`, `i:3`.
//!
//! Elements are kept as this text everywhere: it compares, sorts and prints without a second form.

use super::set::FieldsError;
use crate::node::{List, ListKind};
use crate::{Object, Tree};

/// A field of a struct or a key of a map.
pub(super) fn field(name: &str) -> Box<str> {
    format!("f:{name}").into()
}

/// An item of a list that is no atom. `None` when the item has no identity: an item without any of its keys, or no scalar
/// in a set.
pub(super) fn item(list: &List, item: &Tree) -> Option<Box<str>> {
    match &list.kind {
        ListKind::Atomic => None,
        ListKind::Set if matches!(item, Tree::Null | Tree::Array(_) | Tree::Object(_)) => None,
        ListKind::Set => Some(format!("v:{}", json(item)).into()),
        ListKind::Map(keys) => keyed(list, keys, item.as_object()?),
    }
}

/// Absent keys take their default; without one they are left out, which makes another item.
fn keyed(list: &List, keys: &[Box<str>], item: &Object) -> Option<Box<str>> {
    let form = list.item.as_struct();
    let default = |key: &str| form.and_then(|form| form.field(key)).and_then(|field| field.default.as_ref());
    let mut pairs: Vec<(&str, &Tree)> =
        keys.iter().filter_map(|key| Some((&**key, item.get(&**key).or_else(|| default(key))?))).collect();
    pairs.sort_unstable_by_key(|(key, _)| *key);
    if pairs.is_empty() {
        return None;
    }
    let pairs: Vec<String> =
        pairs.into_iter().map(|(key, value)| format!("{}:{}", json(&Tree::from(key)), json(value))).collect();
    Some(format!("k:{{{}}}", pairs.join(",")).into())
}

/// JSON as Go writes it: without blanks, and safe to stand in HTML.
fn json(tree: &Tree) -> String {
    let text = tree.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", character as u32))
            }
            other => out.push(other),
        }
    }
    out
}

/// The one form of an element that a client sent.
pub(super) fn canonical(text: &str) -> Result<Box<str>, FieldsError> {
    let refused = || FieldsError(text.to_owned());
    match text.split_once(':').ok_or_else(refused)? {
        ("f", _) => Ok(text.into()),
        ("i", index) => index.parse::<i64>().map(|index| format!("i:{index}").into()).map_err(|_| refused()),
        ("v", value) => {
            Ok(format!("v:{}", json(&serde_json::from_str(value).map_err(|_| refused())?)).into())
        }
        ("k", keys) => {
            let keys: Object = serde_json::from_str(keys).map_err(|_| refused())?;
            Ok(format!("k:{}", json(&Tree::Object(keys))).into())
        }
        _ => Err(refused()),
    }
}

/// An element as conflict messages print it: `.image`, `[name="a"]`, `[="x"]`, `[3]`.
pub(super) fn describe(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={}]", shown(value)),
        Some(("k", keys)) => {
            let keys: Object = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> =
                keys.iter().map(|(key, value)| format!("{key}={}", value_shown(value))).collect();
            format!("[{}]", pairs.join(","))
        }
        Some((_, rest)) => format!("[{rest}]"),
        None => element.to_owned(),
    }
}

fn shown(value: &str) -> String {
    serde_json::from_str(value).map_or_else(|_| value.to_owned(), |value| value_shown(&value))
}

fn value_shown(value: &Tree) -> String {
    match value {
        Tree::String(text) => crate::decode::go_quoted(text),
        other => other.to_string(),
    }
}
