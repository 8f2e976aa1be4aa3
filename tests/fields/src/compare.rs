//! Holds two rounds of answers against each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::answer::Answer;
use crate::record::Accepted;
use crate::round::Answered;

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases.
    pub total: usize,
    /// Cases answered the same.
    pub equal: usize,
    /// Cases of each accepted row, in the rows' order.
    pub accepted: Vec<usize>,
    /// Cases that differ without a reason, with both answers.
    pub different: Vec<String>,
}

/// Compares ours with upstream's, case by case.
pub fn compare(ours: &[Answered], theirs: &[Answered], accepted: &[Accepted]) -> Outcome {
    let theirs: BTreeMap<&str, &Answer> = theirs.iter().map(|(id, answer)| (id.as_str(), answer)).collect();
    let mine: BTreeMap<&str, &Answer> = ours.iter().map(|(id, answer)| (id.as_str(), answer)).collect();
    let mut outcome = Outcome { accepted: vec![0; accepted.len()], ..Outcome::default() };
    let only_theirs = theirs.keys().filter(|id| !mine.contains_key(*id)).copied();
    for id in ours.iter().map(|(id, _)| id.as_str()).chain(only_theirs) {
        outcome.total += 1;
        let (our, their) = (mine.get(id), theirs.get(id));
        if let (Some(our), Some(their)) = (our, their)
            && our.is(their)
        {
            outcome.equal += 1;
        } else if let Some(at) = accepted.iter().position(|row| row.covers(id)) {
            outcome.accepted[at] += 1;
        } else {
            outcome.different.push(shown(id, our.copied(), their.copied()));
        }
    }
    outcome
}

fn shown(id: &str, our: Option<&Answer>, their: Option<&Answer>) -> String {
    let mut text = format!("{id}\n");
    let (Some(our), Some(their)) = (our, their) else {
        let who = if our.is_none() { "ours" } else { "upstream's" };
        let _ = writeln!(text, "  not among {who}");
        return text;
    };
    let mut line = |what: &str, our: String, their: String| {
        if our != their {
            let _ = writeln!(text, "  {what}\n    ours     {our}\n    upstream {their}");
        }
    };
    line("code", our.code.to_string(), their.code.to_string());
    line("reason", our.reason.clone(), their.reason.clone());
    if our.causes.is_empty() || their.causes.is_empty() || our.causes == their.causes {
        line("message", our.message.clone(), their.message.clone());
    }
    line("causes", causes(our), causes(their));
    line("warnings", our.warnings.join("\n             "), their.warnings.join("\n             "));
    match (&our.object, &their.object) {
        (Some(our), Some(their)) => differences(our, their, "", &mut text),
        _ => line("object", our.digest.clone(), their.digest.clone()),
    }
    text
}

fn causes(answer: &Answer) -> String {
    let lines: Vec<String> = answer.causes.iter().map(|cause| cause.join(" | ")).collect();
    lines.join("\n             ")
}

/// Every place where two objects differ.
fn differences(our: &Value, their: &Value, place: &str, text: &mut String) {
    match (our, their) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let absent = Value::String("(absent)".to_owned());
                let (one, other) = (one.get(key).unwrap_or(&absent), other.get(key).unwrap_or(&absent));
                differences(one, other, &format!("{place}.{key}"), text);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &format!("{place}[{index}]"), text);
            }
        }
        (one, other) if one != other => {
            let _ = writeln!(text, "  {place}\n    ours     {one}\n    upstream {other}");
        }
        _ => {}
    }
}
