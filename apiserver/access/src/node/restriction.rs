//! NodeRestriction: what a node may write, decided on the object itself.
//!
//! The authorizer lets a node create, say, a Node without knowing which; this admission step
//! knows. It runs for creates, updates (patches included) and deletes by nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::references::{self, items};
use super::{LEASE_NAMESPACE, identity};
use crate::Tree;
use crate::go::quote;
use crate::rbac::{Attributes, Decision, Forbidden};
use crate::user::UserInfo;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object, or a new eviction or token.
    Create,
    /// Put, patch or apply of one that is there.
    Update,
    /// Delete of one object.
    Delete,
}

/// A write, before it happens.
pub struct Write<'a> {
    /// Kind of write.
    pub operation: Operation,
    /// API group of the resource.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster scope.
    pub namespace: &'a str,
    /// Name in the request; on create that of the object.
    pub name: &'a str,
    /// The new object (an Eviction or TokenRequest for those subresources); null on delete.
    pub object: &'a Tree,
    /// The stored object; null on create.
    pub old: &'a Tree,
}

/// The stored objects the decision looks at.
pub trait Objects {
    /// A pod.
    fn pod(&self, namespace: &str, name: &str) -> Option<Tree>;
    /// A node.
    fn node(&self, name: &str) -> Option<Tree>;
    /// Audiences a storage driver wants tokens for, when the pod uses it; the claim and volume in between are followed.
    fn driver_audiences(&self, pod: &Tree) -> Vec<String>;
    /// What the chain says about another right of the same user.
    fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Decision;
}

/// Why a node's write is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// 404 for a pod or node that the write is about.
    #[error("{resource} {} not found", quote(.name))]
    NotFound {
        /// `pods` or `nodes`.
        resource: &'static str,
        /// Its name.
        name: String,
    },
}

/// Lets a write pass, or says why not. Writes of users who are not nodes always pass.
pub fn admit(objects: &dyn Objects, user: &UserInfo, write: &Write<'_>) -> Result<(), Refusal> {
    let Some(node) = identity(user) else { return Ok(()) };
    let admission = Admission { objects, user, node, write };
    if node.is_empty() {
        return admission.refuse(format!("could not determine node from user {}", quote(&user.name)));
    }
    match (write.group, write.resource, write.subresource) {
        ("", "pods", "") => admission.pod(),
        ("", "pods", "status") => admission.pod_status(),
        ("", "pods", "eviction") => admission.eviction(),
        ("", "pods", other) => admission.refuse(format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quote(other)
        )),
        ("", "nodes", _) => admission.node_object(),
        ("", "persistentvolumeclaims", "status") => admission.claim_status(),
        ("", "persistentvolumeclaims", _) => admission.refuse("may only update PVC status".to_owned()),
        ("", "serviceaccounts", "token") if write.operation == Operation::Create => admission.token(),
        ("coordination.k8s.io", "leases", _) => admission.lease(),
        ("storage.k8s.io", "csinodes", _) => admission.csi_node(),
        ("resource.k8s.io", "resourceslices", _) => admission.resource_slice(),
        ("certificates.k8s.io", "podcertificaterequests", _) => {
            admission.refuse("PodCertificateRequest feature gate is disabled".to_owned())
        }
        _ => Ok(()),
    }
}

struct Admission<'a> {
    objects: &'a dyn Objects,
    user: &'a UserInfo,
    node: &'a str,
    write: &'a Write<'a>,
}

type Admitted = Result<(), Refusal>;

impl Admission<'_> {
    fn refuse(&self, why: String) -> Admitted {
        let Write { group, resource, name, .. } = self.write;
        Err(Forbidden::new(group, resource, name, &why).into())
    }

    /// Refuses unless the condition holds.
    fn require(&self, holds: bool, why: impl FnOnce() -> String) -> Admitted {
        if holds { Ok(()) } else { self.refuse(why()) }
    }

    fn is_self(&self, node_name: &Tree) -> bool {
        node_name.as_str().unwrap_or_default() == self.node
    }

    fn stored_pod(&self, name: &str) -> Result<Tree, Refusal> {
        let pod = self.objects.pod(self.write.namespace, name);
        pod.ok_or_else(|| Refusal::NotFound { resource: "pods", name: name.to_owned() })
    }

    fn pod(&self) -> Admitted {
        let node = quote(self.node);
        match self.write.operation {
            Operation::Create => self.mirror_pod(),
            Operation::Delete => {
                let pod = self.stored_pod(self.write.name)?;
                self.require(self.is_self(&pod["spec"]["nodeName"]), || {
                    format!("node {node} can only delete pods with spec.nodeName set to itself")
                })
            }
            Operation::Update => self.refuse(format!(
                "unexpected operation \"UPDATE\", node {node} can only create and delete mirror pods"
            )),
        }
    }

    /// A node creates only the mirrors of its own files, and they name no other object.
    fn mirror_pod(&self) -> Admitted {
        let (pod, node) = (self.write.object, quote(self.node));
        self.require(references::is_mirror(pod), || {
            let annotation = quote(references::MIRROR_ANNOTATION);
            format!("pod does not have {annotation} annotation, node {node} can only create mirror pods")
        })?;
        self.require(self.is_self(&pod["spec"]["nodeName"]), || {
            format!("node {node} can only create pods with spec.nodeName set to itself")
        })?;
        let owners = items(&pod["metadata"]["ownerReferences"]);
        let itself = || format!("node {node} can only create pods with an owner reference set to itself");
        let [owner] = owners else {
            let why = match owners.is_empty() {
                true => itself(),
                false => {
                    format!("node {node} can only create pods with a single owner reference set to itself")
                }
            };
            return self.refuse(why);
        };
        let is_node = owner["apiVersion"] == "v1" && owner["kind"] == "Node" && self.is_self(&owner["name"]);
        self.require(is_node, itself)?;
        self.require(owner["controller"] == true, || {
            format!("node {node} can only create pods with a controller owner reference set to itself")
        })?;
        self.require(owner["blockOwnerDeletion"] != true, || {
            format!("node {node} must not set blockOwnerDeletion on an owner reference")
        })?;
        let stored = self.objects.node(self.node);
        let stored =
            stored.ok_or_else(|| Refusal::NotFound { resource: "nodes", name: self.node.to_owned() })?;
        let uid = |tree: &Tree| tree["uid"].as_str().unwrap_or_default().to_owned();
        let (claimed, real) = (uid(owner), uid(&stored["metadata"]));
        self.require(claimed == real, || {
            format!("node {} UID mismatch: expected {claimed} got {real}", self.node)
        })?;
        match foreign_reference(pod) {
            Ok(None) => Ok(()),
            Ok(Some(resource)) => {
                self.refuse(format!("node {node} can not create pods that reference {resource}"))
            }
            Err(why) => self.refuse(format!("error checking mirror pod for API references: {why}")),
        }
    }

    fn pod_status(&self) -> Admitted {
        let node = quote(self.node);
        let (new, old) = (self.write.object, self.write.old);
        match self.write.operation {
            Operation::Update => {}
            Operation::Create => return self.refuse("unexpected operation \"CREATE\"".to_owned()),
            Operation::Delete => return self.refuse("unexpected operation \"DELETE\"".to_owned()),
        }
        self.require(self.is_self(&old["spec"]["nodeName"]), || {
            format!("node {node} can only update pod status for pods with spec.nodeName set to itself")
        })?;
        self.require(same(&new["metadata"]["labels"], &old["metadata"]["labels"]), || {
            format!("node {node} cannot update labels through pod status")
        })?;
        let status = |field: &str| same(&new["status"][field], &old["status"][field]);
        // The typo is upstream's, and clients see it.
        self.require(status("resourceClaimStatuses"), || {
            format!("node {node} cannot update resource claim statues")
        })?;
        self.require(status("extendedResourceClaimStatus"), || {
            format!("node {node} cannot update extended resource claim status")
        })
    }

    fn eviction(&self) -> Admitted {
        if self.write.operation != Operation::Create {
            return self.refuse("unexpected operation".to_owned());
        }
        let named = self.write.object["metadata"]["name"].as_str().unwrap_or_default();
        let name = if self.write.name.is_empty() { named } else { self.write.name };
        self.require(!name.is_empty(), || "could not determine pod from request data".to_owned())?;
        let pod = self.stored_pod(name)?;
        self.require(self.is_self(&pod["spec"]["nodeName"]), || {
            format!("node {} can only evict pods with spec.nodeName set to itself", self.node)
        })
    }

    fn node_object(&self) -> Admitted {
        let (node, new, old) = (quote(self.node), self.write.object, self.write.old);
        self.require(self.write.name == self.node, || {
            format!("node {node} is not allowed to modify node {}", quote(self.write.name))
        })?;
        match self.write.operation {
            Operation::Create => {
                self.require(new["spec"]["configSource"].is_null(), || {
                    format!("node {node} is not allowed to create pods with a non-nil configSource")
                })?;
                let labels = forbidden_labels(&new["metadata"]["labels"], &Tree::Null);
                self.require(labels.is_empty(), || {
                    format!("node {node} is not allowed to set the following labels: {}", labels.join(", "))
                })
            }
            Operation::Update => {
                let source = &new["spec"]["configSource"];
                self.require(source.is_null() || source == &old["spec"]["configSource"], || {
                    format!("node {node} is not allowed to update configSource to a new non-nil configSource")
                })?;
                self.require(same(&new["spec"]["taints"], &old["spec"]["taints"]), || {
                    format!("node {node} is not allowed to modify taints")
                })?;
                let owners = |tree: &'_ Tree| tree["metadata"]["ownerReferences"].clone();
                self.require(same(&owners(new), &owners(old)), || {
                    format!("node {node} is not allowed to modify ownerReferences")
                })?;
                let labels = forbidden_labels(&new["metadata"]["labels"], &old["metadata"]["labels"]);
                self.require(labels.is_empty(), || {
                    format!("is not allowed to modify labels: {}", labels.join(", "))
                })
            }
            Operation::Delete => Ok(()),
        }
    }

    /// Only capacity, conditions and the progress of a resize.
    fn claim_status(&self) -> Admitted {
        if self.write.operation != Operation::Update {
            return self.refuse("unexpected operation".to_owned());
        }
        let rest = |claim: &Tree| {
            let mut claim = claim.clone();
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                remove(&mut claim["status"], field);
            }
            remove(&mut claim["metadata"], "resourceVersion");
            remove(&mut claim["metadata"], "managedFields");
            if claim["status"].as_object().is_none_or(serde_json::Map::is_empty) {
                remove(&mut claim, "status");
            }
            claim
        };
        self.require(rest(self.write.object) == rest(self.write.old), || {
            let node = quote(self.node);
            format!("node {node} is not allowed to update fields other than status.quantity and status.conditions: ")
        })
    }

    /// A node asks for tokens only for its pods, and only for audiences the pod names.
    fn token(&self) -> Admitted {
        let spec = &self.write.object["spec"];
        let bound = &spec["boundObjectRef"];
        let name = bound["name"].as_str().unwrap_or_default();
        let is_pod = bound["apiVersion"] == "v1" && bound["kind"] == "Pod" && !name.is_empty();
        self.require(is_pod, || "node requested token not bound to a pod".to_owned())?;
        let uid = bound["uid"].as_str().unwrap_or_default();
        self.require(!uid.is_empty(), || "node requested token with a pod binding without a uid".to_owned())?;
        let pod = self.stored_pod(name)?;
        self.require(pod["metadata"]["uid"] == uid, || {
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            )
        })?;
        self.require(self.is_self(&pod["spec"]["nodeName"]), || {
            "node requested token bound to a pod scheduled on a different node".to_owned()
        })?;
        self.token_audience(&pod, items(&spec["audiences"]))
    }

    fn token_audience(&self, pod: &Tree, audiences: &[Tree]) -> Admitted {
        self.require(audiences.len() <= 1, || "node may only request 0 or 1 audiences".to_owned())?;
        let audience = audiences.first().and_then(Tree::as_str).unwrap_or_default();
        let projected =
            items(&pod["spec"]["volumes"]).iter().flat_map(|volume| items(&volume["projected"]["sources"]));
        let mut tokens =
            projected.map(|source| &source["serviceAccountToken"]).filter(|token| token.is_object());
        let in_pod = tokens.any(|token| token["audience"].as_str().unwrap_or_default() == audience);
        if in_pod || self.objects.driver_audiences(pod).iter().any(|wanted| wanted == audience) {
            return Ok(());
        }
        let right = Attributes::resource("request-serviceaccounts-token-audience", "", audience)
            .in_namespace(self.write.namespace)
            .named(self.write.name);
        self.require(self.objects.authorize(self.user, &right).is_allowed(), || {
            format!(
                "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
                quote(audience),
                self.user.name
            )
        })
    }

    fn lease(&self) -> Admitted {
        self.require(self.write.namespace == LEASE_NAMESPACE, || {
            format!("can only access leases in the {} system namespace", quote(LEASE_NAMESPACE))
        })?;
        self.require(self.write.name == self.node, || {
            "can only access node lease with the same name as the requesting node".to_owned()
        })
    }

    fn csi_node(&self) -> Admitted {
        self.require(self.write.name == self.node, || {
            "can only access CSINode with the same name as the requesting node".to_owned()
        })
    }

    fn resource_slice(&self) -> Admitted {
        let (slice, verb) = match self.write.operation {
            Operation::Create => (self.write.object, "create"),
            Operation::Delete => (self.write.old, "delete"),
            Operation::Update => return Ok(()),
        };
        self.require(self.is_self(&slice["spec"]["nodeName"]), || {
            format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")
        })
    }
}

/// Equal, where absent, null and empty are one.
fn same(left: &Tree, right: &Tree) -> bool {
    let is_empty = |tree: &Tree| match tree {
        Tree::Null => true,
        Tree::Array(items) => items.is_empty(),
        Tree::Object(fields) => fields.is_empty(),
        _ => false,
    };
    left == right || (is_empty(left) && is_empty(right))
}

fn remove(tree: &mut Tree, field: &str) {
    if let Some(fields) = tree.as_object_mut() {
        fields.remove(field);
    }
}

/// Volume sources that need nothing from the API.
const PLAIN_VOLUMES: [&str; 23] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
    "name",
];

/// The first kind of object a mirror pod refers to, in the words of the refusal.
fn foreign_reference(pod: &Tree) -> Result<Option<&'static str>, String> {
    let named: BTreeSet<_> = {
        let mut plain = pod.clone();
        remove(&mut plain["metadata"], "annotations");
        references::of_pod(&plain).into_iter().map(|(kind, _)| kind).collect()
    };
    for (kind, text) in [
        (references::RelatedKey::ServiceAccount, "serviceaccounts"),
        (references::RelatedKey::Secret, "secrets"),
        (references::RelatedKey::ConfigMap, "configmaps"),
    ] {
        if named.contains(&kind) {
            return Ok(Some(text));
        }
    }
    if !items(&pod["spec"]["resourceClaims"]).is_empty() {
        return Ok(Some("resourceclaims"));
    }
    for volume in items(&pod["spec"]["volumes"]) {
        if let Some(found) = foreign_volume(volume)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn foreign_volume(volume: &Tree) -> Result<Option<&'static str>, String> {
    let has = |source: &str| !volume[source].is_null();
    let sources = [
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ];
    if let Some((_, text)) = sources.into_iter().find(|(source, _)| has(source)) {
        return Ok(Some(text));
    }
    if has("projected") {
        return items(&volume["projected"]["sources"]).iter().find_map(projected_source).transpose();
    }
    let known = volume.as_object().is_some_and(|fields| {
        fields.keys().any(|field| field != "name" && PLAIN_VOLUMES.contains(&field.as_str()))
    });
    if known {
        Ok(None)
    } else {
        Err(format!("unknown volume type for volume  {}", quote(volume["name"].as_str().unwrap_or_default())))
    }
}

fn projected_source(source: &Tree) -> Option<Result<&'static str, String>> {
    let sources = [
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    let found = sources.into_iter().find(|(field, _)| !source[*field].is_null());
    found.map(|(_, text)| Ok(text))
}

/// Labels of Kubernetes' own namespaces that a node may set on itself.
const NODE_LABELS: [&str; 10] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Changed labels a node must leave alone, sorted.
fn forbidden_labels(new: &Tree, old: &Tree) -> Vec<String> {
    let map = |tree: &Tree| -> BTreeMap<String, Tree> {
        tree.as_object().map(|fields| fields.clone().into_iter().collect()).unwrap_or_default()
    };
    let (new, old) = (map(new), map(old));
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let changed = keys.into_iter().filter(|key| new.get(*key) != old.get(*key));
    changed.filter(|key| is_forbidden_label(key)).cloned().collect()
}

fn is_forbidden_label(label: &str) -> bool {
    let within = |namespace: &str, parent: &str| {
        namespace == parent || namespace.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    let Some((namespace, _)) = label.split_once('/') else { return false };
    if within(namespace, "node-restriction.kubernetes.io") {
        return true;
    }
    let is_kubernetes = within(namespace, "kubernetes.io") || within(namespace, "k8s.io");
    let is_kubelet = within(namespace, "kubelet.kubernetes.io") || within(namespace, "node.kubernetes.io");
    is_kubernetes && !is_kubelet && !NODE_LABELS.contains(&label)
}
