//! SubjectAccessReview and SelfSubjectRulesReview: from the spec to a question, from the
//! answer to a status. Validation of the spec has happened before.

use serde_json::{Map, json};

use super::{Attributes, Decision, Found, Operator, Requirement, Roles, Rule, missing_role};
use crate::Tree;
use crate::go;
use crate::node;
use crate::user::UserInfo;

/// What a review asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    /// About whom.
    pub user: UserInfo,
    /// What.
    pub attributes: Attributes,
    /// Selectors that could not be read, in the words of `status.evaluationError`.
    pub errors: Vec<String>,
}

/// Reads the spec of a (Local)SubjectAccessReview; for the Self kind the requester is the user.
pub fn specification(spec: &Tree, requester: Option<&UserInfo>) -> Specification {
    let user = requester.cloned().unwrap_or_else(|| UserInfo {
        name: text(spec, "user"),
        uid: text(spec, "uid"),
        groups: strings(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .map(|extra| extra.iter().map(|(key, values)| (key.clone(), strings(values))).collect())
            .unwrap_or_default(),
    });
    let resource = &spec["resourceAttributes"];
    if !resource.is_object() {
        let path = &spec["nonResourceAttributes"];
        let attributes = Attributes::path(&text(path, "verb"), &text(path, "path"));
        return Specification { user, attributes, errors: Vec::new() };
    }

    let mut errors = Vec::new();
    let fields =
        selector(&resource["fieldSelector"], "fieldSelector", &mut errors, parse_fields, field_requirement);
    let labels =
        selector(&resource["labelSelector"], "labelSelector", &mut errors, parse_labels, label_requirement);
    let version = match text(resource, "version") {
        version if version.is_empty() => "*".to_owned(),
        version => version,
    };
    let attributes = Attributes {
        verb: text(resource, "verb"),
        is_resource: true,
        namespace: text(resource, "namespace"),
        group: text(resource, "group"),
        version,
        resource: text(resource, "resource"),
        subresource: text(resource, "subresource"),
        name: text(resource, "name"),
        path: String::new(),
        fields,
        labels,
    };
    Specification { user, attributes, errors }
}

/// The status of a SubjectAccessReview.
pub fn status(specification: &Specification, decision: &Decision) -> Tree {
    let mut status = Map::new();
    status.insert("allowed".into(), decision.is_allowed().into());
    let reason = decision.reason();
    if !reason.is_empty() {
        status.insert("reason".into(), reason.into());
    }
    if !specification.errors.is_empty() {
        status.insert("evaluationError".into(), specification.errors.join("; ").into());
    }
    Tree::Object(status)
}

/// All rules of a user in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Rules in the order they are asked.
    pub rules: Vec<Rule>,
    /// Why some could not be found.
    pub errors: Vec<String>,
    /// Whether an authorizer could not list what it allows.
    pub incomplete: bool,
}

/// The rules that apply to `user` in `namespace`. The Node authorizer cannot list what it allows.
pub fn rules_for(roles: &dyn Roles, user: &UserInfo, namespace: &str) -> Resolved {
    let mut resolved = Resolved::default();
    if node::identity(user).is_some() {
        resolved.incomplete = true;
        resolved.errors.push("node authorizer does not support user rule resolution".to_owned());
    }
    roles.visit(user, namespace, &mut |found| {
        match found {
            Found::Rule { rule, .. } => resolved.rules.push(rule.clone()),
            Found::Missing { kind, name } => resolved.errors.push(missing_role(kind, name)),
        }
        true
    });
    resolved
}

/// The status of a SelfSubjectRulesReview.
pub fn rules_review_status(roles: &dyn Roles, user: &UserInfo, namespace: &str) -> Tree {
    let resolved = rules_for(roles, user, namespace);
    let mut resource_rules: Vec<Tree> = Vec::new();
    let mut path_rules: Vec<Tree> = Vec::new();
    for rule in &resolved.rules {
        if !rule.resources.is_empty() {
            resource_rules.push(Rule { non_resource_urls: Vec::new(), ..rule.clone() }.to_tree());
        }
        if !rule.non_resource_urls.is_empty() {
            path_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut status = json!({
        "resourceRules": resource_rules,
        "nonResourceRules": path_rules,
        "incomplete": resolved.incomplete,
    });
    if !resolved.errors.is_empty() {
        status["evaluationError"] = go::aggregate(&resolved.errors).into();
    }
    status
}

/// Reads one selector of a spec; what cannot be read is left out, which only widens the question.
fn selector(
    tree: &Tree,
    name: &str,
    errors: &mut Vec<String>,
    parse: fn(&str) -> Option<Vec<Requirement>>,
    requirement: fn(&Tree) -> Option<Requirement>,
) -> Vec<Requirement> {
    let raw = text(tree, "rawSelector");
    let listed = tree["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (found, complete) = if listed.is_empty() {
        match parse(&raw) {
            Some(found) => (found, true),
            None => (Vec::new(), false),
        }
    } else {
        let found: Vec<Requirement> = listed.iter().filter_map(requirement).collect();
        let complete = found.len() == listed.len();
        (found, complete)
    };
    if !complete {
        let how = if found.is_empty() { "ignored" } else { "partially ignored" };
        errors.push(format!("spec.resourceAttributes.{name} {how} due to parse error"));
    }
    found
}

/// `a=b,c!=d` into requirements; `None` when it is no field selector.
pub fn parse_fields(raw: &str) -> Option<Vec<Requirement>> {
    let terms = raw.split(',').filter(|term| !term.is_empty());
    terms
        .map(|term| {
            let (key, operator, value) =
                [("!=", Operator::NotEquals), ("==", Operator::Equals), ("=", Operator::Equals)]
                    .into_iter()
                    .find_map(|(sign, operator)| {
                        term.split_once(sign).map(|(key, value)| (key, operator, value))
                    })?;
            Some(Requirement { key: key.to_owned(), operator, values: vec![value.to_owned()] })
        })
        .collect()
}

/// A label selector into requirements; `None` when it is none.
pub fn parse_labels(raw: &str) -> Option<Vec<Requirement>> {
    split_terms(raw).into_iter().map(parse_label_term).collect()
}

/// Splits at commas outside parentheses.
fn split_terms(raw: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let mut terms = Vec::new();
    let mut start = 0;
    for (at, ch) in raw.char_indices() {
        match ch {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(raw[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(raw[start..].trim());
    if terms == [""] { Vec::new() } else { terms }
}

fn parse_label_term(term: &str) -> Option<Requirement> {
    let make = |key: &str, operator, values: Vec<String>| {
        is_label_key(key).then(|| Requirement { key: key.to_owned(), operator, values })
    };
    if let Some(key) = term.strip_prefix('!') {
        return make(key.trim(), Operator::DoesNotExist, Vec::new());
    }
    for (sign, operator) in [("!=", Operator::NotEquals), ("==", Operator::Equals), ("=", Operator::Equals)] {
        if let Some((key, value)) = term.split_once(sign) {
            let value = value.trim();
            return is_label_value(value).then(|| make(key.trim(), operator, vec![value.to_owned()]))?;
        }
    }
    let mut words = term.splitn(2, char::is_whitespace);
    let key = words.next()?;
    let Some(rest) = words.next().map(str::trim) else { return make(key, Operator::Exists, Vec::new()) };
    let (operator, set) = match (rest.strip_prefix("in"), rest.strip_prefix("notin")) {
        (Some(set), _) => (Operator::In, set),
        (_, Some(set)) => (Operator::NotIn, set),
        _ => return None,
    };
    let set = set.trim().strip_prefix('(')?.strip_suffix(')')?;
    let values: Vec<String> = set.split(',').map(|value| value.trim().to_owned()).collect();
    values.iter().all(|value| is_label_value(value)).then(|| make(key, operator, values))?
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            crate::user::is_dns_subdomain(prefix) && !name.is_empty() && is_label_value(name)
        }
        None => !key.is_empty() && is_label_value(key),
    }
}

fn is_label_value(value: &str) -> bool {
    let inner = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let ends = |edge: Option<u8>| edge.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63 && inner && ends(value.bytes().next()) && ends(value.bytes().last())
}

fn field_requirement(tree: &Tree) -> Option<Requirement> {
    let values = strings(&tree["values"]);
    let operator = match (tree["operator"].as_str()?, values.len()) {
        ("In", 1) => Operator::Equals,
        ("NotIn", 1) => Operator::NotEquals,
        _ => return None,
    };
    Some(Requirement { key: text(tree, "key"), operator, values })
}

fn label_requirement(tree: &Tree) -> Option<Requirement> {
    let values = strings(&tree["values"]);
    let operator = match (tree["operator"].as_str()?, values.is_empty()) {
        ("In", false) => Operator::In,
        ("NotIn", false) => Operator::NotIn,
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        _ => return None,
    };
    let key = text(tree, "key");
    is_label_key(&key).then_some(Requirement { key, operator, values })
}

fn text(tree: &Tree, field: &str) -> String {
    tree[field].as_str().unwrap_or_default().to_owned()
}

fn strings(tree: &Tree) -> Vec<String> {
    let items = tree.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Tree::as_str).map(str::to_owned).collect()
}
