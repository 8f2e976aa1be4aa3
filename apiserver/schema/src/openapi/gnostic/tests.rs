//! Documents are read back with the wire reader and looked at by field number, as a client's generated code does.

use super::*;
use crate::openapi;
use crate::protobuf::wire::{Reader, Value};
use k8s::tables;
use std::collections::BTreeSet;

/// The values of a field that holds bytes.
fn fields(message: &[u8], wanted: u32) -> Vec<&[u8]> {
    let mut reader = Reader::new(message, "a document");
    let mut found = Vec::new();
    while let Some((number, value)) = reader.field().expect("well formed") {
        if let Value::Bytes(bytes) = value
            && number == wanted
        {
            found.push(bytes);
        }
    }
    found
}

/// The first value at a path of field numbers.
fn at<'a>(message: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
    path.iter().try_fold(message, |message, number| fields(message, *number).first().copied())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// The value of a pair by its key, among repeated pairs.
fn named<'a>(message: &'a [u8], number: u32, name: &str) -> &'a [u8] {
    let pairs = fields(message, number);
    let pair = pairs.into_iter().find(|pair| at(pair, &[1]).map(text) == Some(name));
    pair.and_then(|pair| at(pair, &[2])).unwrap_or_else(|| panic!("{name} is there"))
}

fn document() -> Tree {
    openapi::v2::document(&tables::resources().iter().collect::<Vec<_>>(), &["/version/"])
}

/// Every `$ref` (field 1) of a v2 schema and the schemas in it.
fn references(schema: &[u8], found: &mut BTreeSet<String>) {
    found.extend(fields(schema, 1).into_iter().map(|one| text(one).to_owned()));
    for path in [[21, 1], [23, 1]] {
        if let Some(nested) = at(schema, &path) {
            references(nested, found);
        }
    }
    for pair in fields(schema, 25).into_iter().flat_map(|properties| fields(properties, 1)) {
        references(at(pair, &[2]).expect("a schema"), found);
    }
}

#[test]
fn every_reference_leads_to_a_definition() {
    let bytes = v2(&document());
    let definitions = fields(at(&bytes, &[9]).expect("definitions"), 1);
    let names: BTreeSet<String> = definitions
        .iter()
        .map(|pair| format!("#/definitions/{}", text(at(pair, &[1]).expect("a name"))))
        .collect();
    let mut found = BTreeSet::new();
    for pair in &definitions {
        references(at(pair, &[2]).expect("a schema"), &mut found);
    }
    assert!(found.len() > 100, "{} references", found.len());
    assert_eq!(found.difference(&names).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_client_finds_kinds_patch_keys_and_types() {
    let bytes = v2(&document());
    let definitions = at(&bytes, &[9]).expect("definitions");
    let deployment = named(definitions, 1, "io.k8s.api.apps.v1.Deployment");
    assert_eq!(at(deployment, &[22, 1]).map(text), Some("object"));
    let kinds = at(named(deployment, 31, "x-kubernetes-group-version-kind"), &[2]).map(text);
    assert_eq!(kinds, Some("[{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}]\n"));
    let pod = named(definitions, 1, "io.k8s.api.core.v1.PodSpec");
    let containers = named(at(pod, &[25]).expect("properties"), 1, "containers");
    assert_eq!(at(containers, &[22, 1]).map(text), Some("array"));
    assert_eq!(at(containers, &[23, 1, 1]).map(text), Some("#/definitions/io.k8s.api.core.v1.Container"));
    assert_eq!(at(named(containers, 31, "x-kubernetes-patch-merge-key"), &[2]).map(text), Some("\"name\"\n"));
    assert!(fields(pod, 19).into_iter().any(|name| text(name) == "containers"));
}

#[test]
fn a_client_sees_that_a_patch_can_be_a_dry_run() {
    let bytes = v2(&document());
    let paths = at(&bytes, &[8]).expect("paths");
    let patch = at(named(paths, 2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"), &[8]);
    let patch = patch.expect("an operation");
    let kind = at(named(patch, 13, "x-kubernetes-group-version-kind"), &[2]).map(text);
    assert_eq!(kind, Some("{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}\n"));
    let parameters = fields(patch, 8);
    let query: Vec<&str> = parameters.iter().filter_map(|one| at(one, &[1, 2, 3, 4])).map(text).collect();
    assert_eq!(query, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let body = parameters.iter().find_map(|one| at(one, &[1, 1, 5, 1])).map(text);
    assert_eq!(body, Some("#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"));
}

#[test]
fn version_3_tells_references_from_schemas() {
    let resource = tables::resource("apps", "v1", "deployments").expect("served");
    let bytes = v3(&openapi::document(&[resource]));
    assert_eq!(at(&bytes, &[1]).map(text), Some("3.0.0"));
    let schemas = at(&bytes, &[5, 1]).expect("schemas");
    let deployment = at(named(schemas, 1, "io.k8s.api.apps.v1.Deployment"), &[1]).expect("a schema");
    let spec = at(named(at(deployment, &[31]).expect("properties"), 1, "spec"), &[1, 26, 2, 1]);
    assert_eq!(spec.map(text), Some("#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"));
}
