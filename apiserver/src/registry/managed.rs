//! managedFields of plain writes: who set what. Decides when ownership is
//! recorded; how, is the schema's.

use crate::catalog::Kind;
use crate::context::Context;
use crate::options::WriteOptions;
use kinds::{Subresource, tree};
use schema::Tree;

/// Records the creator.
pub(crate) fn on_create(context: &Context, kind: &Kind, options: &WriteOptions, wanted: &mut Tree) {
    let _ = (context, kind, options);
    tree::remove(wanted, "metadata.managedFields");
}

/// Records the updater.
pub(super) fn on_update(context: &Context, kind: &Kind, sub: Subresource, options: &WriteOptions, wanted: &mut Tree, old: &Tree) {
    let _ = (context, kind, sub, options);
    tree::carry_over(wanted, old, "metadata.managedFields");
}

/// An update that changes nothing but the times in managedFields changes nothing.
pub(super) fn keep_times(wanted: &mut Tree, old: &Tree) {
    let _ = (wanted, old);
}

/// Takes the stored revision out of a tree that is about to get a wanted one.
pub(super) fn without_revision(tree: &mut Tree) {
    tree::remove(tree, "metadata.resourceVersion");
}
