//! libFuzzer's dictionary: the names and values that the kinds know, which no mutation guesses.

use std::collections::BTreeSet;

use schema::{Schema, Shape};

use crate::{grow, mutate};

/// A word longer than this is not taken by libFuzzer.
const LENGTH_MAX: usize = 60;

/// Deep enough for every field that does not contain itself.
const DEPTH_MAX: usize = 14;

/// A word a line, each byte in hexadecimal.
pub fn dictionary() -> String {
    let mut words = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for strategy in kinds::all() {
        let resource = strategy.resource();
        words.insert(format!("{} {}\n", resource.api_version(), resource.kind));
        if let Some(schema) = schema::kind(&resource.group, &resource.version, &resource.kind) {
            collect(schema, 0, &mut seen, &mut words);
        }
    }
    words.extend(mutate::words().map(str::to_owned));
    words.extend(grow::texts().map(|text| format!("\"{text}\"")));
    let escaped = |word: &String| word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let words = words.iter().filter(|word| (1..=LENGTH_MAX).contains(&word.len()));
    words.map(|word| format!("\"{}\"\n", escaped(word))).collect()
}

/// The names of a schema's fields, each as a field of JSON.
fn collect(schema: &Schema, depth: usize, seen: &mut BTreeSet<String>, words: &mut BTreeSet<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    match &schema.shape {
        Shape::Struct(inner) if seen.insert(schema.name.to_string()) => {
            for field in &inner.fields {
                words.insert(format!("\"{}\":", field.name));
                collect(&field.child, depth + 1, seen, words);
            }
        }
        Shape::List(list) => collect(&list.item, depth + 1, seen, words),
        Shape::Map(map) => collect(&map.value, depth + 1, seen, words),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_field_of_a_pod_is_a_word() {
        let hex: String =
            "\"terminationGracePeriodSeconds\":".bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        assert!(super::dictionary().lines().any(|line| line == format!("\"{hex}\"")));
    }
}
