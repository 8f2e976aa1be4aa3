//! Volumes, claims and attribute classes are held by a finalizer, which a controller takes away when nobody uses them.

use super::{Operation, Review};
use kinds::{Subresource, tree};
use schema::Tree;
use serde_json::json;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) {
    if review.operation != Operation::Create || review.sub != Subresource::None {
        return;
    }
    let resource = review.kind.resource;
    let finalizer = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "persistentvolumes") => "kubernetes.io/pv-protection",
        ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
        ("storage.k8s.io", "volumeattributesclasses") => "kubernetes.io/vac-protection",
        _ => return,
    };
    let mut finalizers = tree::list_at(object, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|have| have == finalizer) {
        finalizers.push(json!(finalizer));
        tree::set(object, "metadata.finalizers", finalizers);
    }
}
