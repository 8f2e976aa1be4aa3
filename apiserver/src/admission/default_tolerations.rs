//! Pods tolerate an unreachable or unready node for five minutes unless they
//! say otherwise.

use super::{Operation, Review};
use kinds::core::pod::admission;
use schema::Tree;

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) {
    if review.is_core("pods") && review.operation != Operation::Delete {
        admission::default_tolerations(object);
    }
}
