//! What of a reply must be equal: code, reason, message, causes and warnings, and the object where one was accepted.
//!
//! What a server draws by itself (uids, revisions, times of now, random suffixes) is masked, and nothing else.

use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Seconds around now in which a time is taken for one that the server gave.
const NOW_SECONDS: i64 = 2 * 3600;

static UID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").expect("a pattern")
});
static TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").expect("a pattern"));
static REVISION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"in record \(\d+\)").expect("a pattern"));
static SUFFIX: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("kube-api-access-[a-z0-9]{5}").expect("a pattern"));

/// A reply, in the form that is compared and kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP code.
    #[serde(rename = "c")]
    pub code: u16,
    /// The Status' reason.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The Status' message.
    #[serde(rename = "m", default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Field, reason and message of each cause.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<[String; 3]>,
    /// Texts of the Warning headers.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of an accepted object, the hash of what follows.
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The accepted object, while it is at hand.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
}

impl Answer {
    /// Reads a reply.
    pub fn new(code: u16, warnings: Vec<String>, body: &[u8]) -> Self {
        let warnings = warnings.into_iter().map(|text| masked(&text)).collect();
        let body: Value = serde_json::from_slice(body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
        if code < 300 {
            let object = bare(body);
            let digest = digest(&object);
            return Self { code, warnings, digest, object: Some(object), ..Self::default() };
        }
        let text = |value: &Value| masked(value.as_str().unwrap_or_default());
        let causes = body["details"]["causes"].as_array().cloned().unwrap_or_default();
        let causes = causes.iter();
        Self {
            code,
            warnings,
            reason: text(&body["reason"]),
            message: if body.is_string() { text(&body) } else { text(&body["message"]) },
            causes: causes
                .map(|cause| [&cause["field"], &cause["reason"], &cause["message"]].map(text))
                .collect(),
            ..Self::default()
        }
    }

    /// Whether a reader cannot tell the two apart.
    pub fn is(&self, other: &Self) -> bool {
        let parts = |answer: &Self| Self { object: None, ..answer.clone() };
        parts(self) == parts(other)
    }
}

fn digest(object: &Value) -> String {
    let hash = Sha256::digest(object.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The object without what differs between two servers.
fn bare(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for drawn in ["uid", "resourceVersion", "creationTimestamp"] {
            metadata.remove(drawn);
        }
        if let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
            // Their order is that of the seconds in which they were written.
            entries.iter_mut().for_each(|entry| drop(entry["time"].take()));
            entries.sort_by_key(Value::to_string);
        }
    }
    if object["kind"] == "TokenRequest" {
        object["status"]["token"].take();
    }
    mask_tree(&mut object);
    object
}

fn mask_tree(tree: &mut Value) {
    match tree {
        Value::String(text) => *text = masked(text),
        Value::Array(items) => items.iter_mut().for_each(mask_tree),
        Value::Object(fields) => fields.values_mut().for_each(mask_tree),
        _ => {}
    }
}

fn masked(text: &str) -> String {
    let text = UID.replace_all(text, "<uid>");
    let text = SUFFIX.replace_all(&text, "kube-api-access-<id>");
    let text = REVISION.replace_all(&text, "in record (<revision>)");
    let is_now = |text: &str| {
        let now = Timestamp::now().as_second();
        text.parse::<Timestamp>().is_ok_and(|at| (at.as_second() - now).abs() < NOW_SECONDS)
    };
    TIME.replace_all(
        &text,
        |found: &regex::Captures<'_>| {
            if is_now(&found[0]) { "<now>".to_owned() } else { found[0].to_owned() }
        },
    )
    .into_owned()
}
