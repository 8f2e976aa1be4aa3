//! Path elements in the form they have on the wire: `f:name`, `k:{"name":"a"}`, `v:"x"`, `i:3`.
//!
//! Elements are kept as this text everywhere: it compares, sorts and prints without a second form.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::set::FieldsError;
use crate::node::{Field, List, ListKind, Shape};
use crate::{Object, Tree, decode};

/// A field of a struct or a key of a map.
pub(super) fn field(name: &str) -> Box<str> {
    ["f:", name].concat().into()
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
    let default = |key: &str| form.and_then(|form| form.field(key)).and_then(published_default);
    let mut pairs: Vec<(&str, Cow<'_, Tree>)> = keys
        .iter()
        .filter_map(|key| Some((&**key, item.get(&**key).map(Cow::Borrowed).or_else(|| default(key))?)))
        .collect();
    pairs.sort_unstable_by_key(|(key, _)| *key);
    if pairs.is_empty() {
        return None;
    }
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{}:{}", json(&Tree::from(key)), json(&value)))
        .collect();
    Some(format!("k:{{{}}}", pairs.join(",")).into())
}

/// The default that the published schema names: a static one, or Go's zero for a scalar that is always printed.
fn published_default(field: &Field) -> Option<Cow<'_, Tree>> {
    let scalar = matches!(field.child.shape, Shape::String | Shape::Integer { .. } | Shape::Boolean);
    let zero = || (scalar && !field.omission.omit_empty).then(|| Cow::Owned(decode::zero(&field.child)));
    field.default.as_ref().map(Cow::Borrowed).or_else(zero)
}

/// Upstream's order of elements: fields, then keyed items, then values of sets, each by what they hold.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    fn parts(element: &str) -> (u8, &str) {
        match element.split_at_checked(2) {
            Some(("f:", rest)) => (0, rest),
            Some(("k:", rest)) => (1, rest),
            Some(("v:", rest)) => (2, rest),
            _ => (3, element),
        }
    }
    let ((rank, a_rest), (other, b_rest)) = (parts(a), parts(b));
    if rank != other || rank == 0 {
        return rank.cmp(&other).then_with(|| a_rest.cmp(b_rest));
    }
    let value = |text: &str| serde_json::from_str::<Tree>(text).unwrap_or_default();
    match (value(a_rest), value(b_rest)) {
        (Tree::Object(a), Tree::Object(b)) => pairs_order(&a, &b),
        (a, b) => value_order(&a, &b),
    }
}

fn pairs_order(a: &Object, b: &Object) -> Ordering {
    let pairs = a.iter().zip(b).map(|((a_key, a_value), (b_key, b_value))| {
        a_key.cmp(b_key).then_with(|| value_order(a_value, b_value))
    });
    pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
}

/// Numbers before texts before booleans.
fn value_order(a: &Tree, b: &Tree) -> Ordering {
    let rank = |value: &Tree| match value {
        Tree::Number(_) => 0,
        Tree::String(_) => 1,
        Tree::Bool(_) => 2,
        _ => 3,
    };
    match (a, b) {
        (Tree::Number(a), Tree::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Tree::String(a), Tree::String(b)) => a.cmp(b),
        (Tree::Bool(a), Tree::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// JSON as Go writes it: without blanks, and safe to stand in HTML.
pub(super) fn json(tree: &Tree) -> String {
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
        Tree::String(text) => crate::go::quote(text),
        other => other.to_string(),
    }
}
