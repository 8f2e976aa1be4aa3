//! Owner references a client sent twice count once, with a warning.

use crate::context::Context;
use kinds::tree;
use schema::Tree;

/// Drops repeated owner references.
pub(super) fn deduplicate(context: &Context, object: &mut Tree) {
    let references = tree::list_at(object, "metadata.ownerReferences");
    let mut kept: Vec<Tree> = Vec::with_capacity(references.len());
    let mut repeated: Vec<String> = Vec::new();
    for reference in references {
        if kept.contains(reference) {
            repeated.push(tree::str_at(reference, "uid").to_owned());
        } else {
            kept.push(reference.clone());
        }
    }
    if repeated.is_empty() {
        return;
    }
    context.warnings.add(format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    ));
    tree::set(object, "metadata.ownerReferences", Tree::Array(kept));
}
