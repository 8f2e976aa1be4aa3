//! OpenAPI v2 out of the parts of v3: one document with every path, `definitions` instead of components, bodies as
//! parameters, media types beside the schemas.
//!
//! As upstream's, it has no defaults (version 2 clients would take a default beside a reference wrongly) and nothing
//! that version 2 cannot say: an int-or-string is a string of that format.

use k8s::tables::Resource;
use serde_json::json;

use super::{components, operations, plain_paths};
use crate::{Object, Tree};

/// The document of all resources served, and of paths that belong to none.
pub fn document(resources: &[&Resource], plain: &[&str]) -> Tree {
    let mut paths = plain_paths(plain);
    let mut wanted = Vec::new();
    for resource in resources {
        operations::paths(resource, &mut paths, &mut wanted);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": each(paths, path_item),
        "definitions": each(components::closure(wanted), schema),
        "securityDefinitions": {
            "BearerToken": {
                "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
            },
        },
        "security": [{"BearerToken": []}],
    })
}

fn each(object: Object, convert: fn(Tree) -> Tree) -> Object {
    object.into_iter().map(|(name, value)| (name, convert(value))).collect()
}

fn path_item(tree: Tree) -> Tree {
    let Tree::Object(item) = tree else { return tree };
    let item = item.into_iter().map(|(key, value)| {
        let value = if key == "parameters" { parameters(value) } else { operation(value) };
        (key, value)
    });
    Tree::Object(item.collect())
}

fn operation(tree: Tree) -> Tree {
    let Tree::Object(mut operation) = tree else { return tree };
    let mut list = Vec::new();
    if let Some(body) = operation.remove("requestBody") {
        let (types, schema) = content(&body["content"]);
        operation.insert("consumes".to_owned(), types);
        list.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
    } else {
        operation.insert("consumes".to_owned(), json!(["*/*"]));
    }
    if let Some(Tree::Array(rest)) = operation.remove("parameters").map(parameters) {
        list.extend(rest);
    }
    if !list.is_empty() {
        operation.insert("parameters".to_owned(), Tree::Array(list));
    }
    operation.insert("schemes".to_owned(), json!(["https"]));
    if let Some(Tree::Object(responses)) = operation.get_mut("responses") {
        let produces = responses.values_mut().filter_map(response).last();
        operation.insert("produces".to_owned(), produces.unwrap_or_else(|| json!(["application/json"])));
    }
    Tree::Object(operation)
}

/// Moves a response's schema up; what is left over are its media types.
fn response(response: &mut Tree) -> Option<Tree> {
    let (types, schema) = content(&response.as_object_mut()?.remove("content")?);
    response["schema"] = schema;
    Some(types)
}

/// The media types of a content, and the schema that all of them share.
fn content(content: &Tree) -> (Tree, Tree) {
    let content = content.as_object();
    let types = content.into_iter().flat_map(Object::keys).map(|name| Tree::from(name.as_str())).collect();
    let shared = content.and_then(|content| content.values().next()).map(|media| media["schema"].clone());
    (Tree::Array(types), shared.map_or_else(|| json!({}), schema))
}

/// Parameters carry their type themselves.
fn parameters(tree: Tree) -> Tree {
    let Tree::Array(mut list) = tree else { return tree };
    for parameter in list.iter_mut().filter_map(Tree::as_object_mut) {
        if let Some(Tree::Object(schema)) = parameter.remove("schema") {
            parameter.extend(schema);
        }
    }
    Tree::Array(list)
}

fn schema(tree: Tree) -> Tree {
    let Tree::Object(mut object) = tree else { return tree };
    object.remove("default");
    if object.remove("oneOf").is_some() {
        object.insert("type".to_owned(), "string".into());
    }
    // Version 3 hides a reference that has company in an allOf; here both stand side by side.
    if let Some(only) = object.remove("allOf").and_then(|mut all| all.get_mut(0).map(Tree::take))
        && let Tree::Object(only) = only
    {
        object.extend(only);
    }
    if let Some(Tree::String(reference)) = object.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    for key in ["items", "additionalProperties"] {
        if let Some(nested) = object.get_mut(key) {
            *nested = schema(nested.take());
        }
    }
    if let Some(Tree::Object(properties)) = object.get_mut("properties") {
        *properties = each(std::mem::take(properties), schema);
    }
    Tree::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s::tables;

    fn all() -> Tree {
        document(&tables::resources().iter().collect::<Vec<_>>(), &["/version/"])
    }

    #[test]
    fn every_reference_leads_to_a_definition_of_the_tables() {
        let document = all();
        let text = document.to_string();
        assert!(!text.contains("#/components"), "no pointer of version 3 is left");
        for reference in text.split("#/definitions/").skip(1) {
            let name = reference.split('"').next().expect("a closing quote");
            assert!(document["definitions"][name].is_object(), "{name}");
            let known = tables::definition(name).next().is_some();
            assert!(known || name == components::PATCH, "{name}");
        }
    }

    #[test]
    fn nothing_is_said_that_version_2_cannot_say() {
        let text = all().to_string();
        for word in ["\"oneOf\":[", "\"allOf\":[", "\"requestBody\"", "\"content\":", "\"default\":\""] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn references_keep_what_stands_beside_them() {
        let strategy = &all()["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
        assert_eq!(
            *strategy,
            json!({
                "description": "The deployment strategy to use to replace existing pods with new ones.",
                "$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy",
                "x-kubernetes-patch-strategy": "retainKeys",
            })
        );
    }

    #[test]
    fn types_of_two_kinds_are_strings() {
        let definitions = &all()["definitions"];
        let port = &definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
        assert_eq!((&port["type"], &port["format"]), (&json!("string"), &json!("int-or-string")));
        let quantity = &definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"];
        assert_eq!((&quantity["type"], &quantity["oneOf"]), (&json!("string"), &Tree::Null));
    }

    #[test]
    fn bodies_are_parameters() {
        let patch = &all()["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        let names: Vec<&str> = patch["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(names, ["body", "dryRun", "fieldManager", "fieldValidation", "force"]);
        assert_eq!(patch["parameters"][4]["type"], "boolean");
        assert_eq!(
            patch["responses"]["200"]["schema"],
            json!({"$ref": "#/definitions/io.k8s.api.apps.v1.Deployment"})
        );
    }
}
