//! The objects a pod or a volume names.

use std::collections::BTreeSet;

use super::Related;
use crate::Tree;

/// Marks a pod that only shows what runs from a file on the node.
pub(super) const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Volume sources whose `secretRef.name` the agent reads.
const VOLUMES_WITH_SECRET_REF: [&str; 7] =
    ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"];

/// Everything in the pod's namespace that its node may read because of it. A mirror pod gives
/// nothing: a node could otherwise make one to read any secret.
pub(super) fn of_pod(pod: &Tree) -> BTreeSet<(RelatedKey, String)> {
    if is_mirror(pod) {
        return BTreeSet::new();
    }
    let spec = &pod["spec"];
    let mut found = Found::default();
    found.add(Related::ServiceAccount, &spec["serviceAccountName"]);
    for secret in items(&spec["imagePullSecrets"]) {
        found.add(Related::Secret, &secret["name"]);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items(&spec[list]).iter().for_each(|container| found.container(container));
    }
    for volume in items(&spec["volumes"]) {
        found.volume(volume);
        found.claim(volume, pod["metadata"]["name"].as_str().unwrap_or_default());
    }
    found.resource_claims(pod);
    found.0
}

/// Whether the pod mirrors a file on its node.
pub(super) fn is_mirror(pod: &Tree) -> bool {
    pod["metadata"]["annotations"].get(MIRROR_ANNOTATION).is_some()
}

/// Secrets a volume's driver needs on the node, as (namespace, name).
pub(super) fn secrets_of_volume(volume: &Tree) -> Vec<(String, String)> {
    let spec = &volume["spec"];
    let claim_namespace = text(&spec["claimRef"]["namespace"]);
    let mut references: Vec<&Tree> =
        VOLUMES_WITH_SECRET_REF.iter().map(|source| &spec[*source]["secretRef"]).collect();
    for field in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
        references.push(&spec["csi"][field]);
    }
    let azure = &spec["azureFile"];
    let azure = (text(&azure["secretNamespace"]), text(&azure["secretName"]));
    let named =
        references.into_iter().map(|reference| (text(&reference["namespace"]), text(&reference["name"])));
    named
        .chain([azure])
        .filter(|(_, name)| !name.is_empty())
        .map(|(namespace, name)| {
            (if namespace.is_empty() { claim_namespace.clone() } else { namespace }, name)
        })
        .collect()
}

/// Order of kinds in the set; the kinds a pod can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum RelatedKey {
    Secret,
    ConfigMap,
    ServiceAccount,
    VolumeClaim,
    ResourceClaim,
}

impl RelatedKey {
    /// The key of a kind a pod can name.
    pub(super) fn of(kind: Related) -> Option<RelatedKey> {
        match kind {
            Related::Secret => Some(RelatedKey::Secret),
            Related::ConfigMap => Some(RelatedKey::ConfigMap),
            Related::ServiceAccount => Some(RelatedKey::ServiceAccount),
            Related::VolumeClaim => Some(RelatedKey::VolumeClaim),
            Related::ResourceClaim => Some(RelatedKey::ResourceClaim),
            Related::Pod | Related::Volume | Related::VolumeAttachment | Related::ResourceSlice => None,
        }
    }
}

#[derive(Default)]
struct Found(BTreeSet<(RelatedKey, String)>);

impl Found {
    fn add(&mut self, kind: Related, name: &Tree) {
        let key = RelatedKey::of(kind);
        if let (Some(key), Some(name)) = (key, name.as_str().filter(|name| !name.is_empty())) {
            self.0.insert((key, name.to_owned()));
        }
    }

    fn container(&mut self, container: &Tree) {
        for source in items(&container["envFrom"]) {
            self.add(Related::Secret, &source["secretRef"]["name"]);
            self.add(Related::ConfigMap, &source["configMapRef"]["name"]);
        }
        for variable in items(&container["env"]) {
            self.add(Related::Secret, &variable["valueFrom"]["secretKeyRef"]["name"]);
            self.add(Related::ConfigMap, &variable["valueFrom"]["configMapKeyRef"]["name"]);
        }
    }

    fn volume(&mut self, volume: &Tree) {
        self.add(Related::Secret, &volume["secret"]["secretName"]);
        self.add(Related::Secret, &volume["azureFile"]["secretName"]);
        self.add(Related::Secret, &volume["csi"]["nodePublishSecretRef"]["name"]);
        self.add(Related::ConfigMap, &volume["configMap"]["name"]);
        for source in VOLUMES_WITH_SECRET_REF {
            self.add(Related::Secret, &volume[source]["secretRef"]["name"]);
        }
        for source in items(&volume["projected"]["sources"]) {
            self.add(Related::Secret, &source["secret"]["name"]);
            self.add(Related::ConfigMap, &source["configMap"]["name"]);
        }
    }

    /// An ephemeral volume's claim is named after pod and volume.
    fn claim(&mut self, volume: &Tree, pod: &str) {
        self.add(Related::VolumeClaim, &volume["persistentVolumeClaim"]["claimName"]);
        if volume["ephemeral"].is_object() {
            let name = format!("{pod}-{}", text(&volume["name"]));
            self.add(Related::VolumeClaim, &name.into());
        }
    }

    /// A claim made from a template is known once the status names it.
    fn resource_claims(&mut self, pod: &Tree) {
        for claim in items(&pod["spec"]["resourceClaims"]) {
            self.add(Related::ResourceClaim, &claim["resourceClaimName"]);
            let made = items(&pod["status"]["resourceClaimStatuses"])
                .iter()
                .find(|status| status["name"] == claim["name"]);
            if let Some(status) = made.filter(|_| claim["resourceClaimTemplateName"].is_string()) {
                self.add(Related::ResourceClaim, &status["resourceClaimName"]);
            }
        }
        self.add(Related::ResourceClaim, &pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"]);
    }
}

pub(super) fn items(tree: &Tree) -> &[Tree] {
    tree.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(tree: &Tree) -> String {
    tree.as_str().unwrap_or_default().to_owned()
}
