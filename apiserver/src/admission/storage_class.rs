//! A claim that names no class gets the default one, if there is one.

use super::{Operation, Review};
use kinds::core::claims;
use kinds::storage::storageclass::{self, IS_DEFAULT};
use kinds::tree;
use schema::Tree;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) {
    if !review.is_core("persistentvolumeclaims")
        || review.operation != Operation::Create
        || claims::class(object).is_some()
    {
        return;
    }
    let classes = review.objects().by_attribute("storage.k8s.io", "storageclasses", IS_DEFAULT, "true");
    if let Some(class) = storageclass::choose_default(&classes) {
        tree::set(object, "spec.storageClassName", tree::str_at(class, "metadata.name"));
    }
}
