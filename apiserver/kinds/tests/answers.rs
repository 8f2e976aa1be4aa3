//! What upstream answered to writes and Table requests of these kinds, replayed on the strategies alone.
//!
//! Each line of `testdata/answers.jsonl` is one recorded step: `object` (and `old`, what was stored before) go in; `errors` or
//! the accepted `answer` come out, or a Table `row`. `<any>` in an answer matches anything: the recording masked it.

use kinds::core::service::allocation::{self, Family};
use kinds::{Strategy, Subresource, Tree, meta, tree, write};
use serde_json::{Value, json};

const NOW: &str = "2020-01-01T00:05:00Z";

/// Fields the server fills in around the strategy.
const SERVER_FIELDS: &[&str] = &["uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace"];

#[test]
fn strategies_answer_as_upstream() {
    let mut failures = Vec::new();
    let mut count = 0;
    for line in include_str!("../testdata/answers.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a line of test data is JSON");
        count += 1;
        if let Err(difference) = replay(&case) {
            failures.push(format!("{}: {difference}", tree::str_at(&case, "case")));
        }
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}

fn replay(case: &Value) -> Result<(), String> {
    let resource = tree::strings_at(case, "resource");
    let strategy = kinds::strategy(resource[0], resource[1], resource[2]).ok_or("no strategy")?;
    if let Some(row) = tree::at(case, "row") {
        return check_row(strategy, case, row);
    }

    let sub = Subresource::parse(tree::str_at(case, "sub")).ok_or("unknown subresource")?;
    let mut object = case["object"].clone();
    let old = tree::at(case, "old");
    strategy.default(&mut object);
    let mut told: Vec<String> = strategy.deprecation().map(str::to_owned).into_iter().collect();
    told.extend(meta::dedup_owners(&mut object));
    if !strategy.resource().namespaced {
        write::match_namespace(&mut object, "").expect("clearing a namespace is always possible");
    }
    let (errors, warnings) = run(strategy, sub, &mut object, old, tree::at(case, "answer"));

    match tree::at(case, "errors") {
        Some(expected) => check_errors(strategy, case, &errors, expected),
        None => {
            if !errors.is_empty() {
                return Err(format!("refused: {}", errors.join("; ")));
            }
            told.extend(warnings);
            if json!(told) != case["warnings"] {
                return Err(format!("warnings {told:?} but upstream {}", case["warnings"]));
            }
            check_answer(strategy, &object, &case["answer"])
        }
    }
}

/// One write as the server does it, allocation included; the pools hand out what upstream's answer shows.
fn run(
    strategy: &dyn Strategy,
    sub: Subresource,
    object: &mut Tree,
    old: Option<&Tree>,
    answer: Option<&Tree>,
) -> (Vec<String>, Vec<String>) {
    let print = |errors: Vec<kinds::field::Error>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    if strategy.resource().plural == "services"
        && sub == Subresource::None
        && let Err(refusal) = allocate(object, old, answer)
    {
        return match refusal {
            allocation::Refusal::Invalid(errors) => (print(errors), Vec::new()),
            allocation::Refusal::DuplicateNodePort(text) => (vec![text], Vec::new()),
        };
    }
    let errors = match old {
        None => {
            write::prepare_create(strategy, object);
            strategy.stamp(sub, object, None, NOW);
            write::validate_create(strategy, object)
        }
        Some(old) => {
            write::prepare_update(strategy, sub, object, old);
            strategy.stamp(sub, object, Some(old), NOW);
            write::validate_update(strategy, sub, object, old)
        }
    };
    (print(errors), strategy.warnings(object, old))
}

fn allocate(object: &mut Tree, old: Option<&Tree>, answer: Option<&Tree>) -> Result<(), allocation::Refusal> {
    let needs = allocation::begin(object, old, &[Family::V4])?;
    for need in &needs.addresses {
        let ip = need.requested.clone().unwrap_or_else(|| "10.96.77.7".to_owned());
        need.assign(object, &ip);
    }
    for need in &needs.node_ports {
        need.assign(object, need.requested.unwrap_or(30_999));
    }
    if let Some(requested) = needs.health_check {
        let shown = answer.and_then(|answer| tree::int_at(answer, "spec.healthCheckNodePort"));
        tree::set(object, "spec.healthCheckNodePort", requested.or(shown).unwrap_or(30_998));
    }
    Ok(())
}

fn check_errors(
    strategy: &dyn Strategy,
    case: &Value,
    errors: &[String],
    expected: &Value,
) -> Result<(), String> {
    if json!(errors) != *expected {
        return Err(format!("errors\n  ours     {}\n  upstream {expected}", json!(errors)));
    }
    let kind = strategy.error_kind();
    let upstream = tree::strings_at(case, "kind");
    if upstream != [kind.0, kind.1] {
        return Err(format!("kind {kind:?} but upstream {upstream:?}"));
    }
    Ok(())
}

fn check_answer(strategy: &dyn Strategy, object: &Value, answer: &Value) -> Result<(), String> {
    let strip = |object: &Value| {
        let mut object = object.clone();
        for name in SERVER_FIELDS {
            tree::remove(&mut object, &format!("metadata.{name}"));
        }
        for name in ["kind", "apiVersion"] {
            tree::remove(&mut object, name);
        }
        if !strategy.resource().is_stored() {
            // The answer to a question is not the strategy's.
            tree::remove(&mut object, "status");
        }
        object
    };
    let (ours, upstream) = (strip(object), strip(answer));
    if matches(&ours, &upstream) {
        Ok(())
    } else {
        Err(format!("object\n  ours     {ours}\n  upstream {upstream}"))
    }
}

/// Equality that lets masked values match anything and empty ones be absent.
fn matches(ours: &Value, upstream: &Value) -> bool {
    match (ours, upstream) {
        (_, Value::String(mask)) if mask == "<any>" || mask == "<time>" => true,
        (Value::Object(left), Value::Object(right)) => {
            left.keys().chain(right.keys()).all(|key| match (left.get(key), right.get(key)) {
                (Some(left), Some(right)) => matches(left, right),
                (Some(only), None) | (None, Some(only)) => is_nothing(only),
                (None, None) => true,
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| matches(left, right))
        }
        (left, right) => left == right || (is_nothing(left) && is_nothing(right)),
    }
}

/// What decoding adds or drops around the strategies: zero values.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::String(mask) if mask == "<any>" => true,
        other => {
            *other == Value::Null
                || *other == json!("")
                || *other == json!([])
                || *other == json!(0)
                || *other == json!(false)
        }
    }
}

fn check_row(strategy: &dyn Strategy, case: &Value, row: &Value) -> Result<(), String> {
    let columns: Vec<Value> = strategy
        .columns()
        .iter()
        .map(|column| json!([column.name, column.r#type, column.format, column.priority]))
        .collect();
    if json!(columns) != case["columns"] {
        return Err(format!("columns {} but upstream {}", json!(columns), case["columns"]));
    }
    let now = NOW.parse().expect("a timestamp");
    let cells = strategy.row(&strategy.to_stored(case["old"].clone()), now);
    let same = matches(&json!(cells), row);
    if same { Ok(()) } else { Err(format!("cells {} but upstream {row}", json!(cells))) }
}
