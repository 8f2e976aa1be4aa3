//! OpenAPI documents of the built-in kinds, from the same tables that decode and patch objects: what kubectl reads for
//! validation, explain and client-side apply.
//!
//! Version 2 ([`v2`]) is one document; both versions can be written in protobuf ([`gnostic`]). A document of version 3 holds a
//! group version's paths and every definition they reach. Decides what is written; which resources are served comes in.

mod components;
pub mod gnostic;
mod operations;
pub mod v2;

use std::fmt::Write as _;

use k8s::tables::Resource;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Object, Tree};

/// The OpenAPI v3 document of one group version; `resources` are those served of it.
pub fn document(resources: &[&Resource]) -> Tree {
    let mut paths = Object::new();
    let mut wanted = Vec::new();
    for resource in resources {
        operations::paths(resource, &mut paths, &mut wanted);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {
            "schemas": components::closure(wanted),
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
                },
            },
        },
    })
}

/// A document of paths that belong to no resource (`/version`, discovery): each is read with GET.
pub fn plain_document(paths: &[&str]) -> Tree {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": plain_paths(paths),
        "components": {},
    })
}

fn plain_paths(paths: &[&str]) -> Object {
    let written = |path: &&str| {
        let get = json!({"get": {"responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}}}});
        ((*path).to_owned(), get)
    };
    paths.iter().map(written).collect()
}

/// The hash that names a document in the index: it changes when the program or what is served changes, and costs no
/// look at the document itself.
pub fn hash(program: &str, path: &str, resources: &[&Resource]) -> String {
    let mut digest = Sha256::new();
    for part in [program, path] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    for resource in resources {
        digest.update(resource.plural.as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s::tables::resource;

    fn apps() -> Tree {
        document(&[resource("apps", "v1", "deployments").expect("served")])
    }

    #[test]
    fn kubectl_finds_what_it_asks_for() {
        let document = apps();
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        let parameters: Vec<&str> = patch["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(parameters, ["dryRun", "fieldManager", "fieldValidation", "force"]);
        let list = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"]["get"];
        assert_eq!(list["x-kubernetes-action"], "list");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = apps().to_string();
        let document = apps();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("a closing quote");
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn fields_say_what_they_are_for() {
        let schemas = &apps()["components"]["schemas"];
        let spec = &schemas["io.k8s.api.core.v1.PodSpec"];
        assert_eq!(spec["description"], "PodSpec is a description of a pod.");
        assert_eq!(
            spec["properties"]["affinity"],
            json!({
                "allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Affinity"}],
                "description": "If specified, the pod's scheduling constraints",
            })
        );
        let os = &schemas["io.k8s.api.core.v1.Toleration"]["properties"]["operator"]["description"];
        let values = os.as_str().and_then(|text| text.split_once("\n\nPossible enum values:\n"));
        assert_eq!(values.map(|(_, values)| values.lines().next()), Some(Some(" - `\"Equal\"`")));
    }

    #[test]
    fn patch_keys_and_kinds_are_told() {
        let schemas = &apps()["components"]["schemas"];
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            deployment["x-kubernetes-group-version-kind"],
            json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
        );
    }
}
