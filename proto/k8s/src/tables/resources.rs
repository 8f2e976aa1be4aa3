//! The served resources and their subresources.

use std::sync::OnceLock;

static TABLE: &str = include_str!("../../tables/resources.tsv");

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// For the whole cluster.
    Cluster,
}

/// One served resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Plural name, as in URLs.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// Kind of one object.
    pub kind: &'static str,
    /// Scope of the objects.
    pub scope: Scope,
    /// Short names, as kubectl takes them.
    pub short_names: Vec<&'static str>,
    /// Categories (`all`, `api-extensions`).
    pub categories: Vec<&'static str>,
    /// Verbs, in ascending order.
    pub verbs: Vec<&'static str>,
    /// Hash of the storage version as discovery shows it; empty where nothing is stored.
    pub storage_version_hash: &'static str,
    /// Subresources, in ascending order.
    pub subresources: Vec<Subresource>,
}

/// A subresource such as `status` or `scale`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subresource {
    /// The part after the slash.
    pub name: &'static str,
    /// Group of the kind it speaks; the parent's unless the table says otherwise.
    pub group: &'static str,
    /// Version of the kind it speaks.
    pub version: &'static str,
    /// Kind it speaks.
    pub kind: &'static str,
    /// Whether the kind is of another group or version than the parent resource.
    pub foreign: bool,
    /// Verbs, in ascending order.
    pub verbs: Vec<&'static str>,
}

impl Resource {
    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// `group/version`, or only the version for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group`, or only the plural for the core group: how errors name the resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }
}

/// All served resources, in the order of discovery.
pub fn resources() -> &'static [Resource] {
    static RESOURCES: OnceLock<Vec<Resource>> = OnceLock::new();
    RESOURCES.get_or_init(|| parse(TABLE))
}

/// The resource of a group, version and plural name.
pub fn resource(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    resources()
        .iter()
        .find(|resource| resource.plural == plural && resource.group == group && resource.version == version)
}

fn parse(table: &'static str) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::with_capacity(80);
    for line in table.lines().skip(1) {
        let columns: Vec<&'static str> = line.split('\t').collect();
        let [group, version, plural, kind, singular, scope, short, categories, verbs, hash] = columns[..]
        else {
            panic!("resources table: ten columns in {line:?}");
        };
        if let Some((parent, name)) = plural.split_once('/') {
            let parent = resources
                .iter_mut()
                .rfind(|resource| {
                    resource.plural == parent && resource.group == group && resource.version == version
                })
                .expect("a subresource follows its resource");
            parent.subresources.push(subresource(name, (group, version), kind, verbs));
        } else {
            resources.push(Resource {
                group,
                version,
                plural,
                singular,
                kind,
                scope: if scope == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
                short_names: words(short),
                categories: words(categories),
                verbs: words(verbs),
                storage_version_hash: hash,
                subresources: Vec::new(),
            });
        }
    }
    resources
}

fn subresource(
    name: &'static str,
    parent: (&'static str, &'static str),
    kind: &'static str,
    verbs: &'static str,
) -> Subresource {
    let mut parts = kind.rsplitn(3, '/');
    let kind = parts.next().unwrap_or(kind);
    let version = parts.next();
    let group = parts.next();
    Subresource {
        name,
        group: group.unwrap_or(parent.0),
        version: version.unwrap_or(parent.1),
        kind,
        foreign: version.is_some(),
        verbs: words(verbs),
    }
}

fn words(column: &'static str) -> Vec<&'static str> {
    if column.is_empty() { Vec::new() } else { column.split(',').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_carry_their_subresources() {
        let deployments = resource("apps", "v1", "deployments").expect("served");
        assert_eq!(deployments.short_names, ["deploy"]);
        assert!(deployments.namespaced());
        let scale = deployments.subresource("scale").expect("served");
        assert_eq!(
            (scale.group, scale.version, scale.kind, scale.foreign),
            ("autoscaling", "v1", "Scale", true)
        );
        let nodes = resource("", "v1", "nodes").expect("served");
        assert_eq!((nodes.scope, nodes.qualified()), (Scope::Cluster, "nodes".to_owned()));
        assert_eq!(resources().iter().map(|r| 1 + r.subresources.len()).sum::<usize>(), 113);
    }
}
