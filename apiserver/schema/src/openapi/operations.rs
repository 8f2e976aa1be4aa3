//! The paths of a resource with their operations: verbs, parameters, bodies.

use k8s::tables::{self, Resource, Subresource};
use serde_json::json;

use super::components::{PATCH, reference};
use crate::{Object, Tree};

/// One verb of the API: its HTTP method, and the resource's verb that must be served for it to exist.
struct Operation {
    method: &'static str,
    /// The word in operationId.
    word: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    verb: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    body: Body,
}

#[derive(Clone, Copy, PartialEq)]
enum Body {
    None,
    Object,
    Patch,
    Options,
}

const WRITE: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCHING: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETING: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LISTING: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

const COLLECTION: [Operation; 3] = [
    Operation {
        method: "get",
        word: "list",
        action: "list",
        verb: "list",
        parameters: LISTING,
        body: Body::None,
    },
    Operation {
        method: "post",
        word: "create",
        action: "post",
        verb: "create",
        parameters: WRITE,
        body: Body::Object,
    },
    Operation {
        method: "delete",
        word: "deleteCollection",
        action: "deletecollection",
        verb: "deletecollection",
        parameters: DELETING,
        body: Body::Options,
    },
];
const ITEM: [Operation; 4] = [
    Operation { method: "get", word: "read", action: "get", verb: "get", parameters: &[], body: Body::None },
    Operation {
        method: "put",
        word: "replace",
        action: "put",
        verb: "update",
        parameters: WRITE,
        body: Body::Object,
    },
    Operation {
        method: "patch",
        word: "patch",
        action: "patch",
        verb: "patch",
        parameters: PATCHING,
        body: Body::Patch,
    },
    Operation {
        method: "delete",
        word: "delete",
        action: "delete",
        verb: "delete",
        parameters: DELETING,
        body: Body::Options,
    },
];
/// A subresource that is only posted to (binding, eviction, token).
const POSTED: Operation = Operation {
    method: "post",
    word: "create",
    action: "post",
    verb: "create",
    parameters: WRITE,
    body: Body::Object,
};

/// What an operation is about.
struct Subject<'a> {
    resource: &'a Resource,
    /// Group, version and kind of the object it carries.
    kind: (&'a str, &'a str, &'a str),
    definition: Option<&'static str>,
    list: Option<&'static str>,
    /// Ends the operation's id: `NamespacedDeploymentScale`.
    suffix: String,
}

/// Writes the paths of a resource and its subresources; definitions they use are added to `wanted`.
pub(super) fn paths(resource: &Resource, paths: &mut Object, wanted: &mut Vec<String>) {
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let base = format!("{root}/{}", resource.api_version());
    let place = if resource.namespaced() { format!("{base}/namespaces/{{namespace}}") } else { base.clone() };
    let collection = format!("{place}/{}", resource.plural);
    let item = format!("{collection}/{{name}}");
    let subject = Subject {
        resource,
        kind: (resource.group, resource.version, resource.kind),
        definition: tables::definition_of_kind(resource.group, resource.version, resource.kind),
        list: tables::definition_of_kind(resource.group, resource.version, &format!("{}List", resource.kind)),
        suffix: resource.kind.to_owned(),
    };
    insert(paths, collection, &COLLECTION, &resource.verbs, &subject, wanted);
    insert(paths, item.clone(), &ITEM, &resource.verbs, &subject, wanted);
    if resource.namespaced() {
        insert(
            paths,
            format!("{base}/{}", resource.plural),
            &COLLECTION[..1],
            &resource.verbs,
            &subject,
            wanted,
        );
    }
    for subresource in &resource.subresources {
        let subject = of_subresource(resource, subresource);
        let path = format!("{item}/{}", subresource.name);
        insert(paths, path.clone(), &ITEM[..3], &subresource.verbs, &subject, wanted);
        insert(paths, path, std::slice::from_ref(&POSTED), &subresource.verbs, &subject, wanted);
    }
}

fn of_subresource<'a>(resource: &'a Resource, subresource: &'a Subresource) -> Subject<'a> {
    let mut letters = subresource.name.chars();
    let word: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    Subject {
        resource,
        kind: (subresource.group, subresource.version, subresource.kind),
        definition: tables::definition_of_kind(subresource.group, subresource.version, subresource.kind),
        list: None,
        suffix: format!("{}{word}", resource.kind),
    }
}

fn insert(
    paths: &mut Object,
    path: String,
    operations: &[Operation],
    verbs: &[&str],
    subject: &Subject<'_>,
    wanted: &mut Vec<String>,
) {
    let named = path.contains("{name}");
    let namespaced = path.contains("{namespace}");
    let mut item = Object::new();
    for operation in operations.iter().filter(|operation| verbs.contains(&operation.verb)) {
        let word =
            if namespaced { format!("{}Namespaced", operation.word) } else { operation.word.to_owned() };
        item.insert(operation.method.to_owned(), write(operation, subject, &word, wanted));
    }
    if item.is_empty() {
        return;
    }
    let mut parameters = Vec::new();
    if named {
        parameters.push(path_parameter("name"));
    }
    if namespaced {
        parameters.push(path_parameter("namespace"));
    }
    parameters.push(query_parameter("pretty", "string"));
    let entry = paths.entry(path).or_insert_with(|| Tree::Object(Object::new()));
    if let Tree::Object(entry) = entry {
        entry.extend(item);
        entry.insert("parameters".to_owned(), Tree::Array(parameters));
    }
}

fn write(operation: &Operation, subject: &Subject<'_>, word: &str, wanted: &mut Vec<String>) -> Tree {
    let (group, version, kind) = subject.kind;
    let parameters: Vec<Tree> =
        operation.parameters.iter().map(|(name, ty)| query_parameter(name, ty)).collect();
    let answer = match operation.action {
        "list" => subject.list.or(subject.definition),
        "deletecollection" => Some(STATUS),
        _ => subject.definition,
    };
    let mut written = json!({
        "operationId": format!("{word}{}{}", group_word(subject.resource), subject.suffix),
        "responses": {
            "200": {"description": "OK", "content": content(&MEDIA_TYPES, answer, wanted)},
            "401": {"description": "Unauthorized"},
        },
        "tags": [tag(subject.resource)],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if !parameters.is_empty() {
        written["parameters"] = Tree::Array(parameters);
    }
    let body = match operation.body {
        Body::None => None,
        Body::Object => Some(content(&["*/*"], subject.definition, wanted)),
        Body::Patch => Some(content(&PATCH_TYPES, Some(PATCH), wanted)),
        Body::Options => Some(content(&["*/*"], Some(DELETE_OPTIONS), wanted)),
    };
    if let Some(content) = body {
        written["requestBody"] = json!({ "content": content });
    }
    written
}

fn content(types: &[&str], definition: Option<&str>, wanted: &mut Vec<String>) -> Tree {
    let schema = match definition {
        Some(definition) => {
            wanted.push(definition.to_owned());
            json!({"$ref": reference(definition)})
        }
        None => json!({"type": "string"}),
    };
    Tree::Object(types.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect())
}

fn path_parameter(name: &str) -> Tree {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

fn query_parameter(name: &str, ty: &str) -> Tree {
    json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}})
}

/// `AppsV1`, `CoreV1`, `RbacAuthorizationV1`: the group in an operation's id.
fn group_word(resource: &Resource) -> String {
    let group = if resource.group.is_empty() { "core" } else { resource.group.trim_end_matches(".k8s.io") };
    let words = group.split('.').chain([resource.version]);
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn tag(resource: &Resource) -> String {
    let group = if resource.group.is_empty() { "core" } else { resource.group.trim_end_matches(".k8s.io") };
    format!("{}_{}", group.replace('.', "_"), resource.version)
}
