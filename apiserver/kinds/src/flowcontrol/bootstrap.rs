//! The FlowSchemas and priority levels that every cluster has, and what becomes of them when somebody changes one.
//!
//! Mandatory objects are put back whatever happens. Suggested ones are made again when they are gone, and follow a new
//! version of this table until an administrator has changed them or has said so with [`AUTO_UPDATE`].

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::tree::{carry_over, list_at_mut, map_at, same_at, set, str_at};

/// The annotation that says whether the server keeps an object as its own table has it.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// The manager under whose name the server writes these objects.
pub const FIELD_MANAGER: &str = "api-priority-and-fairness-config-producer-v1";

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// One shipped object.
#[derive(Debug)]
pub struct Shipped {
    /// The object, defaulted.
    pub object: Value,
    /// Whether the server insists on it.
    pub mandatory: bool,
}

/// Every shipped object, levels before the schemas that name them.
pub fn shipped() -> &'static [Shipped] {
    static SHIPPED: LazyLock<Vec<Shipped>> = LazyLock::new(|| parse(include_str!("bootstrap.txt")));
    &SHIPPED
}

/// The mandatory object of this kind and name.
pub(super) fn mandatory_spec(kind: &str, name: &str) -> Option<&'static Value> {
    let objects = shipped().iter().filter(|shipped| shipped.mandatory).map(|shipped| &shipped.object);
    objects
        .into_iter()
        .find(|object| str_at(object, "kind") == kind && str_at(object, "metadata.name") == name)
}

/// The shipped object that has this one's kind and name.
pub fn of(object: &Value) -> Option<&'static Shipped> {
    let same = |path: &str, shipped: &Shipped| str_at(&shipped.object, path) == str_at(object, path);
    shipped().iter().find(|shipped| same("kind", shipped) && same("metadata.name", shipped))
}

/// What a stored object must become; `None` when it is as it should be.
pub fn revised(stored: &Value, shipped: &Shipped) -> Option<Value> {
    let follows = shipped.mandatory || follows_table(stored);
    let is_marked = auto_update(stored) == Some(follows);
    let is_changed = follows && !same_at(stored, &shipped.object, "spec");
    if is_marked && !is_changed {
        return None;
    }
    let mut revised = stored.clone();
    if is_changed {
        carry_over(&mut revised, &shipped.object, "spec");
        set(&mut revised, "metadata.generation", crate::meta::next(crate::meta::generation(stored)));
    }
    let mut annotations = map_at(&revised, "metadata.annotations").cloned().unwrap_or_default();
    annotations.insert(AUTO_UPDATE.to_owned(), json!(follows.to_string()));
    set(&mut revised, "metadata.annotations", Value::Object(annotations));
    Some(revised)
}

/// Whether a stored object is one of an earlier table, which nobody has claimed since.
pub fn is_left_over(stored: &Value) -> bool {
    auto_update(stored) == Some(true) && of(stored).is_none()
}

fn follows_table(stored: &Value) -> bool {
    auto_update(stored).unwrap_or_else(|| crate::meta::generation(stored) == 1)
}

/// Go reads more spellings of a boolean than two.
fn auto_update(stored: &Value) -> Option<bool> {
    match map_at(stored, "metadata.annotations")?.get(AUTO_UPDATE)?.as_str()? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn parse(table: &str) -> Vec<Shipped> {
    let mut shipped: Vec<Shipped> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["level", name, rank, kind, ref numbers @ ..] => {
                shipped.push(object("PriorityLevelConfiguration", name, rank, level(kind, numbers)));
            }
            ["schema", name, rank, level, precedence, method] => {
                shipped.push(object("FlowSchema", name, rank, schema(level, precedence, method)));
            }
            ref rule => {
                let owner = shipped.last_mut().expect("a rule stands below its schema");
                add_rule(&mut owner.object, rule);
            }
        }
    }
    shipped
}

fn object(kind: &str, name: &str, rank: &str, spec: Value) -> Shipped {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    });
    Shipped { object, mandatory: rank == "mandatory" }
}

fn level(kind: &str, numbers: &[&str]) -> Value {
    let numbers: Vec<i64> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
    let shares = json!({"nominalConcurrencyShares": numbers[0], "lendablePercent": numbers[1]});
    if kind == "Exempt" {
        return json!({"type": kind, "exempt": shares});
    }
    let mut limited = shares;
    limited["limitResponse"] = match numbers[2..] {
        [queues, hand, length] => {
            let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": length});
            json!({"type": "Queue", "queuing": queuing})
        }
        _ => json!({"type": "Reject"}),
    };
    json!({"type": kind, "limited": limited})
}

fn schema(level: &str, precedence: &str, method: &str) -> Value {
    let precedence: i64 = precedence.parse().expect("a number");
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [{}],
    });
    if method != "-" {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    spec
}

fn add_rule(schema: &mut Value, words: &[&str]) {
    let rule = &mut list_at_mut(schema, "spec.rules")[0];
    match words {
        ["who", subjects @ ..] => {
            rule["subjects"] = subjects.iter().map(|subject| self::subject(subject)).collect();
        }
        ["may", verbs, groups, resources, namespaces, scope @ ..] => {
            let mut may = json!({
                "verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources),
                "namespaces": list(namespaces),
            });
            if !scope.is_empty() {
                may["clusterScope"] = json!(true);
            }
            append(rule, "resourceRules", may);
        }
        ["gets", verbs, urls] => {
            append(rule, "nonResourceRules", json!({"verbs": list(verbs), "nonResourceURLs": list(urls)}));
        }
        other => panic!("the table of shipped objects has a line nobody reads: {other:?}"),
    }
}

fn append(rule: &mut Value, name: &str, item: Value) {
    match rule[name].as_array_mut() {
        Some(list) => list.push(item),
        None => rule[name] = json!([item]),
    }
}

fn subject(text: &str) -> Value {
    match text.split_once(':').expect("a subject has a letter and a colon") {
        ("g", name) => json!({"kind": "Group", "group": {"name": name}}),
        ("u", name) => json!({"kind": "User", "user": {"name": name}}),
        (_, account) => {
            let (namespace, name) = account.split_once('/').expect("a service account has a namespace");
            json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}})
        }
    }
}

fn list(text: &str) -> Vec<&str> {
    if text == "\"\"" { vec![""] } else { text.split(',').collect() }
}
