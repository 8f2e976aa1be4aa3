//! FlowSchemas: which requests belong to which priority level.

use serde_json::{Value, json};

use super::{bootstrap, keep_all_but_status, rules, validate_conditions};
use crate::columns::{self, Column};
use crate::core::pod::internal;
use crate::field::{self, Error, Path};
use crate::names::subdomain_rule;
use crate::tree::{at, int_at, list_at, same_at, set, str_at};
use crate::{Resource, Strategy, Subresource, meta};

const PRECEDENCE_DEFAULT: i64 = 1000;
const PRECEDENCE_MAX: i64 = 10_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("PriorityLevel", "Level of the matching requests."),
    Column::text("MatchingPrecedence", "Among matching schemas the least one wins."),
    Column::text("DistinguisherMethod", "What makes one flow of several requests."),
    Column::AGE,
    Column::text("MissingPL", "Whether the level does not exist."),
];

/// The strategy of FlowSchemas.
pub(super) struct FlowSchemas;

impl Strategy for FlowSchemas {
    fn resource(&self) -> &'static Resource {
        crate::resource!("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
    }

    fn default(&self, obj: &mut Value) {
        if precedence(obj) == 0 {
            set(obj, "spec.matchingPrecedence", PRECEDENCE_DEFAULT);
        }
    }

    fn prepare_create(&self, obj: &mut Value) {
        set(obj, "status", json!({}));
        meta::start_generation(obj);
    }

    fn prepare_update(&self, sub: Subresource, new: &mut Value, old: &Value) {
        if sub == Subresource::Status {
            keep_all_but_status(new, old);
            return;
        }
        crate::tree::carry_over(new, old, "status");
        meta::count_generation(new, old, &["spec"]);
    }

    fn validate(&self, obj: &Value) -> Vec<Error> {
        let mut errors = meta::validate(obj, false, subdomain_rule);
        errors.extend(validate_spec(obj));
        let name = str_at(obj, "metadata.name");
        if bootstrap::mandatory_spec("FlowSchema", name).is_some_and(|shipped| !same_at(obj, shipped, "spec"))
        {
            let spec = internal::bad_value("FlowSchemaSpec", at(obj, "spec"));
            let text = format!("spec of '{name}' must equal the fixed value");
            errors.push(field::invalid(&Path::new("spec"), spec, text));
        }
        errors.extend(validate_conditions(obj));
        errors
    }

    fn validate_update(&self, sub: Subresource, new: &Value, _old: &Value) -> Vec<Error> {
        if sub == Subresource::Status { validate_conditions(new) } else { self.validate(new) }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, obj: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let method = at(obj, "spec.distinguisherMethod.type").and_then(Value::as_str);
        let dangling = list_at(obj, "status.conditions")
            .iter()
            .find(|condition| str_at(condition, "type") == "Dangling")
            .map_or("?", |condition| str_at(condition, "status"));
        vec![
            columns::name(obj),
            json!(str_at(obj, "spec.priorityLevelConfiguration.name")),
            json!(precedence(obj)),
            json!(method.unwrap_or("<none>")),
            columns::age(obj, now),
            json!(dangling),
        ]
    }
}

fn precedence(obj: &Value) -> i64 {
    int_at(obj, "spec.matchingPrecedence").unwrap_or(0)
}

fn validate_spec(obj: &Value) -> Vec<Error> {
    let path = Path::new("spec");
    let mut errors = validate_precedence(obj, &path.child("matchingPrecedence"));
    if let Some(method) = at(obj, "spec.distinguisherMethod")
        && !METHODS.contains(&str_at(method, "type"))
    {
        let value = internal::bad_value("*FlowDistinguisherMethod", Some(method));
        errors.push(field::not_supported(&path.child("distinguisherMethod").child("type"), value, METHODS));
    }
    let (level, level_path) = (
        str_at(obj, "spec.priorityLevelConfiguration.name"),
        path.child("priorityLevelConfiguration").child("name"),
    );
    if level.is_empty() {
        errors.push(field::required(&level_path, "must reference a priority level"));
    } else {
        let texts = subdomain_rule(level, false).into_iter();
        errors.extend(texts.map(|text| field::invalid(&level_path, level, text)));
    }
    for (index, rule) in list_at(obj, "spec.rules").iter().enumerate() {
        errors.extend(rules::validate(rule, &path.child("rules").index(index)));
    }
    errors
}

fn validate_precedence(obj: &Value, path: &Path) -> Vec<Error> {
    let precedence = precedence(obj);
    let is_exempt = str_at(obj, "metadata.name") == "exempt";
    let rules = [
        (precedence <= 0, "must be a positive value".to_owned()),
        (precedence > PRECEDENCE_MAX, format!("must not be greater than {PRECEDENCE_MAX}")),
        (
            precedence == 1 && !is_exempt,
            "only the schema named 'exempt' may have matchingPrecedence 1".to_owned(),
        ),
    ];
    let broken = rules.into_iter().filter(|(is_broken, _)| *is_broken);
    broken.map(|(_, text)| field::invalid(path, precedence, text)).collect()
}
