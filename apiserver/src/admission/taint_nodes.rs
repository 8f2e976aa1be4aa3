//! A new node takes no pods until the node lifecycle has seen it ready.

use super::{Operation, Review};
use kinds::tree;
use schema::Tree;
use serde_json::json;

const KEY: &str = "node.kubernetes.io/not-ready";

pub(super) fn mutate(review: &Review<'_>, object: &mut Tree) {
    if !review.is_core("nodes") || review.operation != Operation::Create {
        return;
    }
    let mut taints = tree::list_at(object, "spec.taints").to_vec();
    let there = taints
        .iter()
        .any(|taint| tree::str_at(taint, "key") == KEY && tree::str_at(taint, "effect") == "NoSchedule");
    if !there {
        taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
        tree::set(object, "spec.taints", Tree::Array(taints));
    }
}
