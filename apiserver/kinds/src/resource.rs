//! The catalogue of served resources: names, scope, verbs. Facts only; it decides nothing.

use std::sync::LazyLock;

/// One served resource, as discovery shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name, the one in URLs.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind of the objects.
    pub kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Short names kubectl accepts.
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Verbs the resource answers to.
    pub verbs: Vec<String>,
    /// Discovery's storage version hash.
    pub storage_hash: String,
    /// Place in the catalogue, which orders discovery.
    pub position: usize,
    /// Name in the store: `plural` or `plural.group`; Events of both groups share one.
    pub stored_as: String,
}

/// The resource with these names, looked up once.
#[macro_export]
macro_rules! resource {
    ($group:literal, $version:literal, $plural:literal) => {{
        static RESOURCE: std::sync::LazyLock<&'static $crate::Resource> =
            std::sync::LazyLock::new(|| $crate::Resource::known($group, $version, $plural));
        *RESOURCE
    }};
}

impl Resource {
    /// The resource of the catalogue with these names.
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
        catalogue().iter().find(|resource| {
            resource.plural == plural && resource.group == group && resource.version == version
        })
    }

    /// Like [`Resource::find`], for names written in this crate.
    ///
    /// # Panics
    /// When the catalogue does not have it, which is a spelling error in a strategy.
    pub fn known(group: &str, version: &str, plural: &str) -> &'static Resource {
        Self::find(group, version, plural)
            .unwrap_or_else(|| panic!("{plural} of {group}/{version} is not in the catalogue"))
    }

    /// Whether objects are kept. The others are questions, which are answered and forgotten.
    pub fn is_stored(&self) -> bool {
        self.verbs.iter().any(|verb| verb == "get")
    }

    /// `group/version`, or the version alone in the core group: the objects' `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, or the plural alone in the core group: the name in error texts.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// The resources without their subresources, in discovery order.
pub fn catalogue() -> &'static [Resource] {
    static CATALOGUE: LazyLock<Vec<Resource>> =
        LazyLock::new(|| k8s::tables::resources().iter().enumerate().map(from_table).collect());
    &CATALOGUE
}

fn from_table((position, row): (usize, &k8s::tables::Resource)) -> Resource {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let stored_as = if row.plural == "events" { row.plural.to_owned() } else { row.qualified() };
    Resource {
        group: row.group.to_owned(),
        version: row.version.to_owned(),
        plural: row.plural.to_owned(),
        singular: row.singular.to_owned(),
        kind: row.kind.to_owned(),
        namespaced: row.namespaced(),
        short_names: owned(&row.short_names),
        categories: owned(&row.categories),
        verbs: owned(&row.verbs),
        storage_hash: row.storage_version_hash.to_owned(),
        position,
        stored_as,
    }
}

/// Which part of an object a request writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// The object itself.
    None,
    /// `status`
    Status,
    /// `scale`
    Scale,
    /// `finalize` of a namespace
    Finalize,
    /// `ephemeralcontainers` of a pod
    EphemeralContainers,
    /// `resize` of a pod
    Resize,
    /// `approval` of a certificate signing request
    Approval,
    /// `binding` of a pod
    Binding,
    /// `eviction` of a pod
    Eviction,
    /// `token` of a service account
    Token,
}

impl Subresource {
    /// The subresource of a URL segment; `""` is the object itself.
    pub fn parse(segment: &str) -> Option<Subresource> {
        Some(match segment {
            "" => Subresource::None,
            "status" => Subresource::Status,
            "scale" => Subresource::Scale,
            "finalize" => Subresource::Finalize,
            "ephemeralcontainers" => Subresource::EphemeralContainers,
            "resize" => Subresource::Resize,
            "approval" => Subresource::Approval,
            "binding" => Subresource::Binding,
            "eviction" => Subresource::Eviction,
            "token" => Subresource::Token,
            _ => return None,
        })
    }

    /// The URL segment, empty for the object itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Subresource::None => "",
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Finalize => "finalize",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Approval => "approval",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::Token => "token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_knows_scope_and_names() {
        let pods = Resource::known("", "v1", "pods");
        assert!(pods.namespaced);
        assert_eq!(pods.short_names, ["po"]);
        assert_eq!(pods.qualified(), "pods");

        let roles = Resource::known("rbac.authorization.k8s.io", "v1", "clusterroles");
        assert!(!roles.namespaced);
        assert_eq!(roles.stored_as, "clusterroles.rbac.authorization.k8s.io");
        assert_eq!(Resource::known("events.k8s.io", "v1", "events").stored_as, "events");
    }

    #[test]
    fn subresources_survive_their_names() {
        for segment in
            ["", "status", "scale", "finalize", "ephemeralcontainers", "resize", "approval", "binding"]
        {
            assert_eq!(Subresource::parse(segment).expect(segment).as_str(), segment);
        }
        assert_eq!(Subresource::parse("log"), None);
    }
}
