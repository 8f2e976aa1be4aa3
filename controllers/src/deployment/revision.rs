//! Template hashes, and the annotations that carry a deployment's history.

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Label that tells the sets of a deployment apart.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// Annotations of a deployment that its sets do not get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// Longest history kept, in characters.
const HISTORY_MAX: usize = 2000;
/// Letters and digits that spell no bad word, as upstream.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A hash of a template, stable as long as the template is.
///
/// Upstream hashes Go's print of its struct, which nobody else can reproduce;
/// clients depend only on the alphabet, the length and the stability. Ours is
/// FNV-1a of the tree with its keys in order.
pub(super) fn template_hash(template: &Value, collisions: Option<i32>) -> String {
    let mut hash = Fnv::default();
    hash.tree(template);
    if let Some(collisions) = collisions {
        hash.bytes(&collisions.to_le_bytes());
    }
    let digits = hash.0.to_string();
    digits.bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(2_166_136_261)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(16_777_619);
        }
    }

    fn tree(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                // The order of a map is nobody's promise.
                let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
                self.bytes(b"{");
                for (name, value) in sorted {
                    self.bytes(name.as_bytes());
                    self.bytes(b":");
                    self.tree(value);
                }
                self.bytes(b"}");
            }
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| {
                    self.tree(item);
                    self.bytes(b",");
                });
                self.bytes(b"]");
            }
            scalar => self.bytes(scalar.to_string().as_bytes()),
        }
    }
}

/// Whether two templates make the same pods, whatever their hash labels.
pub(super) fn same_template(left: &Value, right: &Value) -> bool {
    without_hash(left) == without_hash(right)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
    }
    template
}

/// The number in a revision annotation; 0 if there is none or it is no number.
pub(super) fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Gives a set its deployment's annotations and, if it is older, a new revision.
pub(super) fn inherit(
    set: &mut BTreeMap<String, String>,
    deployment: &BTreeMap<String, String>,
    new_revision: i64,
) {
    for (name, value) in deployment {
        if !OWN.contains(&name.as_str()) {
            set.insert(name.clone(), value.clone());
        }
    }
    let old = set.get(REVISION).cloned();
    let old_number = match old.as_deref() {
        None | Some("") => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(number) => number,
            // Somebody wrote something else there: it stays.
            Err(_) => return,
        },
    };
    if old_number >= new_revision {
        return;
    }
    set.insert(REVISION.to_owned(), new_revision.to_string());
    if let Some(old) = old {
        let history = set.get(HISTORY).cloned().unwrap_or_default();
        if let Some(history) = lengthen(&history, &old) {
            set.insert(HISTORY.to_owned(), history);
        }
    }
}

/// A history with one more revision; the oldest go when it grows too long.
fn lengthen(history: &str, revision: &str) -> Option<String> {
    if history.is_empty() {
        return Some(revision.to_owned());
    }
    let mut revisions: Vec<&str> = history.split(',').collect();
    revisions.push(revision);
    let mut length = history.len() + revision.len() + 1;
    let mut first = 0;
    while length > HISTORY_MAX && first + 1 < revisions.len() {
        length -= revisions[first].len() + 1;
        first += 1;
    }
    (length <= HISTORY_MAX).then(|| revisions[first..].join(","))
}

/// Notes on a set how large its deployment was to be when it was scaled.
pub(super) fn note_size(set: &mut BTreeMap<String, String>, desired: i32, max: i32) {
    set.insert(DESIRED.to_owned(), desired.to_string());
    set.insert(MAX.to_owned(), max.to_string());
}

/// A size noted on a set.
pub(super) fn noted(set: &BTreeMap<String, String>, annotation: &str) -> Option<i32> {
    let number: i32 = set.get(annotation)?.parse().ok()?;
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hashes_depend_on_content_and_collisions_only() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":[true,"x"]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b":[true,"x"],"a":1}"#).unwrap();
        assert_eq!(template_hash(&one, None), template_hash(&other, None));
        assert_ne!(template_hash(&one, None), template_hash(&one, Some(1)));
        assert_ne!(template_hash(&one, None), template_hash(&json!({ "a": 2 }), None));
        assert!(template_hash(&one, None).bytes().all(|letter| SAFE.contains(&letter)));
    }

    #[test]
    fn a_set_taken_up_again_remembers_its_revisions() {
        let deployment =
            BTreeMap::from([("team".to_owned(), "a".to_owned()), (REVISION.to_owned(), "9".to_owned())]);
        let mut set = BTreeMap::new();
        inherit(&mut set, &deployment, 1);
        assert_eq!((set["team"].as_str(), set[REVISION].as_str(), set.get(HISTORY)), ("a", "1", None));
        inherit(&mut set, &deployment, 3);
        inherit(&mut set, &deployment, 3);
        inherit(&mut set, &deployment, 7);
        assert_eq!((set[REVISION].as_str(), set[HISTORY].as_str()), ("7", "1,3"));
    }
}
