//! Owner references a client sent twice count once, with a warning. Which ones repeat is decided in [`kinds::meta`].

use crate::context::Context;
use kinds::meta;
use schema::Tree;

/// Drops repeated owner references.
pub(super) fn deduplicate(context: &Context, object: &mut Tree) {
    meta::dedup_owners(object).into_iter().for_each(|text| context.warnings.add(text));
}
