//! Lists and maps with a bound, whose items are looked at one by one.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::field::{self, BadValue, Error, Path};

/// Everything wrong with the items of a list; only its length when it is too long.
pub(super) fn list<'a, T>(
    items: &'a [T],
    max: usize,
    path: &Path,
    rule: impl Fn(&'a T, &Path) -> Vec<Error>,
) -> Vec<Error> {
    if items.len() > max {
        return vec![field::too_many(path, items.len(), max)];
    }
    items.iter().enumerate().flat_map(|(index, item)| rule(item, &path.index(index))).collect()
}

/// The same for a list in which no key may occur twice.
pub(super) fn set<'a, T, K: Into<BadValue> + Clone + Eq + std::hash::Hash>(
    items: &'a [T],
    max: usize,
    path: &Path,
    rule: impl Fn(&'a T, &Path) -> Vec<Error>,
    key: impl Fn(&'a T) -> K,
) -> Vec<Error> {
    let mut errors = list(items, max, path, rule);
    if items.len() > max {
        return errors;
    }
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = key(item);
        if !seen.insert(key.clone()) {
            errors.push(field::duplicate(&path.index(index), key));
        }
    }
    errors
}

/// Everything wrong with the keys and values of a map. Keys are told at the map, values at their key.
pub(super) fn map(
    items: Option<&Map<String, Value>>,
    max: usize,
    path: &Path,
    key_rule: impl Fn(&str, &Path) -> Vec<Error>,
    rule: impl Fn(&Value, &Path) -> Vec<Error>,
) -> Vec<Error> {
    let Some(items) = items else { return Vec::new() };
    if items.len() > max {
        return vec![field::too_many(path, items.len(), max)];
    }
    let each = |(key, value): (&String, &Value)| {
        let mut errors = key_rule(key, path);
        errors.extend(rule(value, &path.key(&shortened(key))));
        errors
    };
    items.iter().flat_map(each).collect()
}

/// Bytes of a key in a path.
const KEY_SHOWN_MAX: usize = 96;

fn shortened(key: &str) -> String {
    if key.len() <= KEY_SHOWN_MAX || !key.is_ascii() {
        return key.to_owned();
    }
    let kept = KEY_SHOWN_MAX - 3;
    format!("{}...{}", &key[..kept.div_ceil(2)], &key[key.len() - kept / 2..])
}
