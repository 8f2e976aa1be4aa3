//! What a node's agent may do: read what its own pods need, and write about itself.
//!
//! [`authorize`] decides before the object is known, [`restriction`] afterwards, on the
//! object itself. Both are pure over a pinned view ([`Graph`], [`restriction::Objects`]).
//! Requests of anybody who is not a node are no business of this module.

mod references;
mod relations;
pub mod restriction;

pub use relations::Relations;

use crate::bootstrap;
use crate::rbac::{Attributes, Decision};
use crate::user::{self, UserInfo, groups};

/// Namespace of the leases that say a node is alive.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Kinds of objects a node reaches through its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Related {
    /// A pod bound to the node.
    Pod,
    /// Named by a pod, or by a volume of a pod's claim.
    Secret,
    /// Named by a pod.
    ConfigMap,
    /// The account a pod runs as.
    ServiceAccount,
    /// A claim of a pod's volume.
    VolumeClaim,
    /// The volume of such a claim.
    Volume,
    /// An attachment to the node.
    VolumeAttachment,
    /// A device claim of a pod.
    ResourceClaim,
    /// A slice published by the node.
    ResourceSlice,
}

/// A pinned view of what belongs to which node.
pub trait Graph {
    /// Whether a pod of `node` leads to the object; cluster-scoped kinds have an empty namespace.
    fn relates(&self, node: &str, kind: Related, namespace: &str, name: &str) -> bool;
}

/// The name of the node this user is the agent of; empty when the name lacks it.
pub fn identity(user: &UserInfo) -> Option<&str> {
    user::node_name(&user.name).filter(|_| user.in_group(groups::NODES))
}

/// Decides what a node may do. It allows or has no opinion, never denies.
pub fn authorize(graph: &dyn Graph, user: &UserInfo, request: &Attributes) -> Decision {
    let Some(node) = identity(user) else { return no_opinion("") };
    if node.is_empty() {
        return no_opinion(&format!("unknown node for user {}", crate::go::quote(&user.name)));
    }

    let asked = Asked { graph, node, request };
    if !request.is_resource {
        return asked.by_fixed_rules();
    }
    match (request.group.as_str(), request.resource.as_str()) {
        ("", "secrets") => asked.read_one(Related::Secret),
        ("", "configmaps") => asked.read_one(Related::ConfigMap),
        ("", "persistentvolumeclaims") if request.subresource == "status" => {
            asked.write_status(Related::VolumeClaim)
        }
        ("", "persistentvolumeclaims") => asked.get(Related::VolumeClaim),
        ("", "persistentvolumes") => asked.get(Related::Volume),
        ("resource.k8s.io", "resourceclaims") => asked.get(Related::ResourceClaim),
        ("storage.k8s.io", "volumeattachments") => asked.get(Related::VolumeAttachment),
        ("", "serviceaccounts") => asked.service_account(),
        ("coordination.k8s.io", "leases") => asked.lease(),
        ("storage.k8s.io", "csinodes") => asked.csi_node(),
        ("resource.k8s.io", "resourceslices") => asked.resource_slice(),
        ("", "nodes") => asked.node_object(),
        ("", "pods") => asked.pod(),
        ("certificates.k8s.io", "podcertificaterequests") => no_opinion(""),
        _ => asked.by_fixed_rules(),
    }
}

fn no_opinion(reason: &str) -> Decision {
    Decision::NoOpinion(reason.to_owned())
}

fn allow() -> Decision {
    Decision::Allow(None)
}

/// One request of one node.
struct Asked<'a> {
    graph: &'a dyn Graph,
    node: &'a str,
    request: &'a Attributes,
}

impl Asked<'_> {
    fn verb_in(&self, verbs: &[&str]) -> bool {
        verbs.contains(&self.request.verb.as_str())
    }

    /// The rules all nodes share, whatever their pods.
    fn by_fixed_rules(&self) -> Decision {
        let allowed = bootstrap::node_rules().iter().any(|rule| rule.allows(self.request));
        if allowed { allow() } else { no_opinion("") }
    }

    fn related(&self, kind: Related) -> Decision {
        let Attributes { namespace, name, .. } = self.request;
        if name.is_empty() {
            return no_opinion("No Object name found");
        }
        if self.graph.relates(self.node, kind, namespace, name) {
            return allow();
        }
        no_opinion(&format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, kind: Related) -> Decision {
        if self.request.verb != "get" {
            return no_opinion("can only get individual resources of this type");
        }
        if !self.request.subresource.is_empty() {
            return no_opinion("cannot get subresource");
        }
        self.related(kind)
    }

    fn read_one(&self, kind: Related) -> Decision {
        if !self.verb_in(&["get", "list", "watch"]) {
            return no_opinion("can only read resources of this type");
        }
        if !self.request.subresource.is_empty() {
            return no_opinion("cannot read subresource");
        }
        if self.request.namespace.is_empty() {
            return no_opinion("can only read namespaced object of this type");
        }
        self.related(kind)
    }

    fn write_status(&self, kind: Related) -> Decision {
        if !self.verb_in(&["update", "patch"]) {
            return no_opinion("can only get/update/patch this type");
        }
        self.related(kind)
    }

    fn service_account(&self) -> Decision {
        let request = self.request;
        if request.verb == "get" && request.subresource.is_empty() {
            return self.read_one(Related::ServiceAccount);
        }
        if request.verb != "create" || request.name.is_empty() {
            return no_opinion("can only create tokens for individual service accounts");
        }
        if request.subresource != "token" {
            return no_opinion("can only create token subresource of serviceaccount");
        }
        self.related(Related::ServiceAccount)
    }

    fn lease(&self) -> Decision {
        if !self.verb_in(&["get", "create", "update", "patch", "delete"]) {
            return no_opinion("can only get, create, update, patch, or delete a node lease");
        }
        if self.request.namespace != LEASE_NAMESPACE {
            return no_opinion("can only access leases in the \"kube-node-lease\" system namespace");
        }
        if self.request.verb != "create" && self.request.name != self.node {
            return no_opinion("can only access node lease with the same name as the requesting node");
        }
        allow()
    }

    fn csi_node(&self) -> Decision {
        if !self.verb_in(&["get", "create", "update", "patch", "delete"]) {
            return no_opinion("can only get, create, update, patch, or delete a CSINode");
        }
        if !self.request.subresource.is_empty() {
            return no_opinion("cannot authorize CSINode subresources");
        }
        if self.request.verb != "create" && self.request.name != self.node {
            return no_opinion("can only access CSINode with the same name as the requesting node");
        }
        allow()
    }

    fn resource_slice(&self) -> Decision {
        if !self.request.subresource.is_empty() {
            return no_opinion("cannot authorize ResourceSlice subresources");
        }
        match self.request.verb.as_str() {
            "create" => allow(),
            "get" | "update" | "patch" | "delete" => self.related(Related::ResourceSlice),
            "watch" | "list" | "deletecollection"
                if self.request.requires_field("spec.nodeName", self.node) =>
            {
                allow()
            }
            "watch" | "list" | "deletecollection" => {
                no_opinion("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no_opinion(
                "only the following verbs are allowed for a ResourceSlice: \
                 get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    /// The name is compared, so that an agent may look for its Node before it is there.
    fn node_object(&self) -> Decision {
        let (node, name) = (self.node, self.request.name.as_str());
        match (self.request.subresource.as_str(), self.request.verb.as_str()) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => allow(),
            ("", "get" | "list" | "watch") if name == node => allow(),
            ("", "get" | "list" | "watch") if name.is_empty() => {
                no_opinion(&format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("", "get" | "list" | "watch") => {
                no_opinion(&format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
            _ => no_opinion(""),
        }
    }

    fn pod(&self) -> Decision {
        match (self.request.subresource.as_str(), self.request.verb.as_str()) {
            ("", "get") => self.related(Related::Pod),
            ("", "list" | "watch") if self.request.requires_field("spec.nodeName", self.node) => allow(),
            ("", "list" | "watch") if !self.request.name.is_empty() => self.related(Related::Pod),
            ("", "list" | "watch") => {
                no_opinion("can only list/watch pods with spec.nodeName field selector")
            }
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => allow(),
            _ => no_opinion(""),
        }
    }
}

#[cfg(test)]
mod tests;
