//! Completing what a cluster has to what this version ships.
//!
//! An administrator may add to a shipped role or binding; only what is missing is put back.
//! `autoupdate: "false"` protects an object from this.

use crate::Tree;
use crate::rbac::{Rule, covers};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What to do with a stored role or binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// Nothing is missing.
    Keep,
    /// Write this.
    Update(Tree),
    /// It binds another role, which cannot be changed: delete it and create this.
    Recreate(Tree),
}

/// Compares a stored role or binding with the shipped one of the same kind and name.
pub fn reconcile(stored: &Tree, shipped: &Tree) -> Reconciled {
    if stored["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Reconciled::Keep;
    }
    if stored["roleRef"] != shipped["roleRef"] {
        return Reconciled::Recreate(shipped.clone());
    }
    let mut merged = stored.clone();
    for field in ["labels", "annotations"] {
        merge(&mut merged["metadata"], field, &shipped["metadata"][field]);
    }
    if shipped["roleRef"].is_null() {
        add_rules(&mut merged, shipped);
        add_selectors(&mut merged, shipped);
    } else {
        add_missing(&mut merged, "subjects", items(&shipped["subjects"]));
    }
    if merged == *stored { Reconciled::Keep } else { Reconciled::Update(merged) }
}

/// Adds keys that are not there; a value that is there stays.
fn merge(metadata: &mut Tree, field: &str, wanted: &Tree) {
    let Some(wanted) = wanted.as_object() else { return };
    for (key, value) in wanted {
        if metadata[field].get(key).is_none() {
            metadata[field][key] = value.clone();
        }
    }
}

/// The rules of an aggregating role are its parts' business.
fn add_rules(merged: &mut Tree, shipped: &Tree) {
    if shipped["aggregationRule"].is_object() && merged["aggregationRule"].is_object() {
        return;
    }
    let missing = covers(&Rule::of_role(merged), &Rule::of_role(shipped));
    let missing: Vec<Tree> = missing.iter().map(Rule::to_tree).collect();
    add_missing(merged, "rules", &missing);
}

fn add_selectors(merged: &mut Tree, shipped: &Tree) {
    let wanted = &shipped["aggregationRule"];
    if wanted.is_object() {
        let selectors = items(&wanted["clusterRoleSelectors"]).to_vec();
        add_missing(&mut merged["aggregationRule"], "clusterRoleSelectors", &selectors);
    } else if merged["aggregationRule"].is_object() {
        merged.as_object_mut().expect("a role is an object").remove("aggregationRule");
    }
}

fn add_missing(owner: &mut Tree, field: &str, wanted: &[Tree]) {
    let have = items(&owner[field]).to_vec();
    let missing: Vec<Tree> = wanted.iter().filter(|item| !have.contains(item)).cloned().collect();
    if !missing.is_empty() {
        owner[field] = [have, missing].concat().into();
    }
}

fn items(tree: &Tree) -> &[Tree] {
    tree.as_array().map(Vec::as_slice).unwrap_or_default()
}
