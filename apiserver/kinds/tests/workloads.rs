//! What upstream answered to writes and Table requests of pods and workloads, replayed on the strategies and pod admission.
//!
//! Each line of `testdata/workloads.jsonl` is one recorded step. `object` is what is to be stored: the body of a create, or
//! the result of a patch. `old` is what it replaces, left out with `update` when that is the last accepted answer of the same
//! name. `answer`, or `message` with `causes`, or the Table `row` come out. `<any>` in an answer matches anything: the
//! recording masked it.

use std::collections::HashMap;

use kinds::core::pod::admission;
use kinds::field::{self, Error};
use kinds::{Strategy, Subresource, tree, write};
use serde_json::{Value, json};

/// The time of every replayed write; recorded times are masked.
const NOW: &str = "2026-01-01T00:00:00Z";

/// The recorded uids are masked; this one stands for all.
const UID: &str = "22222222-2222-2222-2222-222222222222";

#[test]
fn strategies_answer_as_upstream() {
    let mut stored = HashMap::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for line in include_str!("../testdata/workloads.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a line of test data is JSON");
        count += 1;
        if let Err(difference) = replay(&case, &mut stored) {
            failures.push(format!("{}: {difference}", tree::str_at(&case, "case")));
        }
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}

fn replay(case: &Value, stored: &mut HashMap<String, Value>) -> Result<(), String> {
    let resource = tree::strings_at(case, "resource");
    let strategy = kinds::strategy(resource[0], resource[1], resource[2]).ok_or("no strategy")?;
    let mut object = case["object"].clone();
    if tree::at(case, "row").is_some() {
        return check_row(strategy, case);
    }
    let file = tree::str_at(case, "case").split('/').next().unwrap_or("").to_owned();
    let key = format!("{file}/{}/{}", resource[2], tree::str_at(&object, "metadata.name"));
    let old = match tree::at(case, "old") {
        Some(old) => Some(old.clone()),
        None if tree::bool_at(case, "update") == Some(true) => stored.get(&key).cloned(),
        None => None,
    };

    let sub = Subresource::parse(tree::str_at(case, "sub")).ok_or("unknown subresource")?;
    let (errors, warnings) = match run(strategy, sub, &mut object, old.as_ref()) {
        Ok(outcome) => outcome,
        Err(text) => {
            let name = tree::str_at(&object, "metadata.name");
            return same(&format!("pods \"{name}\" is forbidden: {text}"), tree::str_at(case, "forbidden"));
        }
    };
    if tree::at(case, "message").is_some() {
        return check_errors(strategy, case, &object, &errors);
    }
    if !errors.is_empty() {
        return Err(format!("refused: {}", field::summary(&errors)));
    }
    if json!(warnings) != case["warnings"] {
        return Err(format!("warnings\n  ours     {}\n  upstream {}", json!(warnings), case["warnings"]));
    }
    if tree::at(case, "dry").is_none() {
        stored.insert(key, object.clone());
    }
    conform(strategy, &mut object)?;
    if matches(&object, &case["answer"]) {
        Ok(())
    } else {
        Err(format!("object\n  ours     {object}\n  upstream {}", case["answer"]))
    }
}

/// One write as the server does it: decode, default, admit, prepare, validate.
fn run(
    strategy: &dyn Strategy,
    sub: Subresource,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(Vec<Error>, Vec<String>), String> {
    conform(strategy, object)?;
    strategy.default(object);
    let once = object.clone();
    strategy.default(object);
    same(&object.to_string(), &once.to_string())?;
    if strategy.resource().plural == "pods" && sub == Subresource::None {
        admit(object, old)?;
    }
    let errors = match old {
        None => {
            for (name, value) in [("uid", UID), ("creationTimestamp", NOW), ("resourceVersion", "7")] {
                tree::set(object, &format!("metadata.{name}"), value);
            }
            write::prepare_create(strategy, object);
            write::validate_create(strategy, object)
        }
        Some(old) => {
            write::prepare_update(strategy, sub, object, old);
            write::validate_update(strategy, sub, object, old)
        }
    };
    Ok((errors, strategy.warnings(object, old)))
}

fn admit(pod: &mut Value, old: Option<&Value>) -> Result<(), String> {
    if let Some(old) = old {
        admission::default_tolerations(pod);
        admission::keep_priority(pod, old);
        return Ok(());
    }
    assert_eq!(admission::service_account_name(pod), "default");
    admission::apply_service_account(pod, &json!({"metadata": {"name": "default"}}), "abcde");
    let class = json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000, "preemptionPolicy": "PreemptLowerPriority"});
    let named = tree::str_at(pod, "spec.priorityClassName") == "system-node-critical";
    admission::set_priority(pod, named.then_some(&class))?;
    admission::default_tolerations(pod);
    admission::apply_runtime_class(pod, None)
}

fn conform(strategy: &dyn Strategy, object: &mut Value) -> Result<(), String> {
    let resource = strategy.resource();
    let schema = schema::kind(&resource.group, &resource.version, &resource.kind).ok_or("no schema")?;
    schema::decode::conform(schema, object).map(drop).map_err(|error| error.to_string())
}

fn check_errors(
    strategy: &dyn Strategy,
    case: &Value,
    object: &Value,
    errors: &[Error],
) -> Result<(), String> {
    let resource = strategy.resource();
    let kind = if resource.group.is_empty() {
        resource.kind.clone()
    } else {
        format!("{}.{}", resource.kind, resource.group)
    };
    let name = tree::str_at(object, "metadata.name");
    let message = format!("{kind} \"{name}\" is invalid: {}", field::summary(errors));
    same(&masked(&message), tree::str_at(case, "message"))?;
    let causes: Vec<Value> = errors
        .iter()
        .map(|error| json!({"reason": error.ty.reason(), "message": masked(&error.body()), "field": error.field}))
        .collect();
    same(&json!(causes).to_string(), &case["causes"].to_string())
}

/// The recording masks uids in texts.
fn masked(text: &str) -> String {
    text.replace("11111111-1111-1111-1111-111111111111", "<uuid>").replace(UID, "<uuid>")
}

fn same(ours: &str, upstream: &str) -> Result<(), String> {
    if ours == upstream { Ok(()) } else { Err(format!("text\n  ours     {ours}\n  upstream {upstream}")) }
}

/// Equality that lets masked values match anything. The header of an object is the server's business.
fn matches(ours: &Value, upstream: &Value) -> bool {
    match (ours, upstream) {
        (_, Value::String(mask)) if mask == "<any>" => true,
        (Value::Object(left), Value::Object(right)) => {
            let header = ["kind", "apiVersion", "resourceVersion", "lastTransitionTime"];
            left.keys().chain(right.keys()).filter(|key| !header.contains(&key.as_str())).all(|key| {
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => matches(left, right),
                    (None, Some(Value::String(mask))) => mask == "<any>",
                    _ => false,
                }
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| matches(left, right))
        }
        (left, right) => left == right,
    }
}

fn check_row(strategy: &dyn Strategy, case: &Value) -> Result<(), String> {
    let columns: Vec<Value> = strategy
        .columns()
        .iter()
        .map(|column| json!([column.name, column.r#type, column.format, column.priority]))
        .collect();
    same(&json!(columns).to_string(), &case["columns"].to_string())?;
    let cells = json!(strategy.row(&case["object"], NOW.parse().expect("a timestamp")));
    let conditions = json!(strategy.row_conditions(&case["object"]));
    same(&conditions.to_string(), &case["conditions"].to_string())?;
    if matches(&cells, &case["row"]) {
        Ok(())
    } else {
        Err(format!("cells {cells} but upstream {}", case["row"]))
    }
}
