//! What the server serves: read from discovery, for controllers that work on every kind.

use std::borrow::Cow;

use runtime::{Client, Resource, failure};
use serde::Deserialize;

/// One served resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) resource: Resource,
    pub(crate) verbs: Vec<String>,
    /// Whether its version is the group's preferred one.
    pub(crate) preferred: bool,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|served| served == verb)
    }
}

/// All served resources; subresources are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) served: Vec<Served>,
    /// Group versions whose resources could not be read, with the reason.
    pub(crate) failed: Vec<(String, String)>,
}

impl Catalog {
    /// Asks the server. A group that does not answer is noted, not fatal.
    pub(crate) async fn read(client: &Client) -> Result<Catalog, kube::Error> {
        let mut catalog = Catalog::default();
        let legacy: ResourceList = client.get_path("/api/v1").await?;
        catalog.add("", "v1", true, legacy);
        let groups: GroupList = client.get_path("/apis").await?;
        for group in groups.groups {
            for version in &group.versions {
                let preferred = version.group_version == group.preferred_version.group_version;
                match client.get_path(&format!("/apis/{}", version.group_version)).await {
                    Ok(list) => catalog.add(&group.name, &version.version, preferred, list),
                    Err(error) => {
                        catalog.failed.push((version.group_version.clone(), failure::message(&error)))
                    }
                }
            }
        }
        Ok(catalog)
    }

    /// The resource of a kind at exactly this version.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let served = self
            .served
            .iter()
            .find(|served| served.resource.kind == kind && served.resource.api_version() == api_version)?;
        Some(&served.resource)
    }

    fn add(&mut self, group: &str, version: &str, preferred: bool, list: ResourceList) {
        for entry in list.resources {
            if entry.name.contains('/') {
                continue;
            }
            let resource = Resource {
                group: Cow::Owned(group.to_owned()),
                version: Cow::Owned(version.to_owned()),
                plural: Cow::Owned(entry.name),
                kind: Cow::Owned(entry.kind),
                namespaced: entry.namespaced,
            };
            self.served.push(Served { resource, verbs: entry.verbs, preferred });
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceList {
    resources: Vec<ResourceEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceEntry {
    name: String,
    namespaced: bool,
    kind: String,
    verbs: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Group {
    name: String,
    versions: Vec<GroupVersion>,
    preferred_version: GroupVersion,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupVersion {
    group_version: String,
    version: String,
}
