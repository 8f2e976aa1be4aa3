//! Discovery documents, old and aggregated, out of the catalogue: only what is
//! really served appears.

use crate::catalog::{self, Kind, Sub};
use crate::context::Context;
use schema::Tree;
use serde_json::{Map, json};

/// `/api`.
pub(super) fn core_group(context: &Context) -> Tree {
    let config = &context.server.config;
    let address = (config.advertised)().first().map_or_else(|| "127.0.0.1".to_owned(), ToString::to_string);
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": format!("{address}:{}", config.port)}],
    })
}

/// `/apis`.
pub(super) fn groups(_: &Context) -> Tree {
    let groups: Vec<Tree> = named_groups().into_iter().map(group_entry).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// Served groups that have a name, each once.
fn named_groups() -> Vec<&'static str> {
    let mut names: Vec<&str> = catalog::groups().iter().map(|(group, _)| group.as_str()).collect();
    names.retain(|name| !name.is_empty());
    names.dedup();
    names
}

/// Versions of a group, the preferred one first.
fn versions(name: &str) -> impl Iterator<Item = &'static str> {
    let versions = catalog::groups().iter().filter(move |(group, _)| group == name);
    versions.map(|(_, version)| version.as_str())
}

fn group_entry(name: &str) -> Tree {
    let versions: Vec<Tree> = versions(name)
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

/// `/apis/GROUP`.
pub(super) fn group(name: &str) -> Option<Tree> {
    let name = named_groups().into_iter().find(|known| *known == name)?;
    let mut entry = group_entry(name);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Some(entry)
}

/// Resources of a group version by name.
fn kinds(group: &str, version: &str) -> Vec<&'static Kind> {
    let mut kinds: Vec<&Kind> = catalog::all()
        .iter()
        .filter(|kind| kind.resource.group == group && kind.resource.version == version)
        .collect();
    kinds.sort_by(|a, b| a.resource.plural.cmp(&b.resource.plural));
    kinds
}

fn sorted(list: &[String]) -> Vec<&String> {
    let mut list: Vec<&String> = list.iter().collect();
    list.sort();
    list
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(super) fn group_version(group: &str, version: &str) -> Option<Tree> {
    let kinds = kinds(group, version);
    if kinds.is_empty() {
        return None;
    }
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut document =
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources});
    if !group.is_empty() {
        document["apiVersion"] = json!("v1");
    }
    Some(document)
}

fn resource(kind: &Kind) -> Tree {
    let resource = kind.resource;
    let mut entry = Map::new();
    entry.insert("name".into(), json!(resource.plural));
    entry.insert("singularName".into(), json!(resource.singular));
    entry.insert("namespaced".into(), json!(resource.namespaced));
    entry.insert("kind".into(), json!(resource.kind));
    entry.insert("verbs".into(), json!(sorted(&resource.verbs)));
    if !resource.short_names.is_empty() {
        entry.insert("shortNames".into(), json!(resource.short_names));
    }
    if !resource.categories.is_empty() {
        entry.insert("categories".into(), json!(resource.categories));
    }
    if !resource.storage_hash.is_empty() {
        entry.insert("storageVersionHash".into(), json!(resource.storage_hash));
    }
    Tree::Object(entry)
}

fn subresource(kind: &Kind, sub: &Sub) -> Tree {
    let mut entry = json!({
        "name": format!("{}/{}", kind.resource.plural, sub.name),
        "singularName": "",
        "namespaced": kind.resource.namespaced,
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if !sub.kind_group.is_empty() {
        entry["group"] = json!(sub.kind_group);
        entry["version"] = json!(sub.kind_version);
    }
    entry
}

/// `/api` in aggregated form.
pub(super) fn aggregated_core() -> Tree {
    list(vec![json!({"metadata": {}, "versions": [aggregated_version("", "v1")]})])
}

/// `/apis` in aggregated form.
pub(super) fn aggregated_groups() -> Tree {
    list(named_groups().into_iter().map(aggregated_group).collect())
}

fn aggregated_group(name: &str) -> Tree {
    let versions: Vec<Tree> = versions(name).map(|version| aggregated_version(name, version)).collect();
    json!({"metadata": {"name": name}, "versions": versions})
}

fn list(items: Vec<Tree>) -> Tree {
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_version(group: &str, version: &str) -> Tree {
    let resources: Vec<Tree> = kinds(group, version).into_iter().map(aggregated_resource).collect();
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn aggregated_resource(kind: &Kind) -> Tree {
    let resource = kind.resource;
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": sorted(&resource.verbs),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !kind.subresources.is_empty() {
        let subs: Vec<Tree> = kind.subresources.iter().map(|sub| aggregated_subresource(sub)).collect();
        entry["subresources"] = Tree::Array(subs);
    }
    entry
}

fn aggregated_subresource(sub: &Sub) -> Tree {
    json!({
        "subresource": sub.name,
        "responseKind": {"group": sub.kind_group, "version": sub.kind_version, "kind": sub.kind},
        "verbs": sub.verbs,
    })
}
