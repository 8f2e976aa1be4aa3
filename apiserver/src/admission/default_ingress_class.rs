//! An Ingress without a class gets the default one; of several the newest.

use super::{Operation, Review};
use kinds::Subresource;
use kinds::networking::{class_annotation, is_default_class};
use kinds::tree;
use schema::Tree;

const GROUP: &str = "networking.k8s.io";

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) {
    let applies = review.operation == Operation::Create
        && review.is_on(GROUP, "ingresses", Subresource::None)
        && tree::at(object, "spec.ingressClassName").is_none()
        && class_annotation(object).is_none();
    if !applies {
        return;
    }
    let mut classes = review.objects().all(GROUP, "ingressclasses");
    classes.retain(is_default_class);
    let text = |class: &Tree, path: &str| tree::str_at(class, path).to_owned();
    classes.sort_by_key(|class| {
        (std::cmp::Reverse(text(class, "metadata.creationTimestamp")), text(class, "metadata.name"))
    });
    if let Some(class) = classes.first() {
        tree::set(object, "spec.ingressClassName", tree::str_at(class, "metadata.name"));
    }
}
