//! What the rules of a FlowSchema may say: who asks, and for what.

use serde_json::Value;

use crate::field::{self, Error, Path};
use crate::names::{label_rule, subdomain_rule};
use crate::tree::{at, bool_at, list_at, str_at, strings_at};

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const SUBJECT_KINDS: &[&str] = &["Group", "ServiceAccount", "User"];
const NAMESPACE_INTRO: &str = "each member of this list must be '*' or a DNS-1123 label; ";

/// A kind of subject, the field that names one, and what others of that field are told.
const SUBJECT_FIELDS: [(&str, &str); 3] =
    [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

/// Everything wrong with one rule.
pub(super) fn validate(rule: &Value, path: &Path) -> Vec<Error> {
    let (subjects, subjects_path) = (list_at(rule, "subjects"), path.child("subjects"));
    let mut errors = Vec::new();
    if subjects.is_empty() {
        errors.push(field::required(&subjects_path, "subjects must contain at least one value"));
    }
    for (index, subject) in subjects.iter().enumerate() {
        errors.extend(validate_subject(subject, &subjects_path.index(index)));
    }
    let (resource, other) = (list_at(rule, "resourceRules"), list_at(rule, "nonResourceRules"));
    if resource.is_empty() && other.is_empty() {
        let text = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(field::required(path, text));
    }
    for (index, rule) in resource.iter().enumerate() {
        errors.extend(validate_resource_rule(rule, &path.child("resourceRules").index(index)));
    }
    for (index, rule) in other.iter().enumerate() {
        errors.extend(validate_other_rule(rule, &path.child("nonResourceRules").index(index)));
    }
    errors
}

fn validate_subject(subject: &Value, path: &Path) -> Vec<Error> {
    let kind = str_at(subject, "kind");
    let Some((_, own)) = SUBJECT_FIELDS.iter().find(|(name, _)| *name == kind) else {
        return vec![field::not_supported(&path.child("kind"), kind, SUBJECT_KINDS)];
    };
    let own_path = path.child(own);
    let mut errors = match at(subject, own) {
        None => {
            let text = format!("{own} is required when subject kind is '{kind}'");
            vec![field::required(&own_path, text)]
        }
        Some(named) => validate_named(named, kind, &own_path),
    };
    // Upstream looks at the other fields in this order, whichever is the subject's own.
    for name in ["serviceAccount", "user", "group"] {
        let (word, _) = SUBJECT_FIELDS.iter().find(|(_, field)| *field == name).expect("one of the three");
        if name != *own && at(subject, name).is_some() {
            let text = format!("{name} is forbidden when subject kind is not '{word}'");
            errors.push(field::forbidden(&path.child(name), text));
        }
    }
    errors
}

fn validate_named(named: &Value, kind: &str, path: &Path) -> Vec<Error> {
    let (name, name_path) = (str_at(named, "name"), path.child("name"));
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push(field::required(&name_path, ""));
    }
    if kind != "ServiceAccount" {
        return errors;
    }
    if !name.is_empty() && name != "*" {
        let texts = subdomain_rule(name, false).into_iter();
        errors.extend(texts.map(|text| field::invalid(&name_path, name, text)));
    }
    let (namespace, path) = (str_at(named, "namespace"), path.child("namespace"));
    if namespace.is_empty() {
        errors.push(field::required(&path, "must specify namespace for service account"));
    } else {
        let texts = label_rule(namespace, false).into_iter();
        errors.extend(texts.map(|text| field::invalid(&path, namespace, text)));
    }
    errors
}

/// A list that either is `*` alone or has items.
struct Choice {
    name: &'static str,
    empty: &'static str,
    others: &'static str,
}

impl Choice {
    /// What is wrong with the list as a whole.
    fn validate(&self, rule: &Value, path: &Path) -> Option<Error> {
        let (list, path) = (strings_at(rule, self.name), path.child(self.name));
        if list.is_empty() {
            return Some(field::required(&path, self.empty));
        }
        (list.len() > 1 && list.contains(&"*")).then(|| {
            let text = format!("if '*' is present, must not specify other {}", self.others);
            field::invalid(&path, at(rule, self.name), text)
        })
    }
}

fn validate_verbs(rule: &Value, path: &Path) -> Option<Error> {
    let choice = Choice { name: "verbs", empty: "verbs must contain at least one value", others: "verbs" };
    let verbs = strings_at(rule, "verbs");
    let is_known = verbs.contains(&"*") || verbs.iter().all(|verb| VERBS.contains(verb));
    choice
        .validate(rule, path)
        .or_else(|| (!is_known).then(|| field::not_supported(&path.child("verbs"), at(rule, "verbs"), VERBS)))
}

fn validate_resource_rule(rule: &Value, path: &Path) -> Vec<Error> {
    const CHOICES: [Choice; 2] = [
        Choice {
            name: "apiGroups",
            empty: "resource rules must supply at least one api group",
            others: "api groups",
        },
        Choice {
            name: "resources",
            empty: "resource rules must supply at least one resource",
            others: "resources",
        },
    ];
    let mut errors: Vec<Error> = validate_verbs(rule, path).into_iter().collect();
    errors.extend(CHOICES.iter().filter_map(|choice| choice.validate(rule, path)));
    errors.extend(validate_namespaces(rule, path));
    errors
}

fn validate_namespaces(rule: &Value, path: &Path) -> Vec<Error> {
    let choice = Choice {
        name: "namespaces",
        empty: "resource rules that are not cluster scoped must supply at least one namespace",
        others: "namespaces",
    };
    let namespaces = strings_at(rule, "namespaces");
    if namespaces.is_empty() && bool_at(rule, "clusterScope") == Some(true) {
        return Vec::new();
    }
    if namespaces.is_empty() || namespaces.contains(&"*") {
        return choice.validate(rule, path).into_iter().collect();
    }
    let path = path.child("namespaces");
    let mut errors = Vec::new();
    for (index, name) in namespaces.into_iter().enumerate() {
        let path = path.index(index);
        let texts = label_rule(name, false).into_iter();
        errors.extend(texts.map(|text| field::invalid(&path, name, format!("{NAMESPACE_INTRO}{text}"))));
    }
    errors
}

fn validate_other_rule(rule: &Value, path: &Path) -> Vec<Error> {
    let choice = Choice {
        name: "nonResourceURLs",
        empty: "nonResourceURLs must contain at least one value",
        others: "non-resource URLs",
    };
    let mut errors: Vec<Error> = validate_verbs(rule, path).into_iter().collect();
    let urls = strings_at(rule, "nonResourceURLs");
    if urls.is_empty() || urls.contains(&"*") {
        errors.extend(choice.validate(rule, path));
        return errors;
    }
    let path = path.child("nonResourceURLs");
    let problems = urls.into_iter().enumerate().filter_map(|(index, url)| {
        url_problem(url).map(|text| field::invalid(&path.index(index), url, text))
    });
    errors.extend(problems);
    errors
}

fn url_problem(url: &str) -> Option<&'static str> {
    let wildcards = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        url if !url.starts_with('/') => Some("must start with slash"),
        url if url.contains(' ') => Some("must not contain white-space"),
        url if url.contains("//") => Some("must not contain double slash"),
        url if wildcards > 1 || (wildcards == 1 && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}
