//! What is served: every resource with its strategy, schema and stored form,
//! and every subresource. Facts only; discovery and dispatch read them.

use crate::status::GroupResource;
use kinds::{Resource, Strategy};
use schema::{Schema, Tree};
use std::cmp::Reverse;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

/// Stored resources that more than one group or version serves, with the version of their stored bytes.
const SHARED: &[(&str, &str)] =
    &[("events", "v1"), ("horizontalpodautoscalers.autoscaling", "autoscaling/v2")];

/// The form in which a kind's objects lie in the store.
pub struct Stored {
    /// Group/version of the stored bytes.
    pub api_version: Arc<str>,
    /// What stored bytes start with, up to the metadata object.
    pub prefix: String,
    /// Whether the bytes are encrypted.
    pub sealed: bool,
}

/// One served resource.
pub struct Kind {
    /// Tells it from every other that this process has served.
    pub id: u32,
    /// Its strategy.
    pub strategy: &'static dyn Strategy,
    /// Its names and verbs.
    pub resource: &'static Resource,
    /// Its schema.
    pub schema: &'static Schema,
    /// How errors name it.
    pub group_resource: GroupResource,
    /// Its name in the store.
    pub stored_as: Arc<str>,
    /// `apiVersion` of its objects.
    pub api_version: String,
    /// Stored form.
    pub stored: Stored,
    /// Whether stored bytes are of another version than this kind's.
    pub converts: bool,
    /// Its subresources, by name.
    pub subresources: Vec<&'static Sub>,
}

/// A subresource as discovery shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sub {
    /// Group of the parent.
    pub group: &'static str,
    /// Plural of the parent.
    pub plural: &'static str,
    /// Name.
    pub name: &'static str,
    /// Group of its kind, when it is another than the parent's.
    pub kind_group: &'static str,
    /// Version of its kind, when it is another than the parent's.
    pub kind_version: &'static str,
    /// Kind it takes and gives.
    pub kind: &'static str,
    /// Verbs, sorted.
    pub verbs: &'static [&'static str],
}

const fn sub(
    group: &'static str,
    plural: &'static str,
    name: &'static str,
    kind: (&'static str, &'static str, &'static str),
    verbs: &'static [&'static str],
) -> Sub {
    Sub { group, plural, name, kind_group: kind.0, kind_version: kind.1, kind: kind.2, verbs }
}

const READ_WRITE: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Every subresource, sorted by parent and name.
pub static SUBRESOURCES: &[Sub] = &[
    sub("", "namespaces", "finalize", ("", "", "Namespace"), &["update"]),
    sub("", "namespaces", "status", ("", "", "Namespace"), READ_WRITE),
    sub("", "nodes", "proxy", ("", "", "NodeProxyOptions"), PROXY),
    sub("", "nodes", "status", ("", "", "Node"), READ_WRITE),
    sub("", "persistentvolumeclaims", "status", ("", "", "PersistentVolumeClaim"), READ_WRITE),
    sub("", "persistentvolumes", "status", ("", "", "PersistentVolume"), READ_WRITE),
    sub("", "pods", "attach", ("", "", "PodAttachOptions"), CONNECT),
    sub("", "pods", "binding", ("", "", "Binding"), &["create"]),
    sub("", "pods", "ephemeralcontainers", ("", "", "Pod"), READ_WRITE),
    sub("", "pods", "eviction", ("policy", "v1", "Eviction"), &["create"]),
    sub("", "pods", "exec", ("", "", "PodExecOptions"), CONNECT),
    sub("", "pods", "log", ("", "", "Pod"), &["get"]),
    sub("", "pods", "portforward", ("", "", "PodPortForwardOptions"), CONNECT),
    sub("", "pods", "proxy", ("", "", "PodProxyOptions"), PROXY),
    sub("", "pods", "resize", ("", "", "Pod"), READ_WRITE),
    sub("", "pods", "status", ("", "", "Pod"), READ_WRITE),
    sub("", "replicationcontrollers", "scale", ("autoscaling", "v1", "Scale"), READ_WRITE),
    sub("", "replicationcontrollers", "status", ("", "", "ReplicationController"), READ_WRITE),
    sub("", "resourcequotas", "status", ("", "", "ResourceQuota"), READ_WRITE),
    sub("", "serviceaccounts", "token", ("authentication.k8s.io", "v1", "TokenRequest"), &["create"]),
    sub("", "services", "proxy", ("", "", "ServiceProxyOptions"), PROXY),
    sub("", "services", "status", ("", "", "Service"), READ_WRITE),
    sub("apps", "daemonsets", "status", ("", "", "DaemonSet"), READ_WRITE),
    sub("apps", "deployments", "scale", ("autoscaling", "v1", "Scale"), READ_WRITE),
    sub("apps", "deployments", "status", ("", "", "Deployment"), READ_WRITE),
    sub("apps", "replicasets", "scale", ("autoscaling", "v1", "Scale"), READ_WRITE),
    sub("apps", "replicasets", "status", ("", "", "ReplicaSet"), READ_WRITE),
    sub("apps", "statefulsets", "scale", ("autoscaling", "v1", "Scale"), READ_WRITE),
    sub("apps", "statefulsets", "status", ("", "", "StatefulSet"), READ_WRITE),
    sub("autoscaling", "horizontalpodautoscalers", "status", ("", "", "HorizontalPodAutoscaler"), READ_WRITE),
    sub("batch", "cronjobs", "status", ("", "", "CronJob"), READ_WRITE),
    sub("batch", "jobs", "status", ("", "", "Job"), READ_WRITE),
    sub(
        "certificates.k8s.io",
        "certificatesigningrequests",
        "approval",
        ("", "", "CertificateSigningRequest"),
        READ_WRITE,
    ),
    sub(
        "certificates.k8s.io",
        "certificatesigningrequests",
        "status",
        ("", "", "CertificateSigningRequest"),
        READ_WRITE,
    ),
    sub("flowcontrol.apiserver.k8s.io", "flowschemas", "status", ("", "", "FlowSchema"), READ_WRITE),
    sub(
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        "status",
        ("", "", "PriorityLevelConfiguration"),
        READ_WRITE,
    ),
    sub("networking.k8s.io", "ingresses", "status", ("", "", "Ingress"), READ_WRITE),
    sub("networking.k8s.io", "servicecidrs", "status", ("", "", "ServiceCIDR"), READ_WRITE),
    sub("policy", "poddisruptionbudgets", "status", ("", "", "PodDisruptionBudget"), READ_WRITE),
    sub("resource.k8s.io", "resourceclaims", "status", ("", "", "ResourceClaim"), READ_WRITE),
    sub("storage.k8s.io", "volumeattachments", "status", ("", "", "VolumeAttachment"), READ_WRITE),
];

impl Kind {
    fn new(strategy: &'static dyn Strategy) -> Option<Self> {
        let resource = strategy.resource();
        let schema = schema::kind(&resource.group, &resource.version, &resource.kind)?;
        let api_version = resource.api_version();
        let stored_version =
            shared_version(&resource.stored_as).map_or_else(|| api_version.clone(), str::to_owned);
        let prefix = prefix(&resource.kind, &stored_version);
        let subresources = SUBRESOURCES
            .iter()
            .filter(|sub| sub.group == resource.group && sub.plural == resource.plural)
            .collect();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Some(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            strategy,
            resource,
            schema,
            group_resource: GroupResource::new(resource.group.clone(), resource.plural.clone()),
            stored_as: resource.stored_as.as_str().into(),
            converts: stored_version != api_version,
            stored: Stored {
                api_version: stored_version.into(),
                prefix,
                sealed: resource.group.is_empty() && resource.plural == "secrets",
            },
            api_version,
            subresources,
        })
    }

    /// The same objects as other groups and versions serve them.
    pub fn other_versions(&self) -> impl Iterator<Item = &'static Kind> {
        let kinds = if shared_version(&self.stored_as).is_some() { all() } else { &[] };
        kinds.iter().filter(|kind| kind.stored_as == self.stored_as && kind.api_version != self.api_version)
    }

    /// An object of this kind as another kind that shares its storage serves it.
    pub fn in_version(&self, other: &Kind, tree: &Tree) -> Tree {
        let mut tree = other.strategy.from_stored(self.strategy.to_stored(tree.clone()));
        tree["apiVersion"] = Tree::String(other.api_version.clone());
        tree["kind"] = Tree::String(other.resource.kind.clone());
        tree
    }

    /// Whether a verb is served on the resource itself.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.resource.verbs.iter().any(|known| known == verb)
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&'static Sub> {
        self.subresources.iter().find(|sub| sub.name == name).copied()
    }

    /// Whether objects of this kind are stored at all (reviews and bindings are not).
    pub fn is_stored(&self) -> bool {
        self.has_verb("get")
    }
}

/// The version in which a shared resource is stored.
fn shared_version(stored_as: &str) -> Option<&'static str> {
    SHARED.iter().find(|(name, _)| *name == stored_as).map(|(_, version)| *version)
}

/// What an object's bytes start with, up to the metadata object.
pub fn prefix(kind: &str, api_version: &str) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":")
}

/// `bindings`: posted like a resource, but a binding is a part of its pod and stored nowhere.
struct Bindings;

impl Strategy for Bindings {
    fn resource(&self) -> &'static Resource {
        Resource::known("", "v1", "bindings")
    }

    fn validate(&self, binding: &schema::Tree) -> Vec<kinds::field::Error> {
        kinds::core::binding::validate(binding)
    }

    fn validate_update(
        &self,
        _: kinds::Subresource,
        _: &schema::Tree,
        _: &schema::Tree,
    ) -> Vec<kinds::field::Error> {
        Vec::new()
    }
}

struct Catalog {
    kinds: Vec<Kind>,
    /// Places of kinds, by [`path`].
    index: Vec<usize>,
    groups: Vec<(String, String)>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let kinds: Vec<Kind> =
        kinds::all().iter().copied().chain([&Bindings as &dyn Strategy]).filter_map(Kind::new).collect();
    let mut index: Vec<usize> = (0..kinds.len()).collect();
    index.sort_by_key(|&at| path(kinds[at].resource));
    let mut groups: Vec<(String, String)> = Vec::new();
    for kind in &kinds {
        let group = (kind.resource.group.clone(), kind.resource.version.clone());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.sort_by_key(|(group, version)| {
        (Reverse(priority(group)), group.clone(), Reverse(version_rank(version)), version.clone())
    });
    Catalog { kinds, index, groups }
});

/// What tells a resource from every other, the part that differs most first.
fn path(resource: &Resource) -> (&str, &str, &str) {
    (&resource.plural, &resource.group, &resource.version)
}

/// Rank of a group in discovery; higher comes first.
fn priority(group: &str) -> u32 {
    match group {
        "" => 18000,
        "apps" => 17800,
        "events.k8s.io" => 17750,
        "authentication.k8s.io" => 17700,
        "authorization.k8s.io" => 17600,
        "autoscaling" => 17500,
        "batch" => 17400,
        "certificates.k8s.io" => 17300,
        "networking.k8s.io" => 17200,
        "policy" => 17100,
        "rbac.authorization.k8s.io" => 17000,
        "storage.k8s.io" => 16800,
        "scheduling.k8s.io" => 16600,
        "coordination.k8s.io" => 16500,
        "node.k8s.io" => 16300,
        "discovery.k8s.io" | "resource.k8s.io" => 16200,
        "flowcontrol.apiserver.k8s.io" => 16100,
        _ => 1000,
    }
}

/// Rank of a version in its group; higher comes first, and the highest is preferred: stable versions before betas before
/// alphas, and of each the later ones first.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, stage) = rest.split_at(digits);
    let major = major.parse().unwrap_or(0);
    let minor = |word: &str| stage.strip_prefix(word).map(|minor| minor.parse().unwrap_or(0));
    match (stage, minor("beta"), minor("alpha")) {
        ("", ..) => (3, major, 0),
        (_, Some(minor), _) => (2, major, minor),
        (_, _, Some(minor)) => (1, major, minor),
        _ => (0, major, 0),
    }
}

/// The served resource at a path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    let Catalog { kinds, index, .. } = &*CATALOG;
    let found = index.binary_search_by(|&at| path(kinds[at].resource).cmp(&(plural, group, version)));
    found.ok().map(|place| &kinds[index[place]])
}

/// Every served resource.
pub fn all() -> &'static [Kind] {
    &CATALOG.kinds
}

/// Served groups with each of their versions, in discovery order; core is `("", "v1")`. The first version of a group is the
/// preferred one.
pub fn groups() -> &'static [(String, String)] {
    &CATALOG.groups
}

/// Whether anything of a group is served.
pub fn has_group(group: &str) -> bool {
    CATALOG.groups.iter().any(|(known, _)| known == group)
}

/// The Go package of a group's internal types, as some errors name it.
pub fn go_package(group: &str) -> &str {
    match group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_and_later_versions_come_first() {
        let mut versions = ["v1beta1", "v1", "v2alpha1", "v2", "v1beta2", "x"];
        versions.sort_by_key(|version| Reverse(version_rank(version)));
        assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v2alpha1", "x"]);
    }

    #[test]
    fn versions_of_one_storage_know_each_other() {
        let kind = find("autoscaling", "v1", "horizontalpodautoscalers").expect("served");
        let others: Vec<&str> = kind.other_versions().map(|other| other.api_version.as_str()).collect();
        assert_eq!(others, ["autoscaling/v2"]);
        assert!(kind.converts);
        assert_eq!(&*kind.stored.api_version, "autoscaling/v2");
    }
}
